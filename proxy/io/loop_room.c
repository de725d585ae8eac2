/* loop_room.c: see loop_room.h. The table grows to the highest number that is watched: one such descriptor is, for a
 * moment. */
#include "proxy/io/loop_room.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BLOCK_COUNT = 3,           /* so often the table may grow while a loop is made */
    ABOVE_COUNT = 1024,        /* descriptors of numbers above the planned ones that may be open */
    CLOSES_BACKEND = 0x013300, /* libuv's version */
};

/* ---- the allocator ---- */

/* For the loop that this thread is making: what it gets when there is no memory. Ordinary blocks, each large enough for
 * any table that it asks for. */
static _Thread_local struct {
    void *blocks[BLOCK_COUNT];
    size_t bytes; /* of each */
} aside;

static void *take_block(size_t bytes)
{
    void *block = NULL;

    for (size_t i = 0; i < BLOCK_COUNT && block == NULL && bytes <= aside.bytes; i++) {
        block = aside.blocks[i];
        aside.blocks[i] = NULL;
    }
    return block;
}

static void *on_malloc(size_t bytes) /* uv_malloc_func */
{
    void *memory = malloc(bytes);

    if (memory == NULL) {
        memory = take_block(bytes);
    }
    return memory;
}

static void *on_calloc(size_t count, size_t bytes) /* uv_calloc_func: libuv makes no table with it, and can fail */
{
    return calloc(count, bytes);
}

static void *on_realloc(void *old, size_t bytes) /* uv_realloc_func */
{
    void *memory = realloc(old, bytes);

    if (memory == NULL && bytes > 0) {
        memory = take_block(bytes);
        if (memory != NULL && old != NULL) {
            size_t kept = malloc_usable_size(old);
            memcpy(memory, old, kept < bytes ? kept : bytes);
            free(old);
        }
    }
    return memory;
}

void loop_use_allocator(void)
{
    REQUIRE(uv_replace_allocator(on_malloc, on_realloc, on_calloc, free) == 0); /* fails only without a function */
}

static void give_back(void)
{
    for (size_t i = 0; i < BLOCK_COUNT; i++) {
        free(aside.blocks[i]);
        aside.blocks[i] = NULL;
    }
    aside.bytes = 0;
}

/* libuv doubles its table: less than twice the highest number is enough. */
static bool set_aside(unsigned count)
{
    bool all = true;

    aside.bytes = 2 * ((count < LOOP_ROOM_MAX ? count : LOOP_ROOM_MAX) + (size_t)ABOVE_COUNT) * sizeof(void *);
    for (size_t i = 0; i < BLOCK_COUNT && all; i++) {
        aside.blocks[i] = malloc(aside.bytes);
        all = aside.blocks[i] != NULL;
    }
    if (!all) {
        give_back();
    }
    return all;
}

/* ---- room ---- */

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

/* Before 1.51 libuv left what it waits with open where something behind that could not be opened. */
static void close_backend(const uv_loop_t *loop)
{
    int fd = uv_backend_fd(loop);

    if (uv_version() < CLOSES_BACKEND && fd > STDERR_FILENO) { /* 0 and -1: it did not come so far */
        close(fd);
    }
}

int loop_init(uv_loop_t *loop, unsigned count)
{
    if (!set_aside(count)) {
        return UV_ENOMEM;
    }
    int error = uv_loop_init(loop);
    if (error == 0) {
        loop_make_room(loop, count);
    } else {
        close_backend(loop);
    }
    give_back();
    return error;
}

static void on_work(uv_work_t *work) /* uv_work_cb */
{
    (void)work;
}

void loop_start_pool(uv_loop_t *loop, uv_work_t *work)
{
    REQUIRE(uv_queue_work(loop, work, on_work, NULL) == 0); /* fails only without a function */
}
