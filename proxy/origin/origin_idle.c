/* origin_idle.c: the connections that nobody uses, youngest first: kept, lent again, given up.
 *
 * They are read all the time: one that ends or speaks unasked is closed at once, one that is too old when its time is
 * over. */
#include <stdlib.h>

#include "http/check.h"
#include "proxy/origin/origin_internal.h"
#include "proxy/server/worker.h"

static void on_idle_read(struct conn *conn, struct span bytes);
static void on_idle_end(struct conn *conn, enum err error);
static void on_idle_timer(struct conn *conn);

static const struct conn_events idle_events = {
    .on_read = on_idle_read, .on_end = on_idle_end, .on_timer = on_idle_timer};

void origin_close_idle(struct origin *origin)
{
    origin->keeps_idle = false;
    while (origin->idle.last != NULL) {
        origin_close_oldest_idle(origin);
    }
}

void origin_discard(struct origin_conn *conn)
{
    conn_close(&conn->conn, origin_conn_closed);
    origin_free_slot(conn->origin);
}

/* The youngest: the one most likely to be still alive. */
struct origin_conn *origin_take_idle(struct origin *origin)
{
    struct origin_conn *conn = origin->idle.first;

    idle_list_remove(&origin->idle, conn);
    conn_set_timer(&conn->conn, 0);
    conn->reused = true;
    return conn;
}

/* A loan has ended: the connection becomes idle, and one who waits may be due to get it. */
void origin_release(struct origin_conn *conn)
{
    struct origin *origin = conn->origin;

    if (conn->conn.state != CONN_OPEN || conn->conn.ended || conn->conn.writing) {
        origin_discard(conn);
        return;
    }
    conn->conn.events = &idle_events;
    conn->conn.owner = conn;
    idle_list_push(&origin->idle, conn);
    conn_set_timer(&conn->conn, origin->worker->config->server.origin_idle_timeout_ms);
    conn_read_start(&conn->conn);
    origin_free_slot(origin);
    origin_trim_idle(origin);
}

void origin_trim_idle(struct origin *origin)
{
    uint64_t kept = origin->keeps_idle ? origin->worker->config->server.max_idle_origin_connections : 0;

    while (origin->idle.count > kept + origin->due.count) {
        origin_close_oldest_idle(origin);
    }
}

void origin_close_oldest_idle(struct origin *origin)
{
    struct origin_conn *conn = origin->idle.last;

    if (conn != NULL) {
        idle_list_remove(&origin->idle, conn);
        conn_close(&conn->conn, origin_conn_closed);
    }
}

static void on_idle_read(struct conn *conn, struct span bytes) /* conn_events.on_read */
{
    struct origin_conn *origin_conn = conn->owner;

    (void)bytes; /* nobody asked: whatever it says cannot belong to a request to come */
    idle_list_remove(&origin_conn->origin->idle, origin_conn);
    conn_close(conn, origin_conn_closed);
}

static void on_idle_end(struct conn *conn, enum err error) /* conn_events.on_end */
{
    struct origin_conn *origin_conn = conn->owner;

    (void)error; /* an end in either way is the origin's right */
    idle_list_remove(&origin_conn->origin->idle, origin_conn);
    conn_close(conn, origin_conn_closed);
}

static void on_idle_timer(struct conn *conn) /* conn_events.on_timer */
{
    struct origin_conn *origin_conn = conn->owner;

    idle_list_remove(&origin_conn->origin->idle, origin_conn);
    conn_close(conn, origin_conn_closed);
}

void origin_conn_closed(struct conn *conn) /* conn.closed */
{
    free(CONTAINER_OF(conn, struct origin_conn, conn));
}
