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
