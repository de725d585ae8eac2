/* test_store_start.c: a store of more pages than an open looks at: it serves at once, and stores once all were looked
 * at. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_dir_fixture.h"

enum { SIZE = 16 * 1024 * 1024, PAGE = 4096, COUNT = 4000, AT_FLAGS = 10, AT_LOWER = 12, LEAF = 2 };

static struct support_object objects[COUNT];

static void fill(struct store *store)
{
    for (unsigned i = 0; i < COUNT; i += SUPPORT_MANY) {
        cr_assert_eq(support_put_many(store, objects + i, COUNT - i < SUPPORT_MANY ? COUNT - i : SUPPORT_MANY), ERR_OK);
    }
}

static void setup(void)
{
    dir_begin();
    for (unsigned i = 0; i < COUNT; i++) {
        objects[i] = (struct support_object){.number = i, .body_len = 300};
    }
    struct store *store = support_open(dir, SIZE);
    fill(store);
    store_close(store);
}

TestSuite(store_start, .init = setup, .fini = dir_end);

static void use_and_die(void)
{
    pid_t child = fork();

    cr_assert_geq(child, 0);
    if (child == 0) {
        (void)support_open(dir, SIZE);
        (void)kill(getpid(), SIGKILL);
    }
    cr_assert_eq(waitpid(child, NULL, 0), child);
}

static void expect_served(struct store *store)
{
    struct store_reader *reader = store_reader_create(store);
    unsigned version;

    arena_reset(&arena);
    cr_expect_eq(support_check(reader, store, COUNT / 2, NULL, &arena, &version), SUPPORT_GOOD);
    store_reader_destroy(reader);
}

Test(store_start, after_a_kill_it_serves_before_its_pages_were_looked_at)
{
    use_and_die();
    struct store *store = support_open(dir, SIZE);
    cr_expect_not(store_pages_checked(store));
    expect_served(store);
    cr_expect_eq(store_check_pages(store), ERR_OK);
    cr_expect(store_pages_checked(store));
    store_close(store);
    store = support_open(dir, SIZE);
    cr_expect(store_pages_checked(store), "closed by a process that had looked at them, and not changed since");
    store_close(store);
}

Test(store_start, what_is_written_first_has_them_looked_at)
{
    struct support_object object = {.number = COUNT, .body_len = 10};

    use_and_die();
    struct store *store = support_open(dir, SIZE);
    cr_expect_not(store_pages_checked(store));
    cr_expect_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    cr_expect(store_pages_checked(store));
    store_close(store);
}

Test(store_start, a_process_that_did_not_look_at_them_leaves_that_to_the_next)
{
    use_and_die();
    store_close(support_open(dir, SIZE));
    struct store *store = support_open(dir, SIZE);
    cr_expect_not(store_pages_checked(store));
    store_close(store);
}

static void expect_cancelled(struct store *store)
{
    struct support_object object = {.number = COUNT, .body_len = 10};

    store_cancel_check(store);
    cr_expect_eq(support_put(store, &object, NULL, NULL), ERR_IO);
    cr_expect_not(store_failed(store));
    cr_expect_not(store_disk_refuses(store));
    cr_expect_not(store_pages_checked(store));
    expect_served(store);
}

/* An upgrade that failed. */
Test(store_start, a_process_that_does_not_stop_after_all_looks_at_them)
{
    struct support_object object = {.number = COUNT, .body_len = 10};

    use_and_die();
    struct store *store = support_open(dir, SIZE);
    expect_cancelled(store);
    store_allow_check(store);
    cr_expect_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    cr_expect(store_pages_checked(store));
    store_close(store);
}

Test(store_start, a_process_that_stops_waits_for_no_look_at_them)
{
    use_and_die();
    struct store *store = support_open(dir, SIZE);
    expect_cancelled(store);
    store_close(store);
    cr_assert_eq(support_try_open(dir, SIZE, &store, &note), ERR_OK);
    cr_expect_eq(note.len, 0, "nothing is lost");
    expect_served(store);
    store_close(store);
}

/* Every leaf of many rows: the index's. The open itself reads only roots, and those of few rows. In place, and so late
 * that the kernel's clock shows it. */
static void damage_leaves(void)
{
    enum { HEADER = 16, ROW_OFFSET = 2, MANY = 16 };
    unsigned char page[PAGE];
    struct stat before;
    struct stat after;
    unsigned damaged = 0;
    int fd = open(data_path, O_RDWR);

    cr_assert_geq(fd, 0);
    cr_assert_eq(fstat(fd, &before), 0);
    do {
        for (off_t at = 0; pread(fd, page, PAGE, at) == PAGE; at += PAGE) {
            unsigned lower = page[AT_LOWER] | (unsigned)page[AT_LOWER + 1] << 8;
            if (page[AT_FLAGS] == LEAF && lower >= HEADER + MANY * ROW_OFFSET) {
                page[AT_LOWER] = (unsigned char)(lower | 1); /* odd: no page's rows end there */
                cr_assert_eq(pwrite(fd, page, PAGE, at), PAGE);
                damaged++;
            }
        }
        cr_assert_gt(damaged, 0);
        cr_assert_eq(fstat(fd, &after), 0);
    } while (after.st_ctim.tv_sec == before.st_ctim.tv_sec && after.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
    close(fd);
}

Test(store_start, damage_is_found_before_the_first_change)
{
    static const bool killed[] = {false, true};
    struct support_object object = {.number = COUNT, .body_len = 10};

    for (size_t i = 0; i < ARRAY_LEN(killed); i++) {
        if (killed[i]) {
            use_and_die();
        }
        damage_leaves();
        struct store *store = support_open(dir, SIZE);
        cr_expect_not(store_pages_checked(store));
        cr_expect_eq(support_put(store, &object, NULL, NULL), ERR_IO);
        cr_expect(store_failed(store));
        store_close(store);
        buf_clear(&note);
        cr_assert_eq(support_try_open(dir, SIZE, &store, &note), ERR_OK);
        cr_expect_gt(note.len, 0, "it is set aside");
        fill(store);
        store_close(store);
    }
}
