/* exchange.c: one request, from its head to its log line. Read this file first.
 *
 * Happy path:
 * - ROUTE finds site and rules, LOOKUP asks the cache (exchange_lookup.c), DECIDE says whether the stored response may
 *   be used.
 * - If so, SERVE takes its head. Else JOIN follows a fetch that runs for the same key, or begins one; AWAIT waits for
 *   its head, RESPOND takes it (exchange_fetch.c).
 * - DELIVER sends the body, SENDING waits for the last bytes to leave, LOG ends the exchange.
 *
 * Other ways:
 * - Of a partial response that is stored, MISSING gets what the request wants and it does not hold: before the head is
 *   sent, and again for each further gap that DELIVER comes to (exchange_partial.c).
 * - What a cache must not answer goes from LOOKUP to PASS, and has a fetch of its own.
 * - No site, a bad request, an origin that fails with nothing stored that may be used: REPLY.
 * - An origin that is slow, and a rule that knows what to do: SERVE of what is stale; the fetch goes on behind.
 * - What is stored turns out to be unreadable before anything of it was sent: JOIN, as if it were not stored; offline,
 *   where a recording may be as good, LOOKUP.
 * - An origin that breaks off: the client's connection ends within the response, so that it notices.
 * - The client is gone: LOG; the fetch lives on if others follow it or it is being stored.
 *
 * Memory: everything lives in the client's arena. The exchange is over when LOG returns. */
#include "proxy/exchange/exchange_internal.h"

#include "http/forwarded.h"
#include "proxy/exchange/cold.h"
#include "proxy/exchange/decide.h"
#include "proxy/exchange/purge_wait.h"
#include "proxy/server/worker.h"

#define TO(step) (1U << (step))

static enum step step_route(struct exchange *ex);
static enum step step_decide(struct exchange *ex);
static enum step step_sending(struct exchange *ex);
static enum step step_tunnel(struct exchange *ex);
static enum step step_log(struct exchange *ex);

static const struct {
    const char *name;
    enum step (*run)(struct exchange *ex);
    uint32_t next; /* the only steps that may follow */
} steps[STEP_COUNT] = {
    [STEP_IDLE] = {"idle", NULL, TO(STEP_ROUTE)},
    [STEP_ROUTE] = {"route", step_route, TO(STEP_LOOKUP) | TO(STEP_PURGE) | TO(STEP_REPLY)},
    [STEP_PURGE] = {"purge", exchange_purge, TO(STEP_REPLY) | TO(STEP_LOG)},
    [STEP_LOOKUP] = {"lookup", exchange_lookup,
                     TO(STEP_LOOKUP) | TO(STEP_DECIDE) | TO(STEP_PASS) | TO(STEP_REPLY) | TO(STEP_LOG)},
    [STEP_DECIDE] = {"decide", step_decide,
                     TO(STEP_SERVE) | TO(STEP_JOIN) | TO(STEP_MISSING) | TO(STEP_PASS) | TO(STEP_REPLY)},
    [STEP_JOIN] = {"join", exchange_join,
                   TO(STEP_LOOKUP) | TO(STEP_PASS) | TO(STEP_AWAIT) | TO(STEP_SERVE) | TO(STEP_REPLY)},
    [STEP_MISSING] = {"missing", exchange_missing, TO(STEP_LOOKUP) | TO(STEP_AWAIT) | TO(STEP_REPLY) | TO(STEP_LOG)},
    [STEP_PASS] = {"pass", exchange_pass, TO(STEP_AWAIT) | TO(STEP_REPLY)},
    [STEP_AWAIT] = {"await", exchange_await,
                    TO(STEP_AWAIT) | TO(STEP_RESPOND) | TO(STEP_SERVE) | TO(STEP_LOOKUP) | TO(STEP_JOIN) |
                        TO(STEP_MISSING) | TO(STEP_PASS) | TO(STEP_DELIVER) | TO(STEP_REPLY) | TO(STEP_TUNNEL) |
                        TO(STEP_LOG)},
    [STEP_SERVE] = {"serve", respond_from_stored, TO(STEP_DELIVER) | TO(STEP_REPLY) | TO(STEP_LOG)},
    [STEP_RESPOND] = {"respond", respond_from_flight, TO(STEP_DELIVER) | TO(STEP_REPLY) | TO(STEP_LOG)},
    [STEP_REPLY] = {"reply", respond_ourselves, TO(STEP_DELIVER) | TO(STEP_LOG)},
    [STEP_DELIVER] = {"deliver", deliver,
                      TO(STEP_DELIVER) | TO(STEP_LOOKUP) | TO(STEP_MISSING) | TO(STEP_JOIN) | TO(STEP_SENDING) |
                          TO(STEP_REPLY) | TO(STEP_LOG)},
    [STEP_SENDING] = {"sending", step_sending, TO(STEP_LOG)},
    [STEP_TUNNEL] = {"tunnel", step_tunnel, TO(STEP_LOG)},
    [STEP_LOG] = {"log", step_log, 0},
};

static void on_wake(struct message *message);

static void wake(struct party *party)
{
    struct exchange *ex = CONTAINER_OF(party, struct exchange, party);

    mailbox_post(&ex->worker->mailbox, &ex->wake);
}

uint64_t exchange_now_us(void)
{
    return uv_hrtime() / 1000;
}

struct exchange *exchange_create(const struct exchange_start *start)
{
    struct exchange *ex = arena_alloc(start->arena, sizeof(*ex));

    if (ex == NULL) {
        return NULL;
    }
    ex->worker = start->worker;
    ex->stream = start->stream;
    ex->arena = start->arena;
    ex->client = start->client;
    ex->client_port = start->client_port;
    ex->scheme = start->scheme;
    ex->believed = start->believed;
    ex->request = start->request;
    ex->target = start->request.target;
    ex->error = start->error;
    ex->wake.run = on_wake;
    ex->party.wake = wake;
    ex->ttl_s = INT64_MIN;
    ex->age_s = -1;
    ex->time_ms = worker_now_ms();
    ex->now_ms = ex->time_ms;
    ex->begun_us = exchange_now_us();
    metrics_count_begin(ex->worker->shard);
    return ex;
}

/* Enter `next`, then whatever follows, until a step waits. When STEP_LOG has run, `ex` is gone. */
static void run_steps(struct exchange *ex, enum step next)
{
    while (next != STEP_WAIT) {
        REQUIRE(steps[ex->step].next & TO(next));
        ex->step = next;
        bool last = next == STEP_LOG;
        next = steps[next].run(ex);
        if (last) {
            return;
        }
    }
}

void exchange_resume(struct exchange *ex, enum step next)
{
    ex->now_ms = worker_now_ms();
    run_steps(ex, next);
}

void exchange_run(struct exchange *ex)
{
    run_steps(ex, STEP_ROUTE);
}

/* ---- the steps ---- */

static enum step step_route(struct exchange *ex)
{
    const struct config *config = ex->worker->config;

    ex->host = headers_value(&ex->request.headers, SPAN("Host"));
    if (ex->believed != FORWARDED_NONE) { /* here, before rules take fields away */
        ex->named = forwarded_client(&ex->request.headers, ex->believed);
    }
    if (ex->error == ERR_OK) {
        ex->error = decide_request(config, ex->believed, ex->scheme, ex->host, &ex->request, ex->arena);
    }
    if (ex->error != ERR_OK) {
        return exchange_fail(ex, ex->error, decide_refusal(ex->error));
    }
    decide_upgrade(config, &ex->request.headers);
    decide_range(&ex->request);
    if (decide_ends_here(&ex->request, ex->arena)) {
        ex->status = 200;
        ex->reason = REASON_MAX_FORWARDS;
        return STEP_REPLY;
    }
    ex->site = route_find(config, &ex->request.uri);
    if (ex->site == NULL) {
        ex->status = 404;
        ex->reason = REASON_NO_SITE;
        return STEP_REPLY;
    }
    if (!exchange_admit(ex)) {
        return STEP_REPLY;
    }
    if (decide_own_match(&ex->request, &ex->own_match) == OWN_MATCH_FAILED) {
        return exchange_not_matched(ex);
    }
    if (!route_rewrite_request(ex->site, &ex->request, ex->arena) || !exchange_enter_trace(ex)) {
        return exchange_fail(ex, arena_error(ex->arena), REASON_BAD_REQUEST);
    }
    if (decide_purges(ex->site, &ex->request)) {
        return STEP_PURGE;
    }
    ex->policy = route_policy(config, ex->site, &ex->request, 0, NULL);
    ex->only_if_cached = policy_only_if_cached(&ex->request);
    return STEP_LOOKUP;
}

enum step exchange_offline_miss(struct exchange *ex)
{
    ex->outcome = OUTCOME_NONE; /* nothing is forwarded */
    return exchange_fail(ex, ERR_OFFLINE, REASON_OFFLINE_MISS);
}

/* Nothing stored may be served as it is: who asks the origin, and how. */
enum step exchange_decide_fetch(struct exchange *ex)
{
    if (ex->policy.mode == MODE_OFFLINE) {
        return exchange_offline_miss(ex);
    }
    if (ex->only_if_cached) {
        ex->outcome = OUTCOME_NONE; /* nothing is forwarded (RFC 9211 §2.2) */
        ex->status = 504;
        exchange_because(ex, REASON_ONLY_IF_CACHED, NULL);
        return STEP_REPLY;
    }
    if (ex->request.method == METHOD_HEAD && !decide_head_as_get(&ex->policy, ex->has_cached, ex->outcome)) {
        if (!ex->has_cached) {
            exchange_because(ex, REASON_HEAD_MISS, NULL);
        }
        return STEP_PASS;
    }
    return STEP_JOIN;
}

static enum step step_decide(struct exchange *ex)
{
    if (!ex->has_cached) {
        return exchange_decide_fetch(ex);
    }
    if (route_asks_response(ex->site)) {
        enum mode mode = ex->policy.mode; /* it stays what it was at the look-up, whatever is ordered meanwhile */
        ex->policy = route_policy(ex->worker->config, ex->site, &ex->request, ex->cached.stored.record.status,
                                  &ex->stored_headers);
        ex->policy.mode = mode;
    }
    ex->verdict = policy_may_reuse(&ex->request, &ex->cached.stored.record, &ex->policy, ex->now_ms);
    exchange_because(ex, ex->verdict.reason, ex->verdict.rule);
    if (ex->reason == REASON_PURGED_SOFT) {
        ex->purge_text = decide_purge_text(&ex->cached.purged.purge, ex->arena);
        ex->rule = ex->purge_text;
    }
    if (ex->replays) {
        exchange_because(ex, REASON_REPLAYED, NULL);
    }
    size_t gaps = exchange_gaps(ex, &ex->gap);
    if (gaps > 0 && ex->verdict.reuse != REUSE_FETCH) {
        return exchange_decide_missing(ex, gaps);
    }
    switch (ex->verdict.reuse) {
    case REUSE_SERVE:
        if (!ex->collapsed) {
            ex->outcome = OUTCOME_HIT;
        }
        return STEP_SERVE;
    case REUSE_SERVE_REVALIDATE:
        ex->outcome = OUTCOME_HIT;
        exchange_revalidate_behind(ex);
        return STEP_SERVE;
    case REUSE_VALIDATE:
        ex->outcome = decide_validation_outcome(ex->reason);
        break;
    case REUSE_FETCH:
        ex->outcome = OUTCOME_REQUEST;
        ex->has_cached = false;
        ex->alone = true;
        break;
    }
    return exchange_decide_fetch(ex);
}

static enum step step_sending(struct exchange *ex)
{
    (void)ex;
    return STEP_WAIT; /* exchange_on_sent */
}

static enum step step_tunnel(struct exchange *ex)
{
    (void)ex;
    return STEP_WAIT; /* on_tunnel_ended */
}

static enum step step_log(struct exchange *ex)
{
    struct stream *stream = ex->stream;
    struct stream_count counts = stream_count(stream);

    cold_read_forget(ex->cold);
    exchange_keep_facts(ex, &counts);
    exchange_leave_flight(ex);
    exchange_leave_count(ex);
    purge_wait_forget(ex->purging);
    cached_finish(ex->worker->cache, &ex->cached);
    if (ex->tunnel != NULL) {
        tunnel_abort(ex->tunnel);
        ex->tunnel = NULL;
    }
    exchange_tell(ex, &counts);
    stream_exchange_ended(stream, ex->end == END_DONE);
    return STEP_WAIT;
}

/* ---- helpers of the steps ---- */

void exchange_because(struct exchange *ex, enum reason reason, const char *rule)
{
    ex->reason = reason;
    ex->rule = rule;
}

/* Of a request that does not come, or cannot be taken, as a whole. */
static enum end_reason end_without_request(enum err error)
{
    return error == ERR_CLIENT_TIMEOUT ? END_CLIENT_TIMEOUT : END_REFUSED;
}

/* An answer of our own for a failure. */
enum step exchange_fail(struct exchange *ex, enum err error, enum reason reason)
{
    unsigned status = err_status(error);

    exchange_leave_flight(ex);
    ex->error = error;
    exchange_because(ex, error == ERR_NO_MEMORY ? REASON_NO_MEMORY : reason, NULL);
    ex->status = status != 0 ? status : 502;
    if (reason == REASON_BAD_REQUEST || reason == REASON_LOOP) {
        ex->end = end_without_request(error);
        stream_close_after(ex->stream);
    }
    return STEP_REPLY;
}

enum step exchange_not_matched(struct exchange *ex)
{
    exchange_leave_flight(ex);
    exchange_because(ex, REASON_OWN_TAG, NULL);
    ex->status = 412;
    return STEP_REPLY;
}

bool exchange_is_tunnel(const struct exchange *ex)
{
    return ex->step == STEP_TUNNEL;
}

/* ---- what the stream tells ---- */

void exchange_on_writable(struct exchange *ex)
{
    if (ex->step == STEP_DELIVER) {
        exchange_resume(ex, STEP_DELIVER);
    }
}

void exchange_on_sent(struct exchange *ex)
{
    if (ex->step == STEP_SENDING) {
        exchange_resume(ex, STEP_LOG);
    }
}

void exchange_on_gone(struct exchange *ex, enum end_reason reason)
{
    ex->end = reason;
    exchange_resume(ex, STEP_LOG);
}

void exchange_on_deadline(struct exchange *ex)
{
    ex->now_ms = worker_now_ms();
    if (ex->step == STEP_AWAIT) {
        exchange_resume(ex, exchange_waited(ex));
    } else if (ex->step == STEP_PURGE) {
        exchange_resume(ex, exchange_purge_waited(ex));
    }
}

void exchange_on_body(struct exchange *ex, struct span bytes, bool end, const struct headers *trailers)
{
    if (ex->fetch != NULL) {
        fetch_send_body(ex->fetch, bytes, end, trailers);
    }
}

void exchange_on_body_error(struct exchange *ex, enum err error)
{
    if (ex->step == STEP_AWAIT || ex->step == STEP_LOOKUP) {
        exchange_resume(ex, exchange_fail(ex, error, REASON_BAD_REQUEST));
        return;
    }
    /* The answer has begun, and the origin will not get the rest of what it is answering. */
    ex->error = error;
    ex->end = end_without_request(error);
    stream_abort(ex->stream);
    exchange_resume(ex, STEP_LOG);
}

/* ---- what its own fetch and flight tell ---- */

static void on_wake(struct message *message)
{
    struct exchange *ex = CONTAINER_OF(message, struct exchange, wake);

    if (ex->step == STEP_AWAIT || ex->step == STEP_DELIVER) {
        exchange_resume(ex, ex->step);
    }
}

void exchange_on_asking(struct exchange *ex, const char *origin)
{
    ex->origin = origin;
    ex->attempts++;
}

void exchange_on_informational(struct exchange *ex, unsigned status, const struct headers *headers)
{
    ex->hinted = ex->hinted || status == 103;
    stream_informational(ex->stream, status, headers);
}

void exchange_on_validated(struct exchange *ex, const struct record *record, struct span head,
                           const struct headers *fields, struct span passed)
{
    struct stored *stored = &ex->cached.stored;
    struct headers own;
    struct span copy;

    ex->origin_status = 304;
    if (!ex->has_cached || !arena_copy(ex->arena, passed, &ex->passed) ||
        !headers_copy_texts(&own, fields, head, ex->arena, &copy)) {
        return; /* the flight says VALIDATED: it is looked up again */
    }
    struct span slices = stored->record.slices; /* ours; those of `record` are the fetch's */
    stored->record = *record;
    stored->record.slices = slices;
    stored->record.head_override = (struct span){NULL, 0};
    stored->head = copy;
    ex->stored_headers = own;
    exchange_because(ex, REASON_REVALIDATED, NULL);
    ex->validated = true;
}

void exchange_on_body_wanted(struct exchange *ex)
{
    stream_read_body(ex->stream);
}

void exchange_on_fetch_ended(struct exchange *ex, uint64_t received_bytes, uint64_t waited_us)
{
    ex->fetch = NULL;
    ex->fetched_bytes += received_bytes;
    ex->fetch_waited_us += waited_us;
    stream_pause_body(ex->stream);
}

static void on_tunnel_ended(void *arg, uint64_t to_client_bytes, uint64_t to_origin_bytes)
{
    struct exchange *ex = arg;

    ex->tunnel = NULL;
    stream_count_tunnel(ex->stream, to_client_bytes, to_origin_bytes);
    ex->end = END_TUNNEL;
    exchange_resume(ex, STEP_LOG);
}

void exchange_on_upgraded(struct exchange *ex, struct origin_conn *conn, const struct headers *headers,
                          struct span early)
{
    struct span to_client;

    REQUIRE(ex->step == STEP_AWAIT);
    exchange_leave_flight(ex);
    ex->origin_status = 101;
    ex->answered_us = exchange_now_us();
    if (respond_upgraded(ex, headers) && stream_end(ex->stream, NULL) != STREAM_GONE &&
        arena_join(ex->arena, (struct span[]){stream_take_unsent(ex->stream), early}, 2, &to_client)) {
        ex->tunnel = tunnel_start(stream_connection(ex->stream), conn, stream_take_early_bytes(ex->stream), to_client,
                                  ex->worker->config->server.tunnel_idle_timeout_ms, on_tunnel_ended, ex);
    }
    if (ex->tunnel != NULL) {
        exchange_resume(ex, STEP_TUNNEL);
        return;
    }
    origin_discard(conn);
    ex->end = END_CLIENT_GONE;
    exchange_resume(ex, STEP_LOG);
}
