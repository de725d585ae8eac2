/* fetch_origin.c: which origin a fetch asks, and what it does when one cannot be had.
 *
 * A request goes out once more only where an origin can hardly have seen it:
 * - No connection came about: another origin, for any request, a body included: not a byte of it was sent.
 * - A kept connection ends before a byte of response, and so soon that its end crossed the request on its way: the same
 *   origin, on a new connection; it is the connection that was dead, not the origin (repeat.h has the rule).
 * What was sent on a new connection, or was worked on for longer, is never repeated: the origin has seen it. Each retry
 * is taken from the site's budget; an origin with as many requests as it may have is no reason for one. */
#include "proxy/config/site_mode.h"
#include "proxy/exchange/decide.h"
#include "proxy/io/log.h"
#include "proxy/io/unheard.h"
#include "proxy/origin/fetch_internal.h"
#include "proxy/origin/repeat.h"
#include "proxy/server/worker.h"

static bool is_offline(const struct fetch *fetch);
static bool ask_another(struct fetch *fetch);
static void on_acquired(struct origin_request *request, struct origin_conn *conn, enum err error);

/* Keys and passes alike: the same target, the same origin. */
static uint64_t hash_of(const struct uri *uri)
{
    return balance_hash(uri->authority) ^ (balance_hash(uri->path) * 3) ^ (balance_hash(uri->query) * 7);
}

void fetch_ask(struct fetch *fetch)
{
    fetch->hash = fetch->site->balance == BALANCE_HASH ? hash_of(&fetch->request.uri) : 0;
    fetch->acquire.done = on_acquired;
    fetch->acquire.fresh = !repeat_is_harmless(&fetch->request); /* a kept one may be dead */
    fetch->acquire.yields = fetch->behind;
    if (is_offline(fetch)) { /* since the request was routed */
        fetch->state = FETCH_ACQUIRE;
        origin_refuse(fetch->pool->origins[0], &fetch->acquire, ERR_OFFLINE);
        return;
    }
    pool_count_request(fetch->pool);
    if (!ask_another(fetch)) {
        fetch->state = FETCH_ACQUIRE;
        origin_refuse(fetch->pool->origins[0], &fetch->acquire, ERR_ORIGINS_DOWN);
    }
}

/* Nothing more goes out then: what waited for a connection, and what would go out again, fails. */
static bool is_offline(const struct fetch *fetch)
{
    return site_mode(fetch->site) == MODE_OFFLINE;
}

/* False: there is none left. */
static bool ask_another(struct fetch *fetch)
{
    if (!pool_choose(fetch->pool, fetch->hash, &fetch->tried, &fetch->choice)) {
        return false;
    }
    fetch->state = FETCH_ACQUIRE;
    fetch->asking = true;
    fetch->attempts++;
    if (fetch->exchange != NULL) {
        exchange_on_asking(fetch->exchange, fetch_origin_text(fetch));
    }
    origin_acquire(fetch->pool->origins[fetch->choice.index], &fetch->acquire);
    return true;
}

static bool may_retry(struct fetch *fetch)
{
    return fetch->attempts <= fetch->site->retries && pool_take_retry(fetch->pool);
}

static bool is_unreachable(enum err error)
{
    return error == ERR_RESOLVE || error == ERR_RESOLVE_TIMEOUT || error == ERR_CONNECT || error == ERR_CONNECT_TIMEOUT;
}

static void on_acquired(struct origin_request *request, struct origin_conn *conn, enum err error)
{
    struct fetch *fetch = CONTAINER_OF(request, struct fetch, acquire);

    if (error == ERR_OK && is_offline(fetch)) {
        origin_release(conn);
        fetch_fail(fetch, ERR_OFFLINE);
        return;
    }
    if (error == ERR_OK) {
        fetch_connected(fetch, conn);
        return;
    }
    if (is_unreachable(error)) {
        log_warn("origin unreachable origin=%s error=%s", fetch_origin_text(fetch), err_name(error));
        fetch_leave_origin(fetch, error);
        if (!is_offline(fetch) && may_retry(fetch) && ask_another(fetch)) {
            return;
        }
    }
    if (error == ERR_SATURATED && fetch->behind) {
        fetch_refuse(fetch);
        return;
    }
    fetch_fail(fetch, error);
}

void fetch_again(struct fetch *fetch)
{
    if (fetch->conn != NULL) {
        origin_discard(fetch->conn);
        fetch->conn = NULL;
    }
    fetch_note_wait(fetch);
    fetch->responded = false;
    fetch->scan = (struct head_scan){0};
    buf_clear(&fetch->in);
    if (!fetch_build_head(fetch)) {
        fetch_fail(fetch, ERR_NO_MEMORY);
        return;
    }
    fetch->state = FETCH_ACQUIRE;
    fetch->acquire.fresh = true;
    origin_acquire(fetch->pool->origins[fetch->choice.index], &fetch->acquire);
}

/* When it ended, since it was asked. An end in order is the last that was heard of the other side, which may be long
 * ago where this thread, or the machine, stood still. (A reset leaves no such trace.) */
static uint64_t ended_after_ms(const struct fetch *fetch, enum err error)
{
    uint64_t noticed_ms = uv_now(&fetch->worker->loop) - fetch->asked_ms;
    uint64_t unheard_ms = error == ERR_OK ? conn_unheard_ms(&fetch->conn->conn) : 0;

    return noticed_ms > unheard_ms ? noticed_ms - unheard_ms : 0;
}

bool fetch_replay(struct fetch *fetch, enum err error)
{
    const struct repeat_end end = {
        .kept = fetch->conn->reused, .responded = fetch->responded, .after_ms = ended_after_ms(fetch, error)};

    if (fetch->state != FETCH_HEAD || !repeat_is_permitted(&fetch->request, &end) || !may_retry(fetch)) {
        return false;
    }
    fetch->attempts++;
    if (fetch->exchange != NULL) {
        exchange_on_asking(fetch->exchange, fetch_origin_text(fetch));
    }
    fetch_again(fetch);
    return true;
}

void fetch_note_wait(struct fetch *fetch)
{
    if (fetch->waits) {
        fetch->waits = false;
        fetch->waited_us += (uv_now(&fetch->worker->loop) - fetch->asked_ms) * 1000;
    }
}

void fetch_note_answer(struct fetch *fetch)
{
    uint64_t now_ms = uv_now(&fetch->worker->loop);

    fetch_note_wait(fetch);
    if (!framing_has_body(&fetch->request.framing)) { /* else it is the client's speed, too */
        origin_note_answer(fetch->pool->origins[fetch->choice.index], now_ms - fetch->asked_ms);
    }
    metrics_count_answer(fetch->worker->shard, fetch->site, (now_ms - fetch->asked_ms) * 1000);
    if (decide_is_server_failure(fetch->response.status)) {
        origin_set_failed(fetch->pool->set, &fetch->choice, false, now_ms);
    } else {
        origin_set_answered(fetch->pool->set, &fetch->choice, now_ms);
    }
}

/* Is it the origin that failed? */
static bool is_origins_fault(enum err error)
{
    return is_unreachable(error) || error == ERR_RESET || error == ERR_TIMEOUT || error == ERR_TRUNCATED ||
           error == ERR_BAD_RESPONSE || error == ERR_RESPONSE_HEAD_TOO_LARGE || error == ERR_RESPONSE_TOO_MANY_FIELDS;
}

void fetch_leave_origin(struct fetch *fetch, enum err error)
{
    if (!fetch->asking) {
        return;
    }
    if (error == ERR_TIMEOUT && !fetch->responded) {
        origin_note_timeout(fetch->pool->origins[fetch->choice.index]);
    }
    if (is_origins_fault(error)) {
        origin_set_failed(fetch->pool->set, &fetch->choice, !fetch->responded, uv_now(&fetch->worker->loop));
    }
    fetch->asking = false;
    origin_set_leave(fetch->pool->set, &fetch->choice);
}

const char *fetch_origin_text(const struct fetch *fetch)
{
    return fetch->site->origins[fetch->choice.index].text;
}
