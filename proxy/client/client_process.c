/* client_process.c: what comes in on a client's connection becomes requests, one after another.
 *
 * Happy path: IDLE until bytes come, HEAD until the head is complete, EXCHANGE until the exchange has ended, DRAIN what
 * is unread of the request's body, IDLE again. Bytes of pipelined requests wait in `in`, a bounded number of them. */
#include "proxy/client/client_internal.h"

#include "proxy/server/worker.h"

enum {
    DRAIN_MAX_BYTES = 256 * 1024, /* of a request body nobody wants */
    TURN_REQUESTS = 32,           /* then other clients get their turn */
};

static void on_read(struct conn *conn, struct span bytes);
static void on_end(struct conn *conn, enum err error);
static void on_written(struct conn *conn, enum err error);
static void on_timer(struct conn *conn);
static bool step_head(struct client *client);
static void begin_exchange(struct client *client, struct http_request *request, enum err error);
static void become_idle(struct client *client);
static void rest(struct client *client);
static bool step_drain(struct client *client);

const struct conn_events client_events = {
    .on_read = on_read, .on_end = on_end, .on_written = on_written, .on_timer = on_timer};

/* ---- what the connection tells ---- */

static struct client *client_of(struct conn *conn)
{
    return conn->owner;
}

/* More of a request's body came: fast enough? */
static bool keeps_pace(struct client *client)
{
    const struct config *config = client->worker->config;

    return pace_moved(&client->pace, uv_now(&client->worker->loop), client->body_bytes, config->server.client_min_rate,
                      config->server.client_body_timeout_ms);
}

static void body_timed_out(struct client *client)
{
    client->stream->body_wanted = false;
    client->stream->wants_keep_alive = false;
    exchange_on_body_error(client->stream->exchange, ERR_CLIENT_TIMEOUT);
}

static void on_read(struct conn *conn, struct span bytes)
{
    struct client *client = client_of(conn);

    if (client->state == CLIENT_LINGER) {
        client_linger_read(client, bytes.len);
        return;
    }
    if (client->in.len == 0) {
        buf_lend(&client->worker->spare_in, &client->in);
    }
    buf_add(&client->in, bytes);
    if (client->in.failed) { /* no memory: the limits of heads and of reading ahead come first */
        if (client->state == CLIENT_EXCHANGE) {
            client_exchange_gone(client, END_REFUSED);
        }
        client_close(client);
        return;
    }
    if (client->state == CLIENT_EXCHANGE) {
        client->body_bytes += bytes.len;
        if (client->stream->body_wanted && !keeps_pace(client)) {
            body_timed_out(client);
            return;
        }
    }
    client_process(client);
}

/* The exchange is told that its client is gone, which ends it. */
void client_exchange_gone(struct client *client, enum end_reason reason)
{
    http1_stream_gone(client->stream);
    exchange_on_gone(client->stream->exchange, reason);
}

/* Nothing more will come, and the request's body is not whole. What waits in `in` may be the rest of it. */
static bool body_is_cut(const struct client *client)
{
    const struct body_decoder *decoder = &client->stream->decoder;
    bool short_of_length = decoder->kind == FRAMING_LENGTH && client->in.len < decoder->left;

    return client->input_ended && !client->stream->body_done && (client->in.len == 0 || short_of_length);
}

static void on_end(struct conn *conn, enum err error)
{
    struct client *client = client_of(conn);

    client->input_ended = true;
    if (client->state == CLIENT_EXCHANGE) {
        if (client->in.len == 0) { /* else requests it sent before are still to be answered */
            client->stream->wants_keep_alive = false;
        }
        if (error != ERR_OK || body_is_cut(client)) {
            client_exchange_gone(client, END_CLIENT_GONE);
        }
        return;
    }
    client_close(client);
}

static void on_written(struct conn *conn, enum err error)
{
    struct client *client = client_of(conn);

    if (client->state != CLIENT_EXCHANGE) {
        return;
    }
    if (error != ERR_OK) {
        client_exchange_gone(client, END_CLIENT_GONE);
    } else if (!http1_stream_written(client->stream)) {
        client_exchange_gone(client, END_CLIENT_TIMEOUT);
    }
}

static void on_timer(struct conn *conn)
{
    struct client *client = client_of(conn);

    switch (client->state) {
    case CLIENT_HEAD:
        begin_exchange(client, NULL, ERR_CLIENT_TIMEOUT);
        break;
    case CLIENT_EXCHANGE:
        switch (http1_stream_time_out(client->stream)) {
        case STREAM_BODY_LATE:
            body_timed_out(client);
            break;
        case STREAM_WRITE_LATE:
            client_exchange_gone(client, END_CLIENT_TIMEOUT);
            break;
        case STREAM_IN_TIME:
            break;
        }
        break;
    case CLIENT_IDLE:
    case CLIENT_DRAIN:
    case CLIENT_LINGER:
    case CLIENT_CLOSING:
        client_close(client);
        break;
    }
}

void client_on_kick(struct message *message)
{
    client_process(CONTAINER_OF(message, struct client, kick));
}

void client_kick(struct stream *stream)
{
    struct client *client = stream->client;

    mailbox_post(&client->worker->mailbox, &client->kick);
}

void client_on_turn(struct message *message)
{
    http1_stream_turn(CONTAINER_OF(message, struct stream, turn));
}

void client_yield(struct stream *stream)
{
    struct client *client = stream->client;

    mailbox_post_later(&client->worker->mailbox, &stream->turn);
}

struct span client_take_input(struct stream *stream)
{
    struct client *client = stream->client;
    struct span input = buf_span(&client->in);

    client->in.len = 0; /* the bytes stay where they are until something is appended, which a tunnel does not */
    return input;
}

/* ---- the keep-alive loop ---- */

/* Takes from `in` what the state wants, until more bytes are needed, an exchange is running, or it is others' turn. */
void client_process(struct client *client)
{
    unsigned begun = 0;
    bool again = true;

    if (client->processing) {
        return;
    }
    client->processing = true;
    while (again) {
        switch (client->state) {
        case CLIENT_IDLE:
        case CLIENT_HEAD:
            again = (begun < TURN_REQUESTS || client->in.len == 0) && step_head(client);
            begun += again ? 1 : 0;
            break;
        case CLIENT_EXCHANGE:
            again = false;
            if (client->stream->body_wanted && client->in.len > 0) {
                size_t used = http1_stream_feed(client->stream, buf_span(&client->in), &client->arena);
                buf_consume(&client->in, used);
                if (client->state == CLIENT_EXCHANGE && body_is_cut(client)) {
                    client_exchange_gone(client, END_CLIENT_GONE);
                }
                again = client->state != CLIENT_EXCHANGE;
            }
            break;
        case CLIENT_DRAIN:
            again = step_drain(client);
            break;
        case CLIENT_LINGER:
        case CLIENT_CLOSING:
            again = false;
            break;
        }
    }
    client->processing = false;
    if (client->state == CLIENT_LINGER || client->state == CLIENT_CLOSING) {
        buf_finish(&client->in); /* nobody reads it any more */
        return;
    }
    if (client->state == CLIENT_IDLE && client->in.len == 0) {
        rest(client);
    } else if (client->in.len == 0) { /* what is read next may come long after the answer */
        buf_give_back(&client->in, &client->worker->spare_in);
    }
    if (client->state == CLIENT_EXCHANGE && client->stream->body_wanted) {
        pace_wait(&client->pace, uv_now(&client->worker->loop));
        http1_stream_await_body(client->stream);
    }
    bool goes_on = client->state == CLIENT_IDLE && client->in.len > 0; /* TURN_REQUESTS are over */
    if (goes_on) {
        mailbox_post(&client->worker->mailbox, &client->kick);
    }
    /* Only behind a request do bytes wait; a head that is not whole has the limit of heads. */
    bool enough = client->state == CLIENT_EXCHANGE && client->in.len > CLIENT_IN_PAUSE_BYTES;
    if (goes_on || enough) {
        conn_read_stop(&client->conn);
    } else {
        conn_read_start(&client->conn);
    }
}

/* Looks for a head. True when the state has changed. */
static bool step_head(struct client *client)
{
    const struct config *config = client->worker->config;
    struct head_limits limits = {.head_bytes = config->server.max_head_bytes,
                                 .target_bytes = config->server.max_target_bytes,
                                 .field_count = config->server.max_fields};
    struct http_request request = {0};
    size_t head_len = 0;

    if (client->in.len == 0 && client->input_ended) {
        client_close(client);
        return true;
    }
    bool fits = client->in.len <= CLIENT_IN_PAUSE_BYTES; /* into a message to another process */
    if (client->state == CLIENT_IDLE && !client->input_ended && client->worker->state == WORKER_RETIRED && fits) {
        client_hand_over(client);
        return true;
    }
    if (client->in.len == 0) {
        return false;
    }
    if (client->state == CLIENT_IDLE && parse_repeated_head(buf_span(&client->in), &limits, client->worker->field_memo,
                                                            client->field_slot, &client->arena, &request, &head_len)) {
        buf_consume(&client->in, head_len);
        begin_exchange(client, &request, ERR_OK);
        return true;
    }
    if (client->state == CLIENT_IDLE) {
        client->state = CLIENT_HEAD;
        conn_set_timer(&client->conn, config->server.client_head_timeout_ms);
    }
    enum err error = head_find(&client->scan, buf_span(&client->in), &limits, &head_len);
    if (error == ERR_AGAIN && client->input_ended) {
        client_close(client);
        return true;
    }
    if (error == ERR_AGAIN) {
        return false;
    }
    if (error == ERR_OK) {
        struct span head = span_take(buf_span(&client->in), head_len);
        error = parse_request_head(head, &limits, &client->arena, &request);
        if (error == ERR_OK) {
            client->field_slot = field_memo_note(client->worker->field_memo, request.field_block, &request.headers);
        }
        buf_consume(&client->in, head_len);
    }
    if (error == ERR_TLS || error == ERR_HTTP2) {
        refusals_note(&client->worker->refusals, error == ERR_TLS ? REFUSAL_TLS : REFUSAL_HTTP2, span_of(client->host));
    }
    begin_exchange(client, &request, error);
    return true;
}

/* False: no memory. */
static bool have_stream(struct client *client)
{
    struct worker *worker = client->worker;

    if (client->stream == NULL) {
        client->stream = http1_stream_take(&worker->stream_spares, &client->conn, worker->config, &worker->spare_out);
        if (client->stream == NULL) {
            return false;
        }
        client->stream->client = client;
        client->stream->turn.run = client_on_turn;
    }
    return true;
}

/* `request` NULL: nothing is known of it. */
static void begin_exchange(struct client *client, struct http_request *request, enum err error)
{
    if (!have_stream(client)) {
        client_close(client);
        return;
    }
    struct exchange_start start = {.worker = client->worker,
                                   .stream = client->stream,
                                   .arena = &client->arena,
                                   .error = error,
                                   .client = client->host,
                                   .client_port = client->port,
                                   .scheme = SPAN("http"),
                                   .believed = client->believed};

    if (request != NULL) {
        start.request = *request;
    }
    if (start.request.headers.arena == NULL) {
        headers_init(&start.request.headers, &client->arena);
    }
    if (error != ERR_OK) {
        start.request.minor = 1;
        start.request.framing = (struct framing){0};
    }
    conn_set_timer(&client->conn, 0);
    client->state = CLIENT_EXCHANGE;
    client->body_bytes = 0;
    pace_begin(&client->pace);
    http1_stream_begin(client->stream, &start.request);
    if (error != ERR_OK || client->worker->state >= WORKER_STOPPING || (client->input_ended && client->in.len == 0)) {
        client->stream->wants_keep_alive = false;
    }
    client->stream->exchange = exchange_create(&start);
    if (client->stream->exchange == NULL) {
        client_close(client);
        return;
    }
    exchange_run(client->stream->exchange);
}

static void become_idle(struct client *client)
{
    client->state = CLIENT_IDLE;
    client->scan = (struct head_scan){0};
}

/* Nothing is known of what comes next: a connection that waits holds no memory but its own. The worker has the buffers
 * ready for the next that wakes. */
static void rest(struct client *client)
{
    struct worker *worker = client->worker;

    buf_give_back(&client->in, &worker->spare_in);
    if (client->stream != NULL) {
        mailbox_cancel(&worker->mailbox, &client->stream->turn);
        http1_stream_let_go(client->stream, &worker->stream_spares);
        client->stream = NULL;
    }
    arena_finish(&client->arena);
}

/* The exchange is over; its memory goes. */
void stream_exchange_ended(struct stream *stream, bool keep_connection)
{
    struct client *client = stream->client;

    REQUIRE(client->state == CLIENT_EXCHANGE);
    stream->exchange = NULL;
    stream->waiting = false;
    client->conn.events = &client_events; /* a tunnel had its own */
    client->conn.owner = client;
    conn_set_timer(&client->conn, 0);
    if (stream->gone || http1_stream_must_reset(stream) || client->conn.state != CONN_OPEN) {
        client_close(client);
        return;
    }
    if (!keep_connection || !http1_stream_may_continue(stream)) {
        client_linger(client);
        return;
    }
    arena_reset(&client->arena);
    if (stream->body_done) {
        become_idle(client);
    } else {
        client->state = CLIENT_DRAIN;
        client->drained_bytes = 0;
    }
    if (client->state == CLIENT_IDLE && client->worker->state >= WORKER_STOPPING) {
        client_close(client);
        return;
    }
    conn_set_timer(&client->conn, client->worker->config->server.client_idle_timeout_ms);
    if (!client->processing) {
        client_process(client);
    }
}

/* Reads on to the end of a body nobody wanted, so that what follows is a request. True when the state has changed. */
static bool step_drain(struct client *client)
{
    struct span bytes = buf_span(&client->in);
    struct span rest = bytes;

    while (rest.len > 0 && !client->stream->body_done) {
        struct span piece;
        if (body_decoder_feed(&client->stream->decoder, &rest, &piece) != ERR_OK) {
            client_close(client);
            return true;
        }
        client->stream->body_done = body_decoder_done(&client->stream->decoder);
    }
    client->drained_bytes += bytes.len - rest.len;
    buf_consume(&client->in, bytes.len - rest.len);
    if (client->drained_bytes > DRAIN_MAX_BYTES) {
        client_linger(client);
        return true;
    }
    if (client->stream->body_done) {
        become_idle(client);
        return true;
    }
    if (client->input_ended) {
        client_close(client);
        return true;
    }
    return false;
}
