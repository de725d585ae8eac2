/* client.c: a connection's life: accepted, handed from crew to crew, and its ends. See client.h; its requests are
 * client_process.c's business.
 *
 * Ends:
 * - The other side ends: idle, it is closed; during an exchange with a complete request the response still goes out (it
 *   may have closed only its sending side); else the exchange is told.
 * - We end first: LINGER lets the response arrive before the close (what is still coming in would make it a reset).
 * - A response breaks off: the same; its framing tells that it is not whole, and what was answered before it arrives.
 *   Only where the connection's end is that of the body (HTTP/1.0) it is reset (RFC 9112 §8). */
#include "proxy/client/client_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/server/worker.h"

enum {
    LINGER_MAX_BYTES = 1024 * 1024,
    LINGER_MS = 2000,
    LATE_MS = 1000, /* for the request of who came just before the end */
    REFUSAL_MAX_BYTES = 1024,
};

static void on_closed(struct conn *conn);

static void add_client(struct client *client, struct worker *worker)
{
    const struct config *config = worker->config;

    client->worker = worker;
    client->kick.run = client_on_kick;
    client->field_slot = FIELD_MEMO_NONE;
    arena_init_sharing(&client->arena, config->server.max_request_memory_bytes, &worker->arena_spares);
    buf_init(&client->in, config->server.max_head_bytes + CLIENT_IN_PAUSE_BYTES + WORKER_READ_BUFFER_BYTES);
    conn_peer(&client->conn, client->host, &client->port);
    client->believed = networks_have(config->server.trust_forwarded, config->server.trust_forwarded_count, client->host)
                           ? config->server.forwarded
                           : FORWARDED_NONE;
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
    bool late = worker->state >= WORKER_STOPPING; /* the listener held it back */
    conn_set_timer(&client->conn, late ? LATE_MS : worker->config->server.client_idle_timeout_ms);
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
void client_hand_over(struct client *client)
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
                                      .is_unix = client->conn.socket.handle.type == UV_NAMED_PIPE,
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
        if (client->stream != NULL) {
            client->stream->wants_keep_alive = false;
        }
        bool quiet = client->in.len == 0 && !conn_has_input(&client->conn); /* else what came is answered, and then */
        if (client->state == CLIENT_IDLE && quiet) {
            client_close(client);
        } else if (client->state == CLIENT_DRAIN) {
            client_linger(client); /* it has its answer, and no other request will be taken */
        } else if (client->state == CLIENT_EXCHANGE && client->stream != NULL &&
                   exchange_is_tunnel(client->stream->exchange)) {
            client_exchange_gone(client, END_SHUTDOWN); /* it has no end of its own to wait for */
        }
    }
}

void clients_abort(struct worker *worker)
{
    struct client *next;

    for (struct client *client = worker->clients; client != NULL; client = next) {
        next = client->next;
        if (client->state == CLIENT_EXCHANGE) {
            client_exchange_gone(client, END_SHUTDOWN);
        }
        client_close(client);
    }
}

void client_linger(struct client *client)
{
    /* Nothing unread, nothing expected: an ordinary close resets nothing. */
    bool clean = (client->stream == NULL || client->stream->body_done) && client->in.len == 0;
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

void client_linger_read(struct client *client, size_t bytes)
{
    client->drained_bytes += bytes;
    if (client->drained_bytes > LINGER_MAX_BYTES) {
        client_close(client);
    }
}

void client_close(struct client *client)
{
    if (client->state == CLIENT_CLOSING) {
        return;
    }
    client->state = CLIENT_CLOSING;
    mailbox_cancel(&client->worker->mailbox, &client->kick);
    if (client->stream != NULL) {
        mailbox_cancel(&client->worker->mailbox, &client->stream->turn);
    }
    if (client->stream != NULL && http1_stream_must_reset(client->stream)) {
        conn_reset(&client->conn, on_closed);
    } else {
        conn_close(&client->conn, on_closed);
    }
}

static void on_closed(struct conn *conn)
{
    struct client *client = conn->owner;
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
    if (client->stream != NULL) {
        http1_stream_let_go(client->stream, &worker->stream_spares);
    }
    buf_finish(&client->in);
    arena_finish(&client->arena);
    free(client);
    worker_check_stopped(worker);
}
