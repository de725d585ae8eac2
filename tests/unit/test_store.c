/* test_store.c: what is stored is found, whole, until it is replaced or removed. */
#include <stdio.h>
#include <string.h>

#include "store_fixture.h"

enum { SIZE = 64 * 1024 * 1024 };

static void setup(void)
{
    fixture_begin(SIZE);
}

TestSuite(store, .init = setup, .fini = fixture_end);

static void expect_version(unsigned number, const char *variant, unsigned version, const char *name)
{
    unsigned found = 0;

    arena_reset(&arena);
    enum support_outcome outcome = support_check(reader, store, number, variant, &arena, &found);
    cr_expect_eq(outcome, SUPPORT_GOOD, "%s: object %u", name, number);
    cr_expect_eq(found, version, "%s: object %u has version %u", name, number, found);
}

static void expect_absent(unsigned number, const char *variant, const char *name)
{
    unsigned found = 0;

    arena_reset(&arena);
    cr_expect_eq(support_check(reader, store, number, variant, &arena, &found), SUPPORT_ABSENT, "%s", name);
}

Test(store, nothing_is_found_in_an_empty_store)
{
    struct store_stats stats;

    expect_absent(1, NULL, "empty");
    store_stats_of(store, &stats);
    cr_expect_eq(stats.objects, 0);
    cr_expect_eq(stats.size_bytes, SIZE);
    cr_expect_lt(stats.used_bytes, 100 * 1024);
    cr_expect_not(store_wants_apply(store));
    cr_expect_eq(store_apply(store, NULL, 0), ERR_OK);
}

Test(store, round_trip)
{
    static const struct {
        const char *name;
        size_t body_len, head_padding;
        bool pinned;
    } cases[] = {
        {"no body", 0, 0, false},
        {"a small body", 100, 0, false},
        {"a piece less one", STORE_PIECE_BYTES - 120, 0, false},
        {"about a piece", STORE_PIECE_BYTES, 0, false},
        {"almost four pieces", 4 * STORE_PIECE_BYTES - 200, 0, false},
        {"five pieces", 4 * STORE_PIECE_BYTES + 100, 0, true},
        {"a head of several pieces", 10, 20000, false},
        {"a head and a body of several pieces", 30000, 20000, true},
        {"a large body", 1000000, 300, true},
        {"a body of several batches", 10 * 1024 * 1024, 0, true},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct support_object object = {
            .number = i, .version = 7, .body_len = cases[i].body_len, .head_padding = cases[i].head_padding};
        struct stored stored;

        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK, "%s", cases[i].name);
        arena_reset(&arena);
        cr_assert_eq(support_find(reader, store, i, NULL, &arena, &stored), STORE_FOUND, "%s", cases[i].name);
        cr_expect_eq(stored.pinned, cases[i].pinned, "%s", cases[i].name);
        cr_expect_eq(stored.record.body_len, cases[i].body_len, "%s", cases[i].name);
        cr_expect(stored.pinned || stored.body_start.len == cases[i].body_len, "%s", cases[i].name);
        cr_expect_eq(stored.selection.len, 0, "%s", cases[i].name);
        if (stored.pinned) {
            store_unpin(store, stored.record.body_id);
        }
        expect_version(i, NULL, 7, cases[i].name);
    }
    close_store();
    open_store(SIZE);
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        expect_version(i, NULL, 7, "after a new start");
    }
}

Test(store, every_length_around_the_pieces)
{
    for (unsigned i = 0; i < 300; i++) {
        struct support_object object = {.number = i, .body_len = STORE_PIECE_BYTES * (1 + i % 5) - 250 + i};

        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
        expect_version(i, NULL, 0, "length");
    }
}

static size_t on_some(void *arg, const struct span *runs, size_t count) /* store_read_fn */
{
    size_t *total = arg;

    for (size_t i = 0; i < count; i++) {
        *total += runs[i].len;
    }
    return 5;
}

Test(store, read_gives_what_was_asked_for)
{
    struct support_object object = {.number = 1, .body_len = 100000};
    struct stored stored;
    size_t total = 0;
    size_t used = 0;

    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    cr_assert_eq(support_find(reader, store, 1, NULL, &arena, &stored), STORE_FOUND);
    uint64_t body_id = stored.record.body_id;
    uint64_t end = (uint64_t)stored.record.key_len + stored.record.head_len + 100000;
    cr_expect_eq(store_read(reader, body_id, 0, 1, on_some, &total, &used), ERR_OK);
    cr_expect_eq(total, 1);
    cr_expect_eq(used, 5, "what the callback says");
    total = 0;
    cr_expect_eq(store_read(reader, body_id, 4000, 1000, on_some, &total, &used), ERR_OK);
    cr_expect_eq(total, 1000, "over the end of a piece");
    total = 0;
    cr_expect_eq(store_read(reader, body_id, end - 10, 1000, on_some, &total, &used), ERR_OK);
    cr_expect_eq(total, 10, "up to the end");
    total = 0;
    cr_expect_eq(store_read(reader, body_id, 0, SIZE_MAX, on_some, &total, &used), ERR_OK);
    cr_expect_eq(total, end, "all of it");
    total = 0;
    cr_expect_eq(store_read(reader, body_id, end, 1000, on_some, &total, &used), ERR_NOT_FOUND, "at the end");
    cr_expect_eq(store_read(reader, body_id, UINT64_MAX, 1, on_some, &total, &used), ERR_NOT_FOUND, "far behind it");
    cr_expect_eq(store_read(reader, body_id + 1, 0, 1000, on_some, &total, &used), ERR_NOT_FOUND, "another body");
    cr_expect_eq(store_read(reader, 0, 0, 1000, on_some, &total, &used), ERR_NOT_FOUND, "no body");
    cr_expect_eq(total, 0);
    store_unpin(store, body_id);
}

Test(store, a_read_ends_at_its_number_of_pieces)
{
    struct support_object object = {.number = 1, .body_len = 1000000};
    struct stored stored;
    size_t total = 0;
    size_t used;

    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    cr_assert_eq(support_find(reader, store, 1, NULL, &arena, &stored), STORE_FOUND);
    cr_expect_eq(store_read(reader, stored.record.body_id, 0, SIZE_MAX, on_some, &total, &used), ERR_OK);
    cr_expect_eq(total, STORE_READ_MAX_PIECES * STORE_PIECE_BYTES);
    store_unpin(store, stored.record.body_id);
}

Test(store, an_unfinished_body_can_be_read_and_not_found)
{
    struct support_object object = {.number = 1, .body_len = 50000};
    uint64_t body_id = store_new_body_id(store);
    size_t total = 0;
    size_t used;

    cr_assert_eq(support_put_pieces(store, &object, body_id), ERR_OK);
    expect_absent(1, NULL, "not published");
    cr_expect(store_pin(store, body_id));
    struct store_op drop = {.kind = STORE_OP_DROP_BODY, .body_id = body_id};
    cr_expect_eq(store_apply(store, &drop, 1), ERR_OK);
    cr_expect(drop.done);
    cr_expect_eq(store_read(reader, body_id, 0, 1000, on_some, &total, &used), ERR_OK, "a follower still reads");
    cr_expect_not(store_wants_apply(store));
    store_unpin(store, body_id);
    cr_expect(store_wants_apply(store));
    cr_expect_eq(support_settle(store), ERR_OK);
    cr_expect_eq(store_read(reader, body_id, 0, 1000, on_some, &total, &used), ERR_NOT_FOUND);
}

Test(store, variants)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    struct support_object object = {.number = 1, .body_len = 30000};

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        object.variant = names[i];
        object.version = i;
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    }
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        expect_version(1, names[i], i, "each has its own");
    }
    struct stored stored;
    cr_expect_eq(support_find(reader, store, 1, "e", &arena, &stored), STORE_OTHER_VARIANTS);
    cr_expect_eq(support_find(reader, store, 1, NULL, &arena, &stored), STORE_OTHER_VARIANTS);

    object.variant = "b";
    object.version = 20;
    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    expect_version(1, "b", 20, "replaced");
    expect_version(1, "a", 0, "the others stay");
    struct store_stats stats;
    store_stats_of(store, &stats);
    cr_expect_eq(stats.objects, 4, "the old one is gone");

    object.variant = "e";
    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    expect_version(1, "e", 20, "a fifth");
    expect_absent(1, "a", "the oldest made room");
    expect_version(1, "c", 2, "the younger did not");

    object.variant = NULL;
    object.version = 30;
    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    expect_version(1, "b", 30, "newest first: one without Vary serves all");
    store_stats_of(store, &stats);
    cr_expect_eq(stats.objects, 4);
}

static bool on_variant(void *arg, const struct stored *stored) /* store_variant_fn */
{
    struct buf *seen = arg;

    cr_expect_not(stored->pinned);
    cr_expect_eq(stored->body_start.len, 0);
    buf_format(seen, "%llu ", (unsigned long long)stored->record.object_id);
    return seen->len < 8;
}

Test(store, each_variant_newest_first)
{
    struct support_object object = {.number = 1, .body_len = 30000};
    struct buf seen;

    buf_init(&seen, 1000);
    for (unsigned i = 0; i < 5; i++) {
        char name[2] = {(char)('a' + i), 0};
        object.variant = name;
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    }
    struct key key = support_key(store, 1, &arena);
    cr_expect_eq(store_each_variant(reader, &key, &arena, on_variant, &seen), STORE_FOUND);
    cr_expect(span_equal(buf_span(&seen), SPAN("5 4 3 2 ")), "%.*s", SPAN_ARG(buf_span(&seen)));
    key = support_key(store, 2, &arena);
    cr_expect_eq(store_each_variant(reader, &key, &arena, on_variant, &seen), STORE_ABSENT);
    buf_finish(&seen);
}

Test(store, a_row_of_variants_stays_on_one_page)
{
    char value[901];
    struct support_object object = {.number = 1, .body_len = 10, .variant = value};

    memset(value, 'v', sizeof(value) - 1);
    value[900] = 0;
    for (unsigned i = 0; i < 6; i++) {
        value[0] = (char)('a' + i);
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
        expect_version(1, value, 0, "the newest is always there");
    }
    struct store_stats stats;
    store_stats_of(store, &stats);
    cr_expect_eq(stats.objects, 4);
}

Test(store, another_key_with_the_same_hash_is_another_key)
{
    struct support_object object = {.number = 1, .body_len = 10};
    struct headers request;
    struct stored stored;

    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    struct key one = support_key(store, 1, &arena);
    struct key two = support_key(store, 2, &arena);
    two.hash = one.hash;
    headers_init(&request, &arena);
    cr_expect_eq(store_find(reader, &two, &request, &arena, &stored), STORE_ABSENT, "of the same length");
    struct key longer = {.text = SPAN("GET http://elsewhere.example/"), .hash = one.hash};
    cr_expect_eq(store_find(reader, &longer, &request, &arena, &stored), STORE_ABSENT, "of another length");
    expect_version(1, NULL, 0, "and it did no harm");
    cr_expect_not(store_wants_apply(store), "nothing is taken for damaged");
}

static enum err freshen(uint64_t object_id, const struct support_object *object, uint64_t body_id, const char *head,
                        bool *out_done)
{
    struct record record = support_record(object);
    struct store_op op = {.kind = STORE_OP_FRESHEN, .object_id = object_id, .record = &record};

    record.body_id = body_id;
    record.inputs.response_ms = 9000;
    record.head_override = span_of(head);
    enum err error = store_apply(store, &op, 1);
    *out_done = op.done;
    return error;
}

Test(store, freshened_heads_survive)
{
    static const char head[] = "X-Number: 1\r\nX-Version: 3\r\nX-Length: 30000\r\nX-New: yes\r\n";
    struct support_object object = {.number = 1, .version = 3, .body_len = 30000, .head_padding = 9000};
    uint64_t object_id;
    uint64_t body_id;
    struct stored stored;
    bool done;

    cr_assert_eq(support_put(store, &object, &object_id, &body_id), ERR_OK);
    cr_expect_eq(freshen(object_id, &object, body_id, head, &done), ERR_OK);
    cr_expect(done);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(support_find(reader, store, 1, NULL, &arena, &stored), STORE_FOUND);
        cr_expect(span_equal(stored.head, span_of(head)));
        cr_expect_eq(stored.record.inputs.response_ms, 9000);
        cr_expect_eq(stored.record.object_id, object_id);
        store_unpin(store, body_id);
        expect_version(1, NULL, 3, "the body is the same");
        close_store();
        open_store(SIZE);
    }
    cr_expect_eq(freshen(object_id, &object, body_id + 1, head, &done), ERR_OK);
    cr_expect_not(done, "another body");
    cr_expect_eq(freshen(object_id + 1, &object, body_id, head, &done), ERR_OK);
    cr_expect_not(done, "another object");
    cr_expect_eq(support_remove(store, 1), ERR_OK);
    cr_expect_eq(freshen(object_id, &object, body_id, head, &done), ERR_OK);
    cr_expect_not(done, "it is gone");
    expect_absent(1, NULL, "and does not come back");
}

Test(store, removing_a_key_removes_all_its_variants)
{
    struct support_object object = {.number = 1, .variant = "a", .body_len = 300000};
    struct store_stats before;
    struct store_stats stats;

    object.number = 2;
    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    store_stats_of(store, &before);
    object.number = 1;
    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    object.variant = "b";
    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    cr_expect_eq(support_remove(store, 1), ERR_OK);
    expect_absent(1, "a", "removed");
    expect_absent(1, "b", "removed");
    expect_version(2, "a", 0, "another key stays");
    cr_expect_eq(support_settle(store), ERR_OK);
    store_stats_of(store, &stats);
    cr_expect_eq(stats.objects, 1);
    cr_expect_leq(stats.used_bytes, before.used_bytes + 8 * 4096, "the space is back");
    cr_expect_eq(support_remove(store, 1), ERR_OK, "twice is fine");
}

Test(store, publishing_what_is_not_whole_takes_no_effect)
{
    struct support_object object = {.number = 1, .body_len = 100000};
    struct record record = support_record(&object);
    uint64_t body_id = store_new_body_id(store);
    struct store_op op = {.kind = STORE_OP_PUBLISH, .body_id = body_id, .record = &record};

    op.key = support_key(store, 1, &arena);
    cr_expect_eq(store_apply(store, &op, 1), ERR_OK);
    cr_expect_not(op.done, "no pieces at all");
    object.body_len = 50000;
    cr_assert_eq(support_put_pieces(store, &object, body_id), ERR_OK);
    cr_expect_eq(store_apply(store, &op, 1), ERR_OK);
    cr_expect_not(op.done, "half of the pieces");
    expect_absent(1, NULL, "not published");

    object.body_len = 100000;
    body_id = store_new_body_id(store);
    cr_assert_eq(support_put_pieces(store, &object, body_id), ERR_OK);
    struct store_op drop = {.kind = STORE_OP_DROP_BODY, .body_id = body_id};
    cr_expect_eq(store_apply(store, &drop, 1), ERR_OK);
    op.body_id = body_id;
    cr_expect_eq(store_apply(store, &op, 1), ERR_OK);
    cr_expect_not(op.done, "dropped before");
    expect_absent(1, NULL, "not published");
}

Test(store, a_published_body_cannot_be_dropped)
{
    struct support_object object = {.number = 1, .body_len = 100000};
    uint64_t body_id;

    cr_assert_eq(support_put(store, &object, NULL, &body_id), ERR_OK);
    struct store_op drop = {.kind = STORE_OP_DROP_BODY, .body_id = body_id};
    cr_expect_eq(store_apply(store, &drop, 1), ERR_OK);
    cr_expect_not(drop.done);
    expect_version(1, NULL, 0, "still there");
}

Test(store, a_small_arena_means_absent)
{
    struct support_object object = {.number = 1, .body_len = 12000};
    struct arena small;
    struct stored stored;

    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    for (size_t limit = 100; limit < 13000; limit += 500) {
        arena_init(&small, limit);
        struct key key = support_key(store, 1, &arena);
        struct headers request;
        headers_init(&request, &arena);
        enum store_found found = store_find(reader, &key, &request, &small, &stored);
        cr_expect(found == STORE_ABSENT || limit > 12000, "%zu", limit);
        arena_finish(&small);
    }
    cr_expect_not(store_wants_apply(store), "nothing is taken for damaged");
    expect_version(1, NULL, 0, "with a larger one");
}

Test(store, ids_are_never_given_twice)
{
    struct support_object object = {.number = 1, .body_len = 100};
    uint64_t object_id;
    uint64_t body_id;
    uint64_t last_object = 0;
    uint64_t last_body = 0;

    for (unsigned i = 0; i < 6; i++) {
        cr_assert_eq(support_put(store, &object, &object_id, &body_id), ERR_OK);
        cr_expect_gt(object_id, last_object);
        cr_expect_gt(body_id, last_body);
        last_object = object_id;
        last_body = body_id;
        cr_expect_eq(support_remove(store, 1), ERR_OK);
        close_store();
        open_store(SIZE);
    }
}

Test(store, a_stream_longer_than_the_numbers_of_pieces_is_refused)
{
    struct store_op op = {.kind = STORE_OP_PIECES,
                          .body_id = store_new_body_id(store),
                          .first_piece = (UINT32_C(1) << 24) - 1,
                          .bytes = {dir, STORE_PIECE_BYTES + 1}};

    cr_expect_eq(store_apply(store, &op, 1), ERR_LIMIT);
}

Test(store, the_secret_stays)
{
    uint64_t secret = store_secret(store);

    close_store();
    open_store(SIZE);
    cr_expect_eq(store_secret(store), secret);
    cr_expect_neq(secret, 0, "as good as never by chance");
}

Test(store, readers_are_bounded)
{
    static struct store_reader *readers[5000];
    size_t count = 0;

    for (; count < ARRAY_LEN(readers); count++) {
        readers[count] = store_reader_create(store);
        if (readers[count] == NULL) {
            break;
        }
    }
    cr_expect_geq(count, 256 * 8, "as many workers as there may be, some times over");
    cr_expect_lt(count, ARRAY_LEN(readers), "not without limit");
    for (size_t i = 0; i < count; i++) {
        store_reader_destroy(readers[i]);
    }
}

/* That this process has given to write calls. */
static unsigned long written_bytes(void)
{
    unsigned long bytes = 0;
    FILE *file = fopen("/proc/self/io", "r");

    cr_assert_not_null(file);
    cr_assert_eq(fscanf(file, "rchar: %*u wchar: %lu", &bytes), 1);
    fclose(file);
    return bytes;
}

/* Each body begins and becomes an object in the same batch: nothing is written to say that it was unfinished. */
Test(store, many_small_objects_share_the_pages_that_are_written)
{
    enum { MANY = 512, BODY = 100, PAGE = 4096 };
    static struct support_object objects[MANY];

    for (unsigned i = 0; i < MANY; i++) {
        objects[i] = (struct support_object){.number = i, .body_len = BODY};
    }
    unsigned long before = written_bytes();
    cr_assert_eq(support_put_many(store, objects, MANY), ERR_OK);
    cr_expect_lt(written_bytes() - before, MANY * PAGE / 2);
}
