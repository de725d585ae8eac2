/* archive.h: the file that `larder store export` writes and `larder store import` reads: stored responses, one after
 * another, for another machine or another day.
 *
 * It can be written to and read from a pipe: nothing refers back or ahead, and memory is bounded by the largest head.
 * Numbers are little-endian; a file is the same on every machine.
 *
 *     file     "larder export\n" u16 version, then frames
 *     frame    u8 kind  u8 zero[3]  u32 length  bytes[length]  u64 check
 *     check    XXH3-64 of the frame before it, seeded with the frame's number (0, 1, 2 …): a frame that is altered,
 *              moved, repeated or left out is noticed at the next one
 *
 *     'H'      first and once: i64 export_ms, when the export began (milliseconds since 1970)
 *     'R'      a response begins: u32 key_len  u32 selection_len  u32 head_len  u32 record_len  key selection head
 *              record (record.h; ids, purge sequence and override are zero: they mean nothing elsewhere)
 *     'D'      bytes of its body, 1 to ARCHIVE_DATA_MAX_BYTES
 *     'W'      it is whole: empty. The body's length and digest are in the record
 *     'A'      abandoned: it was removed from the store while it was written. Forget it
 *     'Z'      last and once: u64 responses that are whole, u64 bytes of their bodies. Nothing follows
 *
 * The reader believes nothing: whatever is not exactly what the writer writes ends the reading. A response that it says
 * is whole has a key, selection, head and record that the store could have made itself and a body with the record's
 * digest. Of course whoever writes such a file decides what clients will get: import only what you trust.
 *
 * Threads: one at a time. Clock and input or output are the caller's. */
#ifndef CACHE_ARCHIVE_H
#define CACHE_ARCHIVE_H

#include "cache/record.h"
#include "http/arena.h"
#include "http/buf.h"
#include "http/error.h"

enum {
    ARCHIVE_VERSION = 1,
    ARCHIVE_DATA_MAX_BYTES = 256 * 1024,
    ARCHIVE_FRAME_MAX_BYTES = 2 * 1024 * 1024,
};

/* ---- writing ---- */

/* False: it could not be written. */
typedef bool (*archive_put_fn)(void *arg, struct span bytes);

struct archive_writer {
    archive_put_fn put;
    void *arg;
    uint64_t frames;
    uint64_t responses;  /* whole ones */
    uint64_t body_bytes; /* theirs */
    uint64_t body_begun; /* of the response being written */
    struct buf frame;
    bool failed;
};

/* A response as it stands in the file. The record's key_len and head_len are those of the two spans. */
struct archive_response {
    struct span key;
    struct span selection;
    struct span head;
    struct record record;
};

/* Each: false once something could not be written (or memory is missing); what follows does nothing then. */
bool archive_begin(struct archive_writer *writer, archive_put_fn put, void *arg, int64_t export_ms);
bool archive_write_response(struct archive_writer *writer, const struct archive_response *response);
bool archive_write_data(struct archive_writer *writer, struct span bytes); /* of any length */
bool archive_write_whole(struct archive_writer *writer);
bool archive_write_abandoned(struct archive_writer *writer);
bool archive_end(struct archive_writer *writer);
void archive_writer_finish(struct archive_writer *writer); /* frees; accepts a zeroed one */

/* ---- reading ---- */

/* At most `max` bytes to `to`; 0: the end, or an error. */
typedef size_t (*archive_get_fn)(void *arg, char *to, size_t max);

enum archive_event {
    ARCHIVE_RESPONSE,
    ARCHIVE_DATA,
    ARCHIVE_WHOLE,
    ARCHIVE_ABANDONED,
    ARCHIVE_END,
};

struct archive_reader;

/* Reads the beginning. ERR_FOREIGN: not such a file, or of another version; ERR_TRUNCATED, ERR_DAMAGED, ERR_NO_MEMORY.
 */
MUST_CHECK enum err archive_open(archive_get_fn get, void *arg, struct archive_reader **out_reader);
void archive_close(struct archive_reader *reader); /* accepts NULL */

int64_t archive_export_ms(const struct archive_reader *reader);

/* What comes next. RESPONSE fills `out_response`, DATA `out_data`; both are valid until the next call. ERR_TRUNCATED;
 * ERR_DAMAGED: also where a check does not fit, or what was read could not have been stored; ERR_NO_MEMORY. After an
 * error or the end: no further call. */
MUST_CHECK enum err archive_next(struct archive_reader *reader, enum archive_event *out_event,
                                 struct archive_response *out_response, struct span *out_data);

#endif
