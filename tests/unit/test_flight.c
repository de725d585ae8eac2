/* test_flight.c: one fetch's bytes: who reads them, how long they stay, who is woken. */
#include <criterion/criterion.h>
#include <string.h>

#include "cache/flight.h"
#include "store_support.h"

enum {
    SLOT = 16 * STORE_PIECE_BYTES, /* what is written, and given back, at a time */
    WINDOW = 3 * SLOT,
    STORE_SIZE = 16 * 1024 * 1024,
    BODY_MAX = 1024 * 1024,
};

struct waiter {
    struct party party;
    unsigned wakes;
};

static char body[BODY_MAX];
static struct flight *flight;

static void on_wake(struct party *party)
{
    CONTAINER_OF(party, struct waiter, party)->wakes++;
}

static struct waiter waiter_new(void)
{
    return (struct waiter){.party.wake = on_wake};
}

static void setup(void)
{
    for (size_t i = 0; i < BODY_MAX; i++) {
        body[i] = (char)(i * 7 + i / 253);
    }
    flight = flight_create(SPAN("GET http://a.test/"), WINDOW, NULL);
    cr_assert_not_null(flight);
}

static void teardown(void)
{
    flight_unref(flight);
}

TestSuite(flight, .init = setup, .fini = teardown, .timeout = 60);

static void set_head(void)
{
    struct flight_head head = {.status = 200, .fields = SPAN("A: 1\r\n")};

    cr_assert_eq(flight_set_head(flight, &head, NULL, 0), ERR_OK);
}

/* Appends `count` bytes of the body behind what is there. */
static void append(size_t count)
{
    size_t at = (size_t)(flight_length(flight) - flight_body_offset(flight));

    cr_assert_leq(at + count, BODY_MAX);
    cr_assert_eq(flight_append(flight, (struct span){body + at, count}), ERR_OK);
}

/* Reads body bytes from `from` as far as they go, comparing; what the last read said. */
static enum flight_read read_all(uint64_t from, uint64_t *out_read)
{
    uint64_t at = from;
    enum flight_read result;

    for (;;) {
        struct segment *segment;
        struct span run;
        result = flight_read(flight, flight_body_offset(flight) + at, &segment, &run);
        if (result != FLIGHT_READ_DATA) {
            break;
        }
        cr_assert_gt(run.len, 0);
        cr_expect_eq(memcmp(run.data, body + at, run.len), 0, "the bytes at %zu", (size_t)at);
        at += run.len;
        segment_unref(segment);
    }
    *out_read = at - from;
    return result;
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
    cr_expect(flight_has_followers(flight));
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
    flight_wake_all(flight);
    cr_expect_eq(one.wakes, 4);
    cr_expect_eq(producer.wakes, 2);
    flight_set_producer(flight, NULL);
    flight_unfollow(flight, &one.party);
    cr_expect_eq(producer.wakes, 2, "no wake after it has gone");
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
    struct stream_memory memory = {.limit_bytes = 3 * SLOT};
    struct flight_head head = {.length_known = false};
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

/* ---- being stored ---- */

static char dir[SUPPORT_PATH_BYTES];
static struct store *store;

static void setup_stored(void)
{
    setup();
    support_dir_make(dir);
    store = support_open(dir, STORE_SIZE);
    struct flight_head head = {
        .status = 200, .fields = SPAN("A: 1\r\n"), .shared = true, .record.body_id = store_new_body_id(store)};
    cr_assert_eq(flight_set_head(flight, &head, store, WINDOW), ERR_OK);
}

static void teardown_stored(void)
{
    teardown();
    store_close(store);
    support_dir_remove(dir);
}

TestSuite(stored_flight, .init = setup_stored, .fini = teardown_stored, .timeout = 60);

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
