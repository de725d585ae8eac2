/* test_token.c: tokens, lists, quoted strings, parameters. */
#include <criterion/criterion.h>
#include <string.h>

#include "http/token.h"
#include "tests/unit/support.h"

Test(token, tchar_is_what_rfc9110_5_6_2_lists)
{
    for (int byte = 0; byte < 256; byte++) {
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
        bool want = letter || (byte != 0 && strchr("!#$%&'*+-.^_`|~", byte) != NULL);

        cr_expect_eq(is_tchar((unsigned char)byte), want, "%d", byte);
    }
}

Test(token, field_values_hold_no_controls_but_tab)
{
    for (int byte = 0; byte < 256; byte++) {
        char text = (char)byte;
        bool want = byte == '\t' || (byte >= 0x20 && byte != 0x7f);

        cr_expect_eq(is_field_value((struct span){&text, 1}), want, "%d", byte);
    }
    cr_expect(is_field_value(SPAN("")));
    cr_expect_not(is_token(SPAN("")));
    cr_expect_not(is_token(SPAN("a b")));
}

Test(token, list_members_rfc9110_5_6_1)
{
    static const struct {
        const char *list, *members; /* members separated by | */
    } cases[] = {
        {"", ""},
        {" , ,\t,", ""},
        {"a", "a"},
        {" a , b,,c ,", "a|b|c"},
        {"a=\"x, y\", b", "a=\"x, y\"|b"},
        {"\"a\\\"b, c\", d", "\"a\\\"b, c\"|d"},
        {"a\\\"b, c\"", "a\\\"b, c\""},
        {"\"open, b", "\"open, b"},
        {"a, \"b\\", "a|\"b\\"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span rest = span_of(cases[i].list);
        struct span joined = SPAN("");
        struct span member;

        while (list_next(&rest, &member)) {
            struct span parts[] = {joined, joined.len > 0 ? SPAN("|") : SPAN(""), member};

            cr_assert(arena_join(&arena, parts, 3, &joined));
        }
        cr_expect_str_eq(test_text(joined, &arena), cases[i].members);
    }
    arena_finish(&arena);
}

Test(token, list_membership_ignores_case)
{
    cr_expect(list_has_token(SPAN("gzip, Chunked"), SPAN("chunked")));
    cr_expect_not(list_has_token(SPAN("xchunked"), SPAN("chunked")));
    cr_expect_not(list_has_token(SPAN("\"a, chunked\""), SPAN("chunked")));
}

Test(token, parameters_keep_their_spaces)
{
    static const struct {
        const char *member, *name, *value;
        bool has_value;
    } cases[] = {
        {"max-age=5", "max-age", "5", true},
        {"max-age", "max-age", "", false},
        {"max-age=", "max-age", "", true},
        {"max-age =5", "max-age ", "5", true},
        {"max-age= 5", "max-age", " 5", true},
        {"a=b=c", "a", "b=c", true},
        {"=b", "", "b", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span name, value;
        bool has_value;

        parameter_split(span_of(cases[i].member), &name, &value, &has_value);
        cr_expect(span_equal(name, span_of(cases[i].name)), "%s", cases[i].member);
        cr_expect(span_equal(value, span_of(cases[i].value)), "%s", cases[i].member);
        cr_expect_eq(has_value, cases[i].has_value, "%s", cases[i].member);
    }
}

Test(token, unquote_rfc9110_5_6_4)
{
    static const struct {
        const char *text, *want; /* NULL: malformed */
    } cases[] = {
        {"", ""},
        {"abc", "abc"},
        {"\"abc\"", "abc"},
        {"\"\"", ""},
        {"\"a\\\"b\"", "a\"b"},
        {"\"a\\\\\"", "a\\"},
        {"\"", NULL},
        {"\"abc", NULL},
        {"\"a\\\"", NULL},
        {"\"a\"b\"", NULL},
        {"\"a\" ", NULL},
        {"'a'", "'a'"},
        {"\"\\a\\b\"", "ab"},
        {"\"\\\"", NULL},
        {"\"\\\\\\\"", NULL},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span out = SPAN("untouched");
        bool ok = unquote(span_of(cases[i].text), &arena, &out);

        cr_expect_eq(ok, cases[i].want != NULL, "%s", cases[i].text);
        cr_expect(span_equal(out, ok ? span_of(cases[i].want) : SPAN("untouched")), "%s", cases[i].text);
    }
    arena_finish(&arena);
}

Test(token, unquote_needs_the_arena_for_escapes_only)
{
    struct arena full = {0};
    struct span out;

    cr_expect(unquote(SPAN("\"abc\""), &full, &out));
    cr_expect_not(unquote(SPAN("\"a\\bc\""), &full, &out));
}

Test(token, quality_values_rfc9110_12_4_2)
{
    static const struct {
        const char *member, *value;
        unsigned quality;
    } cases[] = {
        {"gzip", "gzip", 1000},
        {"gzip;q=0.5", "gzip", 500},
        {"gzip ; Q=0.001", "gzip", 1},
        {"a;q=1", "a", 1000},
        {"a;q=1.000", "a", 1000},
        {"a;q=0", "a", 0},
        {"a;q=0.", "a", 0},
        {"a;q=1.001", "a", 0},
        {"a;q=0.0001", "a", 0},
        {"a;q=.5", "a", 0},
        {"a;q=2", "a", 0},
        {"a;q=", "a", 0},
        {"a;q", "a", 0},
        {"a;q=-1", "a", 0},
        {"a;q=0.x", "a", 0},
        {"a;x=1;q=0.25", "a", 250},
        {"text/html;l=\"a;q=0\";q=0.3", "text/html", 300},
        {"a;qs=0", "a", 1000},
        {"a;q=0.1;q=0.9", "a", 100},
        {"", "", 1000},
        {"a;q=01", "a", 0},
        {"a;q=0.123", "a", 123},
        {"a;;q=0.7", "a", 700},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span value;

        cr_expect_eq(quality_of(span_of(cases[i].member), &value), cases[i].quality, "%s", cases[i].member);
        cr_expect(span_equal(value, span_of(cases[i].value)), "%s", cases[i].member);
    }
}
