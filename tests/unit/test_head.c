/* test_head.c: the head of a stored response. */
#include <criterion/criterion.h>

#include "cache/head.h"
#include "tests/unit/cache_support.h"

static struct arena arena;
static struct buf out;

static void setup(void)
{
    arena_init(&arena, TEST_ARENA_BYTES);
    buf_init(&out, 64 * 1024);
}

static void teardown(void)
{
    buf_finish(&out);
    arena_finish(&arena);
}

TestSuite(head, .init = setup, .fini = teardown);

/* The same as a list, which lies where it was written, behind what was there. Clears `out`. */
static void expect_listed(const char *name, const struct headers *headers, const char *want)
{
    struct headers listed, read;

    buf_clear(&out);
    buf_add_text(&out, "before ");
    size_t before = out.len;
    cr_assert(head_write_listed(headers, &out, NULL, &arena, &listed), "%s", name);
    struct span written = span_skip(buf_span(&out), before);
    cr_expect(span_equal(written, span_of(want)), "%s: %.*s", name, SPAN_ARG(written));
    cr_assert_eq(head_read(written, &arena, &read), ERR_OK, "%s", name);
    cr_assert_eq(listed.count, read.count, "%s", name);
    for (size_t i = 0; i < read.count; i++) { /* spans of the very bytes */
        cr_expect_eq(listed.items[i].name.data, read.items[i].name.data, "%s", name);
        cr_expect_eq(listed.items[i].name.len, read.items[i].name.len, "%s", name);
        cr_expect_eq(listed.items[i].value.data, read.items[i].value.data, "%s", name);
        cr_expect_eq(listed.items[i].value.len, read.items[i].value.len, "%s", name);
        cr_expect(headers_has(&listed, read.items[i].name), "%s: it is found by its name", name);
    }
}

/* The lines as text again, "\n" between them. */
static struct span text_of(const struct headers *headers)
{
    buf_clear(&out);
    for (size_t i = 0; i < headers->count; i++) {
        buf_add_text(&out, i == 0 ? "" : "\n");
        buf_add(&out, headers->items[i].name);
        buf_add_text(&out, ": ");
        buf_add(&out, headers->items[i].value);
    }
    return buf_span(&out);
}

Test(head, what_is_written)
{
    static const struct {
        const char *name, *headers, *want;
    } cases[] = {
        {"nothing", "", ""},
        {"order and duplicates are kept (3.1)", "B: 1\nA: 2\nB: 3", "B: 1\r\nA: 2\r\nB: 3\r\n"},
        {"names keep their letters (3.1)", "x-AbC: 1", "x-AbC: 1\r\n"},
        {"an empty value is kept (3.1)", "A:", "A: \r\n"},
        {"unknown fields, Set-Cookie and Content-Range are kept (3.1)",
         "X-Any: 1\nSet-Cookie: a=b\nContent-Range: bytes 1-2/3\nContent-Encoding: weird",
         "X-Any: 1\r\nSet-Cookie: a=b\r\nContent-Range: bytes 1-2/3\r\nContent-Encoding: weird\r\n"},
        {"framing is left out", "Content-Length: 5\ntransfer-encoding: chunked\nA: 1", "A: 1\r\n"},
        {"Age and Cache-Status are left out (4)", "Age: 5\nCache-Status: x; hit\nA: 1", "A: 1\r\n"},
        {"what belongs to a proxy is left out (3.1)",
         "Proxy-Authenticate: Basic\nProxy-Authentication-Info: x\nProxy-Authorization: y\nA: 1", "A: 1\r\n"},
        {"fields that private names are left out (5.2.2.7)",
         "Cache-Control: private=\"X-Me, x-you\", max-age=5\nX-Me: 1\nX-You: 2\nX-All: 3",
         "Cache-Control: private=\"X-Me, x-you\", max-age=5\r\nX-All: 3\r\n"},
        {"private with a token argument too (5.2)", "Cache-Control: private=X-Me\nX-Me: 1",
         "Cache-Control: private=X-Me\r\n"},
        {"an escape does not hide a name (5.2.2.7)", "Cache-Control: private=\"X\\-Me\"\nX-Me: 1",
         "Cache-Control: private=\"X\\-Me\"\r\n"},
        {"each of several lists counts (5.2.2.7)",
         "Cache-Control: private=\"A\"\nCache-Control: private=\"B\"\nA: 1\nB: 2",
         "Cache-Control: private=\"A\"\r\nCache-Control: private=\"B\"\r\n"},
        {"fields that no-cache names are stored (5.2.2.4)", "Cache-Control: no-cache=\"A\"\nA: 1",
         "Cache-Control: no-cache=\"A\"\r\nA: 1\r\n"},
        {"behind other arguments (5.2.2.7)", "Cache-Control: max-age=1, x=2, Private =\"a\"\nA: 1\nB: 2",
         "Cache-Control: max-age=1, x=2, Private =\"a\"\r\nB: 2\r\n"},
        {"another directive that ends so is none", "Cache-Control: not-private=A\nA: 1",
         "Cache-Control: not-private=A\r\nA: 1\r\n"},
        {"in a targeted field too (RFC 9213 2.1)", "CDN-Cache-Control: max-age=1, private=\"a\";x=1\nA: 1",
         "CDN-Cache-Control: max-age=1, private=\"a\";x=1\r\n"},
        {"a directive in another's argument is none", "Cache-Control: x=\"private=A\"\nA: 1",
         "Cache-Control: x=\"private=A\"\r\nA: 1\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = headers_from(&arena, cases[i].headers);
        buf_clear(&out);
        head_write(&headers, &out);
        cr_expect(span_equal(buf_span(&out), span_of(cases[i].want)), "%s: %.*s", cases[i].name,
                  SPAN_ARG(buf_span(&out)));
        expect_listed(cases[i].name, &headers, cases[i].want);
    }
}

Test(head, no_room_for_what_is_written)
{
    struct headers headers = headers_from(&arena, "A: 1\nB: 2");
    struct headers listed = {.count = 77};
    struct arena small;
    char memory[11];
    struct buf short_out;

    arena_init(&small, 8);
    cr_expect_not(head_write_listed(&headers, &out, NULL, &small, &listed), "no memory for the list");
    arena_finish(&small);
    buf_init_in(&short_out, memory, sizeof memory); /* of 12 bytes */
    cr_expect_not(head_write_listed(&headers, &short_out, NULL, &arena, &listed), "no room for the lines");
    cr_expect_eq(listed.count, 77, "then the list is as it was");
}

/* RFC 9111 §5.2.2.4, §5.2.2.7: what is kept from others is for the one who asked. */
Test(head, qualified_fields_of_a_304)
{
    static const struct {
        const char *name, *control, *fields, *want;
    } cases[] = {
        {"nothing is named", "Cache-Control: max-age=1\nA: 1", "A: 2", ""},
        {"the 304's lines, not the stored ones", "Cache-Control: no-cache=\"A\"\nA: 1", "A: 2\nB: 3\nA: 4",
         "A: 2\r\nA: 4\r\n"},
        {"private as well", "Cache-Control: private=A, no-cache=A", "A: 2", "A: 2\r\n"},
        {"by a targeted field", "CDN-Cache-Control: private=\"A\"", "A: 2", "A: 2\r\n"},
        {"what is never passed on", "Cache-Control: private=\"Age, Cache-Control\"", "Age: 2\nCache-Control: no-store",
         ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers control = headers_from(&arena, cases[i].control);
        struct headers fields = headers_from(&arena, cases[i].fields);
        buf_clear(&out);
        head_write_qualified(&control, &fields, &out);
        cr_expect(span_equal(buf_span(&out), span_of(cases[i].want)), "%s: %.*s", cases[i].name,
                  SPAN_ARG(buf_span(&out)));
    }
    struct headers response =
        headers_from(&arena, "CDN-Cache-Control: private=\"A\", no-cache=\"B\"\nA: 1\nB: 2\nC: 3");
    struct headers written;
    struct buf stored;
    buf_init(&stored, 1024);
    buf_clear(&out);
    cr_assert(head_write_listed(&response, &stored, &out, &arena, &written));
    cr_expect(span_equal(buf_span(&out), SPAN("A: 1\r\n")));
    cr_expect(span_equal(text_of(&written), SPAN("CDN-Cache-Control: private=\"A\", no-cache=\"B\"\nB: 2\nC: 3")));
    buf_finish(&stored);
}

Test(head, what_is_read)
{
    static const struct {
        const char *name, *bytes;
        enum err want;
        size_t count;
    } cases[] = {
        {"nothing", "", ERR_OK, 0},
        {"one line", "A: b\r\n", ERR_OK, 1},
        {"an empty value", "A: \r\n", ERR_OK, 1},
        {"a colon in the value", "A: b: c\r\n", ERR_OK, 1},
        {"bytes above 127 in the value", "A: \xc3\xa9\r\n", ERR_OK, 1},
        {"two lines", "A: b\r\nA: c\r\n", ERR_OK, 2},
        {"no line end", "A: b", ERR_DAMAGED, 0},
        {"half a line end", "A: b\r", ERR_DAMAGED, 0},
        {"a bare LF", "A: b\n", ERR_DAMAGED, 0},
        {"a bare CR in the value", "A: b\rc\r\n", ERR_DAMAGED, 0},
        {"no colon", "A\r\n", ERR_DAMAGED, 0},
        {"the colon in the next line", "A\r\nB: c\r\n", ERR_DAMAGED, 0},
        {"no space", "A:b\r\n", ERR_DAMAGED, 0},
        {"nothing behind the colon", "A:\r\n", ERR_DAMAGED, 0},
        {"two spaces", "A:  b\r\n", ERR_DAMAGED, 0},
        {"a space at the end", "A: b \r\n", ERR_DAMAGED, 0},
        {"no name", ": b\r\n", ERR_DAMAGED, 0},
        {"a name that is none", "A B: c\r\n", ERR_DAMAGED, 0},
        {"an empty line", "\r\n", ERR_DAMAGED, 0},
        {"an empty line at the end", "A: b\r\n\r\n", ERR_DAMAGED, 0},
        {"a control in the value", "A: b\x01\r\n", ERR_DAMAGED, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = {.count = 99};
        cr_expect_eq(head_read(span_of(cases[i].bytes), &arena, &headers), cases[i].want, "%s", cases[i].name);
        cr_expect_eq(headers.count, cases[i].want == ERR_OK ? cases[i].count : 99, "%s", cases[i].name);
    }
    struct headers headers;
    cr_expect_eq(head_read((struct span){"A: \0\r\n", 6}, &arena, &headers), ERR_DAMAGED, "a zero byte");
    struct arena small;
    arena_init(&small, 8);
    cr_expect_eq(head_read(SPAN("A: b\r\n"), &small, &headers), ERR_ARENA_FULL, "no room");
    arena_finish(&small);
}

Test(head, what_was_written_is_read_back)
{
    const char *text = "B: 1\nA: 2\nB: \nVary: x, y";
    struct headers headers = headers_from(&arena, text);
    struct headers back;
    struct buf stored;

    buf_init(&stored, 1024);
    head_write(&headers, &stored);
    cr_assert_eq(head_read(buf_span(&stored), &arena, &back), ERR_OK);
    cr_expect(span_equal(text_of(&back), span_of(text)));
    buf_finish(&stored);
}

Test(head, a_304_freshens)
{
    static const struct {
        const char *name, *stored, *not_modified, *want;
    } cases[] = {
        {"what it omits stays (3.2)", "A: 1\nB: 2", "", "A: 1\nB: 2"},
        {"what it has replaces all lines (3.2)", "A: 1\nB: 2\na: 3", "A: 4", "B: 2\nA: 4"},
        {"several lines replace one (3.2)", "A: 1", "A: 2\nA: 3", "A: 2\nA: 3"},
        {"what is new is added (3.2)", "A: 1", "B: 2", "A: 1\nB: 2"},
        {"Content-Length is not taken (3.2)", "A: 1", "Content-Length: 10\nTransfer-Encoding: chunked", "A: 1"},
        {"Content-Range is not taken (3.2)", "Content-Range: x", "Content-Range: y", "Content-Range: x"},
        {"Age and Cache-Status are not taken", "A: 1", "Age: 9\nCache-Status: x", "A: 1"},
        {"Content-Type and its kin are taken (3.2)", "Content-Type: a\nContent-Encoding: x\nSet-Cookie: c",
         "Content-Type: b\nContent-Encoding: y\nSet-Cookie: d", "Content-Type: b\nContent-Encoding: y\nSet-Cookie: d"},
        {"what private names in it is not taken (5.2.2.7)", "X-Me: 1", "Cache-Control: private=\"X-Me\"\nX-Me: 2",
         "X-Me: 1\nCache-Control: private=\"X-Me\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers stored = headers_from(&arena, cases[i].stored);
        struct headers not_modified = headers_from(&arena, cases[i].not_modified);
        struct headers fresh;
        cr_assert(head_freshen(&stored, &not_modified, &arena, &fresh));
        cr_expect(span_equal(text_of(&fresh), span_of(cases[i].want)), "%s: %.*s", cases[i].name,
                  SPAN_ARG(text_of(&fresh)));
        cr_expect(span_equal(text_of(&stored), span_of(cases[i].stored)), "%s: stored is untouched", cases[i].name);
    }
}

Test(head, freshening_may_not_fit)
{
    struct headers stored = headers_from(&arena, "A: 1");
    struct headers fresh = {.count = 99};
    struct arena small;

    arena_init(&small, 8);
    cr_expect_not(head_freshen(&stored, &stored, &small, &fresh));
    cr_expect_eq(fresh.count, 99);
    arena_finish(&small);
}

Test(head, which_304_speaks_of_which_response)
{
    static const struct {
        const char *name, *stored, *not_modified;
        bool want;
    } cases[] = {
        {"the same strong tag (4.3.4)", "ETag: \"a\"", "ETag: \"a\"", true},
        {"another strong tag (4.3.4)", "ETag: \"a\"", "ETag: \"b\"", false},
        {"a strong tag for a weak one (4.3.4)", "ETag: W/\"a\"", "ETag: \"a\"", false},
        {"a strong tag for none (4.3.4)", "Last-Modified: " T0_TEXT, "ETag: \"a\"", false},
        {"the same weak tag (4.3.4)", "ETag: W/\"a\"", "ETag: W/\"a\"", true},
        {"a weak tag for a strong one (4.3.4)", "ETag: \"a\"", "ETag: W/\"a\"", true},
        {"another weak tag (4.3.4)", "ETag: W/\"a\"", "ETag: W/\"b\"", false},
        {"a weak tag for none (4.3.4)", "A: 1", "ETag: W/\"a\"", false},
        {"the same tag with a newer date (4.3.4)", "ETag: \"a\"\nLast-Modified: " T0_TEXT,
         "ETag: \"a\"\nLast-Modified: Tue, 14 Nov 2023 22:13:30 GMT", true},
        {"the same date (4.3.4)", "Last-Modified: " T0_TEXT, "Last-Modified: " T0_TEXT, true},
        {"another date (4.3.4)", "Last-Modified: " T0_TEXT, "Last-Modified: Tue, 14 Nov 2023 22:13:30 GMT", false},
        {"a date for none (4.3.4)", "ETag: \"a\"", "Last-Modified: " T0_TEXT, false},
        {"no validator, one response asked about", "ETag: \"a\"", "", true},
        {"no validator anywhere (4.3.4)", "", "", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers stored = headers_from(&arena, cases[i].stored);
        struct headers not_modified = headers_from(&arena, cases[i].not_modified);
        cr_expect_eq(head_not_modified_selects(&stored, &not_modified), cases[i].want, "%s", cases[i].name);
    }
}

Test(head, qualified_fields_are_dropped_on_reuse)
{
    static const struct {
        const char *name, *headers, *want;
    } cases[] = {
        {"no lists: nothing", "Cache-Control: max-age=1\nA: 1", "Cache-Control: max-age=1\nA: 1"},
        {"no-cache names one (5.2.2.4)", "A: 1\nCache-Control: no-cache=\"a\"\nB: 2\nA: 3",
         "Cache-Control: no-cache=\"a\"\nB: 2"},
        {"no-cache names several (5.2.2.4)", "A: 1\nCache-Control: no-cache=\"a, c\"\nB: 2\nC: 3",
         "Cache-Control: no-cache=\"a, c\"\nB: 2"},
        {"private names one (5.2.2.7)", "Cache-Control: private=\"A\"\nA: 1", "Cache-Control: private=\"A\""},
        {"a token is as good (5.2)", "Cache-Control: no-cache=A\nA: 1", "Cache-Control: no-cache=A"},
        {"the quotes do not close", "Cache-Control: no-cache=\"A\nA: 1", "Cache-Control: no-cache=\"A"},
        {"unqualified names nothing (5.2.2.4)", "Cache-Control: no-cache, private\nA: 1",
         "Cache-Control: no-cache, private\nA: 1"},
        {"empty names nothing", "Cache-Control: no-cache=\"\"\nA: 1", "Cache-Control: no-cache=\"\"\nA: 1"},
        {"a targeted field names some (RFC 9213 2.1)",
         "CDN-Cache-Control: no-cache=\"a\"\nCache-Control: no-cache=\"B\"\nA: 1\nB: 2",
         "CDN-Cache-Control: no-cache=\"a\"\nCache-Control: no-cache=\"B\""},
        {"a parameter behind the names (RFC 9651 3.1.2)",
         "Edge-Cache-Control: no-cache=\"a, b\" ;c=\"d\"\nA: 1\nB: 2\nD: 3",
         "Edge-Cache-Control: no-cache=\"a, b\" ;c=\"d\"\nD: 3"},
        {"Cache-Control itself goes last", "Cache-Control: no-cache=\"Cache-Control, B\"\nA: 1\nB: 2", "A: 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = headers_from(&arena, cases[i].headers);
        head_drop_qualified(&headers);
        cr_expect(span_equal(text_of(&headers), span_of(cases[i].want)), "%s: %.*s", cases[i].name,
                  SPAN_ARG(text_of(&headers)));
    }
}
