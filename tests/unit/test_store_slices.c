/* test_store_slices.c: partial responses in the store: what joins what, what takes whose place, and that no body is
 * left behind. */

#include "http/check.h"
#include "store_fixture.h"

enum { SIZE = 32 * 1024 * 1024, LENGTH = 1000000, SLICE = 10000 };

static void setup(void)
{
    fixture_begin(SIZE);
}

TestSuite(store_slices, .init = setup, .fini = fixture_end);

/* A slice of object 1 as a fill publishes it, in one batch. `*out_body` names its body. */
struct put {
    uint64_t first, bytes;
    const char *validator;
    uint64_t stream_bytes; /* that are really there; 0: as many */
    bool done;
    uint64_t object_id, body_id;
};

static void put_slice(struct put *put)
{
    struct support_object object = {.number = 1,
                                    .body_len = (size_t)(put->stream_bytes > 0 ? put->stream_bytes : put->bytes)};
    struct record record = support_record(&object);
    struct slices slices = {.count = 1};
    char encoded[SLICE_BYTES];

    put->body_id = store_new_body_id(store);
    slices.items[0] = (struct slice){.first = put->first,
                                     .end = put->first + put->bytes,
                                     .body_id = put->body_id,
                                     .offset = (uint64_t)record.key_len + record.head_len};
    slices_write(&slices, encoded);
    record.body_len = LENGTH;
    record.slices = (struct span){encoded, sizeof(encoded)};
    record_set_validator(&record, span_of(put->validator));
    cr_assert_eq(support_put_pieces(store, &object, put->body_id), ERR_OK);
    struct store_op op = {
        .kind = STORE_OP_PUBLISH, .body_id = put->body_id, .key = support_key(store, 1, &arena), .record = &record};
    cr_assert_eq(store_apply(store, &op, 1), ERR_OK);
    put->done = op.done;
    put->object_id = op.object_id;
}

static uint64_t objects(void)
{
    struct store_stats stats;

    store_stats_of(store, &stats);
    return stats.objects;
}

static size_t on_runs(void *arg, const struct span *runs, size_t count) /* store_read_fn */
{
    size_t *total = arg;

    for (size_t i = 0; i < count; i++) {
        *total += runs[i].len;
    }
    return *total;
}

static bool body_is_there(uint64_t body_id)
{
    size_t total = 0;
    size_t used;

    return store_read(reader, body_id, 0, 1, on_runs, &total, &used) == ERR_OK;
}

/* What is stored for object 1, unpinned. */
static size_t find_slices(struct slices *out_slices, struct stored *out_stored)
{
    out_slices->count = 0;
    if (support_find(reader, store, 1, NULL, &arena, out_stored) != STORE_FOUND) {
        return 0;
    }
    cr_expect(out_stored->pinned);
    store_unpin_stored(store, &out_stored->record);
    cr_assert(slices_read(out_stored->record.slices, out_stored->record.body_len, out_slices));
    return out_slices->count;
}

/* RFC 9111 §3.4 */
Test(store_slices, slices_with_one_validator_become_one_object)
{
    struct put a = {.first = 0, .bytes = SLICE, .validator = "\"v1\""};
    struct put b = {.first = 50000, .bytes = SLICE, .validator = "\"v1\""};
    struct slices slices;
    struct stored stored;

    put_slice(&a);
    put_slice(&b);
    cr_expect(a.done && b.done);
    cr_expect_eq(a.object_id, b.object_id);
    cr_expect_eq(objects(), 1);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(find_slices(&slices, &stored), 2);
        cr_expect_eq(stored.record.body_id, b.body_id, "the head is that of the newest");
        cr_expect_eq(stored.record.body_len, LENGTH);
        cr_expect_eq(stored.body_start.len, 0);
        cr_expect_eq(slices_at(&slices, 0)->body_id, a.body_id);
        cr_expect_eq(slices_at(&slices, 50000)->body_id, b.body_id);
        size_t total = 0;
        size_t used;
        cr_expect_eq(store_read(reader, a.body_id, slices.items[0].offset, SLICE, on_runs, &total, &used), ERR_OK);
        cr_expect_eq(total, SLICE);
        close_store();
        open_store(SIZE);
    }
}

Test(store_slices, what_cannot_be_combined_takes_the_place_of_the_other)
{
    static const struct {
        const char *name, *first, *second;
    } cases[] = {
        {"another validator", "\"v1\"", "\"v2\""},
        {"none at all", "", ""},
        {"none any more", "\"v1\"", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct put a = {.first = 0, .bytes = SLICE, .validator = cases[i].first};
        struct put b = {.first = 50000, .bytes = SLICE, .validator = cases[i].second};
        struct slices slices;
        struct stored stored;

        cr_assert_eq(support_remove(store, 1), ERR_OK);
        put_slice(&a);
        put_slice(&b);
        cr_expect(b.done, "%s", cases[i].name);
        cr_assert_eq(find_slices(&slices, &stored), 1, "%s", cases[i].name);
        cr_expect_eq(slices.items[0].body_id, b.body_id, "%s", cases[i].name);
        cr_expect_eq(support_settle(store), ERR_OK);
        cr_expect_not(body_is_there(a.body_id), "%s", cases[i].name);
        cr_expect_eq(objects(), 1, "%s", cases[i].name);
    }
}

Test(store_slices, a_slice_does_not_take_the_place_of_the_whole)
{
    struct support_object whole = {.number = 1, .version = 7, .body_len = LENGTH};
    struct put slice = {.first = 0, .bytes = SLICE, .validator = "\"v1\""};
    unsigned version;

    cr_assert_eq(support_put(store, &whole, NULL, NULL), ERR_OK);
    put_slice(&slice);
    cr_expect_not(slice.done);
    cr_expect_eq(support_check(reader, store, 1, NULL, &arena, &version), SUPPORT_GOOD);
    cr_expect_eq(version, 7);
    cr_expect_eq(support_settle(store), ERR_OK);
    cr_expect_not(body_is_there(slice.body_id));
}

Test(store_slices, the_whole_takes_the_place_of_all_of_them)
{
    struct support_object whole = {.number = 1, .version = 7, .body_len = LENGTH};
    struct put a = {.first = 0, .bytes = SLICE, .validator = "\"v1\""};
    struct put b = {.first = 50000, .bytes = SLICE, .validator = "\"v1\""};
    unsigned version;

    put_slice(&a);
    put_slice(&b);
    cr_assert_eq(support_put(store, &whole, NULL, NULL), ERR_OK);
    cr_expect_eq(support_check(reader, store, 1, NULL, &arena, &version), SUPPORT_GOOD);
    cr_expect_eq(support_settle(store), ERR_OK);
    cr_expect_not(body_is_there(a.body_id));
    cr_expect_not(body_is_there(b.body_id));
    cr_expect_eq(objects(), 1);
}

Test(store_slices, what_is_there_already_is_not_kept_twice)
{
    struct put a = {.first = 0, .bytes = SLICE, .validator = "\"v1\""};
    struct put again = {.first = 10, .bytes = 100, .validator = "\"v1\""};
    struct slices slices;
    struct stored stored;

    put_slice(&a);
    put_slice(&again);
    cr_expect_not(again.done);
    cr_expect_eq(find_slices(&slices, &stored), 1);
    cr_expect_eq(support_settle(store), ERR_OK);
    cr_expect_not(body_is_there(again.body_id));
}

Test(store_slices, the_number_of_slices_is_bounded)
{
    struct slices slices;
    struct stored stored;

    for (unsigned i = 0; i < SLICES_MAX + 3; i++) {
        struct put put = {.first = 100 * i, .bytes = 50, .validator = "\"v1\""};
        put_slice(&put);
        cr_expect_eq(put.done, i < SLICES_MAX, "%u", i);
    }
    cr_expect_eq(find_slices(&slices, &stored), SLICES_MAX);
}

Test(store_slices, a_body_of_another_length_is_not_published)
{
    struct put put = {.first = 0, .bytes = SLICE, .validator = "\"v1\"", .stream_bytes = SLICE - 1};
    struct slices slices;
    struct stored stored;

    put_slice(&put);
    cr_expect_not(put.done);
    cr_expect_eq(find_slices(&slices, &stored), 0);
}

Test(store_slices, all_bodies_stay_while_they_are_pinned)
{
    struct put a = {.first = 0, .bytes = SLICE, .validator = "\"v1\""};
    struct put b = {.first = 50000, .bytes = SLICE, .validator = "\"v1\""};
    struct stored stored;

    put_slice(&a);
    put_slice(&b);
    cr_assert_eq(support_find(reader, store, 1, NULL, &arena, &stored), STORE_FOUND);
    cr_assert_eq(support_remove(store, 1), ERR_OK);
    cr_expect_eq(support_settle(store), ERR_OK);
    cr_expect(body_is_there(a.body_id) && body_is_there(b.body_id));
    store_unpin_stored(store, &stored.record);
    cr_expect_eq(support_settle(store), ERR_OK);
    cr_expect_not(body_is_there(a.body_id));
    cr_expect_not(body_is_there(b.body_id));
    cr_expect_eq(objects(), 0);
}

/* The record that was read before a slice came does not know it. */
Test(store_slices, a_freshening_of_what_has_grown_is_ignored)
{
    struct put a = {.first = 0, .bytes = SLICE, .validator = "\"v1\""};
    struct put b = {.first = 50000, .bytes = SLICE, .validator = "\"v1\""};
    struct slices slices;
    struct stored before;
    struct stored after;

    put_slice(&a);
    cr_assert_eq(find_slices(&slices, &before), 1);
    put_slice(&b);
    struct store_op op = {.kind = STORE_OP_FRESHEN, .object_id = a.object_id, .record = &before.record};
    cr_assert_eq(store_apply(store, &op, 1), ERR_OK);
    cr_expect_not(op.done);
    cr_expect_eq(find_slices(&slices, &after), 2);
    op.record = &after.record;
    cr_assert_eq(store_apply(store, &op, 1), ERR_OK);
    cr_expect(op.done);
    cr_expect_eq(find_slices(&slices, &after), 2);
}

/* Objects of three bodies each, more than there is room for: nothing of what was evicted stays. */
Test(store_slices, eviction_takes_all_bodies)
{
    struct store_stats stats;
    struct slices slices;
    struct stored stored;

    for (unsigned i = 0; i < 3; i++) {
        struct put put = {.first = i * 300000, .bytes = 300000, .validator = "\"v1\""};
        put_slice(&put);
    }
    for (unsigned i = 0; i < 120; i++) {
        struct support_object filler = {.number = 100 + i, .body_len = 500000};
        cr_assert_eq(support_put(store, &filler, NULL, NULL), ERR_OK);
    }
    cr_expect_eq(find_slices(&slices, &stored), 0, "evicted");
    cr_expect_eq(support_settle(store), ERR_OK);
    store_stats_of(store, &stats);
    cr_expect_eq(stats.reclaim_bodies, 0);
    for (unsigned i = 0; i < 120; i++) {
        cr_assert_eq(support_remove(store, 100 + i), ERR_OK);
    }
    cr_expect_eq(support_settle(store), ERR_OK);
    store_stats_of(store, &stats);
    cr_expect_lt(stats.used_bytes, 1024 * 1024, "no piece is left behind");
}
