/* exchange_purge.c: PURGE, a request that purges its own URL, where a site has purge_from.
 *
 * Happy path: the client's address is allowed, as is whom it names if it is a trusted proxy; everything stored for the
 *             URL is dead; once that is durable the answer is 200, or 404 where nothing was stored (what was on its way
 *             from the origin is dead, too).
 * Failures:   - another address: 403.
 *             - another process has taken the store over, which knows nothing of the purge: 503, and who asks again
 *               asks that one.
 *             - the disk refuses, or takes too long: 500; the purge is in force, and written when the disk allows.
 *             - the client is gone: the purge goes on. */
#include "proxy/exchange/exchange_internal.h"
#include "proxy/exchange/purge_names.h"
#include "proxy/exchange/purge_wait.h"
#include "proxy/server/worker.h"

static bool is_listed(const struct site *site, const char *address)
{
    return networks_have(site->purge_from, site->purge_from_count, address);
}

/* All that comes through a proxy in front comes from its address: that alone would let everybody purge. */
static bool is_allowed(const struct exchange *ex)
{
    struct span named;

    return is_listed(ex->site, ex->client) &&
           (ex->named.len == 0 ||
            (arena_format(ex->arena, &named, "%.*s", SPAN_ARG(ex->named)) && is_listed(ex->site, named.data)));
}

/* Is anything stored for it, by whatever variant? */
static bool is_stored(struct exchange *ex, const struct purge_list *list)
{
    bool stored = false;

    for (size_t i = 0; i < list->count && ex->worker->cache_reader != NULL && !stored; i++) {
        struct span parts[] = {SPAN("GET "), list->items[i].name};
        struct key key;
        struct cached cached = {0};
        uint64_t generation;
        if (!arena_join(ex->arena, parts, ARRAY_LEN(parts), &key.text)) {
            return false;
        }
        key.hash = key_hash_of(key.text, cache_secret(ex->worker->cache));
        stored = cache_find(ex->worker->cache_reader, &key, &ex->request.headers, ex->arena, &cached, &generation) !=
                 STORE_ABSENT;
        stored = stored && cached.purged.effect != PURGED_HARD;
        cached_finish(ex->worker->cache, &cached);
    }
    return stored;
}

/* It is not durable. */
static void fail(struct exchange *ex, enum err error)
{
    if (store_is_away(cache_store(ex->worker->cache))) {
        ex->status = 503;
        exchange_because(ex, REASON_STORE_AWAY, NULL);
    } else {
        ex->status = error == ERR_LIMIT ? 503 : 500;
        ex->error = error;
    }
}

static void on_durable(void *arg, uint64_t sequence, enum err error) /* purge_wait_fn */
{
    struct exchange *ex = arg;
    struct span text;

    ex->purging = NULL;
    stream_set_deadline(ex->stream, 0);
    if (arena_format(ex->arena, &text, "sequence %llu", (unsigned long long)sequence)) {
        ex->purge_text = text.data;
        ex->rule = ex->purge_text;
    }
    if (error != ERR_OK) {
        fail(ex, error);
    }
    exchange_resume(ex, STEP_REPLY);
}

enum step exchange_purge(struct exchange *ex)
{
    struct purge_list *list = arena_alloc(ex->arena, sizeof(*list));

    if (!is_allowed(ex)) {
        ex->status = 403;
        ex->reason = REASON_PURGE_REFUSED;
        return STEP_REPLY;
    }
    if (store_is_away(cache_store(ex->worker->cache))) {
        fail(ex, ERR_OK);
        return STEP_REPLY;
    }
    if (list == NULL) {
        return exchange_fail(ex, ERR_ARENA_FULL, REASON_BAD_REQUEST);
    }
    list->mode = PURGE_HARD;
    list->time_ms = ex->time_ms;
    enum err error = purge_add_uri(list, ex->worker->config, ex->worker->cache, ex->worker->cache_reader,
                                   &ex->request.uri, ex->arena);
    if (error == ERR_OK) {
        ex->status = is_stored(ex, list) ? 200 : 404;
        error = purge_wait_begin(ex->worker->cache, &ex->worker->mailbox, list->items, list->count, on_durable, ex,
                                 &ex->purging);
    }
    ex->reason = REASON_PURGE;
    if (error != ERR_OK) {
        fail(ex, error);
        return STEP_REPLY;
    }
    stream_set_deadline(ex->stream, PURGE_WAIT_MS);
    return STEP_WAIT;
}

enum step exchange_purge_waited(struct exchange *ex)
{
    purge_wait_forget(ex->purging);
    ex->purging = NULL;
    fail(ex, ERR_TIMEOUT);
    return STEP_REPLY;
}
