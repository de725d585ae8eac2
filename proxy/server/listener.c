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
 * long as the handle is open, in a loop that never returns while descriptors are short.
 *
 * Nor does it return while connections come faster than they are accepted, and who has one already would wait for that.
 * So of each turn of the loop the listener takes a few: the next one is left with libuv, which accepts no more until it
 * is taken, in the next turn: by a timer that is due at once, as messages to ourselves wait in a queue. */
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
    TURN_ACCEPTS = 32,  /* in a turn of the loop */
    BACKLOG = 4096,     /* said again by uv_listen; as in listener_open.c */
};

static int descriptors_for_clients(void);
static int open_handle(struct listener *listener);
static void start_accepting(struct listener *listener, int opened);
static void pause_accepting(struct listener *listener, enum err error);
static void on_connection(uv_stream_t *stream, int status);
static void take_held(struct listener *listener);
static void on_timer(uv_timer_t *timer);
static void on_handle_closed(uv_handle_t *handle);

enum err listener_init(struct listener *listener, struct worker *worker, const struct address *address, int fd)
{
    *listener = (struct listener){.worker = worker, .kind = address->kind, .fd = fd};
    REQUIRE(uv_timer_init(&worker->loop, &listener->timer) == 0);
    listener->timer.data = listener;
    listener->fd_limit = descriptors_for_clients();
    listener->state = LISTENER_READY;
    int error = open_handle(listener);
    if (error < 0) {
        listener_close(listener);
    }
    return err_from_uv(error);
}

void listener_start(struct listener *listener)
{
    start_accepting(listener, 0); /* listener_init has opened the handle */
}

void listener_take_rest(struct listener *listener)
{
    bool open = listener->state == LISTENER_ACCEPTING || listener->state == LISTENER_PAUSED;

    if (listener->holds) {
        listener->holds = false;
        (void)uv_timer_stop(&listener->timer);                           /* always succeeds */
        (void)client_accept(listener->worker, &listener->socket.stream); /* no memory: the close ends it */
    }
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
    if (listener->state != LISTENER_PAUSED && listener->handle_open) { /* a pause closes it itself */
        uv_close(&listener->socket.handle, on_handle_closed);
    }
    listener->state = LISTENER_CLOSED;
    listener->holds = false; /* the handle's close ends it */
    uv_close((uv_handle_t *)&listener->timer, NULL);
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

/* Gives the handle a duplicate of the socket; nothing is accepted yet. A libuv code. On failure the handle is to be
 * closed if handle_open. */
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
    int error = socket_handle_open(&listener->socket, fd);
    if (error < 0) {
        close(fd);
    }
    return error;
}

/* `opened`: what open_handle returned. */
static void start_accepting(struct listener *listener, int opened)
{
    int error = opened < 0 ? opened : uv_listen(&listener->socket.stream, BACKLOG, on_connection);

    listener->state = LISTENER_ACCEPTING;
    if (error < 0) {
        pause_accepting(listener, err_from_uv(error));
    }
}

static void pause_accepting(struct listener *listener, enum err error)
{
    metrics_count_accept_pause(listener->worker->shard);
    if (!listener->complained) {
        log_warn("accepting pauses error=%s%s", err_name(error),
                 error == ERR_LIMIT ? ": descriptors run out (ulimit -n, limits.connections)" : "");
        listener->complained = true;
    }
    if (listener->handle_open) {
        uv_close(&listener->socket.handle, on_handle_closed);
    }
    listener->state = LISTENER_PAUSED;
    REQUIRE(uv_timer_start(&listener->timer, on_timer, PAUSE_MS, 0) == 0);
}

/* Takes the connection that libuv has accepted. */
static void take(struct listener *listener)
{
    enum err error = client_accept(listener->worker, &listener->socket.stream);

    listener->accepted++;
    if (error == ERR_OK && listener->worker->newest_fd >= listener->fd_limit) {
        error = ERR_LIMIT;
    } else if (error == ERR_OK && listener->worker->newest_fd < listener->fd_limit / 2) {
        listener->complained = false; /* not when it comes and goes at the limit */
    }
    if (error != ERR_OK && listener->state == LISTENER_ACCEPTING) {
        pause_accepting(listener, error);
    }
}

/* Has it accepted its share of this turn? The loop's time changes between its turns only. Those of one millisecond
 * count together, and one too many of them waits for the next. */
static bool has_its_share(struct listener *listener)
{
    uint64_t now_ms = uv_now(&listener->worker->loop);

    if (now_ms != listener->turn_ms) {
        listener->turn_ms = now_ms;
        listener->accepted = 0;
    }
    return listener->accepted >= TURN_ACCEPTS;
}

static void on_connection(uv_stream_t *stream, int status) /* uv_connection_cb */
{
    struct listener *listener = stream->data;

    if (listener->state != LISTENER_ACCEPTING) {
        return;
    }
    if (status < 0) {
        pause_accepting(listener, err_from_uv(status));
    } else if (has_its_share(listener)) {
        listener->holds = true;
        REQUIRE(uv_timer_start(&listener->timer, on_timer, 0, 0) == 0);
    } else {
        take(listener);
    }
}

static void take_held(struct listener *listener)
{
    listener->holds = false;
    listener->accepted = 0;
    take(listener);
}

static void on_timer(uv_timer_t *timer) /* uv_timer_cb: the next turn, or a pause is over */
{
    struct listener *listener = timer->data;

    if (listener->holds) {
        take_held(listener);
        return;
    }
    if (listener->handle_open) { /* its close callback comes before the next turn of the loop */
        REQUIRE(uv_timer_start(timer, on_timer, PAUSE_MS, 0) == 0);
        return;
    }
    start_accepting(listener, open_handle(listener));
}

static void on_handle_closed(uv_handle_t *handle) /* uv_close_cb */
{
    struct listener *listener = handle->data;

    listener->handle_open = false;
}
