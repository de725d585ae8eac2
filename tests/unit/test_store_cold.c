/* test_store_cold.c: look-ups whose pages are not in memory. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "store_dir_fixture.h"

enum { SIZE = 16 * 1024 * 1024, COUNT = 3000, CHUNK = 1000 };

static struct support_object objects[COUNT];

/* Small ones of one leaf's node, of a page, and of several. */
static size_t body_len(unsigned number)
{
    static const size_t lengths[] = {100, 3000, 9000, 0};

    return number % 10 == 0 ? lengths[number / 10 % ARRAY_LEN(lengths)] : 40;
}

static void setup(void)
{
    dir_begin();
    struct store *store = support_open(dir, SIZE);
    for (unsigned i = 0; i < COUNT; i++) {
        objects[i] = (struct support_object){.number = i, .body_len = body_len(i)};
    }
    for (unsigned i = 0; i < COUNT; i += CHUNK) {
        cr_assert_eq(support_put_many(store, objects + i, CHUNK), ERR_OK);
    }
    store_close(store);
}

TestSuite(store_cold, .init = setup, .fini = dir_end);

/* As after a restart of the machine. */
static void forget_pages(void)
{
    int fd = open(data_path, O_RDWR);

    cr_assert_geq(fd, 0);
    cr_assert_eq(fdatasync(fd), 0);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

/* What lies in memory only stays there. */
static bool can_forget(void)
{
    enum { TMPFS = 0x01021994 };
    struct statfs status;

    return statfs(dir, &status) == 0 && status.f_type != TMPFS;
}

static bool is_cold(struct store *store, struct store_reader *reader, unsigned number)
{
    arena_reset(&arena);
    return store_find_is_cold(reader, support_key(store, number, &arena).hash);
}

static void warm(struct store *store, unsigned number)
{
    arena_reset(&arena);
    store_warm_find(store, support_key(store, number, &arena).hash);
}

static uint64_t cold_finds(struct store *store)
{
    struct store_stats stats;

    store_stats_of(store, &stats);
    return stats.cold_finds;
}

/* All of them, some of which were cold: how many. */
static unsigned look_at_all(void)
{
    unsigned cold = 0;
    unsigned version;

    forget_pages();
    struct store *store = support_open(dir, SIZE);
    struct store_reader *reader = store_reader_create(store);
    cr_assert_not_null(reader);
    for (unsigned number = 0; number < COUNT; number += 7) {
        if (is_cold(store, reader, number)) {
            cold++;
            warm(store, number);
        }
        cr_expect_not(is_cold(store, reader, number), "object %u", number);
        arena_reset(&arena);
        cr_expect_eq(support_check(reader, store, number, NULL, &arena, &version), SUPPORT_GOOD, "object %u", number);
    }
    cr_expect_eq(cold_finds(store), cold);
    store_reader_destroy(reader);
    store_close(store);
    return cold;
}

/* The kernel forgets what it likes: most of it, seldom only a few pages. */
Test(store_cold, what_was_warmed_is_not_cold_and_is_found)
{
    enum { ENOUGH = 20, ROUNDS = 50 };
    unsigned cold = 0;

    for (unsigned i = 0; i < ROUNDS && cold < ENOUGH; i++) {
        cold += look_at_all();
    }
    cr_expect(cold >= ENOUGH || !can_forget(), "%u were cold", cold);
}

Test(store_cold, what_is_not_there_is_asked_about_too)
{
    forget_pages();
    struct store *store = support_open(dir, SIZE);
    struct store_reader *reader = store_reader_create(store);
    cr_assert_not_null(reader);
    for (unsigned number = COUNT; number < COUNT + 500; number++) {
        if (is_cold(store, reader, number)) {
            warm(store, number);
        }
        cr_expect_not(is_cold(store, reader, number), "object %u", number);
    }
    store_reader_destroy(reader);
    store_close(store);
}

/* Pages that this process and its children had to wait for. */
static long waits(void)
{
    struct rusage self;
    struct rusage children;

    cr_assert_eq(getrusage(RUSAGE_SELF, &self), 0);
    cr_assert_eq(getrusage(RUSAGE_CHILDREN, &children), 0);
    return self.ru_majflt + children.ru_majflt;
}

/* How often an open waits after an unclean stop, of which nobody has left a note: a child goes there first. */
static long waits_of_an_open(void)
{
    char marker[SUPPORT_PATH_BYTES + 16];

    (void)snprintf(marker, sizeof(marker), "%s/marker", dir);
    cr_assert_eq(unlink(marker), 0);
    forget_pages();
    long before = waits();
    struct store *store = support_open(dir, SIZE);
    long count = waits() - before;
    store_close(store);
    return count;
}

/* The least of some: a machine that is short of memory takes the program's own pages, which only adds to them. */
Test(store_cold, an_open_waits_for_the_disk_once_a_level_and_not_for_each_page)
{
    enum { MOST = 4, OPENS = 10 }; /* nine waits, when each page was read as it was met */
    long least = waits_of_an_open();

    for (unsigned i = 1; i < OPENS && least > MOST; i++) {
        long count = waits_of_an_open();
        least = count < least ? count : least;
    }
    cr_expect_leq(least, MOST, "%ld", least);
}

/* In an empty store, of several variants, of one that has failed. */
Test(store_cold, there_need_not_be_anything)
{
    static const char *const variants[] = {"a", "b", "c", "d", "e", "f"};
    char empty[SUPPORT_PATH_BYTES];
    unsigned version;

    support_dir_make(empty);
    struct store *store = support_open(empty, SIZE);
    struct store_reader *reader = store_reader_create(store);
    cr_assert_not_null(reader);
    cr_expect_not(is_cold(store, reader, 1));
    warm(store, 1);
    for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
        struct support_object object = {.number = 1, .variant = variants[i], .body_len = 5000};
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    }
    cr_expect_not(is_cold(store, reader, 1), "written a moment ago");
    warm(store, 1);
    arena_reset(&arena);
    cr_expect_eq(support_check(reader, store, 1, "f", &arena, &version), SUPPORT_GOOD);
    store_give_up(store);
    cr_expect_not(is_cold(store, reader, 1));
    warm(store, 1);
    store_reader_destroy(reader);
    store_close(store);
    support_dir_remove(empty);
}
