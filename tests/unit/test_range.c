/* test_range.c: Range, If-Range and Content-Range (RFC 9110 §13.1.5, §14). */
#include <criterion/criterion.h>

#include <stdio.h>

#include "http/range.h"
#include "tests/unit/support.h"

enum { NOW_S = 1700000000 };

/* "0-4,7-9" for satisfiable ranges, "none", "416". */
static const char *resolved(const char *value, uint64_t length, struct arena *arena)
{
    struct range_set set;
    struct ranges ranges;
    struct span text = SPAN("");
    uint64_t total = 0;

    if (!range_parse(span_of(value), &set)) {
        return "none";
    }
    switch (range_resolve(&set, length, &ranges)) {
    case RANGE_NONE:
        return "none";
    case RANGE_UNSATISFIABLE:
        return "416";
    case RANGE_SATISFIABLE:
        break;
    }
    for (size_t i = 0; i < ranges.count; i++) {
        char item[64];

        (void)snprintf(item, sizeof item, "%s%llu-%llu", i == 0 ? "" : ",", (unsigned long long)ranges.items[i].first,
                       (unsigned long long)ranges.items[i].last);
        cr_assert(arena_join(arena, (struct span[]){text, span_of(item)}, 2, &text));
        total += ranges.items[i].last - ranges.items[i].first + 1;
    }
    cr_expect_eq(total, ranges.total_bytes, "%s", value);
    return test_text(text, arena);
}

static void expect_resolved(const char *name, const char *value, uint64_t length, const char *want)
{
    struct arena arena = test_arena();

    cr_expect_str_eq(resolved(value, length, &arena), want, "%s: %s of %llu", name, value, (unsigned long long)length);
    arena_finish(&arena);
}

Test(range, one_range_rfc9110_14_1_2)
{
    static const struct {
        const char *name, *value;
        uint64_t length;
        const char *want;
    } cases[] = {
        {"the first 500 bytes", "bytes=0-499", 10000, "0-499"},
        {"the second 500 bytes", "bytes=500-999", 10000, "500-999"},
        {"from a position on", "bytes=9500-", 10000, "9500-9999"},
        {"the last 500 bytes", "bytes=-500", 10000, "9500-9999"},
        {"one byte", "bytes=0-0", 10, "0-0"},
        {"the last position is cut at the end", "bytes=5-1000", 10, "5-9"},
        {"a suffix longer than the whole is the whole", "bytes=-1000", 10, "0-9"},
        {"the whole as one range is a range", "bytes=0-", 10, "0-9"},
        {"the whole with both ends is a range", "bytes=0-9", 10, "0-9"},
        {"the last byte", "bytes=9-9", 10, "9-9"},
        {"behind the end", "bytes=10-", 10, "416"},
        {"behind the end, closed", "bytes=10-20", 10, "416"},
        {"a suffix of no bytes", "bytes=-0", 10, "416"},
        {"a last position too large for 64 bits", "bytes=1-99999999999999999999999", 10, "1-9"},
        {"a first position too large for 64 bits", "bytes=99999999999999999999999-", 10, "416"},
        {"both too large for 64 bits", "bytes=99999999999999999999999-99999999999999999999998", 10, "416"},
        {"a suffix too large for 64 bits", "bytes=-99999999999999999999999", 10, "0-9"},
        {"the largest length", "bytes=0-18446744073709551615", UINT64_MAX, "0-18446744073709551614"},
        {"the last byte of the largest length", "bytes=-1", UINT64_MAX, "18446744073709551614-18446744073709551614"},
        {"the last position there is", "bytes=18446744073709551615-", UINT64_MAX, "416"},
        {"leading zeros", "bytes=000-004", 10, "0-4"},
        {"units ignore case, §14.1", "BYTES=0-4", 10, "0-4"},
        {"nothing of nothing, §14.2", "bytes=0-", 0, "none"},
        {"a suffix of nothing, §14.2", "bytes=-5", 0, "none"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        expect_resolved(cases[i].name, cases[i].value, cases[i].length, cases[i].want);
    }
}

Test(range, ignored_where_malformed_rfc9110_14_2)
{
    static const char *const cases[] = {
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes= ",
        "bytes=-",
        "bytes=5",
        "bytes=5-3",
        "bytes=a-b",
        "bytes=0-x",
        "bytes=x-",
        "bytes=-x",
        "bytes=0-4-5",
        "bytes=--5",
        "bytes=0 -4",
        "bytes=0- 4",
        "bytes =0-4",
        "bytes:0-4",
        "bytes0-4",
        " bytes=0-4",
        "bytes=+1-4",
        "bytes=0x1-",
        "bytes=1.0-2",
        "lines=0-4",
        "byte=0-4",
        "bytes=\"0-4",
        "bytes=0-4;",
        "bytes=0-4, x",
        "items=0-",
        "=0-4",
        "bytes=0-1,4-3",
        "bytes=0-1,-",
        "bytes=0-1 2-3",
        "bytes==0-4",
        "bytes=0-4,bytes=6-7",
    };
    struct range_set set;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_not(range_parse(span_of(cases[i]), &set), "%s", cases[i]);
    }
}

Test(range, several_ranges_rfc9110_15_3_7_2)
{
    static const struct {
        const char *name, *value;
        uint64_t length;
        const char *want;
    } cases[] = {
        {"the first and the last byte", "bytes=0-0,-1", 10000, "0-0,9999-9999"},
        {"spaces around members", "bytes= 0-999, 4500-5499\t, -1000", 10000, "0-999,4500-5499,9000-9999"},
        {"empty members do not count, §5.6.1.2", "bytes=,0-9,,\t,5000-5009,", 10000, "0-9,5000-5009"},
        {"the order asked for", "bytes=5000-5009,0-9", 10000, "5000-5009,0-9"},
        {"one that cannot be satisfied is left out", "bytes=0-9,20000-,-0", 10000, "0-9"},
        {"none that can be satisfied", "bytes=10000-,20000-30000,-0", 10000, "416"},
        {"touching, §14.1.2", "bytes=500-600,601-999", 10000, "500-999"},
        {"touching the other way round", "bytes=601-999,500-600", 10000, "500-999"},
        {"overlapping, §14.1.2", "bytes=500-700,601-999", 10000, "500-999"},
        {"one within the other", "bytes=0-999,100-200", 10000, "0-999"},
        {"one around the other", "bytes=100-200,0-999", 10000, "0-999"},
        {"the same twice", "bytes=7-9,7-9", 10000, "7-9"},
        {"a gap of 79 bytes", "bytes=0-9,89-99", 10000, "0-99"},
        {"a gap of 80 bytes", "bytes=0-9,90-99", 10000, "0-9,90-99"},
        {"a gap of 79 bytes the other way round", "bytes=89-99,0-9", 10000, "0-99"},
        {"joined ranges stand where the first stood", "bytes=5000-5009,0-9,5010-5019", 10000, "5000-5019,0-9"},
        {"one closes the gap between two", "bytes=0-9,5000-5009,200-209,10-199", 10000, "0-209,5000-5009"},
        {"the place of the first of three", "bytes=9000-9009,200-209,0-9,8000-8009,10-199", 10000,
         "9000-9009,0-209,8000-8009"},
        {"joined, then near another", "bytes=1000-1009,0-9,80-999", 10000, "0-1009"},
        {"the largest length", "bytes=0-0,-1", UINT64_MAX, "0-0,18446744073709551614-18446744073709551614"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        expect_resolved(cases[i].name, cases[i].value, cases[i].length, cases[i].want);
    }
}

Test(range, several_that_are_no_gain_rfc9110_17_15)
{
    static const struct {
        const char *name, *value;
        uint64_t length;
        const char *want;
    } cases[] = {
        {"together the whole", "bytes=0-499,500-999", 1000, "none"},
        {"together the whole but one byte", "bytes=0-499,500-998", 1000, "0-998"},
        {"overlapping until they are as large as the whole", "bytes=0-499,0-499", 1000, "none"},
        {"overlapping, smaller by one byte", "bytes=0-499,0-498", 1000, "0-499"},
        {"the whole twice", "bytes=0-,0-", 1000, "none"},
        {"the whole once the gap is closed", "bytes=0-499,510-999", 1000, "none"},
        {"the sum does not fit into 64 bits", "bytes=0-,0-,0-", UINT64_MAX, "none"},
        {"what cannot be satisfied does not add up", "bytes=0-9,1000-,2000-", 1000, "0-9"},
        {"both bytes of two", "bytes=0-0,-1", 2, "none"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        expect_resolved(cases[i].name, cases[i].value, cases[i].length, cases[i].want);
    }
}

/* `count` ranges of one byte, `step` bytes apart. */
static const char *many(size_t count, size_t step, char *text, size_t size)
{
    size_t len = (size_t)snprintf(text, size, "bytes=");

    for (size_t i = 0; i < count; i++) {
        len += (size_t)snprintf(text + len, size - len, "%s%zu-%zu", i == 0 ? "" : ",", i * step, i * step);
    }
    return text;
}

Test(range, limits_rfc9110_17_15)
{
    struct arena arena = test_arena();
    struct range_set set;
    struct ranges ranges;
    char text[4096];

    cr_assert(range_parse(span_of(many(RANGES_MAX, 1000, text, sizeof text)), &set));
    cr_expect_eq(range_resolve(&set, 1000000, &ranges), RANGE_SATISFIABLE);
    cr_expect_eq(ranges.count, RANGES_MAX);
    cr_assert(range_parse(span_of(many(RANGES_MAX + 1, 1000, text, sizeof text)), &set));
    cr_expect_eq(range_resolve(&set, 1000000, &ranges), RANGE_NONE);
    cr_expect_str_eq(resolved(many(RANGE_SPECS_MAX, 2, text, sizeof text), 1000000, &arena), "0-126");
    cr_expect_not(range_parse(span_of(many(RANGE_SPECS_MAX + 1, 2, text, sizeof text)), &set));
    arena_finish(&arena);
}

Test(range, of_a_request_rfc9110_5_3)
{
    struct arena arena = test_arena();
    struct headers headers = test_headers(&arena, "range: bytes=1-2\r\n");
    struct range_set set = {.count = 0};

    cr_assert(range_of_request(&headers, &set));
    cr_expect_eq(set.count, 1);
    cr_expect_eq(set.specs[0].kind, RANGE_SPEC_CLOSED);
    cr_expect(set.specs[0].first == 1 && set.specs[0].last == 2);
    headers = test_headers(&arena, "A: b\r\n");
    cr_expect_not(range_of_request(&headers, &set));
    headers = test_headers(&arena, "Range: bytes=1-2\r\nRange: bytes=1-2\r\n");
    cr_expect_not(range_of_request(&headers, &set));
    arena_finish(&arena);
}

Test(range, void_where_it_says_nothing_rfc9110_14_2)
{
    static const struct {
        const char *fields;
        bool is_void;
    } cases[] = {
        {"A: b\r\n", false},
        {"Range: bytes=1-2\r\n", false},
        {"Range: BYTES=-5\r\n", false},
        {"Range: bytes=2-1\r\n", true},
        {"Range: bytes=\r\n", true},
        {"Range: bytes\r\n", true},
        {"Range:\r\n", true},
        {"Range: =1-2\r\n", true},
        {"Range: bytes 1-2\r\n", true},
        {"Range: items=1-2\r\n", false},
        {"Range: bytes=1-2\r\nRange: bytes=3-4\r\n", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena arena = test_arena();
        struct headers headers = test_headers(&arena, cases[i].fields);

        cr_expect_eq(range_is_void(&headers), cases[i].is_void, "%s", cases[i].fields);
        arena_finish(&arena);
    }
}

Test(range, if_range_rfc9110_13_1_5)
{
    static const struct {
        const char *name, *request, *response;
        bool want;
    } cases[] = {
        {"absent", "", "ETag: \"a\"\r\n", true},
        {"the same tag", "If-Range: \"a\"\r\n", "ETag: \"a\"\r\n", true},
        {"the empty tag", "If-Range: \"\"\r\n", "ETag: \"\"\r\n", true},
        {"another tag", "If-Range: \"b\"\r\n", "ETag: \"a\"\r\n", false},
        {"no tag to compare with", "If-Range: \"a\"\r\n", "", false},
        {"strong comparison: both weak, §8.8.3.2", "If-Range: W/\"a\"\r\n", "ETag: W/\"a\"\r\n", false},
        {"strong comparison: one weak, §8.8.3.2", "If-Range: \"a\"\r\n", "ETag: W/\"a\"\r\n", false},
        {"not a tag, the same bytes", "If-Range: \"a\r\n", "ETag: \"a\r\n", false},
        {"two tags, the same bytes", "If-Range: \"a\", \"b\"\r\n", "ETag: \"a\", \"b\"\r\n", false},
        {"no quotes, the same bytes", "If-Range: abc\r\n", "ETag: abc\r\n", false},
        {"any tag is no tag", "If-Range: *\r\n", "ETag: \"a\"\r\n", false},
        {"empty", "If-Range:\r\n", "ETag: \"a\"\r\n", false},
        {"twice", "If-Range: \"a\"\r\nIf-Range: \"a\"\r\n", "ETag: \"a\"\r\n", false},
        {"the same date, 60 s old", "If-Range: Tue, 14 Nov 2023 22:00:00 GMT\r\n",
         "Last-Modified: Tue, 14 Nov 2023 22:00:00 GMT\r\nDate: Tue, 14 Nov 2023 22:01:00 GMT\r\n", true},
        {"the same date in another form, §5.6.7", "If-Range: Tuesday, 14-Nov-23 22:00:00 GMT\r\n",
         "Last-Modified: Tue, 14 Nov 2023 22:00:00 GMT\r\nDate: Tue, 14 Nov 2023 22:01:00 GMT\r\n", true},
        {"59 s old: weak, §8.8.2.2", "If-Range: Tue, 14 Nov 2023 22:00:01 GMT\r\n",
         "Last-Modified: Tue, 14 Nov 2023 22:00:01 GMT\r\nDate: Tue, 14 Nov 2023 22:01:00 GMT\r\n", false},
        {"a Date before Last-Modified, §8.8.2.2", "If-Range: Tue, 14 Nov 2023 22:00:00 GMT\r\n",
         "Last-Modified: Tue, 14 Nov 2023 22:00:00 GMT\r\nDate: Tue, 14 Nov 2023 21:00:00 GMT\r\n", false},
        {"no Date, §8.8.2.2", "If-Range: Tue, 14 Nov 2023 22:00:00 GMT\r\n",
         "Last-Modified: Tue, 14 Nov 2023 22:00:00 GMT\r\n", false},
        {"a later date is no match", "If-Range: Tue, 14 Nov 2023 22:00:30 GMT\r\n",
         "Last-Modified: Tue, 14 Nov 2023 22:00:00 GMT\r\nDate: Tue, 14 Nov 2023 23:00:00 GMT\r\n", false},
        {"an earlier date is no match", "If-Range: Tue, 14 Nov 2023 21:59:59 GMT\r\n",
         "Last-Modified: Tue, 14 Nov 2023 22:00:00 GMT\r\nDate: Tue, 14 Nov 2023 23:00:00 GMT\r\n", false},
        {"no Last-Modified", "If-Range: Tue, 14 Nov 2023 22:00:00 GMT\r\n", "Date: Tue, 14 Nov 2023 23:00:00 GMT\r\n",
         false},
        {"a malformed date, the same bytes", "If-Range: yesterday\r\n",
         "Last-Modified: yesterday\r\nDate: Tue, 14 Nov 2023 23:00:00 GMT\r\n", false},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers request = test_headers(&arena, cases[i].request);
        struct headers response = test_headers(&arena, cases[i].response);

        cr_expect_eq(if_range_holds(&request, &response, NOW_S), cases[i].want, "%s", cases[i].name);
    }
    arena_finish(&arena);
}

Test(range, content_range_rfc9110_14_4)
{
    static const struct {
        const char *value;
        bool has_range;
        uint64_t first, last;
        bool has_length;
        uint64_t length;
    } cases[] = {
        {"bytes 42-1233/1234", true, 42, 1233, true, 1234},
        {"bytes 42-1233/*", true, 42, 1233, false, 0},
        {"bytes */1234", false, 0, 0, true, 1234},
        {"bytes */0", false, 0, 0, true, 0},
        {"bytes 0-0/1", true, 0, 0, true, 1},
        {"bytes 0-18446744073709551614/18446744073709551615", true, 0, UINT64_MAX - 1, true, UINT64_MAX},
        {"bytes 18446744073709551614-18446744073709551614/*", true, UINT64_MAX - 1, UINT64_MAX - 1, false, 0},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct content_range got = {0};
        struct span text = SPAN("");

        cr_assert(content_range_parse(span_of(cases[i].value), &got), "%s", cases[i].value);
        cr_expect_eq(got.has_range, cases[i].has_range, "%s", cases[i].value);
        cr_expect_eq(got.range.first, cases[i].first, "%s", cases[i].value);
        cr_expect_eq(got.range.last, cases[i].last, "%s", cases[i].value);
        cr_expect_eq(got.has_length, cases[i].has_length, "%s", cases[i].value);
        cr_expect_eq(got.complete_length, cases[i].length, "%s", cases[i].value);
        cr_expect(content_range_text(&got, &arena, &text));
        cr_expect_str_eq(test_text(text, &arena), cases[i].value);
    }
    arena_finish(&arena);
}

Test(range, longest_content_range_fits)
{
    char text[CONTENT_RANGE_MAX_BYTES];
    struct content_range longest = {
        .has_range = true, .range = {UINT64_MAX, UINT64_MAX}, .has_length = true, .complete_length = UINT64_MAX};

    cr_expect_eq(content_range_write(&longest, text), CONTENT_RANGE_MAX_BYTES);
}

Test(range, invalid_content_range_rfc9110_14_4)
{
    static const char *const cases[] = {
        "",
        "bytes",
        "bytes ",
        "bytes 0-4",
        "bytes 0-4/",
        "bytes /5",
        "bytes */",
        "bytes */*",
        "bytes 4-3/5",
        "bytes 0-5/5",
        "bytes 0-4/4",
        "bytes 0-4/5 ",
        "bytes  0-4/5",
        "bytes\t0-4/5",
        "bytes=0-4/5",
        " bytes 0-4/5",
        "bytes 0 -4/5",
        "bytes 0-4 /5",
        "bytes 0-4/ 5",
        "bytes -4/5",
        "bytes 0-/5",
        "bytes 0/5",
        "bytes -/5",
        "bytes +0-4/5",
        "bytes 0-4/5/6",
        "bytes 0-4/5, bytes 0-4/5",
        "bytes 0-4/**",
        "bytes **/5",
        "bytes 0--4/5",
        "items 0-4/5",
        "bytes 0-4/18446744073709551616",
        "bytes 0-18446744073709551616/*",
        "bytes 0-18446744073709551615/*",
        "bytes 18446744073709551616-18446744073709551617/*",
    };
    struct content_range got;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_not(content_range_parse(span_of(cases[i]), &got), "%s", cases[i]);
    }
}

Test(range, content_range_of_a_response_stands_once)
{
    struct arena arena = test_arena();
    struct headers headers = test_headers(&arena, "Content-Range: bytes 0-4/5\r\n");
    struct content_range got;

    cr_expect(content_range_of_response(&headers, &got));
    headers = test_headers(&arena, "Content-Range: bytes 0-4/5\r\nContent-Range: bytes 0-4/5\r\n");
    cr_expect_not(content_range_of_response(&headers, &got));
    headers = test_headers(&arena, "");
    cr_expect_not(content_range_of_response(&headers, &got));
    arena_finish(&arena);
}
