/* fetch.c: one request to an origin: the request on its way out, life and end. See fetch.h.
 *
 * Happy path: the request's head (fetch_request.c), a connection (fetch_origin.c), the head in one write, the request's
 * body as the client sends it, then fetch_response.c.
 *
 * Failures:
 * - No origin can be reached, a timeout, a broken response: the fill is failed, with the error the clients get.
 * - Nobody wants it any more: it ends, and so does its connection. */
#include "proxy/origin/fetch_internal.h"

#include "http/serialize.h"
#include "proxy/io/log.h"
#include "proxy/server/worker.h"

enum {
    OUT_LIMIT = 1024 * 1024, /* what larder adds to a head, or a piece of a body */
    CONTINUE_WAIT_MS = 1000, /* then the body is sent without a 100 (RFC 9110 §10.1.1) */
    PATIENCE_MAX = 10,       /* how often it is waited for a client that gets on, while the others stand still */
    DISK_PATIENCE_MS = 1000, /* how long a fill waits for the disk to make room before it goes on unstored */
};

static void send_more(struct fetch *fetch);
static void on_read(struct conn *conn, struct span bytes);
static void on_end(struct conn *conn, enum err error);
static void on_written(struct conn *conn, enum err error);
static void on_timer(struct conn *conn);
static void on_wake(struct message *message);
static void fetch_destroy(struct fetch *fetch);

static const struct conn_events fetch_events = {
    .on_read = on_read, .on_end = on_end, .on_written = on_written, .on_timer = on_timer};

static void wake(struct party *party)
{
    struct fetch *fetch = CONTAINER_OF(party, struct fetch, producer);

    mailbox_post(&fetch->worker->mailbox, &fetch->wake);
}

/* ---- beginning ---- */

bool fetch_start(const struct fetch_options *options, struct fill *fill, struct flight *flight,
                 struct fetch **out_fetch)
{
    struct worker *worker = options->worker;
    struct arena arena;

    arena_init_sharing(&arena, sizeof(struct fetch) + worker->config->server.max_request_memory_bytes * 2,
                       &worker->arena_spares);
    struct fetch *fetch = arena_alloc(&arena, sizeof(*fetch));
    if (fetch == NULL) {
        cache_fill_fail(fill, ERR_NO_MEMORY);
        return false;
    }
    fetch->worker = worker;
    fetch->fill = fill;
    fetch->flight = flight_ref(flight);
    fetch->producer.wake = wake;
    fetch->wake.run = on_wake;
    fetch->arena = arena;
    buf_init(&fetch->out, worker->config->server.max_head_bytes + OUT_LIMIT);
    buf_init(&fetch->in, worker->config->server.max_head_bytes + WORKER_READ_BUFFER_BYTES);
    fetch->next = worker->fetches;
    if (fetch->next != NULL) {
        fetch->next->previous = fetch;
    }
    worker->fetches = fetch;
    if (!fetch_copy_request(fetch, options) || !fetch_build_head(fetch)) {
        fetch->exchange = NULL;
        fetch_fail(fetch, ERR_NO_MEMORY);
        return false;
    }
    flight_set_producer(flight, &fetch->producer);
    *out_fetch = fetch; /* before it may end: then the exchange is told */
    fetch_ask(fetch);
    return true;
}

/* ---- the request ---- */

void fetch_connected(struct fetch *fetch, struct origin_conn *conn)
{
    fetch->conn = conn;
    conn->conn.events = &fetch_events;
    conn->conn.owner = fetch;
    fetch->state = FETCH_HEAD;
    fetch->request_ms = worker_now_ms();
    fetch->asked_ms = uv_now(&fetch->worker->loop);
    fetch->waits = true;
    cache_fill_sent(fetch->fill);
    conn_read_start(&conn->conn);
    send_more(fetch);
}

/* The head, or the last piece of the body, is with the socket: what is next? */
static void sent(struct fetch *fetch)
{
    const struct config *config = fetch->worker->config;

    if (!framing_has_body(&fetch->request.framing)) {
        fetch->request_sent = true;
    }
    if (fetch->request_sent) {
        if (fetch->state == FETCH_HEAD) {
            conn_set_timer(&fetch->conn->conn, config->server.origin_first_byte_timeout_ms);
        } else {
            fetch_read_on(fetch); /* its answer began before the request was all sent */
        }
        return;
    }
    if (fetch->awaits_continue) {
        conn_set_timer(&fetch->conn->conn, CONTINUE_WAIT_MS);
        return;
    }
    conn_set_timer(&fetch->conn->conn, 0); /* the client's body timeout counts now */
    if (fetch->exchange != NULL) {
        exchange_on_body_wanted(fetch->exchange);
    }
}

/* Gives the socket what is in `out`; may end the fetch. */
static void send_more(struct fetch *fetch)
{
    struct conn *conn = &fetch->conn->conn;
    struct span run = buf_span(&fetch->out);
    size_t taken = 0;

    if (conn->writing) {
        return;
    }
    enum err error = run.len > 0 ? conn_try_write(conn, &run, 1, &taken) : ERR_OK;
    if (error == ERR_OK) {
        buf_consume(&fetch->out, taken);
        if (fetch->out.len == 0) {
            buf_give_back(&fetch->out, &fetch->worker->spare_head);
            sent(fetch);
            return;
        }
        run = buf_span(&fetch->out);
        error = conn_write(conn, &run, 1);
    }
    if (error == ERR_OK) {
        buf_clear(&fetch->out);
    } else if (error == ERR_NO_MEMORY) {
        fetch_fail(fetch, error);
        return;
    } /* else on_end tells why, with what the origin may still have said */
    conn_set_timer(conn, fetch->worker->config->server.origin_between_bytes_timeout_ms);
}

void fetch_send_body(struct fetch *fetch, struct span bytes, bool end, const struct headers *trailers)
{
    if (fetch->conn == NULL || fetch->request_sent) {
        return;
    }
    if (fetch->request.framing.kind == FRAMING_CHUNKED) {
        if (bytes.len > 0) {
            write_chunk_start(&fetch->out, bytes.len);
            buf_add(&fetch->out, bytes);
            write_chunk_end(&fetch->out);
        }
        if (end) {
            write_last_chunk(&fetch->out, trailers);
        }
    } else {
        buf_add(&fetch->out, bytes);
    }
    if (fetch->out.failed) {
        fetch_fail(fetch, ERR_NO_MEMORY);
        return;
    }
    fetch->request_sent = end;
    send_more(fetch);
}

void fetch_continue(struct fetch *fetch)
{
    if (fetch->awaits_continue) {
        fetch->awaits_continue = false;
        if (!fetch->request_sent && !fetch->conn->conn.writing) { /* else when the head has gone */
            sent(fetch);
        }
    }
}

/* ---- what the connection tells ---- */

static void on_read(struct conn *conn, struct span bytes)
{
    fetch_take(conn->owner, bytes);
}

static void on_end(struct conn *conn, enum err error)
{
    struct fetch *fetch = conn->owner;

    if (!fetch_replay(fetch, error)) {
        fetch_take_end(fetch, error);
    }
}

static void on_written(struct conn *conn, enum err error)
{
    struct fetch *fetch = conn->owner;

    if (error == ERR_OK) { /* else on_end tells, after what the origin said before it closed */
        send_more(fetch);
    }
}

/* No client of several could be given anything for a while. */
static void shed_slow(struct fetch *fetch)
{
    fetch->standstills++;
    unsigned count = flight_shed_slow(fetch->flight, fetch->standstills < PATIENCE_MAX ? SHED_IDLE : SHED_ALL);

    if (count > 0) {
        log_info("clients too slow for the others that get the same body count=%u path=%s", count,
                 log_quoted(fetch->request.uri.path).text);
    }
}

static void on_timer(struct conn *conn)
{
    struct fetch *fetch = conn->owner;

    if (fetch->awaits_continue && !fetch->request_sent && !conn->writing) {
        if (fetch->exchange != NULL) {
            exchange_on_informational(fetch->exchange, 100, NULL);
        }
        fetch_continue(fetch);
        return;
    }
    if (fetch->paused && flight_is_storing(fetch->flight)) {
        cache_fill_stop_storing(fetch->fill, REASON_DISK_BEHIND);
        fetch_read_on(fetch);
        return;
    }
    if (fetch->paused) {
        shed_slow(fetch);
        fetch_read_on(fetch);
        return;
    }
    log_warn("origin timed out origin=%s", fetch_origin_text(fetch));
    fetch_fail(fetch, ERR_TIMEOUT);
}

/* ---- flow, wishes, end ---- */

static bool is_wanted(const struct fetch *fetch)
{
    return flight_wanted(fetch->flight) || (fetch->behind && fetch->state != FETCH_BODY);
}

void fetch_read_on(struct fetch *fetch)
{
    struct conn *conn = &fetch->conn->conn;

    if (!is_wanted(fetch)) { /* it came behind, and is not stored */
        fetch_cancel(fetch);
        return;
    }
    fetch->paused = flight_room(fetch->flight) == 0;
    if (!fetch->paused) {
        fetch->standstills = 0;
        conn_set_timer(conn, fetch->worker->config->server.origin_between_bytes_timeout_ms);
        conn_read_start(conn);
        return;
    }
    conn_read_stop(conn);
    /* Storing: the disk must make room. Else the clients must: the slowest of several does not hold up the others for
     * long, and for all of them their own write timeouts count. */
    conn_set_timer(conn, flight_is_storing(fetch->flight) ? DISK_PATIENCE_MS
                                                          : fetch->worker->config->server.slow_follower_timeout_ms);
}

static void on_wake(struct message *message)
{
    struct fetch *fetch = CONTAINER_OF(message, struct fetch, wake);

    if (!is_wanted(fetch)) {
        fetch_cancel(fetch);
    } else if (fetch->paused) {
        fetch_read_on(fetch);
    }
}

void fetch_go_on_behind(struct fetch *fetch)
{
    fetch->behind = true;
}

void fetch_detach(struct fetch *fetch, const struct fetch_cause *cause)
{
    bool sending = framing_has_body(&fetch->request.framing) && !fetch->request_sent;

    fetch->exchange = NULL;
    fetch->cause = *cause;
    if (sending || !is_wanted(fetch)) {
        fetch_cancel(fetch);
    }
}

bool fetch_request_is_out(const struct fetch *fetch)
{
    return fetch->request_sent && fetch->out.len == 0 && !fetch->conn->conn.writing;
}

void fetch_finish(struct fetch *fetch)
{
    if (fetch->conn != NULL) {
        if (fetch->reusable && fetch_request_is_out(fetch)) {
            origin_release(fetch->conn);
        } else {
            origin_discard(fetch->conn);
        }
        fetch->conn = NULL;
    }
    fetch_destroy(fetch);
}

void fetch_fail(struct fetch *fetch, enum err error)
{
    fetch->reusable = false;
    fetch_leave_origin(fetch, error);
    cache_fill_fail(fetch->fill, error);
    fetch_finish(fetch);
}

void fetch_cancel(struct fetch *fetch)
{
    fetch->reusable = false;
    fetch_leave_origin(fetch, ERR_CANCELED);
    cache_fill_cancel(fetch->fill);
    fetch_finish(fetch);
}

void fetch_refuse(struct fetch *fetch)
{
    cache_fill_refuse(fetch->fill);
    fetch_finish(fetch);
}

/* With no exchange left that would count it. */
static void count_alone(const struct fetch *fetch)
{
    struct traffic_event event = {.site = fetch->site,
                                  .uri = &fetch->request.uri,
                                  .reason = fetch->cause.reason,
                                  .rule = fetch->cause.rule,
                                  .counts = {.received_bytes = fetch->received_bytes, .origin_us = fetch->waited_us}};

    if (fetch->received_bytes > 0 || fetch->waited_us > 0) {
        traffic_count(fetch->worker->traffic, &event);
    }
}

static void fetch_destroy(struct fetch *fetch)
{
    struct worker *worker = fetch->worker;
    struct arena arena;

    fetch_note_wait(fetch);
    if (fetch->exchange != NULL) {
        exchange_on_fetch_ended(fetch->exchange, fetch->received_bytes, fetch->waited_us);
    } else {
        count_alone(fetch);
    }
    fetch_leave_origin(fetch, ERR_OK);
    flight_set_producer(fetch->flight, NULL);
    mailbox_cancel(&worker->mailbox, &fetch->wake);
    origin_cancel(&fetch->acquire);
    if (fetch->previous != NULL) {
        fetch->previous->next = fetch->next;
    } else {
        worker->fetches = fetch->next;
    }
    if (fetch->next != NULL) {
        fetch->next->previous = fetch->previous;
    }
    cached_finish(worker->cache, &fetch->validate);
    flight_unref(fetch->flight);
    body_decoder_finish(&fetch->decoder);
    buf_finish(&fetch->out);
    buf_finish(&fetch->in);
    arena = fetch->arena; /* it takes the fetch with it */
    arena_finish(&arena);
    worker_check_stopped(worker);
}

void fetches_abort(struct worker *worker)
{
    struct fetch *next;

    for (struct fetch *fetch = worker->fetches; fetch != NULL; fetch = next) {
        next = fetch->next;
        fetch_cancel(fetch);
    }
}
