/* test_purge_queue.c: the way of purges to the journal: before what is to be stored, bounded, past a disk that refuses.
 */
#include "purge_fixture.h"

TestSuite(purge_queue, .init = setup_purged, .fini = teardown);

enum { MANY = 1200 }; /* more jobs than a batch takes */

/* However much waits for the disk: who purges waits for one batch. */
Test(purge_queue, before_what_is_to_be_stored)
{
    char path[16];

    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(path, sizeof path, "/%u", i);
        store_with(path, TAGGED);
    }
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "two"), ERR_OK);
    cr_assert(cache_write(cache));
    cr_expect_eq(told, 2);
    cr_expect_eq(told_sequence, 2, "in the order of their sequences");
    cr_expect_gt(cache_queued_bytes(cache), 0, "what was queued before them is still to come");
    write_some();
    cr_expect_eq(cache_queued_bytes(cache), 0);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(path, sizeof path, "/%u", i);
        bool found;
        (void)effect_on(path, &found);
        cr_expect_not(found, "%s was born before the purge", path);
    }
}

/* The disk is behind: memory is not without end. */
Test(purge_queue, what_waits_for_the_disk_is_bounded)
{
    enum { MOST = 4096 }; /* 128 MiB */
    static char tag[PURGE_NAME_MAX_BYTES + 1];
    enum err error = ERR_OK;
    unsigned count = 0;

    memset(tag, 't', PURGE_NAME_MAX_BYTES);
    while (error == ERR_OK && count < MOST) {
        error = purge(PURGE_TAG, PURGE_HARD, tag);
        count += error == ERR_OK;
    }
    cr_expect_eq(error, ERR_LIMIT);
    cr_expect_lt(count, MOST);
    while (told < count) {
        cr_assert(cache_write(cache));
    }
    cr_expect_eq(purge(PURGE_TAG, PURGE_HARD, tag), ERR_OK, "there is room again");
}

/* ---- a disk that refuses ---- */

static void write_until_told(unsigned count)
{
    for (unsigned i = 0; i < 100 && told < count; i++) {
        (void)cache_write(cache);
    }
    cr_assert_eq(told, count);
    cr_expect_neq(told_error, ERR_OK);
}

Test(purge_queue, a_disk_that_refuses)
{
    store_with("/a", TAGGED);
    write_some();
    break_disk();
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    write_until_told(1);
    expect_effect("/a", false, PURGED_HARD, "in force all the same");
    mend_disk();
}

/* Then the purge is written, with or before what was born after it. */
Test(purge_queue, a_disk_that_takes_writes_again)
{
    store_with("/a", TAGGED);
    store_with("/b", TAGGED);
    write_some();
    break_disk();
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    write_until_told(1);
    mend_disk();
    store_with("/b", TAGGED);
    cr_assert(cache_write(cache));
    expect_effect("/b", true, PURGED_NOT, "born after the purge");
    cr_expect_eq(rows(), 1, "the journal has it");
    cr_expect_eq(told, 1, "once");
    restart();
    expect_effect("/a", false, PURGED_HARD, "in force after a restart");
    expect_effect("/b", true, PURGED_NOT, "after a restart");
}

/* Of purges without end the newest is kept: with it on the disk, nothing is taken for older than it is. */
Test(purge_queue, purges_without_end_on_a_disk_that_refuses)
{
    enum { LOTS = 3000 };
    char tag[32];

    break_disk();
    for (unsigned i = 1; i <= LOTS; i++) {
        (void)snprintf(tag, sizeof(tag), "tag%u", i);
        cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, tag), ERR_OK);
    }
    write_until_told(LOTS);
    cr_expect_eq(told_sequence, LOTS, "in their order");
    mend_disk();
    store_with("/a", "xkey: tag3000\r\n");
    cr_assert(cache_write(cache));
    expect_effect("/a", true, PURGED_NOT, "born after all of them");
    unsigned kept = rows();
    cr_expect(kept > 100 && kept < LOTS, "%u", kept);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "tag3000"), ERR_OK);
    expect_effect("/a", false, PURGED_HARD, "the next one");
}

/* One call that is more than may be kept. */
Test(purge_queue, a_purge_of_much_on_a_disk_that_refuses)
{
    static char name[PURGE_NAME_MAX_BYTES + 1];
    struct purge purges[CACHE_PURGES_MAX];

    memset(name, 't', PURGE_NAME_MAX_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(purges); i++) {
        purges[i] = (struct purge){.kind = PURGE_TAG, .mode = PURGE_HARD, .name = {name, sizeof(name) - 1 - i}};
    }
    purges[ARRAY_LEN(purges) - 1].name = SPAN("one");
    break_disk();
    cr_assert_eq(cache_purge(cache, purges, ARRAY_LEN(purges), on_purged, NULL), ERR_OK);
    write_until_told(1);
    mend_disk();
    store_with("/a", TAGGED);
    cr_assert(cache_write(cache));
    expect_effect("/a", true, PURGED_NOT, "born after it");
    cr_expect_eq(rows(), 1, "its last");
}

/* A stop does not wait for the disk without end. */
Test(purge_queue, a_stop_while_the_disk_refuses)
{
    break_disk();
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    write_until_told(1);
    cache_stop_writes(cache);
    const struct timespec now = {0};
    unsigned batches = 0;
    while (batches < 100 && cache_wait(cache, WAIT_FOR_WORK, &now)) {
        (void)cache_write(cache);
        batches++;
    }
    cr_expect_lt(batches, 100);
    cr_expect_eq(told, 1);
    mend_disk();
    cache_start_writes(cache);
}
