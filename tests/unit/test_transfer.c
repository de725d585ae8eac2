/* test_transfer.c: stored responses out of one store and into another: what arrives, what is left out, how old it is.
 */
#include <errno.h>
#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#include "cache/freshness.h"
#include "cache/purge.h"
#include "transfer_fixture.h"

TestSuite(transfer, .init = setup, .fini = teardown);

Test(transfer, everything_arrives_byte_for_byte)
{
    static const size_t lengths[] = {0, 1, 4000, 4072, 100000, 256 * 1024, 9000000}; /* the last in several batches */
    struct import_result result;
    unsigned version;
    struct buf file;

    for (unsigned i = 0; i < ARRAY_LEN(lengths); i++) {
        put(from, i, i + 1, i % 2 == 0 ? NULL : "x", lengths[i]);
    }
    put(from, 1, 77, "y", 500);
    struct export_result exported = export_with((struct export_options){0}, &file);
    cr_expect_eq(exported.responses, ARRAY_LEN(lengths) + 1);
    for (size_t step = 0; step < 3; step++) { /* as it comes, byte by byte, by twos */
        cr_expect_eq(import_at(buf_span(&file), step, NOW_MS, &result), ERR_OK);
        cr_expect_eq(result.responses, step == 0 ? ARRAY_LEN(lengths) + 1 : 0);
        cr_expect_eq(result.kept, step == 0 ? 0 : ARRAY_LEN(lengths) + 1);
    }
    for (unsigned i = 0; i < ARRAY_LEN(lengths); i++) {
        cr_expect_eq(check(i, i % 2 == 0 ? NULL : "x", &version), SUPPORT_GOOD, "object %u", i);
        cr_expect_eq(version, i + 1);
    }
    cr_expect_eq(check(1, "y", &version), SUPPORT_GOOD);
    cr_expect_eq(version, 77);
    buf_finish(&file);
}

Test(transfer, an_empty_store)
{
    struct import_result result;
    struct buf file;

    cr_expect_eq(export_with((struct export_options){0}, &file).responses, 0);
    cr_expect_eq(import_at(buf_span(&file), 0, NOW_MS, &result), ERR_OK);
    cr_expect_eq(result.responses, 0);
    buf_finish(&file);
}

Test(transfer, many_batches)
{
    struct support_object objects[SUPPORT_MANY];
    struct import_result result;
    unsigned version;
    struct buf file;

    for (unsigned i = 0; i < ARRAY_LEN(objects); i++) {
        objects[i] = (struct support_object){.number = i, .version = i, .body_len = i * 13 % 5000};
    }
    cr_assert_eq(support_put_many(from, objects, ARRAY_LEN(objects)), ERR_OK);
    (void)export_with((struct export_options){0}, &file);
    cr_expect_eq(import_at(buf_span(&file), 0, NOW_MS, &result), ERR_OK);
    cr_expect_eq(result.responses, ARRAY_LEN(objects));
    for (unsigned i = 0; i < ARRAY_LEN(objects); i += 97) {
        cr_expect_eq(check(i, NULL, &version), SUPPORT_GOOD);
    }
    buf_finish(&file);
}

/* ---- what is left out ---- */

Test(transfer, patterns_leave_out)
{
    struct export_pattern exclude[] = {{.text = SPAN_INIT("http://test.example/objects/1*")},
                                       {.text = SPAN_INIT("*/3")},
                                       {.text = SPAN_INIT("/objects/?1")},
                                       {.text = SPAN_INIT("/1*")}};
    struct export_options options = {.exclude = exclude, .exclude_count = ARRAY_LEN(exclude)};
    struct import_result result;
    unsigned version;
    struct buf file;

    for (unsigned i = 0; i < 12; i++) {
        put(from, i, 1, NULL, 10);
    }
    struct export_result exported = export_with(options, &file);
    cr_expect_eq(exported.excluded, 4, "1, 3, 10, 11");
    cr_expect_eq(exclude[0].matches, 3);
    cr_expect_eq(exclude[1].matches, 1);
    cr_expect_eq(exclude[2].matches, 1, "of the path: and 11 only");
    cr_expect_eq(exclude[3].matches, 0, "of the whole path");
    cr_expect_eq(exported.responses, 8);
    cr_assert_eq(import_at(buf_span(&file), 0, NOW_MS, &result), ERR_OK);
    cr_expect_eq(check(1, NULL, &version), SUPPORT_ABSENT);
    cr_expect_eq(check(2, NULL, &version), SUPPORT_GOOD);
    buf_finish(&file);
}

/* A small response as larder stores it, or did, under any key. */
static void put_head(const char *key_text, struct span head, struct span body)
{
    struct key key = {.text = span_of(key_text), .hash = key_hash_of(span_of(key_text), store_secret(from))};
    struct support_object plain = {0};
    struct record record = support_record(&plain);
    XXH128_canonical_t digest;
    struct buf stream;

    buf_init(&stream, SIZE_MAX / 2);
    buf_add(&stream, key.text);
    buf_add(&stream, head);
    buf_add(&stream, body);
    XXH128_canonicalFromHash(&digest, XXH3_128bits(body.data, body.len));
    memcpy(record.digest, digest.digest, DIGEST_BYTES);
    record.key_len = (uint32_t)key.text.len;
    record.head_len = (uint32_t)head.len;
    record.body_len = body.len;
    uint64_t body_id = store_new_body_id(from);
    struct store_op ops[] = {
        {.kind = STORE_OP_PIECES,
         .body_id = body_id,
         .bytes = buf_span(&stream),
         .prefix_len = key.text.len + head.len},
        {.kind = STORE_OP_PUBLISH, .body_id = body_id, .key = key, .selection = SPAN(""), .record = &record},
    };
    cr_assert_eq(store_apply(from, ops, ARRAY_LEN(ops)), ERR_OK);
    cr_assert(ops[1].done);
    buf_finish(&stream);
}

static void put_key(const char *key_text, struct span body)
{
    put_head(key_text, SPAN("A: b\r\n"), body);
}

static bool on_stored_key(void *arg, const struct stored_key *key) /* store_key_fn */
{
    struct buf *keys = arg;

    buf_add(keys, key->text);
    buf_add_byte(keys, '\n');
    return true;
}

/* A key that means something in its own store only is not in the file, or in another form: what is, is imported. */
Test(transfer, keys_of_this_store_only)
{
    struct import_result result;
    struct buf file, keys;
    uint64_t count;

    put_key("SEARCH http://a/b", SPAN(""));
    put_key("GET http://a/b?c=1 search=7e", SPAN("page"));
    put_key("REC http://a/private", SPAN("recorded"));
    struct export_result exported = export_with((struct export_options){0}, &file);
    cr_expect_eq(exported.responses, 1);
    cr_expect_eq(exported.recorded, 1, "the recording; a note is no response");
    cr_expect_eq(exported.excluded, 0);
    cr_expect_eq(import_at(buf_span(&file), 0, NOW_MS, &result), ERR_OK);
    cr_expect_eq(result.responses, 1);
    buf_init(&keys, 4096);
    cr_expect(store_each_key(to_reader, 1, on_stored_key, &keys, &count));
    cr_expect(span_equal(buf_span(&keys), SPAN("GET http://a/b?c=1\n")), "%.*s", SPAN_ARG(buf_span(&keys)));
    buf_clear(&keys);
    cr_expect(store_each_key(from_reader, 1, on_stored_key, &keys, &count));
    cr_expect_eq(count, 2, "notes are not counted");
    cr_expect_eq(span_find(buf_span(&keys), 'S'), SIZE_MAX, "%.*s", SPAN_ARG(buf_span(&keys)));
    buf_finish(&keys);
    buf_finish(&file);
}

static bool on_head(void *arg, const struct stored *stored) /* store_variant_fn */
{
    cr_expect(span_equal(stored->head, SPAN("A: b\r\nC: d\r\n")), "%.*s", SPAN_ARG(stored->head));
    *(bool *)arg = true;
    return true;
}

/* An older larder stored fields that this one does not; a head may be longer than one that an import takes. Neither
 * makes the whole file one that cannot be imported. */
Test(transfer, heads_that_an_import_would_refuse)
{
    const struct span key = SPAN_INIT("GET http://a/old");
    struct import_result result;
    struct buf file, head;
    bool found = false;

    put_head(key.data, SPAN("A: b\r\nTrailer: E\r\nC: d\r\n"), SPAN("page"));
    buf_init(&head, (size_t)2 * RECORD_MAX_HEAD_BYTES);
    while (head.len <= RECORD_MAX_HEAD_BYTES) {
        buf_add(&head, SPAN("A: 0123456789012345678901234567890123456789\r\n"));
    }
    put_head("GET http://a/long", buf_span(&head), SPAN("page"));
    buf_finish(&head);
    struct export_result exported = export_with((struct export_options){0}, &file);
    cr_expect_eq(exported.responses, 1);
    cr_expect_eq(exported.excluded, 1);
    cr_expect_eq(import_at(buf_span(&file), 0, NOW_MS, &result), ERR_OK);
    cr_expect_eq(result.responses, 1);
    struct key stored = {.text = key, .hash = key_hash_of(key, store_secret(to))};
    (void)store_each_variant(to_reader, &stored, &arena, on_head, &found);
    cr_expect(found);
    buf_finish(&file);
}

Test(transfer, tagged_and_private_ones_can_be_left_out)
{
    static const struct {
        const char *name;
        const char *value;
        bool tagged;
        bool private_to_one;
    } cases[] = {
        {"ETag", "\"a\"", false, false}, {"Surrogate-Key", "a b", true, false},  {"cache-tag", "a", true, false},
        {"xkey", "a", true, false},      {"Cache-Groups", "\"a\"", true, false}, {"Set-Cookie", "a=b", false, true},
    };
    const struct export_options without_tagged = {.without_tagged = true};
    const struct export_options without_private = {.without_private = true};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers head;
        arena_reset(&arena);
        headers_init(&head, &arena);
        cr_assert(headers_add(&head, span_of(cases[i].name), span_of(cases[i].value)));
        cr_expect_eq(export_excludes(&without_tagged, SPAN("GET http://a/"), SPAN(""), &head), cases[i].tagged, "%s",
                     cases[i].name);
        cr_expect_eq(export_excludes(&without_private, SPAN("GET http://a/"), SPAN(""), &head), cases[i].private_to_one,
                     "%s", cases[i].name);
    }
}

/* ---- times ---- */

static struct freshness_inputs imported_inputs(unsigned number)
{
    struct stored stored = {0};

    arena_reset(&arena);
    cr_assert_eq(support_find(to_reader, to, number, NULL, &arena, &stored), STORE_FOUND);
    return stored.record.inputs;
}

/* RFC 9111 §4.2.3: support_record was received at 2000 ms, with a Date of the same second and a delay of one. */
Test(transfer, age_goes_on_while_it_is_a_file_rfc9111_4_2_3)
{
    struct import_result result;
    struct buf file;

    put(from, 1, 1, NULL, 10);
    (void)export_with((struct export_options){.now_ms = 50000}, &file);
    cr_assert_eq(import_at(buf_span(&file), 0, 90000, &result), ERR_OK);
    struct freshness_inputs inputs = imported_inputs(1);
    cr_expect_eq(freshness_age_ms(&inputs, 90000), 89000, "as if it had stayed where it was");
    buf_finish(&file);
}

Test(transfer, a_clock_that_is_behind_makes_nothing_younger_rfc9111_4_2_3)
{
    struct import_result result;
    struct buf file;

    put(from, 1, 1, NULL, 10);
    (void)export_with((struct export_options){.now_ms = 50000}, &file);
    cr_assert_eq(import_at(buf_span(&file), 0, 1000, &result), ERR_OK);
    struct freshness_inputs inputs = imported_inputs(1);
    cr_expect_geq(freshness_age_ms(&inputs, 1000), 49000, "the age it had when it was exported");
    cr_expect_leq(freshness_age_ms(&inputs, 1000), 50000);
    cr_expect_geq(freshness_age_ms(&inputs, 11000), 59000, "and it grows");
    buf_finish(&file);
}

Test(transfer, what_is_newer_there_stays)
{
    struct import_result result;
    unsigned version;
    struct buf file;

    put(from, 1, 1, NULL, 10);
    put(from, 2, 1, "x", 10);
    (void)export_with((struct export_options){0}, &file);
    put(to, 1, 9, NULL, 10); /* received at the same moment */
    put(to, 2, 9, "y", 10);  /* another variant */
    cr_assert_eq(import_at(buf_span(&file), 0, NOW_MS, &result), ERR_OK);
    cr_expect_eq(result.kept, 1);
    cr_expect_eq(result.responses, 1);
    cr_expect_eq(check(1, NULL, &version), SUPPORT_GOOD);
    cr_expect_eq(version, 9);
    cr_expect_eq(check(2, "x", &version), SUPPORT_GOOD);
    cr_expect_eq(version, 1);
    buf_finish(&file);
}

/* ---- sizes ---- */

Test(transfer, more_than_the_store_holds)
{
    struct import_result result;
    struct store_stats stats;
    unsigned version;
    struct buf file;

    for (unsigned i = 0; i < 20; i++) {
        put(from, i, 1, NULL, 1000000);
    }
    (void)export_with((struct export_options){0}, &file);
    renew_to(STORE_MIN_SIZE_BYTES);
    cr_expect_eq(import_at(buf_span(&file), 0, NOW_MS, &result), ERR_OK);
    cr_expect_eq(result.responses, 20);
    store_stats_of(to, &stats);
    cr_expect_leq(stats.used_bytes, STORE_MIN_SIZE_BYTES);
    cr_expect_lt(stats.objects, 20, "older ones made room");
    cr_expect_gt(stats.objects, 5);
    cr_expect_eq(check(19, NULL, &version), SUPPORT_GOOD);
    buf_finish(&file);
}

Test(transfer, through_body_files)
{
    enum { SPLIT_SIZE = 128 * 1024 * 1024 };
    struct import_result result;
    struct store_recount recount;
    struct store_survey survey;
    struct store_stats stats;
    unsigned version;
    struct buf file;

    for (unsigned i = 0; i < 12; i++) {
        put(from, i, i + 1, NULL, i * 150000);
    }
    (void)export_with((struct export_options){0}, &file);
    renew_to(SPLIT_SIZE);
    cr_assert_eq(import_at(buf_span(&file), 0, NOW_MS, &result), ERR_OK);
    cr_expect_eq(result.responses, 12);
    for (unsigned i = 0; i < 12; i++) {
        cr_expect_eq(check(i, NULL, &version), SUPPORT_GOOD, "object %u", i);
    }
    store_stats_of(to, &stats);
    cr_expect_gt(stats.body_used_bytes, 9000000, "the large ones lie there");
    cr_assert_eq(store_survey_of(to, &survey), ERR_OK);
    cr_expect_eq(survey.used_bytes, stats.used_bytes + stats.body_used_bytes);
    cr_expect_eq(survey.limit_bytes, SPLIT_SIZE);
    cr_expect_eq(store_size_in(to_dir), SPLIT_SIZE);
    cr_assert_eq(store_recount(to_reader, true, NULL, NULL, &recount), ERR_OK);
    cr_expect_eq(recount.bodies, 12);
    cr_expect_eq(recount.orphan_bodies, 0);
    buf_finish(&file);
}

/* Whatever the size was, it is found again: else each import would cut a block off. */
Test(transfer, sizes_are_found_again)
{
    static const uint64_t sizes[] = {(UINT64_C(128) << 20) + 4096, 300000000, (UINT64_C(1400) << 20) + 12345};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char dir[SUPPORT_PATH_BYTES];
        struct store_stats before;
        struct store_stats after;
        support_dir_make(dir);
        struct store *store = support_open(dir, sizes[i]);
        store_stats_of(store, &before);
        store_close(store);
        store = support_open(dir, store_size_in(dir));
        store_stats_of(store, &after);
        cr_expect_eq(after.size_bytes, before.size_bytes, "size %zu", i);
        cr_expect_eq(after.body_size_bytes, before.body_size_bytes, "size %zu", i);
        store_close(store);
        support_dir_remove(dir);
    }
}

static unsigned syncs_left = UINT_MAX; /* then the disk refuses */

/* In place of libc's. */
int fdatasync(int fd)
{
    if (syncs_left == 0) {
        errno = ENOSPC;
        return -1;
    }
    syncs_left--;
    return (int)syscall(SYS_fdatasync, fd);
}

Test(transfer, a_full_disk_ends_it_and_only_what_is_stored_counts)
{
    enum { COUNT = 20, LENGTH = 1000000 };
    struct import_result result;
    struct buf file;

    for (unsigned i = 0; i < COUNT; i++) {
        put(from, i, 1, NULL, LENGTH);
    }
    (void)export_with((struct export_options){0}, &file);
    syncs_left = 2;
    cr_expect_neq(import_at(buf_span(&file), 0, NOW_MS, &result), ERR_OK);
    cr_expect_gt(result.responses, 0);
    cr_expect_lt(result.responses, COUNT);
    cr_expect_eq(result.responses, count_in_to());
    cr_expect_eq(result.body_bytes, result.responses * LENGTH);
    buf_finish(&file);
}

/* ---- purges ---- */

static void purge(struct store *store, uint64_t sequence, enum purge_kind kind, const char *name, int64_t time_ms)
{
    struct purge asked = {
        .kind = kind, .mode = PURGE_HARD, .name = span_of(name), .sequence = sequence, .time_ms = time_ms};
    struct buf row;

    buf_init(&row, STORE_PURGE_MAX_BYTES);
    purge_encode(&asked, &row);
    struct store_purge rows[] = {{.sequence = sequence, .row = buf_span(&row)}};
    struct store_op op = {.kind = STORE_OP_PURGE, .purges = rows, .purge_count = 1};
    cr_assert_eq(store_apply(store, &op, 1), ERR_OK);
    buf_finish(&row);
}

Test(transfer, what_is_purged_is_not_exported)
{
    struct buf file;

    for (unsigned i = 0; i < 4; i++) {
        put(from, i, 1, NULL, 10);
    }
    purge(from, 1, PURGE_URL, "http://test.example/objects/2", 5000);
    struct export_result exported = export_with((struct export_options){0}, &file);
    cr_expect_eq(exported.purged, 1);
    cr_expect_eq(exported.responses, 3);
    buf_finish(&file);
    purge(from, 2, PURGE_ALL, "", 6000);
    exported = export_with((struct export_options){0}, &file);
    cr_expect_eq(exported.purged, 4);
    buf_finish(&file);
}

/* The response was asked for at 1000 ms: see support_record. */
Test(transfer, purges_name_what_was_asked_for_before_them)
{
    static const struct {
        const char *name;
        int64_t purge_ms;
        int64_t now_ms;
        uint64_t want_birth;
    } cases[] = {
        {"purged before it was asked for", 900, NOW_MS, 7},
        {"purged in that moment", 1000, NOW_MS, 6},
        {"purged since", 5000, NOW_MS, 6},
        {"a clock that is behind", 900, 10, 6},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct import_result result;
        struct stored stored = {0};
        struct buf file;
        teardown();
        setup();
        put(from, 1, 1, NULL, 10);
        (void)export_with((struct export_options){0}, &file);
        purge(to, 7, PURGE_ALL, "", cases[i].purge_ms);
        cr_assert_eq(import_at(buf_span(&file), 0, cases[i].now_ms, &result), ERR_OK, "%s", cases[i].name);
        cr_assert_eq(support_find(to_reader, to, 1, NULL, &arena, &stored), STORE_FOUND, "%s", cases[i].name);
        cr_expect_eq(stored.record.purge_sequence, cases[i].want_birth, "%s", cases[i].name);
        buf_finish(&file);
    }
}
