/* segments.h: the bytes of a stream in memory, cut into refcounted segments: appended at the end, read anywhere,
 * released from the front.
 *
 * The stream is cut into slots of SEGMENT_BYTES at fixed offsets, so that a slot is a whole number of the store's
 * pieces. A slot's memory is a segment: bytes once appended never change or move. A short slot that grows gets a larger
 * segment and a copy; who still reads the old one holds a reference to it.
 *
 * Whole segments that nobody needs any more are kept for the next body, SPARE_SEGMENTS at most: they are given back by
 * other threads than take them, which malloc answers with trimming an arena that another thread then waits for.
 *
 * Threads: a struct segments by one at a time (its owner's mutex); references to segments, and struct stream_memory, by
 * any. */
#ifndef CACHE_SEGMENTS_H
#define CACHE_SEGMENTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache/store.h"
#include "http/error.h"

enum {
    SEGMENT_PIECES = 16,
    SEGMENT_BYTES = SEGMENT_PIECES * STORE_PIECE_BYTES,
    SPARE_SEGMENTS = 256, /* 16 MiB: what a disk that keeps up is behind a fast origin */
};

struct segment;

struct slot {
    struct segment *segment;
    size_t len;
};

/* What the segments of many streams take together. */
struct stream_memory {
    atomic_size_t bytes; /* without the spares */
    size_t limit_bytes;  /* nothing fails beyond it: streams take less from then on (flight.c) */
    pthread_mutex_t mutex;
    struct segment *spares; /* these two under the mutex */
    size_t spare_count;
};

/* Does not move while it holds anything. */
struct segments {
    struct stream_memory *memory; /* outlives every segment; NULL: not counted */
    struct slot *slots;           /* a run: slots[first_slot] starts at offset `base`; its own ones, or allocated */
    size_t first_slot, slot_count, slot_capacity;
    struct slot own[2]; /* most streams need no more */
    uint64_t base;      /* everything before it was released */
    uint64_t length;    /* of the stream so far */
};

void stream_memory_init(struct stream_memory *memory, size_t limit_bytes);
void stream_memory_finish(struct stream_memory *memory); /* after the last segment */

/* Gives the spares back: nothing has streamed for a while. */
void stream_memory_trim(struct stream_memory *memory);

void segments_finish(struct segments *segments); /* releases all; accepts a zeroed one */

/* Appends a copy. `total_bytes` is how long the stream will become, UINT64_MAX where that is not known. ERR_NO_MEMORY:
 * some of it may be appended. */
MUST_CHECK enum err segments_append(struct segments *segments, struct span bytes, uint64_t total_bytes);

/* The bytes of the slot that holds `offset` (base <= offset < length), from there on, and a reference to their segment.
 */
struct span segments_read(const struct segments *segments, uint64_t offset, struct segment **out_segment);

/* Lets go of the slots that end at `until` or before it. One that may still grow (`growing`, and not full) stays. */
void segments_release(struct segments *segments, uint64_t until, bool growing);

void segment_unref(struct segment *segment); /* accepts NULL */

#endif
