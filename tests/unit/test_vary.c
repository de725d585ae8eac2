/* test_vary.c: selections (RFC 9111 §4.1). */
#include <criterion/criterion.h>

#include "cache/vary.h"
#include "tests/unit/cache_support.h"

static struct arena arena;
static struct buf selection;

static void setup(void)
{
    arena_init(&arena, TEST_ARENA_BYTES);
    buf_init(&selection, 64 * 1024);
}

static void teardown(void)
{
    buf_finish(&selection);
    arena_finish(&arena);
}

TestSuite(vary, .init = setup, .fini = teardown);

static enum vary_kind select_for(const char *response_text, const char *request_text)
{
    struct headers response = headers_from(&arena, response_text);
    struct headers request = headers_from(&arena, request_text);

    buf_clear(&selection);
    return vary_select(&response, NULL, &request, &arena, &selection);
}

static bool matches(const char *request_text)
{
    struct headers request = headers_from(&arena, request_text);

    return vary_matches(buf_span(&selection), &request, &arena);
}

Test(vary, kinds)
{
    static const struct {
        const char *name, *response;
        enum vary_kind want;
    } cases[] = {
        {"no Vary", "A: 1", VARY_NONE},
        {"an empty Vary", "Vary:", VARY_NONE},
        {"a Vary of commas", "Vary: , ,", VARY_NONE},
        {"one name", "Vary: Foo", VARY_SOME},
        {"two lines", "Vary: Foo\nVary: Bar", VARY_SOME},
        {"a star", "Vary: *", VARY_STAR},
        {"a star behind a name", "Vary: Foo, *", VARY_STAR},
        {"a star in front", "Vary: *, Foo", VARY_STAR},
        {"a star behind an empty member", "Vary: , *", VARY_STAR},
        {"a star in the second line", "Vary:\nVary: *", VARY_STAR},
        {"a member that is no name", "Vary: Foo Bar", VARY_STAR},
        {"a quoted member is no name", "Vary: \"Foo\"", VARY_STAR},
        {"16 names", "Vary: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p", VARY_SOME},
        {"17 names", "Vary: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", VARY_LIMIT},
        {"16 names and one again", "Vary: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,A", VARY_SOME},
        {"17 names and a star", "Vary: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,*", VARY_STAR},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers response = headers_from(&arena, cases[i].response);
        cr_expect_eq(vary_kind_of(&response), cases[i].want, "%s", cases[i].name);
        cr_expect_eq(select_for(cases[i].response, "Foo: 1"), cases[i].want, "%s", cases[i].name);
        cr_expect_eq(selection.len > 0, cases[i].want == VARY_SOME, "%s: bytes only for VARY_SOME", cases[i].name);
        cr_expect(vary_valid(buf_span(&selection)), "%s", cases[i].name);
    }
}

/* RFC 3875 §4.1.18: an application that sees fields as environment variables cannot tell them apart. */
Test(vary, a_twin_by_an_underscore_selects_nothing)
{
    static const struct {
        const char *vary, *request;
        bool twin;
    } cases[] = {
        {"Vary: X-Foo", "X_Foo: 1", true},
        {"Vary: X-Foo", "X-Foo: 1\nx_foo: 1", true},
        {"Vary: Bar, X-Foo-Bar", "X-Foo_Bar: 1", true},
        {"Vary: X_Foo", "X-Foo: 1", true},
        {"Vary: X_Foo", "x_foo: 1", false},
        {"Vary: X-Foo", "X-Foo: 1\nX_Bar: 1", false},
        {"Vary: X-Foo", "X_Fooo: 1\nX_: 1\n_: 1", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(select_for(cases[i].vary, cases[i].request), cases[i].twin ? VARY_TWIN : VARY_SOME, "%s, %s",
                     cases[i].vary, cases[i].request);
        cr_expect_eq(selection.len > 0, !cases[i].twin, "%s", cases[i].request);
        cr_assert_eq(select_for(cases[i].vary, "Bar: 1"), VARY_SOME);
        cr_expect_not(cases[i].twin && matches(cases[i].request), "%s, %s", cases[i].vary, cases[i].request);
    }
    cr_assert_eq(select_for("Vary: X-Foo", ""), VARY_SOME);
    cr_expect(matches("X_Bar: 1"));
    cr_expect_not(matches("X_Foo: 1"), "also where the field itself is absent");
}

Test(vary, which_requests_match)
{
    static const struct {
        const char *name, *vary, *stored, *presented;
        bool want;
    } cases[] = {
        {"the same value", "Vary: Foo", "Foo: 1", "Foo: 1", true},
        {"another value", "Vary: Foo", "Foo: 1", "Foo: 2", false},
        {"a longer value", "Vary: Foo", "Foo: 1", "Foo: 11", false},
        {"values keep their case", "Vary: Foo", "Foo: a", "Foo: A", false},
        {"names do not", "vary: fOO", "Foo: 1", "foo: 1", true},
        {"absent and absent", "Vary: Foo", "", "Bar: 1", true},
        {"absent is not present", "Vary: Foo", "", "Foo: 1", false},
        {"present is not absent", "Vary: Foo", "Foo: 1", "", false},
        {"absent is not empty", "Vary: Foo", "", "Foo:", false},
        {"empty is not absent", "Vary: Foo", "Foo:", "", false},
        {"empty and empty", "Vary: Foo", "Foo:", "Foo:", true},
        {"other fields do not count", "Vary: Foo", "Foo: 1\nBar: 1", "Foo: 1\nBar: 2", true},
        {"all of them must match", "Vary: Foo, Bar", "Foo: 1\nBar: 1", "Foo: 1\nBar: 2", false},
        {"in any order", "Vary: Foo, Bar, Baz", "Foo: 1\nBar: 2\nBaz: 3", "Baz: 3\nBar: 2\nFoo: 1", true},
        {"values are not exchanged", "Vary: Foo, Bar", "Foo: 1\nBar: 2", "Foo: 2\nBar: 1", false},
        {"lines are joined", "Vary: Foo", "Foo: 1\nFoo: 2", "Foo: 1, 2", true},
        {"lines keep their order", "Vary: Foo", "Foo: 1\nFoo: 2", "Foo: 2\nFoo: 1", false},
        {"white space around commas", "Vary: Foo", "Foo: 1,2", "Foo: 1 ,\t 2", true},
        {"not inside members", "Vary: Foo", "Foo: 1 2", "Foo: 1  2", false},
        {"not inside quotes", "Vary: Foo", "Foo: \"1,2\"", "Foo: \"1, 2\"", false},
        {"a quote in quotes", "Vary: Foo", "Foo: \"\\\",2\"", "Foo: \"\\\", 2\"", false},
        {"behind quotes", "Vary: Foo", "Foo: \"1\",2", "Foo: \"1\", 2", true},
        {"quotes that do not close", "Vary: Foo", "Foo: \"1,2", "Foo: \"1, 2", false},
        {"empty members of an unknown field stay", "Vary: Foo", "Foo: 1,,2", "Foo: 1,2", false},
        {"the order of an unknown field stays", "Vary: Foo", "Foo: 1, 2", "Foo: 2, 1", false},

        {"Accept-Encoding in any order", "Vary: Accept-Encoding", "Accept-Encoding: gzip, br",
         "accept-encoding: BR,gzip", true},
        {"Accept-Encoding with weights", "Vary: Accept-Encoding", "Accept-Encoding: gzip;q=0.5, br",
         "Accept-Encoding: br, gzip ; Q=0.5", true},
        {"Accept-Encoding with others", "Vary: Accept-Encoding", "Accept-Encoding: gzip;q=0.5, br",
         "Accept-Encoding: br;q=0.5, gzip", false},
        {"Accept-Encoding absent is not empty", "Vary: Accept-Encoding", "", "Accept-Encoding:", false},
        {"Accept-Encoding empty members", "Vary: Accept-Encoding", "Accept-Encoding: gzip,,br",
         "Accept-Encoding: , gzip, br", true},
        {"Accept-Charset in any order", "Vary: Accept-Charset", "Accept-Charset: utf-8, x", "Accept-Charset: X, UTF-8",
         true},
        {"Accept-Language keeps its order", "Vary: Accept-Language", "Accept-Language: en, de",
         "Accept-Language: de, en", false},
        {"Accept-Language ignores case", "Vary: Accept-Language", "Accept-Language: en-GB, de",
         "Accept-Language: EN-gb,DE", true},
        {"Accept keeps its order", "Vary: Accept", "Accept: a/b, c/d", "Accept: c/d, a/b", false},
        {"Accept keeps its case", "Vary: Accept", "Accept: a/b;x=C", "Accept: a/b;x=c", false},
        {"Accept's white space", "Vary: Accept", "Accept: a/b;q=0.5,c/d", "Accept: a/b ; q=0.5 , c/d", true},
        {"Accept's quotes", "Vary: Accept", "Accept: a/b;x=\"1;2\"", "Accept: a/b;x=\"1; 2\"", false},

        {"Cookie byte for byte", "Vary: Cookie", "Cookie: a=1, b=2", "Cookie: a=1,b=2", false},
        {"Authorization byte for byte", "Vary: Authorization", "Authorization: X a=1, b=2", "Authorization: X a=1,b=2",
         false},
        {"User-Agent byte for byte", "Vary: User-Agent", "User-Agent: a, b", "User-Agent: a,b", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_assert_eq(select_for(cases[i].vary, cases[i].stored), VARY_SOME, "%s", cases[i].name);
        cr_expect(vary_valid(buf_span(&selection)), "%s", cases[i].name);
        cr_expect(matches(cases[i].stored), "%s: the request that stored it", cases[i].name);
        cr_expect_eq(matches(cases[i].presented), cases[i].want, "%s", cases[i].name);
        cr_assert_eq(select_for(cases[i].vary, cases[i].presented), VARY_SOME, "%s", cases[i].name);
        cr_expect_eq(matches(cases[i].stored), cases[i].want, "%s: the other way round", cases[i].name);
    }
}

Test(vary, the_empty_selection_matches_always)
{
    cr_expect(matches(""));
    cr_expect(matches("Foo: 1"));
    cr_expect(vary_valid(buf_span(&selection)));
}

Test(vary, the_encoding_is_sorted_and_without_repetition)
{
    static const char want[] = "\0\003\0\0bar"
                               "\1\003\2\0foo12";

    cr_assert_eq(select_for("Vary: Foo, BAR, foo", "Foo: 12"), VARY_SOME);
    cr_expect(span_equal(buf_span(&selection), SPAN(want)));

    struct span rest = buf_span(&selection);
    struct span name, value;
    bool present;
    cr_assert(vary_next(&rest, &name, &value, &present));
    cr_expect(span_equal(name, SPAN("bar")) && value.len == 0 && !present);
    cr_assert(vary_next(&rest, &name, &value, &present));
    cr_expect(span_equal(name, SPAN("foo")) && span_equal(value, SPAN("12")) && present);
    cr_expect_not(vary_next(&rest, &name, &value, &present));
    cr_expect_eq(rest.len, 0);
}

Test(vary, a_selection_as_json)
{
    struct buf out;

    buf_init(&out, 1024);
    vary_add_json(&out, SPAN(""));
    cr_expect(span_equal(buf_span(&out), SPAN("{}")), "%.*s", SPAN_ARG(buf_span(&out)));
    cr_assert_eq(select_for("Vary: Foo, Bar", "Foo: say \"12\""), VARY_SOME);
    buf_clear(&out);
    vary_add_json(&out, buf_span(&selection));
    cr_expect(span_equal(buf_span(&out), SPAN("{\"bar\":null,\"foo\":\"say \\\"12\\\"\"}")), "%.*s",
              SPAN_ARG(buf_span(&out)));
    buf_finish(&out);
}

Test(vary, what_counts_as_if_vary_named_it)
{
    struct span names[] = {SPAN_INIT("X-Prefix"), SPAN_INIT("A")};
    const struct field_names also = {.items = names, .count = ARRAY_LEN(names)};
    static const char *const responses[] = {"B: 1", "Vary: a, X-prefix", "Vary: A"};
    struct headers request = headers_from(&arena, "x-prefix: /shop");
    struct headers star = headers_from(&arena, "Vary: *");
    struct headers full = headers_from(&arena, "Vary: b,c,d,e,f,g,h,i,j,k,l,m,n,o,p");

    for (size_t i = 0; i < ARRAY_LEN(responses); i++) {
        struct headers response = headers_from(&arena, responses[i]);
        buf_clear(&selection);
        cr_expect_eq(vary_select(&response, &also, &request, &arena, &selection), VARY_SOME, "%s", responses[i]);
        cr_expect(matches("X-Prefix: /shop"), "%s", responses[i]);
        cr_expect_not(matches("X-Prefix: /other"), "%s", responses[i]);
        cr_expect_not(matches("X-Prefix: /shop\nA: 1"), "%s", responses[i]);
        cr_expect_not(matches("B: 1"), "%s", responses[i]);
    }
    cr_expect_eq(vary_select(&star, &also, &request, &arena, &selection), VARY_STAR);
    cr_expect_eq(vary_select(&full, &also, &request, &arena, &selection), VARY_LIMIT);
}

Test(vary, two_orders_of_vary_select_the_same)
{
    cr_assert_eq(select_for("Vary: A, B", "A: 1\nB: 2"), VARY_SOME);
    struct span first;
    cr_assert(arena_copy(&arena, buf_span(&selection), &first));
    cr_assert_eq(select_for("Vary: b\nVary: a", "B: 2\nA: 1"), VARY_SOME);
    cr_expect(span_equal(first, buf_span(&selection)));
}

Test(vary, selections_of_the_same_fields)
{
    static const struct {
        const char *one, *other;
        bool want;
    } cases[] = {
        {"", "", true},   {"A", "A", true}, {"A, B", "b, a", true}, {"A", "B", false},
        {"A", "", false}, {"", "A", false}, {"A", "A, B", false},   {"A, B", "A", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char line[64];
        struct span first = {NULL, 0};
        snprintf(line, sizeof(line), "Vary: %s", cases[i].one);
        if (select_for(line, "A: 1\nB: 2") == VARY_SOME) {
            cr_assert(arena_copy(&arena, buf_span(&selection), &first));
        }
        snprintf(line, sizeof(line), "Vary: %s", cases[i].other);
        struct span second = select_for(line, "A: 3") == VARY_SOME ? buf_span(&selection) : (struct span){NULL, 0};
        cr_expect_eq(vary_same_fields(first, second), cases[i].want, "%s | %s", cases[i].one, cases[i].other);
    }
    cr_expect_not(vary_same_fields(SPAN("damage"), SPAN("damage")));
}

Test(vary, a_selection_has_a_limit)
{
    static char request[VARY_MAX_BYTES + 100];
    size_t overhead = 4 + 3;

    for (size_t len = VARY_MAX_BYTES - overhead; len <= VARY_MAX_BYTES - overhead + 1; len++) {
        memcpy(request, "Foo: ", 5);
        memset(request + 5, 'x', len);
        request[5 + len] = '\0';
        bool fits = len + overhead <= VARY_MAX_BYTES;
        cr_expect_eq(select_for("Vary: Foo", request), fits ? VARY_SOME : VARY_LIMIT, "%zu bytes", len);
        cr_expect_eq(selection.len, fits ? VARY_MAX_BYTES : 0, "%zu bytes", len);
    }
    memset(request, 'x', 300);
    memcpy(request, "Vary: ", 6);
    request[6 + 255] = '\0';
    cr_expect_eq(select_for(request, ""), VARY_SOME, "a name of 255 bytes");
    request[6 + 255] = 'x';
    request[6 + 256] = '\0';
    cr_expect_eq(select_for(request, ""), VARY_LIMIT, "a name of 256 bytes");
}

Test(vary, a_long_accept_encoding_keeps_its_order)
{
    static char forwards[4096] = "Accept-Encoding: ";
    static char backwards[4096] = "Accept-Encoding: ";

    for (int i = 0; i < 33; i++) {
        snprintf(forwards + strlen(forwards), 8, "x%d,", i);
        snprintf(backwards + strlen(backwards), 8, "x%d,", 32 - i);
    }
    cr_assert_eq(select_for("Vary: Accept-Encoding", forwards), VARY_SOME);
    cr_expect(matches(forwards));
    cr_expect_not(matches(backwards), "33 members are not sorted");
    *strrchr(forwards, 'x') = '\0';
    memmove(backwards + 17, backwards + 21, strlen(backwards + 21) + 1);
    cr_assert_eq(select_for("Vary: Accept-Encoding", forwards), VARY_SOME);
    cr_expect(matches(backwards), "32 are");
}

Test(vary, no_room_is_no_match)
{
    struct headers response = headers_from(&arena, "Vary: Foo");
    struct headers request = headers_from(&arena, "Foo: 1, 2");
    struct arena full;

    arena_init(&full, 1);
    cr_expect_eq(vary_select(&response, NULL, &request, &full, &selection), VARY_LIMIT);
    cr_expect_eq(selection.len, 0);
    cr_assert_eq(vary_select(&response, NULL, &request, &arena, &selection), VARY_SOME);
    cr_expect_not(vary_matches(buf_span(&selection), &request, &full));
    arena_finish(&full);
}

Test(vary, damage_is_seen)
{
    static const struct {
        const char *name, *bytes;
        size_t len;
        bool want;
    } cases[] = {
        {"good", "\1\1\1\0ab", 6, true},
        {"sorted", "\1\1\0\0a\1\1\0\0b", 10, true},
        {"not sorted", "\1\1\0\0b\1\1\0\0a", 10, false},
        {"twice", "\1\1\0\0a\1\1\0\0a", 10, false},
        {"presence 2", "\2\1\1\0ab", 6, false},
        {"absent with a value", "\0\1\1\0ab", 6, false},
        {"no name", "\1\0\1\0b", 5, false},
        {"a name in capitals", "\1\1\1\0Ab", 6, false},
        {"a name that is none", "\1\1\1\0,b", 6, false},
        {"too long a name", "\1\7\1\0ab", 6, false},
        {"too long a value", "\1\1\2\0ab", 6, false},
        {"much too long a value", "\1\1\377\377ab", 6, false},
        {"bytes behind", "\1\1\1\0abc", 7, false},
        {"a piece of a head", "\1\1\1", 3, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span bytes = {cases[i].bytes, cases[i].len};
        cr_expect_eq(vary_valid(bytes), cases[i].want, "%s", cases[i].name);
    }
    cr_assert_eq(select_for("Vary: Foo, Bar", "Foo: 1\nBar: 2"), VARY_SOME);
    struct headers request = headers_from(&arena, "Foo: 1\nBar: 2");
    for (size_t len = 1; len < selection.len; len++) {
        struct span piece = span_take(buf_span(&selection), len);
        bool whole = len == selection.len / 2;
        cr_expect_eq(vary_matches(piece, &request, &arena), whole, "%zu of its bytes", len);
    }
}
