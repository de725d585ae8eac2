/* test_forward.c: what an intermediary changes (RFC 9110 §7.6). */
#include <criterion/criterion.h>

#include "http/forward.h"
#include "tests/unit/support.h"

Test(forward, hop_by_hop_fields_go_rfc9110_7_6_1)
{
    static const struct {
        const char *before, *after;
    } cases[] = {
        {"A: 1\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nB: 2\r\n", "A: 1\r\nB: 2\r\n"},
        {"connection: x-a, X-B\r\nX-A: 1\r\nx-b: 2\r\nX-C: 3\r\nX-A: 4\r\n", "X-C: 3\r\n"},
        {"Connection: a\r\nA: 1\r\nConnection: b\r\nB: 2\r\nC: 3\r\n", "C: 3\r\n"},
        {"Proxy-Connection: a\r\nTE: trailers\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n", ""},
        {"Proxy-Authorization: a\r\nProxy-Authenticate: b\r\nProxy-Authentication-Info: c\r\n", ""},
        {"Trailer: X\r\n", "Trailer: X\r\n"},
        {"Connection: close, trailer\r\nTrailer: X\r\n", ""},
        {"Connection: \r\nA: 1\r\n", "A: 1\r\n"},
        {"A: 1\r\n", "A: 1\r\n"},
        {"", ""},
        {"Connection: content-length, host, Cookie, set-cookie, authorization, cache-control, date, etag, vary, age, "
         "expires, "
         "last-modified, location, content-type, if-none-match, range\r\nContent-Length: 1\r\nHost: h\r\nCookie: "
         "c\r\nSet-Cookie: "
         "s\r\nAuthorization: a\r\nCache-Control: x\r\nDate: d\r\nETag: e\r\nVary: v\r\nAge: 1\r\nExpires: "
         "e\r\nLast-Modified: "
         "l\r\nLocation: l\r\nContent-Type: t\r\nIf-None-Match: i\r\nRange: r\r\n",
         "Content-Length: 1\r\nHost: h\r\nCookie: c\r\nSet-Cookie: s\r\nAuthorization: a\r\nCache-Control: x\r\nDate: "
         "d\r\nETag: "
         "e\r\nVary: v\r\nAge: 1\r\nExpires: e\r\nLast-Modified: l\r\nLocation: l\r\nContent-Type: t\r\nIf-None-Match: "
         "i\r\nRange: r\r\n"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = test_headers(&arena, cases[i].before);

        cr_expect(forward_remove_hop_by_hop(&headers));
        cr_expect_str_eq(test_headers_text(&headers, &arena), cases[i].after);
    }
    arena_finish(&arena);
}

Test(forward, via_grows_rfc9110_7_6_3)
{
    static const struct {
        const char *before;
        unsigned minor;
        const char *after;
    } cases[] = {
        {"A: 1\r\n", 1, "A: 1\r\nVia: 1.1 larder\r\n"},
        {"Via: 1.0 fred\r\n", 0, "Via: 1.0 fred, 1.0 larder\r\n"},
        {"via: 1.0 fred\r\nVia: 1.1 b (c)\r\n", 1, "Via: 1.0 fred, 1.1 b (c), 1.1 larder\r\n"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = test_headers(&arena, cases[i].before);

        cr_expect(forward_add_via(&headers, cases[i].minor, SPAN("larder")));
        cr_expect_str_eq(test_headers_text(&headers, &arena), cases[i].after);
    }
    arena_finish(&arena);
}

Test(forward, the_clients_address)
{
    static const char spoofed[] = "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
                                  "X-Forwarded-Port: 1\r\nForwarded: for=9.9.9.9\r\nA: 1\r\n";
    static const struct {
        const char *name, *before;
        enum forwarded_style style;
        bool trust;
        const char *client, *host, *after;
    } cases[] = {
        {"added", "A: 1\r\n", FORWARDED_X, false, "1.2.3.4", "h",
         "A: 1\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n"},
        {"what a stranger says is replaced", spoofed, FORWARDED_X, false, "1.2.3.4", "h",
         "A: 1\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n"},
        {"what a trusted client says is kept", spoofed, FORWARDED_X, true, "::1", "h",
         "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\nForwarded: for=9.9.9.9\r\nA: "
         "1\r\n"
         "X-Forwarded-For: 9.9.9.9, ::1\r\n"},
        {"a unix socket", "", FORWARDED_X, false, "", "", "X-Forwarded-For: unknown\r\nX-Forwarded-Proto: http\r\n"},
        {"a trusted client that says it the other way", "Forwarded: proto=https\r\n", FORWARDED_X, true, "::1", "",
         "Forwarded: proto=https\r\nX-Forwarded-For: ::1\r\nX-Forwarded-Proto: https\r\n"},
        {"RFC 7239", "", FORWARDED_RFC, false, "1.2.3.4", "h", "Forwarded: for=1.2.3.4;proto=http;host=h\r\n"},
        {"RFC 7239 §6, IPv6, and a host with a port", "", FORWARDED_RFC, false, "2001:db8::1", "h:81",
         "Forwarded: for=\"[2001:db8::1]\";proto=http;host=\"h:81\"\r\n"},
        {"RFC 7239, unknown", "", FORWARDED_RFC, false, "unknown", "", "Forwarded: for=unknown;proto=http\r\n"},
        {"RFC 7239, a stranger", spoofed, FORWARDED_RFC, false, "1.2.3.4", "h",
         "A: 1\r\nForwarded: for=1.2.3.4;proto=http;host=h\r\n"},
        {"RFC 7239, trusted", spoofed, FORWARDED_RFC, true, "1.2.3.4", "h",
         "A: 1\r\nForwarded: for=9.9.9.9, for=1.2.3.4;proto=http;host=h\r\n"},
        {"none", spoofed, FORWARDED_NONE, false, "1.2.3.4", "h", "A: 1\r\n"},
        {"none, trusted", spoofed, FORWARDED_NONE, true, "1.2.3.4", "h", "A: 1\r\n"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = test_headers(&arena, cases[i].before);
        struct forwarded forwarded = {
            .style = cases[i].style,
            .trust = cases[i].trust,
            .client = span_of(cases[i].client),
            .scheme = SPAN("http"),
            .host = span_of(cases[i].host),
        };

        cr_expect(forward_add_forwarded(&headers, &forwarded), "%s", cases[i].name);
        cr_expect_str_eq(test_headers_text(&headers, &arena), cases[i].after, "%s", cases[i].name);
    }
    arena_finish(&arena);
}

Test(forward, the_scheme_that_the_client_used_rfc9110_4_2_2)
{
    static const struct {
        const char *fields;
        enum forwarded_style style;
        const char *scheme;
    } cases[] = {
        {"", FORWARDED_X, "http"},
        {"X-Forwarded-Proto: https\r\n", FORWARDED_X, "https"},
        {"x-forwarded-proto: HTTPS , http\r\n", FORWARDED_X, "https"},
        {"X-Forwarded-Proto: http, https\r\n", FORWARDED_X, "http"},
        {"X-Forwarded-Proto: wss\r\n", FORWARDED_X, "http"},
        {"X-Forwarded-Proto: \r\n", FORWARDED_X, "http"},
        {"X-Forwarded-Proto: http\r\nForwarded: proto=https\r\n", FORWARDED_X, "http"},
        {"Forwarded: for=1.2.3.4;Proto=\"https\", for=10.0.0.1;proto=http\r\n", FORWARDED_X, "https"},
        {"X-Forwarded-Proto: https\r\n", FORWARDED_RFC, "http"},
        {"X-Forwarded-Proto: http\r\nForwarded: for=\"[::1];proto=http\";proto=https\r\n", FORWARDED_RFC, "https"},
        {"Forwarded: for=1.2.3.4, proto=https\r\n", FORWARDED_RFC, "http"},
        {"Forwarded: proto=https\r\nX-Forwarded-Proto: https\r\n", FORWARDED_NONE, "http"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = test_headers(&arena, cases[i].fields);
        struct span scheme = forward_scheme(&headers, cases[i].style, SPAN("http"));

        cr_expect(span_equal(scheme, span_of(cases[i].scheme)), "%s", cases[i].fields);
    }
    arena_finish(&arena);
}
