/* slices.h: which bytes of a representation are stored, and where: the interval map of a partial response (RFC 9111
 * §3.3, §3.4).
 *
 * Each 206 that was stored left a body of its own in the store, which never changes; a slice says which bytes of the
 * representation lie where in it. So a partial response grows by an entry in its map, and nothing is written twice. A
 * map that covers the whole representation is a complete response in several bodies.
 *
 * Slices are disjoint and ascending; their number is bounded. Positions count bytes of the representation, `end` is
 * behind the last. Pure: a value without references. Threads: any. */
#ifndef CACHE_SLICES_H
#define CACHE_SLICES_H

#include "http/range.h"

enum {
    SLICES_MAX = 64,   /* of one response; what would need more is not kept */
    SLICE_BYTES = 32,  /* encoded */
    BODY_ID_BITS = 40, /* of a body's id: the rest of a piece's key is its number */
};

struct slice {
    uint64_t first;
    uint64_t end; /* first < end <= the complete length */
    uint64_t body_id;
    uint64_t offset; /* of byte `first` in that body's stream (store.h: key, head, then these bytes) */
};

struct slices {
    struct slice items[SLICES_MAX];
    size_t count;
};

enum slices_added {
    SLICES_ADDED,
    SLICES_HELD, /* every byte of it was there already; nothing changed */
    SLICES_FULL, /* it would take too many; nothing changed */
};

/* Adds those bytes of `added` that are not there yet: what is there stays as it is. */
enum slices_added slices_add(struct slices *slices, struct slice added);

/* The slice that holds byte `at`, or NULL. */
const struct slice *slices_at(const struct slices *slices, uint64_t at);

/* The first gap in first … end-1. False: all of it is there. */
bool slices_gap(const struct slices *slices, uint64_t first, uint64_t end, struct byte_range *out_gap);

/* How many gaps first … end-1 has. */
size_t slices_gap_count(const struct slices *slices, uint64_t first, uint64_t end);

/* The stored form: SLICE_BYTES each, little-endian first, end, body id, offset. */
void slices_write(const struct slices *slices, char *out_bytes); /* room for count * SLICE_BYTES */

/* False unless it is exactly a map as slices_add makes them, of a representation of that length. */
MUST_CHECK bool slices_read(struct span bytes, uint64_t complete_length, struct slices *out_slices);

/* One slice out of a stored form that slices_read has found good. */
struct slice slice_in(struct span bytes, size_t index);

#endif
