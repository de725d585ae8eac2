/* exchange_lookup.c: the step that asks the cache: whether it is asked at all, whether the disk must be waited for,
 * under which keys is looked, and which of several responses counts. */
#include "cache/head.h"
#include "cache/search.h"
#include "http/forward.h"
#include "proxy/exchange/cold.h"
#include "proxy/exchange/decide.h"
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

/* What is stored under `ex->key`, which is the URL's own; afterwards it is the one to fetch under. Offline what was
 * recorded counts, too: of the two the one that was received last. */
static enum store_found look_up_all(struct exchange *ex)
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

static void on_warm(void *arg) /* cold_done_fn */
{
    struct exchange *ex = arg;

    ex->cold = NULL;
    if (ex->step == STEP_LOOKUP) {
        ex->warm = true;
        exchange_resume(ex, STEP_LOOKUP);
    }
}

/* Is what the look-up will touch on the disk only? Then another thread reads it first, once: where memory is short it
 * may be gone again, and this client would wait for ever. (Keys that no_vary_search looks under are not asked about:
 * they are as hot as their path; nor are recordings.) */
static bool awaits_disk(struct exchange *ex)
{
    bool warm = ex->warm;

    ex->warm = false;
    if (warm || !cache_find_is_cold(ex->worker->cache_reader, &ex->key)) {
        return false;
    }
    ex->cold = cold_find_start(&ex->worker->loop, cache_store(ex->worker->cache), ex->key.hash, on_warm, ex);
    return ex->cold != NULL; /* else it must be had here */
}

enum step exchange_lookup(struct exchange *ex)
{
    bool offline = ex->policy.mode == MODE_OFFLINE;

    if (!policy_may_lookup(&ex->request, &ex->policy, &ex->reason)) {
        if (offline) {
            return exchange_offline_miss(ex);
        }
        ex->outcome = decide_bypass_outcome(ex->reason);
        ex->rule = ex->reason == REASON_BYPASS_RULE ? ex->policy.rule[SETTING_BYPASS] : NULL;
        return STEP_PASS;
    }
    /* What Connection names away is not seen by the origin, so nothing may be selected by it. */
    if (!forward_remove_hop_by_hop(&ex->request.headers)) {
        return exchange_fail(ex, arena_error(ex->arena), REASON_BAD_REQUEST);
    }
    if (ex->worker->cache_reader == NULL && offline) {
        return exchange_offline_miss(ex);
    }
    if (ex->worker->cache_reader == NULL) {
        ex->outcome = OUTCOME_MISS;
        exchange_because(ex, REASON_STORE_FAILED, NULL);
        return STEP_PASS;
    }
    if (!key_of_uri(&ex->request.uri, cache_secret(ex->worker->cache), ex->arena, &ex->key)) {
        return exchange_fail(ex, arena_error(ex->arena), REASON_BAD_REQUEST);
    }
    if (awaits_disk(ex)) {
        return STEP_WAIT;
    }
    ex->look_ups++;
    enum store_found found = look_up_all(ex);
    ex->found_any = found != STORE_ABSENT;
    ex->outcome = found == STORE_OTHER_VARIANTS ? OUTCOME_VARY_MISS : OUTCOME_URI_MISS;
    exchange_because(ex, found == STORE_OTHER_VARIANTS ? REASON_VARY_MISS : REASON_URI_MISS, NULL);
    if (ex->cached.purged.effect == PURGED_HARD) {
        ex->purge_text = decide_purge_text(&ex->cached.purged.purge, ex->arena);
        exchange_because(ex, REASON_PURGED, ex->purge_text);
    } else if (found == STORE_ABSENT && cache_was_invalidated(ex->worker->cache, &ex->key)) {
        exchange_because(ex, REASON_INVALIDATED, NULL);
    }
    return STEP_DECIDE;
}

/* The store remembers such a body and finds it no more. What is found after this may be another response that is no
 * better, so this counts as a look-up in vain: a second disappointment is enough. */
enum step exchange_unreadable(struct exchange *ex)
{
    exchange_leave_flight(ex);
    ex->has_cached = false;
    ex->validated = false;
    ex->replays = false;
    ex->completing = false;
    ex->not_combined = true;
    ex->begun = false;
    ex->source = SOURCE_NONE;
    ex->store_reason = REASON_NONE;
    ex->error = ERR_OK;
    ex->look_ups++;
    ex->outcome = OUTCOME_MISS;
    exchange_because(ex, REASON_UNREADABLE, NULL);
    if (ex->policy.mode == MODE_OFFLINE && ex->look_ups < EXCHANGE_MAX_LOOK_UPS) {
        return STEP_LOOKUP; /* there may be the other of the stored response and the recording */
    }
    return exchange_decide_fetch(ex);
}
