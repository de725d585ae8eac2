/* fetch_search.c: the key of what is fetched, where a response says which differences of its query do not matter
 * (cache/search.h), and where it is only recorded (cache/key.h). */
#include "proxy/origin/fetch_internal.h"

#include "cache/search.h"
#include "proxy/server/worker.h"

bool fetch_settle_key(struct fetch *fetch, const struct policy *policy)
{
    struct worker *worker = fetch->worker;
    uint64_t secret = cache_secret(worker->cache);
    struct search search;
    struct key key;

    if (!policy->no_vary_search && !search_is_marked(fetch->key.text)) {
        return true;
    }
    bool by_search = policy->no_vary_search &&
                     search_learn(worker->cache, worker->cache_reader, &fetch->request.uri, &fetch->response.headers,
                                  uv_now(&worker->loop), &fetch->arena, &search) &&
                     search_key(&search, &fetch->request.uri, secret, &fetch->arena, &key);
    if (!by_search && !key_of_uri(&fetch->request.uri, secret, &fetch->arena, &key)) {
        return false;
    }
    if (span_equal(key.text, fetch->key.text)) {
        return true;
    }
    if (!cache_fill_rekey(fetch->fill, &key)) {
        return false;
    }
    if (fetch->validating) { /* else it would be found, and asked about, each time before the new one */
        cache_invalidate(worker->cache, &fetch->key, fetch->fill);
    }
    fetch->key = key;
    fetch->rekeyed = true;
    return true;
}

bool fetch_settle_recording(struct fetch *fetch)
{
    struct worker *worker = fetch->worker;
    struct key key;

    if (!key_of_recording(&fetch->request.uri, cache_secret(worker->cache), &fetch->arena, &key) ||
        !cache_fill_record(fetch->fill, &key, uv_now(&worker->loop))) {
        return false;
    }
    fetch->key = key;
    fetch->rekeyed = true;
    return true;
}

/* Is it known, without waiting for the disk, that something is stored under the key? */
static bool is_stored(struct fetch *fetch, const struct key *key)
{
    struct cache_reader *reader = fetch->worker->cache_reader;
    struct cached cached = {0};
    uint64_t generation;

    if (reader == NULL || cache_find_is_cold(reader, key)) {
        return false;
    }
    enum store_found found = cache_find(reader, key, &fetch->request.headers, &fetch->arena, &cached, &generation);
    cached_finish(fetch->worker->cache, &cached);
    return found != STORE_ABSENT;
}

static void invalidate(struct fetch *fetch, const struct key *key)
{
    if (is_stored(fetch, key)) {
        cache_note_invalidated(fetch->worker->cache, key);
    }
    cache_invalidate(fetch->worker->cache, key, fetch->fill);
}

void fetch_invalidate_uri(struct fetch *fetch, const struct uri *uri)
{
    struct worker *worker = fetch->worker;
    uint64_t secret = cache_secret(worker->cache);
    struct search search;
    struct key key;

    if (key_of_uri(uri, secret, &fetch->arena, &key)) {
        invalidate(fetch, &key);
    }
    if (worker->cache_reader != NULL && search_find(worker->cache_reader, uri, &fetch->arena, &search) &&
        search_key(&search, uri, secret, &fetch->arena, &key)) {
        invalidate(fetch, &key);
    }
}
