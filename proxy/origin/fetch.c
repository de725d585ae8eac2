/* fetch.c: one request to an origin: the request on its way out, life and end. See fetch.h.
 *
 * Happy path: a connection (fetch_origin.c), the head in one write, the request's body as the client sends it, then
 * fetch_response.c.
 *
 * Failures:
 * - No origin can be reached, a timeout, a broken response: the fill is failed, with the error the clients get.
 * - Nobody wants it any more: it ends, and so does its connection. */
#include "proxy/origin/fetch_internal.h"

#include "cache/head.h"
#include "http/forward.h"
#include "http/serialize.h"
#include "http/validators.h"
#include "proxy/exchange/decide.h"
#include "proxy/io/log.h"
#include "proxy/server/worker.h"

enum {
    HEAD_OUT_LIMIT = 1024 * 1024,
    CONTINUE_WAIT_MS = 1000, /* then the body is sent without a 100 (RFC 9110 §10.1.1) */
    SLOW_FOLLOWER_MS = 2000, /* how long a body that is not stored waits for the slowest of its clients */
    DISK_PATIENCE_MS = 1000, /* how long a fill waits for the disk to make room before it goes on unstored */
};

static bool copy_request(struct fetch *fetch, const struct fetch_options *options);
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
    struct fetch *fetch = calloc(1, sizeof(*fetch));

    if (fetch == NULL) {
        cache_fill_fail(fill, ERR_NO_MEMORY);
        return false;
    }
    fetch->worker = worker;
    fetch->fill = fill;
    fetch->flight = flight_ref(flight);
    fetch->producer.wake = wake;
    fetch->wake.run = on_wake;
    arena_init_sharing(&fetch->arena, worker->config->server.max_request_memory_bytes * 2, &worker->arena_spares);
    buf_init(&fetch->out, HEAD_OUT_LIMIT);
    buf_init(&fetch->in, worker->config->server.max_head_bytes + WORKER_READ_BUFFER_BYTES);
    fetch->next = worker->fetches;
    if (fetch->next != NULL) {
        fetch->next->previous = fetch;
    }
    worker->fetches = fetch;
    if (!copy_request(fetch, options) || !fetch_build_head(fetch)) {
        fetch->exchange = NULL;
        fetch_fail(fetch, ERR_NO_MEMORY);
        return false;
    }
    flight_set_producer(flight, &fetch->producer);
    *out_fetch = fetch; /* before it may end: then the exchange is told */
    fetch_ask(fetch);
    return true;
}

static bool copy_uri(struct uri *out, const struct uri *source, struct arena *arena)
{
    *out = *source;
    return arena_copy(arena, source->scheme, &out->scheme) && arena_copy(arena, source->authority, &out->authority) &&
           arena_copy(arena, source->path, &out->path) && arena_copy(arena, source->query, &out->query);
}

/* The fetch may outlive the exchange: it owns a copy of all it needs. */
static bool copy_request(struct fetch *fetch, const struct fetch_options *options)
{
    struct arena *arena = &fetch->arena;

    fetch->exchange = options->exchange;
    fetch->behind = options->exchange == NULL;
    fetch->cause = options->cause;
    fetch->site = options->site;
    fetch->pool = worker_pool(fetch->worker, options->site);
    fetch->keep_conditions = options->keep_conditions;
    fetch->upgrade = options->upgrade;
    fetch->request = *options->request;
    fetch->has_key = options->key != NULL;
    if (fetch->behind) {
        fetch->request.framing = (struct framing){0};
    }
    if (fetch->has_key) {
        fetch->key = *options->key;
        if (!arena_copy(arena, options->key->text, &fetch->key.text)) {
            return false;
        }
    }
    if (options->validate != NULL) {
        if (!cached_copy(fetch->worker->cache, options->validate, arena, &fetch->validate)) {
            return false;
        }
        fetch->comparing = options->compare;
        fetch->completing = options->gap != NULL;
        fetch->validating = !fetch->comparing && !fetch->completing;
    }
    if (fetch->completing) {
        fetch->gap = *options->gap;
    }
    return arena_copy(arena, span_of(options->client), &fetch->client) &&
           arena_copy(arena, options->scheme, &fetch->scheme) && arena_copy(arena, options->host, &fetch->host) &&
           arena_copy(arena, options->range, &fetch->range) &&
           arena_copy(arena, options->request->method_name, &fetch->request.method_name) &&
           headers_copy_texts(&fetch->request.headers, &options->request->headers, options->request->field_block, arena,
                              &fetch->request.field_block) &&
           copy_uri(&fetch->request.uri, &options->request->uri, arena);
}

static bool has_body(const struct http_request *request)
{
    const struct framing *framing = &request->framing;

    return framing->kind == FRAMING_CHUNKED || (framing->kind == FRAMING_LENGTH && framing->length > 0);
}

/* The stored validators replace the client's own (RFC 9111 §4.3.1). */
static bool add_validators(const struct fetch *fetch, struct headers *headers, struct arena *arena)
{
    struct headers stored;

    if (head_read(fetch->validate.stored.head, arena, &stored) != ERR_OK) {
        return true; /* nothing to validate with: a full answer replaces it */
    }
    if (fetch->completing) {
        struct span validator = strong_validator_of(&stored, worker_now_ms() / 1000);
        return validator.len == 0 || headers_add(headers, SPAN("If-Range"), validator);
    }
    return decide_validators(&stored, headers);
}

/* Framing, connection and protocol fields of the request as larder sends it. */
static bool add_transport_fields(const struct fetch *fetch, struct headers *headers, struct arena *arena)
{
    const struct http_request *request = &fetch->request;
    struct span text;

    if (request->framing.kind == FRAMING_CHUNKED) {
        if (!headers_add(headers, SPAN("Transfer-Encoding"), SPAN("chunked"))) {
            return false;
        }
    } else if (request->framing.kind == FRAMING_LENGTH || headers_has(&request->headers, SPAN("Content-Length"))) {
        if (!arena_format(arena, &text, "%llu", (unsigned long long)request->framing.length) ||
            !headers_add(headers, SPAN("Content-Length"), text)) {
            return false;
        }
    }
    if (fetch->upgrade) {
        return headers_add(headers, SPAN("Connection"), SPAN("upgrade")) &&
               headers_add(headers, SPAN("Upgrade"), headers_value(&request->headers, SPAN("Upgrade")));
    }
    return true;
}

static bool build_headers(const struct fetch *fetch, struct headers *headers, struct arena *arena)
{
    const struct config *config = fetch->worker->config;
    struct forwarded forwarded = {.style = config->server.forwarded,
                                  .trust = config->server.trust_forwarded,
                                  .client = span_equal(fetch->client, SPAN("unix")) ? SPAN("") : fetch->client,
                                  .scheme = fetch->scheme,
                                  .host = fetch->host};

    if (!headers_copy(headers, &fetch->request.headers, arena) || !forward_remove_hop_by_hop(headers)) {
        return false;
    }
    (void)headers_remove(headers, SPAN("Content-Length")); /* rebuilt from the framing */
    (void)headers_remove(headers, SPAN("Host"));
    if (!has_body(&fetch->request) || fetch->request.minor == 0) {
        (void)headers_remove(headers, SPAN("Expect")); /* RFC 9110 §10.1.1: nothing is waiting for a 100 */
    }
    if (!fetch->keep_conditions) {
        remove_conditions(headers);
        (void)headers_remove(headers, SPAN("Range"));
    } else if (decide_names_own_tags(headers, SPAN("If-None-Match"))) {
        (void)headers_remove(headers, SPAN("If-None-Match")); /* it names nothing that the origin knows */
    }
    if (fetch->range.len > 0) {
        (void)headers_remove(headers, SPAN("Range"));
        if (!headers_add(headers, SPAN("Range"), fetch->range)) {
            return false;
        }
    }
    bool conditional = fetch->validating || fetch->completing;
    return (!conditional || add_validators(fetch, headers, arena)) &&
           forward_add_via(headers, fetch->request.minor, span_of(config->server.via)) &&
           forward_add_loop(headers, span_of(config->server.via), config->server.instance_id) &&
           forward_add_forwarded(headers, &forwarded) && add_transport_fields(fetch, headers, arena);
}

bool fetch_build_head(struct fetch *fetch)
{
    struct arena *arena = &fetch->arena;
    struct span host = fetch->site->host_header != NULL ? span_of(fetch->site->host_header) : fetch->host;
    struct headers headers;
    struct span target;

    if (!build_headers(fetch, &headers, arena) || !uri_path_and_query(&fetch->request.uri, arena, &target)) {
        return false;
    }
    if (host.len == 0) { /* HTTP/1.0 without Host */
        host = span_of(fetch->site->origins[0].authority);
    }
    buf_clear(&fetch->out);
    buf_lend(&fetch->worker->spare_head, &fetch->out);
    write_request_line(&fetch->out, fetch->request.method_name, target);
    write_field(&fetch->out, SPAN("Host"), host);
    write_fields(&fetch->out, &headers);
    write_end(&fetch->out);
    fetch->request_sent = false;
    fetch->awaits_continue = headers_has(&headers, SPAN("Expect"));
    fetch->conditional =
        headers_has(&headers, SPAN("If-None-Match")) || headers_has(&headers, SPAN("If-Modified-Since"));
    return !fetch->out.failed;
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

    if (!has_body(&fetch->request)) {
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
        if (!fetch->request_sent) {
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

    if (!fetch_replay(fetch)) {
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

static void on_timer(struct conn *conn)
{
    struct fetch *fetch = conn->owner;

    if (fetch->awaits_continue && !fetch->request_sent) {
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
        flight_shed_slow(fetch->flight);
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
        fetch_fail(fetch, ERR_CANCELED);
        return;
    }
    fetch->paused = flight_room(fetch->flight) == 0;
    if (!fetch->paused) {
        conn_set_timer(conn, fetch->worker->config->server.origin_between_bytes_timeout_ms);
        conn_read_start(conn);
        return;
    }
    conn_read_stop(conn);
    /* Storing: the disk must make room. Else the clients must: the slowest of several does not hold up the others, and
     * for all of them their own write timeouts count. */
    conn_set_timer(conn, flight_is_storing(fetch->flight) ? DISK_PATIENCE_MS : SLOW_FOLLOWER_MS);
}

static void on_wake(struct message *message)
{
    struct fetch *fetch = CONTAINER_OF(message, struct fetch, wake);

    if (!is_wanted(fetch)) {
        fetch_fail(fetch, ERR_CANCELED);
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
    bool sending = fetch->request.framing.kind != FRAMING_NONE && !fetch->request_sent;

    fetch->exchange = NULL;
    fetch->cause = *cause;
    if (sending || !is_wanted(fetch)) {
        fetch_fail(fetch, ERR_CANCELED);
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
    arena_finish(&fetch->arena);
    free(fetch);
    worker_check_stopped(worker);
}

void fetches_abort(struct worker *worker)
{
    struct fetch *next;

    for (struct fetch *fetch = worker->fetches; fetch != NULL; fetch = next) {
        next = fetch->next;
        fetch_fail(fetch, ERR_CANCELED);
    }
}
