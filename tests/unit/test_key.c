/* test_key.c: the primary key (RFC 9111 §2). */
#include <criterion/criterion.h>

#include "cache/key.h"
#include "tests/unit/cache_support.h"

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, TEST_ARENA_BYTES);
}

static void teardown(void)
{
    arena_finish(&arena);
}

TestSuite(key, .init = setup, .fini = teardown);

static const struct uri plain = {
    .scheme = SPAN_INIT("http"), .authority = SPAN_INIT("a.example:8080"), .path = SPAN_INIT("/b")};

Test(key, text)
{
    static const struct {
        const char *name, *path, *query;
        bool has_query;
        const char *want;
    } cases[] = {
        {"without a query", "/b", "", false, "GET http://a.example:8080/b"},
        {"an empty query is not none", "/b", "", true, "GET http://a.example:8080/b?"},
        {"with a query", "/b", "c=d?e", true, "GET http://a.example:8080/b?c=d?e"},
        {"the root", "/", "", false, "GET http://a.example:8080/"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct uri uri = plain;
        struct key key;
        uri.path = span_of(cases[i].path);
        uri.query = span_of(cases[i].query);
        uri.has_query = cases[i].has_query;
        cr_assert(key_of_uri(&uri, 7, &arena, &key));
        cr_expect(span_equal(key.text, span_of(cases[i].want)), "%s: %.*s", cases[i].name, SPAN_ARG(key.text));
        cr_expect(key_hash_equal(key.hash, key_hash_of(key.text, 7)), "%s: hash of the text", cases[i].name);
    }
}

Test(key, the_hash_depends_on_text_and_secret)
{
    struct key_hash hash = key_hash_of(SPAN("GET http://a/"), 1);

    cr_expect(key_hash_equal(hash, key_hash_of(SPAN("GET http://a/"), 1)), "the same again");
    cr_expect_not(key_hash_equal(hash, key_hash_of(SPAN("GET http://a/"), 2)), "another secret");
    cr_expect_not(key_hash_equal(hash, key_hash_of(SPAN("GET http://b/"), 1)), "another text");
    cr_expect_not(key_hash_equal((struct key_hash){1, 2}, (struct key_hash){1, 3}), "the low half counts");
    cr_expect_not(key_hash_equal((struct key_hash){1, 2}, (struct key_hash){3, 2}), "the high half counts");
}

Test(key, recordings_are_apart)
{
    struct key key, recording;

    cr_assert(key_of_uri(&plain, 7, &arena, &key) && key_of_recording(&plain, 7, &arena, &recording));
    cr_expect_not(key_hash_equal(key.hash, recording.hash));
    cr_expect_not(span_equal(key.text, recording.text));
    cr_expect(span_equal(key_url(key.text), key_url(recording.text)), "purges name both by one URL");
    cr_expect(key_is_recording(recording.text) && !key_is_recording(key.text));
    cr_expect(key_hash_equal(recording.hash, key_hash_of(recording.text, 7)));
}

Test(key, what_is_no_response_and_what_is_marked)
{
    static const struct {
        const char *text;
        const char *without_mark;
        bool response;
        bool of_uri;
    } cases[] = {
        {"GET http://a/", "GET http://a/", true, true},
        {"GET https://a/?b=1", "GET https://a/?b=1", true, true},
        {"GET http://a/?b=1 search=7e", "GET http://a/?b=1", true, false},
        {"REC http://a/", "REC http://a/", true, false},
        {"SEARCH http://a/", "SEARCH http://a/", false, false},
        {"GET ftp://a/", "GET ftp://a/", true, false},
        {"GET http://a/\x7f", "GET http://a/\x7f", true, false},
        {"", "", false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span text = span_of(cases[i].text);
        cr_expect_eq(key_is_response(text), cases[i].response, "%s", cases[i].text);
        cr_expect_eq(key_is_of_uri(text), cases[i].of_uri, "%s", cases[i].text);
        cr_expect(span_equal(key_without_mark(text), span_of(cases[i].without_mark)), "%s", cases[i].text);
    }
}

Test(key, the_arena_may_be_full)
{
    struct arena small;
    struct key key = {.hash = {1, 2}};

    arena_init(&small, 8);
    cr_expect_not(key_of_uri(&plain, 7, &small, &key));
    cr_expect_eq(key.hash.high, 1, "untouched on failure");
    arena_finish(&small);
}
