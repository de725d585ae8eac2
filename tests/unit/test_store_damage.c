/* test_store_damage.c: damage in LMDB's own pages, unclean stops, a smaller limit. Never a crash, never a wrong byte.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store_dir_fixture.h"
#include "store_files.h"

enum { SIZE = 16 * 1024 * 1024, PAGE = 4096, SMALL = 400, LARGE = 30, NUMBERS = SMALL + LARGE };

static char marker_path[SUPPORT_PATH_BYTES + 16];

static void setup(void)
{
    dir_begin();
    (void)snprintf(marker_path, sizeof(marker_path), "%s/marker", dir);
}

TestSuite(store_damage, .init = setup, .fini = dir_end);

static struct support_object object_of(unsigned number)
{
    return (struct support_object){.number = number, .body_len = number < SMALL ? 100 + number * 5 : 60000};
}

static struct support_object small[SMALL];

/* Trees of several levels, a free list, rows that are deleted again. */
static void fill(void)
{
    struct store *store = support_open(dir, SIZE);

    for (unsigned i = 0; i < SMALL; i++) {
        small[i] = object_of(i);
    }
    cr_assert_eq(support_put_many(store, small, SMALL), ERR_OK);
    for (unsigned i = SMALL; i < NUMBERS; i++) {
        struct support_object object = object_of(i);
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    }
    for (unsigned i = 0; i < NUMBERS; i += 7) {
        cr_assert_eq(support_remove(store, i), ERR_OK);
    }
    cr_assert_eq(support_settle(store), ERR_OK);
    store_close(store);
}

/* Damages pages of the trees (and now and then the header of any page) in one of many ways. */
static void damage(unsigned char *bytes, size_t pages, uint64_t *seed)
{
    unsigned spots = 1 + (unsigned)(support_random(seed) % 6);

    while (spots > 0) {
        size_t number = support_random(seed) % 16 == 0 ? support_random(seed) % 2 : support_random(seed) % pages;
        unsigned char *page = bytes + number * PAGE;
        bool in_tree = page[10] == 1 || page[10] == 2 || page[10] == 8;
        size_t at = support_random(seed) % PAGE;
        unsigned char *other = bytes + support_random(seed) % pages * PAGE;

        if (!in_tree && support_random(seed) % 30 != 0) {
            continue; /* pieces have tests of their own */
        }
        spots--;
        switch (support_random(seed) % 7) {
        case 0: /* a bit, anywhere */
            page[at] ^= (unsigned char)(1u << support_random(seed) % 8);
            break;
        case 1: /* the header */
            page[support_random(seed) % 16] = (unsigned char)support_random(seed);
            break;
        case 2: /* an offset of a node, or what a meta page says */
            page[16 + support_random(seed) % 140] = (unsigned char)support_random(seed);
            break;
        case 3: /* a node's header */
            page[PAGE - 1 - support_random(seed) % 200] ^= (unsigned char)support_random(seed);
            break;
        case 4:
            memset(page + at, (int)(support_random(seed) % 2) * 255, (PAGE - at) / (1 + support_random(seed) % 8));
            break;
        case 5: /* another page in its place: whole, in another tree, or from another time */
            memmove(page, other, PAGE);
            break;
        case 6: /* the same, with the right number */
            memmove(page + 8, other + 8, PAGE - 8);
            break;
        }
    }
}

enum child_end { END_GOOD = 0, END_WRONG = 3, END_NOT_OPENED = 4 };

/* Everything a process does with a store. With `live` the damage happens under it, and it reads only: what changes
 * while it runs is not looked at before it is written to. */
_Noreturn static void use_store(const unsigned char *live, size_t live_bytes)
{
    struct store *store = NULL;
    enum child_end end = END_GOOD;

    if (support_try_open(dir, SIZE, &store, &note) != ERR_OK) {
        fprintf(stderr, "%.*s\n", SPAN_ARG(buf_span(&note)));
        _exit(END_NOT_OPENED);
    }
    struct store_reader *reader = store_reader_create(store);
    REQUIRE(reader != NULL);
    if (live != NULL) {
        file_write(data_path, 0, live, live_bytes);
    }
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < NUMBERS; i++) {
            unsigned version;
            arena_reset(&arena);
            end = support_check(reader, store, i, NULL, &arena, &version) == SUPPORT_WRONG ? END_WRONG : end;
        }
        if (live == NULL) {
            (void)support_put_many(store, &small[round * SMALL / 2], SMALL / 2); /* may fail */
        }
        for (unsigned i = round; i < NUMBERS && live == NULL; i += 41) {
            struct support_object object = object_of(i);
            (void)(i % 2 == 0 ? support_remove(store, i) : support_put(store, &object, NULL, NULL)); /* may fail */
        }
    }
    store_reader_destroy(reader);
    store_close(store);
    _exit((int)end);
}

static void expect_good_end(pid_t child, unsigned variation)
{
    int status;

    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status), "variation %u died of signal %d", variation, WTERMSIG(status));
    cr_expect_eq(WEXITSTATUS(status), END_GOOD, "variation %u: %d", variation, WEXITSTATUS(status));
}

static bool is_in_marker(const char *word)
{
    size_t len;
    unsigned char *marker = file_read(marker_path, &len);
    bool is = len > strlen(word) && memcmp(marker, word, strlen(word)) == 0;

    free(marker);
    return is;
}

/* The process found the damage while it used the store. */
static bool was_noticed(void)
{
    return is_in_marker("damaged");
}

static void damage_in_many_ways(unsigned variations, uint64_t seed, bool live)
{
    unsigned failed = 0;
    size_t bytes;

    fill();
    unsigned char *good = file_read(data_path, &bytes);
    while (bytes > PAGE && good[bytes - PAGE + 10] == 0 && good[bytes - PAGE + 12] == 0) {
        bytes -= PAGE; /* never written */
    }
    unsigned char *bad = malloc(bytes);
    cr_assert_not_null(bad);
    for (unsigned i = 0; i < variations; i++) {
        memcpy(bad, good, bytes);
        damage(bad, bytes / PAGE, &seed);
        (void)unlink(data_path); /* it may have been set aside */
        file_write(data_path, 0, live ? good : bad, bytes);
        cr_assert_eq(truncate(data_path, SIZE), 0);
        file_write(marker_path, 0, i % 3 == 0 ? "running 0 00000000000\n" : "stopped 0 00000000000\n", 22);
        pid_t child = fork();
        cr_assert_geq(child, 0);
        if (child == 0) {
            use_store(live ? bad : NULL, bytes);
        }
        expect_good_end(child, i);
        failed += was_noticed();
    }
    cr_expect(!live || failed > variations / 4, "only %u of %u were noticed", failed, variations);
    free(good);
    free(bad);
}

Test(store_damage, trees_damaged_before_the_open)
{
    damage_in_many_ways(400, 1, false);
}

Test(store_damage, trees_damaged_under_a_reader)
{
    damage_in_many_ways(200, 2, true);
}

/* ---- the guard ---- */

Test(store_damage, a_file_cut_under_the_store_costs_the_store_only)
{
    struct support_object object = object_of(NUMBERS);
    struct stored stored;

    fill();
    struct store *store = support_open(dir, SIZE);
    struct store_reader *reader = store_reader_create(store);
    cr_assert_eq(truncate(data_path, 8192), 0);
    cr_expect_eq(support_find(reader, store, 1, NULL, &arena, &stored), STORE_ABSENT);
    cr_expect(store_failed(store));
    cr_expect_eq(support_put(store, &object, NULL, NULL), ERR_IO);
    cr_expect_not(store_wants_apply(store));
    struct store_reader *late = store_reader_create(store);
    cr_assert_not_null(late);
    cr_expect_eq(support_find(late, store, 1, NULL, &arena, &stored), STORE_ABSENT);
    store_reader_destroy(late);
    store_reader_destroy(reader);
    store_close(store);
    cr_assert_eq(truncate(data_path, SIZE), 0);
    cr_assert_eq(support_try_open(dir, SIZE, &store, &note), ERR_OK);
    cr_expect_gt(note.len, 0, "the next open sets it aside");
    cr_expect_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    store_close(store);
}

Test(store_damage, a_file_cut_under_the_writer_costs_the_store_only)
{
    struct support_object object = object_of(NUMBERS);

    fill();
    struct store *store = support_open(dir, SIZE);
    cr_assert_eq(truncate(data_path, 8192), 0);
    cr_expect_eq(support_put(store, &object, NULL, NULL), ERR_IO);
    cr_expect(store_failed(store));
    cr_expect_eq(support_put(store, &object, NULL, NULL), ERR_IO);
    store_close(store);
}

/* Opens the store and ends by `number`, which it sends itself or makes happen. */
static int status_of_a_child_that(bool faults, int number)
{
    int status;
    pid_t child = fork();

    cr_assert_geq(child, 0);
    if (child == 0) {
        struct store *store = support_open(dir, SIZE);
        REQUIRE(store != NULL);
        if (faults) {
            volatile char *none = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            *none = 1;
        }
        (void)raise(number);
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    return status;
}

/* AddressSanitizer reports a fault and ends in its own way. */
static bool under_sanitizer(void)
{
#ifdef __SANITIZE_ADDRESS__
    return true;
#else
    return false;
#endif
}

Test(store_damage, a_fault_elsewhere_ends_the_process)
{
    static const struct {
        const char *name;
        bool faults;
        int number;
    } cases[] = {
        {"a fault", true, SIGSEGV}, {"sent SIGSEGV", false, SIGSEGV}, {"sent SIGBUS", false, SIGBUS},
        {"abort", false, SIGABRT},  {"a kill", false, SIGKILL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int status = status_of_a_child_that(cases[i].faults, cases[i].number);
        cr_expect(under_sanitizer() || (WIFSIGNALED(status) && WTERMSIG(status) == cases[i].number), "%s",
                  cases[i].name);
        store_close(support_open(dir, SIZE));
    }
}

/* ---- unclean stops ---- */

Test(store_damage, kills_take_nothing_and_cost_little)
{
    struct timespec before;
    struct timespec after;
    unsigned version;

    fill();
    for (unsigned i = 0; i < 5; i++) {
        (void)status_of_a_child_that(false, SIGKILL);
    }
    clock_gettime(CLOCK_MONOTONIC, &before);
    struct store *store = support_open(dir, SIZE);
    clock_gettime(CLOCK_MONOTONIC, &after);
    fprintf(stderr, "open after a kill: %ld us\n",
            (after.tv_sec - before.tv_sec) * 1000000L + (after.tv_nsec - before.tv_nsec) / 1000);
    struct store_reader *reader = store_reader_create(store);
    cr_expect_eq(support_check(reader, store, 1, NULL, &arena, &version), SUPPORT_GOOD);
    store_reader_destroy(reader);
    store_close(store);
}

/* The marker as a crash in the store leaves it, `before` others before it. */
static void note_crash_now(unsigned before)
{
    char line[64];

    int len = snprintf(line, sizeof(line), "crashed %u %011lld\n", before, (long long)time(NULL));
    file_write(marker_path, 0, line, (size_t)len);
}

/* Whatever it was, it was not the store: it is kept, however often that happens. */
Test(store_damage, crashes_outside_the_store_keep_it)
{
    struct store *store = NULL;

    fill();
    for (unsigned i = 0; i < 3; i++) {
        (void)status_of_a_child_that(i == 2, i == 1 ? SIGABRT : SIGSEGV);
        cr_expect(is_in_marker("running"), "%u", i);
    }
    cr_assert_eq(support_try_open(dir, SIZE, &store, &note), ERR_OK);
    cr_expect_eq(note.len, 0, "%.*s", SPAN_ARG(buf_span(&note)));
    struct store_reader *reader = store_reader_create(store);
    unsigned version;
    cr_expect_eq(support_check(reader, store, 1, NULL, &arena, &version), SUPPORT_GOOD);
    store_reader_destroy(reader);
    store_close(store);
}

Test(store_damage, two_crashes_soon_after_the_start_set_it_aside)
{
    struct store *store = NULL;

    fill();
    note_crash_now(1);
    cr_assert_eq(support_try_open(dir, SIZE, &store, &note), ERR_OK);
    buf_add_byte(&note, 0);
    cr_expect_not_null(strstr(note.data, "two crashes"), "%s", note.data);
    store_close(store);
    buf_clear(&note);
    cr_assert_eq(support_try_open(dir, SIZE, &store, &note), ERR_OK);
    cr_expect_eq(note.len, 0, "once");
    store_close(store);
}

/* What is stored is kept with this marker of a crash, and nothing is said. */
static void expect_kept_after(const char marker[static 22])
{
    struct store *store = NULL;

    fill();
    file_write(marker_path, 0, marker, 22);
    cr_assert_eq(support_try_open(dir, SIZE, &store, &note), ERR_OK);
    cr_expect_eq(note.len, 0);
    store_close(store);
}

Test(store_damage, crashes_long_after_the_start_keep_it)
{
    expect_kept_after("crashed 1 00000000100\n");
}

Test(store_damage, a_marker_that_makes_no_sense_is_an_unclean_stop)
{
    expect_kept_after("\0\0\0\0 x y\n..............");
}

/* ---- a smaller limit ---- */

Test(store_damage, a_smaller_limit_keeps_what_fits)
{
    enum { COUNT = 60, BODY = 500000 };
    unsigned good = 0;
    struct stat status;
    struct timespec before;
    struct timespec after;
    struct store *store = support_open(dir, 4 * (uint64_t)SIZE);

    for (unsigned i = 0; i < COUNT; i++) {
        struct support_object object = {.number = i, .body_len = BODY};
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    }
    store_close(store);
    clock_gettime(CLOCK_MONOTONIC, &before);
    cr_assert_eq(support_try_open(dir, SIZE, &store, &note), ERR_OK);
    clock_gettime(CLOCK_MONOTONIC, &after);
    fprintf(stderr, "shrink: %ld us\n",
            (after.tv_sec - before.tv_sec) * 1000000L + (after.tv_nsec - before.tv_nsec) / 1000);
    cr_expect_eq(note.len, 0, "%.*s", SPAN_ARG(buf_span(&note)));
    cr_assert_eq(stat(data_path, &status), 0);
    cr_expect_leq(status.st_size, SIZE);
    struct store_reader *reader = store_reader_create(store);
    for (unsigned i = 0; i < COUNT; i++) {
        unsigned version;
        arena_reset(&arena);
        enum support_outcome outcome = support_check(reader, store, i, NULL, &arena, &version);
        cr_expect(outcome == SUPPORT_ABSENT || outcome == SUPPORT_GOOD, "object %u", i);
        good += outcome == SUPPORT_GOOD;
    }
    cr_expect_gt(good, 20, "%u are left", good);
    struct support_object object = {.number = 1000, .body_len = BODY};
    cr_expect_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    store_reader_destroy(reader);
    store_close(store);
}

/* Killed at any moment of it: the next open goes on, and nothing wrong is served. */
Test(store_damage, a_shrink_can_be_killed)
{
    struct store *store = NULL;

    for (unsigned i = 0; i < 12; i++) {
        store = support_open(dir, 4 * (uint64_t)SIZE);
        for (unsigned n = 0; n < 60; n++) {
            struct support_object object = {.number = n, .version = i, .body_len = 500000};
            cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
        }
        store_close(store);
        pid_t child = fork();
        cr_assert_geq(child, 0);
        if (child == 0) {
            store_close(support_open(dir, SIZE));
            _exit(0);
        }
        usleep(10000 + i * 15000);
        kill(child, SIGKILL);
        cr_assert_eq(waitpid(child, NULL, 0), child);
        buf_clear(&note);
        cr_assert_eq(support_try_open(dir, SIZE, &store, &note), ERR_OK);
        cr_expect_eq(note.len, 0, "%.*s", SPAN_ARG(buf_span(&note)));
        struct store_reader *reader = store_reader_create(store);
        unsigned version = 0;
        arena_reset(&arena);
        cr_expect_eq(support_check(reader, store, 59, NULL, &arena, &version), SUPPORT_GOOD);
        cr_expect_eq(version, i);
        store_reader_destroy(reader);
        store_close(store);
    }
}
