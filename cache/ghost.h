/* ghost.h: keys that are not stored and were asked for lately: what a store remembers of objects it has evicted, and of
 * requests whose answers it did not store.
 *
 * An object that comes back after its eviction was evicted too soon: it is stored as one that was visited already
 * (sieve.h). A key that was asked for before is worth more than one nobody may ever ask for again: second-request
 * admission and `min_uses` count here.
 *
 * Fixed memory: four keys for each object expected, 4 bytes a key, in lines of 16; in a line the oldest is forgotten.
 * A key is a hash; of about a million unknown ones one is taken for a known one. Lost at restart, harmlessly.
 * Threads: any. Errors: none. */
#ifndef CACHE_GHOST_H
#define CACHE_GHOST_H

#include <limits.h>
#include <stdint.h>

#include "http/check.h"

struct ghost;

#define GHOST_EVICTED UINT_MAX

enum { GHOST_MAX_USES = 254 }; /* counted of one key; more are as many */

MUST_CHECK struct ghost *ghost_create(uint64_t expected_objects); /* NULL: no memory */
void ghost_destroy(struct ghost *ghost);                          /* accepts NULL */

/* How many requests for `key` were noted lately; GHOST_EVICTED: it was stored since, and evicted. */
unsigned ghost_uses(struct ghost *ghost, uint64_t key);

void ghost_note_use(struct ghost *ghost, uint64_t key);
void ghost_note_eviction(struct ghost *ghost, uint64_t key);

#endif
