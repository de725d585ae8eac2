/* look_up.c: what is stored for a request: in the table of entries first, then in the store. See cache.h.
 *
 * An entry leaves the table only after the store has committed what it said, so between the two nothing can be missed.
 *
 * A partial response may lie in both: slices that were just fetched stand in the table, the others in the store. They
 * are shown as one where they may be combined (RFC 9111 §3.4); else the newest is what there is. */
#include <string.h>

#include "cache/cache_internal.h"
#include "cache/head.h"
#include "cache/vary.h"

/* Of a variant that is looked at, and not kept: the longest head, the first bytes of the body, and what asking about
 * purges takes. */
enum { VARIANT_MEMORY_BYTES = 32 * 1024 * 1024 };

bool partial_run(const struct partial *partial, uint64_t at, struct stored_run *out_run)
{
    const struct slice *slice = slices_at(&partial->slices, at);

    if (slice == NULL) {
        return false;
    }
    *out_run = (struct stored_run){
        .body_id = slice->body_id, .offset = slice->offset + (at - slice->first), .bytes = slice->end - at};
    for (size_t i = 0; i < partial->flight_count; i++) {
        if (flight_head(partial->flights[i])->record.body_id == slice->body_id) {
            out_run->flight = partial->flights[i];
        }
    }
    return true;
}

/* Where the bytes are, of a partial response that is all in the store. False at the arena's limit. */
static bool partial_of_store(struct arena *arena, struct cached *cached)
{
    const struct record *record = &cached->stored.record;

    if (!record_is_partial(record)) {
        return true;
    }
    cached->partial = arena_alloc(arena, sizeof(*cached->partial));
    return cached->partial != NULL && slices_read(record->slices, record->body_len, &cached->partial->slices);
}

static bool copy_texts(const struct settled *settled, struct arena *arena, struct stored *stored)
{
    return arena_copy(arena, settled->head, &stored->head) &&
           arena_copy(arena, settled->selection, &stored->selection) &&
           arena_copy(arena, settled->record.slices, &stored->record.slices) &&
           arena_copy(arena, settled->body_start, &stored->body_start);
}

/* Fills `cached` from a settled response that is whole, or freshened. False at the arena's limit. */
static bool cached_from_settled(struct cache *cache, const struct settled *settled, struct arena *arena,
                                struct cached *cached)
{
    struct stored *stored = &cached->stored;

    *cached = (struct cached){.stored.record = settled->record};
    stored->record.head_override = (struct span){NULL, 0}; /* the head as it stands is in `head` */
    if (!copy_texts(settled, arena, stored) || !partial_of_store(arena, cached)) {
        return false;
    }
    if (settled->flight != NULL) {
        cached->flight = flight_ref(settled->flight);
    } else if (settled->pinned != NULL) {
        stored->pinned = store_pin_stored(cache->store, &stored->record);
        return stored->pinned;
    }
    return true;
}

/* The oldest part counts. */
static void count_birth(struct record *record, const struct record *part)
{
    if (part->purge_sequence < record->purge_sequence) {
        record->purge_sequence = part->purge_sequence;
    }
}

/* Adds a slice that was just fetched; the first one is the newest, and its head counts. False at the arena's limit. */
static bool add_slice(const struct settled *settled, struct arena *arena, struct cached *cached)
{
    if (cached->partial == NULL) {
        *cached = (struct cached){.stored.record = settled->record};
        cached->partial = arena_alloc(arena, sizeof(*cached->partial));
        if (cached->partial == NULL || !copy_texts(settled, arena, &cached->stored)) {
            return false;
        }
    } else if (!record_may_combine(&cached->stored.record, &settled->record) ||
               !head_unite_stored_names(cached->stored.head, settled->head, arena, &cached->stored.head)) {
        return true;
    }
    struct partial *partial = cached->partial;
    if (partial->flight_count < SLICES_MAX &&
        slices_add(&partial->slices, slice_in(settled->record.slices, 0)) == SLICES_ADDED) {
        partial->flights[partial->flight_count++] = flight_ref(settled->flight);
        count_birth(&cached->stored.record, &settled->record);
    }
    return true;
}

/* `base` was found behind the slices of `cached`, which takes what it holds, if it is part of the same; a whole one
 * takes their place. */
static void add_base(struct cache *cache, struct cached *base, struct arena *arena, struct cached *cached)
{
    const struct record *from = &base->stored.record;
    struct record *record = &cached->stored.record;

    if (base->partial == NULL) {
        cached_finish(cache, cached);
        *cached = *base;
        return;
    }
    if (!record_may_combine(record, from) ||
        !head_unite_stored_names(cached->stored.head, base->stored.head, arena, &cached->stored.head)) {
        cached_finish(cache, base);
        return;
    }
    for (size_t i = 0; i < base->partial->slices.count; i++) {
        (void)slices_add(&cached->partial->slices, base->partial->slices.items[i]); /* full: the rest is missing */
    }
    count_birth(record, from);
    record->object_id = from->object_id;
    record->body_id = from->body_id;
    record->key_len = from->key_len;
    record->head_len = from->head_len;
    record->slices = from->slices;
    cached->stored.pinned = base->stored.pinned;
}

/* What the table says. `*out_ask_store`: the store may add to it. */
static enum store_found find_settled(struct cache *cache, const struct entry *entry, const struct headers *request,
                                     struct arena *arena, struct cached *out_cached, bool *out_ask_store)
{
    enum store_found found = STORE_ABSENT;
    struct cached base;

    for (const struct settled *settled = entry->settled; settled != NULL; settled = settled->next) {
        if (!vary_matches(settled->selection, request, arena)) {
            found = found == STORE_FOUND ? found : STORE_OTHER_VARIANTS;
            continue;
        }
        if (settled_is_slice(settled)) {
            found = STORE_FOUND;
            if (!add_slice(settled, arena, out_cached)) {
                *out_ask_store = false;
                return STORE_ABSENT;
            }
            continue;
        }
        *out_ask_store = false;
        if (!cached_from_settled(cache, settled, arena, &base)) {
            return found == STORE_FOUND ? STORE_FOUND : STORE_ABSENT;
        }
        if (found == STORE_FOUND) {
            add_base(cache, &base, arena, out_cached);
        } else {
            *out_cached = base;
        }
        return STORE_FOUND;
    }
    return found;
}

/* What a look-up knew of purges when it began. */
struct purges_seen {
    uint64_t newest;
    uint64_t trimmed;
};

/* What has been found counts if no hard purge names it; one that began after the look-up need not be seen. Rows trimmed
 * since then cannot be asked any more: that is rare, and then a miss. What no purge names is as if it had been born
 * now: it need not be asked about these again. */
static enum store_found unless_purged(struct cache_reader *reader, const struct key *key,
                                      const struct purges_seen *seen, struct arena *arena, struct cached *cached)
{
    struct record *record = &cached->stored.record;

    if (record->purge_sequence >= seen->newest) {
        return STORE_FOUND;
    }
    cache_apply_purges(reader, key, arena, cached);
    if (cached->purged.effect == PURGED_HARD || purge_set_trimmed(reader->cache->purges) != seen->trimmed) {
        cached_finish(reader->cache, cached);
        *cached = (struct cached){.purged = cached->purged};
        return STORE_ABSENT;
    }
    if (cached->purged.effect == PURGED_NOT) {
        record->purge_sequence = seen->newest;
    }
    return STORE_FOUND;
}

/* What this reader holds of it in memory, if nothing has changed under the key since, and no purge names it. Rows may
 * have been trimmed since it was last asked about: then only the store knows. */
static bool find_hot(struct cache_reader *reader, const struct key *key, const struct headers *request,
                     unsigned version, const struct purges_seen *seen, struct arena *arena, struct cached *out_cached)
{
    struct hot_response *hot = reader->hot == NULL ? NULL : hot_find(reader->hot, key, request, version, arena);

    if (hot == NULL) {
        return false;
    }
    uint64_t birth = hot->stored.record.purge_sequence;
    *out_cached = (struct cached){.stored = hot->stored};
    if (birth < seen->newest) {
        cache_apply_purges(reader, key, arena, out_cached);
        if (out_cached->purged.effect != PURGED_NOT || birth + 1 < purge_set_trimmed(reader->cache->purges)) {
            hot_release(hot);
            return false;
        }
        hot->stored.record.purge_sequence = seen->newest;
    }
    out_cached->hot = hot;
    store_touch(reader->cache->store, hot->stored.record.object_id);
    return true;
}

static enum store_found find_stored(struct cache_reader *reader, const struct key *key, const struct headers *request,
                                    struct arena *arena, struct cached *out_cached)
{
    enum store_found found = store_find(reader->store_reader, key, request, arena, &out_cached->stored);

    if (found == STORE_FOUND && !partial_of_store(arena, out_cached)) {
        cached_finish(reader->cache, out_cached);
        return STORE_ABSENT;
    }
    return found;
}

enum store_found cache_find(struct cache_reader *reader, const struct key *key, const struct headers *request,
                            struct arena *arena, struct cached *out_cached, uint64_t *out_generation)
{
    struct shard *shard = cache_shard(reader->cache, key->hash);
    enum store_found found = STORE_ABSENT;
    bool ask_store = true;

    if (store_is_away(reader->cache->store)) { /* what its new owner does to it is not known here */
        *out_generation = atomic_load_explicit(&shard->generation, memory_order_acquire);
        *out_cached = (struct cached){0};
        return STORE_ABSENT;
    }
    /* In this order, and before anything is looked at: what changes later shows in all of them. */
    *out_generation = atomic_load_explicit(&shard->generation, memory_order_acquire);
    unsigned version = atomic_load_explicit(cache_version(reader->cache, key->hash), memory_order_acquire);
    struct purges_seen seen = {.trimmed = purge_set_trimmed(reader->cache->purges),
                               .newest = purge_set_newest(reader->cache->purges)};
    if (find_hot(reader, key, request, version, &seen, arena, out_cached)) {
        return STORE_FOUND;
    }
    *out_cached = (struct cached){0};
    pthread_mutex_lock(&shard->mutex);
    struct entry *entry = entry_find(shard, key->hash, key->text, false);
    if (entry != NULL) {
        ask_store = entry->removals == 0;
        found = find_settled(reader->cache, entry, request, arena, out_cached, &ask_store);
    }
    pthread_mutex_unlock(&shard->mutex);
    struct cached base = {0};
    enum store_found in_store = ask_store ? find_stored(reader, key, request, arena, &base) : STORE_ABSENT;
    /* RFC 9111 §4: of several that a request selects the newest counts, which only all of them together tell. */
    bool is_newest = found == STORE_ABSENT && in_store == STORE_FOUND && !base.stored.overtaken;
    if (found == STORE_FOUND && in_store == STORE_FOUND) {
        add_base(reader->cache, &base, arena, out_cached);
    } else if (in_store != STORE_ABSENT && found != STORE_FOUND) {
        *out_cached = base;
        found = in_store;
    }
    if (found == STORE_FOUND) {
        found = unless_purged(reader, key, &seen, arena, out_cached);
    }
    if (found == STORE_FOUND && is_newest && out_cached->purged.effect == PURGED_NOT && reader->hot != NULL &&
        hot_wanted(reader->hot, key)) {
        hot_add(reader->hot, key, &out_cached->stored, version);
    }
    return found;
}

struct good_search {
    struct cache_reader *reader;
    const struct key *key;
    struct arena arena; /* for one variant after another */
    bool found;
};

/* The shard's mutex is held where `purges` are the shard's. */
static bool is_good(struct good_search *search, struct purge_reader *purges, const struct record *record,
                    struct span head)
{
    return record->status < 500 &&
           cache_judge(purges, search->key, head, record->purge_sequence, &search->arena).effect != PURGED_HARD;
}

static bool on_variant(void *arg, const struct stored *stored) /* store_variant_fn */
{
    struct good_search *search = arg;
    bool unread = search->arena.starved; /* one before this: it may have been good */

    search->found = unread || is_good(search, search->reader->purges, &stored->record, stored->head);
    arena_reset(&search->arena);
    return !search->found;
}

static bool any_stored_good(struct good_search *search)
{
    (void)store_each_variant(search->reader->store_reader, search->key, &search->arena, on_variant, search);
    return search->found || search->arena.starved;
}

bool cache_holds_good(struct cache_reader *reader, const struct key *key)
{
    struct good_search search = {.reader = reader, .key = key};
    struct shard *shard = cache_shard(reader->cache, key->hash);
    bool ask_store = true;

    if (store_is_away(reader->cache->store)) {
        return false;
    }
    arena_init(&search.arena, VARIANT_MEMORY_BYTES);
    pthread_mutex_lock(&shard->mutex);
    struct entry *entry = entry_find(shard, key->hash, key->text, false);
    if (entry != NULL) {
        ask_store = entry->removals == 0;
        for (const struct settled *settled = entry->settled; settled != NULL; settled = settled->next) {
            search.found = search.found || is_good(&search, shard->purges, &settled->record, settled->head);
        }
    }
    pthread_mutex_unlock(&shard->mutex);
    arena_reset(&search.arena);
    if (!search.found && ask_store) {
        search.found = store_find_is_cold(reader->store_reader, key->hash) || any_stored_good(&search);
    }
    arena_finish(&search.arena);
    return search.found;
}

bool cache_find_is_cold(struct cache_reader *reader, const struct key *key)
{
    return (reader->hot == NULL || !hot_expect(reader->hot, key)) &&
           store_find_is_cold(reader->store_reader, key->hash);
}

bool cached_copy(struct cache *cache, const struct cached *cached, struct arena *arena, struct cached *out_copy)
{
    struct cached copy = *cached;
    struct stored *stored = &copy.stored;

    stored->pinned = false;
    copy.hot = NULL;
    copy.purged.purge.name = (struct span){NULL, 0};
    stored->record.head_override = (struct span){NULL, 0}; /* the head as it stands is in `head` */
    if (!arena_copy(arena, cached->stored.head, &stored->head) ||
        !arena_copy(arena, cached->stored.selection, &stored->selection) ||
        !arena_copy(arena, cached->stored.record.slices, &stored->record.slices) ||
        !arena_copy(arena, cached->stored.body_start, &stored->body_start)) {
        return false;
    }
    if (cached->partial != NULL) {
        copy.partial = arena_alloc(arena, sizeof(*copy.partial));
        if (copy.partial == NULL) {
            return false;
        }
        *copy.partial = *cached->partial;
    }
    if (cached->flight == NULL && cached->stored.pinned) {
        stored->pinned = store_pin_stored(cache->store, &stored->record);
        if (!stored->pinned) {
            return false;
        }
    }
    if (cached->flight != NULL) {
        (void)flight_ref(copy.flight);
    }
    for (size_t i = 0; copy.partial != NULL && i < copy.partial->flight_count; i++) {
        (void)flight_ref(copy.partial->flights[i]);
    }
    *out_copy = copy;
    return true;
}

void cached_finish(struct cache *cache, struct cached *cached)
{
    flight_unref(cached->flight);
    cached->flight = NULL;
    hot_release(cached->hot);
    cached->hot = NULL;
    if (cached->partial != NULL) {
        for (size_t i = 0; i < cached->partial->flight_count; i++) {
            flight_unref(cached->partial->flights[i]);
        }
        cached->partial->flight_count = 0;
        cached->partial->slices.count = 0;
    }
    if (cached->stored.pinned) {
        cached->stored.pinned = false;
        store_unpin_stored(cache->store, &cached->stored.record);
    }
}
