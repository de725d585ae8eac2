/* client.c: see client.h.
 *
 * Happy path: IDLE until bytes come, HEAD until the head is complete, EXCHANGE until the exchange has ended, DRAIN what
 * is unread of the request's body, IDLE again. Bytes of pipelined requests wait in `in`, a bounded number of them.
 *
 * Ends:
 * - The other side ends: idle, it is closed; during an exchange with a complete request the response still goes out (it
 *   may have closed only its sending side); else the exchange is told.
 * - We end first: LINGER lets the response arrive before the close (what is still coming in would make it a reset). */
#include "proxy/client.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http/parser.h"
#include "proxy/admission.h"
#include "proxy/exchange.h"
#include "proxy/http1_stream.h"
#include "proxy/pace.h"

enum {
    IN_PAUSE_BYTES = 64 * 1024,   /* unread input beyond which reading pauses */
    DRAIN_MAX_BYTES = 256 * 1024, /* of a request body nobody wants */
    LINGER_MAX_BYTES = 1024 * 1024,
    LINGER_MS = 2000,
    LATE_MS = 1000, /* for the request of who came just before the end */
    REFUSAL_MAX_BYTES = 1024,
    SPARE_MAX_BYTES = 16 * 1024, /* of a buffer that is kept for the next client */
};

enum client_state {
    CLIENT_IDLE,     /* for a request's first byte */
    CLIENT_HEAD,     /* for the rest of a head */
    CLIENT_EXCHANGE, /* for the exchange's end */
    CLIENT_DRAIN,    /* for the rest of the request's body */
    CLIENT_LINGER,   /* for the client to close */
    CLIENT_CLOSING,  /* for the handles */
};

struct client {
    struct worker *worker;
    struct client *next; /* of the worker's list */
    struct client *previous;
    enum client_state state;
    struct conn conn;
    struct stream stream;
    struct arena arena; /* reset after every exchange */
    struct buf in;      /* received and not consumed */
    union {
        struct head_scan scan;   /* CLIENT_IDLE, zeroed, and CLIENT_HEAD */
        struct {                 /* CLIENT_EXCHANGE */
            struct pace pace;    /* at which its request's body comes */
            uint64_t body_bytes; /* received since the exchange began */
        };
        uint64_t drained_bytes; /* CLIENT_DRAIN, CLIENT_LINGER */
    };
    struct message kick; /* process again, from the loop */
    struct admission admission;
    bool processing;     /* client_process is on the stack */
    bool input_ended;    /* the client closed its sending side */
    uint16_t field_slot; /* of the worker's field_memo: what the last head said */
    uint16_t port;
    char host[CONN_HOST_BYTES];
};

static void on_read(struct conn *conn, struct span bytes);
static void on_end(struct conn *conn, enum err error);
static void on_written(struct conn *conn, enum err error);
static void on_timer(struct conn *conn);
static void on_kick(struct message *message);
static void on_closed(struct conn *conn);
static void exchange_gone(struct client *client, enum end_reason reason);
static void client_process(struct client *client);
static bool step_head(struct client *client);
static void begin_exchange(struct client *client, struct http_request *request, enum err error);
static void become_idle(struct client *client);
static void rest(struct client *client);
static void wake(struct client *client);
static bool step_drain(struct client *client);
static void client_linger(struct client *client);
static void client_close(struct client *client);

static const struct conn_events client_events = {
    .on_read = on_read, .on_end = on_end, .on_written = on_written, .on_timer = on_timer};

static void add_client(struct client *client, struct worker *worker)
{
    const struct config *config = worker->config;

    client->worker = worker;
    client->kick.run = on_kick;
    client->field_slot = FIELD_MEMO_NONE;
    arena_init_sharing(&client->arena, config->server.max_request_memory_bytes, &worker->arena_spares);
    buf_init(&client->in, config->server.max_head_bytes + IN_PAUSE_BYTES + WORKER_READ_BUFFER_BYTES);
    http1_stream_init(&client->stream, &client->conn, config);
    conn_peer(&client->conn, client->host, &client->port);
    client->next = worker->clients;
    if (client->next != NULL) {
        client->next->previous = client;
    }
    worker->clients = client;
}

/* Over a limit of connections: a short answer, then the close, at once: it must not take the place of another. */
static void refuse(struct client *client, enum reason reason)
{
    struct buf text;
    size_t taken;

    buf_init(&text, REFUSAL_MAX_BYTES);
    admission_write_refusal(&text, client->worker, reason);
    struct span run = buf_span(&text);
    enum err error = conn_try_write(&client->conn, &run, 1, &taken);
    buf_finish(&text);
    if (error == ERR_OK) { /* a fresh socket takes it, or the client is gone */
        conn_shutdown_write(&client->conn);
    }
    client_close(client);
}

enum err client_accept(struct worker *worker, uv_stream_t *listener)
{
    struct client *client = calloc(1, sizeof(*client));

    if (client == NULL) {
        return ERR_NO_MEMORY;
    }
    enum err error = conn_accept(&client->conn, worker, listener, &client_events, client);
    if (error != ERR_OK) {
        free(client);
        return error;
    }
    add_client(client, worker);
    enum reason reason = admission_enter(&client->admission, worker, client->host);
    if (reason != REASON_NONE) {
        refuse(client, reason);
        return ERR_OK;
    }
    conn_set_timer(&client->conn, worker->config->server.client_idle_timeout_ms);
    conn_read_start(&client->conn);
    return ERR_OK;
}

void client_accept_late(struct worker *worker, int fd, bool is_unix)
{
    struct client *client = calloc(1, sizeof(*client));

    if (client == NULL) {
        close(fd);
        return;
    }
    conn_adopt(&client->conn, worker, fd, is_unix ? UV_NAMED_PIPE : UV_TCP, &client_events, client);
    add_client(client, worker);
    enum reason reason = admission_enter(&client->admission, worker, client->host);
    if (reason != REASON_NONE) {
        refuse(client, reason);
        return;
    }
    conn_set_timer(&client->conn, LATE_MS);
    conn_read_start(&client->conn);
}

void handover_drop(struct handover *handover, struct client_limits *limits)
{
    admission_leave(&handover->admission, limits);
    close(handover->fd);
    buf_finish(&handover->in);
    free(handover);
}

void client_take_over(struct worker *worker, struct handover *handover)
{
    struct client *client = calloc(1, sizeof(*client));

    if (client == NULL) {
        handover_drop(handover, worker->shared.limits);
        return;
    }
    conn_adopt(&client->conn, worker, handover->fd, handover->is_unix ? UV_NAMED_PIPE : UV_TCP, &client_events, client);
    add_client(client, worker);
    client->admission = handover->admission;
    bool counted = handover->admission.entered;
    buf_add(&client->in, buf_span(&handover->in));
    buf_finish(&handover->in);
    free(handover);
    enum reason reason = counted ? REASON_NONE : admission_enter(&client->admission, worker, client->host);
    if (reason != REASON_NONE) {
        refuse(client, reason);
        return;
    }
    if (client->in.failed) {
        client_close(client);
        return;
    }
    conn_set_timer(&client->conn, worker->config->server.client_idle_timeout_ms);
    client_process(client); /* reads on, or hands it over again */
}

/* What was received goes with it; what the socket still holds is read there. */
static void hand_over(struct client *client)
{
    struct worker *worker = client->worker;
    struct handover *handover = calloc(1, sizeof(*handover));
    int fd = handover != NULL ? conn_duplicate(&client->conn) : -1;

    if (fd < 0) {
        free(handover);
    } else {
        *handover = (struct handover){.message = {.run = worker->shared.on_handover},
                                      .worker = worker,
                                      .fd = fd,
                                      .is_unix = client->conn.u.handle.type == UV_NAMED_PIPE,
                                      .admission = client->admission,
                                      .in = client->in};
        buf_init(&client->in, 0);
        client->admission = (struct admission){0}; /* it stays counted */
        mailbox_post(worker->shared.server, &handover->message);
    }
    client_close(client);
}

void clients_retire(struct worker *worker)
{
    struct client *next;

    for (struct client *client = worker->clients; client != NULL; client = next) {
        next = client->next;
        if (client->state == CLIENT_IDLE) {
            client_process(client);
        }
    }
}

void clients_stop(struct worker *worker)
{
    struct client *next;

    for (struct client *client = worker->clients; client != NULL; client = next) {
        next = client->next;
        client->stream.wants_keep_alive = false;
        if (client->state == CLIENT_IDLE && !conn_has_input(&client->conn)) { /* else what came is answered, and then */
            client_close(client);
        } else if (client->state == CLIENT_EXCHANGE && exchange_is_tunnel(client->stream.exchange)) {
            exchange_gone(client, END_SHUTDOWN); /* it has no end of its own to wait for */
        }
    }
}

void clients_abort(struct worker *worker)
{
    struct client *next;

    for (struct client *client = worker->clients; client != NULL; client = next) {
        next = client->next;
        if (client->state == CLIENT_EXCHANGE) {
            http1_stream_gone(&client->stream);
            exchange_on_gone(client->stream.exchange, END_SHUTDOWN);
        }
        client_close(client);
    }
}

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
    client->stream.body_wanted = false;
    client->stream.wants_keep_alive = false;
    exchange_on_body_error(client->stream.exchange, ERR_CLIENT_TIMEOUT);
}

static void on_read(struct conn *conn, struct span bytes)
{
    struct client *client = client_of(conn);

    if (client->state == CLIENT_LINGER) {
        client->drained_bytes += bytes.len;
        if (client->drained_bytes > LINGER_MAX_BYTES) {
            client_close(client);
        }
        return;
    }
    if (client->state == CLIENT_IDLE) {
        wake(client);
    }
    buf_add(&client->in, bytes);
    if (client->in.failed) { /* no memory: reading pauses long before the limit */
        client_close(client);
        return;
    }
    if (client->state == CLIENT_EXCHANGE) {
        client->body_bytes += bytes.len;
        if (client->stream.body_wanted && !keeps_pace(client)) {
            body_timed_out(client);
            return;
        }
    }
    client_process(client);
}

/* The exchange is told that its client is gone, which ends it. */
static void exchange_gone(struct client *client, enum end_reason reason)
{
    http1_stream_gone(&client->stream);
    exchange_on_gone(client->stream.exchange, reason);
}

static void on_end(struct conn *conn, enum err error)
{
    struct client *client = client_of(conn);

    client->input_ended = true;
    if (client->state == CLIENT_EXCHANGE) {
        if (client->in.len == 0) { /* else requests it sent before are still to be answered */
            client->stream.wants_keep_alive = false;
        }
        if (error != ERR_OK || !client->stream.body_done) {
            exchange_gone(client, END_CLIENT_GONE);
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
        exchange_gone(client, END_CLIENT_GONE);
    } else if (!http1_stream_written(&client->stream)) {
        exchange_gone(client, END_CLIENT_TIMEOUT);
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
        if (client->stream.body_wanted) {
            body_timed_out(client);
        } else if (client->stream.waiting) {
            exchange_gone(client, END_CLIENT_TIMEOUT);
        } else {
            exchange_on_deadline(client->stream.exchange);
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

static void on_kick(struct message *message)
{
    client_process(CONTAINER_OF(message, struct client, kick));
}

void client_kick(struct stream *stream)
{
    struct client *client = CONTAINER_OF(stream, struct client, stream);

    mailbox_post(&client->worker->mailbox, &client->kick);
}

struct span client_take_input(struct stream *stream)
{
    struct client *client = CONTAINER_OF(stream, struct client, stream);
    struct span input = buf_span(&client->in);

    client->in.len = 0; /* the bytes stay where they are until something is appended, which a tunnel does not */
    return input;
}

/* ---- the keep-alive loop ---- */

/* Takes from `in` what the state wants, until more bytes are needed or an exchange is running. */
static void client_process(struct client *client)
{
    bool again = true;

    if (client->processing) {
        return;
    }
    client->processing = true;
    while (again) {
        switch (client->state) {
        case CLIENT_IDLE:
        case CLIENT_HEAD:
            again = step_head(client);
            break;
        case CLIENT_EXCHANGE:
            again = false;
            if (client->stream.body_wanted && client->in.len > 0) {
                size_t used = http1_stream_feed(&client->stream, buf_span(&client->in), &client->arena);
                buf_consume(&client->in, used);
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
    }
    if (client->state == CLIENT_EXCHANGE && client->stream.body_wanted) {
        pace_wait(&client->pace, uv_now(&client->worker->loop));
        conn_set_timer(&client->conn, client->worker->config->server.client_body_timeout_ms);
    }
    if (client->in.len > IN_PAUSE_BYTES) {
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
    if (client->state == CLIENT_IDLE && !client->input_ended && client->worker->state == WORKER_RETIRED) {
        hand_over(client);
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
    begin_exchange(client, &request, error);
    return true;
}

/* `request` NULL: nothing is known of it. */
static void begin_exchange(struct client *client, struct http_request *request, enum err error)
{
    struct exchange_start start = {.worker = client->worker,
                                   .stream = &client->stream,
                                   .arena = &client->arena,
                                   .error = error,
                                   .client = client->host,
                                   .client_port = client->port,
                                   .scheme = SPAN("http")};

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
    http1_stream_begin(&client->stream, &start.request);
    if (error != ERR_OK || client->worker->state >= WORKER_STOPPING || (client->input_ended && client->in.len == 0)) {
        client->stream.wants_keep_alive = false;
    }
    client->stream.exchange = exchange_create(&start);
    if (client->stream.exchange == NULL) {
        client_close(client);
        return;
    }
    exchange_run(client->stream.exchange);
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

    if (client->in.capacity <= SPARE_MAX_BYTES) {
        buf_lend(&client->in, &worker->spare_in);
    }
    if (client->stream.out.capacity <= SPARE_MAX_BYTES) {
        buf_lend(&client->stream.out, &worker->spare_out);
    }
    buf_finish(&client->in);
    buf_finish(&client->stream.out);
    arena_finish(&client->arena);
}

static void wake(struct client *client)
{
    buf_lend(&client->worker->spare_in, &client->in);
    buf_lend(&client->worker->spare_out, &client->stream.out);
}

/* The exchange is over; its memory goes. */
void stream_exchange_ended(struct stream *stream, bool keep_connection)
{
    struct client *client = CONTAINER_OF(stream, struct client, stream);

    REQUIRE(client->state == CLIENT_EXCHANGE);
    stream->exchange = NULL;
    stream->waiting = false;
    client->conn.events = &client_events; /* a tunnel had its own */
    client->conn.owner = client;
    conn_set_timer(&client->conn, 0);
    if (stream->gone || stream->aborted || client->conn.state != CONN_OPEN) {
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

    while (rest.len > 0 && !client->stream.body_done) {
        struct span piece;
        if (body_decoder_feed(&client->stream.decoder, &rest, &piece) != ERR_OK) {
            client_close(client);
            return true;
        }
        client->stream.body_done = body_decoder_done(&client->stream.decoder);
    }
    client->drained_bytes += bytes.len - rest.len;
    buf_consume(&client->in, bytes.len - rest.len);
    if (client->drained_bytes > DRAIN_MAX_BYTES) {
        client_linger(client);
        return true;
    }
    if (client->stream.body_done) {
        become_idle(client);
        return true;
    }
    return false;
}

static void client_linger(struct client *client)
{
    /* Nothing unread, nothing expected: an ordinary close resets nothing. */
    bool clean = client->stream.body_done && client->in.len == 0;
    if (client->input_ended || client->conn.ended || (clean && client->worker->state >= WORKER_STOPPING)) {
        client_close(client);
        return;
    }
    client->state = CLIENT_LINGER;
    client->drained_bytes = 0;
    arena_finish(&client->arena);
    conn_shutdown_write(&client->conn);
    conn_set_timer(&client->conn, LINGER_MS);
    conn_read_start(&client->conn);
}

static void client_close(struct client *client)
{
    if (client->state == CLIENT_CLOSING) {
        return;
    }
    client->state = CLIENT_CLOSING;
    mailbox_cancel(&client->worker->mailbox, &client->kick);
    if (client->stream.aborted) {
        conn_reset(&client->conn, on_closed);
    } else {
        conn_close(&client->conn, on_closed);
    }
}

static void on_closed(struct conn *conn)
{
    struct client *client = client_of(conn);
    struct worker *worker = client->worker;

    if (client->previous != NULL) {
        client->previous->next = client->next;
    } else {
        worker->clients = client->next;
    }
    if (client->next != NULL) {
        client->next->previous = client->previous;
    }
    admission_leave(&client->admission, worker->shared.limits);
    http1_stream_finish(&client->stream);
    buf_finish(&client->in);
    arena_finish(&client->arena);
    free(client);
    worker_check_stopped(worker);
}
