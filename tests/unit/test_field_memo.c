/* test_field_memo.c: heads whose fields have come before are not parsed again, and say the same. */
#include <criterion/criterion.h>
#include <string.h>

#include "http/parser.h"
#include "tests/unit/support.h"

#define FIELDS " HTTP/1.1\r\nHost: example.com\r\nEmpty:\r\nAccept: \t a, b \r\n\r\n"

static const struct head_limits limits = {.head_bytes = 2000, .target_bytes = 100, .field_count = 10};
static struct arena arena;
static struct field_memo *memo;

static void setup(void)
{
    arena_init(&arena, 1024 * 1024);
    memo = field_memo_create();
    cr_assert_not_null(memo);
}

static void teardown(void)
{
    field_memo_destroy(memo);
    arena_finish(&arena);
}

TestSuite(field_memo, .init = setup, .fini = teardown);

/* The usual way; the slot that the fields went to. */
static uint16_t parse(struct span head, struct http_request *out_request)
{
    struct head_scan scan = {0};
    size_t len = 0;

    cr_assert_eq(head_find(&scan, head, &limits, &len), ERR_OK);
    cr_assert_eq(parse_request_head(span_take(head, len), &limits, &arena, out_request), ERR_OK);
    return field_memo_note(memo, out_request->field_block, &out_request->headers);
}

static bool parse_again(struct span data, uint16_t slot, struct http_request *out_request, size_t *out_len)
{
    return parse_repeated_head(data, &limits, memo, slot, &arena, out_request, out_len);
}

/* A slot that holds FIELDS. */
static uint16_t learn(void)
{
    struct http_request request;

    (void)parse(SPAN("GET / HTTP/1.1\r\nHost: other\r\n\r\n"), &request);
    (void)parse(SPAN("GET /first" FIELDS), &request);
    return parse(SPAN("POST /second" FIELDS), &request);
}

Test(field_memo, the_same_fields_say_the_same)
{
    struct http_request parsed;
    struct http_request repeated;
    struct span head = SPAN("HEAD /third?x" FIELDS "GET /pipelined");
    uint16_t slot = learn();
    size_t len = 0;

    (void)parse(head, &parsed);
    cr_assert(parse_again(head, slot, &repeated, &len));
    cr_expect_eq(len, head.len - strlen("GET /pipelined"));
    cr_expect_eq(repeated.method, METHOD_HEAD);
    cr_expect(span_equal(repeated.target, SPAN("/third?x")));
    cr_expect_eq(repeated.minor, parsed.minor);
    cr_expect_eq(repeated.framing.kind, parsed.framing.kind);
    cr_assert_eq(repeated.headers.count, parsed.headers.count);
    cr_expect_eq(repeated.headers.names.present, parsed.headers.names.present);
    cr_expect_eq(repeated.headers.names.repeated, parsed.headers.names.repeated);
    for (size_t i = 0; i < parsed.headers.count; i++) {
        cr_expect(span_equal(repeated.headers.items[i].name, parsed.headers.items[i].name), "%zu", i);
        cr_expect(span_equal(repeated.headers.items[i].value, parsed.headers.items[i].value), "%zu", i);
    }
    cr_expect(headers_add(&repeated.headers, SPAN("New"), SPAN("")), "the list is the request's own");
}

Test(field_memo, nothing_else_matches)
{
    static const struct {
        const char *name;
        struct span data;
    } cases[] = {
        {"one byte more", SPAN_INIT("GET /a HTTP/1.1\r\nHost: example.com\r\nEmpty: \r\nAccept: \t a, b \r\n\r\n")},
        {"another version", SPAN_INIT("GET /a HTTP/1.0\r\nHost: example.com\r\nEmpty:\r\nAccept: \t a, b \r\n\r\n")},
        {"not all of it yet", SPAN_INIT("GET /a HTTP/1.1\r\nHost: example.com\r\nEmpty:\r\nAccept: \t a, b \r\n\r")},
        {"a body's length first", SPAN_INIT("GET /a HTTP/1.1\r\nContent-Length: 5\r\nHost: example.com\r\nEmpty:\r\n")},
        {"no target", SPAN_INIT("GET " FIELDS)},
        {"a bad method", SPAN_INIT("G@T /a" FIELDS)},
        {"a bad target", SPAN_INIT("GET /a\\b" FIELDS)},
        {"a line end in the target", SPAN_INIT("GET /a\r\nX:" FIELDS)},
        {"an empty line in front", SPAN_INIT("\r\nGET /a" FIELDS)},
        {"CONNECT, which is read differently", SPAN_INIT("CONNECT example.com:443" FIELDS)},
        {"nothing", SPAN_INIT("")},
    };
    struct http_request request;
    uint16_t slot = learn();
    size_t len;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_not(parse_again(cases[i].data, slot, &request, &len), "%s", cases[i].name);
    }
    cr_expect_not(parse_again(SPAN("GET /a" FIELDS), FIELD_MEMO_NONE, &request, &len));
}

Test(field_memo, limits_hold)
{
    struct head_limits few = {.head_bytes = 2000, .target_bytes = 100, .field_count = 2};
    struct head_limits small = {.head_bytes = 20, .target_bytes = 100, .field_count = 10};
    struct head_limits short_target = {.head_bytes = 2000, .target_bytes = 3, .field_count = 10};
    const struct head_limits *all[] = {&few, &small, &short_target};
    struct http_request request;
    uint16_t slot = learn();
    size_t len;

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        cr_expect_not(parse_repeated_head(SPAN("GET /long" FIELDS), all[i], memo, slot, &arena, &request, &len), "%zu",
                      i);
    }
}

Test(field_memo, what_comes_once_takes_no_place)
{
    struct http_request request;
    uint16_t slot = parse(SPAN("GET /" FIELDS), &request);
    size_t len;

    cr_expect_not(parse_again(SPAN("GET /" FIELDS), slot, &request, &len));
    cr_expect_eq(parse(SPAN("GET /" FIELDS), &request), slot);
    cr_expect(parse_again(SPAN("GET /" FIELDS), slot, &request, &len));
}

Test(field_memo, long_blocks_are_not_kept)
{
    static char head[FIELD_MEMO_MAX_BYTES * 2];
    struct head_limits wide = {.head_bytes = sizeof head, .target_bytes = 100, .field_count = 10};
    struct http_request request;
    int len =
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: a\r\nCookie: %*s\r\n\r\n", FIELD_MEMO_MAX_BYTES, "x");

    cr_assert_eq(parse_request_head((struct span){head, (size_t)len}, &wide, &arena, &request), ERR_OK);
    cr_expect_eq(field_memo_note(memo, request.field_block, &request.headers), FIELD_MEMO_NONE);
}
