/* conn.h: one byte stream, to a client or to an origin, over TCP or a unix socket: read, write, timeout, close.
 *
 * The seam for other transports: TLS will be another kind of conn behind these functions. Reads go into the worker's
 * one read buffer and are handed to the owner at once: an idle connection holds no buffer. After CONN_READ_MAX_BYTES of
 * one connection the others get their turn, however much it has. At most one queued write is in flight. Threads: the
 * loop's.
 *
 * Contract: callbacks never run before the call that caused them has returned, except on_read, which runs from the loop
 * only. After conn_close no callback but `closed` runs. */
#ifndef PROXY_CONN_H
#define PROXY_CONN_H

#include <uv.h>

#include "http/check.h"
#include "http/error.h"
#include "http/span.h"
#include "proxy/io/socket_handle.h"

enum {
    CONN_READ_MAX_BYTES = 128 * 1024, /* in a turn of the loop; a multiple of the read buffer */
    CONN_TRY_MAX_BYTES = 256 * 1024,
    CONN_TRY_MAX_RUNS = 128,
    CONN_HOST_BYTES = 46, /* the longest IPv6 address as text, and a zero */
};

struct conn;
struct connecting;
struct queued_write;
struct worker;

struct conn_events {
    /* Bytes arrived; they are the owner's until it returns (it keeps what it needs). */
    void (*on_read)(struct conn *conn, struct span bytes);
    /* The other side ended (ERR_OK: orderly, its bytes are all read; else ERR_RESET). No more on_read. */
    void (*on_end)(struct conn *conn, enum err error);
    /* The write begun with conn_write is done. */
    void (*on_written)(struct conn *conn, enum err error);
    /* The time set with conn_set_timer is over, and what had come until then was told. */
    void (*on_timer)(struct conn *conn);
};

enum conn_state { CONN_NEW, CONN_CONNECTING, CONN_OPEN, CONN_CLOSING };

struct conn {
    union socket_handle socket;
    uv_timer_t timer;
    uint64_t deadline_ms;          /* of conn_set_timer, in the loop's time; 0: none */
    struct connecting *connecting; /* a conn_connect under way (heap); NULL: none */
    struct queued_write *writing;  /* a conn_write in flight (heap); NULL: none */
    char *read_buffer;             /* the loop's, WORKER_READ_BUFFER_BYTES */
    size_t read_bytes;             /* without anyone else's turn in between */
    const struct conn_events *events;
    void *owner;
    enum conn_state state;
    bool reading;
    bool ended;       /* on_end was delivered */
    bool half_closed; /* no more writes but the one in flight */
    bool overdue;     /* the deadline is over, which is told in the loop's next turn */
    uint8_t open_handles;
    void (*closed)(struct conn *conn);
};

/* Accepts from a listening handle (uv_tcp_t or uv_pipe_t) on which a connection waits: only from its uv_connection_cb,
 * once. On failure nothing is open and conn's memory is free at once. */
MUST_CHECK enum err conn_accept(struct conn *conn, struct worker *worker, uv_stream_t *listener,
                                const struct conn_events *events, void *owner);

/* The same for a listener on a loop that is no worker's; that loop's one `read_buffer` has WORKER_READ_BUFFER_BYTES. */
MUST_CHECK enum err conn_accept_on(struct conn *conn, uv_loop_t *loop, char *read_buffer, uv_stream_t *listener,
                                   const struct conn_events *events, void *owner);

/* A connection that is open already, from conn_duplicate; owns `fd`. `type`: UV_TCP or UV_NAMED_PIPE. */
void conn_adopt(struct conn *conn, struct worker *worker, int fd, uv_handle_type type, const struct conn_events *events,
                void *owner);

/* Another descriptor of the same connection, which outlives conn_close; -1: none is left. */
MUST_CHECK int conn_duplicate(const struct conn *conn);

/* Did bytes arrive that were not read yet? */
bool conn_has_input(const struct conn *conn);

/* Begins to connect; `connected` runs once, later (not after conn_close). An error return means it never runs, and conn
 * must still be closed if its state is not CONN_NEW. */
MUST_CHECK enum err conn_connect(struct conn *conn, struct worker *worker, const struct sockaddr *address,
                                 const struct conn_events *events, void *owner,
                                 void (*connected)(struct conn *conn, enum err error));

void conn_read_start(struct conn *conn); /* no effect when reading, ended or closing */
void conn_read_stop(struct conn *conn);

/* Writes what the socket takes now, without queueing; `*out_taken` bytes (0 when it is full or a conn_write is in
 * flight). Looks at no more than CONN_TRY_MAX_BYTES in CONN_TRY_MAX_RUNS runs, so that one client does not take the
 * whole loop: having taken less than offered does not mean that the socket is full. ERR_RESET after conn_close. */
MUST_CHECK enum err conn_try_write(struct conn *conn, const struct span *runs, size_t count, size_t *out_taken);

uint64_t conn_now_ms(const struct conn *conn); /* the loop's time */

/* Queues a copy of the bytes; on_written follows. Only when no write is in flight (REQUIRE). An error return means
 * on_written never runs; ERR_RESET after conn_close. */
MUST_CHECK enum err conn_write(struct conn *conn, const struct span *runs, size_t count);

void conn_set_timer(struct conn *conn, uint64_t timeout_ms); /* restarts it; 0 stops it */

/* Half-closes: no more writes; what is queued still goes. A second call changes nothing. */
void conn_shutdown_write(struct conn *conn);

/* Stops everything and closes; `closed` runs once, later, when conn's memory may go. A second call changes nothing. */
void conn_close(struct conn *conn, void (*closed)(struct conn *conn));

/* As conn_close, but the other side sees a reset: it must notice that what it got is not the whole. (A unix socket has
 * no resets: there it sees an end.) */
void conn_reset(struct conn *conn, void (*closed)(struct conn *conn));

/* "127.0.0.1" of the other side (also where it came to an IPv6 socket), "unix" for unix sockets, "unknown" when it is
 * gone already; `*out_port` 0 in these two cases. */
void conn_peer(const struct conn *conn, char out_host[CONN_HOST_BYTES], uint16_t *out_port);

/* enum err of a negative libuv code; ERR_OK for 0 and above. */
enum err err_from_uv(int code);

#endif
