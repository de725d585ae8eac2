/* test_tags.c: Surrogate-Key, Cache-Tag, xkey. */
#include <criterion/criterion.h>

#include <string.h>

#include "http/buf.h"
#include "http/check.h"
#include "http/tags.h"
#include "tests/unit/support.h"

/* The tags as "[a][b]". */
static const char *read(const char *fields, struct arena *arena)
{
    struct headers headers = test_headers(arena, fields);
    struct tags tags = tags_of(&headers);
    struct span name;
    struct buf text;

    buf_init(&text, 4096);
    while (tags_next(&tags, &name)) {
        buf_format(&text, "[%.*s]", SPAN_ARG(name));
    }
    const char *copy = test_text(buf_span(&text), arena);
    buf_finish(&text);
    return copy;
}

Test(tags, names_of_each_field)
{
    static const struct {
        const char *fields, *want;
    } cases[] = {
        {"", ""},
        {"Content-Type: a b\r\n", ""},
        {"Surrogate-Key: one two  three\r\n", "[one][two][three]"},
        {"surrogate-key: one\ttwo\r\n", "[one][two]"},
        {"Surrogate-Key: one,two three\r\n", "[one,two][three]"},
        {"Surrogate-Key:\r\n", ""},
        {"Cache-Tag: one, two ,three\r\n", "[one][two][three]"},
        {"Cache-Tag: one two,three\r\n", "[one two][three]"},
        {"Cache-Tag: ,, one,,\r\n", "[one]"},
        {"Cache-Tag: \"one\",One\r\n", "[\"one\"][One]"},
        {"xkey: one two,three, four\r\n", "[one][two][three][four]"},
        {"X-Key: one\r\n", ""},
        {"xkey: one\r\nA: b\r\nxkey: two\r\n", "[one][two]"},
        {"Cache-Tag: one\r\nSurrogate-Key: one two\r\n", "[one][one][two]"},
        {"Surrogate-Key: \xc3\xa4 \xff\r\n", "[\xc3\xa4][\xff]"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_str_eq(read(cases[i].fields, &arena), cases[i].want, "%s", cases[i].fields);
    }
    arena_finish(&arena);
}

/* `count` tags of `len` bytes. */
static bool fit(size_t count, size_t len)
{
    static char text[2 * TAGS_MAX * 4 + 2 * TAG_MAX_BYTES];
    struct arena arena = test_arena();
    struct headers headers;
    size_t at = 0;

    for (size_t i = 0; i < count; i++) {
        memset(text + at, 'a', len);
        text[at + len] = ' ';
        at += len + 1;
    }
    headers_init(&headers, &arena);
    cr_assert(headers_add(&headers, SPAN("xkey"), (struct span){text, at}));
    bool within = tags_within_limits(&headers);
    arena_finish(&arena);
    return within;
}

Test(tags, limits)
{
    cr_expect(fit(0, 1));
    cr_expect(fit(TAGS_MAX, 3));
    cr_expect_not(fit(TAGS_MAX + 1, 3));
    cr_expect(fit(1, TAG_MAX_BYTES));
    cr_expect_not(fit(1, TAG_MAX_BYTES + 1));
}

Test(tags, removal_leaves_cache_groups)
{
    struct arena arena = test_arena();
    struct headers headers = test_headers(
        &arena, "A: b\r\nSurrogate-Key: a\r\ncache-tag: b\r\nXKEY: c\r\nxkey: d\r\nCache-Groups: \"e\"\r\n");

    cr_expect_eq(tags_remove(&headers), 4);
    cr_expect_str_eq(test_headers_text(&headers, &arena), "A: b\r\nCache-Groups: \"e\"\r\n");
    arena_finish(&arena);
}
