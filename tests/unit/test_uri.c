/* test_uri.c: targets and URLs. */
#include <criterion/criterion.h>

#include "tests/unit/support.h"

/* "scheme|authority|path|query", "-" for no query. */
static const char *shown(const struct uri *uri, struct arena *arena)
{
    struct span bar = SPAN("|");
    struct span parts[] = {
        uri->scheme, bar, uri->authority, bar, uri->path, bar, uri->has_query ? uri->query : SPAN("-")};
    struct span text;

    cr_assert(arena_join(arena, parts, ARRAY_LEN(parts), &text));
    return test_text(text, arena);
}

Test(uri, target_of_a_request_rfc9112_3_2)
{
    static const struct {
        const char *scheme, *target, *host, *want;
    } cases[] = {
        {"http", "/", "example.com", "http|example.com|/|-"},
        {"http", "/a?b", "example.com", "http|example.com|/a|b"},
        {"http", "/a?", "example.com", "http|example.com|/a|"},
        {"http", "/a?b?c", "example.com", "http|example.com|/a|b?c"},
        {"http", "/a", "EXAMPLE.com:80", "http|example.com|/a|-"},
        {"http", "/a", "example.com:", "http|example.com|/a|-"},
        {"http", "/a", "example.com:443", "http|example.com:443|/a|-"},
        {"https", "/a", "example.com:443", "https|example.com|/a|-"},
        {"http", "/a", "example.com:0080", "http|example.com|/a|-"},
        {"http", "/a", "example.com:08080", "http|example.com:8080|/a|-"},
        {"http", "/a", "[::1]", "http|[::1]|/a|-"},
        {"http", "/a", "[2001:DB8::1]:8080", "http|[2001:db8::1]:8080|/a|-"},
        {"http", "/a", "ex%61mple%2Dx.com", "http|example-x.com|/a|-"},
        {"http", "/a", "", "http||/a|-"},
        {"http", "*", "example.com", "http|example.com|*|-"},
        {"http", "*", "", "http||*|-"},
        {"http", "//a//b", "example.com", "http|example.com|//a//b|-"},
        {"http", "/a@b:c", "example.com", "http|example.com|/a@b:c|-"},
        {"http", "http://example.com", "example.com", "http|example.com|/|-"},
        {"http", "http://example.com?q", "example.com", "http|example.com|/|q"},
        {"http", "HTTP://Example.com:80/a", "example.COM", "http|example.com|/a|-"},
        {"http", "http://example.com/a", "", "http|example.com|/a|-"},
        {"https", "https://example.com/a", "example.com:443", "https|example.com|/a|-"},
        {"http", "http://[::1]:80/a", "[::1]", "http|[::1]|/a|-"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct uri uri;

        cr_expect_eq(
            uri_of_request(span_of(cases[i].scheme), span_of(cases[i].target), span_of(cases[i].host), &arena, &uri),
            ERR_OK, "%s %s", cases[i].target, cases[i].host);
        cr_expect_str_eq(shown(&uri, &arena), cases[i].want);
    }
    arena_finish(&arena);
}

Test(uri, normalises_once_rfc3986_6_2_2)
{
    static const struct {
        const char *target, *path, *query;
    } cases[] = {
        {"/%7Ea/%41%2d", "/~a/A-", "-"},
        {"/a%2fb%2F", "/a%2Fb%2F", "-"},
        {"/%e4%bd", "/%E4%BD", "-"},
        {"/a/./b/../c", "/a/c", "-"},
        {"/a/%2e/b/%2E%2e/c", "/a/c", "-"},
        {"/a/..", "/", "-"},
        {"/a/b/..", "/a/", "-"},
        {"/a/b/.", "/a/b/", "-"},
        {"/..", "/", "-"},
        {"/../../a", "/a", "-"},
        {"/.", "/", "-"},
        {"/./", "/", "-"},
        {"/a//../b", "/a/b", "-"},
        {"/..//a", "//a", "-"},
        {"/a/...", "/a/...", "-"},
        {"/.a/..b/c.", "/.a/..b/c.", "-"},
        {"/a/.%2e/b", "/b", "-"},
        {"/a?%61%2f/../b", "/a", "a%2F/../b"},
        {"/%25%32%45", "/%252E", "-"}, /* decoded once only */
        {"/a|b\"c<d>{e}^`", "/a|b\"c<d>{e}^`", "-"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct uri uri = {0};

        cr_expect_eq(uri_of_request(SPAN("http"), span_of(cases[i].target), SPAN("h"), &arena, &uri), ERR_OK);
        cr_expect(span_equal(uri.path, span_of(cases[i].path)), "%s: %.*s", cases[i].target, SPAN_ARG(uri.path));
        cr_expect(span_equal(uri.has_query ? uri.query : SPAN("-"), span_of(cases[i].query)), "%s", cases[i].target);
    }
    arena_finish(&arena);
}

Test(uri, bare_targets_rfc9112_3_2_4)
{
    static const struct {
        const char *target;
        bool want;
    } cases[] = {
        {"http://h", true},   {"HTTP://h:80", true},   {"http://[::1]", true}, {"http://h/", false},
        {"http://h?", false}, {"http://h?a/b", false}, {"http://h/a", false},  {"/", false},
        {"*", false},         {"//", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(uri_target_is_bare(span_of(cases[i].target)), cases[i].want, "%s", cases[i].target);
    }
}

Test(uri, refuses_bad_targets_and_hosts)
{
    static const struct {
        const char *target, *host;
        enum err want;
    } cases[] = {
        {"", "h", ERR_BAD_TARGET},
        {"a", "h", ERR_BAD_TARGET},
        {"/a#b", "h", ERR_BAD_TARGET},
        {"/a\\b", "h", ERR_BAD_TARGET},
        {"/a b", "h", ERR_BAD_TARGET},
        {"/a\tb", "h", ERR_BAD_TARGET},
        {"/a\x7f", "h", ERR_BAD_TARGET},
        {"/\xc3\xa4", "h", ERR_BAD_TARGET},
        {"/%", "h", ERR_BAD_TARGET},
        {"/%4", "h", ERR_BAD_TARGET},
        {"/%4g", "h", ERR_BAD_TARGET},
        {"/a?%zz", "h", ERR_BAD_TARGET},
        {"/a?b\xff", "h", ERR_BAD_TARGET},
        {"*?", "h", ERR_BAD_TARGET},
        {"?a", "h", ERR_BAD_TARGET},
        {"h:80", "h", ERR_BAD_TARGET},
        {"http:/a", "h", ERR_BAD_TARGET},
        {"http://", "h", ERR_BAD_TARGET},
        {"http:///a", "h", ERR_BAD_TARGET},
        {"http://u@h/", "h", ERR_BAD_TARGET},
        {"http://u:p@h/", "h", ERR_BAD_TARGET},
        {"http://h:99999/", "h", ERR_BAD_TARGET},
        {"ftp://h/", "h", ERR_BAD_TARGET},
        {"https://h/", "h", ERR_BAD_TARGET}, /* RFC 9110 §7.4: not over this connection */
        {"http://g/", "h", ERR_BAD_HOST},
        {"http://h:81/", "h", ERR_BAD_HOST},
        {"/", "h:x", ERR_BAD_HOST},
        {"/", "u@h", ERR_BAD_HOST},
        {"/", "h/", ERR_BAD_HOST},
        {"/", "h h", ERR_BAD_HOST},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct uri uri = {.path = SPAN("untouched")};

        cr_expect_eq(uri_of_request(SPAN("http"), span_of(cases[i].target), span_of(cases[i].host), &arena, &uri),
                     cases[i].want, "%s %s", cases[i].target, cases[i].host);
        cr_expect(span_equal(uri.path, SPAN("untouched")), "%s", cases[i].target);
    }
    arena_finish(&arena);
}

Test(uri, says_when_the_arena_is_full)
{
    struct arena arena = {0};
    struct uri uri;

    cr_expect_eq(uri_of_request(SPAN("http"), SPAN("/a/../b"), SPAN("h"), &arena, &uri), ERR_ARENA_FULL);
    cr_expect_eq(uri_of_request(SPAN("http"), SPAN("/a?%41"), SPAN("h"), &arena, &uri), ERR_ARENA_FULL);
    cr_expect_eq(uri_of_request(SPAN("http"), SPAN("/a"), SPAN("H"), &arena, &uri), ERR_ARENA_FULL);
    cr_expect_eq(uri_of_request(SPAN("http"), SPAN("/a?b"), SPAN("h"), &arena, &uri), ERR_OK, "nothing to change");
}

Test(uri, hosts_rfc9110_7_2)
{
    static const struct {
        const char *host;
        bool valid;
    } cases[] = {
        {"example.com", true},
        {"example.com.", true},
        {"1.2.3.4", true},
        {"1.2.3.4:80", true},
        {"h:", true},
        {"h:65535", true},
        {"h:65536", false},
        {"h:0", false},
        {"h:1x", false},
        {"h:-1", false},
        {"h:1:2", false},
        {"", false},
        {":80", false},
        {"[::1]", true},
        {"[::1]:80", true},
        {"[::1", false},
        {"::1", false},
        {"[::1]80", false},
        {"[]", false},
        {"[", false},
        {"[g::]", false},
        {"[::1%eth0]", false},
        {"[v1.a]", false},
        {"[1.2.3.4]", false},
        {"[::ffff:1.2.3.4]", true},
        {"a_b", true},
        {"a!$&'()*+,;=b", true},
        {"a%41", true},
        {"caf%C3%A9.test", true}, /* RFC 3986 §3.2.2 */
        {"a%00.test", false},
        {"a%0d%0a", false},
        {"a%2Fb", false},
        {"u%40h", false},
        {"h%3a80", false},
        {"a%25", false},
        {"%5B::1%5D", false},
        {"a%7f", false},
        {"a%4", false},
        {"a%", false},
        {"a b", false},
        {"a/b", false},
        {"a?b", false},
        {"a#b", false},
        {"a@b", false},
        {"a\\b", false},
        {"\xc3\xa4", false},
        {"a\"b", false},
        {"a<b", false},
        {"[0000:0000:0000:0000:0000:ffff:255.255.255.255:0000:0000:0000:0000]", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(uri_host_valid(span_of(cases[i].host)), cases[i].valid, "%s", cases[i].host);
    }
}

Test(uri, splits_authorities)
{
    static const struct {
        const char *authority, *host;
        uint16_t port;
    } cases[] = {
        {"h", "h", 0}, {"h:", "h", 0}, {"h:81", "h", 81}, {"[::1]", "::1", 0}, {"[::1]:65535", "::1", 65535},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span host;
        uint16_t port = 9;

        cr_expect(uri_split_authority(span_of(cases[i].authority), &host, &port), "%s", cases[i].authority);
        cr_expect(span_equal(host, span_of(cases[i].host)), "%s", cases[i].authority);
        cr_expect_eq(port, cases[i].port, "%s", cases[i].authority);
    }
    cr_expect_not(uri_split_authority(SPAN("[::1"), &(struct span){0}, &(uint16_t){0}));
}

Test(uri, the_host_of_a_normalised_authority)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"h", "h"},
        {"h:81", "h"},
        {"1", "1"},
        {"1:1", "1"},
        {"127.0.0.1", "127.0.0.1"},
        {"127.0.0.1:8080", "127.0.0.1"},
        {"[::1]", "::1"},
        {"[::1]:65535", "::1"},
        {"[fe80::1:2]", "fe80::1:2"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect(span_equal(uri_host_of(span_of(cases[i][0])), span_of(cases[i][1])), "%s", cases[i][0]);
    }
}

Test(uri, matches_patterns)
{
    static const struct {
        const char *url, *pattern;
        bool matches;
    } cases[] = {
        {"http://h/p/a", "/p/*", true},
        {"http://h/p/a", "/p/?", true},
        {"http://h/p/a", "/p", false},
        {"http://h/q/p/a", "/p/*", false},
        {"http://p/q", "/p/*", false},
        {"http://p/q", "//p/*", false},
        {"http://h/p/a?u=http://h/p", "/p/a?u=*", true},
        {"http://h/", "/", true},
        {"http://h/p/a", "http://h/p/*", true},
        {"http://h/p/a", "http://*/p/*", true},
        {"http://h/p/a", "*/p/*", true},
        {"http://h/p/a", "h/p/*", false},
        {"http://h/p/a", "", false},
        {":///p/a", "/p/*", true},
        {"p/a", "/*", false},
        {"", "/*", false},
        {"http:", "/*", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(uri_matches_pattern(span_of(cases[i].url), span_of(cases[i].pattern)), cases[i].matches, "%s %s",
                     cases[i].url, cases[i].pattern);
    }
}

Test(uri, parses_absolute_urls)
{
    static const struct {
        const char *url, *want; /* NULL: refused */
    } cases[] = {
        {"http://h", "http|h|/|-"},
        {"https://H:443/a/../b?c", "https|h|/b|c"},
        {"http://h:8080", "http|h:8080|/|-"},
        {"http://h/#f", NULL},
        {"http://h#f", NULL},
        {"h", NULL},
        {"//h/", NULL},
        {"/a", NULL},
        {"", NULL},
        {":", NULL},
        {"http:", NULL},
        {"http://?a", NULL},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct uri uri = {0};
        enum err error = uri_parse_absolute(span_of(cases[i].url), &arena, &uri);

        cr_expect_eq(error, cases[i].want == NULL ? ERR_BAD_TARGET : ERR_OK, "%s", cases[i].url);
        if (error == ERR_OK && cases[i].want != NULL) {
            cr_expect_str_eq(shown(&uri, &arena), cases[i].want);
        }
    }
    arena_finish(&arena);
}

/* RFC 3986 §5.4, as far as http URLs go. */
Test(uri, resolves_references_rfc3986_5_4)
{
    static const struct {
        const char *reference, *want; /* NULL: refused */
    } cases[] = {
        {"g", "http|a|/b/c/g|-"},
        {"./g", "http|a|/b/c/g|-"},
        {"g/", "http|a|/b/c/g/|-"},
        {"/g", "http|a|/g|-"},
        {"//g", "http|g|/|-"},
        {"//G:80/x", "http|g|/x|-"},
        {"?y", "http|a|/b/c/d;p|y"},
        {"g?y", "http|a|/b/c/g|y"},
        {"#s", "http|a|/b/c/d;p|q"},
        {"g#s", "http|a|/b/c/g|-"},
        {";x", "http|a|/b/c/;x|-"},
        {"", "http|a|/b/c/d;p|q"},
        {".", "http|a|/b/c/|-"},
        {"./", "http|a|/b/c/|-"},
        {"..", "http|a|/b/|-"},
        {"../g", "http|a|/b/g|-"},
        {"../..", "http|a|/|-"},
        {"../../../../g", "http|a|/g|-"},
        {"g/../h", "http|a|/b/c/h|-"},
        {"g?y/../x", "http|a|/b/c/g|y/../x"},
        {"https://x/y", "https|x|/y|-"},
        {"HTTP://x/y#z", "http|x|/y|-"},
        {"http:g", NULL},
        {"ftp://x/y", NULL},
        {"mailto:x", NULL},
        {"//", NULL},
        {"/\xc3\xa4", NULL},
        {"/a b", NULL},
    };
    struct arena arena = test_arena();
    struct uri base;

    cr_assert_eq(uri_parse_absolute(SPAN("http://a/b/c/d;p?q"), &arena, &base), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct uri uri = {0};
        enum err error = uri_resolve(&base, span_of(cases[i].reference), &arena, &uri);

        cr_expect_eq(error, cases[i].want == NULL ? ERR_BAD_TARGET : ERR_OK, "%s", cases[i].reference);
        if (error == ERR_OK && cases[i].want != NULL) {
            cr_expect_str_eq(shown(&uri, &arena), cases[i].want);
        }
    }
    arena_finish(&arena);
}

Test(uri, same_origin_rfc9110_4_3_1)
{
    struct arena arena = test_arena();
    struct uri base, other;

    cr_assert_eq(uri_parse_absolute(SPAN("http://h/a"), &arena, &base), ERR_OK);
    cr_assert_eq(uri_parse_absolute(SPAN("http://H:80/b?c"), &arena, &other), ERR_OK);
    cr_expect(uri_same_origin(&base, &other));
    cr_assert_eq(uri_parse_absolute(SPAN("http://h:81/a"), &arena, &other), ERR_OK);
    cr_expect_not(uri_same_origin(&base, &other));
    cr_assert_eq(uri_parse_absolute(SPAN("https://h/a"), &arena, &other), ERR_OK);
    cr_expect_not(uri_same_origin(&base, &other));
    arena_finish(&arena);
}

Test(uri, path_and_query_tell_an_empty_query_from_none)
{
    static const char *const targets[] = {"/a", "/a?", "/a?b=c"};
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct uri uri;
        struct span text;

        cr_assert_eq(uri_of_request(SPAN("http"), span_of(targets[i]), SPAN("h"), &arena, &uri), ERR_OK);
        cr_expect(uri_path_and_query(&uri, &arena, &text) && span_equal(text, span_of(targets[i])), "%s", targets[i]);
    }
    arena_finish(&arena);
}

Test(uri, filters_queries)
{
    static const struct span strip[] = {SPAN_INIT("utm_*"), SPAN_INIT("fbclid")};
    static const struct {
        const char *target;
        size_t strip_count;
        bool sort;
        const char *want;
    } cases[] = {
        {"/?a=1&utm_source=x&b=2&fbclid", 2, false, "/?a=1&b=2"},
        {"/?utm_a=1&utm_b", 2, false, "/"},
        {"/?", 2, true, "/?"},
        {"/", 2, true, "/"},
        {"/?b=2&a=1", 0, false, "/?b=2&a=1"},
        {"/?b=2&a=2&a=1&a", 0, true, "/?a&a=1&a=2&b=2"},
        {"/?a=&a", 0, true, "/?a=&a"}, /* equal pairs keep their order */
        {"/?a&a=", 0, true, "/?a&a="},
        {"/?b&utm_x&a", 2, true, "/?a&b"},
        {"/?a&&b", 2, false, "/?a&&b"},
        {"/?&&", 0, true, "/?&&"},
        {"/?xutm_a=1", 2, false, "/?xutm_a=1"},
        {"/?aa=1&a=2", 0, true, "/?a=2&aa=1"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct uri uri;
        struct span text = SPAN("");

        cr_assert_eq(uri_of_request(SPAN("http"), span_of(cases[i].target), SPAN("h"), &arena, &uri), ERR_OK);
        cr_expect(uri_filter_query(&uri, strip, cases[i].strip_count, cases[i].sort, &arena));
        cr_expect(uri_path_and_query(&uri, &arena, &text));
        cr_expect(span_equal(text, span_of(cases[i].want)), "%s: %.*s", cases[i].target, SPAN_ARG(text));
    }
    arena_finish(&arena);
}
