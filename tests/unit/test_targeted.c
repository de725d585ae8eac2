/* test_targeted.c: CDN-Cache-Control and its kind (RFC 9213). */
#include <criterion/criterion.h>

#include "http/targeted.h"
#include "tests/unit/support.h"

static bool read(const char *fields, struct arena *arena, struct response_directives *out)
{
    struct headers headers = test_headers(arena, fields);

    return directives_of_targeted(&headers, SPAN("CDN-Cache-Control"), arena, out);
}

/* One line that is valid and not empty. */
static struct response_directives valid(const char *value, struct arena *arena)
{
    struct headers headers;
    struct response_directives out;

    headers_init(&headers, arena);
    cr_assert(headers_add(&headers, SPAN("CDN-Cache-Control"), span_of(value)));
    cr_assert(directives_of_targeted(&headers, SPAN("CDN-Cache-Control"), arena, &out), "%s", value);
    return out;
}

Test(targeted, counts_if_valid_and_not_empty_rfc9213_2_1)
{
    static const struct {
        const char *fields;
        bool want;
    } cases[] = {
        {"CDN-Cache-Control: max-age=60\r\n", true},
        {"cdn-cache-control: max-age=60\r\n", true},
        {"CDN-Cache-Control: none\r\n", true}, /* §3.1 */
        {"CDN-Cache-Control: unknown=\"x\", other=1.5;p\r\n", true},
        {"CDN-Cache-Control: max-age=60\r\nCDN-Cache-Control: public\r\n", true},
        {"CDN-Cache-Control: max-age=\"60\"\r\n", true},
        {"", false},
        {"CDN-Cache-Control:\r\n", false},
        {"Cache-Control: max-age=60\r\n", false},
        {"CDN-Cache-Control: max-age=60, &&&&&\r\n", false},
        {"CDN-Cache-Control: max-age=60\r\nCDN-Cache-Control: &&&&&\r\n", false},
        {"CDN-Cache-Control: max-age=60,\r\n", false},
        {"CDN-Cache-Control: max-age =60\r\n", false},
        {"CDN-Cache-Control: max-age= 60\r\n", false},
        {"CDN-Cache-Control: Max-Age=60\r\n", false}, /* keys are lower case, RFC 9651 §3.1.2 */
        {"CDN-Cache-Control: max-age=\r\n", false},
        {"CDN-Cache-Control: max-age=60 no-store\r\n", false},
        {"CDN-Cache-Control: max-age=1234567890123456\r\n", false}, /* 16 digits, RFC 9651 §3.3.1 */
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct response_directives got = {0};

        cr_expect_eq(read(cases[i].fields, &arena, &got), cases[i].want, "%s", cases[i].fields);
        cr_expect_eq(got.present, cases[i].want, "%s", cases[i].fields);
    }
    arena_finish(&arena);
}

Test(targeted, times_are_integers_rfc9213_2_1)
{
    static const struct {
        const char *value;
        enum directive_state state;
        int32_t seconds;
    } cases[] = {
        {"max-age=0", DIRECTIVE_VALID, 0},
        {"max-age=60", DIRECTIVE_VALID, 60},
        {"max-age=60;a;b=2", DIRECTIVE_VALID, 60}, /* parameters are ignored */
        {"max-age=2147483648", DIRECTIVE_VALID, INT32_MAX},
        {"max-age=999999999999999", DIRECTIVE_VALID, INT32_MAX},
        {"max-age=-1", DIRECTIVE_INVALID, 0},
        {"max-age=\"10000\"", DIRECTIVE_ABSENT, 0},
        {"max-age=60.0", DIRECTIVE_ABSENT, 0},
        {"max-age=abc", DIRECTIVE_ABSENT, 0},
        {"max-age", DIRECTIVE_ABSENT, 0},
        {"max-age=@60", DIRECTIVE_ABSENT, 0},
        {"max-age=(60)", DIRECTIVE_ABSENT, 0},
        {"max-age=1, max-age=2", DIRECTIVE_VALID, 2}, /* RFC 9651 §3.2: the last one counts */
        {"max-age=1, max-age=\"2\"", DIRECTIVE_ABSENT, 0},
        {"no-store", DIRECTIVE_ABSENT, 0},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct response_directives got = valid(cases[i].value, &arena);

        cr_expect_eq(got.max_age.state, cases[i].state, "%s", cases[i].value);
        cr_expect_eq(got.max_age.seconds, cases[i].seconds, "%s", cases[i].value);
    }
    arena_finish(&arena);
}

Test(targeted, all_directives_rfc9213_2_2)
{
    struct arena arena = test_arena();
    struct response_directives got;

    cr_assert(read("CDN-Cache-Control: no-store, no-cache, private, public, must-revalidate,proxy-revalidate\r\n"
                   "CDN-Cache-Control: no-transform, must-understand, immutable, s-maxage=1\r\n"
                   "CDN-Cache-Control: stale-while-revalidate=2, stale-if-error=3\r\n",
                   &arena, &got));
    cr_expect(got.present && got.no_store && got.no_cache && got.is_private && got.is_public && got.must_revalidate);
    cr_expect(got.proxy_revalidate && got.no_transform && got.must_understand && got.immutable);
    cr_expect_eq(got.max_age.state, DIRECTIVE_ABSENT);
    cr_expect_eq(got.s_maxage.seconds, 1);
    cr_expect_eq(got.stale_while_revalidate.seconds, 2);
    cr_expect_eq(got.stale_if_error.seconds, 3);
    arena_finish(&arena);
}

Test(targeted, flags_of_other_types_permit_nothing_rfc9213_2_1)
{
    static const struct {
        const char *value;
        bool no_store, is_public, must_understand;
    } cases[] = {
        {"a", false, false, false},
        {"no-store=?1, public=?1, must-understand=?1", true, true, true},
        {"no-store=?0, public=?0, must-understand=?0", false, false, false},
        {"no-store=1, public=1, must-understand=1", true, false, false},
        {"no-store=\"\", public=\"\", must-understand=x", true, false, false},
        {"no-store, no-store=?0", false, false, false}, /* RFC 9651 §3.2: the last one counts */
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct response_directives got = valid(cases[i].value, &arena);

        cr_expect_eq(got.no_store, cases[i].no_store, "%s", cases[i].value);
        cr_expect_eq(got.is_public, cases[i].is_public, "%s", cases[i].value);
        cr_expect_eq(got.must_understand, cases[i].must_understand, "%s", cases[i].value);
    }
    arena_finish(&arena);
}

Test(targeted, qualified_lists_rfc9111_5_2_2_7)
{
    static const struct {
        const char *value;
        bool is_private;
        const char *fields;
    } cases[] = {
        {"private", true, ""},
        {"private=?0", false, ""},
        {"private=\"set-cookie, b\"", false, "set-cookie, b"},
        {"private=\"\"", true, ""},
        {"private=\"a b\"", true, ""},
        {"private=\"a, b c\"", true, ""},
        {"private=\"a\\\"\"", true, ""},
        {"private=set-cookie", true, ""},
        {"private=1", true, ""},
        {"private=(\"a\")", true, ""},
        {"private=\"a\", private", true, ""},
        {"private, private=\"a\"", false, "a"}, /* RFC 9651 §3.2: the last one counts */
        {"private=\"a\", private=\"b\"", false, "b"},
        {"no-cache=\"a\"", false, ""},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct response_directives got = valid(cases[i].value, &arena);

        cr_expect_eq(got.is_private, cases[i].is_private, "%s", cases[i].value);
        cr_expect(span_equal(got.private_fields, span_of(cases[i].fields)), "%s", cases[i].value);
        cr_expect_not(got.no_cache, "%s", cases[i].value);
    }
    arena_finish(&arena);
}

Test(targeted, a_full_arena)
{
    struct arena arena = test_arena();
    struct arena full = {0};
    struct headers headers = test_headers(&arena, "A: private=\"a\\\\b\", no-cache=\"c\"\r\n");
    struct response_directives got;

    cr_assert(directives_of_targeted(&headers, SPAN("A"), &full, &got));
    cr_expect(got.is_private && got.private_fields.len == 0);
    cr_expect(span_equal(got.no_cache_fields, SPAN("c")));
    headers = test_headers(&arena, "A: max-age=1\r\nA: public\r\n");
    cr_expect_not(directives_of_targeted(&headers, SPAN("A"), &full, &got));
    arena_finish(&arena);
}
