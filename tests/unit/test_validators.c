/* test_validators.c: entity tags and conditions (RFC 9110 §8.8, §13). */
#include <criterion/criterion.h>

#include "http/validators.h"
#include "tests/unit/support.h"

enum { NOW_S = 1700000000, RECEIVED_S = 1699999000 };

/* RFC 9110 §8.8.3.2, with its own table first. */
Test(validators, entity_tags)
{
    static const struct {
        const char *a, *b;
        bool strong, weak;
    } cases[] = {
        {"W/\"1\"", "W/\"1\"", false, true}, {"W/\"1\"", "W/\"2\"", false, false}, {"W/\"1\"", "\"1\"", false, true},
        {"\"1\"", "\"1\"", true, true},      {"\"1\"", "\"2\"", false, false},     {"w/\"1\"", "\"1\"", false, false},
        {"w/\"1\"", "w/\"1\"", true, true},  {"abc", "abc", true, true},           {"\"abc\"", "abc", false, false},
        {"\"a\"", "\"A\"", false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(etag_equal_strong(span_of(cases[i].a), span_of(cases[i].b)), cases[i].strong, "%s %s", cases[i].a,
                     cases[i].b);
        cr_expect_eq(etag_equal_weak(span_of(cases[i].a), span_of(cases[i].b)), cases[i].weak, "%s %s", cases[i].a,
                     cases[i].b);
    }
    cr_expect(etag_is_weak(SPAN("W/\"1\"")));
    cr_expect_not(etag_is_weak(SPAN("w/\"1\"")));
    cr_expect_not(etag_is_weak(SPAN("W")));
}

Test(validators, if_none_match_rfc9110_13_1_2)
{
    static const struct {
        const char *fields, *etag;
        bool match;
    } cases[] = {
        {"", "\"a\"", false},
        {"If-None-Match: \"a\"\r\n", "\"a\"", true},
        {"If-None-Match: W/\"a\"\r\n", "\"a\"", true},
        {"If-None-Match: \"x\", \"a\" , \"y\"\r\n", "W/\"a\"", true},
        {"If-None-Match: \"x\"\r\nIf-None-Match: \"a\"\r\n", "\"a\"", true},
        {"If-None-Match: \"x\"\r\n", "\"a\"", false},
        {"If-None-Match: *\r\n", "\"a\"", true},
        {"If-None-Match: *\r\n", "", true},
        {"If-None-Match: \"\"\r\n", "", false},
        {"If-None-Match:\r\n", "", false},
        {"If-None-Match: \"*\"\r\n", "\"a\"", false},
        {"If-None-Match: \"a,b\"\r\n", "\"a,b\"", true},
        {"If-None-Match: \"x,\"a\"\"\r\n", "\"a\"", false},
        {"If-None-Match: \"a\\\", \"b\"\r\n", "\"b\"", true}, /* a backslash escapes nothing here */
        {"If-None-Match: \"a\\\", \"b\"\r\n", "\"a\\\"", true},
        {"If-None-Match: abc\r\n", "abc", true},
        {"If-None-Match: \"abc\"\r\n", "abc", false},
        {"If-None-Match: abc\r\n", "\"abc\"", false},
        {"If-None-Match: w/\"abc\"\r\n", "w/\"abc\"", true},
        {"If-None-Match: W\\\"abc\"\r\n", "W\\\"abc\"", true},
        {"If-None-Match: W\"abc\"\r\n", "W\"abc\"", true},
        {"If-None-Match: \"\xe4\"\r\n", "\"\xe4\"", true},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = test_headers(&arena, cases[i].fields);
        struct headers response;

        headers_init(&response, &arena);
        if (cases[i].etag[0] != '\0') {
            cr_assert(headers_add(&response, SPAN("ETag"), span_of(cases[i].etag)));
        }
        enum condition condition = condition_evaluate(&headers, &response, 0, 0);
        cr_expect_eq(condition == CONDITION_MATCHED, cases[i].match, "%s %s", cases[i].fields, cases[i].etag);
    }
    arena_finish(&arena);
}

Test(validators, if_match_rfc9110_13_1_1)
{
    cr_expect(if_match_has(SPAN("\"1\", \"2\""), SPAN("\"2\"")));
    cr_expect_not(if_match_has(SPAN("W/\"2\""), SPAN("\"2\"")));
    cr_expect_not(if_match_has(SPAN("\"2\""), SPAN("W/\"2\"")));
    cr_expect_not(if_match_has(SPAN("\"1\""), SPAN("")));
    cr_expect_not(if_match_has(SPAN(""), SPAN("\"1\"")));
}

Test(validators, conditions_rfc9110_13_2_2)
{
    static const struct {
        const char *name, *request, *response;
        enum condition want;
    } cases[] = {
        {"none", "A: b\r\n", "ETag: \"a\"\r\n", CONDITION_NONE},
        {"If-None-Match matches", "If-None-Match: \"a\"\r\n", "ETag: \"a\"\r\n", CONDITION_MATCHED},
        {"If-None-Match does not", "If-None-Match: \"b\"\r\n", "ETag: \"a\"\r\n", CONDITION_NOT_MATCHED},
        {"If-None-Match without an ETag", "If-None-Match: \"b\"\r\n", "", CONDITION_NOT_MATCHED},
        {"If-None-Match beats If-Modified-Since",
         "If-None-Match: \"b\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
         "ETag: \"a\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", CONDITION_NOT_MATCHED},
        {"the same time", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
         "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", CONDITION_MATCHED},
        {"later", "If-Modified-Since: Sunday, 06-Nov-94 08:49:38 GMT\r\n",
         "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", CONDITION_MATCHED},
        {"earlier", "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n",
         "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", CONDITION_NOT_MATCHED},
        {"Date in place of Last-Modified", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
         "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", CONDITION_MATCHED},
        {"time of receipt in place of both", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "",
         CONDITION_NOT_MATCHED},
        {"received before", "If-Modified-Since: Tue, 14 Nov 2023 22:00:00 GMT\r\n", "", CONDITION_MATCHED},
        {"malformed", "If-Modified-Since: yesterday\r\n", "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
         CONDITION_NONE},
        {"in the future", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
         "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", CONDITION_MATCHED},
        {"two dates",
         "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
         "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", CONDITION_NONE},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers request = test_headers(&arena, cases[i].request);
        struct headers response = test_headers(&arena, cases[i].response);

        cr_expect_eq(condition_evaluate(&request, &response, RECEIVED_S, NOW_S), cases[i].want, "%s", cases[i].name);
    }
    arena_finish(&arena);
}

Test(validators, conditions_for_the_origin_and_their_removal)
{
    struct arena arena = test_arena();
    struct headers headers = test_headers(&arena, "If-Match: a\r\n");

    cr_expect(has_origin_condition(&headers));
    headers = test_headers(&arena, "if-unmodified-since: a\r\n");
    cr_expect(has_origin_condition(&headers));
    headers = test_headers(&arena, "If-None-Match: a\r\nIf-Modified-Since: b\r\nIf-Range: c\r\n");
    cr_expect_not(has_origin_condition(&headers));
    headers = test_headers(&arena, "If-None-Match: a\r\nA: 1\r\nIf-Modified-Since: b\r\nIf-Range: c\r\nIf-Match: "
                                   "d\r\nIf-Unmodified-Since: e\r\nIf: f\r\n");
    remove_conditions(&headers);
    cr_expect_str_eq(test_headers_text(&headers, &arena), "A: 1\r\nIf: f\r\n");
    arena_finish(&arena);
}

Test(validators, fields_of_a_304_rfc9110_15_4_5)
{
    static const struct {
        const char *name;
        bool want;
    } cases[] = {
        {"Content-Location", true},
        {"Date", true},
        {"ETag", true},
        {"Vary", true},
        {"Cache-Control", true},
        {"Expires", true},
        {"Last-Modified", true},
        {"Age", true},
        {"Set-Cookie", true},
        {"Access-Control-Allow-Origin", true},
        {"Content-Length", false},
        {"content-type", false},
        {"Content-Encoding", false},
        {"Content-Language", false},
        {"Content-Range", false},
        {"Transfer-Encoding", false},
        {"Trailer", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(field_belongs_in_304(span_of(cases[i].name)), cases[i].want, "%s", cases[i].name);
    }
}
