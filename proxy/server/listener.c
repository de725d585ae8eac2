/* listener.c: accepting on one socket, on one worker.
 *
 * Happy path: libuv accepts; client_accept takes each connection over.
 * Failures:   - descriptors run out: libuv accepts with a descriptor kept in reserve and closes what waits, so that the
 *               queue does not spin; we are not told. When that is not possible either we are: pause.
 *             - client_accept fails (no memory): that connection is closed; pause.
 * So that it does not come to that, accepting pauses while the last eighth of the descriptors is in use: those are for
 * connections to origins and files. A new descriptor has the lowest free number, so its number says how many are used.
 * A pause closes the handle but not the socket (the handle has a duplicate of its descriptor) and opens it again after
 * 100 ms: connections wait in the kernel's queue meanwhile. There is no other way: libuv would go on accepting for as
 * long as the handle is open, in a loop that never returns while descriptors are short. */
#include "proxy/server/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/check.h"
#include "proxy/client/client.h"
#include "proxy/io/log.h"
#include "proxy/server/worker.h"

enum {
    PAUSE_MS = 100,
    RESERVED_SHARE = 8, /* of all descriptors one in so many is not for clients */
    BACKLOG = 4096,     /* said again by uv_listen; as in listener_open.c */
};

static int descriptors_for_clients(void);
static int open_handle(struct listener *listener);
static void pause_accepting(struct listener *listener, enum err error);
static void on_connection(uv_stream_t *stream, int status);
static void on_retry(uv_timer_t *timer);
static void on_handle_closed(uv_handle_t *handle);

enum err listener_start(struct listener *listener, struct worker *worker, const struct address *address, int fd)
{
    *listener = (struct listener){.worker = worker, .kind = address->kind, .fd = fd};
    REQUIRE(uv_timer_init(&worker->loop, &listener->retry) == 0);
    listener->retry.data = listener;
    listener->fd_limit = descriptors_for_clients();
    listener->state = LISTENER_ACCEPTING;
    int error = open_handle(listener);
    if (error < 0) {
        listener_close(listener);
    }
    return err_from_uv(error);
}

void listener_take_rest(struct listener *listener)
{
    bool open = listener->state == LISTENER_ACCEPTING || listener->state == LISTENER_PAUSED;

    for (unsigned i = 0; open && i < BACKLOG; i++) {
        int fd = accept(listener->fd, NULL, NULL);
        if (fd >= 0) {
            (void)fcntl(fd, F_SETFD, FD_CLOEXEC); /* cannot fail */
            client_accept_late(listener->worker, fd, listener->kind == ADDRESS_UNIX);
        } else {
            open = errno == EINTR || errno == ECONNABORTED; /* else none waits, or no descriptor is left */
        }
    }
}

void listener_close(struct listener *listener)
{
    if (listener->state == LISTENER_NONE || listener->state == LISTENER_CLOSED) {
        return;
    }
    if (listener->state == LISTENER_ACCEPTING && listener->handle_open) {
        uv_close(&listener->socket.handle, on_handle_closed);
    }
    listener->state = LISTENER_CLOSED;
    uv_close((uv_handle_t *)&listener->retry, NULL);
    close(listener->fd);
}

static int descriptors_for_clients(void)
{
    struct rlimit limit = {0};

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INT_MAX) {
        return INT_MAX;
    }
    return (int)(limit.rlim_cur - limit.rlim_cur / RESERVED_SHARE);
}

/* A libuv code. On failure the handle is being closed, or was not opened. */
static int open_handle(struct listener *listener)
{
    int fd = fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);

    if (fd < 0 || fd >= listener->fd_limit) {
        if (fd >= 0) {
            close(fd);
        }
        return UV_EMFILE;
    }
    socket_handle_init(&listener->socket, &listener->worker->loop,
                       listener->kind == ADDRESS_UNIX ? UV_NAMED_PIPE : UV_TCP);
    listener->socket.handle.data = listener;
    listener->handle_open = true;
    return socket_handle_listen(&listener->socket, fd, BACKLOG, on_connection);
}

static void pause_accepting(struct listener *listener, enum err error)
{
    if (!listener->complained) {
        log_warn("accepting pauses error=%s%s", err_name(error),
                 error == ERR_LIMIT ? ": descriptors run out (ulimit -n, limits.connections)" : "");
        listener->complained = true;
    }
    if (listener->handle_open) {
        uv_close(&listener->socket.handle, on_handle_closed);
    }
    listener->state = LISTENER_PAUSED;
    REQUIRE(uv_timer_start(&listener->retry, on_retry, PAUSE_MS, 0) == 0);
}

static void on_connection(uv_stream_t *stream, int status) /* uv_connection_cb */
{
    struct listener *listener = stream->data;
    enum err error = err_from_uv(status);

    if (listener->state != LISTENER_ACCEPTING) {
        return;
    }
    if (error == ERR_OK) {
        error = client_accept(listener->worker, stream);
    }
    if (error == ERR_OK && listener->worker->newest_fd >= listener->fd_limit) {
        error = ERR_LIMIT;
    } else if (error == ERR_OK && listener->worker->newest_fd < listener->fd_limit / 2) {
        listener->complained = false; /* not when it comes and goes at the limit */
    }
    if (error != ERR_OK && listener->state == LISTENER_ACCEPTING) {
        pause_accepting(listener, error);
    }
}

static void on_retry(uv_timer_t *timer) /* uv_timer_cb */
{
    struct listener *listener = timer->data;

    if (listener->handle_open) { /* its close callback comes before the next turn of the loop */
        REQUIRE(uv_timer_start(timer, on_retry, PAUSE_MS, 0) == 0);
        return;
    }
    listener->state = LISTENER_ACCEPTING;
    int error = open_handle(listener);
    if (error < 0) {
        pause_accepting(listener, err_from_uv(error));
    }
}

static void on_handle_closed(uv_handle_t *handle) /* uv_close_cb */
{
    struct listener *listener = handle->data;

    listener->handle_open = false;
}
