/* test_flight.c: one fetch's bytes: who reads them, how long they stay, who is woken. */
#include <criterion/criterion.h>
#include <string.h>

#include "flight_fixture.h"

TestSuite(flight, .init = flight_begin, .fini = flight_end);

static void set_head(void)
{
    struct flight_head head = {.status = 200, .fields = SPAN("A: 1\r\n")};

    cr_assert_eq(flight_set_head(flight, &head, NULL, 0), ERR_OK);
}

Test(flight, phases_and_who_is_woken)
{
    struct waiter one = waiter_new(), two = waiter_new(), producer = waiter_new();

    cr_expect(span_equal(flight_key(flight), SPAN("GET http://a.test/")));
    cr_expect_eq(flight_phase(flight), FLIGHT_PENDING);
    cr_expect_not(flight_wanted(flight), "nobody follows yet");
    flight_set_producer(flight, &producer.party);
    flight_follow(flight, &one.party);
    cr_expect(flight_join(flight, &two.party), "a second one, before the head");
    cr_expect_eq(flight_follower_count(flight, 3), 2);
    cr_expect(flight_wanted(flight));
    set_head();
    cr_expect_eq(flight_phase(flight), FLIGHT_STREAMING);
    cr_expect_eq(one.wakes, 1, "the head");
    cr_expect_eq(two.wakes, 1);
    cr_expect(span_equal(flight_head(flight)->fields, SPAN("A: 1\r\n")), "copied");
    append(10);
    cr_expect_eq(one.wakes, 2, "bytes");
    flight_unfollow(flight, &two.party);
    flight_unfollow(flight, &two.party);
    cr_expect_eq(producer.wakes, 1, "it may not be wanted any more");
    flight_complete(flight, SPAN("T: 1\r\n"));
    cr_expect_eq(one.wakes, 3, "the end");
    cr_expect_eq(two.wakes, 2, "one that left is not woken");
    cr_expect_eq(flight_phase(flight), FLIGHT_COMPLETE);
    cr_expect(span_equal(flight_trailers(flight), SPAN("T: 1\r\n")));
    flight_set_producer(flight, NULL);
    flight_unfollow(flight, &one.party);
    cr_expect_eq(producer.wakes, 1, "no wake after it has gone");
    cr_expect_not(flight_wanted(flight));
}

Test(flight, ends_before_a_head)
{
    struct waiter one = waiter_new();
    struct segment *segment;
    struct span run;

    flight_follow(flight, &one.party);
    cr_expect_eq(flight_read(flight, 0, &segment, &run), FLIGHT_READ_WAIT);
    flight_fail(flight, ERR_TIMEOUT);
    cr_expect_eq(one.wakes, 1);
    cr_expect_eq(flight_phase(flight), FLIGHT_FAILED);
    cr_expect_eq(flight_error(flight), ERR_TIMEOUT);
    cr_expect_eq(flight_read(flight, 0, &segment, &run), FLIGHT_READ_FAILED);
    struct waiter late = waiter_new();
    cr_expect_not(flight_join(flight, &late.party), "too late");
    flight_unfollow(flight, &late.party);
    flight_unfollow(flight, &one.party);
}

Test(flight, bytes_appended_never_change_however_they_come)
{
    static const struct {
        const char *name;
        size_t step, total;
        bool length_known;
    } cases[] = {
        {"one byte at a time", 1, 10000, false},     {"pieces that fit into nothing", 4097, 3 * SLOT + 17, false},
        {"a slot at a time", SLOT, 3 * SLOT, false}, {"more than a slot at a time", 2 * SLOT + 1, 6 * SLOT + 3, false},
        {"the length is known", 1000, 100000, true}, {"the length is known, and small", 7, 10, true},
        {"exactly a slot", SLOT, SLOT, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct flight_head head = {.length_known = cases[i].length_known, .body_len = cases[i].total};
        struct segment *first = NULL;
        struct span run = {NULL, 0};
        uint64_t count;

        flight_unref(flight);
        flight = flight_create(SPAN("key"), BODY_MAX * 2, NULL);
        cr_assert_not_null(flight);
        cr_assert_eq(flight_set_head(flight, &head, NULL, 0), ERR_OK);
        for (size_t at = 0; at < cases[i].total; at += cases[i].step) {
            size_t left = cases[i].total - at;
            append(left < cases[i].step ? left : cases[i].step);
            if (first == NULL) {
                cr_assert_eq(flight_read(flight, 0, &first, &run), FLIGHT_READ_DATA, "%s", cases[i].name);
            }
            cr_expect_eq(memcmp(run.data, body, run.len), 0, "%s: a run that was read stays", cases[i].name);
        }
        cr_expect_eq(read_all(0, &count), FLIGHT_READ_WAIT, "%s", cases[i].name);
        cr_expect_eq(count, cases[i].total, "%s", cases[i].name);
        cr_expect_eq(read_all(count / 3, &count), FLIGHT_READ_WAIT, "%s: from anywhere", cases[i].name);
        flight_complete(flight, SPAN(""));
        cr_expect_eq(read_all(0, &count), FLIGHT_READ_END, "%s", cases[i].name);
        cr_expect_eq(flight_trailers(flight).len, 0);
        segment_unref(first);
    }
}

Test(flight, where_all_streams_have_their_memory_each_gets_little)
{
    struct stream_memory memory;
    struct flight_head head = {.length_known = false};

    stream_memory_init(&memory, 3 * SLOT);
    struct flight *other = flight_create(SPAN("other"), BODY_MAX * 2, &memory);
    cr_assert_not_null(other);
    flight_unref(flight);
    flight = flight_create(SPAN("key"), BODY_MAX * 2, &memory);
    cr_assert_not_null(flight);
    cr_assert_eq(flight_set_head(flight, &head, NULL, 0), ERR_OK);
    cr_assert_eq(flight_set_head(other, &head, NULL, 0), ERR_OK);
    append(2 * SLOT);
    cr_expect_gt(flight_room(flight), SLOT, "there is enough");
    cr_assert_eq(flight_append(other, (struct span){body, SLOT}), ERR_OK);
    cr_expect_geq(atomic_load(&memory.bytes), memory.limit_bytes);
    cr_expect_eq(flight_room(flight), 0, "it has its share");
    cr_expect_gt(flight_room(other), 0, "this one still gets on");
    flight_unref(other);
    cr_expect_gt(flight_room(flight), SLOT, "there is enough again");
    flight_unref(flight);
    cr_expect_eq(atomic_load(&memory.bytes), 0);
    stream_memory_finish(&memory);
    flight = flight_create(SPAN("key"), BODY_MAX, NULL);
}

Test(flight, a_body_that_breaks_off_is_read_to_there_and_fails)
{
    struct waiter one = waiter_new();
    uint64_t count;

    flight_follow(flight, &one.party);
    set_head();
    append(1000);
    flight_fail(flight, ERR_RESET);
    cr_expect_eq(read_all(0, &count), FLIGHT_READ_FAILED);
    cr_expect_eq(count, 1000);
    flight_unfollow(flight, &one.party);
}

Test(flight, the_slowest_follower_holds_the_window)
{
    struct waiter fast = waiter_new(), slow = waiter_new(), producer = waiter_new();
    uint64_t count;

    flight_set_producer(flight, &producer.party);
    flight_follow(flight, &fast.party);
    flight_follow(flight, &slow.party);
    set_head();
    cr_expect_eq(flight_room(flight), WINDOW);
    append(WINDOW - 1);
    cr_expect_eq(flight_room(flight), 1);
    append(1);
    cr_expect_eq(flight_room(flight), 0);
    flight_consumed(flight, &fast.party, WINDOW);
    cr_expect_eq(producer.wakes, 0, "the slow one needs everything");
    flight_consumed(flight, &slow.party, SLOT - 1);
    cr_expect_eq(producer.wakes, 0, "memory comes back in slots");
    flight_consumed(flight, &slow.party, SLOT);
    cr_expect_eq(producer.wakes, 1, "room again");
    flight_consumed(flight, &slow.party, 2 * SLOT);
    cr_expect_eq(producer.wakes, 1, "told once");
    cr_expect_eq(flight_room(flight), 2 * SLOT);
    cr_expect_eq(read_all(2 * SLOT, &count), FLIGHT_READ_WAIT);
    cr_expect_eq(count, SLOT);
    struct waiter late = waiter_new();
    cr_expect_not(flight_join(flight, &late.party), "its first bytes are gone");
    append(2 * SLOT);
    cr_expect_eq(flight_room(flight), 0);
    flight_unfollow(flight, &slow.party);
    cr_expect_gt(producer.wakes, 1, "for room, and for perhaps being wanted no more");
    cr_expect_eq(flight_room(flight), SLOT * 1, "what the fast one has consumed is gone");
    append(SLOT * 5);
    cr_expect_eq(flight_room(flight), 0, "bytes at hand are taken beyond the window");
    flight_complete(flight, SPAN(""));
    flight_consumed(flight, &fast.party, 10 * SLOT);
    cr_expect_eq(read_all(10 * SLOT, &count), FLIGHT_READ_END);
    flight_unfollow(flight, &fast.party);
}

Test(flight, who_is_too_slow_for_the_others_is_given_up)
{
    static const struct {
        const char *name;
        uint64_t slow_read; /* before the second look */
        enum shed which;
        bool shed;
    } cases[] = {
        {"it stands still", 0, SHED_IDLE, true},
        {"less than a slot", SLOT - 1, SHED_IDLE, true},
        {"it gets on", SLOT, SHED_IDLE, false},
        {"it gets on, and the others have waited enough", SLOT, SHED_ALL, true},
        {"it is not half a window behind", WINDOW + SLOT, SHED_ALL, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct waiter fast = waiter_new(), slow = waiter_new();
        struct segment *segment = NULL;
        struct span run;

        flight_unref(flight);
        flight_begin();
        flight_follow(flight, &fast.party);
        flight_follow(flight, &slow.party);
        set_head();
        append(WINDOW + 2 * SLOT);
        cr_expect_eq(flight_shed_slow(flight, SHED_IDLE), 0, "%s: nobody is ahead of anybody", cases[i].name);
        flight_consumed(flight, &fast.party, WINDOW + 2 * SLOT);
        flight_consumed(flight, &slow.party, cases[i].slow_read);
        cr_expect_eq(flight_shed_slow(flight, cases[i].which), cases[i].shed, "%s", cases[i].name);
        enum flight_read read = flight_read(flight, cases[i].slow_read, &segment, &run);
        cr_expect_eq(read, cases[i].shed ? FLIGHT_READ_SHED : FLIGHT_READ_DATA, "%s", cases[i].name);
        cr_expect(!cases[i].shed || flight_room(flight) > 0, "%s: the other gets on", cases[i].name);
        cr_expect(!cases[i].shed || flight_shed_slow(flight, SHED_IDLE) == 0, "%s: told of once", cases[i].name);
        if (segment != NULL) {
            segment_unref(segment);
        }
        flight_unfollow(flight, &fast.party);
        flight_unfollow(flight, &slow.party);
    }
}

/* As one does that wants the end of the body only, and waits for it. */
Test(flight, who_waits_for_later_bytes_is_no_further_than_the_others)
{
    struct waiter far = waiter_new(), fast = waiter_new(), slow = waiter_new();
    struct segment *segment = NULL;
    struct span run;

    flight_follow(flight, &far.party);
    flight_follow(flight, &fast.party);
    flight_follow(flight, &slow.party);
    set_head();
    append(WINDOW);
    uint64_t at = flight_length(flight);
    flight_consumed(flight, &far.party, 10 * WINDOW);
    flight_consumed(flight, &fast.party, at);
    cr_expect_eq(flight_shed_slow(flight, SHED_IDLE) + flight_shed_slow(flight, SHED_IDLE), 1, "the slow one, once");
    append(2 * SLOT);
    flight_consumed(flight, &far.party, 10 * WINDOW);
    cr_assert_eq(flight_read(flight, at, &segment, &run), FLIGHT_READ_DATA, "the fast one gets what came since");
    segment_unref(segment);
    flight_unfollow(flight, &fast.party);
    flight_unfollow(flight, &slow.party);
    flight_unfollow(flight, &far.party);
}
