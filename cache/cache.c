/* cache.c: opening, the table of what is known of a key before and besides the store, joining, invalidation. See
 * cache.h. */
#include <string.h>

#include "cache/cache_internal.h"
#include "cache/vary.h"

static bool fill_serves(const struct fill *fill, const struct join_request *join);

static void close_parts(struct cache *cache)
{
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        purge_reader_destroy(cache->shards[i].purges);
    }
    reclaim_close(cache);
    purge_set_destroy(cache->purges);
    store_close(cache->store);
    free(cache->batch);
    free(cache);
}

static enum err open_purges(struct cache *cache)
{
    cache->purges = purge_set_create(store_secret(cache->store));
    if (cache->purges == NULL) {
        return ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        cache->shards[i].purges = purge_reader_create(cache->purges);
        if (cache->shards[i].purges == NULL) {
            return ERR_NO_MEMORY;
        }
    }
    enum err error = cache_load_purges(cache);
    return error == ERR_OK ? reclaim_open(cache) : error;
}

enum err cache_open(const struct cache_options *options, struct cache **out_cache, struct buf *out_note)
{
    struct cache *cache = calloc(1, sizeof(*cache));
    pthread_condattr_t attributes;

    if (cache == NULL) {
        return ERR_NO_MEMORY;
    }
    cache->batch = calloc(1, sizeof(*cache->batch));
    enum err error = cache->batch == NULL ? ERR_NO_MEMORY : store_open(&options->store, &cache->store, out_note);
    if (error == ERR_OK) {
        error = open_purges(cache);
    }
    if (error != ERR_OK) {
        close_parts(cache);
        return error;
    }
    stream_memory_init(&cache->stream_memory,
                       options->stream_memory_bytes > 0 ? options->stream_memory_bytes : SIZE_MAX);
    cache->pass_window_bytes = options->window_bytes;
    cache->fill_window_bytes = options->write_queue_bytes / 8;
    cache->hit_for_miss_ms = options->hit_for_miss_ms;
    cache->hot_bytes = options->hot_bytes;
    cache->queue.limit_bytes = options->write_queue_bytes;
    REQUIRE(pthread_mutex_init(&cache->queue.mutex, NULL) == 0);
    REQUIRE(pthread_mutex_init(&cache->purge_mutex, NULL) == 0);
    REQUIRE(pthread_condattr_init(&attributes) == 0);
    REQUIRE(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    REQUIRE(pthread_cond_init(&cache->queue.changed, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        REQUIRE(pthread_mutex_init(&cache->shards[i].mutex, NULL) == 0);
    }
    *out_cache = cache;
    return ERR_OK;
}

static void shard_finish(struct shard *shard)
{
    for (size_t i = 0; i < SHARD_BUCKETS; i++) {
        while (shard->buckets[i] != NULL) {
            struct entry *entry = shard->buckets[i];
            REQUIRE(entry->fills == NULL);
            REQUIRE(entry->settled == NULL);
            shard->buckets[i] = entry->next;
            free(entry);
        }
    }
    pthread_mutex_destroy(&shard->mutex);
}

void cache_close(struct cache *cache)
{
    if (cache == NULL) {
        return;
    }
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        shard_finish(&cache->shards[i]);
    }
    REQUIRE(cache->queue.jobs.first == NULL);
    REQUIRE(cache->queue.purges.first == NULL);
    pthread_cond_destroy(&cache->queue.changed);
    pthread_mutex_destroy(&cache->queue.mutex);
    pthread_mutex_destroy(&cache->purge_mutex);
    stream_memory_finish(&cache->stream_memory);
    close_parts(cache);
}

struct cache_reader *cache_reader_create(struct cache *cache)
{
    struct cache_reader *reader = calloc(1, sizeof(*reader));

    if (reader == NULL) {
        return NULL;
    }
    reader->cache = cache;
    reader->store_reader = store_reader_create(cache->store);
    reader->purges = purge_reader_create(cache->purges);
    if (reader->store_reader == NULL || reader->purges == NULL) {
        cache_reader_destroy(reader);
        return NULL;
    }
    reader->hot = hot_create(cache->hot_bytes);
    return reader;
}

void cache_reader_destroy(struct cache_reader *reader)
{
    if (reader != NULL) {
        hot_destroy(reader->hot);
        store_reader_destroy(reader->store_reader);
        purge_reader_destroy(reader->purges);
        free(reader);
    }
}

void cache_reader_retire(struct cache_reader *reader)
{
    if (reader != NULL) {
        hot_retire(reader->hot);
    }
}

struct cache *cache_reader_cache(struct cache_reader *reader)
{
    return reader->cache;
}

struct store_reader *cache_reader_store(struct cache_reader *reader)
{
    return reader->store_reader;
}

size_t cache_stream_bytes(const struct cache *cache)
{
    return atomic_load_explicit(&cache->stream_memory.bytes, memory_order_relaxed);
}

uint64_t cache_secret(const struct cache *cache)
{
    return store_secret(cache->store);
}

struct store *cache_store(struct cache *cache)
{
    return cache->store;
}

/* ---- entries ---- */

struct shard *cache_shard(struct cache *cache, struct key_hash hash)
{
    return &cache->shards[hash.high % SHARD_COUNT];
}

atomic_uint *cache_version(struct cache *cache, struct key_hash hash)
{
    return &cache->versions[hash.low % VERSION_SLOTS];
}

void cache_changed(struct cache *cache, struct key_hash hash)
{
    (void)atomic_fetch_add_explicit(cache_version(cache, hash), 1, memory_order_release);
}

struct entry *entry_find(struct shard *shard, struct key_hash hash, struct span text, bool create)
{
    struct entry **bucket = &shard->buckets[hash.low % SHARD_BUCKETS];

    for (struct entry *entry = *bucket; entry != NULL; entry = entry->next) {
        if (key_hash_equal(entry->hash, hash) && span_equal(entry->text, text)) {
            return entry;
        }
    }
    if (!create) {
        return NULL;
    }
    struct entry *entry = calloc(1, sizeof(*entry) + text.len);
    if (entry != NULL) {
        char *copy = (char *)(entry + 1);
        memcpy(copy, text.data, text.len);
        entry->text = (struct span){copy, text.len};
        entry->hash = hash;
        entry->shard = shard;
        entry->next = *bucket;
        *bucket = entry;
    }
    return entry;
}

void entry_release(struct entry *entry)
{
    if (entry->fills != NULL || entry->settled != NULL || entry->removals > 0 || entry->noted) {
        return;
    }
    struct entry **link = &entry->shard->buckets[entry->hash.low % SHARD_BUCKETS];
    while (*link != entry) {
        link = &(*link)->next;
    }
    *link = entry->next;
    free(entry);
}

void settled_unlink(struct settled *settled)
{
    struct settled **link = &settled->entry->settled;

    while (*link != settled) {
        REQUIRE(*link != NULL);
        link = &(*link)->next;
    }
    *link = settled->next;
    settled->next = NULL;
}

void settled_forget(struct settled *settled)
{
    struct shard *shard = settled->shard;

    REQUIRE(shard != NULL);
    pthread_mutex_lock(&shard->mutex);
    if (!settled->dead) {
        struct entry *entry = settled->entry;
        settled_unlink(settled);
        shard->generation++;
        entry_release(entry);
    }
    pthread_mutex_unlock(&shard->mutex);
    settled_destroy(settled);
}

void settled_destroy(struct settled *settled)
{
    if (settled == NULL) {
        return;
    }
    if (settled->pinned != NULL) {
        store_unpin_stored(settled->pinned, &settled->record);
    }
    flight_unref(settled->flight);
    free(settled);
}

/* ---- joining ---- */

bool cache_flight_serves(const struct flight *flight, const struct http_request *request, int64_t now_ms,
                         struct arena *arena)
{
    const struct flight_head *head = flight_head(flight);

    return head->shared && vary_matches(head->selection, &request->headers, arena) &&
           policy_may_reuse(request, &head->record, &head->policy, now_ms).reuse == REUSE_SERVE;
}

static bool same_range(const struct range_spec *wanted, const struct range_spec *fetched)
{
    return wanted != NULL && wanted->kind == fetched->kind && wanted->first == fetched->first &&
           wanted->last == fetched->last;
}

/* What comes, or may come, is a part, and not the one that is wanted. Once the head is there it counts: an origin that
 * was asked for a part may answer with the whole. */
static bool is_another_part(const struct fill *fill, enum flight_phase phase, const struct join_request *join)
{
    bool has_head = phase == FLIGHT_STREAMING || phase == FLIGHT_COMPLETE;

    return fill->ranged && !(has_head && !flight_head(fill->flight)->partial) && !same_range(join->range, &fill->range);
}

/* What was asked for before a purge that names it is for those only who came before it, too. */
static bool fill_is_purged(const struct fill *fill, enum flight_phase phase, const struct join_request *join)
{
    struct span head = {NULL, 0};
    uint64_t birth = atomic_load_explicit(&fill->birth, memory_order_relaxed);

    if (birth >= purge_set_newest(fill->cache->purges)) {
        return false;
    }
    if (phase == FLIGHT_STREAMING || phase == FLIGHT_COMPLETE) {
        head = flight_head(fill->flight)->fields;
    }
    return cache_judge(fill->shard->purges, join->key, head, birth, join->arena).effect != PURGED_NOT ||
           cache_purges_asked(fill, birth, join->arena);
}

static bool fill_serves(const struct fill *fill, const struct join_request *join)
{
    if (!fill->joinable || fill->invalidated) {
        return false; /* the flight of one that is not joinable may be another thread's alone */
    }
    enum flight_phase phase = flight_phase(fill->flight);
    if (is_another_part(fill, phase, join) || fill_is_purged(fill, phase, join)) {
        return false;
    }
    if (phase == FLIGHT_PENDING) {
        return true;
    }
    return (phase == FLIGHT_STREAMING || phase == FLIGHT_COMPLETE) &&
           cache_flight_serves(fill->flight, join->request, join->now_ms, join->arena);
}

/* The fill whose flight `party` follows now, or NULL. */
static struct fill *follow_one(const struct entry *entry, const struct join_request *join, struct party *party)
{
    for (struct fill *fill = entry->fills; fill != NULL; fill = fill->next) {
        if (fill_serves(fill, join) && flight_join(fill->flight, party)) {
            return fill;
        }
    }
    return NULL;
}

static enum join join_locked(struct cache *cache, struct entry *entry, const struct join_request *join,
                             struct party *party, struct flight **out_flight, struct fill **out_fill)
{
    bool alone = join->wish == JOIN_WITHOUT_OTHERS;

    if (join->wish == JOIN_ONLY_LEAD && entry->fills != NULL) {
        return JOIN_FOLLOW;
    }
    if (join->wish == JOIN_WITH_OTHERS) {
        alone = join->monotonic_ms < entry->alone_until_ms;
    }
    if (!alone && entry->shard->generation != join->generation) {
        return JOIN_LOOK_AGAIN;
    }
    struct fill *fill = alone ? NULL : follow_one(entry, join, party);
    if (fill != NULL) {
        *out_flight = flight_ref(fill->flight);
        return JOIN_FOLLOW;
    }
    if (join->wish == JOIN_IF_RUNNING) {
        return JOIN_NOBODY;
    }
    fill = fill_create(cache, entry, !alone, join->range);
    if (fill == NULL) {
        return JOIN_FAILED;
    }
    fill->ranged = fill->ranged || join->several;
    flight_set_begun(fill->flight, join->monotonic_ms);
    fill->found_before = join->found;
    *out_fill = fill;
    *out_flight = flight_ref(fill->flight);
    return alone ? JOIN_ALONE : JOIN_LEAD;
}

enum join cache_join(struct cache *cache, const struct join_request *join, struct party *party,
                     struct flight **out_flight, struct fill **out_fill)
{
    struct shard *shard = cache_shard(cache, join->key->hash);
    enum join result = JOIN_FAILED;

    pthread_mutex_lock(&shard->mutex);
    struct entry *entry = entry_find(shard, join->key->hash, join->key->text, true);
    if (entry != NULL) {
        result = join_locked(cache, entry, join, party, out_flight, out_fill);
        entry_release(entry);
    }
    pthread_mutex_unlock(&shard->mutex);
    return result;
}

bool cache_pass(struct cache *cache, struct flight **out_flight, struct fill **out_fill)
{
    *out_fill = fill_create(cache, NULL, false, NULL);
    if (*out_fill == NULL) {
        return false;
    }
    *out_flight = flight_ref((*out_fill)->flight);
    return true;
}

/* ---- invalidation ---- */

void cache_invalidate(struct cache *cache, const struct key *key, const struct fill *except)
{
    struct shard *shard = cache_shard(cache, key->hash);

    pthread_mutex_lock(&shard->mutex);
    struct entry *entry = entry_find(shard, key->hash, key->text, true);
    if (entry != NULL) {
        for (struct fill *fill = entry->fills; fill != NULL; fill = fill->next) {
            fill->invalidated = fill->invalidated || fill != except;
        }
        while (entry->settled != NULL) {
            struct settled *settled = entry->settled;
            settled->dead = true; /* the disk thread finds it so, and frees it */
            settled_unlink(settled);
        }
        if (!queue_push_removal(&cache->queue, entry)) {
            store_give_up(cache->store);
        }
        entry_release(entry);
    } else {
        store_give_up(cache->store);
    }
    cache_changed(cache, key->hash);
    pthread_mutex_unlock(&shard->mutex);
}

/* The two halves of the hash: one says where, the other which. */
static atomic_uint_fast64_t *invalidated_slot(struct cache *cache, struct key_hash hash)
{
    return &cache->invalidated[hash.low % INVALIDATED_SLOTS];
}

void cache_note_invalidated(struct cache *cache, const struct key *key)
{
    atomic_store_explicit(invalidated_slot(cache, key->hash), key->hash.high, memory_order_relaxed);
}

bool cache_was_invalidated(struct cache *cache, const struct key *key)
{
    return atomic_load_explicit(invalidated_slot(cache, key->hash), memory_order_relaxed) == key->hash.high &&
           key->hash.high != 0;
}

void cache_forget_invalidated(struct cache *cache, struct key_hash hash)
{
    uint_fast64_t is = hash.high;

    (void)atomic_compare_exchange_strong_explicit(invalidated_slot(cache, hash), &is, 0, memory_order_relaxed,
                                                  memory_order_relaxed);
}
