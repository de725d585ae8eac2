/* store_support.h: stores in temporary directories and objects whose every byte follows from their number and version,
 * so that any thread or process can tell whether what it reads is what was stored. Used by the store's unit tests, its
 * thread test and its benchmark; ends the process where the set-up itself fails. */
#ifndef TESTS_STORE_SUPPORT_H
#define TESTS_STORE_SUPPORT_H

#include "cache/store.h"
#include "http/headers.h"

enum {
    SUPPORT_PATH_BYTES = 256,
    SUPPORT_ARENA_BYTES = 1024 * 1024,
    SUPPORT_MANY = 1024, /* objects one support_put_many stores */
};

/* A directory for one test, under $TMPDIR or /tmp. */
void support_dir_make(char out_dir[SUPPORT_PATH_BYTES]);
void support_dir_remove(const char *dir);

/* That the file system gave for the files in it: what --cache-size limits. */
uint64_t support_disk_bytes(const char *dir);

/* ERR_OK is expected; the note is thrown away. */
struct store *support_open(const char *dir, uint64_t size_bytes);
enum err support_try_open(const char *dir, uint64_t size_bytes, struct store **out_store, struct buf *note);

struct key support_key(struct store *store, unsigned number, struct arena *arena);

/* One object. */
struct support_object {
    unsigned number;     /* its key */
    unsigned version;    /* changes every byte of the body */
    const char *variant; /* of the request field X-Variant; NULL: no Vary */
    size_t body_len;
    size_t head_padding; /* bytes of a field that makes the head longer */
};

/* Stores it, in as many batches as it needs; the last one publishes. The ids are optional. */
enum err support_put(struct store *store, const struct support_object *object, uint64_t *out_object_id,
                     uint64_t *out_body_id);

/* Two objects, their streams written by turns, in one batch after another. */
enum err support_put_both(struct store *store, const struct support_object *first, const struct support_object *second);

/* All but the publishing: pieces of an unfinished body. */
enum err support_put_pieces(struct store *store, const struct support_object *object, uint64_t body_id);

/* Small objects with one publishing each, in one batch. At most SUPPORT_MANY. */
enum err support_put_many(struct store *store, const struct support_object *objects, size_t count);

struct record support_record(const struct support_object *object);

/* Looks up what a request with `X-Variant: variant` (NULL: without) selects. */
enum store_found support_find(struct store_reader *reader, struct store *store, unsigned number, const char *variant,
                              struct arena *arena, struct stored *out_stored);

/* Reads the whole body and compares every byte, head and body, with what `stored` claims to be. False: wrong bytes.
 * `*out_error`: why the end was not reached although nothing was wrong. The pin is kept. */
bool support_verify(struct store_reader *reader, const struct stored *stored, unsigned number, unsigned *out_version,
                    enum err *out_error);

/* Finds, verifies, unpins. */
enum support_outcome { SUPPORT_ABSENT, SUPPORT_GOOD, SUPPORT_WRONG, SUPPORT_CUT };
enum support_outcome support_check(struct store_reader *reader, struct store *store, unsigned number,
                                   const char *variant, struct arena *arena, unsigned *out_version);

enum err support_remove(struct store *store, unsigned number);

/* Applies nothing until nothing is left to do (pinned bodies stay). */
enum err support_settle(struct store *store);

/* A random number from a state, the same every time. */
uint64_t support_random(uint64_t *state);

#endif
