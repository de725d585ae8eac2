/* tunnel.c: bytes both ways, unread.
 *
 * Happy path: bytes read from one side go to the other at once; what its socket does not take is queued, and the first
 *             side is not read until it is written. An end of one side is passed on as a half-close behind what is
 *             queued; when both sides have ended and everything is written, the tunnel has.
 * Failures:   - either side is reset or cannot be written to, or nothing moved for the idle time: the origin's
 *               connection is discarded. What is queued to the client still goes, within the idle time.
 * The idle time runs on the client's connection's timer. */
#include "proxy/client/tunnel.h"

#include <stdlib.h>
#include <string.h>

#include "http/check.h"

enum { OVER_AT_START_MS = 1 }; /* `ended` must not run before tunnel_start has returned */

/* One direction. */
struct way {
    struct conn *from;
    struct conn *to;
    uint64_t bytes; /* given to `to` */
    char *early;    /* bytes that wait because `to` was writing when the tunnel started; heap */
    size_t early_len;
    bool ended; /* `from` has ended and `to` is half-closed */
};

struct tunnel {
    struct conn *client;
    struct origin_conn *origin; /* NULL: discarded; only the client's queue is still to be written */
    struct way to_client;
    struct way to_origin;
    uint64_t idle_timeout_ms;
    void (*ended)(void *arg, uint64_t to_client_bytes, uint64_t to_origin_bytes);
    void *arg;
    bool over_at_start; /* broken, or both sides had ended: the timer ends it */
};

static bool keep_early(struct way *way, struct span early);
static enum err send_early(struct way *way);
static enum err forward(struct way *way, struct span bytes);
static void touch(struct tunnel *tunnel);
static void pass_on_end(struct way *way);
static bool is_over(const struct tunnel *tunnel);
static bool send_last(struct tunnel *tunnel);
static void break_off(struct tunnel *tunnel);
static void end(struct tunnel *tunnel);
static void destroy(struct tunnel *tunnel);
static struct way *way_from(struct tunnel *tunnel, const struct conn *conn);
static struct way *way_to(struct tunnel *tunnel, const struct conn *conn);
static void on_read(struct conn *conn, struct span bytes);
static void on_end(struct conn *conn, enum err error);
static void on_written(struct conn *conn, enum err error);
static void on_timer(struct conn *conn);

static const struct conn_events tunnel_events = {
    .on_read = on_read, .on_end = on_end, .on_written = on_written, .on_timer = on_timer};

struct tunnel *tunnel_start(struct conn *client, struct origin_conn *origin, struct span early_client,
                            struct span early_origin, uint64_t idle_timeout_ms,
                            void (*ended)(void *arg, uint64_t to_client_bytes, uint64_t to_origin_bytes), void *arg)
{
    struct tunnel *tunnel = calloc(1, sizeof *tunnel);

    if (tunnel == NULL) {
        return NULL;
    }
    tunnel->client = client;
    tunnel->origin = origin;
    tunnel->to_client = (struct way){.from = &origin->conn, .to = client};
    tunnel->to_origin = (struct way){.from = client, .to = &origin->conn};
    tunnel->idle_timeout_ms = idle_timeout_ms;
    tunnel->ended = ended;
    tunnel->arg = arg;
    if (!keep_early(&tunnel->to_origin, early_client) || !keep_early(&tunnel->to_client, early_origin)) {
        destroy(tunnel);
        return NULL;
    }
    client->events = &tunnel_events;
    client->owner = tunnel;
    origin->conn.events = &tunnel_events;
    origin->conn.owner = tunnel;
    conn_set_timer(&origin->conn, 0);
    touch(tunnel);
    if (send_early(&tunnel->to_client) != ERR_OK || send_early(&tunnel->to_origin) != ERR_OK || is_over(tunnel)) {
        tunnel->over_at_start = true;
        conn_read_stop(client);
        conn_read_stop(&origin->conn);
        conn_set_timer(client, OVER_AT_START_MS);
    }
    return tunnel;
}

void tunnel_abort(struct tunnel *tunnel)
{
    if (tunnel->origin != NULL) {
        origin_discard(tunnel->origin);
    }
    destroy(tunnel);
}

static bool keep_early(struct way *way, struct span early)
{
    if (early.len == 0) {
        return true;
    }
    way->early = malloc(early.len);
    if (way->early == NULL) {
        return false;
    }
    memcpy(way->early, early.data, early.len);
    way->early_len = early.len;
    return true;
}

/* Sends what waits once `to` is free; then `from` may be read. */
static enum err send_early(struct way *way)
{
    char *early = way->early;
    enum err error = ERR_OK;

    if (way->to->writing) {
        conn_read_stop(way->from); /* one write at a time */
        return ERR_OK;             /* on_written comes back here */
    }
    if (early != NULL) {
        way->early = NULL;
        error = forward(way, (struct span){early, way->early_len});
        free(early);
    }
    if (error == ERR_OK && way->from->ended && !way->ended) {
        pass_on_end(way); /* it ended before the tunnel began */
    }
    if (error == ERR_OK && !way->to->writing) {
        conn_read_start(way->from);
    }
    return error;
}

static enum err forward(struct way *way, struct span bytes)
{
    size_t taken = 0;
    enum err error = conn_try_write(way->to, &bytes, 1, &taken);

    way->bytes += taken;
    if (error == ERR_OK && taken < bytes.len) {
        struct span rest = span_skip(bytes, taken);

        error = conn_write(way->to, &rest, 1);
        way->bytes += error == ERR_OK ? rest.len : 0;
        conn_read_stop(way->from);
    }
    return error;
}

static void touch(struct tunnel *tunnel)
{
    conn_set_timer(tunnel->client, tunnel->idle_timeout_ms);
}

static void pass_on_end(struct way *way)
{
    way->ended = true;
    conn_shutdown_write(way->to); /* goes behind what is queued */
}

/* Both sides have ended and everything is written. */
static bool is_over(const struct tunnel *tunnel)
{
    return tunnel->to_client.ended && tunnel->to_origin.ended && !tunnel->client->writing &&
           !tunnel->origin->conn.writing;
}

/* Without an origin: is something on its way to the client, of what waited for it? */
static bool send_last(struct tunnel *tunnel)
{
    struct way *way = &tunnel->to_client;
    struct span early = {way->early, way->early_len};
    bool sent = early.data != NULL && conn_write(way->to, &early, 1) == ERR_OK;

    way->bytes += sent ? early.len : 0;
    free(way->early);
    way->early = NULL;
    return sent;
}

/* One side is gone. The client may still get what was read for it. */
static void break_off(struct tunnel *tunnel)
{
    struct conn *client = tunnel->client;

    if (tunnel->origin != NULL) {
        origin_discard(tunnel->origin);
        tunnel->origin = NULL;
    }
    conn_read_stop(client);
    if (!client->writing) {
        end(tunnel);
    }
}

static void end(struct tunnel *tunnel)
{
    void (*ended)(void *arg, uint64_t to_client_bytes, uint64_t to_origin_bytes) = tunnel->ended;
    void *arg = tunnel->arg;
    uint64_t to_client_bytes = tunnel->to_client.bytes;
    uint64_t to_origin_bytes = tunnel->to_origin.bytes;

    conn_read_stop(tunnel->client);
    conn_set_timer(tunnel->client, 0);
    if (tunnel->origin != NULL) {
        origin_discard(tunnel->origin);
    }
    destroy(tunnel);
    ended(arg, to_client_bytes, to_origin_bytes);
}

static void destroy(struct tunnel *tunnel)
{
    free(tunnel->to_client.early);
    free(tunnel->to_origin.early);
    free(tunnel);
}

static struct way *way_from(struct tunnel *tunnel, const struct conn *conn)
{
    return conn == tunnel->client ? &tunnel->to_origin : &tunnel->to_client;
}

static struct way *way_to(struct tunnel *tunnel, const struct conn *conn)
{
    return conn == tunnel->client ? &tunnel->to_client : &tunnel->to_origin;
}

static void on_read(struct conn *conn, struct span bytes) /* conn_events.on_read */
{
    struct tunnel *tunnel = conn->owner;

    touch(tunnel);
    if (forward(way_from(tunnel, conn), bytes) != ERR_OK) {
        break_off(tunnel);
    }
}

static void on_end(struct conn *conn, enum err error) /* conn_events.on_end */
{
    struct tunnel *tunnel = conn->owner;

    if (error != ERR_OK) {
        break_off(tunnel);
        return;
    }
    touch(tunnel);
    pass_on_end(way_from(tunnel, conn));
    if (is_over(tunnel)) {
        end(tunnel);
    }
}

static void on_written(struct conn *conn, enum err error) /* conn_events.on_written */
{
    struct tunnel *tunnel = conn->owner;
    bool over = tunnel->origin == NULL; /* only this was waited for */

    if (tunnel->over_at_start) {
        return; /* the timer ends it */
    }
    if (error == ERR_OK && !over) {
        touch(tunnel);
        error = send_early(way_to(tunnel, conn));
        over = is_over(tunnel);
    }
    if (error == ERR_OK && tunnel->origin == NULL && send_last(tunnel)) {
        return;
    }
    if (over) {
        end(tunnel);
    } else if (error != ERR_OK) {
        break_off(tunnel);
    }
}

static void on_timer(struct conn *conn) /* conn_events.on_timer */
{
    end(conn->owner);
}
