/* test_cache_groups.c: Cache-Groups and Cache-Group-Invalidation (RFC 9875). */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "http/cache_groups.h"
#include "tests/unit/support.h"

/* "a|b": the names, each behind the one before. */
static const char *names_of(struct cache_groups groups, struct arena *arena)
{
    struct span text = SPAN("");
    struct span name;

    while (cache_groups_next(&groups, &name)) {
        cr_assert(arena_join(arena, (struct span[]){text, SPAN("|"), name}, 3, &text));
    }
    return test_text(text, arena);
}

Test(cache_groups, of_a_response_rfc9875_2)
{
    static const struct {
        const char *name, *fields, *want;
    } cases[] = {
        {"absent", "", ""},
        {"empty", "Cache-Groups:\r\n", ""},
        {"one", "Cache-Groups: \"scripts\"\r\n", "|scripts"},
        {"two", "Cache-Groups: \"a\", \"b c\"\r\n", "|a|b c"},
        {"two lines", "Cache-Groups: \"a\"\r\ncache-groups: \"b\"\r\n", "|a|b"},
        {"parameters are ignored", "Cache-Groups: \"a\";x=1, \"b\";y\r\n", "|a|b"},
        {"case matters", "Cache-Groups: \"a\", \"A\"\r\n", "|a|A"},
        {"escapes", "Cache-Groups: \"a\\\"b\\\\\"\r\n", "|a\"b\\"},
        {"the empty name", "Cache-Groups: \"\"\r\n", "|"},
        {"a token among them, RFC 9651 §2.2", "Cache-Groups: \"a\", b\r\n", ""},
        {"an inner list, RFC 9651 §2.2", "Cache-Groups: (\"a\" \"b\")\r\n", ""},
        {"malformed, RFC 9651 §4.2", "Cache-Groups: \"a\",\r\n", ""},
        {"one line malformed, RFC 9651 §4.2", "Cache-Groups: \"a\"\r\nCache-Groups: \"b\r\n", ""},
        {"the other field", "Cache-Group-Invalidation: \"a\"\r\n", ""},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = test_headers(&arena, cases[i].fields);
        struct cache_groups groups;

        cr_assert(cache_groups_of_response(&headers, &arena, &groups));
        cr_expect_str_eq(names_of(groups, &arena), cases[i].want, "%s", cases[i].name);
        cr_expect_eq(groups.dropped_count, 0, "%s", cases[i].name);
    }
    arena_finish(&arena);
}

Test(cache_groups, invalidated_by_unsafe_methods_only_rfc9875_3)
{
    static const struct {
        enum method method;
        const char *want;
    } cases[] = {
        {METHOD_POST, "|a|b"},  {METHOD_PUT, "|a|b"},   {METHOD_DELETE, "|a|b"},
        {METHOD_PATCH, "|a|b"}, {METHOD_OTHER, "|a|b"}, {METHOD_GET, ""},
        {METHOD_HEAD, ""},      {METHOD_OPTIONS, ""},   {METHOD_QUERY, ""},
    };
    struct arena arena = test_arena();
    struct headers headers = test_headers(&arena, "Cache-Group-Invalidation: \"a\", \"b\"\r\nCache-Groups: \"c\"\r\n");

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cache_groups groups;

        cr_assert(cache_groups_invalidated(cases[i].method, &headers, &arena, &groups));
        cr_expect_str_eq(names_of(groups, &arena), cases[i].want, "%d", (int)cases[i].method);
    }
    arena_finish(&arena);
}

Test(cache_groups, limits_rfc9875_2)
{
    struct arena arena = test_arena();
    char value[CACHE_GROUPS_MAX * 8 + CACHE_GROUP_MAX_BYTES + 64];

    for (size_t count = CACHE_GROUPS_MAX - 1; count <= CACHE_GROUPS_MAX + 1; count++) {
        struct cache_groups groups;
        struct headers headers;
        size_t len = 0;

        for (size_t i = 0; i < count; i++) {
            len += (size_t)snprintf(value + len, sizeof value - len, "%s\"%zu\"", i == 0 ? "" : ", ", i);
        }
        headers_init(&headers, &arena);
        cr_assert(headers_add(&headers, SPAN("Cache-Groups"), (struct span){value, len}));
        cr_assert(cache_groups_of_response(&headers, &arena, &groups));
        cr_expect_eq(groups.count, count < CACHE_GROUPS_MAX ? count : CACHE_GROUPS_MAX);
        cr_expect_eq(groups.dropped_count, count - groups.count);
    }
    for (size_t bytes = CACHE_GROUP_MAX_BYTES - 1; bytes <= CACHE_GROUP_MAX_BYTES + 1; bytes++) {
        struct cache_groups groups;
        struct headers headers;
        size_t len;

        value[0] = '"';
        memset(value + 1, 'x', bytes);
        len = bytes + 1 + (size_t)snprintf(value + bytes + 1, sizeof value - bytes - 1, "\", \"b\"");
        headers_init(&headers, &arena);
        cr_assert(headers_add(&headers, SPAN("Cache-Groups"), (struct span){value, len}));
        cr_assert(cache_groups_of_response(&headers, &arena, &groups));
        cr_expect_eq(groups.count, bytes <= CACHE_GROUP_MAX_BYTES ? 2 : 1);
        cr_expect_eq(groups.dropped_count, 2 - groups.count);
    }
    arena_finish(&arena);
}

Test(cache_groups, a_full_arena)
{
    struct arena arena = test_arena();
    struct arena full = {0};
    struct headers headers = test_headers(&arena, "Cache-Groups: \"a\"\r\n");
    struct cache_groups groups;

    cr_expect_not(cache_groups_of_response(&headers, &full, &groups));
    arena_finish(&arena);
}
