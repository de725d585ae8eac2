/* test_reclaim.c: what purges made dead is deleted behind them, and purges that name nothing are forgotten. */
#include "purge_fixture.h"

TestSuite(reclaim, .init = setup_purged, .fini = teardown);

enum { MANY = 600 };

static void store_many(const char *fields, unsigned count)
{
    char path[32];

    for (unsigned i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "/many/%u", i);
        store_with(path, fields);
        if (i % 100 == 0) {
            cr_assert(cache_write(cache));
            arena_reset(&arena);
        }
    }
    cr_assert(cache_write(cache));
    arena_reset(&arena);
}

Test(reclaim, the_dead_are_deleted_and_the_rows_forgotten)
{
    store_many(TAGGED, MANY);
    store_with("/other", "A: b\r\n");
    write_some();
    cr_expect_eq(objects(), MANY + 1);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "none"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "none either"), ERR_OK);
    rest();
    cr_expect_eq(objects(), MANY + 1, "it can yet be said what was purged");
    expect_effect("/many/0", false, PURGED_HARD, "and is");
    cr_assert(cache_write(cache));
    cr_expect_gt(objects(), MANY / 2, "at a pace");
    for (unsigned i = 0; i < 50 && objects() > 1; i++) {
        cr_assert(cache_write(cache));
    }
    write_some();
    cr_expect_eq(objects(), 1);
    cr_expect_eq(rows(), 1, "but for the newest, which says where the sequence stands");
    expect_effect("/other", true, PURGED_NOT, "it lives");
    restart();
    cr_assert_eq(purge(PURGE_URL, PURGE_HARD, "http://test.example/other"), ERR_OK);
    expect_effect("/other", false, PURGED_HARD, "its birth is older than a sequence given after the restart");
    cr_assert(cache_write(cache));
    cr_expect_eq(told_sequence, 4);
}

/* What a soft purge names lives on, and so does the row. */
Test(reclaim, soft_rows_stay_while_they_name_something)
{
    store_with("/a", TAGGED);
    cr_assert_eq(purge(PURGE_TAG, PURGE_SOFT, "none"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_SOFT, "one"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "none either"), ERR_OK);
    rest();
    for (unsigned i = 0; i < 10; i++) {
        write_some();
    }
    cr_expect_eq(rows(), 2, "%u", rows());
    expect_effect("/a", true, PURGED_SOFT, "still");
    restart();
    expect_effect("/a", true, PURGED_SOFT, "still, after a restart");
}

/* The walk cannot read its head: before the row goes, it must. */
Test(reclaim, a_head_too_long_for_the_walk)
{
    enum { HEAD = 1200 * 1024, LINE = 1000 };
    struct buf fields;
    char value[LINE];

    memset(value, 'v', sizeof(value));
    buf_init(&fields, HEAD + LINE);
    while (fields.len < HEAD) {
        buf_format(&fields, "A: %.*s\r\n", LINE - 10, value);
    }
    buf_add_byte(&fields, '\0');
    store_with("/a", fields.data);
    buf_finish(&fields);
    write_some();
    expect_effect("/a", true, PURGED_NOT, "stored");
    cr_assert_eq(purge(PURGE_URL, PURGE_HARD, "http://test.example/a"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "none"), ERR_OK);
    expect_effect("/a", false, PURGED_HARD, "at once");
    rest();
    for (unsigned i = 0; i < 10; i++) {
        write_some();
    }
    cr_expect_eq(rows(), 1);
    expect_effect("/a", false, PURGED_NOT, "deleted behind");
}

/* A fetch that began before a purge ends after the walk: the row is still there. */
Test(reclaim, rows_outlive_the_fetches_they_concern)
{
    struct client leader;

    (void)look_up(&leader, "/a");
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cache_fill_sent(leader.fill);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "none"), ERR_OK);
    rest();
    for (unsigned i = 0; i < 10; i++) {
        write_some();
    }
    cr_expect_eq(rows(), 2);
    begin_answer(&leader, TAGGED);
    complete(&leader);
    leave(&leader);
    write_some();
    expect_effect("/a", false, PURGED_NOT, "not stored");
}
