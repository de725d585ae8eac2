/* The body file alone: what is written is read, what is not what was asked is never handed out, the size is exact. */
#include "cache/store_bodies.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store_support.h"

enum { BLOCKS = 512, SECRET = 99 };

static char dir[SUPPORT_PATH_BYTES];
static char path[SUPPORT_PATH_BYTES + 16];
static struct bodies *bodies;
static char buffer[BODIES_READ_BLOCKS * BODIES_BLOCK_BYTES];
static struct span pieces[BODIES_READ_BLOCKS];

static uint64_t open_file(uint64_t blocks, uint64_t secret)
{
    struct buf note;
    struct bodies_size size = {.blocks = blocks, .max_blocks = 2 * blocks};
    uint64_t had = 0;

    buf_init(&note, 1024);
    cr_assert_eq(bodies_open(path, &size, secret, &bodies, &had, &note), ERR_OK, "%.*s", SPAN_ARG(buf_span(&note)));
    buf_finish(&note);
    return had;
}

static void setup(void)
{
    support_dir_make(dir);
    snprintf(path, sizeof(path), "%s/bodies", dir);
    cr_assert_eq(open_file(BLOCKS, SECRET), 0);
}

static void teardown(void)
{
    bodies_close(bodies);
    support_dir_remove(dir);
}

TestSuite(store_bodies, .init = setup, .fini = teardown);

static struct body_run run_of(uint64_t body_id, uint64_t number, uint64_t first, uint64_t count)
{
    return (struct body_run){.body_id = body_id, .number = number, .extent = {first, count}};
}

static void write_text(uint64_t body_id, uint64_t number, uint64_t first, size_t len, char letter)
{
    static char text[BLOCKS * BODIES_PAYLOAD_BYTES];
    struct body_run run = run_of(body_id, number, first, (len + BODIES_PAYLOAD_BYTES - 1) / BODIES_PAYLOAD_BYTES);

    for (size_t i = 0; i < len; i++) {
        text[i] = (char)(letter + (char)(i % 23));
    }
    cr_assert_eq(bodies_write(bodies, &run, (struct span){text, len}), 0);
    cr_assert_eq(bodies_sync(bodies), 0);
}

static enum err read_run(struct body_run run, size_t *out_count)
{
    return bodies_read(bodies, &run, BODIES_WAIT, buffer, pieces, out_count);
}

static uint64_t disk_bytes(void)
{
    struct stat status;

    cr_assert_eq(stat(path, &status), 0);
    cr_expect_leq(status.st_blocks * 512, status.st_size + BODIES_BLOCK_BYTES);
    return (uint64_t)status.st_blocks * 512;
}

Test(store_bodies, the_file_is_as_large_as_it_will_ever_be_from_the_start)
{
    cr_expect_geq(disk_bytes(), BLOCKS * BODIES_BLOCK_BYTES);
    bodies_close(bodies);
    cr_expect_eq(open_file(2 * BLOCKS, SECRET), BLOCKS);
    cr_expect_geq(disk_bytes(), 2 * BLOCKS * BODIES_BLOCK_BYTES, "grown");
    bodies_close(bodies);
    cr_expect_eq(open_file(BLOCKS / 2, SECRET), 2 * BLOCKS);
    cr_expect_leq(disk_bytes(), (BLOCKS / 2 + 1) * BODIES_BLOCK_BYTES, "cut");
}

Test(store_bodies, what_is_written_is_read)
{
    size_t count;
    size_t len = 100 * BODIES_PAYLOAD_BYTES + 17;
    uint64_t at = 0;

    write_text(1, 0, 7, len, 'a');
    cr_expect_eq(bodies_sync(bodies), 0);
    cr_expect_eq(bodies_sync(bodies), 0, "nothing to do");
    for (uint64_t block = 0; block < 101; block += count) {
        uint64_t left = 101 - block;
        cr_assert_eq(read_run(run_of(1, block, 7 + block, left < 64 ? left : 64), &count), ERR_OK);
        for (size_t i = 0; i < count; i++) {
            cr_expect_eq(pieces[i].len, block + i == 100 ? 17 : BODIES_PAYLOAD_BYTES);
            for (size_t byte = 0; byte < pieces[i].len; byte++, at++) {
                cr_assert_eq(pieces[i].data[byte], (char)('a' + at % 23));
            }
        }
    }
    cr_expect_eq(at, len);
}

Test(store_bodies, what_is_written_in_one_batch_is_read_as_what_it_was)
{
    static char text[70 * BODIES_PAYLOAD_BYTES];
    const struct body_run runs[] = {run_of(1, 0, 40, 16), run_of(2, 0, 56, 70), run_of(3, 0, 200, 1),
                                    run_of(1, 16, 126, 2)};
    size_t count;

    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        size_t len = (size_t)runs[i].extent.count * BODIES_PAYLOAD_BYTES - i;
        cr_assert_eq(bodies_write(bodies, &runs[i], (struct span){text, len}), 0);
    }
    cr_assert_eq(bodies_sync(bodies), 0);
    for (size_t i = 0; i < ARRAY_LEN(runs); i++) {
        for (uint64_t at = 0; at < runs[i].extent.count; at++) {
            size_t len = BODIES_PAYLOAD_BYTES - (at + 1 == runs[i].extent.count ? i : 0);
            struct body_run block = run_of(runs[i].body_id, runs[i].number + at, runs[i].extent.first + at, 1);
            cr_assert_eq(read_run(block, &count), ERR_OK, "run %zu, block %zu", i, (size_t)at);
            cr_expect(span_equal(pieces[0], (struct span){text, len}));
        }
    }
}

Test(store_bodies, what_is_given_up_does_not_reach_the_next_batch)
{
    struct body_run run = run_of(1, 0, 7, 1);
    size_t count;

    cr_assert_eq(bodies_write(bodies, &run, span_of("given up")), 0);
    bodies_abort(bodies);
    write_text(2, 0, 8, 5, 'a');
    cr_expect_eq(read_run(run, &count), ERR_DAMAGED);
    cr_expect_eq(read_run(run_of(2, 0, 8, 1), &count), ERR_OK);
}

Test(store_bodies, a_block_of_something_else_is_never_handed_out)
{
    size_t count = 0;

    write_text(1, 0, 0, 3 * BODIES_PAYLOAD_BYTES, 'a');
    cr_expect_eq(read_run(run_of(2, 0, 0, 1), &count), ERR_DAMAGED, "another body");
    cr_expect_eq(read_run(run_of(1, 1, 0, 1), &count), ERR_DAMAGED, "another piece");
    cr_expect_eq(read_run(run_of(1, 0, 100, 1), &count), ERR_DAMAGED, "never written");
    cr_expect_eq(read_run(run_of(1, 0, BLOCKS - 1, 2), &count), ERR_DAMAGED, "behind the end");
    cr_expect_eq(read_run(run_of(1, 0, UINT64_MAX, 2), &count), ERR_DAMAGED);
    write_text(2, 0, 1, 1, 'b');
    cr_expect_eq(read_run(run_of(1, 0, 0, 3), &count), ERR_OK, "what comes before is good");
    cr_expect_eq(count, 1);
    cr_expect_eq(read_run(run_of(1, 1, 1, 2), &count), ERR_DAMAGED);
    bodies_close(bodies);
    (void)open_file(BLOCKS, SECRET + 1);
    cr_expect_eq(read_run(run_of(1, 0, 0, 1), &count), ERR_DAMAGED, "of another store");
}

Test(store_bodies, every_changed_byte_of_a_block_is_noticed)
{
    size_t count;
    char byte;
    int fd = open(path, O_RDWR);

    cr_assert_geq(fd, 0);
    write_text(1, 0, 0, 10, 'a');
    for (off_t at = 0; at < BODIES_BLOCK_BYTES; at += 7) {
        cr_assert_eq(pread(fd, &byte, 1, at), 1);
        byte ^= 1;
        cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
        cr_expect_eq(read_run(run_of(1, 0, 0, 1), &count), ERR_DAMAGED, "byte %lld", (long long)at);
        byte ^= 1;
        cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    }
    cr_expect_eq(read_run(run_of(1, 0, 0, 1), &count), ERR_OK);
    close(fd);
}

Test(store_bodies, what_is_not_in_memory_is_cold_until_it_was_warmed)
{
    struct body_run run = run_of(1, 0, 0, 64);
    size_t count;
    int fd = open(path, O_RDWR);

    cr_assert_geq(fd, 0);
    write_text(1, 0, 0, 64 * BODIES_PAYLOAD_BYTES, 'a');
    cr_expect_eq(bodies_sync(bodies), 0);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    /* A file system without a page cache of its own (tmpfs), or that cannot tell, answers otherwise. */
    enum err error = bodies_read(bodies, &run, BODIES_NOW, buffer, pieces, &count);
    cr_expect(error == ERR_COLD || error == ERR_OK);
    bodies_prefetch(bodies, run.extent);
    bodies_warm(bodies, run.extent);
    error = bodies_read(bodies, &run, BODIES_NOW, buffer, pieces, &count);
    cr_expect(error == ERR_COLD || error == ERR_OK);
    cr_expect_eq(read_run(run, &count), ERR_OK);
    cr_expect_eq(count, 64);
}

static size_t view(uint64_t body_id, uint64_t number, uint64_t first, uint64_t count)
{
    struct body_run run = run_of(body_id, number, first, count);

    return bodies_view(bodies, &run, true, pieces);
}

Test(store_bodies, what_was_checked_once_is_seen_without_a_copy)
{
    size_t count;

    write_text(7, 0, 10, 5 * BODIES_PAYLOAD_BYTES + 100, 'a');
    cr_expect_eq(view(7, 0, 10, 6), 0, "nothing was checked yet");
    cr_assert_eq(read_run(run_of(7, 0, 10, 6), &count), ERR_OK);
    cr_assert_eq(count, 6);
    cr_assert_eq(view(7, 0, 10, 6), 5, "the last one is not full");
    for (size_t i = 0; i < 5; i++) {
        cr_expect_eq(pieces[i].len, BODIES_PAYLOAD_BYTES);
        cr_expect_eq(memcmp(pieces[i].data, buffer + i * BODIES_BLOCK_BYTES, BODIES_PAYLOAD_BYTES), 0, "%zu", i);
    }
    cr_expect_eq(view(7, 2, 12, 2), 2);
}

Test(store_bodies, what_is_seen_is_what_was_asked_for)
{
    size_t count;

    write_text(7, 0, 10, 4 * BODIES_PAYLOAD_BYTES, 'a');
    cr_assert_eq(read_run(run_of(7, 0, 10, 4), &count), ERR_OK);
    cr_expect_eq(view(8, 0, 10, 4), 0, "another body");
    cr_expect_eq(view(7, 1, 10, 4), 0, "another piece");
    cr_expect_eq(view(7, 0, 11, 3), 0, "another place");
    cr_expect_eq(view(7, 0, BLOCKS - 1, 2), 0, "beyond the end");
    write_text(7, 1, 11, BODIES_PAYLOAD_BYTES, 'b');
    cr_expect_eq(view(7, 0, 10, 4), 1, "what was written anew is checked anew");
}

Test(store_bodies, its_length_can_be_changed_while_it_is_open)
{
    struct body_run run = {.body_id = 1, .number = 0, .extent = {BLOCKS, 1}};
    size_t count;

    cr_assert_eq(bodies_resize(bodies, 2 * BLOCKS), 0);
    cr_expect_geq(disk_bytes(), (uint64_t)2 * BLOCKS * BODIES_BLOCK_BYTES, "reserved");
    cr_assert_eq(bodies_write(bodies, &run, span_of("behind the old end")), 0);
    cr_assert_eq(bodies_sync(bodies), 0);
    cr_expect_eq(bodies_read(bodies, &run, BODIES_WAIT, buffer, pieces, &count), ERR_OK);
    cr_assert_eq(bodies_resize(bodies, BLOCKS / 2), 0);
    cr_expect_leq(disk_bytes(), (uint64_t)(BLOCKS / 2 + 1) * BODIES_BLOCK_BYTES);
    cr_expect_eq(bodies_read(bodies, &run, BODIES_WAIT, buffer, pieces, &count), ERR_DAMAGED);
    cr_assert_eq(bodies_resize(bodies, BLOCKS), 0);
}

static bool disk_is_full;
static unsigned refused_cuts; /* the next ones */

/* In place of libc's, as the next: what it could reserve before the disk was full stays reserved. */
int posix_fallocate(int fd, off_t offset, off_t len)
{
    int code = syscall(SYS_fallocate, fd, 0, offset, disk_is_full ? len / 2 : len) == 0 ? 0 : errno;

    return disk_is_full ? ENOSPC : code;
}

int ftruncate(int fd, off_t length)
{
    if (refused_cuts > 0) {
        refused_cuts--;
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_ftruncate, fd, length);
}

Test(store_bodies, what_could_not_be_given_back_is_asked_for_again)
{
    uint64_t before = disk_bytes();

    write_text(7, 0, BLOCKS - 4, 4 * BODIES_PAYLOAD_BYTES, 'a');
    disk_is_full = true;
    refused_cuts = 2;
    cr_assert_eq(bodies_resize(bodies, 2 * BLOCKS), ENOSPC);
    cr_assert_eq(bodies_sync(bodies), 0, "that is no reason to refuse a batch");
    cr_assert_eq(refused_cuts, 0);
    cr_expect_gt(disk_bytes(), before);
    cr_assert_eq(bodies_sync(bodies), 0);
    cr_expect_leq(disk_bytes(), before);
    refused_cuts = 1;
    cr_assert_eq(bodies_sync(bodies), 0);
    cr_expect_eq(refused_cuts, 1, "once it has succeeded it is not asked for");
    size_t count;
    cr_expect_eq(read_run(run_of(7, 0, BLOCKS - 4, 4), &count), ERR_OK);
    refused_cuts = 0;
}

Test(store_bodies, a_file_that_cannot_be_had_is_refused_with_a_word)
{
    struct buf note;
    struct bodies *none = NULL;
    uint64_t had;

    buf_init(&note, 1024);
    struct bodies_size size = {.blocks = 1, .max_blocks = 1};
    cr_expect_eq(bodies_open("/proc/none/bodies", &size, SECRET, &none, &had, &note), ERR_IO);
    cr_expect_gt(note.len, 0);
    note.len = 0;
    size.blocks = size.max_blocks = UINT64_C(1) << 45;
    cr_expect_neq(bodies_open(path, &size, SECRET, &none, &had, &note), ERR_OK, "larger than any disk");
    cr_expect_gt(note.len, 0);
    cr_expect_null(none);
    cr_expect_leq(disk_bytes(), (BLOCKS + 1) * BODIES_BLOCK_BYTES, "what it had got was given back");
    buf_finish(&note);
}
