/* test_store_border.c: the border between LMDB's file and the body file follows the load; the size is obeyed on the
 * disk all the while, nothing that is found is wrong, and what the figures say is what is there: also after kills. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "recount.h"
#include "store_fixture.h"

#define MIB  ((uint64_t)1 << 20)
#define SIZE (128 * MIB)

enum { SMALL = 6000, LARGE = 400 * 1000, RUN = 100, PAGE = 4096, SLACK_PERCENT = 1, KILLS = 12, NUMBERS = 20000 };

static void setup(void)
{
    fixture_begin(SIZE);
}

TestSuite(store_border, .init = setup, .fini = fixture_end);

/* Stores `bytes` of objects of one length, and looks at the files after every batch. Returns the next number. */
static unsigned flood(unsigned first, size_t body_len, uint64_t bytes)
{
    size_t count = body_len < LARGE ? RUN : 2;
    unsigned number = first;

    for (uint64_t stored = 0; stored < bytes; stored += count * body_len) {
        struct support_object objects[RUN];
        for (unsigned i = 0; i < count; i++, number++) {
            objects[i] = (struct support_object){.number = number, .version = 1, .body_len = body_len};
        }
        cr_assert_eq(support_put_many(store, objects, count), ERR_OK, "object %u", number);
        struct store_stats stats = stats_now();
        cr_assert_leq(stats.size_bytes + stats.body_size_bytes, SIZE);
        cr_assert_leq(support_disk_bytes(dir), SIZE / 100 * (100 + SLACK_PERCENT), "object %u", number);
    }
    return number;
}

static void expect_recount(void)
{
    struct store_stats stats = stats_now();
    struct recount recount;
    struct buf why;

    buf_init(&why, 1024);
    close_store();
    bool agrees = recount_dir(dir, &recount, &why);
    cr_assert(agrees, "%.*s", SPAN_ARG(buf_span(&why)));
    cr_expect_eq(recount.objects, stats.objects);
    cr_expect_eq(recount.used_pages * PAGE, stats.used_bytes);
    cr_expect_eq(recount.used_blocks * PAGE, stats.body_used_bytes);
    cr_expect_eq(recount.pending_bodies, stats.reclaim_bodies);
    buf_finish(&why);
    open_store(SIZE);
}

/* What is found is right, and as many are as the figures say. */
static void expect_found(unsigned numbers)
{
    unsigned found = 0;

    for (unsigned i = 0; i < numbers; i++) {
        enum support_outcome outcome = check(i);
        cr_assert(outcome == SUPPORT_GOOD || outcome == SUPPORT_ABSENT, "object %u", i);
        found += outcome == SUPPORT_GOOD;
    }
    cr_expect_eq(found, stats_now().objects);
    cr_expect_eq(check(numbers - 1), SUPPORT_GOOD);
}

Test(store_border, small_objects_get_most_of_the_size)
{
    uint64_t before = stats_now().size_bytes;
    unsigned number = flood(0, SMALL, 2 * SIZE);

    cr_expect_lt(before, SIZE / 4);
    cr_expect_gt(stats_now().size_bytes, SIZE / 100 * 80);
    cr_expect_gt(stats_now().objects * SMALL, SIZE / 100 * 50, "%llu objects", (unsigned long long)stats_now().objects);
    expect_found(number);
    expect_recount();
}

Test(store_border, large_objects_get_what_lmdb_never_used)
{
    uint64_t before = stats_now().body_size_bytes;
    unsigned number = flood(0, LARGE, 2 * SIZE);

    cr_expect_gt(stats_now().body_size_bytes, before);
    cr_expect_gt(stats_now().objects * LARGE, SIZE / 100 * 75);
    expect_found(number);
    expect_recount();
}

Test(store_border, floods_that_change_their_mind)
{
    unsigned number = flood(0, LARGE, SIZE + SIZE / 2);

    for (unsigned i = 0; i < 2; i++) {
        number = flood(number, SMALL, SIZE);
        number = flood(number, LARGE, SIZE);
        number = flood(number, 30 * 1000, SIZE / 2);
    }
    expect_found(number);
    expect_recount();
}

Test(store_border, it_stays_over_a_restart)
{
    (void)flood(0, SMALL, SIZE);
    cr_assert_eq(support_settle(store), ERR_OK);
    struct store_stats before = stats_now();
    close_store();
    open_store(SIZE);
    struct store_stats after = stats_now();
    cr_expect_eq(after.size_bytes, before.size_bytes);
    cr_expect_eq(after.body_size_bytes, before.body_size_bytes);
    cr_expect_eq(after.objects, before.objects);
    close_store();
    open_store(2 * SIZE);
    cr_expect_eq(stats_now().size_bytes + stats_now().body_size_bytes, 2 * SIZE);
    cr_expect_eq(stats_now().objects, before.objects);
    close_store();
    open_store(SIZE);
    cr_expect_gt(stats_now().objects, before.objects / 4);
    cr_expect_leq(support_disk_bytes(dir), SIZE / 100 * (100 + SLACK_PERCENT));
}

/* The last step of the body file holds something that is being sent: LMDB's file waits for it. */
Test(store_border, what_is_pinned_behind_it_is_waited_for)
{
    unsigned number = flood(0, LARGE, SIZE + SIZE / 2);
    struct stored *pinned = calloc(number, sizeof(*pinned));
    struct arena *arenas = calloc(number, sizeof(*arenas));
    unsigned version;
    enum err error;

    cr_assert(pinned != NULL && arenas != NULL);
    for (unsigned i = 0; i < number; i++) {
        arena_init(&arenas[i], SUPPORT_ARENA_BYTES);
        if (support_find(reader, store, i, NULL, &arenas[i], &pinned[i]) != STORE_FOUND) {
            pinned[i].pinned = false;
        }
    }
    uint64_t length = stats_now().body_size_bytes;
    unsigned last = flood(number, SMALL, SIZE / 2);
    cr_expect_eq(stats_now().body_size_bytes, length, "all of it is pinned");
    for (unsigned i = 0; i < number; i++) {
        if (pinned[i].pinned) {
            cr_expect(support_verify(reader, &pinned[i], i, &version, &error), "object %u", i);
            cr_expect_eq(error, ERR_OK, "object %u", i);
            store_unpin_stored(store, &pinned[i].record);
        }
        arena_finish(&arenas[i]);
    }
    last = flood(last, SMALL, SIZE);
    cr_expect_lt(stats_now().body_size_bytes, length);
    expect_found(last);
    expect_recount();
    free(pinned);
    free(arenas);
}

/* What either file has grown to, the body file keeps an eighth, less three batches of a 64th. */
Test(store_border, a_body_of_five_64ths_fits_after_any_flood)
{
    unsigned number = flood(0, SMALL, 2 * SIZE);
    struct support_object large = {.number = number, .version = 1, .body_len = SIZE / 64 * 5 / 4096 * 4072};

    cr_assert_lt(stats_now().body_size_bytes, SIZE / 7);
    for (unsigned i = 0; i < 3; i++, large.number++) {
        cr_expect_eq(support_put(store, &large, NULL, NULL), ERR_OK);
        cr_expect_eq(check(large.number), SUPPORT_GOOD);
    }
    large.body_len = SIZE / 6;
    cr_expect_eq(support_put(store, &large, NULL, NULL), ERR_NO_SPACE);
    large.body_len = LARGE;
    cr_expect_eq(support_put(store, &large, NULL, NULL), ERR_OK, "what was begun has left its blocks");
    cr_expect_eq(support_settle(store), ERR_OK);
    cr_expect_leq(support_disk_bytes(dir), SIZE / 100 * (100 + SLACK_PERCENT));
}

/* ---- kills ---- */

/* Small objects, now and then large ones, into a body file that is full. */
static void run_child(uint64_t seed, int pipe_fd)
{
    struct store *mine = support_open(dir, SIZE);

    for (unsigned first = (unsigned)(support_random(&seed) % NUMBERS);; first += RUN) {
        struct support_object objects[RUN];
        bool small = first / RUN % 8 != 0;
        size_t count = small ? RUN : 2;
        for (unsigned i = 0; i < count; i++) {
            objects[i] = (struct support_object){.number = (first + i) % NUMBERS,
                                                 .version = (unsigned)(support_random(&seed) & 0xffff),
                                                 .body_len = small ? SMALL : LARGE};
        }
        REQUIRE(support_put_many(mine, objects, count) == ERR_OK);
        REQUIRE(write(pipe_fd, "", 1) == 1);
    }
}

static void kill_a_child(uint64_t seed)
{
    int ends[2];
    char byte;

    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        close(ends[0]);
        run_child(seed, ends[1]);
    }
    close(ends[1]);
    unsigned batches = 40 + (unsigned)(support_random(&seed) % 60);
    for (unsigned i = 0; i < batches && read(ends[0], &byte, 1) == 1; i++) {
    }
    usleep((useconds_t)(support_random(&seed) % 20000));
    kill(child, SIGKILL);
    close(ends[0]);
    cr_assert_eq(waitpid(child, NULL, 0), child);
}

static bool disk_is_full;
static bool cuts_fail;

/* In place of libc's, as the next. */
int posix_fallocate(int fd, off_t offset, off_t len)
{
    return disk_is_full ? ENOSPC : syscall(SYS_fallocate, fd, 0, offset, len) == 0 ? 0 : errno;
}

int ftruncate(int fd, off_t length)
{
    if (cuts_fail) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_ftruncate, fd, length);
}

/* LMDB's file gets what the body file gives up only when that is cut; until then both keep to what they had. */
Test(store_border, a_file_that_cannot_be_cut_is_cut_later)
{
    uint64_t length = stats_now().body_size_bytes;

    cuts_fail = true;
    unsigned number = flood(0, SMALL, SIZE / 2);
    cr_expect_eq(stats_now().body_size_bytes, length);
    cuts_fail = false;
    number = flood(number, SMALL, SIZE / 2);
    cr_expect_lt(stats_now().body_size_bytes, length);
    expect_found(number);
    expect_recount();
}

/* The size was raised, and the disk has no room for it: the body file stays at the eighth of the former size that small
 * objects had left it. What it has it must turn over, or no large body would be stored any more. */
Test(store_border, a_larger_size_than_the_disk_has)
{
    const uint64_t had = SIZE / 8;
    char path[SUPPORT_PATH_BYTES + 8];

    close_store();
    snprintf(path, sizeof(path), "%s/bodies", dir);
    cr_assert_eq(truncate(path, (off_t)had), 0);
    disk_is_full = true;
    open_store(32 * SIZE);
    cr_assert_eq(stats_now().body_size_bytes, had);
    for (unsigned number = 0; number < 4 * had / LARGE; number++) {
        struct support_object object = {.number = number, .body_len = LARGE};
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK, "object %u", number);
        cr_assert_eq(check(number), SUPPORT_GOOD, "object %u", number);
    }
}

Test(store_border, killed_while_it_moves)
{
    uint64_t lengths[KILLS];
    unsigned changes = 0;

    (void)flood(0, LARGE, SIZE + SIZE / 4);
    for (unsigned i = 0; i < KILLS; i++) {
        close_store();
        kill_a_child(i * 7919 + 1);
        open_store(SIZE);
        cr_assert_leq(support_disk_bytes(dir), SIZE / 100 * (100 + SLACK_PERCENT), "kill %u", i);
        lengths[i] = stats_now().body_size_bytes;
        changes += i > 0 && lengths[i] != lengths[i - 1];
        cr_assert_eq(support_settle(store), ERR_OK);
        unsigned found = 0;
        for (unsigned number = 0; number < NUMBERS; number++) {
            enum support_outcome outcome = check(number);
            cr_assert(outcome == SUPPORT_GOOD || outcome == SUPPORT_ABSENT, "object %u, kill %u", number, i);
            found += outcome == SUPPORT_GOOD;
        }
        cr_expect_eq(found, stats_now().objects);
        expect_recount();
    }
    cr_expect_gt(changes, 1, "it moved");
}
