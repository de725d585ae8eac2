/* segments.h: the bytes of a stream in memory, cut into refcounted segments: appended at the end, read anywhere,
 * released from the front.
 *
 * The stream is cut into slots of SEGMENT_BYTES at fixed offsets, so that a slot is a whole number of the store's
 * pieces. A slot's memory is a segment: bytes once appended never change or move. A short slot that grows gets a larger
 * segment and a copy; who still reads the old one holds a reference to it.
 *
 * Threads: a struct segments by one at a time (its owner's mutex); references to segments from any thread. */
#ifndef CACHE_SEGMENTS_H
#define CACHE_SEGMENTS_H

#include <stdatomic.h>

#include "cache/store.h"
#include "http/error.h"

enum {
    SEGMENT_PIECES = 16,
    SEGMENT_BYTES = SEGMENT_PIECES * STORE_PIECE_BYTES,
};

struct segment;
struct slot;

/* What the segments of many streams take together. */
struct stream_memory {
    atomic_size_t bytes;
    size_t limit_bytes; /* nothing fails beyond it: streams take less from then on (flight.c) */
};

struct segments {
    struct stream_memory *memory; /* outlives every segment; NULL: not counted */
    struct slot *slots;           /* a run: slots[first_slot] starts at offset `base` */
    size_t first_slot, slot_count, slot_capacity;
    uint64_t base;   /* everything before it was released */
    uint64_t length; /* of the stream so far */
};

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
