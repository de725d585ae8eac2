/* admin_client.c: one connection to the administration: requests one after the other, each whole before it is looked
 * at.
 *
 * Happy path: HEAD until a head is complete, BODY until its body is, CALL while the route works, ANSWER until the
 *             answer is written, HEAD again; or LINGER until the client has read it and ends. STREAM: an answer
 *             that goes on until either side ends; an empty line now and then shows that both are there.
 * Failures:   - a head or body that is wrong or too large: an answer, then the close.
 *             - the client ends or is silent for too long: the close; what a purge has begun goes on. */
#include <stdlib.h>
#include <string.h>

#include "http/framing.h"
#include "http/parser.h"
#include "http/serialize.h"
#include "proxy/admin/admin_internal.h"
#include "proxy/exchange/purge_wait.h"
#include "proxy/io/conn.h"
#include "proxy/server/worker.h"

enum {
    HEAD_MAX_BYTES = 32 * 1024,
    FIELDS_MAX = 64,
    BODY_MAX_BYTES = 1024 * 1024,
    ARENA_MAX_BYTES = 4 * 1024 * 1024,
    ANSWER_MAX_BYTES = 256 * 1024 * 1024, /* the metrics of very many sites */
    IDLE_MS = 60 * 1000,                  /* between requests, and within one */
    WRITE_MS = 30 * 1000,
    LINGER_MS = 2000,
    STREAM_IDLE_MS = 15 * 1000, /* then an empty line */
};

enum client_state {
    CLIENT_HEAD,
    CLIENT_BODY,
    CLIENT_CALL,
    CLIENT_ANSWER,
    CLIENT_STREAM,
    CLIENT_LINGER,
    CLIENT_CLOSING
};

struct admin_client {
    struct admin *admin;
    struct admin_client *next; /* of the administration's list */
    struct admin_client *previous;
    enum client_state state;
    const struct address *address; /* of the listener: where it came in */
    bool keeps_alive;
    struct conn conn;
    struct buf in; /* received and not consumed */
    struct head_scan scan;
    struct arena arena; /* of the request */
    struct body_decoder decoder;
    struct buf body;
    struct admin_call call;
};

static void close_client(struct admin_client *client);
static void on_read(struct conn *conn, struct span bytes);
static void on_end(struct conn *conn, enum err error);
static void on_written(struct conn *conn, enum err error);
static void on_timer(struct conn *conn);
static void on_closed(struct conn *conn);
static void process(struct admin_client *client);
static bool take_head(struct admin_client *client);
static bool take_body(struct admin_client *client);
static void run_call(struct admin_client *client);
static void begin_stream(struct admin_client *client);
static void refuse(struct admin_client *client, enum err error);

/* Nothing is kept, nothing is taken for something else, and no page of elsewhere shows or reads it; the dashboard's own
 * page runs and asks for nothing but what comes from here. */
static const char fixed_fields[] =
    "Cache-Control: no-store\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Referrer-Policy: no-referrer\r\n";

static const struct conn_events events = {
    .on_read = on_read, .on_end = on_end, .on_written = on_written, .on_timer = on_timer};

/* Makes room for `newest`: the connection that was kept longest and has nothing under way goes. False: there is none.
 */
static bool close_idle(struct admin *admin, const struct admin_client *newest)
{
    struct admin_client *idle = NULL;

    for (struct admin_client *client = admin->clients; client != NULL; client = client->next) {
        if (client != newest && client->state == CLIENT_HEAD && client->in.len == 0) {
            idle = client; /* newer ones are in front */
        }
    }
    if (idle != NULL) {
        close_client(idle);
    }
    return idle != NULL;
}

enum err admin_client_accept(struct admin *admin, struct admin_listener *listener)
{
    struct admin_client *client = calloc(1, sizeof(*client));

    if (client == NULL) {
        return ERR_NO_MEMORY;
    }
    enum err error =
        conn_accept_on(&client->conn, admin->scope.loop, admin->read_buffer, &listener->socket.stream, &events, client);
    if (error != ERR_OK) {
        free(client);
        return error;
    }
    client->admin = admin;
    client->address = &listener->address;
    arena_init(&client->arena, ARENA_MAX_BYTES);
    buf_init(&client->in, HEAD_MAX_BYTES + WORKER_READ_BUFFER_BYTES);
    buf_init(&client->body, BODY_MAX_BYTES);
    buf_init(&client->call.answer, ANSWER_MAX_BYTES);
    client->next = admin->clients;
    if (client->next != NULL) {
        client->next->previous = client;
    }
    admin->clients = client;
    if (++admin->client_count > ADMIN_CLIENTS_MAX && !close_idle(admin, client)) {
        close_client(client);
        return ERR_LIMIT;
    }
    conn_set_timer(&client->conn, IDLE_MS);
    conn_read_start(&client->conn);
    return ERR_OK;
}

void admin_clients_close(struct admin *admin)
{
    for (struct admin_client *client = admin->clients; client != NULL; client = client->next) {
        close_client(client);
    }
}

static void close_client(struct admin_client *client)
{
    client->state = CLIENT_CLOSING;
    conn_close(&client->conn, on_closed);
}

/* ---- what the connection tells ---- */

static void on_read(struct conn *conn, struct span bytes)
{
    struct admin_client *client = conn->owner;

    if (client->state == CLIENT_LINGER || client->state == CLIENT_STREAM) {
        return;
    }
    buf_add(&client->in, bytes);
    if (client->in.failed) {
        close_client(client);
        return;
    }
    process(client);
}

static void on_end(struct conn *conn, enum err error)
{
    struct admin_client *client = conn->owner;

    client->keeps_alive = false;
    if (error != ERR_OK || client->state == CLIENT_HEAD || client->state == CLIENT_BODY ||
        client->state == CLIENT_LINGER || client->state == CLIENT_STREAM) {
        close_client(client);
    }
}

/* What still comes in would make a close a reset, and take the answer from the client. */
static void linger(struct admin_client *client)
{
    client->state = CLIENT_LINGER;
    conn_shutdown_write(&client->conn);
    conn_set_timer(&client->conn, LINGER_MS);
    conn_read_start(&client->conn);
}

static void on_written(struct conn *conn, enum err error)
{
    struct admin_client *client = conn->owner;

    if (client->state == CLIENT_STREAM && error == ERR_OK) {
        conn_set_timer(conn, STREAM_IDLE_MS);
        client->call.stream->on_drained(client->call.stream);
        return;
    }
    if (error != ERR_OK || (!client->keeps_alive && conn->ended)) {
        close_client(client);
        return;
    }
    if (!client->keeps_alive) {
        linger(client);
        return;
    }
    client->state = CLIENT_HEAD;
    conn_set_timer(conn, IDLE_MS);
    process(client);
}

static void on_timer(struct conn *conn)
{
    struct admin_client *client = conn->owner;

    if (client->state == CLIENT_STREAM && !conn->writing) {
        client->call.stream->on_idle(client->call.stream);
        return;
    }
    close_client(client);
}

static void on_closed(struct conn *conn)
{
    struct admin_client *client = conn->owner;
    struct admin *admin = client->admin;

    purge_wait_forget(client->call.wait);
    if (client->call.stream != NULL) {
        client->call.stream->on_closed(client->call.stream);
    }
    if (client->previous != NULL) {
        client->previous->next = client->next;
    } else {
        admin->clients = client->next;
    }
    if (client->next != NULL) {
        client->next->previous = client->previous;
    }
    admin->client_count--;
    arena_finish(&client->arena);
    body_decoder_finish(&client->decoder);
    buf_finish(&client->in);
    buf_finish(&client->body);
    buf_finish(&client->call.answer);
    free(client);
}

/* ---- requests ---- */

/* Takes from `in` what the state wants. Reads while it wants more. */
static void process(struct admin_client *client)
{
    bool again = true;

    while (again) {
        again =
            (client->state == CLIENT_HEAD && take_head(client)) || (client->state == CLIENT_BODY && take_body(client));
    }
    if (client->state == CLIENT_HEAD || client->state == CLIENT_BODY || client->state == CLIENT_STREAM) {
        conn_read_start(&client->conn);
    } else {
        conn_read_stop(&client->conn);
    }
}

static void begin_call(struct admin_client *client)
{
    struct buf answer = client->call.answer;

    body_decoder_finish(&client->decoder);
    arena_reset(&client->arena);
    buf_clear(&client->body);
    buf_clear(&answer);
    client->call = (struct admin_call){.admin = client->admin, .arena = &client->arena, .answer = answer};
    headers_init(&client->call.request.headers, &client->arena);
    client->keeps_alive = false;
}

/* True when the state has changed. */
static bool take_head(struct admin_client *client)
{
    static const struct head_limits limits = {
        .head_bytes = HEAD_MAX_BYTES, .target_bytes = HEAD_MAX_BYTES, .field_count = FIELDS_MAX};
    struct http_request *request = &client->call.request;
    size_t head_len = 0;
    size_t taken;

    if (client->in.len == 0) {
        return false;
    }
    enum err error = head_find(&client->scan, buf_span(&client->in), &limits, &head_len);
    if (error == ERR_AGAIN) {
        return false;
    }
    begin_call(client);
    client->scan = (struct head_scan){0};
    if (error == ERR_OK) {
        error = parse_request_head(span_take(buf_span(&client->in), head_len), &limits, &client->arena, request);
        buf_consume(&client->in, head_len);
    }
    if (error != ERR_OK) {
        refuse(client, error);
        return true;
    }
    client->keeps_alive =
        request->minor == 1 && !headers_list_has(&request->headers, SPAN("Connection"), SPAN("close"));
    body_decoder_init(&client->decoder, &request->framing);
    client->state = CLIENT_BODY;
    if (request->framing.kind != FRAMING_NONE && headers_find(&request->headers, SPAN("Expect")) != NULL) {
        struct span run = SPAN("HTTP/1.1 100 Continue\r\n\r\n");
        if (conn_try_write(&client->conn, &run, 1, &taken) != ERR_OK) {
            close_client(client);
        }
    }
    return true;
}

static bool take_body(struct admin_client *client)
{
    while (client->in.len > 0 && !body_decoder_done(&client->decoder)) {
        struct span data = buf_span(&client->in);
        struct span piece;
        enum err error = body_decoder_feed(&client->decoder, &data, &piece);
        buf_add(&client->body, piece);
        if (error == ERR_OK && client->body.failed) {
            error = ERR_BODY_TOO_LARGE;
        }
        if (error != ERR_OK) {
            refuse(client, error);
            return true;
        }
        buf_consume(&client->in, client->in.len - data.len);
    }
    if (!body_decoder_done(&client->decoder)) {
        return false;
    }
    run_call(client);
    return true;
}

static void refuse(struct admin_client *client, enum err error)
{
    unsigned status = err_status(error);

    client->keeps_alive = false;
    (void)admin_fail(&client->call, status != 0 ? status : 400, "%s", err_text(error));
    admin_answer(&client->call);
}

static void run_call(struct admin_client *client)
{
    struct admin_call *call = &client->call;
    struct span target = call->request.target;
    size_t mark = span_find(target, '?');

    call->path = span_take(target, mark);
    call->query = mark == SIZE_MAX ? (struct span){NULL, 0} : span_skip(target, mark + 1);
    call->body = buf_span(&client->body);
    client->state = CLIENT_CALL;
    conn_set_timer(&client->conn, PURGE_WAIT_MS + WRITE_MS);
    enum admin_progress progress = admin_may(call, client->address) ? admin_dispatch(call) : ADMIN_ANSWERED;
    if (progress == ADMIN_ANSWERED) {
        admin_answer(call);
    } else if (progress == ADMIN_STREAM) {
        begin_stream(client);
    }
}

static void begin_stream(struct admin_client *client)
{
    struct buf head;

    buf_init(&head, HEAD_MAX_BYTES);
    write_status_line(&head, 200);
    write_date_field(&head, SPAN("Date"), worker_now_ms() / 1000);
    write_field(&head, SPAN("Content-Type"), span_of(client->call.content_type));
    buf_add_text(&head, "Transfer-Encoding: chunked\r\n");
    buf_add_text(&head, fixed_fields);
    write_end(&head);
    struct span run = buf_span(&head);
    client->state = CLIENT_STREAM;
    client->keeps_alive = false;
    conn_set_timer(&client->conn, WRITE_MS);
    conn_read_start(&client->conn); /* to see its end */
    if (head.failed || conn_write(&client->conn, &run, 1) != ERR_OK) {
        close_client(client);
    }
    buf_finish(&head);
}

void admin_stream_send(struct admin_call *call, struct span bytes)
{
    struct admin_client *client = CONTAINER_OF(call, struct admin_client, call);
    char memory[32];
    struct buf size;

    if (client->state != CLIENT_STREAM) {
        return;
    }
    buf_init_in(&size, memory, sizeof memory);
    write_chunk_start(&size, bytes.len);
    struct span runs[] = {buf_span(&size), bytes, SPAN("\r\n")};
    conn_set_timer(&client->conn, WRITE_MS);
    if (conn_write(&client->conn, runs, ARRAY_LEN(runs)) != ERR_OK) {
        close_client(client);
    }
}

void admin_answer(struct admin_call *call)
{
    struct admin_client *client = CONTAINER_OF(call, struct admin_client, call);
    struct buf head;

    if (client->state == CLIENT_CLOSING) {
        return;
    }
    if (call->answer.failed) {
        buf_clear(&call->answer);
        call->status = 500;
    }
    buf_init(&head, HEAD_MAX_BYTES);
    write_status_line(&head, call->status);
    write_date_field(&head, SPAN("Date"), worker_now_ms() / 1000);
    write_field(&head, SPAN("Content-Type"), span_of(call->content_type));
    buf_format(&head, "Content-Length: %zu\r\n", call->answer.len);
    buf_add_text(&head, fixed_fields);
    if (call->status == 401) {
        write_field(&head, SPAN("WWW-Authenticate"), SPAN("Bearer"));
    }
    if (call->allow != NULL) {
        write_field(&head, SPAN("Allow"), span_of(call->allow));
    }
    if (!client->keeps_alive) {
        write_field(&head, SPAN("Connection"), SPAN("close"));
    }
    write_end(&head);
    struct span runs[] = {buf_span(&head), buf_span(&call->answer)};
    client->state = CLIENT_ANSWER;
    conn_set_timer(&client->conn, WRITE_MS);
    if (head.failed || conn_write(&client->conn, runs, call->request.method == METHOD_HEAD ? 1 : 2) != ERR_OK) {
        close_client(client);
    }
    buf_finish(&head);
}
