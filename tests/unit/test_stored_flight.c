/* test_stored_flight.c: the bytes of a fetch that is being stored: what is written when, and what leaves memory. */
#include <criterion/criterion.h>
#include <string.h>

#include "flight_fixture.h"
#include "store_support.h"

enum { STORE_SIZE = 16 * 1024 * 1024 };

static char dir[SUPPORT_PATH_BYTES];
static struct store *store;

static void setup(void)
{
    flight_begin();
    support_dir_make(dir);
    store = support_open(dir, STORE_SIZE);
    struct flight_head head = {
        .status = 200, .fields = SPAN("A: 1\r\n"), .shared = true, .record.body_id = store_new_body_id(store)};
    cr_assert_eq(flight_set_head(flight, &head, store, WINDOW), ERR_OK);
}

static void teardown(void)
{
    flight_end();
    store_close(store);
    support_dir_remove(dir);
}

TestSuite(stored_flight, .init = setup, .fini = teardown);

/* Takes the next piece to write; its length, 0 if there is none. */
static size_t next_write(uint64_t want_offset)
{
    struct segment *segment;
    struct span bytes;
    uint64_t offset;

    if (!flight_next_write(flight, &offset, &segment, &bytes)) {
        return 0;
    }
    cr_expect_eq(offset, want_offset);
    cr_expect_eq(flight_written(flight), want_offset + bytes.len);
    segment_unref(segment);
    return bytes.len;
}

Test(stored_flight, the_stream_begins_with_key_and_head)
{
    struct segment *segment;
    struct span run;

    cr_expect_eq(flight_body_offset(flight), strlen("GET http://a.test/A: 1\r\n"));
    cr_expect_eq(flight_head(flight)->record.key_len, strlen("GET http://a.test/"));
    cr_expect_eq(flight_head(flight)->record.head_len, strlen("A: 1\r\n"));
    cr_assert_eq(flight_read(flight, 0, &segment, &run), FLIGHT_READ_DATA);
    cr_expect(span_equal(run, SPAN("GET http://a.test/A: 1\r\n")));
    segment_unref(segment);
    cr_expect(flight_wanted(flight), "by the store");
    cr_expect(flight_is_storing(flight));
}

Test(stored_flight, full_slots_are_written_and_the_rest_at_the_end)
{
    size_t prefix = (size_t)flight_body_offset(flight);

    cr_expect_eq(next_write(0), 0);
    append(SLOT - prefix - 1);
    cr_expect_eq(next_write(0), 0, "one byte is missing");
    append(1);
    cr_expect_eq(next_write(0), SLOT);
    cr_expect_eq(next_write(0), 0, "once");
    append(SLOT + 5);
    cr_expect_eq(next_write(SLOT), SLOT);
    cr_expect_eq(next_write(0), 0, "the rest may grow");
    flight_complete(flight, SPAN(""));
    cr_expect_eq(next_write(2 * SLOT), 5);
    cr_expect_eq(next_write(0), 0);
}

Test(stored_flight, what_is_committed_leaves_memory_and_nothing_else)
{
    struct waiter one = waiter_new(), producer = waiter_new();
    uint64_t prefix = flight_body_offset(flight);
    uint64_t count;

    flight_set_producer(flight, &producer.party);
    cr_expect(flight_join(flight, &one.party));
    append(WINDOW);
    cr_expect_eq(flight_room(flight), 0);
    while (next_write(flight_written(flight)) > 0) {
    }
    flight_consumed(flight, &one.party, WINDOW);
    cr_expect_eq(producer.wakes, 0, "consumed is not committed: others may join");
    struct waiter late = waiter_new();
    cr_expect(flight_join(flight, &late.party), "from the first byte");
    flight_committed(flight, SLOT);
    cr_expect_eq(producer.wakes, 1);
    flight_committed(flight, SLOT);
    cr_expect_eq(producer.wakes, 1, "nothing new");
    cr_expect_eq(read_all(0, &count), FLIGHT_READ_IN_STORE);
    cr_expect_eq(read_all(SLOT - prefix, &count), FLIGHT_READ_WAIT);
    cr_expect_eq(count, WINDOW - (SLOT - prefix));
    flight_complete(flight, SPAN(""));
    cr_expect_gt(next_write(flight_written(flight)), 0);
    flight_committed(flight, flight_length(flight));
    cr_expect_eq(read_all(WINDOW - 1, &count), FLIGHT_READ_IN_STORE);
    cr_expect_eq(read_all(WINDOW, &count), FLIGHT_READ_END);
    flight_unfollow(flight, &one.party);
    flight_unfollow(flight, &late.party);
}

Test(stored_flight, when_storing_stops_followers_go_on_and_nobody_joins)
{
    struct waiter one = waiter_new(), producer = waiter_new(), late = waiter_new();
    uint64_t prefix = flight_body_offset(flight);
    uint64_t count;

    flight_set_producer(flight, &producer.party);
    flight_follow(flight, &one.party);
    append(WINDOW);
    cr_expect_eq(next_write(0), SLOT);
    flight_committed(flight, SLOT);
    unsigned wakes = one.wakes;
    flight_stop_storing(flight);
    cr_expect_eq(one.wakes, wakes + 1);
    cr_expect_eq(producer.wakes, 1);
    flight_stop_storing(flight);
    cr_expect_eq(one.wakes, wakes + 1, "once");
    cr_expect_not(flight_is_storing(flight));
    cr_expect_not(flight_join(flight, &late.party));
    cr_expect_eq(next_write(0), 0);
    cr_expect_eq(read_all(0, &count), FLIGHT_READ_IN_STORE, "what was committed is pinned there");
    cr_expect_eq(read_all(SLOT - prefix, &count), FLIGHT_READ_WAIT, "all the rest is here");
    flight_consumed(flight, &one.party, 2 * SLOT);
    cr_expect_eq(read_all(3 * SLOT - prefix, &count), FLIGHT_READ_WAIT);
    cr_expect_gt(flight_room(flight), SLOT - 1, "what is consumed is gone");
    flight_complete(flight, SPAN(""));
    cr_expect_not(flight_keep(flight), "it cannot be found by look-ups any more");
    flight_unfollow(flight, &one.party);
}

Test(stored_flight, who_catches_up_from_the_store_is_not_too_slow)
{
    struct waiter first = waiter_new(), second = waiter_new();

    flight_follow(flight, &first.party);
    flight_follow(flight, &second.party);
    append(6 * SLOT);
    while (next_write(flight_written(flight)) > 0) {
    }
    flight_committed(flight, 4 * SLOT);
    flight_stop_storing(flight);
    flight_consumed(flight, &first.party, 1);
    flight_consumed(flight, &second.party, WINDOW / 2 + 2 * SLOT);
    cr_expect_eq(flight_shed_slow(flight, SHED_ALL), 0, "nothing that is only in memory would go");
    flight_consumed(flight, &second.party, WINDOW / 2 + 4 * SLOT + 1);
    cr_expect_eq(flight_shed_slow(flight, SHED_ALL), 1, "now something would");
    flight_unfollow(flight, &first.party);
    flight_unfollow(flight, &second.party);
}

/* A look-up may have given it to someone who does not follow. */
Test(stored_flight, a_kept_one_keeps_its_bytes_though_storing_stops)
{
    struct waiter one = waiter_new();
    uint64_t count;

    flight_follow(flight, &one.party);
    append(2 * SLOT);
    flight_complete(flight, SPAN(""));
    cr_expect(flight_keep(flight));
    flight_stop_storing(flight);
    flight_consumed(flight, &one.party, flight_length(flight));
    cr_expect_eq(read_all(0, &count), FLIGHT_READ_END);
    cr_expect_eq(count, 2 * SLOT);
    flight_unfollow(flight, &one.party);
    cr_expect_eq(read_all(0, &count), FLIGHT_READ_END);
}

Test(stored_flight, object_id_and_reason)
{
    cr_expect_eq(flight_object_id(flight), 0);
    flight_set_object_id(flight, 77);
    cr_expect_eq(flight_object_id(flight), 77);
    flight_set_store_reason(flight, REASON_TOO_LARGE);
    cr_expect_eq(flight_store_reason(flight), REASON_TOO_LARGE);
}
