/* test_cache_queue.c: what waits for the disk, in memory and bounded; who holds it. */
#include "cache_fixture.h"

TestSuite(cache_queue, .init = setup, .fini = teardown);

/* ---- memory and the queue ---- */

Test(cache_queue, followers_read_from_memory_then_from_the_store)
{
    struct client leader = client_for("/a", NULL), quick = client_for("/a", NULL), late = client_for("/a", NULL);
    size_t len = 20 * SLOT + 1234;

    (void)find(&leader);
    (void)find(&quick);
    (void)find(&late);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    flight_follow(leader.flight, &leader.party);
    cr_assert_eq(join(&quick, JOIN_WITH_OTHERS), JOIN_FOLLOW);
    cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
    uint64_t most = 0;
    uint64_t window = flight_room(leader.flight) + flight_body_offset(leader.flight);
    for (size_t at = 0; at < len; at += SLOT / 3) {
        size_t to = at + SLOT / 3 < len ? at + SLOT / 3 : len;
        give_body(&leader, 5, at, to);
        if (flight_room(leader.flight) < SLOT) {
            write_some();
        }
        uint64_t held = window - flight_room(leader.flight);
        most = held > most ? held : most;
        if (at / SLOT == 10 && late.flight == NULL) {
            cr_assert_eq(join(&late, JOIN_WITH_OTHERS), JOIN_FOLLOW);
            cr_expect_eq(followed(&late, 5, FLIGHT_READ_WAIT, "late"), to, "the first bytes from the store");
        }
        cr_expect_eq(followed(&quick, 5, FLIGHT_READ_WAIT, "quick"), to);
    }
    cr_expect_leq(window, QUEUE / 4);
    cr_expect_leq(most, window, "memory is bounded though nobody consumes anything");
    complete(&leader);
    struct segment *segment;
    struct span run;
    cr_expect_eq(flight_read(late.flight, 0, &segment, &run), FLIGHT_READ_IN_STORE);
    cr_expect_eq(followed(&late, 5, FLIGHT_READ_END, "late"), len);
    write_some();
    cr_expect_eq(followed(&late, 5, FLIGHT_READ_END, "late"), len);
    cr_expect_eq(followed(&quick, 5, FLIGHT_READ_END, "quick"), len);
    leave(&leader);
    leave(&quick);
    leave(&late);
    expect_found("/a", 5, "A: 1\r\n", "all of it");
}

Test(cache_queue, the_producer_waits_for_the_disk_and_is_woken)
{
    struct client leader = client_for("/a", NULL), producer = client_for("/a", NULL);
    size_t at = 0;

    (void)find(&leader);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    flight_set_producer(leader.flight, &producer.party);
    cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
    while (flight_room(leader.flight) > 0) {
        size_t count = flight_room(leader.flight) < 5000 ? flight_room(leader.flight) : 5000;
        give_body(&leader, 1, at, at + count);
        at += count;
    }
    cr_expect_eq(producer.wakes, 0);
    write_some();
    cr_expect_eq(producer.wakes, 1, "there is room again");
    cr_expect_gt(flight_room(leader.flight), 0);
    give_body(&leader, 1, at, at + 10000);
    cache_fill_stop_storing(leader.fill, REASON_DISK_BEHIND);
    cache_fill_stop_storing(leader.fill, REASON_TOO_LARGE);
    cr_expect_eq(flight_store_reason(leader.flight), REASON_DISK_BEHIND, "the first reason is the reason");
    cr_expect_not(flight_wanted(leader.flight), "nobody follows");
    flight_set_producer(leader.flight, NULL);
    cache_fill_fail(leader.fill, ERR_CANCELED);
    leave(&leader);
    expect_empty_store("given up");
}

Test(cache_queue, a_full_queue)
{
    struct client busy[8];

    fill_queue(busy);
    struct client late = fetched("/late", &(struct answer){0}, 1, 1000);
    cr_expect_eq(flight_store_reason(late.flight), REASON_DISK_BEHIND, "what has not begun is not stored");
    cr_expect_eq(flight_phase(late.flight), FLIGHT_COMPLETE, "its client does not mind");
    leave(&late);
    expect_absent("/late", "not stored");
    complete(&busy[7]);
    cr_expect_eq(flight_store_reason(busy[7].flight), REASON_DISK_BEHIND, "nor what handed nothing over yet");
    complete(&busy[5]);
    expect_found("/busy/5", 5, "A: 1\r\n", "what waits in the backlog is found");
    complete(&busy[0]);
    write_some();
    expect_found("/busy/0", 0, "A: 1\r\n", "and is stored in the end");
    expect_found("/busy/5", 5, "A: 1\r\n", "and is stored in the end");
    end_busy(busy);
    cache_invalidate(cache, &busy[0].key, NULL);
    cache_invalidate(cache, &busy[5].key, NULL);
    expect_empty_store("the backlog");
}

Test(cache_queue, all_fills_together_are_bounded)
{
    enum { FILLS = 40, STEP = 16 * 1024, EACH = 160 * 1024 };
    static struct client clients[FILLS];
    unsigned behind = 0;

    for (unsigned i = 0; i < FILLS; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/fill/%u", i);
        clients[i] = client_for(path, NULL);
        (void)find(&clients[i]);
        cr_assert_eq(join(&clients[i], JOIN_WITH_OTHERS), JOIN_LEAD);
        cr_assert_eq(give_head(&clients[i], &(struct answer){0}), ERR_OK);
    }
    for (size_t at = 0; at < EACH; at += STEP) {
        for (unsigned i = 0; i < FILLS; i++) {
            give_body(&clients[i], i, at, at + STEP);
        }
    }
    for (unsigned i = 0; i < FILLS; i++) {
        behind += flight_store_reason(clients[i].flight) == REASON_DISK_BEHIND;
    }
    /* What is stored on is at most the limit, and a segment and a step of each. */
    cr_expect_leq((FILLS - behind) * EACH, QUEUE + FILLS * (STEP + SLOT), "%u of %u go on unstored", behind, FILLS);
    cr_expect_gt(behind, FILLS / 2);
    write_some();
    for (unsigned i = 0; i < FILLS; i++) {
        cache_fill_fail(clients[i].fill, ERR_RESET);
        leave(&clients[i]);
    }
    write_some();
    struct client after = fetched("/after", &(struct answer){0}, 1, EACH);
    cr_expect_eq(flight_store_reason(after.flight), REASON_STORED, "everything was given back");
    leave(&after);
    cache_invalidate(cache, &after.key, NULL);
    expect_empty_store("unstored");
}

Test(cache_queue, many_invalidations_of_a_key_wait_as_one)
{
    struct client client = client_for("/a", NULL);

    store_it("/a", 1, 1000);
    write_some();
    break_disk();
    for (unsigned i = 0; i < 10000; i++) {
        cache_invalidate(cache, &client.key, NULL);
    }
    expect_absent("/a", "gone at once");
    mend_disk();
    write_some();
    expect_absent("/a", "and on the disk");
    expect_empty_store("removed");
}

Test(cache_queue, more_invalidations_than_may_wait_give_the_store_up)
{
    char path[32];

    store_it("/a", 1, 1000);
    write_some();
    for (unsigned i = 0; i < 70000 && !store_failed(cache_store(cache)); i++) {
        snprintf(path, sizeof(path), "/removed/%u", i);
        struct client client = client_for(path, NULL);
        cache_invalidate(cache, &client.key, NULL);
    }
    cr_expect(store_failed(cache_store(cache)), "no disk takes them");
    expect_absent("/a", "nothing of it is served");
    while (!cache_write(cache)) {
        struct timespec now = {0};
        cache_stop_writes(cache);
        if (!cache_wait(cache, WAIT_FOR_WORK, &now)) {
            break;
        }
    }
}

Test(cache_queue, a_full_queue_forgets_304s)
{
    struct client busy[8], leader = client_for("/a", NULL);

    store_it("/a", 1, 1000);
    write_some();
    fill_queue(busy);
    cr_assert_eq(find(&leader), STORE_FOUND);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    confirm(&leader, "B: 2\r\n");
    cr_expect_eq(flight_phase(leader.flight), FLIGHT_VALIDATED, "its clients do not mind");
    cr_expect_eq(flight_store_reason(leader.flight), REASON_DISK_BEHIND, "it says so");
    leave(&leader);
    expect_found("/a", 1, "A: 1\r\n", "as if it had not come");
    end_busy(busy);
}

/* What came as a whole is not dropped for a new head that finds no room: it waits for its turn, as any other does. */
Test(cache_queue, a_full_queue_and_the_same_body_again)
{
    enum { LEN = 3 * SLOT };
    struct client busy[8], leader = client_for("/a", NULL);

    store_it("/a", 1, LEN);
    write_some();
    cr_assert_eq(find(&leader), STORE_FOUND);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    struct record record = leader.cached.stored.record;
    struct renewal renewal = {&leader.cached, &record, SPAN("B: 2\r\n")};
    record.inputs = record_of(2 * LIFETIME_S).inputs;
    struct answer answer = {.fields = "B: 2\r\n", .length_known = true, .body_len = LEN};
    cr_assert_eq(give_head(&leader, &answer), ERR_OK);
    give_body(&leader, 1, 0, LEN);
    fill_queue(busy);
    cache_fill_complete_or_renew(leader.fill, SPAN(""), &renewal);
    leader.fill = NULL;
    cr_expect_eq(flight_store_reason(leader.flight), REASON_STORED);
    expect_found("/a", 1, "B: 2\r\n", "while it waits");
    write_some();
    expect_found("/a", 1, "B: 2\r\n", "on the disk");
    leave(&leader);
    end_busy(busy);
}

/* ---- pins ---- */

Test(cache_queue, copies_hold_the_body_until_the_last_is_finished)
{
    for (unsigned i = 0; i < 2; i++) {
        struct client client = client_for("/a", NULL);
        struct cached copy = {0}, none = {0};
        struct arena other;

        arena_init(&other, SUPPORT_ARENA_BYTES);
        store_it("/a", i, 200000);
        if (i == 0) {
            write_some();
        }
        cr_assert_eq(find(&client), STORE_FOUND);
        cr_expect_eq(client.cached.flight != NULL, i == 1, "before the commit the flight holds it");
        cr_expect_eq(client.cached.stored.pinned, i == 0);
        cr_assert(cached_copy(cache, &client.cached, &other, &copy));
        cached_finish(cache, &client.cached);
        cached_finish(cache, &client.cached);
        cache_invalidate(cache, &client.key, NULL);
        write_some();
        expect_absent("/a", "removed");
        cr_expect(reads_as(&copy, i), "the copy still reads");
        cr_expect(span_equal(copy.stored.head, SPAN("A: 1\r\n")));
        cached_finish(cache, &copy);
        cached_finish(cache, &copy);
        cached_finish(cache, &none);
        arena_finish(&other);
        expect_empty_store("every pin is given back");
    }
}

Test(cache_queue, a_copy_that_does_not_fit_holds_nothing)
{
    struct client client = client_for("/a", NULL);
    struct cached copy = {0};
    struct arena small;

    arena_init(&small, 2);
    store_it("/a", 1, 200000);
    cr_assert_eq(find(&client), STORE_FOUND);
    cr_expect_not(cached_copy(cache, &client.cached, &small, &copy));
    cached_finish(cache, &copy);
    write_some();
    cr_assert_eq(find(&client), STORE_FOUND);
    cr_expect_not(cached_copy(cache, &client.cached, &small, &copy));
    cached_finish(cache, &copy);
    arena_finish(&small);
    leave(&client);
    cache_invalidate(cache, &client.key, NULL);
    expect_empty_store("a failed copy");
}
