/* test_store_large.c: large bodies lie in the body file: they come back, its room is found and given back, its size is
 * obeyed, and what happens to the file costs no more than it must. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_fixture.h"

#define MIB  ((uint64_t)1 << 20)
#define SIZE (128 * MIB) /* four fifths of it the body file's at first */

enum { LARGE = 300 * 1000 };

static void setup(void)
{
    fixture_begin(SIZE);
}

TestSuite(store_large, .init = setup, .fini = fixture_end);

static void put(unsigned number, size_t body_len)
{
    struct support_object object = {.number = number, .version = 1, .body_len = body_len};

    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK, "object %u", number);
}

/* Many of them in one batch; returns how many. */
static unsigned put_run(unsigned first, size_t body_len)
{
    struct support_object objects[100];

    for (unsigned i = 0; i < ARRAY_LEN(objects); i++) {
        objects[i] = (struct support_object){.number = first + i, .version = 1, .body_len = body_len};
    }
    cr_assert_eq(support_put_many(store, objects, ARRAY_LEN(objects)), ERR_OK);
    return ARRAY_LEN(objects);
}

static uint64_t size_of(const char *name)
{
    char path[SUPPORT_PATH_BYTES + 32];
    struct stat status;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return stat(path, &status) == 0 ? (uint64_t)status.st_size : 0;
}

/* That the file system gave for them: LMDB's is sparse. */
static uint64_t files_bytes(void)
{
    return support_disk_bytes(dir);
}

/* Every block in use belongs to an object that can be removed. */
static void expect_nothing_lost(unsigned numbers)
{
    for (unsigned i = 0; i < numbers; i++) {
        cr_assert_eq(support_remove(store, i), ERR_OK);
    }
    cr_assert_eq(support_settle(store), ERR_OK);
    cr_expect_eq(stats_now().body_used_bytes, 0);
    cr_expect_eq(stats_now().objects, 0);
}

Test(store_large, bodies_of_all_lengths_come_back)
{
    static const struct {
        const char *name;
        size_t body_len, head_padding;
        bool in_file;
    } cases[] = {
        {"small", 1000, 0, false},
        {"just not large", 15 * 1024, 0, false},
        {"just large", 5 * STORE_PIECE_BYTES, 0, true},
        {"a little more", 5 * STORE_PIECE_BYTES + 1, 0, true},
        {"a head of several pieces", 200 * 1000, 10 * 1000, true},
        {"a head that makes it large", 10 * 1000, 100 * 1000, true},
        {"several batches", 30 * 1000 * 1000, 0, true},
    };

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t used = stats_now().body_used_bytes;
        struct support_object object = {
            .number = i, .version = 3, .body_len = cases[i].body_len, .head_padding = cases[i].head_padding};
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK, "%s", cases[i].name);
        cr_expect_eq(check(i), SUPPORT_GOOD, "%s", cases[i].name);
        cr_expect_eq(stats_now().body_used_bytes > used, cases[i].in_file, "%s", cases[i].name);
    }
    close_store();
    open_store(SIZE);
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(check(i), SUPPORT_GOOD, "%s, after a restart", cases[i].name);
    }
    expect_nothing_lost(ARRAY_LEN(cases));
}

Test(store_large, a_small_store_has_no_body_file)
{
    close_store();
    open_store(SIZE - MIB);
    put(0, LARGE);
    cr_expect_eq(check(0), SUPPORT_GOOD);
    cr_expect_eq(stats_now().body_size_bytes, 0);
    cr_expect_eq(size_of("bodies"), 0);
}

Test(store_large, two_bodies_written_at_once_do_not_mix)
{
    struct support_object objects[] = {{.number = 0, .version = 1, .body_len = 9000000},
                                       {.number = 1, .version = 1, .body_len = 9000000}};

    cr_assert_eq(support_put_both(store, &objects[0], &objects[1]), ERR_OK);
    cr_expect_eq(check(0), SUPPORT_GOOD);
    cr_expect_eq(check(1), SUPPORT_GOOD);
    expect_nothing_lost(2);
}

Test(store_large, churn_stays_within_the_size)
{
    uint64_t random = 5;
    uint64_t stored = 0;
    unsigned number = 0;

    for (; stored < 4 * SIZE; number++) {
        size_t len = 66000 + (size_t)(support_random(&random) % 1500000);
        put(number, len);
        stored += len;
        cr_assert_leq(files_bytes(), SIZE + SIZE / 100);
    }
    cr_expect_gt(stats_now().evictions, 0);
    cr_expect_gt(stats_now().body_used_bytes, SIZE / 100 * 50, "it is used");
    unsigned found = 0;
    for (unsigned i = 0; i < number; i++) {
        enum support_outcome outcome = check(i);
        cr_assert(outcome == SUPPORT_GOOD || outcome == SUPPORT_ABSENT, "object %u", i);
        found += outcome == SUPPORT_GOOD;
    }
    cr_expect_eq(check(number - 1), SUPPORT_GOOD);
    cr_expect_eq(found, stats_now().objects);
    expect_nothing_lost(number);
}

Test(store_large, what_is_visited_stays)
{
    put(0, LARGE);
    for (unsigned i = 1; i < 600; i++) {
        put(i, LARGE);
        cr_assert_eq(check(0), SUPPORT_GOOD, "after %u others", i);
    }
    cr_expect_eq(check(1), SUPPORT_ABSENT);
}

/* Rule 3, the pins. */
Test(store_large, a_pinned_body_stays_readable_whatever_is_stored_meanwhile)
{
    struct stored stored;
    unsigned version;
    enum err error;

    put(0, 3 * LARGE);
    arena_reset(&arena);
    cr_assert_eq(support_find(reader, store, 0, NULL, &arena, &stored), STORE_FOUND);
    cr_assert(stored.pinned);
    cr_assert_eq(support_remove(store, 0), ERR_OK);
    struct arena other = arena; /* `stored` lies in it */
    arena_init(&arena, SUPPORT_ARENA_BYTES);
    for (unsigned i = 1; i < 500; i++) {
        put(i, LARGE);
    }
    cr_expect(support_verify(reader, &stored, 0, &version, &error));
    cr_expect_eq(error, ERR_OK);
    store_unpin(store, stored.record.body_id);
    arena_finish(&other);
    expect_nothing_lost(500);
}

Test(store_large, an_unfinished_body_is_given_back_by_the_next_open)
{
    struct support_object object = {.number = 1, .version = 1, .body_len = 5 * LARGE};
    uint64_t body_id = store_new_body_id(store);

    put(0, LARGE);
    uint64_t used = stats_now().body_used_bytes;
    cr_assert_eq(support_put_pieces(store, &object, body_id), ERR_OK);
    cr_expect_gt(stats_now().body_used_bytes, used);
    close_store();
    open_store(SIZE);
    cr_assert_eq(support_settle(store), ERR_OK);
    cr_expect_eq(stats_now().body_used_bytes, used);
    cr_expect_eq(check(0), SUPPORT_GOOD);
}

Test(store_large, objects_of_20_kb_use_both_files)
{
    unsigned number = 0;

    while ((uint64_t)number * 24 * 1000 < 3 * SIZE) {
        number += put_run(number, 24 * 1000);
    }
    cr_expect_gt(stats_now().used_bytes + stats_now().body_used_bytes, SIZE / 100 * 70);
    cr_expect_eq(check(number - 1), SUPPORT_GOOD);
    cr_expect_eq(check(0), SUPPORT_ABSENT);
}

Test(store_large, the_size_can_be_changed_over_a_restart)
{
    enum { NUMBERS = 350 };
    static const uint64_t sizes[] = {300 * MIB, 200 * MIB, 128 * MIB, 64 * MIB, 300 * MIB, 128 * MIB};
    unsigned before = NUMBERS;

    close_store();
    open_store(300 * MIB);
    for (unsigned i = 0; i < NUMBERS; i++) {
        put(i, LARGE);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        unsigned found = 0;
        close_store();
        open_store(sizes[i]);
        cr_expect_leq(files_bytes(), sizes[i] + sizes[i] / 100, "%llu", (unsigned long long)sizes[i]);
        for (unsigned number = 0; number < NUMBERS; number++) {
            enum support_outcome outcome = check(number);
            cr_assert(outcome == SUPPORT_GOOD || outcome == SUPPORT_ABSENT, "object %u", number);
            found += outcome == SUPPORT_GOOD;
        }
        cr_expect_leq(found, before);
        cr_expect_eq(found, stats_now().objects);
        if (sizes[i] >= 128 * MIB && i < 3) {
            cr_expect_gt(found, NUMBERS / 4, "what fits stays, %llu", (unsigned long long)sizes[i]);
        }
        put(0, LARGE);
        cr_expect_eq(check(0), SUPPORT_GOOD);
        before = found + 1;
    }
    expect_nothing_lost(NUMBERS);
}

/* ---- what happens to the file ---- */

Test(store_large, without_its_body_file_the_store_starts_empty_and_says_so)
{
    char path[SUPPORT_PATH_BYTES + 32];

    put(0, LARGE);
    close_store();
    snprintf(path, sizeof(path), "%s/bodies", dir);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(support_try_open(dir, SIZE, &store, &note), ERR_OK);
    reader = store_reader_create(store);
    cr_expect_gt(note.len, 0);
    cr_expect_eq(check(0), SUPPORT_ABSENT);
    put(0, LARGE);
    cr_expect_eq(check(0), SUPPORT_GOOD);
}

Test(store_large, a_damaged_block_costs_its_object)
{
    char path[SUPPORT_PATH_BYTES + 32];
    char byte = 0;

    put(0, LARGE);
    put(1, LARGE);
    snprintf(path, sizeof(path), "%s/bodies", dir);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pread(fd, &byte, 1, 4096 * 20 + 5), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, 4096 * 20 + 5), 1);
    close(fd);
    cr_expect_eq(check(0), SUPPORT_CUT, "what comes before it was good");
    cr_expect_eq(stats_now().damaged_reads, 1);
    cr_expect_eq(check(0), SUPPORT_ABSENT);
    cr_expect_eq(check(1), SUPPORT_GOOD);
    uint64_t used = stats_now().body_used_bytes;
    cr_expect(store_wants_apply(store));
    cr_assert_eq(support_settle(store), ERR_OK);
    cr_expect_lt(stats_now().body_used_bytes, used, "its blocks are given back");
    expect_nothing_lost(2);
}

struct reading {
    size_t bytes;
};

static size_t on_read(void *arg, const struct span *runs, size_t count) /* store_read_fn */
{
    struct reading *reading = arg;
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        used += runs[i].len;
    }
    reading->bytes += used;
    return used;
}

/* Of what was read before, all but the last block is given without a copy: it comes in the same call. */
Test(store_large, what_is_warm_comes_at_once)
{
    struct stored stored;
    struct store_cold cold;
    size_t used;

    put(0, 100 * 1000);
    cr_assert_eq(support_find(reader, store, 0, NULL, &arena, &stored), STORE_FOUND);
    uint64_t total = (uint64_t)stored.record.key_len + stored.record.head_len + stored.record.body_len;
    uint64_t start = total - stored.record.body_len + stored.body_start.len;
    cr_assert_neq(total % STORE_PIECE_BYTES, 0);
    for (unsigned i = 0; i < 2; i++) { /* read, and then known to be whole */
        struct reading reading = {0};
        cr_assert_eq(store_read_now(reader, stored.record.body_id, start, SIZE_MAX, on_read, &reading, &used, &cold),
                     ERR_OK);
        cr_expect_eq(reading.bytes, total - start, "read %u", i);
    }
    store_unpin(store, stored.record.body_id);
}

Test(store_large, what_is_cold_is_said_to_be_and_can_be_warmed)
{
    struct stored stored;
    struct store_cold cold;
    struct reading reading = {0};
    size_t used;
    char path[SUPPORT_PATH_BYTES + 32];

    put(0, LARGE);
    snprintf(path, sizeof(path), "%s/bodies", dir);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    cr_assert_eq(fdatasync(fd), 0);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    arena_reset(&arena);
    cr_assert_eq(support_find(reader, store, 0, NULL, &arena, &stored), STORE_FOUND);
    uint64_t total = (uint64_t)stored.record.key_len + stored.record.head_len + stored.record.body_len;
    unsigned waits = 0;
    for (uint64_t at = 0; at < total; at = reading.bytes) {
        enum err error = store_read_now(reader, stored.record.body_id, at, SIZE_MAX, on_read, &reading, &used, &cold);
        if (error == ERR_COLD) {
            waits++;
            cr_assert_gt(cold.count, 0);
            store_warm(store, &cold);
            error = store_read(reader, stored.record.body_id, at, SIZE_MAX, on_read, &reading, &used);
        }
        cr_assert_eq(error, ERR_OK);
    }
    cr_expect_eq(reading.bytes, total);
    cr_expect_eq(stats_now().cold_reads, waits);
    store_unpin(store, stored.record.body_id);
}
