/* test_no_vary_search.c: which differences of queries a response declares irrelevant
 * (draft-ietf-httpbis-no-vary-search). */
#include <criterion/criterion.h>
#include <string.h>

#include "http/buf.h"
#include "http/no_vary_search.h"
#include "tests/unit/support.h"

static struct arena arena;

static void setup(void)
{
    arena = test_arena();
}

static void teardown(void)
{
    arena_finish(&arena);
}

TestSuite(no_vary_search, .init = setup, .fini = teardown);

/* The query in the form that `field` gives it; NULL: the field declares nothing. */
static const char *form_of(const char *field, const char *query)
{
    struct headers headers;
    struct no_vary_search variance;
    struct uri uri = {.has_query = query[0] == '?', .query = span_skip(span_of(query), query[0] == '?' ? 1 : 0)};
    struct span text;

    headers_init(&headers, &arena);
    cr_assert(headers_add(&headers, SPAN("No-Vary-Search"), span_of(field)));
    if (!no_vary_search_of(&headers, &arena, &variance)) {
        return NULL;
    }
    cr_assert(no_vary_search_query(&variance, &uri, &arena, &text));
    return test_text(text, &arena);
}

Test(no_vary_search, two_queries)
{
    static const struct {
        const char *field, *one, *other;
        bool same;
    } cases[] = {
        {"params=(\"utm\")", "?a=1", "?a=1&utm=x", true},
        {"params=(\"utm\")", "?utm=y&a=1", "?a=1&utm=x&utm=z", true},
        {"params=(\"utm\")", "?a=1", "?a=2", false},
        {"params=(\"utm\")", "", "?utm=1", true},
        {"params=(\"utm\")", "", "?", true},
        {"params=(\"utm\")", "?a=1&b=2", "?b=2&a=1", false},
        {"params=(\"utm\")", "?a=1", "?a=1&UTM=1", false},
        {"params=(\"utm\")", "?a=1", "?a=1&utmx=1", false},
        {"params=(\"utm\")", "?a=1", "?a=1&%75tm=1", true},
        {"params=(\"a b\")", "", "?a+b=1", true},
        {"params=(\"a+b\")", "", "?a%20b=1", true},
        {"params=(\"%61\")", "", "?a=1", true},
        {"params=(\"a\" \"b\")", "?c=1", "?a=1&c=1&b=1", true},
        {"params=(\"\")", "?a=1", "?=x&a=1", true},
        {"params=(\"\")", "?a=1&", "?&a=1&&", true},
        {"params", "?a=1", "?b=2", true},
        {"params=?1", "", "?b=2", true},
        {"params, except=(\"a\")", "?a=1&b=2", "?c=1&a=1", true},
        {"params, except=(\"a\")", "?a=1", "?a=2", false},
        {"params, except=(\"a\")", "?a=1", "", false},
        {"params, except=()", "?a=1", "", true},
        {"key-order", "?a=1&b=2", "?b=2&a=1", true},
        {"key-order", "?a=1&a=2", "?a=2&a=1", false},
        {"key-order", "?a=1&b=2&a=3", "?b=2&a=1&a=3", true},
        {"key-order", "?a=1", "?a=1&b=2", false},
        {"key-order, params=(\"utm\")", "?b=1&a=2", "?a=2&utm=1&b=1", true},
        {"key-order, params=?0", "?b=1&a=2", "?a=2&b=1", true},
        {"key-order", "?a", "?a=", true},
        {"key-order", "?a=b%20c", "?a=b+c", true},
        {"key-order", "?a=%2B", "?a=+", false},
        {"key-order", "?a=%26b", "?a=&b", false},
        {"key-order", "?a=%3D", "?a==", true},
        {"key-order", "?a=%zz", "?a=%25zz", true},
        {"key-order", "?a=%c3%a9", "?a=%C3%A9", true},
        {"unknown=1, key-order", "?a&b", "?b&a", true},
        {"params=(\"utm\";x=1);y", "", "?utm=1", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *one = form_of(cases[i].field, cases[i].one);
        const char *other = form_of(cases[i].field, cases[i].other);
        cr_assert_not_null(one, "%s", cases[i].field);
        cr_expect_eq(strcmp(one, other) == 0, cases[i].same, "%s: %s is \"%s\", %s is \"%s\"", cases[i].field,
                     cases[i].one, one, cases[i].other, other);
    }
}

Test(no_vary_search, what_declares_nothing)
{
    static const char *const fields[] = {
        "",
        "params=()",
        "params=?0",
        "key-order=?0",
        "key-order=1",
        "params=\"a\"",
        "params=a",
        "params=(a)",
        "params=(\"a\" 1)",
        "except=(\"a\")",
        "params=?0, except=(\"a\")",
        "params=(\"a\"), except=(\"b\")",
        "params, except=\"a\"",
        "params, except=(a)",
        "params, except",
        "key-order=(\"a\"), params",
        "params=(\"a\"",
        "Params",
        "x=1",
    };
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        cr_expect_null(form_of(fields[i], "?a=1"), "%s", fields[i]);
    }
}

Test(no_vary_search, a_form_is_its_own_form)
{
    static const char *const queries[] = {"?a=1&b=2", "?%26=%3d&a b=c", "?a&b&&c", "?%00=%ff&x=+", ""};

    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        struct span again;
        const char *form = form_of("key-order", queries[i]);
        cr_assert(arena_format(&arena, &again, "?%s", form));
        cr_expect_str_eq(form_of("key-order", test_text(again, &arena)), form, "%s", queries[i]);
    }
}

Test(no_vary_search, limits)
{
    struct no_vary_search variance = {.any_order = true};
    struct buf query;
    struct span text;

    buf_init(&query, 64 * 1024);
    for (unsigned i = 0; i < NO_VARY_SEARCH_PARAMETERS; i++) {
        buf_add_text(&query, "a=1&");
    }
    struct uri uri = {.has_query = true, .query = buf_span(&query)};
    cr_expect(no_vary_search_query(&variance, &uri, &arena, &text));
    cr_expect_eq(text.len, 4 * NO_VARY_SEARCH_PARAMETERS - 1);
    buf_add_text(&query, "b");
    uri.query = buf_span(&query);
    cr_expect_not(no_vary_search_query(&variance, &uri, &arena, &text), "one more");
    buf_finish(&query);

    struct buf field;
    buf_init(&field, 64 * 1024);
    buf_add_text(&field, "params=(");
    for (unsigned i = 0; i < NO_VARY_SEARCH_NAMES; i++) {
        buf_format(&field, " \"p%u\"", i);
    }
    struct span names = buf_span(&field);
    cr_assert(arena_format(&arena, &text, "%.*s)", SPAN_ARG(names)));
    cr_expect_str_eq(form_of(test_text(text, &arena), "?p0=1&a=1"), "a=1");
    cr_assert(arena_format(&arena, &text, "%.*s \"x\")", SPAN_ARG(names)));
    cr_expect_null(form_of(test_text(text, &arena), "?a=1"), "one more");
    buf_finish(&field);
}
