/* test_structured.c: dictionaries, lists and items (RFC 9651). */
#include <criterion/criterion.h>

#include <stdio.h>

#include "http/structured.h"
#include "tests/unit/support.h"

static const char *const type_names[] = {
    [STRUCTURED_INTEGER] = "integer", [STRUCTURED_DECIMAL] = "decimal", [STRUCTURED_STRING] = "string",
    [STRUCTURED_TOKEN] = "token",     [STRUCTURED_BYTES] = "bytes",     [STRUCTURED_BOOLEAN] = "boolean",
    [STRUCTURED_DATE] = "date",       [STRUCTURED_DISPLAY] = "display", [STRUCTURED_INNER_LIST] = "inner",
};

static struct span append(struct arena *arena, struct span text, const char *more)
{
    cr_assert(arena_join(arena, (struct span[]){text, span_of(more)}, 2, &text));
    return text;
}

/* "key=integer 5;a=boolean 1, …": what a reader sees. Two levels only, so the recursion ends. */
static struct span describe(struct structured field, struct arena *arena)
{
    struct structured_member member;
    struct span text = SPAN("");
    bool first = true;

    while (structured_next(&field, &member)) {
        struct structured_item item = member.item;
        struct span value;
        char number[32];

        if (field.kind == STRUCTURED_PARAMETERS) {
            text = append(arena, text, ";");
        } else if (!first) {
            text = append(arena, text, field.kind == STRUCTURED_INNER ? " " : ", ");
        }
        first = false;
        cr_assert(structured_text(&item, arena, &value));
        if (member.key.len > 0) {
            text = append(arena, append(arena, text, test_text(member.key, arena)), "=");
        }
        text = append(arena, append(arena, text, type_names[item.type]), ":");
        (void)snprintf(number, sizeof number, "%lld", (long long)item.number);
        switch (item.type) {
        case STRUCTURED_INTEGER:
        case STRUCTURED_DECIMAL:
        case STRUCTURED_BOOLEAN:
        case STRUCTURED_DATE:
            text = append(arena, text, number);
            break;
        case STRUCTURED_STRING:
        case STRUCTURED_TOKEN:
        case STRUCTURED_BYTES:
        case STRUCTURED_DISPLAY:
            text = append(arena, text, test_text(value, arena));
            break;
        case STRUCTURED_INNER_LIST:
            text = append(arena, text, "(");
            text = append(arena, text, test_text(describe(structured_inner_list(&item), arena), arena));
            text = append(arena, text, ")");
            break;
        }
        text = append(arena, text, test_text(describe(structured_parameters(&item), arena), arena));
    }
    return text;
}

/* What the field says, "fail" if it is malformed. */
static const char *parsed(enum structured_kind kind, const char *value, struct arena *arena)
{
    struct structured field;

    return structured_parse(kind, span_of(value), &field) ? test_text(describe(field, arena), arena) : "fail";
}

struct structured_case {
    const char *value, *want;
};

static void expect_all(enum structured_kind kind, const struct structured_case *cases, size_t count)
{
    struct arena arena = test_arena();

    for (size_t i = 0; i < count; i++) {
        cr_expect_str_eq(parsed(kind, cases[i].value, &arena), cases[i].want, "%s", cases[i].value);
    }
    arena_finish(&arena);
}

Test(structured, lists_rfc9651_4_2_1)
{
    static const struct structured_case cases[] = {
        {"", ""},
        {"   ", ""},
        {"a", "token:a"},
        {"  a  ", "token:a"},
        {"a,b", "token:a, token:b"},
        {"a \t, \t b", "token:a, token:b"},
        {"a\t", "token:a"},
        {"\ta", "fail"},
        {"a,", "fail"},
        {"a, ", "fail"},
        {",a", "fail"},
        {"a,,b", "fail"},
        {"a b", "fail"},
        {",", "fail"},
        {"a;b", "token:a;b=boolean:1"},
        {"a\n", "fail"},
        {"\xc3\xa4", "fail"},
    };

    expect_all(STRUCTURED_LIST, cases, ARRAY_LEN(cases));
}

Test(structured, inner_lists_rfc9651_4_2_1_2)
{
    static const struct structured_case cases[] = {
        {"()", "inner:()"},
        {"(  )", "inner:()"},
        {"(a)", "inner:(token:a)"},
        {"( a  b )", "inner:(token:a token:b)"},
        {"(\"foo\" \"bar\"), (\"baz\")", "inner:(string:foo string:bar), inner:(string:baz)"},
        {"(a;x=1 b);y", "inner:(token:a;x=integer:1 token:b);y=boolean:1"},
        {"(\")\" :KA==:);a=\")\"", "inner:(string:) bytes:();a=string:)"},
        {"(a", "fail"},
        {"(a ", "fail"},
        {"(", "fail"},
        {"(a,b)", "fail"},
        {"(a\tb)", "fail"},
        {"(a\"b\")", "fail"},
        {"((a))", "fail"},
        {"(a))", "fail"},
        {")", "fail"},
        {"(a)(b)", "fail"},
        {"a;b=(c)", "fail"}, /* parameters are bare items */
    };

    expect_all(STRUCTURED_LIST, cases, ARRAY_LEN(cases));
}

Test(structured, dictionaries_rfc9651_4_2_2)
{
    static const struct structured_case cases[] = {
        {"", ""},
        {"en=\"Applepie\", da=:w4ZibGV0w6ZydGU=:", "en=string:Applepie, da=bytes:\xc3\x86"
                                                   "blet\xc3\xa6rte"},
        {"a=?0, b, c; foo=bar", "a=boolean:0, b=boolean:1, c=boolean:1;foo=token:bar"},
        {"a=(1 2), b=3, c=4;aa=bb, d=(5 6);valid",
         "a=inner:(integer:1 integer:2), b=integer:3, c=integer:4;aa=token:bb, d=inner:(integer:5 "
         "integer:6);valid=boolean:1"},
        {"foo=1, bar=2", "foo=integer:1, bar=integer:2"},
        {"a1_-.*=1", "a1_-.*=integer:1"},
        {"*a=1", "*a=integer:1"},
        {"a=1,a=2", "a=integer:1, a=integer:2"}, /* both are handed out; see structured_find */
        {"a=", "fail"},
        {"a= 1", "fail"},
        {"a =1", "fail"},
        {"a=1,", "fail"},
        {"a=1,,b", "fail"},
        {"a=1 b=2", "fail"},
        {"=1", "fail"},
        {"A=1", "fail"},
        {"aB=1", "fail"},
        {"1=1", "fail"},
        {"_a=1", "fail"},
        {"a=1, &&&&&", "fail"},
        {"\"a\"=1", "fail"},
        {"a;", "fail"},
        {"a;B", "fail"},
    };

    expect_all(STRUCTURED_DICTIONARY, cases, ARRAY_LEN(cases));
}

Test(structured, parameters_rfc9651_4_2_3_2)
{
    static const struct structured_case cases[] = {
        {"a;b;c=1;d=\"x;y\"", "token:a;b=boolean:1;c=integer:1;d=string:x;y"},
        {"a;  b=?0", "token:a;b=boolean:0"},
        {"a;\tb", "fail"},
        {"a ;b", "fail"},
        {"a;b =1", "fail"},
        {"a;b= 1", "fail"},
        {"a;b=", "fail"},
        {"a;", "fail"},
        {"a;;b", "fail"},
        {"a;1", "fail"},
        {"a;B=1", "fail"},
    };

    expect_all(STRUCTURED_LIST, cases, ARRAY_LEN(cases));
}

Test(structured, numbers_rfc9651_4_2_4)
{
    static const struct structured_case cases[] = {
        {"42", "integer:42"},
        {"-42", "integer:-42"},
        {"0", "integer:0"},
        {"-0", "integer:0"},
        {"007", "integer:7"},
        {"999999999999999", "integer:999999999999999"},
        {"-999999999999999", "integer:-999999999999999"},
        {"1.5", "decimal:1500"},
        {"-1.005", "decimal:-1005"},
        {"0.0", "decimal:0"},
        {"999999999999.999", "decimal:999999999999999"},
        {"1000000000000000", "fail"},
        {"0000000000000001", "fail"},
        {"1234567890123.1", "fail"},
        {"1.2345", "fail"},
        {"1.", "fail"},
        {".5", "fail"},
        {"-", "fail"},
        {"--1", "fail"},
        {"-a", "fail"},
        {"- 1", "fail"},
        {"+1", "fail"},
        {"1.2.3", "fail"},
        {"1a", "fail"},
        {"0x10", "fail"},
        {"1e3", "fail"},
    };

    expect_all(STRUCTURED_LIST, cases, ARRAY_LEN(cases));
}

Test(structured, strings_rfc9651_4_2_5)
{
    static const struct structured_case cases[] = {
        {"\"\"", "string:"},
        {"\"hello world\"", "string:hello world"},
        {"\"a, b\", c", "string:a, b, token:c"},
        {"\"a\\\"b\\\\\"", "string:a\"b\\"},
        {"\"\\\\\"", "string:\\"},
        {"\"a", "fail"},
        {"\"", "fail"},
        {"\"a\\\"", "fail"},
        {"\"a\\", "fail"},
        {"\"a\\b\"", "fail"},
        {"\"a\tb\"", "fail"},
        {"\"\x7f\"", "fail"},
        {"\"\xc3\xa4\"", "fail"},
        {"\"a\"b", "fail"},
        {"'a'", "fail"},
    };

    expect_all(STRUCTURED_LIST, cases, ARRAY_LEN(cases));
}

Test(structured, tokens_rfc9651_4_2_6)
{
    static const struct structured_case cases[] = {
        {"foo123/456", "token:foo123/456"},
        {"A", "token:A"},
        {"*", "token:*"},
        {"*a", "token:*a"},
        {"a!#$%&'*+-.^_`|~:/9", "token:a!#$%&'*+-.^_`|~:/9"},
        {"a(b", "fail"},
        {"a@b", "fail"},
        {"_a", "fail"},
        {"!a", "fail"},
        {"/a", "fail"},
        {"a=b", "fail"},
    };

    expect_all(STRUCTURED_LIST, cases, ARRAY_LEN(cases));
}

Test(structured, byte_sequences_rfc9651_4_2_7)
{
    static const struct structured_case cases[] = {
        {"::", "bytes:"},
        {":aGVsbG8=:", "bytes:hello"},
        {":aGVsbG8:", "bytes:hello"},  /* padding is synthesised */
        {":aGVsbG9=:", "bytes:hello"}, /* pad bits that are not zero */
        {":aGVsbA==:", "bytes:hell"},
        {":aGVsbA:", "bytes:hell"},
        {":aGVs:", "bytes:hel"},
        {":+/+/:", "bytes:\xfb\xff\xbf"},
        {":aGVsbA=:", "fail"},
        {":aGVsbG8==:", "fail"},
        {":aGVs====:", "fail"},
        {":aGVsb:", "fail"},
        {":=:", "fail"},
        {":====:", "fail"},
        {":=aGVsbG8:", "fail"},
        {":aGV=sbG8:", "fail"},
        {":aGVs bG8=:", "fail"},
        {":aGVs\nbG8=:", "fail"},
        {":_-AA:", "fail"},
        {":aGVsbG8=", "fail"},
        {":", "fail"},
    };

    expect_all(STRUCTURED_LIST, cases, ARRAY_LEN(cases));
}

Test(structured, booleans_and_dates_rfc9651_4_2_8_and_4_2_9)
{
    static const struct structured_case cases[] = {
        {"?1", "boolean:1"}, {"?0", "boolean:0"},       {"?", "fail"},   {"?2", "fail"},
        {"?T", "fail"},      {"?10", "fail"},           {"? 1", "fail"}, {"@1659578233", "date:1659578233"},
        {"@-1", "date:-1"},  {"@1659578233.0", "fail"}, {"@", "fail"},   {"@a", "fail"},
        {"@\"1\"", "fail"},  {"@@1", "fail"},
    };

    expect_all(STRUCTURED_LIST, cases, ARRAY_LEN(cases));
}

Test(structured, display_strings_rfc9651_4_2_10)
{
    static const struct structured_case cases[] = {
        {"%\"\"", "display:"},
        {"%\"foo bar\"", "display:foo bar"},
        {"%\"f%c3%bc%c3%bc\"", "display:f\xc3\xbc\xc3\xbc"},
        {"%\"%e2%82%ac\"", "display:\xe2\x82\xac"},
        {"%\"%f0%9f%98%80\"", "display:\xf0\x9f\x98\x80"},
        {"%\"%f4%8f%bf%bf\"", "display:\xf4\x8f\xbf\xbf"},
        {"%\"a\\b\"", "display:a\\b"},
        {"%\"%22\"", "display:\""},
        {"%\"%C3%BC\"", "fail"}, /* lower case only */
        {"%\"%c3\"", "fail"},
        {"%\"%c3a\"", "fail"},
        {"%\"%bc\"", "fail"},
        {"%\"%c0%80\"", "fail"}, /* overlong */
        {"%\"%e0%9f%bf\"", "fail"},
        {"%\"%f0%8f%bf%bf\"", "fail"},
        {"%\"%ed%a0%80\"", "fail"},    /* surrogate */
        {"%\"%f4%90%80%80\"", "fail"}, /* above U+10FFFF */
        {"%\"%f5%80%80%80\"", "fail"},
        {"%\"%ff\"", "fail"},
        {"%\"%\"", "fail"},
        {"%\"%2\"", "fail"},
        {"%\"%2", "fail"},
        {"%\"%2g\"", "fail"},
        {"%\"\xc3\xbc\"", "fail"},
        {"%\"a\tb\"", "fail"},
        {"%\"a", "fail"},
        {"%a", "fail"},
        {"%", "fail"},
    };

    expect_all(STRUCTURED_LIST, cases, ARRAY_LEN(cases));
}

Test(structured, the_last_of_equal_keys_counts_rfc9651_3_2)
{
    struct structured field;
    struct structured_item item, parameter;
    struct structured parameters;

    cr_assert(structured_parse(STRUCTURED_DICTIONARY, SPAN("a=1, b=2, a=3;p=4;q;p=5"), &field));
    cr_assert(structured_find(&field, SPAN("a"), &item));
    cr_expect_eq(item.number, 3);
    parameters = structured_parameters(&item);
    cr_assert(structured_find(&parameters, SPAN("p"), &parameter)); /* §3.1.2 */
    cr_expect_eq(parameter.number, 5);
    cr_assert(structured_find(&parameters, SPAN("q"), &parameter));
    cr_expect(parameter.type == STRUCTURED_BOOLEAN && parameter.number == 1);
    cr_expect_not(structured_find(&field, SPAN("c"), &item));
    cr_expect_not(structured_find(&field, SPAN("A"), &item));
    cr_expect_eq(item.number, 3);
}

Test(structured, items_rfc9651_4_2_3)
{
    struct structured_item item;

    cr_expect(structured_parse_item(SPAN("  :AAAA:;a "), &item) && item.type == STRUCTURED_BYTES);
    cr_expect(structured_parse_item(SPAN("5"), &item) && item.number == 5);
    cr_expect_not(structured_parse_item(SPAN(""), &item));
    cr_expect_not(structured_parse_item(SPAN("5, 6"), &item));
    cr_expect_not(structured_parse_item(SPAN("(5)"), &item));
    cr_expect_not(structured_parse_item(SPAN("5 6"), &item));
    cr_expect_eq(item.number, 5);
}

Test(structured, several_lines_rfc9651_4_2)
{
    static const struct {
        const char *fields, *want;
    } cases[] = {
        {"", ""},
        {"A:\r\n", ""},
        {"A: x\r\na: y\r\n", "token:x, token:y"},
        {"A: x, y\r\nB: 1\r\nA: z\r\n", "token:x, token:y, token:z"},
        {"A: x\r\nA:\r\n", "fail"}, /* joined this is "x, " */
        {"A: x\r\nA: &\r\n", "fail"},
        {"A: \"foo\r\nA: bar\"\r\n", "string:foo, bar"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = test_headers(&arena, cases[i].fields);
        struct structured field;
        bool good = structured_of_headers(STRUCTURED_LIST, &headers, SPAN("A"), &arena, &field);

        cr_expect_str_eq(good ? test_text(describe(field, &arena), &arena) : "fail", cases[i].want, "%s",
                         cases[i].fields);
    }
    arena_finish(&arena);
}

Test(structured, every_prefix_is_read_without_harm)
{
    static const char value[] = "a=(1 \"x\\\"y\";q=:AA==:);b, c=%\"%c3%bc\", d=@12, e=-1.5;f=?0";
    struct arena arena = test_arena();

    for (size_t len = 0; len < sizeof value; len++) {
        char *copy = arena_alloc_text(&arena, len);
        struct structured field;

        cr_assert_not_null(copy);
        for (size_t i = 0; i < len; i++) {
            copy[i] = value[i];
        }
        if (structured_parse(STRUCTURED_DICTIONARY, (struct span){copy, len}, &field)) {
            (void)describe(field, &arena); /* whatever it says */
        }
    }
    cr_expect_str_neq(parsed(STRUCTURED_DICTIONARY, value, &arena), "fail");
    arena_finish(&arena);
}

Test(structured, a_full_arena)
{
    struct arena full = {0};
    struct structured_item item;
    struct span text = SPAN("untouched");

    cr_assert(structured_parse_item(SPAN("\"a\\\\b\""), &item));
    cr_expect_not(structured_text(&item, &full, &text));
    cr_expect(span_equal(text, SPAN("untouched")));
    cr_assert(structured_parse_item(SPAN("\"ab\""), &item));
    cr_expect(structured_text(&item, &full, &text)); /* nothing to resolve */
    cr_expect(span_equal(text, SPAN("ab")));
}
