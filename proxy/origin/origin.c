/* origin.c: lends connections to one origin; the idle ones are origin_idle.c's.
 *
 * Happy path: a request gets a slot, and with it the youngest idle connection, or addresses and a connection of its
 *             own; `done` runs from the loop. Released, the connection becomes idle, for who waits for one.
 * Failures:   - all slots are taken: the request waits in line; the line or the wait too long: ERR_SATURATED.
 *             - the name does not resolve: ERR_RESOLVE.
 *             - an address refuses, or does not answer within its share of the time: the next one; after the last
 *               ERR_CONNECT or ERR_CONNECT_TIMEOUT.
 * Slots:      `in_use` counts requests that are due, resolve, connect or are ready with a connection, and loans. There
 *             are never more connections than max_origin_connections, the idle ones included.
 * Idle ones:  are lent when the loop has handled all that it polled, so that those of which it was told that they ended
 *             or speak unasked are not among them.
 * Deadlines:  every request of a list gets the same time, so the lists are sorted by deadline by themselves, and one
 *             timer does for all. */
#include "proxy/origin/origin.h"

#include <stdlib.h>

#include "http/check.h"
#include "proxy/origin/origin_internal.h"
#include "proxy/server/worker.h"

enum { YIELDED_SHARE = 4 }; /* a quarter of the slots is for requests that somebody waits for */

static void admit(struct origin *origin, struct origin_request *request);
static void start_request(struct origin *origin, struct origin_request *request);
static void connect_next(struct origin_request *request);
static bool connect_to(struct origin_request *request, const struct sockaddr *address);
static void attempt_failed(struct origin_request *request, enum err error);
static void finish_active(struct origin_request *request, struct origin_conn *conn, enum err error);
static void serve_waiting(struct origin *origin);
static void arm_deadline(struct origin *origin);
static void on_resolved(struct resolver *resolver, enum err error);
static void on_connected(struct conn *conn, enum err error);
static void on_attempt_timer(struct conn *conn);
static void on_deadline(uv_timer_t *timer);
static void on_turn(struct message *message);

static const struct conn_events connecting_events = {.on_timer = on_attempt_timer};

struct origin *origin_create(struct worker *worker, const struct origin_url *url, bool adaptive)
{
    struct origin *origin = calloc(1, sizeof *origin);

    if (origin == NULL) {
        return NULL;
    }
    origin->worker = worker;
    origin->keeps_idle = true;
    origin->adaptive = adaptive;
    adaptive_limit_init(&origin->limit, (unsigned)worker->config->server.max_origin_connections);
    resolver_init(&origin->resolver, worker, url, on_resolved);
    REQUIRE(uv_timer_init(&worker->loop, &origin->deadline_timer) == 0);
    origin->deadline_timer.data = origin;
    origin->turn.run = on_turn;
    return origin;
}

void origin_stop(struct origin *origin)
{
    REQUIRE(origin->in_use == 0);
    REQUIRE(origin->waiting.first == NULL);
    REQUIRE(origin->ready.first == NULL);
    mailbox_cancel(&origin->worker->mailbox, &origin->turn);
    origin_close_idle(origin);
    resolver_stop(&origin->resolver);
    uv_close((uv_handle_t *)&origin->deadline_timer, NULL);
}

void origin_destroy(struct origin *origin)
{
    free(origin);
}

struct line_memo *origin_lines(struct origin *origin)
{
    return &origin->lines;
}

static uint64_t slots(const struct origin *origin)
{
    return origin->adaptive ? adaptive_limit_now(&origin->limit)
                            : origin->worker->config->server.max_origin_connections;
}

void origin_note_answer(struct origin *origin, uint64_t took_ms)
{
    if (origin->adaptive) {
        adaptive_limit_answered(&origin->limit, took_ms, (unsigned)origin->in_use, uv_now(&origin->worker->loop));
        serve_waiting(origin); /* it may have grown */
    }
}

void origin_note_timeout(struct origin *origin)
{
    if (origin->adaptive) {
        adaptive_limit_timed_out(&origin->limit, uv_now(&origin->worker->loop));
    }
}

bool origin_is_full(const struct origin *origin)
{
    return origin->in_use >= slots(origin);
}

static bool has_slot_for(const struct origin *origin, const struct origin_request *request)
{
    uint64_t kept = request->yields ? slots(origin) / YIELDED_SHARE : 0;

    return origin->in_use < slots(origin) - kept && (!request->yields || origin->waiting.first == NULL);
}

void origin_acquire(struct origin *origin, struct origin_request *request)
{
    REQUIRE(request->state == ORIGIN_REQUEST_NONE);
    request->origin = origin;
    request->conn = NULL;
    request->error = ERR_OK;
    request->tries = (struct resolver_tries){0};
    if (has_slot_for(origin, request)) {
        admit(origin, request);
    } else if (!request->yields && origin->waiting.count < origin->worker->config->server.max_origin_queue) {
        request->state = ORIGIN_REQUEST_WAITING;
        request->deadline_ms = uv_now(&origin->worker->loop) + origin->worker->config->server.origin_queue_timeout_ms;
        request_list_append(&origin->waiting, request);
        arm_deadline(origin);
    } else {
        origin_set_ready(request, NULL, ERR_SATURATED);
    }
}

void origin_refuse(struct origin *origin, struct origin_request *request, enum err error)
{
    REQUIRE(request->state == ORIGIN_REQUEST_NONE);
    request->origin = origin;
    origin_set_ready(request, NULL, error);
}

void origin_cancel(struct origin_request *request)
{
    struct origin *origin = request->origin;
    enum origin_request_state state = request->state;
    struct origin_conn *conn = request->conn;

    request->state = ORIGIN_REQUEST_NONE;
    request->conn = NULL;
    switch (state) {
    case ORIGIN_REQUEST_NONE:
        break;
    case ORIGIN_REQUEST_WAITING:
        request_list_remove(&origin->waiting, request);
        break;
    case ORIGIN_REQUEST_DUE:
        request_list_remove(&origin->due, request);
        origin_free_slot(origin);
        origin_trim_idle(origin);
        break;
    case ORIGIN_REQUEST_RESOLVING:
    case ORIGIN_REQUEST_CONNECTING:
        request_list_remove(&origin->active, request);
        if (conn != NULL) {
            conn_close(&conn->conn, origin_conn_closed);
        }
        origin_free_slot(origin);
        break;
    case ORIGIN_REQUEST_READY:
        request_list_remove(&origin->ready, request);
        if (conn != NULL) {
            origin_release(conn);
        }
        break;
    }
}

/* The request takes a slot. */
static void admit(struct origin *origin, struct origin_request *request)
{
    origin->in_use++;
    if (request->fresh || origin->idle.count <= origin->due.count) {
        start_request(origin, request);
        return;
    }
    request->state = ORIGIN_REQUEST_DUE;
    request_list_append(&origin->due, request);
    mailbox_post(&origin->worker->mailbox, &origin->turn);
}

/* It gets a connection of its own. */
static void start_request(struct origin *origin, struct origin_request *request)
{
    request->deadline_ms = uv_now(&origin->worker->loop) + origin->worker->config->server.origin_connect_timeout_ms;
    request->state = ORIGIN_REQUEST_RESOLVING;
    request_list_append(&origin->active, request);
    arm_deadline(origin);
    enum err error = resolver_refresh(&origin->resolver);
    if (error != ERR_OK) {
        finish_active(request, NULL, error);
    } else if (origin->resolver.count > 0) {
        connect_next(request);
    }
}

/* Begins to connect to the next address that can be tried; without one the request has failed. */
static void connect_next(struct origin_request *request)
{
    struct origin *origin = request->origin;

    request->state = ORIGIN_REQUEST_CONNECTING;
    for (;;) {
        const struct sockaddr *address = resolver_pick(&origin->resolver, &request->tries);

        if (address == NULL) {
            resolver_doubt(&origin->resolver);
            finish_active(request, NULL, request->error == ERR_OK ? ERR_CONNECT : request->error);
            return;
        }
        if (connect_to(request, address)) {
            return;
        }
        if (request->error == ERR_LIMIT || request->error == ERR_NO_MEMORY) {
            finish_active(request, NULL, request->error); /* our trouble: no other address would do better */
            return;
        }
        resolver_demote(&origin->resolver, &request->tries);
    }
}

/* False with the request's error set when connecting could not even begin. */
static bool connect_to(struct origin_request *request, const struct sockaddr *address)
{
    struct origin *origin = request->origin;
    uint64_t now_ms = uv_now(&origin->worker->loop);
    uint64_t left_ms = request->deadline_ms > now_ms ? request->deadline_ms - now_ms : 1;
    struct origin_conn *conn = calloc(1, sizeof *conn);

    if (conn == NULL) {
        request->error = ERR_NO_MEMORY;
        return false;
    }
    if (origin->in_use - origin->due.count + origin->idle.count >
        origin->worker->config->server.max_origin_connections) {
        origin_close_oldest_idle(origin);
    }
    conn->origin = origin;
    conn->for_request = request;
    enum err error = conn_connect(&conn->conn, origin->worker, address, &connecting_events, conn, on_connected);
    if (error != ERR_OK) {
        conn_close(&conn->conn, origin_conn_closed);
        request->error = error == ERR_LIMIT || error == ERR_NO_MEMORY ? error : ERR_CONNECT;
        return false;
    }
    /* Each address gets an equal share of what is left: one that swallows packets must not cost all of it. */
    conn_set_timer(&conn->conn, left_ms / (1 + resolver_untried(&origin->resolver, &request->tries)) + 1);
    request->conn = conn;
    return true;
}

static void attempt_failed(struct origin_request *request, enum err error)
{
    struct origin_conn *conn = request->conn;

    request->conn = NULL;
    request->error = error == ERR_TIMEOUT ? ERR_CONNECT_TIMEOUT : ERR_CONNECT;
    conn_close(&conn->conn, origin_conn_closed);
    resolver_demote(&request->origin->resolver, &request->tries);
    connect_next(request);
}

/* Ends resolving or connecting; without a connection the slot is free again. */
static void finish_active(struct origin_request *request, struct origin_conn *conn, enum err error)
{
    request_list_remove(&request->origin->active, request);
    origin_set_ready(request, conn, error);
    if (conn == NULL) {
        origin_free_slot(request->origin);
    }
}

void origin_set_ready(struct origin_request *request, struct origin_conn *conn, enum err error)
{
    struct origin *origin = request->origin;

    request->state = ORIGIN_REQUEST_READY;
    request->conn = conn;
    request->error = error;
    request_list_append(&origin->ready, request);
    mailbox_post(&origin->worker->mailbox, &origin->turn);
}

void origin_free_slot(struct origin *origin)
{
    REQUIRE(origin->in_use > 0);
    origin->in_use--;
    serve_waiting(origin);
}

/* One that fails at once gives its slot back within: the loop here goes on with the next, without recursion. */
static void serve_waiting(struct origin *origin)
{
    if (origin->serving) {
        return;
    }
    origin->serving = true;
    while (origin->waiting.first != NULL && !origin_is_full(origin)) {
        struct origin_request *request = origin->waiting.first;

        request_list_remove(&origin->waiting, request);
        admit(origin, request);
    }
    origin->serving = false;
}

/* For the first deadline of either list; later requests of the same list have later ones. */
static void arm_deadline(struct origin *origin)
{
    uint64_t now_ms = uv_now(&origin->worker->loop);
    uint64_t deadline_ms = UINT64_MAX;
    uv_timer_t *timer = &origin->deadline_timer;

    if (origin->waiting.first != NULL) {
        deadline_ms = origin->waiting.first->deadline_ms;
    }
    if (origin->active.first != NULL && origin->active.first->deadline_ms < deadline_ms) {
        deadline_ms = origin->active.first->deadline_ms;
    }
    if (deadline_ms == UINT64_MAX) {
        return;
    }
    uint64_t wait_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
    if (!uv_is_active((uv_handle_t *)timer) || uv_timer_get_due_in(timer) > wait_ms) {
        REQUIRE(uv_timer_start(timer, on_deadline, wait_ms, 0) == 0);
    }
}

static void on_resolved(struct resolver *resolver, enum err error) /* resolver.answered */
{
    struct origin *origin = CONTAINER_OF(resolver, struct origin, resolver);
    struct origin_request *request = origin->active.first;

    /* Only those that are there now: a slot that becomes free here brings new ones, with a look-up of their own. */
    for (size_t left = origin->active.count; left > 0; left--) {
        struct origin_request *next = request->next;

        if (request->state == ORIGIN_REQUEST_RESOLVING) {
            if (resolver->count > 0) {
                connect_next(request);
            } else {
                finish_active(request, NULL, error);
            }
        }
        request = next;
    }
}

static void on_connected(struct conn *conn, enum err error) /* conn.connected */
{
    struct origin_conn *origin_conn = conn->owner;
    struct origin_request *request = origin_conn->for_request;

    if (error != ERR_OK) {
        attempt_failed(request, error);
        return;
    }
    conn_set_timer(conn, 0);
    origin_conn->for_request = NULL;
    finish_active(request, origin_conn, ERR_OK);
}

static void on_attempt_timer(struct conn *conn) /* conn_events.on_timer */
{
    struct origin_conn *origin_conn = conn->owner;

    attempt_failed(origin_conn->for_request, ERR_TIMEOUT);
}

static void on_deadline(uv_timer_t *timer) /* uv_timer_cb */
{
    struct origin *origin = timer->data;
    uint64_t now_ms = uv_now(&origin->worker->loop);

    while (origin->waiting.first != NULL && origin->waiting.first->deadline_ms <= now_ms) {
        struct origin_request *request = origin->waiting.first;

        request_list_remove(&origin->waiting, request);
        origin_set_ready(request, NULL, ERR_SATURATED);
    }
    while (origin->active.first != NULL && origin->active.first->deadline_ms <= now_ms) {
        struct origin_request *request = origin->active.first;

        bool resolving = request->state == ORIGIN_REQUEST_RESOLVING;
        if (request->conn != NULL) {
            conn_close(&request->conn->conn, origin_conn_closed);
        }
        if (!resolving) {
            resolver_doubt(&origin->resolver);
        }
        finish_active(request, NULL, resolving ? ERR_RESOLVE_TIMEOUT : ERR_CONNECT_TIMEOUT);
    }
    arm_deadline(origin);
}

/* The idle connection, or one of its own where that has ended since. The request may be gone. */
static void lend(struct origin *origin, struct origin_request *request)
{
    if (origin->idle.first == NULL) {
        start_request(origin, request);
        return;
    }
    request->state = ORIGIN_REQUEST_NONE;
    request->done(request, origin_take_idle(origin), ERR_OK);
}

static void on_turn(struct message *message) /* message.run */
{
    struct origin *origin = CONTAINER_OF(message, struct origin, turn);

    /* Only those that are there now: one that asks again at once waits for the next turn of the loop. */
    for (size_t left = origin->due.count; left > 0 && origin->due.first != NULL; left--) {
        struct origin_request *request = origin->due.first;

        request_list_remove(&origin->due, request);
        lend(origin, request);
    }
    for (size_t left = origin->ready.count; left > 0 && origin->ready.first != NULL; left--) {
        struct origin_request *request = origin->ready.first;
        struct origin_conn *conn = request->conn;

        request_list_remove(&origin->ready, request);
        request->state = ORIGIN_REQUEST_NONE;
        request->conn = NULL;
        request->done(request, conn, request->error); /* the request may be gone */
    }
}
