/* loop_room.c: see loop_room.h. The table grows to the highest number that is watched: one such descriptor is, for a
 * moment. */
#include "proxy/io/loop_room.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/check.h"

/* An open descriptor with exactly this number or the next that is free above it; -1: there is none. */
static int open_high(unsigned number)
{
    int low = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int high = low >= 0 ? fcntl(low, F_DUPFD_CLOEXEC, (int)number) : -1;

    if (low >= 0) {
        close(low);
    }
    return high;
}

static void on_event(uv_poll_t *poll, int status, int events) /* uv_poll_cb: never, it is stopped at once */
{
    (void)poll;
    (void)status;
    (void)events;
}

static void on_closed(uv_handle_t *handle) /* uv_close_cb */
{
    free(handle);
}

void loop_make_room(uv_loop_t *loop, unsigned count)
{
    int fd = count > 0 ? open_high((count < LOOP_ROOM_MAX ? count : LOOP_ROOM_MAX) - 1) : -1;
    uv_poll_t *poll = fd >= 0 ? malloc(sizeof(*poll)) : NULL;

    if (poll != NULL && uv_poll_init(loop, poll, fd) == 0) {
        (void)uv_poll_start(poll, UV_READABLE, on_event); /* cannot fail for what was initialised */
        uv_close((uv_handle_t *)poll, on_closed);         /* stops it, too */
    } else {
        free(poll);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void on_work(uv_work_t *work) /* uv_work_cb */
{
    (void)work;
}

void loop_start_pool(uv_loop_t *loop, uv_work_t *work)
{
    REQUIRE(uv_queue_work(loop, work, on_work, NULL) == 0); /* fails only without a function */
}
