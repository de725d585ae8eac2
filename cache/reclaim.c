/* reclaim.c: what purges made dead is deleted behind, and purges that name nothing any more are forgotten. The disk
 * thread's.
 *
 * A walk over all objects, some at a time beside each batch. It ends with: nothing that is stored is named by a hard
 * purge up to the sequence it began with; so those rows go, out of the set and out of the journal. For that to be true
 * of what was still on its way when the walk began, it begins with the birth of the oldest of these.
 *
 * What a soft purge names lives on, and with it the rows from the oldest such purge on; but where the set is nearly
 * full these objects are deleted, too: who did not validate them until then does not miss them.
 *
 * Between a purge and its walk it rests: so long, what is asked for and not found can be said to have been purged, and
 * by which; and walks, which read something of every object, do not follow each other.
 *
 * Failures: after a batch that the disk refused, the walk begins anew. */
#include "cache/cache_internal.h"

enum {
    LOOKED_AT = 256,      /* objects beside one batch: the pace */
    REST_BATCHES = 600,   /* that rest: ten minutes of an idle disk thread, half a minute of a busy one */
    PRESSED_PERCENT = 50, /* full, the set lets no walk rest */
    FULL_PERCENT = 75,    /* full, it lets no soft purge stay */
    WALK_MEMORY_BYTES = 1024 * 1024,
};

enum err reclaim_open(struct cache *cache)
{
    struct reclaim *reclaim = &cache->reclaim;

    reclaim->reader = store_reader_create(cache->store);
    reclaim->purges = purge_reader_create(cache->purges);
    return reclaim->reader != NULL && reclaim->purges != NULL ? ERR_OK : ERR_NO_MEMORY;
}

void reclaim_close(struct cache *cache)
{
    store_reader_destroy(cache->reclaim.reader);
    purge_reader_destroy(cache->reclaim.purges);
}

static void note_oldest(uint64_t sequence, uint64_t *oldest)
{
    if (sequence < *oldest) {
        *oldest = sequence;
    }
}

/* The oldest birth of what may yet be stored, and of what the journal holds. */
static uint64_t oldest_on_its_way(struct cache *cache)
{
    uint64_t oldest = purge_set_newest(cache->purges);

    note_oldest(store_newest_purge(cache->store), &oldest);
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->mutex);
        for (size_t j = 0; j < SHARD_BUCKETS; j++) {
            for (const struct entry *entry = shard->buckets[j]; entry != NULL; entry = entry->next) {
                for (const struct fill *fill = entry->fills; fill != NULL; fill = fill->next) {
                    note_oldest(fill->created, &oldest);
                }
                for (const struct settled *settled = entry->settled; settled != NULL; settled = settled->next) {
                    note_oldest(settled->record.purge_sequence, &oldest);
                }
            }
        }
        pthread_mutex_unlock(&shard->mutex);
    }
    return oldest;
}

static unsigned fill_percent(struct cache *cache)
{
    pthread_mutex_lock(&cache->purge_mutex);
    unsigned percent = purge_set_fill_percent(cache->purges);
    pthread_mutex_unlock(&cache->purge_mutex);
    return percent;
}

/* Is there a purge that no walk has seen, and time for one? */
static void begin(struct cache *cache)
{
    struct reclaim *reclaim = &cache->reclaim;

    if (purge_set_newest(cache->purges) == reclaim->seen || store_failed(cache->store) || store_is_away(cache->store)) {
        return;
    }
    reclaim->rested++;
    if (reclaim->rested < REST_BATCHES && fill_percent(cache) < PRESSED_PERCENT) {
        return;
    }
    uint64_t sequence = oldest_on_its_way(cache);
    if (sequence > reclaim->seen) {
        reclaim->walking = true;
        reclaim->walk = (struct store_walk){.sequence = sequence};
        reclaim->keep_from = sequence + 1;
        reclaim->delete_soft = fill_percent(cache) >= FULL_PERCENT;
    }
}

static void judge(struct reclaim *reclaim, const struct store_object *object, struct arena *arena)
{
    struct key key = {.text = object->key, .hash = object->hash};
    uint64_t birth = object->record.purge_sequence;
    struct purge_verdict verdict = {.effect = PURGED_HARD}; /* what cannot be read might be named by any of them */

    if (key.text.len > 0) {
        verdict = cache_judge(reclaim->purges, &key, object->head, birth, arena);
    }
    if (verdict.effect == PURGED_HARD || (verdict.effect == PURGED_SOFT && reclaim->delete_soft)) {
        reclaim->dead[reclaim->dead_count++] =
            (struct store_op){.kind = STORE_OP_REMOVE_OBJECT, .object_id = object->record.object_id, .sequence = birth};
    } else if (verdict.effect == PURGED_SOFT) {
        note_oldest(verdict.purge.sequence, &reclaim->keep_from);
    }
}

/* All were looked at: what the set need not hold any more. */
static void end(struct cache *cache)
{
    struct reclaim *reclaim = &cache->reclaim;

    pthread_mutex_lock(&cache->purge_mutex);
    purge_set_trim(cache->purges, reclaim->keep_from);
    pthread_mutex_unlock(&cache->purge_mutex);
    reclaim->walking = false;
    reclaim->rested = 0;
    reclaim->seen = reclaim->walk.sequence;
    reclaim->trim_below = reclaim->keep_from;
}

size_t reclaim_prepare(struct cache *cache, struct store_op *ops)
{
    struct reclaim *reclaim = &cache->reclaim;
    struct store_object object;
    struct arena arena;

    reclaim->dead_count = 0;
    if (reclaim->trim_below > 0) {
        ops[0] = (struct store_op){.kind = STORE_OP_TRIM_PURGES, .sequence = reclaim->trim_below};
        return 1;
    }
    if (!reclaim->walking) {
        begin(cache);
        return 0;
    }
    reclaim->dead = ops;
    arena_init(&arena, WALK_MEMORY_BYTES);
    for (unsigned i = 0;
         i < LOOKED_AT && reclaim->dead_count < RECLAIM_OPS && !reclaim->walk.ended && !reclaim->walk.failed; i++) {
        if (store_walk_next(reclaim->reader, &reclaim->walk, &arena, &object)) {
            judge(reclaim, &object, &arena);
        }
        arena_reset(&arena);
    }
    arena_finish(&arena);
    return reclaim->dead_count;
}

void reclaim_finish(struct cache *cache, const struct store_op *ops, size_t count, enum err error)
{
    struct reclaim *reclaim = &cache->reclaim;

    if (error != ERR_OK || reclaim->walk.failed) {
        reclaim->walking = false;
        reclaim->walk.failed = false;
        reclaim->rested = 0;
    } else if (reclaim->trim_below > 0 && count == 1) {
        reclaim->trim_below = ops[0].done ? 0 : reclaim->trim_below;
    } else if (reclaim->walking && reclaim->walk.ended) {
        end(cache);
    }
}

bool reclaim_has_work(const struct cache *cache)
{
    return !store_failed(cache->store) && !store_is_away(cache->store) &&
           (cache->reclaim.walking || cache->reclaim.trim_below > 0);
}
