/* test_parser.c: heads of messages, parsed the one strict way. */
#include <criterion/criterion.h>
#include <string.h>

#include "http/parser.h"
#include "tests/unit/support.h"

static const struct head_limits limits = {.head_bytes = 2000, .target_bytes = 100, .field_count = 10};

/* Finds and parses. */
static enum err parse_request(struct span data, struct arena *arena, struct http_request *out_request)
{
    size_t len = 0;
    struct head_scan scan = {0};
    enum err error = head_find(&scan, data, &limits, &len);

    return error == ERR_OK ? parse_request_head(span_take(data, len), &limits, arena, out_request) : error;
}

static enum err parse_response(struct span data, enum method method, struct arena *arena,
                               struct http_response *out_response)
{
    size_t len = 0;
    struct head_scan scan = {0};
    enum err error = head_find(&scan, data, &limits, &len);

    return error == ERR_OK ? parse_response_head(span_take(data, len), &limits, method, arena, out_response) : error;
}

Test(parser, reads_a_request)
{
    struct arena arena = test_arena();
    struct http_request request;
    struct span data = SPAN(
        "\r\nPURGE-X /a%20b?c HTTP/1.1\r\nHost:example.com:81\r\nEmpty:\r\nE2: \r\nX: \t a\xe4 b \t\r\nx: 2\r\n\r\n");

    cr_assert_eq(parse_request(data, &arena, &request), ERR_OK);
    cr_expect_eq(request.method, METHOD_OTHER);
    cr_expect(span_equal(request.method_name, SPAN("PURGE-X")));
    cr_expect(span_equal(request.target, SPAN("/a%20b?c")));
    cr_expect_eq(request.minor, 1);
    cr_expect_eq(request.framing.kind, FRAMING_NONE);
    cr_expect_eq(request.uri.path.len, 0);
    cr_expect_str_eq(test_headers_text(&request.headers, &arena),
                     "Host: example.com:81\r\nEmpty: \r\nE2: \r\nX: a\xe4 b\r\nx: 2\r\n");
    arena_finish(&arena);
}

Test(parser, the_head_may_go_away_after_parsing)
{
    struct arena arena = test_arena();
    struct http_request request;
    char data[] = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

    cr_assert_eq(parse_request((struct span){data, sizeof data - 1}, &arena, &request), ERR_OK);
    memset(data, 'x', sizeof data);
    cr_expect(span_equal(request.target, SPAN("/a")));
    cr_expect(span_equal(headers_value(&request.headers, SPAN("Host")), SPAN("h")));
    arena_finish(&arena);
}

Test(parser, request_lines_rfc9112_3)
{
    static const struct {
        const char *line;
        enum err want;
    } cases[] = {
        {"GET / HTTP/1.1", ERR_OK},
        {"GET / HTTP/1.0", ERR_OK},
        {"M-SEARCH / HTTP/1.1", ERR_OK},
        {"!#$%&'*+-.^_`|~09 / HTTP/1.1", ERR_OK},
        {"SOURCE /ice HTTP/1.1", ERR_OK},
        {"OPTIONS * HTTP/1.1", ERR_OK},
        {"CONNECT h:443 HTTP/1.1", ERR_OK},
        {"GET http://h/a?b HTTP/1.1", ERR_OK},
        {"GET https://[::1]:8/ HTTP/1.1", ERR_OK},
        {"GET /a|b\"{}^`<> HTTP/1.1", ERR_OK},
        {"GET //a HTTP/1.1", ERR_OK},
        {"GET / HTTP/0.9", ERR_BAD_VERSION},
        {"GET / HTTP/1.2", ERR_OK}, /* RFC 9110 §6.2 */
        {"GET / HTTP/1.9", ERR_OK},
        {"CONNECT h:443 HTTP/1.2", ERR_OK},
        {"GET / HTTP/1.x", ERR_BAD_VERSION},
        {"GET / HTTP/2.0", ERR_BAD_VERSION},
        {"PRI * HTTP/2.0", ERR_HTTP2}, /* RFC 9113 §3.4 */
        {"PRI * HTTP/1.1", ERR_OK},
        {"GET /", ERR_BAD_START_LINE},
        {"GET / ", ERR_BAD_START_LINE},
        {"GET", ERR_BAD_START_LINE},
        {"GET ", ERR_BAD_START_LINE},
        {"GET  / HTTP/1.1", ERR_BAD_START_LINE},
        {"GET /  HTTP/1.1", ERR_BAD_START_LINE},
        {"GET / HTTP/1.1 ", ERR_BAD_START_LINE},
        {"GET /a b HTTP/1.1", ERR_BAD_START_LINE},
        {"GET / http/1.1", ERR_BAD_START_LINE},
        {"GET / HTTP/1.1x", ERR_BAD_START_LINE},
        {"GET / HTTP/11", ERR_BAD_START_LINE},
        {"GET / RTSP/1.0", ERR_BAD_START_LINE},
        {"GET / ICE/1.0", ERR_BAD_START_LINE},
        {"GET\t/ HTTP/1.1", ERR_BAD_METHOD},
        {" GET / HTTP/1.1", ERR_BAD_METHOD},
        {"G(T / HTTP/1.1", ERR_BAD_METHOD},
        {"G\xc3\x84T / HTTP/1.1", ERR_BAD_METHOD},
        {"HTTP/1.1 200 OK", ERR_BAD_METHOD},
        {"GET /a#b HTTP/1.1", ERR_BAD_TARGET},
        {"GET /a\\b HTTP/1.1", ERR_BAD_TARGET},
        {"GET /\xc3\xa4 HTTP/1.1", ERR_BAD_TARGET},
        {"GET /\t HTTP/1.1", ERR_BAD_TARGET},
        {"GET a HTTP/1.1", ERR_BAD_TARGET},
        {"GET h:443 HTTP/1.1", ERR_BAD_TARGET},
        {"GET ?a HTTP/1.1", ERR_BAD_TARGET},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span parts[] = {span_of(cases[i].line), SPAN("\r\nHost: h\r\n\r\n")};
        struct http_request request;
        struct span data;

        cr_assert(arena_join(&arena, parts, 2, &data));
        cr_expect_eq(parse_request(data, &arena, &request), cases[i].want, "%s", cases[i].line);
    }
    arena_finish(&arena);
}

/* What it has behind the start line counts as in 1.1: Host is wanted, chunks are understood. */
Test(parser, a_later_minor_version_is_read_as_1_1_rfc9110_6_2)
{
    struct arena arena = test_arena();
    struct http_request request;
    struct http_response response;

    cr_assert_eq(
        parse_request(SPAN("POST /a HTTP/1.3\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"), &arena, &request),
        ERR_OK);
    cr_expect_eq(request.minor, 1);
    cr_expect_eq(request.framing.kind, FRAMING_CHUNKED);
    cr_expect_eq(parse_request(SPAN("GET /a HTTP/1.3\r\n\r\n"), &arena, &request), ERR_BAD_HOST);
    cr_assert_eq(
        parse_response(SPAN("HTTP/1.4 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), METHOD_GET, &arena, &response),
        ERR_OK);
    cr_expect_eq(response.minor, 1);
    cr_expect_eq(response.framing.kind, FRAMING_CHUNKED);
    arena_finish(&arena);
}

Test(parser, a_refused_request_still_shows_its_first_line)
{
    struct arena arena = test_arena();
    struct http_request request;

    cr_assert_eq(parse_request(SPAN("GET /a HTTP/3.0\r\n\r\n"), &arena, &request), ERR_BAD_VERSION);
    cr_expect(span_equal(request.method_name, SPAN("GET")));
    cr_expect(span_equal(request.target, SPAN("/a")));
    cr_assert_eq(parse_request(SPAN("GET /b HTTP/1.1\r\n\r\n"), &arena, &request), ERR_BAD_HOST);
    cr_expect(span_equal(request.target, SPAN("/b")));
    arena_finish(&arena);
}

Test(parser, request_fields)
{
    static const struct {
        const char *name, *fields;
        unsigned minor;
        enum err want;
    } cases[] = {
        {"one Host", "Host: h\r\n", 1, ERR_OK},
        {"no Host in 1.1 (RFC 9112 §3.2)", "", 1, ERR_BAD_HOST},
        {"no Host in 1.0", "", 0, ERR_OK},
        {"two Hosts", "Host: h\r\nHost: h\r\n", 1, ERR_BAD_HOST},
        {"two Hosts in 1.0", "Host: h\r\nhost: h\r\n", 0, ERR_BAD_HOST},
        {"an empty Host", "Host:\r\n", 1, ERR_BAD_HOST},
        {"a bad Host", "Host: a b\r\n", 1, ERR_BAD_HOST},
        {"a Host with userinfo", "Host: u@h\r\n", 1, ERR_BAD_HOST},
        {"a Host with a path", "Host: h/a\r\n", 0, ERR_BAD_HOST},
        {"a length", "Host: h\r\nContent-Length: 5\r\n", 1, ERR_OK},
        {"two equal lengths", "Host: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n", 1, ERR_BAD_LENGTH},
        {"two lengths", "Host: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n", 1, ERR_BAD_LENGTH},
        {"a list of lengths", "Host: h\r\nContent-Length: 5, 5\r\n", 1, ERR_BAD_LENGTH},
        {"a negative length", "Host: h\r\nContent-Length: -5\r\n", 1, ERR_BAD_LENGTH},
        {"a signed length", "Host: h\r\nContent-Length: +5\r\n", 1, ERR_BAD_LENGTH},
        {"a hexadecimal length", "Host: h\r\nContent-Length: 0x5\r\n", 1, ERR_BAD_LENGTH},
        {"an empty length", "Host: h\r\nContent-Length:\r\n", 1, ERR_BAD_LENGTH},
        {"a length with leading zeros", "Host: h\r\nContent-Length: 005\r\n", 1, ERR_BAD_LENGTH},
        {"the largest length", "Host: h\r\nContent-Length: 9223372036854775807\r\n", 1, ERR_OK},
        {"one more", "Host: h\r\nContent-Length: 9223372036854775808\r\n", 1, ERR_BAD_LENGTH},
        {"a length that overflows", "Host: h\r\nContent-Length: 18446744073709551616\r\n", 1, ERR_BAD_LENGTH},
        {"chunked", "Host: h\r\nTransfer-Encoding: chunked\r\n", 1, ERR_OK},
        {"CHUNKED", "Host: h\r\nTransfer-Encoding: CHUNKED\r\n", 1, ERR_OK},
        {"chunked in 1.0", "Host: h\r\nTransfer-Encoding: chunked\r\n", 0, ERR_BAD_CODING},
        {"gzip, chunked", "Host: h\r\nTransfer-Encoding: gzip, chunked\r\n", 1, ERR_BAD_CODING},
        {"chunked, gzip", "Host: h\r\nTransfer-Encoding: chunked, gzip\r\n", 1, ERR_BAD_CODING},
        {"chunked twice", "Host: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 1, ERR_BAD_CODING},
        {"chunked, chunked", "Host: h\r\nTransfer-Encoding: chunked, chunked\r\n", 1, ERR_BAD_CODING},
        {"xchunked", "Host: h\r\nTransfer-Encoding: xchunked\r\n", 1, ERR_BAD_CODING},
        {"identity", "Host: h\r\nTransfer-Encoding: identity\r\n", 1, ERR_BAD_CODING},
        {"an empty coding", "Host: h\r\nTransfer-Encoding:\r\n", 1, ERR_BAD_CODING},
        {"chunked with a parameter", "Host: h\r\nTransfer-Encoding: chunked;a=b\r\n", 1, ERR_BAD_CODING},
        {"length, then coding", "Host: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", 1,
         ERR_LENGTH_AND_CODING},
        {"coding, then length", "Host: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", 1,
         ERR_LENGTH_AND_CODING},
        {"both, and an unknown coding", "Host: h\r\nTransfer-Encoding: gzip\r\nContent-Length: 5\r\n", 1,
         ERR_LENGTH_AND_CODING},
        {"an upgrade", "Host: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n", 1, ERR_OK},
        {"an upgrade with a body", "Host: h\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n", 1, ERR_OK},
        {"close", "Host: h\r\nConnection: close\r\n", 1, ERR_OK},
        {"n fields", "Host: h\r\n2:\r\n3:\r\n4:\r\n5:\r\n6:\r\n7:\r\n8:\r\n9:\r\n10:\r\n", 1, ERR_OK},
        {"n + 1 fields", "Host: h\r\n2:\r\n3:\r\n4:\r\n5:\r\n6:\r\n7:\r\n8:\r\n9:\r\n10:\r\n11:\r\n", 1,
         ERR_TOO_MANY_FIELDS},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span parts[] = {cases[i].minor == 1 ? SPAN("GET / HTTP/1.1\r\n") : SPAN("GET / HTTP/1.0\r\n"),
                               span_of(cases[i].fields), SPAN("\r\n")};
        struct http_request request;
        struct span data;

        cr_assert(arena_join(&arena, parts, 3, &data));
        enum err error = parse_request(data, &arena, &request);

        cr_expect_eq(error, cases[i].want, "%s: %s", cases[i].name, err_name(error));
    }
    arena_finish(&arena);
}

Test(parser, framing_is_filled_in)
{
    struct arena arena = test_arena();
    struct http_request request;

    cr_assert_eq(parse_request(SPAN("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 17\r\n\r\n"), &arena, &request),
                 ERR_OK);
    cr_expect_eq(request.framing.kind, FRAMING_LENGTH);
    cr_expect_eq(request.framing.length, 17);
    cr_assert_eq(
        parse_request(SPAN("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"), &arena, &request),
        ERR_OK);
    cr_expect_eq(request.framing.kind, FRAMING_CHUNKED);
    arena_finish(&arena);
}

Test(parser, a_target_over_the_limit_is_refused_when_parsed_too)
{
    struct head_limits small = {.head_bytes = 2000, .target_bytes = 4, .field_count = 10};
    struct arena arena = test_arena();
    struct http_request request;

    cr_expect_eq(parse_request_head(SPAN("GET /abc HTTP/1.1\r\nHost: h\r\n\r\n"), &small, &arena, &request), ERR_OK);
    cr_expect_eq(parse_request_head(SPAN("GET /abcd HTTP/1.1\r\nHost: h\r\n\r\n"), &small, &arena, &request),
                 ERR_TARGET_TOO_LONG);
    arena_finish(&arena);
}

Test(parser, says_when_the_arena_is_full)
{
    struct arena arena;
    struct http_request request;
    struct span data = SPAN("GET / HTTP/1.1\r\nHost: h\r\n\r\n");

    arena_init(&arena, data.len - 1);
    cr_expect_eq(parse_request(data, &arena, &request), ERR_ARENA_FULL);
    arena_finish(&arena);
    arena_init(&arena, data.len);
    cr_expect_eq(parse_request(data, &arena, &request), ERR_ARENA_FULL, "the list of fields does not fit");
    arena_finish(&arena);
}

Test(parser, status_lines_rfc9112_4)
{
    static const struct {
        const char *line;
        enum err want;
        unsigned status;
    } cases[] = {
        {"HTTP/1.1 200 OK", ERR_OK, 200},         {"HTTP/1.0 200 OK", ERR_OK, 200},
        {"HTTP/1.1 200 ", ERR_OK, 200},           {"HTTP/1.1 200", ERR_OK, 200},
        {"HTTP/1.1 200 a b\tc\xe4", ERR_OK, 200}, {"HTTP/1.1 200  two spaces", ERR_OK, 200},
        {"HTTP/1.1 100 Continue", ERR_OK, 100},   {"HTTP/1.1 101 Switching Protocols", ERR_OK, 101},
        {"HTTP/1.1 599 x", ERR_OK, 599},          {"HTTP/1.1 099 x", ERR_BAD_STATUS, 0},
        {"HTTP/1.1 99 x", ERR_BAD_STATUS, 0},     {"HTTP/1.1 600 x", ERR_BAD_STATUS, 0},
        {"HTTP/1.1 2000 x", ERR_BAD_STATUS, 0},   {"HTTP/1.1 2x0 x", ERR_BAD_STATUS, 0},
        {"HTTP/1.1  200 x", ERR_BAD_STATUS, 0},   {"HTTP/1.1", ERR_BAD_STATUS, 0},
        {"HTTP/1.1 200\tOK", ERR_BAD_STATUS, 0},  {"HTTP/2.0 200 OK", ERR_BAD_VERSION, 0},
        {"HTTP/0.9 200 OK", ERR_BAD_VERSION, 0},  {"http/1.1 200 OK", ERR_BAD_START_LINE, 0},
        {"ICY 200 OK", ERR_BAD_START_LINE, 0},    {"hello", ERR_BAD_START_LINE, 0},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span parts[] = {span_of(cases[i].line), SPAN("\r\nContent-Length: 5\r\n\r\n")};
        struct http_response response;
        struct span data;

        cr_assert(arena_join(&arena, parts, 2, &data));
        enum err error = parse_response(data, METHOD_GET, &arena, &response);

        cr_expect_eq(error, cases[i].want, "%s: %s", cases[i].line, err_name(error));
        cr_expect_eq(response.status, cases[i].status, "%s", cases[i].line);
    }
    arena_finish(&arena);
}

Test(parser, an_empty_line_in_front_of_a_response_is_refused)
{
    struct arena arena = test_arena();
    struct http_response response;

    cr_expect_eq(parse_response(SPAN("\r\nHTTP/1.1 200 OK\r\n\r\n"), METHOD_GET, &arena, &response),
                 ERR_BAD_START_LINE);
    arena_finish(&arena);
}

Test(parser, response_fields)
{
    static const struct {
        const char *name, *head;
        enum method method;
        enum err want;
        enum framing_kind kind;
        bool unknown_coding;
    } cases[] = {
        {"a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", METHOD_GET, ERR_OK, FRAMING_LENGTH, false},
        {"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", METHOD_GET, ERR_OK, FRAMING_CHUNKED,
         false},
        {"neither", "HTTP/1.1 200 OK\r\n\r\n", METHOD_GET, ERR_OK, FRAMING_CLOSE, false},
        {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", METHOD_HEAD, ERR_OK, FRAMING_NONE, false},
        {"304 with a length", "HTTP/1.1 304 x\r\nContent-Length: 10\r\n\r\n", METHOD_GET, ERR_OK, FRAMING_NONE, false},
        {"204 with chunked", "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_GET, ERR_OK, FRAMING_NONE,
         false},
        {"103", "HTTP/1.1 103 x\r\nLink: a\r\n\r\n", METHOD_GET, ERR_OK, FRAMING_NONE, false},
        {"101", "HTTP/1.1 101 x\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n", METHOD_GET, ERR_OK, FRAMING_NONE, false},
        {"gzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", METHOD_GET, ERR_OK, FRAMING_CLOSE, true},
        {"gzip, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", METHOD_GET, ERR_BAD_CODING,
         FRAMING_NONE, false},
        {"chunked, gzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", METHOD_GET, ERR_BAD_CODING,
         FRAMING_NONE, false},
        {"chunked twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
         METHOD_GET, ERR_BAD_CODING, FRAMING_NONE, false},
        {"an empty coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n", METHOD_GET, ERR_OK, FRAMING_CLOSE, true},
        {"chunked in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_GET, ERR_BAD_CODING,
         FRAMING_NONE, false},
        {"length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_GET,
         ERR_LENGTH_AND_CODING, FRAMING_NONE, false},
        {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", METHOD_GET, ERR_BAD_LENGTH,
         FRAMING_NONE, false},
        {"close, then a body", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody", METHOD_GET,
         ERR_OK, FRAMING_LENGTH, false},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_response response;
        enum err error = parse_response(span_of(cases[i].head), cases[i].method, &arena, &response);

        cr_expect_eq(error, cases[i].want, "%s: %s", cases[i].name, err_name(error));
        if (error == ERR_OK) {
            cr_expect_eq(response.framing.kind, cases[i].kind, "%s", cases[i].name);
            cr_expect_eq(response.framing.unknown_coding, cases[i].unknown_coding, "%s", cases[i].name);
        }
    }
    arena_finish(&arena);
}
