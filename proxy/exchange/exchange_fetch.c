/* exchange_fetch.c: the steps of an exchange that needs the origin: who asks it, waiting for its head, and what its
 * answer or silence means.
 *
 * - JOIN: what is stored and stale is served at once where a fetch would stand in line at an origin, or ask one that
 *   is known to fail, and this is allowed. Else one fetch a key: follow the one that runs, lead a new one, or (when its
 *   answers cannot be shared) fetch alone.
 * - PASS: a fetch of its own, past the cache.
 * - AWAIT: the head, and of a small response for a moment the end of the body where that is news for the head. Then
 *   there is a response, a confirmation (304), a flight that was given up before a head came (who leads it went another
 *   way, or away: JOIN again), or a failure, which a stale response may cover, as it may cover a wait that gets too
 *   long for a rule (stale_if_slow). */
#include "cache/search.h"
#include "http/forward.h"
#include "proxy/exchange/decide.h"
#include "proxy/exchange/early_hints.h"
#include "proxy/exchange/exchange_internal.h"
#include "proxy/io/log.h"
#include "proxy/server/worker.h"

enum {
    HELD_BACK_BYTES = 64 * 1024, /* of a body whose end is awaited for its digest */
};

static enum step origin_failed(struct exchange *ex);
static void limit_wait(struct exchange *ex);

struct join_request exchange_join_request(struct exchange *ex, enum join_wish wish)
{
    return (struct join_request){.key = &ex->key,
                                 .request = &ex->request,
                                 .wish = wish,
                                 .generation = ex->generation,
                                 .found = ex->found_any,
                                 .now_ms = ex->now_ms,
                                 .monotonic_ms = uv_now(&ex->worker->loop),
                                 .arena = ex->arena};
}

/* Stale now rather than later, or than an error later: may it be? An origin at which requests stand in line, or that
 * answers with errors, is there, and only what it permits counts (RFC 5861 §4); from one that has been silent larder is
 * disconnected (RFC 9111 §4.2.4). One that fails is asked behind, so that its recovery is noticed. */
static bool serve_stale_at_once(struct exchange *ex)
{
    enum origin_outlook outlook = pool_outlook(worker_pool(ex->worker, ex->site));
    enum origin_failure failure = outlook == OUTLOOK_UNREACHABLE ? FAILURE_DISCONNECTED : FAILURE_STATUS;
    enum reason reason;
    const char *rule;

    if (outlook == OUTLOOK_READY || !policy_may_serve_stale(&ex->request, &ex->cached.stored.record, &ex->policy,
                                                            failure, ex->now_ms, &reason, &rule)) {
        return false;
    }
    ex->outcome = OUTCOME_HIT;
    exchange_because(ex, outlook == OUTLOOK_BUSY ? REASON_STALE_SATURATED : reason, rule);
    if (outlook != OUTLOOK_BUSY) {
        exchange_revalidate_behind(ex);
    }
    return true;
}

/* Is the origin asked for a part? Of what is stored and whole it is asked whether it is still current. What is recorded
 * is recorded whole. */
static bool asks_for_part(const struct exchange *ex)
{
    return ex->policy.mode != MODE_RECORD && ex->request.method == METHOD_GET &&
           headers_has(&ex->request.headers, SPAN("Range")) && !(ex->has_cached && ex->cached.partial == NULL);
}

enum step exchange_look_again(struct exchange *ex)
{
    if (ex->outrun++ < EXCHANGE_MAX_OUTRUN) {
        ex->look_ups--;
    }
    return STEP_LOOKUP;
}

enum step exchange_join(struct exchange *ex)
{
    struct fill *fill = NULL;

    exchange_leave_flight(ex);
    if (ex->has_cached && serve_stale_at_once(ex)) {
        return STEP_SERVE;
    }
    if (ex->look_ups >= EXCHANGE_MAX_LOOK_UPS) {
        ex->alone = true;
    }
    enum join_wish wish = ex->alone ? JOIN_WITHOUT_OTHERS : JOIN_WITH_OTHERS;
    struct range_set set;
    bool ranged = asks_for_part(ex);
    bool one = ranged && decide_single_range(&ex->request.headers, &set);
    bool several = ranged && !ex->has_cached && decide_several_ranges(&ex->request.headers);
    enum reason reason = ex->reason;
    const char *rule = ex->rule;
    if (ranged && !one && !several) {
        exchange_because(ex, REASON_RANGE, NULL);
        if (ex->alone) {
            return STEP_PASS;
        }
        wish = JOIN_IF_RUNNING; /* not fetched as if it were the whole, but taken from a fetch of the whole */
    }
    struct join_request join = exchange_join_request(ex, wish);
    join.range = one ? &set.specs[0] : NULL;
    join.several = several;
    enum join joined = cache_join(ex->worker->cache, &join, &ex->party, &ex->flight, &fill);
    if (joined == JOIN_NOBODY && !ex->has_cached && decide_conditional_range(&ex->request.headers, &set)) {
        /* As it is: what the client holds decides at the origin, and a 206 is kept like others. */
        exchange_because(ex, reason, rule);
        join.wish = JOIN_WITHOUT_OTHERS;
        join.range = &set.specs[0];
        joined = cache_join(ex->worker->cache, &join, &ex->party, &ex->flight, &fill);
    }
    switch (joined) {
    case JOIN_LOOK_AGAIN:
        return exchange_look_again(ex);
    case JOIN_FOLLOW:
        ex->collapsed = true;
        ex->asked_us = exchange_now_us();
        limit_wait(ex);
        return STEP_AWAIT;
    case JOIN_LEAD:
        break;
    case JOIN_ALONE:
        /* Its answers are not shared, so the client's own conditions are the best chance for a 304; but that would be
         * nothing to record. */
        ex->passes = !ex->has_cached && ex->policy.mode != MODE_RECORD;
        if (ex->passes && ex->request.method == METHOD_HEAD) { /* a body would be nobody's */
            exchange_because(ex, REASON_HEAD_MISS, NULL);
        }
        break;
    case JOIN_NOBODY:
        return STEP_PASS;
    case JOIN_FAILED:
        return exchange_fail(ex, ERR_NO_MEMORY, REASON_ORIGIN_FAILED);
    }
    ex->collapsed = false;
    return exchange_begin_fetch(ex, fill, join.range);
}

/* Some answers that pass concern what is stored: to a HEAD, which may freshen it (RFC 9111 §4.3.5), and to a POST,
 * which may be stored for later GETs (RFC 9110 §9.3.3), selected by what the origin saw: without what Connection names
 * away. Their fetch is known to the key, so that an invalidation meanwhile counts. */
static bool touches_stored(struct exchange *ex)
{
    if (ex->worker->cache_reader == NULL || ex->reason == REASON_BYPASS_RULE || ex->reason == REASON_UPGRADE) {
        return false;
    }
    if (ex->request.method == METHOD_HEAD) {
        return ex->has_cached;
    }
    return ex->request.method == METHOD_POST && forward_remove_hop_by_hop(&ex->request.headers) &&
           key_of_uri(&ex->request.uri, cache_secret(ex->worker->cache), ex->arena, &ex->key);
}

/* Where a rule bypasses the cache the answers are recorded nevertheless, if the site records: then it is asked for the
 * whole, as for any other. */
static bool passes_to_record(struct exchange *ex)
{
    struct policy without_bypass = ex->policy;
    enum reason reason;

    without_bypass.bypass = false;
    return ex->policy.mode == MODE_RECORD && ex->reason == REASON_BYPASS_RULE && ex->request.method == METHOD_GET &&
           ex->worker->cache_reader != NULL && policy_may_lookup(&ex->request, &without_bypass, &reason) &&
           forward_remove_hop_by_hop(&ex->request.headers) &&
           key_of_uri(&ex->request.uri, cache_secret(ex->worker->cache), ex->arena, &ex->key);
}

enum step exchange_pass(struct exchange *ex)
{
    struct fill *fill = NULL;
    bool records = passes_to_record(ex);
    bool begun = false;

    ex->passes = !records;
    if (records || touches_stored(ex)) {
        struct join_request join = exchange_join_request(ex, JOIN_WITHOUT_OTHERS);
        begun = cache_join(ex->worker->cache, &join, &ex->party, &ex->flight, &fill) == JOIN_ALONE;
    } else {
        cached_finish(ex->worker->cache, &ex->cached);
        ex->has_cached = false;
        ex->key = (struct key){0};
        begun = cache_pass(ex->worker->cache, &ex->flight, &fill);
    }
    return begun ? exchange_begin_fetch(ex, fill, NULL) : exchange_fail(ex, ERR_NO_MEMORY, REASON_ORIGIN_FAILED);
}

/* What is stored is stored for GET: so does a HEAD ask that does not pass. */
static struct http_request asked_with_get(const struct exchange *ex)
{
    struct http_request request = ex->request;

    request.method = METHOD_GET;
    request.method_name = SPAN("GET");
    return request;
}

enum step exchange_begin_fetch(struct exchange *ex, struct fill *fill, const struct range_spec *range)
{
    bool head = ex->request.method == METHOD_HEAD;
    struct http_request get = asked_with_get(ex);
    struct fetch_options options = {.worker = ex->worker,
                                    .site = ex->site,
                                    .request = head && !ex->passes ? &get : &ex->request,
                                    .key = ex->key.text.len > 0 ? &ex->key : NULL,
                                    .validate = ex->has_cached ? &ex->cached : NULL,
                                    .stored = &ex->stored_headers,
                                    .compare = head && ex->passes,
                                    .client = ex->client,
                                    .scheme = ex->scheme,
                                    .host = ex->request.uri.authority,
                                    .exchange = ex,
                                    .keep_conditions = ex->passes,
                                    .gap = ex->completing ? &ex->gap : NULL,
                                    .upgrade = ex->reason == REASON_UPGRADE};

    if (range == NULL && !ex->passes && asks_for_part(ex)) { /* several: as the client has them */
        options.range = headers_value(&ex->request.headers, SPAN("Range"));
    }
    if (range != NULL && !range_text(range, ex->arena, &options.range)) {
        cache_fill_fail(fill, ERR_ARENA_FULL);
        return exchange_fail(ex, arena_error(ex->arena), REASON_ORIGIN_FAILED);
    }
    flight_follow(ex->flight, &ex->party);
    ex->leads = true;
    ex->asked_us = exchange_now_us();
    if (!fetch_start(&options, fill, ex->flight, &ex->fetch)) {
        return exchange_fail(ex, ERR_NO_MEMORY, REASON_ORIGIN_FAILED);
    }
    limit_wait(ex);
    return STEP_AWAIT;
}

/* ---- waiting ---- */

/* Would the stale response do, were the origin to take longer than a rule allows? For a GET only: behind a HEAD there
 * is nothing to store. */
static bool covers_slow_origin(struct exchange *ex, enum reason *out_reason, const char **out_rule)
{
    return ex->has_cached && !ex->completing && !ex->passes && ex->request.method == METHOD_GET &&
           policy_may_serve_stale(&ex->request, &ex->cached.stored.record, &ex->policy, FAILURE_SLOW, ex->now_ms,
                                  out_reason, out_rule);
}

uint64_t exchange_collapse_wait_ms(const struct exchange *ex)
{
    uint64_t wait_ms = ex->worker->config->cache.collapse_wait_ms;

    return wait_ms > 0 ? wait_ms : 1; /* of a deadline, 0 would be none */
}

/* exchange_waited follows when a head did not come in time: for those who follow after collapse_wait, for all who have
 * something stale when the rule's time is over, which counts from when the origin was asked. */
static void limit_wait(struct exchange *ex)
{
    uint64_t limit_ms = ex->leads ? 0 : exchange_collapse_wait_ms(ex);
    enum reason reason;
    const char *rule;

    if (covers_slow_origin(ex, &reason, &rule)) {
        uint64_t waited_ms = uv_now(&ex->worker->loop) - flight_begun_ms(ex->flight);
        uint64_t patience_ms = (uint64_t)ex->policy.stale_if_slow_ms;
        uint64_t left_ms = waited_ms < patience_ms ? patience_ms - waited_ms : 1;
        limit_ms = limit_ms == 0 || left_ms < limit_ms ? left_ms : limit_ms;
    }
    if (limit_ms > 0) {
        stream_set_deadline(ex->stream, limit_ms);
    }
}

enum step exchange_waited(struct exchange *ex)
{
    enum reason reason;
    const char *rule;

    if (flight_phase(ex->flight) != FLIGHT_PENDING) {
        ex->held_enough = ex->held_back;
        return STEP_AWAIT; /* else it came just now */
    }
    if (covers_slow_origin(ex, &reason, &rule)) {
        exchange_because(ex, reason, rule);
        if (ex->fetch != NULL) {
            fetch_go_on_behind(ex->fetch);
        }
        exchange_leave_flight(ex);
        return STEP_SERVE;
    }
    if (ex->leads) {
        return STEP_WAIT;
    }
    ex->alone = true; /* another's fetch takes too long: ask for ourselves */
    return ex->completing ? STEP_MISSING : STEP_JOIN;
}

/* Does what another fetched for a URL of his serve ours? It does under our own key. Else the key is one for several
 * URLs (cache/search.h), before the head was known or since. */
static bool is_for_our_url(struct exchange *ex)
{
    struct span key = flight_key(ex->flight);

    if (span_equal(key, ex->key.text) && !search_is_marked(key)) {
        return true;
    }
    return search_serves(key, &flight_head(ex->flight)->lines, &ex->request.uri, ex->arena);
}

/* A response that another's fetch brought: may we have it? */
static enum step follow(struct exchange *ex)
{
    if (flight_head(ex->flight)->shared && !is_for_our_url(ex)) {
        exchange_leave_flight(ex);
        return STEP_LOOKUP; /* by now it may be known where ours lies */
    }
    if (cache_flight_serves(ex->flight, &ex->request, ex->now_ms, ex->arena)) {
        exchange_because(ex, REASON_FOLLOWED, NULL);
        return STEP_RESPOND;
    }
    ex->look_ups++; /* it was not for us; a second disappointment is enough */
    return STEP_JOIN;
}

/* The origin's own answer to us. */
static enum step answered(struct exchange *ex)
{
    unsigned status = flight_head(ex->flight)->status;

    ex->origin_status = status;
    ex->answered_us = exchange_now_us();
    if (ex->has_cached && decide_is_server_failure(status) &&
        policy_may_serve_stale(&ex->request, &ex->cached.stored.record, &ex->policy, FAILURE_STATUS, ex->now_ms,
                               &ex->reason, &ex->rule)) {
        exchange_leave_flight(ex);
        return STEP_SERVE;
    }
    return STEP_RESPOND;
}

/* Does the end of a small body tell what belongs in the head: an entity tag of ours, which decides between 304 and 200,
 * or that it is what is stored already? */
static bool waits_for_digest(const struct exchange *ex)
{
    const struct flight_head *head = flight_head(ex->flight);
    const struct freshness_inputs *inputs = &head->record.inputs;
    bool tag = head->policy.own_etag && !inputs->has_etag && !inputs->has_last_modified;
    uint64_t bytes = head->length_known ? head->body_len : flight_length(ex->flight) - flight_body_offset(ex->flight);

    return !ex->passes && !ex->held_enough && head->policy.hold_back_ms > 0 && head->status == 200 &&
           (tag || (ex->leads && head->may_renew)) && bytes <= HELD_BACK_BYTES && flight_is_storing(ex->flight);
}

/* A head that came, of a response whose body may still be coming. */
static enum step head_came(struct exchange *ex, bool whole)
{
    if (!ex->held_back) {
        stream_set_deadline(ex->stream, 0);
        enum step next = ex->leads ? answered(ex) : follow(ex);
        if (next != STEP_RESPOND || whole || !waits_for_digest(ex)) {
            return next;
        }
        ex->held_back = true;
        stream_set_deadline(ex->stream, (uint64_t)flight_head(ex->flight)->policy.hold_back_ms);
        return STEP_WAIT;
    }
    if (!whole && waits_for_digest(ex)) {
        return STEP_WAIT;
    }
    stream_set_deadline(ex->stream, 0);
    return STEP_RESPOND;
}

/* What the stored page needed, while its client waits to hear of the current one. Once, and not after a 103 of the
 * origin's. */
static void send_early_hints(struct exchange *ex)
{
    struct headers hints;

    if (ex->hinted || !ex->has_cached) {
        return;
    }
    ex->hinted = true;
    if (early_hints_for(&ex->request, &ex->policy, &ex->cached.stored.record, &ex->stored_headers, ex->arena, &hints)) {
        stream_informational(ex->stream, 103, &hints);
    }
}

enum step exchange_await(struct exchange *ex)
{
    if (ex->completing) {
        return exchange_completed(ex);
    }
    switch (flight_phase(ex->flight)) {
    case FLIGHT_PENDING:
        send_early_hints(ex);
        return STEP_WAIT;
    case FLIGHT_STREAMING:
        return head_came(ex, false);
    case FLIGHT_COMPLETE:
        return head_came(ex, true);
    case FLIGHT_VALIDATED:
        if (ex->leads && ex->validated) {
            ex->answered_us = exchange_now_us();
            exchange_leave_flight(ex);
            return STEP_SERVE;
        }
        exchange_leave_flight(ex);
        return STEP_LOOKUP;
    case FLIGHT_REFUSED:
        ex->look_ups++; /* as in follow: not again and again */
        return STEP_JOIN;
    case FLIGHT_FAILED:
        return origin_failed(ex);
    }
    UNREACHABLE();
}

static enum step origin_failed(struct exchange *ex)
{
    enum err error = flight_error(ex->flight);
    enum reason reason = decide_failure(error);
    enum origin_failure failure = reason == REASON_ORIGIN_TIMEOUT ? FAILURE_TIMEOUT : FAILURE_DISCONNECTED;

    exchange_leave_flight(ex);
    if (ex->has_cached && policy_may_serve_stale(&ex->request, &ex->cached.stored.record, &ex->policy, failure,
                                                 ex->now_ms, &ex->reason, &ex->rule)) {
        ex->error = error;
        return STEP_SERVE;
    }
    return exchange_fail(ex, error, reason);
}

void exchange_leave_flight(struct exchange *ex)
{
    struct fetch *fetch = ex->fetch;

    stream_set_deadline(ex->stream, 0);
    if (ex->flight != NULL) {
        if (ex->leads) {
            ex->store_reason = flight_store_reason(ex->flight);
        }
        flight_unfollow(ex->flight, &ex->party);
        mailbox_cancel(&ex->worker->mailbox, &ex->wake);
    }
    ex->fetch = NULL;
    if (fetch != NULL) {
        struct fetch_cause cause = exchange_cause(ex);
        fetch_detach(fetch, &cause);
    }
    flight_unref(ex->flight);
    ex->flight = NULL;
    ex->leads = false;
    ex->held_back = false;
    ex->held_enough = false;
}

/* Stale while revalidate: one fetch behind for the key, unless one is under way. */
void exchange_revalidate_behind(struct exchange *ex)
{
    struct join_request join = exchange_join_request(ex, JOIN_ONLY_LEAD);
    struct flight *flight = NULL;
    struct fill *fill = NULL;
    struct http_request get = asked_with_get(ex);
    struct range_set set;
    struct fetch *fetch;

    bool part = ex->cached.partial != NULL && decide_single_range(&ex->request.headers, &set);
    join.range = part ? &set.specs[0] : NULL;
    switch (cache_join(ex->worker->cache, &join, NULL, &flight, &fill)) {
    case JOIN_LEAD:
    case JOIN_ALONE: {
        struct fetch_options options = {.worker = ex->worker,
                                        .site = ex->site,
                                        .request = &get,
                                        .key = &ex->key,
                                        .validate = &ex->cached,
                                        .stored = &ex->stored_headers,
                                        .client = ex->client,
                                        .scheme = ex->scheme,
                                        .host = ex->request.uri.authority,
                                        .cause = exchange_cause(ex)};
        if (part) { /* if it has changed, not all of it is wanted */
            options.range = headers_value(&ex->request.headers, SPAN("Range"));
        }
        if (!fetch_start(&options, fill, flight, &fetch)) {
            log_warn("no memory to revalidate behind"); /* the next request tries again */
        }
        break;
    }
    case JOIN_FOLLOW:
    case JOIN_LOOK_AGAIN:
    case JOIN_NOBODY:
    case JOIN_FAILED:
        break;
    }
    flight_unref(flight);
}
