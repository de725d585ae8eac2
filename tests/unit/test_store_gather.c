/* Blocks on their way to the body file: which of them one call takes, and what becomes of calls that do less. */
#include "cache/store_gather.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CALLS_MAX = 64 };

struct call {
    off_t at;
    size_t runs;
};

static struct call calls[CALLS_MAX];
static size_t call_count;
static ssize_t most_bytes; /* that one call writes; 0: as many as it is given */
static int errors[4];      /* of the next calls; 0: none */
static int fd;

ssize_t caught_pwritev(int file, const struct iovec *runs, int count, off_t at) __asm__("pwritev64");

/* In place of libc's. */
ssize_t caught_pwritev(int file, const struct iovec *runs, int count, off_t at)
{
    ssize_t done = 0;

    cr_assert_lt(call_count, CALLS_MAX);
    int error = call_count < ARRAY_LEN(errors) ? errors[call_count] : 0;
    calls[call_count++] = (struct call){at, (size_t)count};
    if (error != 0) {
        errno = error;
        return -1;
    }
    if (most_bytes < 0) {
        return 0;
    }
    for (int i = 0; i < count && (most_bytes == 0 || done < most_bytes); i++) {
        size_t len = runs[i].iov_len;
        if (most_bytes > 0 && len > (size_t)(most_bytes - done)) {
            len = (size_t)(most_bytes - done);
        }
        cr_assert_eq(syscall(SYS_pwrite64, file, runs[i].iov_base, len, at + done), (ssize_t)len);
        done += (ssize_t)len;
    }
    return done;
}

static void setup(void)
{
    char name[] = "/tmp/larder-gather-XXXXXX";

    fd = mkstemp(name);
    cr_assert_geq(fd, 0);
    cr_assert_eq(unlink(name), 0);
}

static void teardown(void)
{
    close(fd);
}

TestSuite(store_gather, .init = setup, .fini = teardown);

/* A block whose payload is its own number, `len` times. */
static void add(struct gather *gather, uint64_t block, size_t len)
{
    static char payloads[256][GATHER_BLOCK_BYTES];
    static const char zeros[GATHER_BLOCK_BYTES];
    char end[GATHER_END_BYTES];

    memset(payloads[block], (int)block, len);
    memset(end, (int)block + 1, sizeof(end));
    gather_add(gather, block, (struct span){payloads[block], len},
               (struct span){zeros, GATHER_BLOCK_BYTES - GATHER_END_BYTES - len}, end);
}

static void expect_block(uint64_t block, size_t len)
{
    char bytes[GATHER_BLOCK_BYTES];

    cr_assert_eq(pread(fd, bytes, sizeof(bytes), (off_t)(block * GATHER_BLOCK_BYTES)), GATHER_BLOCK_BYTES);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        size_t at_end = GATHER_BLOCK_BYTES - GATHER_END_BYTES;
        char wanted = (char)(i < len ? block : i < at_end ? 0 : block + 1);
        cr_assert_eq(bytes[i], wanted, "block %zu, byte %zu", (size_t)block, i);
    }
}

Test(store_gather, blocks_behind_each_other_go_in_one_call)
{
    struct gather gather = {0};

    for (uint64_t block = 3; block < GATHER_BLOCKS; block++) {
        cr_assert(gather_fits(&gather, block));
        add(&gather, block, block % 5 == 0 ? 100 : GATHER_BLOCK_BYTES - GATHER_END_BYTES);
    }
    cr_expect_eq(call_count, 0);
    cr_assert_eq(gather_write(&gather, fd), 0);
    cr_assert_eq(call_count, 1);
    cr_expect_eq(calls[0].at, 3 * GATHER_BLOCK_BYTES);
    for (uint64_t block = 3; block < GATHER_BLOCKS; block++) {
        expect_block(block, block % 5 == 0 ? 100 : GATHER_BLOCK_BYTES - GATHER_END_BYTES);
    }
    cr_assert_eq(gather_write(&gather, fd), 0);
    cr_expect_eq(call_count, 1, "nothing is left");
}

Test(store_gather, what_lies_elsewhere_or_behind_a_boundary_is_for_another_call)
{
    struct gather gather = {0};

    cr_expect(gather_fits(&gather, GATHER_BLOCKS), "anything fits in nothing");
    add(&gather, GATHER_BLOCKS - 2, 1);
    cr_expect_not(gather_fits(&gather, GATHER_BLOCKS - 2));
    cr_expect_not(gather_fits(&gather, GATHER_BLOCKS - 3));
    cr_expect_not(gather_fits(&gather, GATHER_BLOCKS));
    add(&gather, GATHER_BLOCKS - 1, 1);
    cr_expect_not(gather_fits(&gather, GATHER_BLOCKS), "a boundary");
    gather_forget(&gather);
    for (uint64_t block = GATHER_BLOCKS; block < 2 * GATHER_BLOCKS; block++) {
        cr_assert(gather_fits(&gather, block));
        add(&gather, block, 1);
    }
    cr_expect_not(gather_fits(&gather, 2 * GATHER_BLOCKS));
    cr_assert_eq(gather_write(&gather, fd), 0);
    cr_assert_eq(call_count, 1);
    cr_expect_eq(calls[0].runs, GATHER_BLOCKS * GATHER_RUNS);
}

Test(store_gather, what_is_forgotten_is_not_written)
{
    struct gather gather = {0};

    add(&gather, 5, 10);
    gather_forget(&gather);
    cr_assert_eq(gather_write(&gather, fd), 0);
    cr_expect_eq(call_count, 0);
}

Test(store_gather, a_call_that_writes_less_or_is_interrupted_is_followed_by_others)
{
    struct gather gather = {0};

    most_bytes = GATHER_BLOCK_BYTES / 3 - 5; /* ends in a payload, in padding, in an end, behind one */
    errors[0] = EINTR;
    errors[2] = EINTR;
    for (uint64_t block = 0; block < GATHER_BLOCKS; block++) {
        add(&gather, block, block % 2 == 0 ? 4000 : GATHER_BLOCK_BYTES - GATHER_END_BYTES);
    }
    cr_assert_eq(gather_write(&gather, fd), 0);
    cr_expect_gt(call_count, 3 * GATHER_BLOCKS);
    for (uint64_t block = 0; block < GATHER_BLOCKS; block++) {
        expect_block(block, block % 2 == 0 ? 4000 : GATHER_BLOCK_BYTES - GATHER_END_BYTES);
    }
}

Test(store_gather, an_error_ends_it_and_nothing_of_it_is_tried_again)
{
    struct gather gather = {0};

    errors[0] = ENOSPC;
    add(&gather, 0, 10);
    cr_expect_eq(gather_write(&gather, fd), ENOSPC);
    cr_expect_eq(gather_write(&gather, fd), 0);
    cr_expect_eq(call_count, 1);
    most_bytes = -1;
    add(&gather, 0, 10);
    cr_expect_eq(gather_write(&gather, fd), EIO, "a call that does nothing, and does not say why");
    cr_expect_eq(call_count, 2);
}
