/* pins.h: bodies that are being sent and must stay readable until then.
 *
 * A table body id → count in memory. The disk thread asks before it deletes a body's pieces; a body it is about to
 * delete cannot be pinned any more, and a reader whose snapshot may be older than a deletion notices by the generation.
 * Threads: any (one mutex a shard), but for pins_begin_deletion and pins_end_deletions: the disk thread. Body ids are
 * never 0. */
#ifndef CACHE_PINS_H
#define CACHE_PINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/check.h"

struct pins;

MUST_CHECK struct pins *pins_create(void); /* NULL: no memory */
void pins_destroy(struct pins *pins);      /* accepts NULL */

/* Changes with every committed deletion. Read it before the snapshot is taken. */
uint64_t pins_generation(struct pins *pins);

enum pin_result {
    PIN_OK,
    PIN_RETRY,  /* a deletion was committed since `generation`: take a new snapshot and look again */
    PIN_DYING,  /* it is being deleted: absent */
    PIN_FAILED, /* no memory */
};
enum pin_result pins_acquire(struct pins *pins, uint64_t body_id, uint64_t generation);

/* One more pin on a body known to be pinned or unfinished (so that it cannot be dying). False: no memory. */
MUST_CHECK bool pins_add(struct pins *pins, uint64_t body_id);

void pins_release(struct pins *pins, uint64_t body_id);

/* From now on every pins_acquire with a generation that was read before is PIN_RETRY. While no deletion is under way.
 */
void pins_turn_away(struct pins *pins);

/* The bodies that are pinned; malloc'd. False: no memory. */
MUST_CHECK bool pins_list(struct pins *pins, uint64_t **out_bodies, size_t *out_count);

/* The disk thread: false if pinned now (or without memory); else marks it dying until pins_end_deletions. */
bool pins_begin_deletion(struct pins *pins, uint64_t body_id);

/* The transaction with the deletions was committed (or aborted): clears the dying marks, advances the generation. */
void pins_end_deletions(struct pins *pins);

/* How often a body whose deletion had been refused lost its last pin: when it changes, there is something to delete. */
uint64_t pins_freed(struct pins *pins);

#endif
