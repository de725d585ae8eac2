/* store_admit.c: what the store remembers of keys that are not stored (ghost.h): whether a response is worth its room.
 */
#include "cache/store_internal.h"

static uint64_t ghost_key(struct key_hash hash)
{
    return hash.low ^ hash.high;
}

unsigned store_uses(struct store *store, struct key_hash hash)
{
    return ghost_uses(store->ghost, ghost_key(hash));
}

void store_note_use(struct store *store, struct key_hash hash)
{
    ghost_note_use(store->ghost, ghost_key(hash));
}

/* Both happen within a batch that may still be aborted: what is remembered of it then is a little too much, not
 * wrong. */
void store_note_eviction(struct store *store, struct key_hash hash)
{
    ghost_note_eviction(store->ghost, ghost_key(hash));
}

void store_welcome(struct store *store, struct key_hash hash, uint64_t object_id)
{
    if (ghost_uses(store->ghost, ghost_key(hash)) == GHOST_EVICTED) {
        sieve_mark(store->sieve, object_id);
    }
}
