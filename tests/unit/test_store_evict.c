/* test_store_evict.c: the store stays within its size, keeps what is visited, and does not touch what is being sent. */
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "store_fixture.h"

enum { SIZE = 32 * 1024 * 1024 };

static void setup(void)
{
    fixture_begin(SIZE);
}

TestSuite(store_evict, .init = setup, .fini = fixture_end);

static uint64_t file_bytes(void)
{
    struct stat status;

    cr_assert_eq(stat(data_path, &status), 0);
    return (uint64_t)status.st_size;
}

/* Objects of varying sizes, `bytes` together; how many. */
static unsigned churn(unsigned first, uint64_t seed, uint64_t bytes)
{
    enum { A_BATCH = 16 };
    struct support_object objects[A_BATCH];
    uint64_t written = 0;
    unsigned number = first;

    while (written < bytes) {
        for (unsigned i = 0; i < A_BATCH; i++) {
            objects[i] = (struct support_object){.number = number, .body_len = support_random(&seed) % 120000};
            written += objects[i].body_len;
            number++;
        }
        cr_assert_eq(support_put_many(store, objects, A_BATCH), ERR_OK, "object %u", number);
        struct store_stats stats = stats_now();
        cr_assert_leq(stats.used_bytes, stats.size_bytes);
    }
    return number - first;
}

Test(store_evict, churn_stays_within_the_size)
{
    unsigned count = churn(1, 1, 5 * (uint64_t)SIZE);
    cr_expect_leq(file_bytes(), SIZE);
    struct store_stats stats = stats_now();
    cr_expect_gt(stats.evictions, 1000);
    cr_expect_eq(stats.commit_errors, 0);
    cr_expect_gt(stats.used_bytes, SIZE / 2, "and it is used: %llu", (unsigned long long)stats.used_bytes);
    unsigned found = 0;
    for (unsigned i = 1; i <= count; i++) {
        enum support_outcome outcome = check(i);
        cr_assert(outcome == SUPPORT_GOOD || outcome == SUPPORT_ABSENT);
        found += outcome == SUPPORT_GOOD;
    }
    cr_expect_eq(found, stats.objects, "everything that is counted is found");
}

Test(store_evict, churn_of_small_objects)
{
    enum { ROUNDS = 700, A_ROUND = 64 };
    struct support_object objects[A_ROUND];
    unsigned number = 0;

    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < A_ROUND; i++) {
            objects[i] = (struct support_object){.number = number, .body_len = number % 1500};
            number++;
        }
        cr_assert_eq(support_put_many(store, objects, A_ROUND), ERR_OK);
    }
    struct store_stats stats = stats_now();
    cr_expect_leq(file_bytes(), SIZE);
    cr_expect_gt(stats.evictions, 10000);
    cr_expect_eq(stats.evictions + stats.objects, ROUNDS * A_ROUND);
    cr_expect_eq(stats.commit_errors, 0);
    for (unsigned i = number - 1000; i < number; i++) {
        cr_assert_eq(check(i), SUPPORT_GOOD, "the newest are there");
    }
}

/* Every batch changes most of the pages there are: their copies, not the objects, fill the store. */
Test(store_evict, churn_of_tiny_objects_in_the_smallest_store)
{
    static struct support_object objects[SUPPORT_MANY];
    unsigned number = 0;

    close_store();
    open_store(STORE_MIN_SIZE_BYTES);
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < SUPPORT_MANY; i++) {
            objects[i] = (struct support_object){.number = number, .body_len = 10};
            number++;
        }
        cr_assert_eq(support_put_many(store, objects, SUPPORT_MANY), ERR_OK, "round %u", round);
    }
    cr_expect_leq(file_bytes(), STORE_MIN_SIZE_BYTES);
    cr_expect_leq(stats_now().used_bytes, STORE_MIN_SIZE_BYTES);
    cr_expect_gt(stats_now().evictions, 0);
    for (unsigned i = number - 500; i < number; i++) {
        cr_assert_eq(check(i), SUPPORT_GOOD, "the newest are there");
    }
}

Test(store_evict, visited_objects_stay)
{
    enum { COUNT = 100 };
    struct support_object object = {.body_len = 100000};
    unsigned even = 0;
    unsigned odd = 0;

    for (object.number = 0; object.number < COUNT; object.number++) {
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    }
    for (unsigned i = 0; i < COUNT; i += 2) {
        cr_assert_eq(check(i), SUPPORT_GOOD);
    }
    cr_assert_eq(stats_now().evictions, 0);
    /* Fill until about half of the old ones had to go. */
    for (object.number = COUNT; stats_now().evictions < COUNT / 2; object.number++) {
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    }
    for (unsigned i = 0; i < COUNT; i += 2) {
        even += check(i) == SUPPORT_GOOD;
        odd += check(i + 1) == SUPPORT_GOOD;
    }
    cr_expect_geq(even, COUNT / 2 - 2, "%u of the visited", even);
    cr_expect_leq(odd, 2, "%u of the others", odd);
}

/* A batch evicts so many objects at most: what needs the room of thousands gets it from several. */
Test(store_evict, a_large_body_takes_the_place_of_thousands_of_tiny_ones)
{
    static struct support_object objects[SUPPORT_MANY];
    struct support_object large = {.number = 1000000, .body_len = 12 * 1024 * 1024};
    unsigned number = 0;

    while (stats_now().evictions == 0) {
        for (unsigned i = 0; i < SUPPORT_MANY; i++) {
            objects[i] = (struct support_object){.number = number, .body_len = 10};
            number++;
        }
        cr_assert_eq(support_put_many(store, objects, SUPPORT_MANY), ERR_OK);
    }
    cr_expect_eq(support_put(store, &large, NULL, NULL), ERR_OK);
    cr_expect_eq(check(large.number), SUPPORT_GOOD);
    cr_expect_eq(stats_now().commit_errors, 0);
    cr_expect_leq(file_bytes(), SIZE);
}

Test(store_evict, what_was_evicted_is_remembered)
{
    (void)churn(1, 10, 2 * (uint64_t)SIZE);
    cr_assert_eq(check(1), SUPPORT_ABSENT);
    struct key evicted = support_key(store, 1, &arena);
    cr_expect_eq(store_uses(store, evicted.hash), UINT_MAX);
    struct key unknown = support_key(store, 500000, &arena);
    cr_expect_eq(store_uses(store, unknown.hash), 0);
}

Test(store_evict, the_hand_survives_a_restart)
{
    (void)churn(1, 2, 2 * (uint64_t)SIZE);
    close_store();
    open_store(SIZE);
    (void)churn(100000, 3, 2 * (uint64_t)SIZE);
    cr_expect_eq(stats_now().commit_errors, 0);
}

static size_t on_count(void *arg, const struct span *runs, size_t count) /* store_read_fn */
{
    (void)arg;
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        used += runs[i].len;
    }
    return used;
}

/* Can the last byte of the body still be read? */
static enum err read_end(const struct stored *stored)
{
    uint64_t last = (uint64_t)stored->record.key_len + stored->record.head_len + stored->record.body_len - 1;
    size_t used;

    return store_read(reader, stored->record.body_id, last, 1, on_count, NULL, &used);
}

Test(store_evict, a_pinned_body_survives_eviction_and_removal)
{
    struct support_object object = {.number = 1, .body_len = 2000000};
    struct stored evicted;
    struct stored removed;
    unsigned version;
    enum err error;

    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    object.number = 2;
    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    cr_assert_eq(support_find(reader, store, 1, NULL, &arena, &evicted), STORE_FOUND);
    cr_assert_eq(support_find(reader, store, 2, NULL, &arena, &removed), STORE_FOUND);
    cr_assert(evicted.pinned && removed.pinned);
    cr_expect_eq(support_remove(store, 2), ERR_OK);
    cr_expect_eq(check(2), SUPPORT_ABSENT);
    cr_expect_eq(stats_now().reclaim_bodies, 1);
    (void)churn(10000, 4, 3 * (uint64_t)SIZE);
    cr_expect(support_verify(reader, &evicted, 1, &version, &error));
    cr_expect_eq(error, ERR_OK, "every byte of it is still there");
    cr_expect_eq(read_end(&removed), ERR_OK);
    cr_expect_eq(stats_now().reclaim_bodies, 1, "it waits");
    store_unpin(store, removed.record.body_id);
    cr_expect(store_wants_apply(store));
    cr_expect_eq(support_settle(store), ERR_OK);
    cr_expect_eq(read_end(&removed), ERR_NOT_FOUND, "reclaimed");
    cr_expect_eq(stats_now().reclaim_bodies, 0);
    store_unpin(store, evicted.record.body_id);
    /* The hand has passed it: visit all others, new ones too, so that it goes over them and comes again. */
    for (unsigned first = 20000; first < 24000; first += 1000) {
        for (unsigned i = 10000; i < first; i++) {
            (void)check(i);
        }
        (void)churn(first, first, SIZE / 8);
    }
    cr_expect_eq(check(1), SUPPORT_ABSENT, "evicted in the end");
    cr_expect_eq(read_end(&evicted), ERR_NOT_FOUND);
}

Test(store_evict, a_large_body_is_deleted_in_slices)
{
    struct support_object object = {.number = 1, .body_len = 20 * 1024 * 1024};

    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    uint64_t used = stats_now().used_bytes;
    cr_expect_eq(support_remove(store, 1), ERR_OK);
    cr_expect_eq(check(1), SUPPORT_ABSENT, "gone at once");
    cr_expect_gt(stats_now().used_bytes, used / 2, "but not all its pieces");
    cr_expect(store_wants_apply(store));
    uint64_t commits = stats_now().commits;
    cr_expect_eq(support_settle(store), ERR_OK);
    cr_expect_gt(stats_now().commits, commits + 1);
    cr_expect_lt(stats_now().used_bytes, 1024 * 1024);
    cr_expect_eq(stats_now().reclaim_bodies, 0);
}

Test(store_evict, what_waits_for_deletion_is_found_after_a_restart)
{
    struct support_object object = {.number = 1, .body_len = 20 * 1024 * 1024};
    uint64_t unfinished = store_new_body_id(store);

    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    cr_expect_eq(support_remove(store, 1), ERR_OK);
    object.body_len = 100000;
    cr_assert_eq(support_put_pieces(store, &object, unfinished), ERR_OK);
    close_store();
    open_store(SIZE);
    cr_expect(store_wants_apply(store));
    cr_expect_eq(stats_now().reclaim_bodies, 2);
    cr_expect_eq(support_settle(store), ERR_OK);
    cr_expect_lt(stats_now().used_bytes, 256 * 1024);
    cr_expect_gt(store_new_body_id(store), unfinished);
}

Test(store_evict, a_body_larger_than_the_store_is_refused_and_leaves_it_working)
{
    struct support_object object = {.number = 1, .body_len = 2 * SIZE};

    cr_expect_eq(support_put(store, &object, NULL, NULL), ERR_NO_SPACE);
    cr_expect_eq(check(1), SUPPORT_ABSENT);
    cr_expect_not(store_failed(store));
    cr_expect_eq(support_settle(store), ERR_OK);
    cr_expect_lt(stats_now().used_bytes, SIZE / 8, "its pieces are gone");
    object.body_len = 1000000;
    cr_expect_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    cr_expect_eq(check(1), SUPPORT_GOOD);
}

Test(store_evict, a_batch_larger_than_the_store_is_refused)
{
    static char bytes[SIZE];
    struct store_op op = {
        .kind = STORE_OP_PIECES, .body_id = store_new_body_id(store), .bytes = {bytes, sizeof(bytes)}};
    struct support_object object = {.number = 1, .body_len = 1000000};

    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    cr_expect_eq(store_apply(store, &op, 1), ERR_NO_SPACE);
    cr_expect_eq(check(1), SUPPORT_GOOD, "nothing was evicted for it");
}

static enum err churn_error;

/* While this reader's snapshot is held, no page that is freed can be used again. */
static bool on_variant(void *arg, const struct stored *stored) /* store_variant_fn */
{
    unsigned *count = arg;

    (void)stored;
    for (unsigned number = 1000; churn_error == ERR_OK && number < 2000; number++) {
        struct support_object object = {.number = number, .body_len = 500000};
        churn_error = support_put(store, &object, NULL, NULL);
        *count += churn_error == ERR_OK;
    }
    return true;
}

Test(store_evict, a_full_map_costs_the_batch_and_nothing_else)
{
    struct support_object object = {.number = 1, .body_len = 100};
    unsigned count = 0;

    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    struct key key = support_key(store, 1, &arena);
    churn_error = ERR_OK;
    cr_expect_eq(store_each_variant(reader, &key, &arena, on_variant, &count), STORE_FOUND);
    cr_expect_eq(churn_error, ERR_NO_SPACE, "%u stored", count);
    cr_expect_gt(count, 20);
    cr_expect_gt(stats_now().commit_errors, 0);
    cr_expect_not(store_failed(store));
    /* The snapshot is gone: everything works again. */
    (void)churn(5000, 6, 2 * (uint64_t)SIZE);
    cr_expect_leq(file_bytes(), SIZE);
}

Test(store_evict, a_lower_limit_is_obeyed_after_a_restart)
{
    (void)churn(1, 7, SIZE);
    close_store();
    open_store(SIZE / 2);
    cr_expect_leq(file_bytes(), SIZE / 2);
    cr_expect_leq(stats_now().used_bytes, SIZE / 2);
    cr_expect_gt(stats_now().used_bytes, SIZE / 3, "no more than necessary was evicted: %llu are left",
                 (unsigned long long)stats_now().used_bytes);
    (void)churn(20000, 8, SIZE);
    cr_expect_leq(stats_now().used_bytes, SIZE / 2);
    close_store();
    open_store(2 * SIZE);
    (void)churn(30000, 9, 3 * (uint64_t)SIZE);
    cr_expect_gt(stats_now().used_bytes, SIZE, "and a higher one is used");
    cr_expect_leq(file_bytes(), 2 * SIZE);
}
