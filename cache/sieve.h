/* sieve.h: which objects were used lately: the only state that eviction keeps in memory.
 *
 * SIEVE over object ids (the hand and the order are the store's): a fixed table of 32-bit tags, 16 ways a cache line,
 * two slots an object expected. A hit writes nothing when the tag is there already. Lost at restart, harmlessly.
 * Threads: any, without locks. */
#ifndef CACHE_SIEVE_H
#define CACHE_SIEVE_H

#include <stdbool.h>
#include <stdint.h>

#include "http/check.h"

struct sieve;

MUST_CHECK struct sieve *sieve_create(uint64_t expected_objects); /* NULL: no memory */
void sieve_destroy(struct sieve *sieve);                          /* accepts NULL */

/* The object was used. */
void sieve_mark(struct sieve *sieve, uint64_t object_id);

/* The hand passes: true and unmarked when the object was marked since the last pass. */
bool sieve_take_mark(struct sieve *sieve, uint64_t object_id);

bool sieve_is_marked(struct sieve *sieve, uint64_t object_id); /* changes nothing */

#endif
