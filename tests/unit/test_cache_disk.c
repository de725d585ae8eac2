/* test_cache_disk.c: what a failing disk costs, and the ends. */
#include "cache_fixture.h"

TestSuite(cache_disk, .init = setup, .fini = teardown);

/* ---- a disk that fails ---- */

Test(cache_disk, a_commit_that_fails_costs_no_client_a_byte)
{
    struct client leader = client_for("/a", NULL), follower = client_for("/a", NULL), found = client_for("/a", NULL);

    lead_and_follow(&leader, &follower, STORE_ABSENT, "a commit that fails");
    cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
    give_body(&leader, 1, 0, 3 * SLOT);
    complete(&leader);
    cr_assert_eq(find(&found), STORE_FOUND);
    cr_expect_not_null(found.cached.flight);
    flight_consumed(follower.flight, &follower.party, 2 * SLOT);
    break_disk();
    cr_expect_not(cache_write(cache));
    cr_expect_eq(flight_store_reason(leader.flight), REASON_STORE_FAILED);
    flight_consumed(follower.flight, &follower.party, flight_length(follower.flight));
    cr_expect(reads_as(&found.cached, 1), "who found it before reads it to its end");
    expect_absent("/a", "it was forgotten");
    mend_disk();
    write_some();
    cr_expect(reads_as(&found.cached, 1));
    leave(&leader);
    leave(&follower);
    leave(&found);
    expect_empty_store("a failed commit");
    store_it("/a", 2, 1000);
    write_some();
    expect_found("/a", 2, "A: 1\r\n", "the next one is stored");
}

Test(cache_disk, another_process_takes_the_store_and_gives_it_back)
{
    struct client found = client_for("/a", NULL), leader = client_for("/b", NULL);
    uint64_t *bodies = NULL;
    size_t count = 0;

    store_it("/a", 1, 3 * SLOT);
    store_it("/gone", 1, 100);
    write_some();
    cr_assert_eq(find(&found), STORE_FOUND);
    cr_assert(found.cached.stored.pinned);
    cr_assert(store_let_go(cache_store(cache), &bodies, &count));
    cr_expect_eq(count, 1, "the body that is being sent");
    cr_expect_eq(bodies[0], found.cached.stored.record.body_id);
    free(bodies);
    cr_expect(reads_as(&found.cached, 1), "it can be sent to its end");
    expect_absent("/a", "what the other does to it is not known");
    (void)find(&leader);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
    cr_expect_eq(flight_store_reason(leader.flight), REASON_STORE_AWAY);
    give_body(&leader, 1, 0, SLOT);
    complete(&leader);
    leave(&leader);
    struct client gone = client_for("/gone", NULL);
    cache_invalidate(cache, &gone.key, NULL);
    cr_expect_not(cache_write(cache), "nothing is written");
    cr_assert(store_take_back(cache_store(cache)));
    write_some();
    cr_expect(reads_as(&found.cached, 1));
    leave(&found);
    expect_found("/a", 1, "A: 1\r\n", "as if nothing had happened");
    expect_absent("/gone", "what was invalidated meanwhile");
    expect_absent("/b", "not stored");
}

/* The other process, as far as it is told. */
static struct {
    struct cache_successor successor;
    unsigned removed, purged;
    uint64_t sequence;
    char row[256];
    size_t row_len;
} heir;

static void on_removed(struct cache_successor *successor, struct span key_text)
{
    cr_assert_eq(successor, &heir.successor);
    cr_expect(span_equal(key_text, SPAN("GET http://test.example/gone")));
    heir.removed++;
}

static void on_purged(struct cache_successor *successor, uint64_t sequence, struct span row)
{
    cr_assert_eq(successor, &heir.successor);
    cr_assert_leq(row.len, sizeof(heir.row));
    heir.sequence = sequence;
    heir.row_len = row.len;
    memcpy(heir.row, row.data, row.len);
    heir.purged++;
}

/* It may yet come back: nothing is told before the other serves, and nothing twice. */
Test(cache_disk, the_process_that_took_the_store_is_told_what_is_gone)
{
    const struct purge all = {.kind = PURGE_HOST, .mode = PURGE_HARD, .name = SPAN_INIT("test.example")};
    struct client gone = client_for("/gone", NULL);
    uint64_t *bodies = NULL;
    size_t count = 0;

    store_it("/a", 1, 100);
    write_some();
    cr_assert(store_let_go(cache_store(cache), &bodies, &count));
    free(bodies);
    heir.successor = (struct cache_successor){.removed = on_removed, .purged = on_purged};
    cache_invalidate(cache, &gone.key, NULL);
    cr_assert_eq(cache_purge(cache, &all, 1, NULL, NULL), ERR_OK);
    for (unsigned i = 0; i < 20; i++) {
        cr_expect_not(cache_write(cache));
    }
    cr_expect_eq(heir.removed + heir.purged, 0);
    cache_set_successor(cache, &heir.successor);
    for (unsigned i = 0; i < 3; i++) {
        (void)cache_write(cache);
    }
    cr_expect_eq(heir.removed, 1);
    cr_expect_eq(heir.purged, 1);
    close_cache();
    open_cache(STORE_SIZE, QUEUE);
    expect_found("/a", 1, "A: 1\r\n", "nobody has told this one yet");
    cr_expect_not(cache_purge_row(cache, heir.sequence + 1, (struct span){heir.row, heir.row_len}));
    cr_expect(cache_purge_row(cache, heir.sequence, (struct span){heir.row, heir.row_len}));
    expect_absent("/a", "purged");
}

Test(cache_disk, nothing_more_is_stored_when_streams_have_all_their_memory)
{
    close_cache();
    stream_memory = 2 * SLOT;
    open_cache(STORE_SIZE, QUEUE);
    struct client leader = client_for("/a", NULL), other = client_for("/b", NULL);
    (void)find(&leader);
    (void)find(&other);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_assert_eq(join(&other, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
    give_body(&leader, 1, 0, 3 * SLOT);
    cr_expect_geq(cache_stream_bytes(cache), stream_memory);
    cr_assert_eq(give_head(&other, &(struct answer){0}), ERR_OK);
    cr_expect_eq(flight_store_reason(other.flight), REASON_STREAM_MEMORY);
    complete(&leader);
    complete(&other);
    write_some();
    leave(&leader);
    leave(&other);
    cr_expect_eq(cache_stream_bytes(cache), 0);
    expect_found("/a", 1, "A: 1\r\n", "what had begun is stored");
    expect_absent("/b", "what came then is not");
}

/* The first batch takes the first pieces of a body, and fails; the second would write the rest. */
Test(cache_disk, pieces_behind_a_failed_commit_are_not_left_in_the_store)
{
    enum { LENGTH = 2 * 1024 * 1024 };

    close_cache();
    open_cache(STORE_MIN_SIZE_BYTES, 4 * LENGTH);
    cr_assert_lt(store_batch_bytes(cache_store(cache)), LENGTH);
    struct client leader = client_for("/a", NULL), follower = client_for("/a", NULL);
    lead_and_follow(&leader, &follower, STORE_ABSENT, "longer than a batch");
    cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
    give_body(&leader, 1, 0, LENGTH);
    break_disk();
    cr_expect_not(cache_write(cache));
    mend_disk();
    write_some();
    give_body(&leader, 1, LENGTH, LENGTH + SLOT);
    complete(&leader);
    cr_expect_eq(flight_store_reason(leader.flight), REASON_STORE_FAILED);
    cr_expect_eq(followed(&follower, 1, FLIGHT_READ_END, "a failed commit"), LENGTH + SLOT);
    leave(&leader);
    leave(&follower);
    expect_absent("/a", "not stored");
    expect_empty_store("pieces");
}

/* What is in the backlog has not been handed over when its first pieces are refused. */
Test(cache_disk, a_commit_that_fails_under_a_backlog)
{
    struct client busy[8], found[8];

    fill_queue(busy);
    for (unsigned i = 0; i < 8; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/busy/%u", i);
        if (i % 2 == 0) {
            complete(&busy[i]);
        }
        found[i] = client_for(path, NULL);
        (void)find(&found[i]);
    }
    break_disk();
    for (unsigned i = 0; i < 4; i++) {
        (void)cache_write(cache);
    }
    mend_disk();
    for (unsigned i = 0; i < 8; i += 2) {
        cr_expect(found[i].cached.flight == NULL || reads_as(&found[i].cached, i), "%u", i);
        leave(&found[i]);
    }
    for (unsigned i = 1; i < 8; i += 2) {
        give_body(&busy[i], i, 3 * SLOT, 4 * SLOT);
        complete(&busy[i]);
    }
    end_busy(busy);
    for (unsigned i = 0; i < 8; i++) {
        cache_invalidate(cache, &busy[i].key, NULL);
    }
    expect_empty_store("a backlog");
}

Test(cache_disk, what_is_given_up_while_the_disk_refuses_is_dropped_later)
{
    struct client leader = client_for("/a", NULL);

    (void)find(&leader);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
    give_body(&leader, 1, 0, 3 * SLOT);
    write_some();
    break_disk();
    cache_fill_fail(leader.fill, ERR_RESET);
    for (unsigned i = 0; i < 30; i++) {
        cr_expect_not(cache_write(cache));
    }
    mend_disk();
    leave(&leader);
    expect_empty_store("given up");
}

Test(cache_disk, a_removal_is_tried_until_it_is_done)
{
    struct client client = client_for("/a", NULL);

    store_it("/a", 1, 1000);
    write_some();
    break_disk();
    cache_invalidate(cache, &client.key, NULL);
    for (unsigned i = 0; i < 30; i++) {
        cr_expect_not(cache_write(cache));
        expect_absent("/a", "the store still has it");
    }
    mend_disk();
    write_some();
    expect_absent("/a", "gone");
    expect_empty_store("removed");
}

static bool done_writing(void)
{
    struct timespec now = {0};

    return !cache_wait(cache, WAIT_FOR_WORK, &now);
}

Test(cache_disk, a_stop_does_not_wait_for_a_disk_that_stays_full)
{
    struct client client = client_for("/a", NULL);
    unsigned tries = 0;

    store_it("/a", 1, 1000);
    write_some();
    break_disk();
    store_it("/b", 1, 1000);
    cache_invalidate(cache, &client.key, NULL);
    cr_expect_not(done_writing());
    cache_stop_writes(cache);
    while (tries < 100 && !done_writing()) {
        (void)cache_write(cache);
        tries++;
    }
    cr_expect_gt(tries, 2, "a few times");
    cr_expect_lt(tries, 100, "not for ever");
    mend_disk();
}

Test(cache_disk, a_stop_writes_what_is_queued)
{
    store_it("/a", 1, 200000);
    cache_stop_writes(cache);
    while (!done_writing()) {
        cr_assert(cache_write(cache));
    }
    close_cache();
    open_cache(STORE_SIZE, QUEUE);
    expect_found("/a", 1, "A: 1\r\n", "after a new start");
}
