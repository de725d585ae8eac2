/* hot.h: responses that one worker serves often, decoded and whole, so that a hit on one asks neither the table of
 * entries nor the store, and takes no lock.
 *
 * A copy counts only while nothing has changed under its key: it keeps the version of the key's slot (cache.c counts
 * one up with every response stored, freshened or invalidated there) and is dropped at the first look-up that sees
 * another. Freshness, conditions and rules are decided anew at every request, as for any stored response. What is
 * copied has been asked for twice lately; what leaves when memory is short is decided by SIEVE, as on the disk.
 *
 * Memory: at most `limit_bytes`, a head counted as often as it is kept, whole and as a 304 has it, but for responses
 * that are still being sent when they leave; and 1 to 2 % of it for its tables, whose pages are used as they fill.
 * Threads: one, its owner's. Errors: none; without memory there is less in it. */
#ifndef CACHE_HOT_H
#define CACHE_HOT_H

#include "cache/key.h"
#include "cache/store.h"

struct hot;

/* A response in it. Everything belongs to it, and lives until hot_release. */
struct hot_response {
    struct stored stored;     /* its body whole in body_start; not pinned */
    struct headers headers;   /* of stored.head; to be read only: nothing can be added */
    struct span not_modified; /* the lines of stored.head that a 304 carries */
};

enum { HOT_BODY_MAX_BYTES = 16 * 1024 }; /* longer ones are served as well from the store's pages */

MUST_CHECK struct hot *hot_create(size_t limit_bytes); /* NULL: a limit of 0, or no memory */
void hot_destroy(struct hot *hot);                     /* nothing may be held any more; accepts NULL */

/* The response under `key` that `request` selects, if there is one of this version; a reference is the caller's. */
struct hot_response *hot_find(struct hot *hot, const struct key *key, const struct headers *request, uint32_t version,
                              struct arena *arena);

/* Is there anything under the key? Then its memory is on its way to the processor when this has returned. */
bool hot_expect(struct hot *hot, const struct key *key);

/* Something was found in the store under this key: is it the second time lately? Lately: as long as about as many other
 * keys as there is room for entries were not asked about. */
bool hot_wanted(struct hot *hot, const struct key *key);

/* Copies `stored`, if its body is whole and short. `version` was read before the look-up that found it. */
void hot_add(struct hot *hot, const struct key *key, const struct stored *stored, uint32_t version);

void hot_release(struct hot_response *response); /* accepts NULL */

/* From now on there is nothing in it but what is held, until that is released. */
void hot_retire(struct hot *hot); /* accepts NULL */

size_t hot_bytes(const struct hot *hot); /* in use */

#endif
