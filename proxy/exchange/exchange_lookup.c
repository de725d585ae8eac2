/* exchange_lookup.c: what is stored for a request: under which keys it is looked for, and which of several counts. */
#include "cache/head.h"
#include "cache/search.h"
#include "proxy/exchange/exchange_internal.h"
#include "proxy/server/worker.h"

/* What is stored under `ex->key`. */
static enum store_found find(struct exchange *ex)
{
    cached_finish(ex->worker->cache, &ex->cached);
    enum store_found found =
        cache_find(ex->worker->cache_reader, &ex->key, &ex->request.headers, ex->arena, &ex->cached, &ex->generation);
    if (ex->cached.hot != NULL) {
        ex->stored_headers = ex->cached.hot->headers; /* borrowed, to be read only */
        ex->has_cached = true;
    } else {
        ex->has_cached =
            found == STORE_FOUND && head_read(ex->cached.stored.head, ex->arena, &ex->stored_headers) == ERR_OK;
    }
    return found;
}

/* Under the key that responses of this path ask for, where they do and a rule listens (cache/search.h), then under the
 * URL's own. What is not found will be fetched under the first of them. */
static enum store_found look_up(struct exchange *ex)
{
    struct key own = ex->key;
    struct search search;

    if (!ex->policy.no_vary_search || !search_find(ex->worker->cache_reader, &ex->request.uri, ex->arena, &search) ||
        !search_key(&search, &ex->request.uri, cache_secret(ex->worker->cache), ex->arena, &ex->key)) {
        ex->key = own;
        return find(ex);
    }
    struct key shared = ex->key;
    enum store_found found = find(ex);
    uint64_t generation = ex->generation;
    if (ex->has_cached && search_serves(shared.text, &ex->stored_headers, &ex->request.uri, ex->arena)) {
        return found;
    }
    ex->key = own;
    enum store_found found_own = find(ex);
    if (ex->has_cached) {
        return found_own;
    }
    ex->key = shared;
    ex->generation = generation;
    return found == STORE_ABSENT ? found_own : STORE_OTHER_VARIANTS;
}

enum store_found exchange_look_up(struct exchange *ex)
{
    enum store_found found = look_up(ex);
    if (ex->policy.mode != MODE_OFFLINE) {
        return found;
    }
    struct cached stored = ex->cached;
    struct headers headers = ex->stored_headers;
    struct key key = ex->key;
    bool has = ex->has_cached;

    if (!key_of_recording(&ex->request.uri, cache_secret(ex->worker->cache), ex->arena, &ex->key)) {
        return found;
    }
    ex->cached = (struct cached){0};
    enum store_found recorded = find(ex);
    ex->key = key;
    ex->replays = ex->has_cached &&
                  (!has || ex->cached.stored.record.inputs.response_ms >= stored.stored.record.inputs.response_ms);
    if (ex->replays) {
        cached_finish(ex->worker->cache, &stored);
        return recorded;
    }
    cached_finish(ex->worker->cache, &ex->cached);
    ex->cached = stored;
    ex->stored_headers = headers;
    ex->has_cached = has;
    return found;
}
