/* test_record.c: the stored form of a record, and everything that is not one. */
#include <criterion/criterion.h>
#include <xxhash.h>

#include "cache/record.h"
#include "tests/unit/cache_support.h"

enum { CHECKSUM_BYTES = 8 };

static const struct lifetime_override no_override = {.ttl_s = -1, .default_ttl_s = -1, .max_heuristic_s = INT64_MAX};

static struct arena arena;
static struct buf encoded;

static void setup(void)
{
    arena_init(&arena, TEST_ARENA_BYTES);
    buf_init(&encoded, 1024 * 1024);
}

static void teardown(void)
{
    buf_finish(&encoded);
    arena_finish(&arena);
}

TestSuite(record, .init = setup, .fini = teardown);

static struct record record_from(unsigned status, const char *headers)
{
    struct http_response response = response_from(&arena, status, headers);
    struct record record = {
        .object_id = UINT64_C(0x1122334455667788),
        .body_id = 77,
        .status = status,
        .inputs = freshness_inputs_of(&response, T0_MS - 15, T0_MS, &arena),
        .qualified_no_cache = true,
        .key_len = 31,
        .head_len = 400,
        .body_len = UINT64_C(5000000000),
        .purge_sequence = 12,
    };

    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        record.digest[i] = (uint8_t)(200 + i);
    }
    return record;
}

static void expect_same_delta(struct delta a, struct delta b, const char *name)
{
    cr_expect_eq(a.state, b.state, "%s", name);
    cr_expect(a.state != DIRECTIVE_VALID || a.seconds == b.seconds, "%s", name);
}

static void expect_same_inputs(const struct freshness_inputs *a, const struct freshness_inputs *b, const char *name)
{
    const struct response_directives *x = &a->directives;
    const struct response_directives *y = &b->directives;

    cr_expect(a->request_ms == b->request_ms && a->response_ms == b->response_ms, "%s", name);
    cr_expect(a->date_s == b->date_s && a->age_s == b->age_s && a->status == b->status, "%s", name);
    cr_expect(a->has_expires == b->has_expires && a->expires_invalid == b->expires_invalid, "%s", name);
    cr_expect(a->expires_s == b->expires_s && a->last_modified_s == b->last_modified_s, "%s", name);
    cr_expect(a->has_last_modified == b->has_last_modified && a->has_etag == b->has_etag, "%s", name);
    cr_expect(x->no_store == y->no_store && x->no_cache == y->no_cache && x->is_private == y->is_private, "%s", name);
    cr_expect(x->is_public == y->is_public && x->must_revalidate == y->must_revalidate, "%s", name);
    cr_expect(x->proxy_revalidate == y->proxy_revalidate && x->no_transform == y->no_transform, "%s", name);
    cr_expect(x->must_understand == y->must_understand && x->immutable == y->immutable, "%s", name);
    cr_expect_eq(x->present, y->present, "%s", name);
    expect_same_delta(x->max_age, y->max_age, name);
    expect_same_delta(x->s_maxage, y->s_maxage, name);
    expect_same_delta(x->stale_while_revalidate, y->stale_while_revalidate, name);
    expect_same_delta(x->stale_if_error, y->stale_if_error, name);
}

Test(record, decode_gives_back_what_was_encoded)
{
    static const char *const cases[] = {
        "",
        "Cache-Control: max-age=10",
        "Cache-Control: s-maxage=2147483647",
        "Cache-Control: max-age=x, s-maxage=, stale-if-error=q, stale-while-revalidate=-1",
        "Cache-Control: stale-if-error=1, stale-while-revalidate=2",
        "Cache-Control: no-store",
        "Cache-Control: no-cache",
        "Cache-Control: no-cache=\"Set-Cookie\"",
        "Cache-Control: private",
        "Cache-Control: private=\"A, B\"",
        "Cache-Control: public",
        "Cache-Control: must-revalidate",
        "Cache-Control: proxy-revalidate",
        "Cache-Control: no-transform",
        "Cache-Control: must-understand",
        "Cache-Control: immutable",
        "Cache-Control: other",
        "Expires: 0",
        "Expires: " T0_TEXT "\nDate: Tue, 14 Nov 2023 22:13:10 GMT",
        "Expires: Fri, 31 Dec 9999 23:59:59 GMT",
        "Last-Modified: Sat, 01 Jan 1950 00:00:00 GMT\nETag: \"a\"\nAge: 2147483648",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct record in = record_from(404, cases[i]);
        struct record out;
        buf_clear(&encoded);
        record_encode(&in, &encoded);
        cr_assert_not(encoded.failed);
        cr_expect_leq(encoded.len, 200, "%s: small", cases[i]);
        cr_assert_eq(record_decode(buf_span(&encoded), &out), ERR_OK, "%s", cases[i]);
        expect_same_inputs(&in.inputs, &out.inputs, cases[i]);
        cr_expect(out.object_id == in.object_id && out.body_id == in.body_id && out.status == 404, "%s", cases[i]);
        cr_expect(out.key_len == in.key_len && out.head_len == in.head_len, "%s", cases[i]);
        cr_expect(out.body_len == in.body_len && out.purge_sequence == in.purge_sequence, "%s", cases[i]);
        cr_expect(out.qualified_no_cache && !out.qualified_private, "%s", cases[i]);
        cr_expect_arr_eq(out.digest, in.digest, DIGEST_BYTES, "%s", cases[i]);
        cr_expect_eq(out.head_override.len, 0, "%s", cases[i]);
        struct freshness a = freshness_at(&in.inputs, &no_override, T0_MS + 5000);
        struct freshness b = freshness_at(&out.inputs, &no_override, T0_MS + 5000);
        cr_expect(a.age_s == b.age_s && a.lifetime_s == b.lifetime_s && a.source == b.source, "%s", cases[i]);
    }
}

Test(record, a_head_override_is_borrowed_from_the_bytes)
{
    struct record in = record_from(200, "Cache-Control: max-age=10");
    struct record out;

    in.head_override = SPAN("A: b\r\n");
    buf_add_text(&encoded, "before");
    record_encode(&in, &encoded);
    struct span bytes = span_skip(buf_span(&encoded), 6);
    cr_assert_eq(record_decode(bytes, &out), ERR_OK, "appended behind what was there");
    cr_expect(span_equal(out.head_override, in.head_override));
    cr_expect(out.head_override.data > bytes.data && out.head_override.data < bytes.data + bytes.len);
}

Test(record, the_largest_override_and_one_byte_more)
{
    struct record in = record_from(200, "");
    struct record out;
    static char head[RECORD_MAX_HEAD_BYTES + 1];

    in.head_override = (struct span){head, RECORD_MAX_HEAD_BYTES};
    record_encode(&in, &encoded);
    cr_assert_not(encoded.failed);
    cr_expect_eq(record_decode(buf_span(&encoded), &out), ERR_OK, "n bytes");

    buf_clear(&encoded);
    in.head_override.len++;
    record_encode(&in, &encoded);
    cr_expect(encoded.failed, "n + 1 bytes");
}

/* Two slices of a representation of 100 bytes, and room for more. */
static struct span two_slices(char bytes[3 * SLICE_BYTES])
{
    struct slices slices = {.count = 2,
                            .items = {{.first = 0, .end = 10, .body_id = 7, .offset = 431},
                                      {.first = 50, .end = 100, .body_id = 77, .offset = 431}}};

    slices_write(&slices, bytes);
    return (struct span){bytes, 2 * SLICE_BYTES};
}

Test(record, a_partial_response_has_its_slices_behind_the_head)
{
    struct record in = record_from(200, "Cache-Control: max-age=10");
    struct record out;
    char bytes[3 * SLICE_BYTES];

    in.body_len = 100;
    in.head_override = SPAN("A: b\r\n");
    in.slices = two_slices(bytes);
    record_encode(&in, &encoded);
    cr_assert_not(encoded.failed);
    cr_assert_eq(record_decode(buf_span(&encoded), &out), ERR_OK);
    cr_expect(record_is_partial(&out));
    cr_expect(span_equal(out.head_override, in.head_override));
    cr_expect(span_equal(out.slices, in.slices));
    cr_expect_eq(slice_in(out.slices, 1).body_id, 77);
    for (size_t at = 0; at < encoded.len; at++) {
        encoded.data[at] ^= 1;
        cr_expect_eq(record_decode(buf_span(&encoded), &out), ERR_DAMAGED, "byte %zu", at);
        encoded.data[at] ^= 1;
    }
}

Test(record, slices_that_make_no_map_are_refused)
{
    struct record in = record_from(200, "");
    struct record out;
    char bytes[3 * SLICE_BYTES];

    in.slices = two_slices(bytes);
    in.body_len = 99;
    record_encode(&in, &encoded);
    cr_expect_eq(record_decode(buf_span(&encoded), &out), ERR_DAMAGED, "beyond the complete length");
    buf_clear(&encoded);
    in.body_len = 100;
    in.slices.len -= 1;
    record_encode(&in, &encoded);
    cr_expect_eq(record_decode(buf_span(&encoded), &out), ERR_DAMAGED, "cut off");
    buf_clear(&encoded);
    in.slices.len = SLICES_MAX * SLICE_BYTES + 1;
    record_encode(&in, &encoded);
    cr_expect(encoded.failed, "too many");
}

/* RFC 9111 §3.4 */
Test(record, only_what_shares_a_strong_validator_may_be_combined)
{
    struct record a = {.body_len = 100};
    struct record b = {.body_len = 100};

    cr_expect_not(record_may_combine(&a, &b), "neither has one");
    record_set_validator(&a, SPAN("\"v1\""));
    cr_expect_not(record_may_combine(&a, &b));
    cr_expect_not(record_may_combine(&b, &a));
    record_set_validator(&b, SPAN("\"v2\""));
    cr_expect_not(record_may_combine(&a, &b));
    record_set_validator(&b, SPAN("\"v1\""));
    cr_expect(record_may_combine(&a, &b));
    b.body_len = 101;
    cr_expect_not(record_may_combine(&a, &b), "another complete length");
    record_set_validator(&a, SPAN(""));
    cr_expect_not(record_has_strong_validator(&a));
}

Test(record, a_full_buffer_fails)
{
    struct record in = record_from(200, "");
    struct buf small;

    buf_init(&small, 100);
    record_encode(&in, &small);
    cr_expect(small.failed);
    buf_finish(&small);
}

Test(record, every_single_byte_corruption_is_refused)
{
    struct record in = record_from(200, "Cache-Control: max-age=10, stale-if-error=5\nExpires: " T0_TEXT);
    struct record out;

    in.head_override = SPAN("A: b\r\n");
    record_encode(&in, &encoded);
    for (size_t at = 0; at < encoded.len; at++) {
        for (int flip = 1; flip < 256; flip++) {
            char original = encoded.data[at];
            encoded.data[at] = (char)(original ^ flip);
            cr_expect_eq(record_decode(buf_span(&encoded), &out), ERR_DAMAGED, "byte %zu, xor %d", at, flip);
            encoded.data[at] = original;
        }
    }
}

Test(record, every_truncation_and_every_excess_is_refused)
{
    struct record in = record_from(200, "Cache-Control: max-age=10");
    struct record out;

    in.head_override = SPAN("A: b\r\n");
    record_encode(&in, &encoded);
    size_t len = encoded.len;
    for (size_t take = 0; take < len; take++) {
        cr_expect_eq(record_decode(span_take(buf_span(&encoded), take), &out), ERR_DAMAGED, "%zu bytes", take);
        cr_expect_eq(record_decode(span_skip(buf_span(&encoded), len - take), &out), ERR_DAMAGED, "last %zu", take);
    }
    buf_add_byte(&encoded, '\0');
    cr_expect_eq(record_decode(buf_span(&encoded), &out), ERR_DAMAGED, "one more byte");
}

/* Writes `bytes` bytes of `value` at `at` and makes the checksum right again: what a wrong program could have written.
 */
static void forge(size_t at, unsigned bytes, uint64_t value)
{
    size_t hashed = encoded.len - CHECKSUM_BYTES;

    for (unsigned i = 0; i < bytes; i++) {
        encoded.data[at + i] = (char)(unsigned char)(value >> (8 * i) & 0xff);
    }
    uint64_t checksum = XXH3_64bits(encoded.data, hashed);
    for (unsigned i = 0; i < CHECKSUM_BYTES; i++) {
        encoded.data[hashed + i] = (char)(unsigned char)(checksum >> (8 * i) & 0xff);
    }
}

Test(record, wrong_values_with_a_good_checksum_are_refused)
{
    static const struct {
        const char *name;
        size_t at;
        unsigned bytes;
        uint64_t value;
        enum err want;
    } cases[] = {
        {"this version", 0, 2, 2, ERR_OK},
        {"version 1, without slices", 0, 2, 1, ERR_DAMAGED},
        {"version 3", 0, 2, 3, ERR_DAMAGED},
        {"status 200", 2, 2, 200, ERR_OK},
        {"status 199", 2, 2, 199, ERR_DAMAGED},
        {"status 599", 2, 2, 599, ERR_OK},
        {"status 600", 2, 2, 600, ERR_DAMAGED},
        {"another length", 4, 4, 145, ERR_DAMAGED},
        {"a body of 2^63-1 bytes", 24, 8, INT64_MAX, ERR_OK},
        {"a body of 2^63 bytes", 24, 8, (uint64_t)INT64_MAX + 1, ERR_DAMAGED},
        {"requested at the end of time", 56, 8, INT64_MAX, ERR_DAMAGED},
        {"requested before time", 56, 8, (uint64_t)INT64_MIN, ERR_DAMAGED},
        {"answered at the end of time", 64, 8, INT64_MAX, ERR_DAMAGED},
        {"Date in 9999", 72, 8, UINT64_C(253402300799), ERR_OK},
        {"Date in 10000", 72, 8, UINT64_C(253402300800), ERR_DAMAGED},
        {"Date in year 0", 72, 8, (uint64_t)INT64_C(-62167219200), ERR_OK},
        {"Date before year 0", 72, 8, (uint64_t)INT64_C(-62167219201), ERR_DAMAGED},
        {"a time of an absent Expires", 80, 8, 5, ERR_DAMAGED},
        {"a time of an absent Last-Modified", 88, 8, 5, ERR_DAMAGED},
        {"Age 2^31-1", 96, 4, INT32_MAX, ERR_OK},
        {"Age 2^31", 96, 4, (uint64_t)INT32_MAX + 1, ERR_DAMAGED},
        {"the last flag", 100, 4, UINT64_C(1) << 15, ERR_DAMAGED /* the number of max-age is still there */},
        {"a state that does not exist", 100, 4, UINT64_C(3) << 18 | UINT64_C(1) << 16, ERR_DAMAGED},
        {"an unused flag", 100, 4, UINT64_C(1) << 25 | UINT64_C(1) << 16, ERR_DAMAGED},
        {"an invalid Expires that is absent", 100, 4, UINT64_C(2) | UINT64_C(1) << 16, ERR_DAMAGED},
        {"the number of an absent directive", 108, 4, 5, ERR_DAMAGED},
        {"max-age 2^31-1", 104, 4, INT32_MAX, ERR_OK},
        {"max-age 2^31", 104, 4, (uint64_t)INT32_MAX + 1, ERR_DAMAGED},
        {"an override that is not there", 128, 4, 1, ERR_DAMAGED},
        {"slices that are not there", 132, 4, 32, ERR_DAMAGED},
        {"an override larger than the record", 128, 4, UINT32_MAX, ERR_DAMAGED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct record in = record_from(200, "Cache-Control: max-age=10");
        struct record out = {.status = 1};
        buf_clear(&encoded);
        record_encode(&in, &encoded);
        forge(cases[i].at, cases[i].bytes, cases[i].value);
        cr_expect_eq(record_decode(buf_span(&encoded), &out), cases[i].want, "%s", cases[i].name);
        cr_expect((out.status == 1) == (cases[i].want != ERR_OK), "%s: untouched on failure", cases[i].name);
    }
}
