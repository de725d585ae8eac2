/* test_directives.c: Cache-Control (RFC 9111 §5.2). */
#include <criterion/criterion.h>

#include "http/directives.h"
#include "tests/unit/support.h"

Test(directives, delta_seconds)
{
    static const struct {
        const char *fields;
        enum directive_state state;
        int32_t seconds;
    } cases[] = {
        {"", DIRECTIVE_ABSENT, 0},
        {"Cache-Control: max-age=5\r\n", DIRECTIVE_VALID, 5},
        {"Cache-Control: MAX-AGE=5\r\n", DIRECTIVE_VALID, 5},
        {"Cache-Control:  max-age=5 , x\r\n", DIRECTIVE_VALID, 5},
        {"Cache-Control: max-age=\"5\"\r\n", DIRECTIVE_VALID, 5},
        {"Cache-Control: max-age=003600\r\n", DIRECTIVE_VALID, 3600},
        {"Cache-Control: max-age=0\r\n", DIRECTIVE_VALID, 0},
        {"Cache-Control: max-age=2147483647\r\n", DIRECTIVE_VALID, INT32_MAX},
        {"Cache-Control: max-age=2147483648\r\n", DIRECTIVE_VALID, INT32_MAX},
        {"Cache-Control: max-age=99999999999999999999999999\r\n", DIRECTIVE_VALID, INT32_MAX},
        {"Cache-Control: max-age\r\n", DIRECTIVE_INVALID, 0},
        {"Cache-Control: max-age=\r\n", DIRECTIVE_INVALID, 0},
        {"Cache-Control: max-age=\"\"\r\n", DIRECTIVE_INVALID, 0},
        {"Cache-Control: max-age=\"5\r\n", DIRECTIVE_INVALID, 0},
        {"Cache-Control: max-age = 5\r\n", DIRECTIVE_INVALID, 0},
        {"Cache-Control: max-age =5\r\n", DIRECTIVE_INVALID, 0},
        {"Cache-Control: max-age= 5\r\n", DIRECTIVE_INVALID, 0},
        {"Cache-Control: max-age='3600'\r\n", DIRECTIVE_INVALID, 0},
        {"Cache-Control: max-age=-5\r\n", DIRECTIVE_INVALID, 0},
        {"Cache-Control: max-age=+5\r\n", DIRECTIVE_INVALID, 0},
        {"Cache-Control: max-age=1.0\r\n", DIRECTIVE_INVALID, 0},
        {"Cache-Control: max-age=a100\r\n", DIRECTIVE_INVALID, 0},
        {"Cache-Control: max-age=100a\r\n", DIRECTIVE_INVALID, 0},
        {"Cache-Control: max-age=5 5\r\n", DIRECTIVE_INVALID, 0},
        {"Cache-Control: max-age=1, max-age=2\r\n", DIRECTIVE_VALID, 1},
        {"Cache-Control: max-age=1\r\nCache-Control: max-age=2\r\n", DIRECTIVE_VALID, 1},
        {"Cache-Control: max-age=x, max-age=2\r\n", DIRECTIVE_INVALID, 0},
        {"Cache-Control: extension=\"max-age=3600\", max-age=1\r\n", DIRECTIVE_VALID, 1},
        {"Cache-Control: extension=\"a, max-age=3600\"\r\n", DIRECTIVE_ABSENT, 0},
        {"Cache-Control: nothing-to-see-here, max-age=7\r\n", DIRECTIVE_VALID, 7},
        {"Cache-Control: max-agex=7\r\n", DIRECTIVE_ABSENT, 0},
        {"Cache-Control: \"max-age=7\"\r\n", DIRECTIVE_ABSENT, 0},
        {"X-Cache-Control: max-age=7\r\n", DIRECTIVE_ABSENT, 0},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = test_headers(&arena, cases[i].fields);
        struct delta response = directives_of_response(&headers, &arena).max_age;
        struct delta request = directives_of_request(&headers, &arena).max_age;

        cr_expect_eq(response.state, cases[i].state, "%s", cases[i].fields);
        cr_expect_eq(response.seconds, cases[i].seconds, "%s", cases[i].fields);
        cr_expect_eq(request.state, cases[i].state, "%s", cases[i].fields);
        cr_expect_eq(request.seconds, cases[i].seconds, "%s", cases[i].fields);
    }
    arena_finish(&arena);
}

Test(directives, of_a_response)
{
    struct arena arena = test_arena();
    struct headers headers =
        test_headers(&arena, "Cache-Control: no-store, No-Cache, private, PUBLIC, must-revalidate,proxy-revalidate\r\n"
                             "cache-control: no-transform, must-understand, immutable, s-maxage=1\r\n"
                             "Cache-Control: stale-while-revalidate=2, stale-if-error=3\r\n");
    struct response_directives got = directives_of_response(&headers, &arena);

    cr_expect(got.present && got.no_store && got.no_cache && got.is_private && got.is_public && got.must_revalidate);
    cr_expect(got.proxy_revalidate && got.no_transform && got.must_understand && got.immutable);
    cr_expect_eq(got.max_age.state, DIRECTIVE_ABSENT);
    cr_expect_eq(got.s_maxage.seconds, 1);
    cr_expect_eq(got.stale_while_revalidate.seconds, 2);
    cr_expect_eq(got.stale_if_error.seconds, 3);

    headers = test_headers(&arena, "A: b\r\n");
    got = directives_of_response(&headers, &arena);
    cr_expect_not(got.present || got.no_store || got.no_cache || got.is_private);
    arena_finish(&arena);
}

Test(directives, qualified_lists_rfc9111_5_2_2_4)
{
    static const struct {
        const char *value;
        bool no_cache;
        const char *fields;
    } cases[] = {
        {"no-cache", true, ""},
        {"no-cache=\"a, b\"", false, "a, b"},
        {"no-cache=a", false, "a"},
        {"no-cache=\"a\\b\"", false, "ab"},
        {"no-cache=\"a\", no-cache=\"b\"", false, "a, b"},
        {"no-cache=\"a\", no-cache", true, "a"},
        {"no-cache, no-cache=\"a\"", true, "a"},
        {"no-cache=\"\"", true, ""},
        {"no-cache=", true, ""},
        {"no-cache=\"a", true, ""},
        {"no-cache=\"a b\"", true, ""},
        {"no-cache =\"a\"", true, ""},
        {"no-cache= \"a\"", true, ""},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers;
        struct response_directives got;

        headers_init(&headers, &arena);
        cr_assert(headers_add(&headers, SPAN("Cache-Control"), span_of(cases[i].value)));
        got = directives_of_response(&headers, &arena);
        cr_expect_eq(got.no_cache, cases[i].no_cache, "%s", cases[i].value);
        cr_expect(span_equal(got.no_cache_fields, span_of(cases[i].fields)), "%s", cases[i].value);
        cr_expect_not(got.is_private);
    }
    arena_finish(&arena);
}

/* RFC 9111 §4.2.1, §5.2: what cannot be read for certain is read so that less is allowed. */
Test(directives, a_quote_that_is_never_closed)
{
    static const struct {
        const char *value;
        bool no_store, no_cache, is_private, is_public;
        enum directive_state max_age;
    } cases[] = {
        {"max-age=1, x=\"y, no-store", true, false, false, false, DIRECTIVE_VALID},
        {"max-age=1, x=\"y, no-cache", false, true, false, false, DIRECTIVE_VALID},
        {"max-age=1, x=\"y\\\", private", false, false, true, false, DIRECTIVE_VALID},
        {"x=\"y, private=z", false, false, true, false, DIRECTIVE_ABSENT},
        {"x=\"y, no-cache=z", false, true, false, false, DIRECTIVE_ABSENT},
        {"x=\"y, max-age=1, public", false, false, false, false, DIRECTIVE_ABSENT},
        {"max-age=\"1, no-store", true, false, false, false, DIRECTIVE_INVALID},
        {"no-cache=\"a, private", false, true, true, false, DIRECTIVE_ABSENT},
        {"x=\"a,b\" \"c, no-store", true, false, false, false, DIRECTIVE_ABSENT},
        {"x=\"", false, false, false, false, DIRECTIVE_ABSENT},
        {"x=\"y, no-store\", max-age=1, public", false, false, false, true, DIRECTIVE_VALID},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers;

        headers_init(&headers, &arena);
        cr_assert(headers_add(&headers, SPAN("Cache-Control"), span_of(cases[i].value)));
        struct response_directives got = directives_of_response(&headers, &arena);
        cr_expect_eq(got.no_store, cases[i].no_store, "%s", cases[i].value);
        cr_expect_eq(got.no_cache, cases[i].no_cache, "%s", cases[i].value);
        cr_expect_eq(got.is_private, cases[i].is_private, "%s", cases[i].value);
        cr_expect_eq(got.is_public, cases[i].is_public, "%s", cases[i].value);
        cr_expect_eq(got.max_age.state, cases[i].max_age, "%s", cases[i].value);
    }
    arena_finish(&arena);
}

Test(directives, a_full_arena_makes_directives_unqualified)
{
    struct arena arena = test_arena();
    struct arena full = {0};
    struct headers headers =
        test_headers(&arena, "Cache-Control: private=\"a\\b\", no-cache=\"c\", no-cache=\"d\"\r\n");
    struct response_directives got = directives_of_response(&headers, &full);

    cr_expect(got.is_private && got.private_fields.len == 0);
    cr_expect(got.no_cache); /* whatever of the list was read */
    arena_finish(&arena);
}

Test(directives, of_a_request)
{
    struct arena arena = test_arena();
    struct headers headers = test_headers(
        &arena, "Cache-Control: no-cache, no-store, no-transform, only-if-cached, min-fresh=1, stale-if-error=2\r\n");
    struct request_directives got = directives_of_request(&headers, &arena);

    cr_expect(got.present && got.no_cache && got.no_store && got.no_transform && got.only_if_cached);
    cr_expect_eq(got.min_fresh.seconds, 1);
    cr_expect_eq(got.stale_if_error.seconds, 2);
    cr_expect_eq(got.max_stale.state, DIRECTIVE_ABSENT);
    cr_expect_not(got.max_stale_any);
    arena_finish(&arena);
}

Test(directives, max_stale_rfc9111_5_2_1_2)
{
    static const struct {
        const char *fields;
        bool any;
        enum directive_state state;
    } cases[] = {
        {"Cache-Control: max-stale\r\n", true, DIRECTIVE_ABSENT},
        {"Cache-Control: max-stale=5\r\n", false, DIRECTIVE_VALID},
        {"Cache-Control: max-stale=\r\n", false, DIRECTIVE_INVALID},
        {"Cache-Control: max-stale=x\r\n", false, DIRECTIVE_INVALID},
        {"Cache-Control: max-stale, max-stale=5\r\n", true, DIRECTIVE_ABSENT},
        {"Cache-Control: max-stale=5, max-stale\r\n", false, DIRECTIVE_VALID},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = test_headers(&arena, cases[i].fields);
        struct request_directives got = directives_of_request(&headers, &arena);

        cr_expect_eq(got.max_stale_any, cases[i].any, "%s", cases[i].fields);
        cr_expect_eq(got.max_stale.state, cases[i].state, "%s", cases[i].fields);
    }
    arena_finish(&arena);
}

Test(directives, pragma_counts_only_without_cache_control_rfc9111_5_4)
{
    static const struct {
        const char *fields;
        bool want;
    } cases[] = {
        {"Pragma: no-cache\r\n", true},
        {"Pragma: foo, No-Cache\r\n", true},
        {"Pragma: foo\r\n", false},
        {"Pragma: no-cache\r\nCache-Control: nothing\r\n", false},
        {"Pragma: no-cache\r\nCache-Control:\r\n", false},
        {"", false},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = test_headers(&arena, cases[i].fields);

        cr_expect_eq(directives_of_request(&headers, &arena).pragma_no_cache, cases[i].want, "%s", cases[i].fields);
    }
    arena_finish(&arena);
}
