/* conn.c: a byte stream over a libuv handle.
 *
 * Happy path: accepted or connected, it is open: bytes read go to the owner from the worker's one read buffer; bytes
 *             written go to the socket at once (conn_try_write) or as a copy (conn_write) whose completion is told.
 * Failures:   - a read error or an end: on_end, once; reading is over, writing may go on.
 *             - a write error: returned at once, or told by on_written; the owner closes.
 *             - connecting fails: told by `connected`; the owner closes.
 * Closing:    both handles are closed; libuv runs the callbacks of a write or connect in flight (UV_ECANCELED) before
 *             the handles' own, so when the last handle is closed nothing refers to the memory. */
#include "proxy/io/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "http/check.h"
#include "proxy/server/worker.h"

/* A connection that is being made. */
struct connecting {
    uv_connect_t request;
    void (*connected)(struct conn *conn, enum err error);
};

/* Bytes on their way to a socket that was full. */
struct queued_write {
    uv_write_t request;
    char bytes[];
};

static void init_handles(struct conn *conn, uv_loop_t *loop, char *read_buffer, const struct conn_events *events,
                         void *owner);
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out_buf);
static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf);
static void on_written(uv_write_t *write, int status);
static void on_timer(uv_timer_t *timer);
static void on_connected(uv_connect_t *connect, int status);
static void on_handle_closed(uv_handle_t *handle);
static bool begin_close(struct conn *conn, void (*closed)(struct conn *conn));

enum err conn_accept(struct conn *conn, struct worker *worker, uv_stream_t *listener, const struct conn_events *events,
                     void *owner)
{
    enum err error = conn_accept_on(conn, &worker->loop, worker->read_buffer, listener, events, owner);

    if (error == ERR_OK) {
        (void)uv_fileno(&conn->socket.handle, &worker->newest_fd); /* fails only without a descriptor */
    }
    return error;
}

enum err conn_accept_on(struct conn *conn, uv_loop_t *loop, char *read_buffer, uv_stream_t *listener,
                        const struct conn_events *events, void *owner)
{
    *conn = (struct conn){0};
    socket_handle_init(&conn->socket, loop, listener->type);
    init_handles(conn, loop, read_buffer, events, owner);
    /* With a connection waiting (the caller's promise) only setting options on it could fail, and would stop the
     * listener for good: so none are set on the handle before. */
    REQUIRE(uv_accept(listener, &conn->socket.stream) == 0);
    if (listener->type == UV_TCP) {
        (void)uv_tcp_nodelay(&conn->socket.tcp, 1); /* fails only on a connection that is gone already: reading tells */
    }
    conn->state = CONN_OPEN;
    return ERR_OK;
}

void conn_adopt(struct conn *conn, struct worker *worker, int fd, uv_handle_type type, const struct conn_events *events,
                void *owner)
{
    *conn = (struct conn){0};
    socket_handle_init(&conn->socket, &worker->loop, type);
    init_handles(conn, &worker->loop, worker->read_buffer, events, owner);
    REQUIRE(socket_handle_open(&conn->socket, fd) == 0); /* it was one of this type */
    conn->state = CONN_OPEN;
}

int conn_duplicate(const struct conn *conn)
{
    uv_os_fd_t fd;

    return uv_fileno(&conn->socket.handle, &fd) == 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
}

bool conn_has_input(const struct conn *conn)
{
    uv_os_fd_t fd;
    int count = 0;

    return uv_fileno(&conn->socket.handle, &fd) == 0 && ioctl(fd, FIONREAD, &count) == 0 && count > 0;
}

enum err conn_connect(struct conn *conn, struct worker *worker, const struct sockaddr *address,
                      const struct conn_events *events, void *owner,
                      void (*connected)(struct conn *conn, enum err error))
{
    *conn = (struct conn){0};
    socket_handle_init(&conn->socket, &worker->loop, UV_TCP);
    init_handles(conn, &worker->loop, worker->read_buffer, events, owner);
    conn->state = CONN_CONNECTING;
    struct connecting *connecting = malloc(sizeof(*connecting));
    if (connecting == NULL) {
        return ERR_NO_MEMORY;
    }
    connecting->request.data = conn;
    connecting->connected = connected;
    int error = uv_tcp_connect(&connecting->request, &conn->socket.tcp, address, on_connected);
    if (error < 0) {
        free(connecting);
        return err_from_uv(error);
    }
    conn->connecting = connecting;
    return ERR_OK;
}

void conn_read_start(struct conn *conn)
{
    if (conn->state != CONN_OPEN || conn->reading || conn->ended) {
        return;
    }
    REQUIRE(uv_read_start(&conn->socket.stream, on_alloc, on_read) == 0); /* fails only in a state other than ours */
    conn->reading = true;
    conn->read_bytes = 0;
}

void conn_read_stop(struct conn *conn)
{
    if (conn->reading) {
        conn->reading = false;
        (void)uv_read_stop(&conn->socket.stream); /* always succeeds */
    }
}

/* Past libuv, which has write() and writev() for this: on a socket the kernel does more for those. Nothing waits in
 * libuv's queue meanwhile. -1 with errno. */
static ssize_t send_now(const struct conn *conn, struct iovec *runs, size_t count)
{
    struct msghdr message = {.msg_iov = runs, .msg_iovlen = count};
    ssize_t sent = -1;
    uv_os_fd_t fd;

    REQUIRE(uv_fileno(&conn->socket.handle, &fd) == 0); /* it is open */
    do {
        sent = count == 1 ? send(fd, runs->iov_base, runs->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT)
                          : sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

enum err conn_try_write(struct conn *conn, const struct span *runs, size_t count, size_t *out_taken)
{
    struct iovec taken[CONN_TRY_MAX_RUNS];
    size_t used = 0;
    size_t bytes = 0;

    if (conn->state != CONN_OPEN) {
        return ERR_RESET;
    }
    for (size_t i = 0; i < count && used < CONN_TRY_MAX_RUNS && bytes < CONN_TRY_MAX_BYTES; i++) {
        struct span run = span_take(runs[i], CONN_TRY_MAX_BYTES - bytes);

        if (run.len > 0) {
            taken[used++] = (struct iovec){(void *)(uintptr_t)run.data, run.len}; /* it is only read */
            bytes += run.len;
        }
    }
    if (used == 0 || conn->writing != NULL) {
        *out_taken = 0;
        return ERR_OK;
    }
    ssize_t sent = send_now(conn, taken, used);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS) {
        return err_from_uv(uv_translate_sys_error(errno));
    }
    *out_taken = sent > 0 ? (size_t)sent : 0;
    return ERR_OK;
}

uint64_t conn_now_ms(const struct conn *conn)
{
    return uv_now(conn->timer.loop);
}

enum err conn_write(struct conn *conn, const struct span *runs, size_t count)
{
    size_t bytes = 0;

    REQUIRE(conn->writing == NULL);
    if (conn->state != CONN_OPEN) {
        return ERR_RESET;
    }
    for (size_t i = 0; i < count; i++) {
        bytes += runs[i].len;
    }
    if (bytes > UINT32_MAX) {
        return ERR_LIMIT; /* beyond what a uv_buf_t says; no caller holds that much in memory */
    }
    struct queued_write *write = malloc(sizeof(*write) + bytes);
    if (write == NULL) {
        return ERR_NO_MEMORY;
    }
    for (size_t i = 0, at = 0; i < count; i++) {
        if (runs[i].len > 0) {
            memcpy(write->bytes + at, runs[i].data, runs[i].len);
            at += runs[i].len;
        }
    }
    uv_buf_t buf = uv_buf_init(write->bytes, (unsigned)bytes);
    write->request.data = conn;
    int error = uv_write(&write->request, &conn->socket.stream, &buf, 1, on_written);
    if (error < 0) {
        free(write);
        return err_from_uv(error);
    }
    conn->writing = write;
    return ERR_OK;
}

void conn_set_timer(struct conn *conn, uint64_t timeout_ms)
{
    if (conn->state == CONN_NEW || conn->state == CONN_CLOSING) {
        return;
    }
    if (timeout_ms == 0) {
        conn->deadline_ms = 0;
        return;
    }
    uint64_t now_ms = uv_now(conn->timer.loop);
    conn->deadline_ms = now_ms + timeout_ms;
    conn->overdue = false;
    /* A timer that runs out before the deadline is left alone, and goes on when it does: deadlines are set several
     * times a request, and nearly all are moved before they pass. */
    if (!uv_is_active((uv_handle_t *)&conn->timer) || uv_timer_get_due_in(&conn->timer) > timeout_ms) {
        REQUIRE(uv_timer_start(&conn->timer, on_timer, timeout_ms, 0) == 0);
    }
}

void conn_shutdown_write(struct conn *conn)
{
    uv_os_fd_t fd;

    if (conn->state != CONN_OPEN) {
        return;
    }
    conn->half_closed = true;
    if (conn->writing == NULL && uv_fileno(&conn->socket.handle, &fd) == 0) {
        (void)shutdown(fd, SHUT_WR); /* refused where the connection is gone: nothing is left to do */
    }
}

void conn_close(struct conn *conn, void (*closed)(struct conn *conn))
{
    if (begin_close(conn, closed)) {
        uv_close(&conn->socket.handle, on_handle_closed);
    }
}

void conn_reset(struct conn *conn, void (*closed)(struct conn *conn))
{
    if (!begin_close(conn, closed)) {
        return;
    }
    /* After the half-close the other side was told already that this is all. */
    if (conn->socket.handle.type != UV_TCP || conn->half_closed ||
        uv_tcp_close_reset(&conn->socket.tcp, on_handle_closed) < 0) {
        uv_close(&conn->socket.handle, on_handle_closed);
    }
}

void conn_peer(const struct conn *conn, char out_host[CONN_HOST_BYTES], uint16_t *out_port)
{
    struct sockaddr_storage peer = {0};
    int len = sizeof peer;
    const struct sockaddr_in *v4 = (const void *)&peer;
    const struct sockaddr_in6 *v6 = (const void *)&peer;
    const char *text = NULL;

    *out_port = 0;
    if (conn->socket.handle.type == UV_NAMED_PIPE) {
        snprintf(out_host, CONN_HOST_BYTES, "unix");
        return;
    }
    if (uv_tcp_getpeername(&conn->socket.tcp, (struct sockaddr *)&peer, &len) == 0) {
        if (peer.ss_family == AF_INET) {
            text = inet_ntop(AF_INET, &v4->sin_addr, out_host, CONN_HOST_BYTES);
            *out_port = ntohs(v4->sin_port);
        } else if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            text = inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], out_host, CONN_HOST_BYTES);
            *out_port = ntohs(v6->sin6_port);
        } else {
            text = inet_ntop(AF_INET6, &v6->sin6_addr, out_host, CONN_HOST_BYTES);
            *out_port = ntohs(v6->sin6_port);
        }
    }
    if (text == NULL) {
        snprintf(out_host, CONN_HOST_BYTES, "unknown");
    }
}

enum err err_from_uv(int code)
{
    if (code >= 0) {
        return ERR_OK;
    }
    switch (code) {
    case UV_EAGAIN:
        return ERR_AGAIN;
    case UV_ENOMEM:
    case UV_ENOBUFS:
        return ERR_NO_MEMORY;
    case UV_EMFILE:
    case UV_ENFILE:
        return ERR_LIMIT;
    case UV_ETIMEDOUT:
        return ERR_TIMEOUT;
    case UV_ECANCELED:
        return ERR_CANCELED;
    case UV_EOF:
    case UV_EPIPE:
    case UV_ECONNRESET:
    case UV_ECONNABORTED:
    case UV_ENOTCONN:
    case UV_ESHUTDOWN:
        return ERR_RESET;
    case UV_ECONNREFUSED:
    case UV_EHOSTUNREACH:
    case UV_EHOSTDOWN:
    case UV_ENETUNREACH:
    case UV_ENETDOWN:
    case UV_EADDRNOTAVAIL:
    case UV_EAFNOSUPPORT:
    case UV_EACCES:
        return ERR_CONNECT;
    case UV_EADDRINUSE:
        return ERR_IN_USE;
    case UV_ENOENT:
        return ERR_NOT_FOUND;
    case UV_ENOSPC:
        return ERR_NO_SPACE;
    default: /* libuv's codes are plain numbers, not an enum of ours */
        return code <= UV_EAI_ADDRFAMILY && code >= UV_EAI_PROTOCOL ? ERR_RESOLVE : ERR_IO;
    }
}

static void init_handles(struct conn *conn, uv_loop_t *loop, char *read_buffer, const struct conn_events *events,
                         void *owner)
{
    REQUIRE(uv_timer_init(loop, &conn->timer) == 0);
    conn->socket.handle.data = conn;
    conn->timer.data = conn;
    conn->open_handles = 2;
    conn->read_buffer = read_buffer;
    conn->events = events;
    conn->owner = owner;
}

/* libuv reads on, up to 32 times, as long as each read fills the buffer. Without a buffer it returns to the loop, and
 * says UV_ENOBUFS; the socket stays watched, and what it still holds is told in the next turn. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out_buf) /* uv_alloc_cb */
{
    struct conn *conn = handle->data;

    (void)suggested;
    if (conn->read_bytes >= CONN_READ_MAX_BYTES) {
        conn->read_bytes = 0;
        *out_buf = uv_buf_init(NULL, 0);
        return;
    }
    *out_buf = uv_buf_init(conn->read_buffer, WORKER_READ_BUFFER_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf) /* uv_read_cb */
{
    struct conn *conn = stream->data;

    if (conn->state == CONN_CLOSING || count == 0) {
        return; /* 0: nothing there after all */
    }
    if (count == UV_ENOBUFS && buf->len == 0) {
        return; /* there was no buffer: it is others' turn */
    }
    if (count > 0) {
        bool filled = (size_t)count == buf->len; /* else libuv returns to the loop by itself */
        conn->read_bytes = filled ? conn->read_bytes + (size_t)count : 0;
        conn->events->on_read(conn, (struct span){buf->base, (size_t)count});
        return;
    }
    conn_read_stop(conn);
    conn->ended = true;
    conn->events->on_end(conn, count == UV_EOF ? ERR_OK : ERR_RESET);
}

static void on_written(uv_write_t *write, int status) /* uv_write_cb */
{
    struct conn *conn = write->data;

    free(conn->writing);
    conn->writing = NULL;
    if (conn->half_closed) {
        conn_shutdown_write(conn);
    }
    if (conn->state != CONN_CLOSING) {
        conn->events->on_written(conn, err_from_uv(status));
    }
}

static void on_timer(uv_timer_t *timer) /* uv_timer_cb */
{
    struct conn *conn = timer->data;
    uint64_t now_ms = uv_now(timer->loop);

    if (conn->deadline_ms > now_ms) {
        REQUIRE(uv_timer_start(timer, on_timer, conn->deadline_ms - now_ms, 0) == 0);
    } else if (conn->deadline_ms != 0 && !conn->overdue) {
        /* This thread, or the machine, may have stood still: what came in time is told in the turn between. */
        conn->overdue = true;
        REQUIRE(uv_timer_start(timer, on_timer, 1, 0) == 0);
    } else if (conn->deadline_ms != 0) {
        conn->deadline_ms = 0;
        conn->events->on_timer(conn);
    }
}

static void on_connected(uv_connect_t *connect, int status) /* uv_connect_cb */
{
    struct conn *conn = connect->data;
    void (*connected)(struct conn * conn, enum err error) = conn->connecting->connected;

    free(conn->connecting);
    conn->connecting = NULL;
    if (conn->state == CONN_CLOSING) {
        return;
    }
    if (status == 0) {
        (void)uv_tcp_nodelay(&conn->socket.tcp, 1); /* as in conn_accept */
        conn->state = CONN_OPEN;
    }
    connected(conn, err_from_uv(status));
}

static void on_handle_closed(uv_handle_t *handle) /* uv_close_cb */
{
    struct conn *conn = handle->data;

    conn->open_handles--;
    if (conn->open_handles == 0) {
        conn->closed(conn); /* may free conn: nothing may follow */
    }
}

/* False when it is closing already. */
static bool begin_close(struct conn *conn, void (*closed)(struct conn *conn))
{
    REQUIRE(conn->state != CONN_NEW);
    if (conn->state == CONN_CLOSING) {
        return false;
    }
    conn_read_stop(conn);
    conn->state = CONN_CLOSING;
    conn->closed = closed;
    uv_close((uv_handle_t *)&conn->timer, on_handle_closed);
    return true;
}
