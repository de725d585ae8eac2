/* test_line_memo.c: field lines that have come before are not parsed again, and say the same. */
#include <criterion/criterion.h>

#include "http/parser.h"
#include "tests/unit/support.h"

#define STATUS "HTTP/1.1 200 OK\r\n"

static const struct head_limits limits = {.head_bytes = 2000, .target_bytes = 100, .field_count = 5};
static struct arena arena;
static struct line_memo memo;

static void setup(void)
{
    arena_init(&arena, 1024 * 1024);
    memo = (struct line_memo){0};
}

static void teardown(void)
{
    arena_finish(&arena);
}

TestSuite(line_memo, .init = setup, .fini = teardown);

static void expect_same(const struct headers *got, const struct headers *want, const char *head)
{
    cr_assert_eq(got->count, want->count, "%s", head);
    cr_expect_eq(got->names.present, want->names.present, "%s", head);
    cr_expect_eq(got->names.repeated, want->names.repeated, "%s", head);
    for (size_t i = 0; i < want->count; i++) {
        cr_expect(span_equal(got->items[i].name, want->items[i].name), "%s", head);
        cr_expect(span_equal(got->items[i].value, want->items[i].value), "%s", head);
    }
}

/* Whatever the memo holds by now, each head says with it what it says without. */
Test(line_memo, heads_say_the_same_with_it)
{
    static const char *const heads[] = {
        STATUS "\r\n",
        STATUS "A: 1\r\n\r\n",
        STATUS "A: 1\r\nB:\r\nC: \t3 \t\r\n\r\n",
        STATUS "B:\r\nA: 1\r\nB:\r\n\r\n",
        STATUS "A: 1\r\nB:\r\n\r\n",
        STATUS "A: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\n\r\n",
        STATUS "A: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\nA: 1\r\n\r\n", /* one too many */
        STATUS "Content-Length: 3\r\nA: 1\r\n\r\n",
        STATUS "Content-Length: 3\r\nA: 1\r\nContent-Length: 3\r\n\r\n",
        STATUS "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        STATUS "Transfer-Encoding: chunked\r\nA: 1\r\nContent-Length: 3\r\n\r\n",
        STATUS "Transfer-Encoding: chunked\r\nA_b: 1\r\n\r\n",
        STATUS "Connection: close\r\nUpgrade: x\r\n\r\n",
        STATUS "Connection: upgrade\r\nUpgrade: x\r\nA: 1\r\n\r\n",
        STATUS "Content-Length: x\r\nA: 1\r\n\r\n",
        "HTTP/1.0 304 \r\nA: 1\r\na: 1\r\n\r\n",
        "HTTP/1.2 200 OK\r\nA: 1\r\n\r\n",
    };

    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
            struct http_response plain, known;
            struct span head = span_of(heads[i]);
            enum err error = parse_response_head(head, &limits, METHOD_GET, &arena, &plain);

            cr_assert_eq(parse_response_head_with(head, &limits, METHOD_GET, &memo, &arena, &known), error, "%s",
                         heads[i]);
            if (error == ERR_OK) {
                cr_expect_eq(known.status, plain.status, "%s", heads[i]);
                cr_expect_eq(known.framing.kind, plain.framing.kind, "%s", heads[i]);
                expect_same(&known.headers, &plain.headers, heads[i]);
            }
        }
    }
}

Test(line_memo, lines_of_the_last_head_are_known_in_their_places)
{
    struct http_response response;
    struct header field;

    cr_expect_eq(line_memo_find(&memo, 0, SPAN("Server: x\r\n"), &field), 0, "nothing came yet");
    cr_assert_eq(parse_response_head_with(SPAN(STATUS "Server: x\r\nContent-Length: 3\r\nEmpty:\r\n\r\n"), &limits,
                                          METHOD_GET, &memo, &arena, &response),
                 ERR_OK);
    cr_expect_eq(line_memo_find(&memo, 0, SPAN("Server: x\r\nmore"), &field), 11);
    cr_expect(span_equal(field.name, SPAN("Server")));
    cr_expect(span_equal(field.value, SPAN("x")));
    cr_expect_eq(line_memo_find(&memo, 2, SPAN("Empty:\r\n"), &field), 8);
    cr_expect_eq(field.value.len, 0);
    cr_expect_eq(line_memo_find(&memo, 2, SPAN("Server: x\r\n"), &field), 0, "another place");
    cr_expect_eq(line_memo_find(&memo, 0, SPAN("Server: y\r\n"), &field), 0, "another value");
    cr_expect_eq(line_memo_find(&memo, 0, SPAN("server: x\r\n"), &field), 0, "other letters");
    cr_expect_eq(line_memo_find(&memo, 0, SPAN("Server: x"), &field), 0, "not all of it");
    cr_expect_eq(line_memo_find(&memo, 1, SPAN("Content-Length: 3\r\n"), &field), 0, "it frames the message");
    cr_expect_eq(line_memo_find(&memo, 3, SPAN("\r\n"), &field), 0, "no such line");
}
