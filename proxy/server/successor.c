/* successor.c: see successor.h.
 *
 * What it inherits: the listening sockets from descriptor 3 on, and behind them its end of the channel. Its environment
 * is ours with LARDER_SUCCESSOR="VERSION WORKERS KINDS", where KINDS has one letter a socket (sockets.h).
 * LISTEN_FDS would need LISTEN_PID, which nobody knows before the process exists. */
#include "proxy/server/successor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

enum {
    FIRST_FD = 3,
    TELL_MS = 1000, /* one that does not listen for so long is not waited for, until it listens again */
    RECEIVE_MAX = 16,
};

static void on_process_exit(uv_process_t *process, int64_t status, int number);

/* ---- starting ---- */

static uv_stdio_container_t *make_files(const struct legacy *legacy, int channel, int *out_count)
{
    size_t count = FIRST_FD + legacy->count + 1;
    uv_stdio_container_t *files = calloc(count, sizeof(*files));

    for (size_t i = 0; files != NULL && i < count; i++) {
        files[i].flags = UV_INHERIT_FD;
        files[i].data.fd = i < FIRST_FD ? (int)i : i + 1 < count ? legacy->fds[i - FIRST_FD] : channel;
    }
    *out_count = (int)count;
    return files;
}

/* Ours, with `variable` in front; the texts are borrowed. */
static char **make_environment(char *variable)
{
    size_t count = 0;
    size_t kept = 1;

    while (environ[count] != NULL) {
        count++;
    }
    char **copy = calloc(count + 2, sizeof(*copy));
    for (size_t i = 0; copy != NULL && i < count; i++) {
        if (strncmp(environ[i], SUCCESSOR_VARIABLE "=", sizeof(SUCCESSOR_VARIABLE)) != 0) {
            copy[kept++] = environ[i];
        }
    }
    if (copy != NULL) {
        copy[0] = variable;
    }
    return copy;
}

static int spawn(struct successor *successor, uv_loop_t *loop, const char *const *argv, unsigned workers,
                 const struct legacy *legacy, int channel)
{
    size_t text_bytes = sizeof(SUCCESSOR_VARIABLE) + sizeof(CHANNEL_VERSION) + 16 + legacy->count;
    char *variable = malloc(text_bytes);
    char **environment = variable != NULL ? make_environment(variable) : NULL;
    uv_process_options_t options = {
        .exit_cb = on_process_exit, .file = argv[0], .args = (char **)(uintptr_t)argv, .env = environment};
    int error = UV_ENOMEM;

    options.stdio = make_files(legacy, channel, &options.stdio_count);
    if (environment != NULL && options.stdio != NULL) {
        (void)snprintf(variable, text_bytes, "%s=%s %u %s", SUCCESSOR_VARIABLE, CHANNEL_VERSION, workers,
                       legacy->kinds);
        error = uv_spawn(loop, &successor->process, &options);
    }
    free(options.stdio);
    free(environment);
    free(variable);
    return error;
}

/* ---- its end ---- */

static void on_closed(uv_handle_t *handle) /* uv_close_cb */
{
    struct successor *successor = handle->data;

    successor->open_handles--;
    if (successor->open_handles == 0 && successor->state == SUCCESSOR_CLOSING) {
        successor->state = SUCCESSOR_NONE;
    }
}

static void close_handles(struct successor *successor)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&successor->process, (uv_handle_t *)&successor->poll,
                              (uv_handle_t *)&successor->timer};

    for (size_t i = 0; i < ARRAY_LEN(handles); i++) {
        if (handles[i]->type != UV_UNKNOWN_HANDLE && !uv_is_closing(handles[i])) {
            successor->open_handles++;
            uv_close(handles[i], on_closed);
        }
    }
}

static void end_channel(struct successor *successor)
{
    if (successor->fd >= 0) {
        close(successor->fd);
        successor->fd = -1;
    }
}

static bool is_awaited(const struct successor *successor)
{
    return successor->state == SUCCESSOR_STARTING || successor->state == SUCCESSOR_OPENING;
}

/* It is told when the process has ended, and with it whatever it held: locks among others. */
static void fail(struct successor *successor, const char *why)
{
    if (is_awaited(successor)) {
        successor->state = SUCCESSOR_FAILED;
        successor->why = why;
        (void)uv_process_kill(&successor->process, SIGKILL); /* may have ended by itself */
        REQUIRE(uv_poll_stop(&successor->poll) == 0);
        REQUIRE(uv_timer_stop(&successor->timer) == 0);
    }
}

static void on_process_exit(uv_process_t *process, int64_t status, int number) /* uv_exit_cb */
{
    struct successor *successor = process->data;

    (void)status;
    (void)number;
    fail(successor, "it ended; what it said on standard error tells why");
    if (successor->state == SUCCESSOR_FAILED) {
        successor->state = SUCCESSOR_CLOSING;
        close_handles(successor);
        end_channel(successor);
        successor->events->failed(successor, successor->why);
    }
}

/* ---- what it says ---- */

static void on_timer(uv_timer_t *timer) /* uv_timer_cb */
{
    fail(timer->data, "it was not ready in time");
}

static void on_message(struct successor *successor, const struct channel_message *message)
{
    if (message->fd >= 0) {
        close(message->fd);
    }
    if (message->kind == CHANNEL_STORE && successor->state == SUCCESSOR_STARTING) {
        if (!successor->events->wants_store(successor)) {
            fail(successor, "the store cannot be given away");
            return;
        }
        successor->state = SUCCESSOR_OPENING;
        REQUIRE(uv_timer_start(&successor->timer, on_timer, SUCCESSOR_WAIT_MS, 0) == 0);
    } else if (message->kind == CHANNEL_SERVING && successor->state == SUCCESSOR_OPENING) {
        successor->state = SUCCESSOR_SERVES;
        close_handles(successor);
        successor->events->serves(successor);
    } else {
        fail(successor, "it says what is not understood");
    }
}

static void on_readable(uv_poll_t *poll, int status, int events) /* uv_poll_cb */
{
    struct successor *successor = poll->data;

    (void)events;
    for (unsigned i = 0; i < RECEIVE_MAX && is_awaited(successor); i++) {
        struct channel_message message;
        enum channel_got got =
            status < 0 ? CHANNEL_ENDED : channel_receive(successor->fd, successor->buffer, &message, 0);
        if (got == CHANNEL_NOTHING) {
            return;
        }
        if (got == CHANNEL_ENDED) {
            fail(successor, "it ended, or does not know how to take over; what it said on standard error tells why");
            return;
        }
        on_message(successor, &message);
    }
}

/* ---- the face ---- */

bool successor_start(struct successor *successor, uv_loop_t *loop, const char *const *argv, unsigned workers,
                     const struct legacy *legacy, const struct successor_events *events, struct buf *out_error)
{
    int channel[2];
    char *buffer = successor->buffer != NULL ? successor->buffer : malloc(CHANNEL_MESSAGE_MAX_BYTES + 1);

    REQUIRE(successor->state == SUCCESSOR_NONE);
    if (buffer == NULL || !channel_open(channel)) {
        free(buffer);
        successor->buffer = NULL;
        buf_add(out_error, SPAN("neither memory nor descriptors are left"));
        return false;
    }
    *successor = (struct successor){.state = SUCCESSOR_STARTING, .events = events, .fd = channel[0], .buffer = buffer};
    successor->process.data = successor->poll.data = successor->timer.data = successor;
    REQUIRE(uv_timer_init(loop, &successor->timer) == 0);
    int error = uv_poll_init(loop, &successor->poll, successor->fd);
    REQUIRE(error == 0); /* fails only for what cannot be polled */
    error = spawn(successor, loop, argv, workers, legacy, channel[1]);
    close(channel[1]);
    if (error < 0) {
        buf_format(out_error, "%s cannot be started: %s", argv[0], uv_strerror(error));
        successor->state = SUCCESSOR_CLOSING;
        close_handles(successor);
        end_channel(successor);
        return false;
    }
    REQUIRE(uv_timer_start(&successor->timer, on_timer, SUCCESSOR_WAIT_MS, 0) == 0);
    REQUIRE(uv_poll_start(&successor->poll, UV_READABLE, on_readable) == 0);
    return true;
}

bool successor_tell(struct successor *successor, enum channel_kind kind, struct span bytes, int fd)
{
    struct channel_message message = {.kind = kind, .fd = fd, .bytes = bytes};
    int wait_ms = atomic_load_explicit(&successor->deaf, memory_order_relaxed) ? 0 : TELL_MS;
    bool heard = channel_send(successor->fd, &message, wait_ms);

    atomic_store_explicit(&successor->deaf, !heard, memory_order_relaxed);
    return heard;
}

int successor_pid(const struct successor *successor)
{
    return uv_process_get_pid(&successor->process);
}

void successor_close(struct successor *successor)
{
    if (is_awaited(successor) || successor->state == SUCCESSOR_FAILED) {
        (void)uv_process_kill(&successor->process, SIGKILL); /* may have ended by itself */
        successor->state = SUCCESSOR_CLOSING;
        close_handles(successor);
    }
}

void successor_finish(struct successor *successor)
{
    if (successor->buffer != NULL) {
        end_channel(successor);
        free(successor->buffer);
        successor->buffer = NULL;
    }
}
