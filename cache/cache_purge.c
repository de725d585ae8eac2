/* cache_purge.c: purging: rows into memory, into the journal, and what they make of what a look-up found. See cache.h.
 *
 * Happy path: each purge gets the next sequence and is put into the set (purge_set.h), the rows are queued, then the
 * sequence is published: what is asked of an origin from now on is born with it. The disk thread commits the rows and
 * tells who waits. Rows are queued before their sequence is published, so that they are on the disk with or before
 * everything that was born after them.
 *
 * Failures: rows that the disk refuses are tried again (purge_queue.c): they are in force in this process, and who
 * waits is told after a few tries that they are not durable. */
#include <stdlib.h>

#include "cache/cache_internal.h"

enum {
    GROUPS_MAX_PERCENT = 50, /* of the set: as far as origins may fill it */
    ROW_OVERHEAD_BYTES = 64,
};

/* ---- asking ---- */

struct purge_verdict cache_judge(struct purge_reader *reader, const struct key *key, struct span head, uint64_t birth,
                                 struct arena *arena)
{
    struct purge_subject subject = {.url = key_url(key->text), .head = head, .birth = birth};

    if (!key_is_recording(key->text)) { /* that is purged by the hash of another key */
        subject.hash = key->hash;
    }
    return purge_set_judge(reader, &subject, arena);
}

/* Whoever purged the URL could not know of the other key: it is the response that names it. */
bool cache_purges_asked(const struct fill *fill, uint64_t birth, struct arena *arena)
{
    const struct purge_subject subject = {
        .hash = fill->asked, .url = SPAN_INIT(""), .head = SPAN_INIT(""), .birth = birth};

    return !key_hash_equal(fill->asked, fill->hash) &&
           purge_set_judge(fill->shard->purges, &subject, arena).effect != PURGED_NOT;
}

void cache_apply_purges(struct cache_reader *reader, const struct key *key, struct arena *arena, struct cached *cached)
{
    struct record *record = &cached->stored.record;

    cached->purged = cache_judge(reader->purges, key, cached->stored.head, record->purge_sequence, arena);
    if (cached->purged.effect == PURGED_SOFT) {
        record->inputs.purged_ms = cached->purged.purge.time_ms;
    }
}

/* ---- purging ---- */

/* The rows of one call, in one block: what the job borrows. NULL: no memory. */
static struct purge_rows *rows_create(const struct purge *purges, size_t count)
{
    struct purge_rows *rows = calloc(1, sizeof(*rows) + count * sizeof(rows->items[0]));
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        bytes += purges[i].name.len + ROW_OVERHEAD_BYTES;
    }
    if (rows != NULL) {
        buf_init(&rows->bytes, bytes);
        rows->memory_bytes = sizeof(*rows) + count * sizeof(rows->items[0]) + bytes;
        if (buf_reserve(&rows->bytes, bytes) == NULL) { /* it never moves after this */
            free(rows);
            return NULL;
        }
    }
    return rows;
}

void purge_rows_destroy(struct purge_rows *rows)
{
    if (rows != NULL) {
        buf_finish(&rows->bytes);
        free(rows);
    }
}

static void add_row(struct purge_rows *rows, const struct purge *purge, uint64_t replaced)
{
    size_t before = rows->bytes.len;

    purge_encode(purge, &rows->bytes);
    rows->items[rows->count++] = (struct store_purge){
        .sequence = purge->sequence, .replaced = replaced, .row = span_skip(buf_span(&rows->bytes), before)};
}

/* The purge mutex is held. What was put into the set stays in force, whatever fails behind it. */
static enum err add_all(struct cache *cache, const struct purge *purges, size_t count, struct purge_rows *rows)
{
    uint64_t sequence = purge_set_newest(cache->purges);
    enum err error = ERR_OK;

    for (size_t i = 0; i < count && error == ERR_OK; i++) {
        struct purge purge = purges[i];
        uint64_t replaced;
        purge.sequence = sequence + 1;
        error = purge_set_add(cache->purges, &purge, &replaced);
        if (error == ERR_OK) {
            sequence = purge.sequence;
            add_row(rows, &purge, replaced);
        }
    }
    struct job job = {.kind = JOB_PURGE, .rows = rows, .bytes = rows->memory_bytes};
    if (error == ERR_OK && !queue_push(&cache->queue, &job)) {
        error = ERR_NO_MEMORY;
    }
    purge_set_publish(cache->purges, sequence);
    return error;
}

/* The same, if there is room for the rows in the queue. */
static enum err add_admitted(struct cache *cache, const struct purge *purges, size_t count, struct purge_rows *rows)
{
    size_t bytes = rows->memory_bytes;

    if (!queue_admit_purge(&cache->queue, bytes)) {
        return ERR_LIMIT;
    }
    enum err error = add_all(cache, purges, count, rows);
    if (error != ERR_OK) {
        queue_end_purge(&cache->queue, bytes);
    }
    return error;
}

enum err cache_purge(struct cache *cache, const struct purge *purges, size_t count, cache_purged_fn done, void *arg)
{
    REQUIRE(count > 0 && count <= CACHE_PURGES_MAX);

    struct purge_rows *rows = rows_create(purges, count);
    enum err error = rows != NULL ? ERR_OK : ERR_NO_MEMORY;
    for (size_t i = 0; i < count && error == ERR_OK; i++) {
        error = purge_valid(&purges[i]) ? ERR_OK : ERR_BAD_TARGET;
    }
    if (error == ERR_OK) {
        rows->done = done;
        rows->arg = arg;
        pthread_mutex_lock(&cache->purge_mutex);
        for (size_t i = 0; i < count && error == ERR_OK; i++) {
            error = purge_set_has_room(cache->purges, &purges[i], count) ? ERR_OK : ERR_LIMIT;
        }
        if (error == ERR_OK) {
            error = add_admitted(cache, purges, count, rows);
        }
        pthread_mutex_unlock(&cache->purge_mutex);
    }
    if (error != ERR_OK) {
        purge_rows_destroy(rows);
    }
    return error;
}

bool cache_purge_row(struct cache *cache, uint64_t sequence, struct span row)
{
    struct purge purge;

    return purge_decode(row, sequence, &purge) && cache_purge(cache, &purge, 1, NULL, NULL) == ERR_OK;
}

void cache_invalidate_groups(struct cache *cache, struct span url, struct cache_groups groups, int64_t now_ms,
                             struct arena *arena)
{
    struct purge purges[CACHE_GROUPS_MAX];
    struct span group;
    size_t count = 0;
    bool all = groups.dropped_count == 0;

    pthread_mutex_lock(&cache->purge_mutex);
    all = all && purge_set_fill_percent(cache->purges) < GROUPS_MAX_PERCENT;
    pthread_mutex_unlock(&cache->purge_mutex);
    while (all && cache_groups_next(&groups, &group)) {
        const struct span parts[] = {purge_url_origin(url), SPAN_INIT(" "), group};
        purges[count] = (struct purge){.kind = PURGE_GROUP, .mode = PURGE_HARD, .time_ms = now_ms};
        all = arena_join(arena, parts, ARRAY_LEN(parts), &purges[count].name);
        count++;
    }
    if (!all) { /* one row says more than enough */
        purges[0] =
            (struct purge){.kind = PURGE_HOST, .mode = PURGE_HARD, .name = purge_url_host(url), .time_ms = now_ms};
        count = 1;
    }
    if (count > 0) {
        enum err error = cache_purge(cache, purges, count, NULL, NULL);
        (void)error; /* without memory, or with a set that hosts have filled, it is not done: RFC 9875 §3 says MAY */
    }
}

/* ---- opening ---- */

struct loading {
    struct cache *cache;
    enum err error;
    uint64_t sequence;
};

static bool on_purge(void *arg, uint64_t sequence, struct span row) /* store_purge_fn */
{
    struct loading *loading = arg;

    loading->error = purge_set_load(loading->cache->purges, sequence, row);
    loading->sequence = sequence;
    return loading->error == ERR_OK;
}

enum err cache_load_purges(struct cache *cache)
{
    struct loading loading = {.cache = cache};
    struct store_reader *reader = store_reader_create(cache->store);

    if (reader == NULL) {
        return ERR_NO_MEMORY;
    }
    enum err error = store_each_purge(reader, 0, on_purge, &loading);
    store_reader_destroy(reader);
    purge_set_publish(cache->purges, loading.sequence);
    return error == ERR_OK ? loading.error : error;
}
