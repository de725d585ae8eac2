/* test_loop_room.c: descriptors are watched without memory; libuv's allocator counts what it is asked for. */
#include "proxy/io/loop_room.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { COUNT = 600 };

static unsigned allocations;

static void *counted_malloc(size_t bytes)
{
    allocations++;
    return malloc(bytes);
}

static void *counted_realloc(void *memory, size_t bytes)
{
    allocations++;
    return realloc(memory, bytes);
}

static void *counted_calloc(size_t count, size_t bytes)
{
    allocations++;
    return calloc(count, bytes);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    (void)poll;
    (void)status;
    (void)events;
}

/* How often memory was asked for to watch the descriptor COUNT - 1. */
static unsigned watch(uv_loop_t *loop)
{
    int low = socket(AF_UNIX, SOCK_DGRAM, 0);
    int fd = fcntl(low, F_DUPFD_CLOEXEC, COUNT - 1);
    uv_poll_t poll;

    cr_assert_eq(fd, COUNT - 1);
    unsigned before = allocations;
    cr_assert_eq(uv_poll_init(loop, &poll, fd), 0);
    cr_assert_eq(uv_poll_start(&poll, UV_READABLE, on_event), 0);
    unsigned asked = allocations - before;
    uv_close((uv_handle_t *)&poll, NULL);
    (void)uv_run(loop, UV_RUN_DEFAULT);
    close(fd);
    close(low);
    return asked;
}

Test(loop_room, what_is_planned_is_watched_without_memory)
{
    uv_loop_t loop;

    cr_assert_eq(uv_replace_allocator(counted_malloc, counted_realloc, counted_calloc, free), 0);
    cr_assert_eq(uv_loop_init(&loop), 0);
    loop_make_room(&loop, COUNT);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(watch(&loop), 0);
    cr_expect_eq(uv_loop_close(&loop), 0);
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_expect_gt(watch(&loop), 0, "else this shows nothing");
    cr_expect_eq(uv_loop_close(&loop), 0);
}

/* The limit under which so many more descriptors can be opened: whoever starts the test may have left any numbers
 * taken. */
static rlim_t limit_with_room(unsigned room)
{
    rlim_t limit = 0;

    for (unsigned found = 0; found < room; limit++) {
        found += fcntl((int)limit, F_GETFD) < 0 ? 1 : 0;
    }
    return limit;
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < COUNT; fd++) {
        count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
    }
    return count;
}

Test(loop_room, what_cannot_be_made_leaves_no_descriptor_open)
{
    uv_loop_t loop;
    struct rlimit limit;
    unsigned failures = 0;
    int error = -1;

    cr_assert_eq(uv_loop_init(&loop), 0); /* what libuv opens once a process is open after that */
    cr_assert_eq(uv_loop_close(&loop), 0);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    unsigned before = open_descriptors();
    for (unsigned room = 0; error != 0 && room < COUNT; room++) {
        limit.rlim_cur = limit_with_room(room);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        error = loop_init(&loop, 0);
        if (error != 0) {
            failures++;
            cr_expect_eq(error, UV_EMFILE);
            cr_assert_eq(open_descriptors(), before, "%u more descriptors may be open", room);
        }
    }
    cr_assert_eq(error, 0);
    cr_expect_geq(failures, 4, "for the loop, for signals and for what wakes it");
    cr_expect_eq(uv_loop_close(&loop), 0);
}

Test(loop_room, more_than_may_be_open_is_no_failure)
{
    struct rlimit limit;
    uv_loop_t loop;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = COUNT;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(uv_loop_init(&loop), 0);
    loop_make_room(&loop, COUNT + 1);
    loop_make_room(&loop, 0);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
}
