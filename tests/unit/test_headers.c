/* test_headers.c: lists of header fields. */
#include <criterion/criterion.h>

#include "tests/unit/support.h"

Test(headers, lines_are_found_in_order_ignoring_case)
{
    struct arena arena = test_arena();
    struct headers headers = test_headers(&arena, "A: 1\r\nB: 2\r\na: 3\r\nAB: 4\r\nA:\r\n");
    const struct header *line = headers_find(&headers, SPAN("a"));

    cr_assert_not_null(line);
    cr_expect(span_equal(line->value, SPAN("1")));
    line = headers_find_next(&headers, line);
    cr_assert_not_null(line);
    cr_expect(span_equal(line->value, SPAN("3")));
    line = headers_find_next(&headers, line);
    cr_assert_not_null(line);
    cr_expect_eq(line->value.len, 0);
    cr_expect_null(headers_find_next(&headers, line));
    cr_expect_null(headers_find(&headers, SPAN("C")));
    cr_expect(headers_has(&headers, SPAN("ab")));
    cr_expect_not(headers_has(&headers, SPAN("abc")));
    cr_expect_eq(headers_count_of(&headers, SPAN("A")), 3);
    cr_expect_eq(headers_count_of(&headers, SPAN("X")), 0);
    cr_expect(span_equal(headers_value(&headers, SPAN("b")), SPAN("2")));
    cr_expect_eq(headers_value(&headers, SPAN("x")).len, 0);
    arena_finish(&arena);
}

Test(headers, remove_and_set_keep_the_order_of_the_rest)
{
    struct arena arena = test_arena();
    struct headers headers = test_headers(&arena, "A: 1\r\nB: 2\r\na: 3\r\nC: 4\r\n");

    cr_expect_eq(headers_remove(&headers, SPAN("x")), 0);
    cr_expect_eq(headers_remove(&headers, SPAN("A")), 2);
    cr_expect_str_eq(test_headers_text(&headers, &arena), "B: 2\r\nC: 4\r\n");
    cr_expect(headers_set(&headers, SPAN("b"), SPAN("5")));
    cr_expect_str_eq(test_headers_text(&headers, &arena), "C: 4\r\nb: 5\r\n");
    arena_finish(&arena);
}

Test(headers, a_name_that_shares_its_bit_with_another_is_told_from_it)
{
    struct arena arena;
    struct headers headers;
    char name[] = "X-a-b";

    arena_init(&arena, 1024 * 1024);
    headers_init(&headers, &arena);
    cr_assert(headers_add(&headers, SPAN("Host"), SPAN("example.com")));
    for (char a = 'a'; a <= 'z'; a++) {
        for (char b = 'a'; b <= 'z'; b++) {
            name[2] = a;
            name[4] = b;
            cr_expect_null(headers_find(&headers, span_of(name)), "%s", name);
            cr_expect_eq(headers_remove(&headers, span_of(name)), 0, "%s", name);
        }
    }
    cr_expect(headers_has(&headers, SPAN("hOST")));
    arena_finish(&arena);
}

/* As these two do, of which a browser sends one, and larder writes the other. */
Test(headers, a_name_with_a_first_letter_that_none_has_is_not_looked_for)
{
    const struct span sent = SPAN_INIT("Accept"), written = SPAN_INIT("X-Forwarded-For");
    struct arena arena;
    struct headers headers;

    cr_assert_eq(header_name_bit(sent), header_name_bit(written));
    arena_init(&arena, 1024 * 1024);
    headers_init(&headers, &arena);
    cr_expect_not(headers_may_have(&headers, SPAN("")), "an empty list has nothing");
    cr_assert(headers_add(&headers, sent, SPAN("*/*")));
    cr_expect(headers_may_have(&headers, SPAN("aCCEPT")));
    cr_expect_not(headers_may_have(&headers, written));
    cr_assert(headers_add(&headers, SPAN("x-a"), SPAN("")));
    cr_expect(headers_may_have(&headers, written), "it must be looked for now");
    cr_expect_not(headers_has(&headers, written));
    arena_finish(&arena);
}

/* What it costs when they do is a scan; that they do not is what the factor was chosen for. */
static void expect_own_bits(const char *const *wanted, size_t wanted_count, const char *const *usual,
                            size_t usual_count)
{
    for (size_t i = 0; i < wanted_count; i++) {
        for (size_t j = 0; j < usual_count; j++) {
            struct span a = span_of(wanted[i]), b = span_of(usual[j]);
            cr_expect(span_equal_nocase(a, b) || header_name_bit(a) != header_name_bit(b), "%s, %s", wanted[i],
                      usual[j]);
        }
    }
}

Test(headers, names_that_are_looked_for_share_no_bit_with_usual_ones)
{
    static const char *const hop_by_hop[] = {"Keep-Alive",          "Proxy-Connection",   "Proxy-Authentication-Info",
                                             "Proxy-Authorization", "Proxy-Authenticate", "TE"};
    static const char *const of_requests[] = {
        "Host",
        "Expect",
        "CDN-Loop",
        "Upgrade",
        "Range",
        "If-Range",
        "If-Match",
        "If-None-Match",
        "If-Modified-Since",
        "If-Unmodified-Since",
        "Connection",
        "Cache-Control",
        "Pragma",
        "Authorization",
        "Cookie",
        "Via",
        "Max-Forwards",
        "Transfer-Encoding",
        "Content-Length",
        "Forwarded",
    };
    static const char *const from_browsers[] = {"sec-ch-ua",
                                                "sec-ch-ua-mobile",
                                                "sec-ch-ua-platform",
                                                "User-Agent",
                                                "Accept",
                                                "Sec-Fetch-Site",
                                                "Sec-Fetch-Mode",
                                                "Sec-Fetch-Dest",
                                                "Sec-Fetch-User",
                                                "Referer",
                                                "Accept-Encoding",
                                                "Accept-Language",
                                                "Upgrade-Insecure-Requests",
                                                "DNT",
                                                "Priority",
                                                "Origin",
                                                "Sec-GPC",
                                                "X-Requested-With",
                                                "Host",
                                                "Connection",
                                                "Cache-Control",
                                                "Cookie",
                                                "If-None-Match",
                                                "If-Modified-Since",
                                                "X-Forwarded-For",
                                                "X-Forwarded-Proto",
                                                "X-Forwarded-Host",
                                                "X-Real-IP"};
    static const char *const of_responses[] = {
        "ETag",
        "Last-Modified",
        "Date",
        "Age",
        "Via",
        "Vary",
        "Set-Cookie",
        "Content-Type",
        "Content-Range",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Cache-Control",
        "Expires",
        "Pragma",
        "No-Vary-Search",
        "Surrogate-Key",
        "Cache-Tag",
        "xkey",
        "Upgrade",
    };
    static const char *const from_servers[] = {"Server",
                                               "Date",
                                               "Content-Type",
                                               "Last-Modified",
                                               "ETag",
                                               "Cache-Control",
                                               "Accept-Ranges",
                                               "Expires",
                                               "Vary",
                                               "Content-Encoding",
                                               "Set-Cookie",
                                               "Strict-Transport-Security",
                                               "X-Content-Type-Options",
                                               "Access-Control-Allow-Origin",
                                               "X-Frame-Options",
                                               "Content-Security-Policy",
                                               "Referrer-Policy",
                                               "Link",
                                               "Via",
                                               "Age",
                                               "Cache-Status"};

    expect_own_bits(hop_by_hop, ARRAY_LEN(hop_by_hop), from_browsers, ARRAY_LEN(from_browsers));
    expect_own_bits(hop_by_hop, ARRAY_LEN(hop_by_hop), from_servers, ARRAY_LEN(from_servers));
    expect_own_bits(of_requests, ARRAY_LEN(of_requests), from_browsers, ARRAY_LEN(from_browsers));
    expect_own_bits(of_responses, ARRAY_LEN(of_responses), from_servers, ARRAY_LEN(from_servers));
}

Test(headers, a_line_is_found_again_only_where_there_is_another)
{
    struct arena arena = test_arena();
    struct headers headers = test_headers(&arena, "Host: a\r\nVia: b\r\n");

    cr_expect_not(headers_may_repeat(&headers, SPAN("Via")));
    cr_expect_null(headers_find_next(&headers, headers_find(&headers, SPAN("Via"))));
    cr_assert(headers_add(&headers, SPAN("VIA"), SPAN("c")));
    cr_expect(headers_may_repeat(&headers, SPAN("Via")));
    cr_expect_not_null(headers_find_next(&headers, headers_find(&headers, SPAN("Via"))));
    cr_expect_not(headers_may_repeat(&headers, SPAN("Host")));
    arena_finish(&arena);
}

Test(headers, grows_beyond_its_first_capacity)
{
    struct arena arena = test_arena();
    struct headers headers;

    headers_init(&headers, &arena);
    for (int i = 0; i < 1000; i++) {
        struct span value;

        cr_assert(arena_format(&arena, &value, "%d", i));
        cr_assert(headers_add(&headers, SPAN("N"), value));
    }
    cr_expect_eq(headers.count, 1000);
    cr_expect(span_equal(headers.items[0].value, SPAN("0")));
    cr_expect(span_equal(headers.items[999].value, SPAN("999")));
    arena_finish(&arena);
}

Test(headers, add_fails_at_the_arenas_limit)
{
    struct arena arena = {0};
    struct headers headers;

    headers_init(&headers, &arena);
    cr_expect_not(headers_add(&headers, SPAN("A"), SPAN("1")));
    cr_expect_eq(headers.count, 0);
}

Test(headers, combine_joins_lines_rfc9110_5_3)
{
    static const struct {
        const char *text, *want; /* NULL: absent */
    } cases[] = {
        {"B: 1\r\n", NULL},           {"A: 1\r\n", "1"},         {"A:\r\n", ""},
        {"A: 1\r\na: 2\r\n", "1, 2"}, {"A:\r\nA: 2\r\n", ", 2"}, {"A: 1\r\nB: x\r\nA: 2\r\nA: 3, 4\r\n", "1, 2, 3, 4"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = test_headers(&arena, cases[i].text);
        struct span value;
        bool present;

        cr_expect(headers_combine(&headers, SPAN("A"), &arena, &value, &present));
        cr_expect_eq(present, cases[i].want != NULL, "%s", cases[i].text);
        cr_expect(span_equal(value, span_of(cases[i].want)), "%s", cases[i].text);

        size_t others = headers.count - headers_count_of(&headers, SPAN("A"));
        cr_expect(headers_take(&headers, SPAN("A"), &arena, &value, &present));
        cr_expect_eq(present, cases[i].want != NULL, "%s", cases[i].text);
        cr_expect(span_equal(value, span_of(cases[i].want)), "%s", cases[i].text);
        cr_expect_not(headers_has(&headers, SPAN("A")), "%s", cases[i].text);
        cr_expect_eq(headers.count, others, "%s", cases[i].text);
    }
    arena_finish(&arena);
}

Test(headers, lists_span_lines)
{
    struct arena arena = test_arena();
    struct headers headers = test_headers(&arena, "Vary: a, b\r\nVary: C\r\n");

    cr_expect(headers_list_has(&headers, SPAN("vary"), SPAN("B")));
    cr_expect(headers_list_has(&headers, SPAN("vary"), SPAN("c")));
    cr_expect_not(headers_list_has(&headers, SPAN("vary"), SPAN("a, b")));
    cr_expect_not(headers_list_has(&headers, SPAN("x"), SPAN("a")));
    arena_finish(&arena);
}

Test(headers, a_copy_is_independent)
{
    struct arena arena = test_arena();
    struct headers headers = test_headers(&arena, "A: 1\r\nB: 2\r\n");
    struct headers copy;

    cr_assert(headers_copy(&copy, &headers, &arena));
    headers_remove(&copy, SPAN("A"));
    cr_assert(headers_add(&copy, SPAN("C"), SPAN("3")));
    cr_expect_str_eq(test_headers_text(&headers, &arena), "A: 1\r\nB: 2\r\n");
    cr_expect_str_eq(test_headers_text(&copy, &arena), "B: 2\r\nC: 3\r\n");
    arena_finish(&arena);
}
