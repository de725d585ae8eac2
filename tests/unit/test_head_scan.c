/* test_head_scan.c: where a head ends, and which bytes it must not have. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "http/head_scan.h"

static const struct head_limits limits = {.head_bytes = 2000, .target_bytes = 100, .field_count = 10};

static enum err find(struct span data, size_t *out_len)
{
    struct head_scan scan = {0};

    return head_find(&scan, data, &limits, out_len);
}

Test(head_scan, stops_at_the_empty_line)
{
    static const struct {
        struct span data;
        size_t len;
        size_t skipped;
    } cases[] = {
        {SPAN_INIT("GET / HTTP/1.1\r\n\r\n"), 18, 0},
        {SPAN_INIT("GET / HTTP/1.1\r\nA: b\r\n\r\nGET /next"), 24, 0},
        {SPAN_INIT("\r\n\r\nGET / HTTP/1.1\r\n\r\n"), 22, 4},
        {SPAN_INIT("HTTP/1.1 200 OK\r\nA:\r\nB: \xe4\t\r\n\r\nbody"), 30, 0},
        {SPAN_INIT("HTTP/1.1 200 a phrase\t\xe4\r\n\r\n"), 27, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct head_scan scan = {0};
        size_t len = 0;

        cr_expect_eq(head_find(&scan, cases[i].data, &limits, &len), ERR_OK, "%zu", i);
        cr_expect_eq(len, cases[i].len, "%zu: %zu", i, len);
        cr_expect_eq(scan.skipped, cases[i].skipped, "%zu", i);
    }
}

/* A copy on the heap of exactly that length: a read behind it is found by the address sanitizer. */
static struct span exact_copy(struct span data)
{
    char *copy = malloc(data.len + 1);

    cr_assert_not_null(copy);
    memcpy(copy + 1, data.data, data.len);
    return (struct span){copy + 1, data.len};
}

static void free_copy(struct span copy)
{
    free((char *)(uintptr_t)copy.data - 1);
}

Test(head_scan, goes_on_from_every_split_point)
{
    struct span whole = SPAN("\r\nGET /a?b HTTP/1.1\r\nHost: example.com\r\nEmpty:\r\nX:  v \r\n\r\nrest");
    size_t head_len = whole.len - 4;

    for (size_t first = 0; first < head_len; first++) {
        for (size_t second = first; second < head_len; second++) {
            struct head_scan scan = {0};
            struct span one = exact_copy(span_take(whole, first));
            struct span two = exact_copy(span_take(whole, second));
            size_t len = 0;

            cr_assert_eq(head_find(&scan, one, &limits, &len), ERR_AGAIN, "%zu", first);
            cr_assert_eq(scan.checked, first);
            cr_assert_eq(head_find(&scan, two, &limits, &len), ERR_AGAIN, "%zu %zu", first, second);
            cr_assert_eq(head_find(&scan, whole, &limits, &len), ERR_OK, "%zu %zu", first, second);
            cr_assert_eq(len, head_len);
            free_copy(one);
            free_copy(two);
        }
    }
}

Test(head_scan, refuses_as_early_as_the_bytes_show_it)
{
    /* Every proper prefix must be ERR_AGAIN, the whole the error. */
    static const struct {
        const char *name;
        struct span data;
        enum err want;
    } cases[] = {
        {"TLS", SPAN_INIT("\x16"), ERR_TLS},
        {"TLS of an origin that got a request in the clear", SPAN_INIT("\x15"), ERR_TLS},
        {"another control character", SPAN_INIT("\x14"), ERR_BAD_HEAD},
        {"NUL in the method", SPAN_INIT("GE\0"), ERR_BAD_HEAD},
        {"NUL in the target", SPAN_INIT("GET /\0"), ERR_BAD_HEAD},
        {"DEL in the version", SPAN_INIT("GET / HTTP\x7f"), ERR_BAD_HEAD},
        {"NUL in a name", SPAN_INIT("GET / HTTP/1.1\r\nA\0"), ERR_BAD_HEAD},
        {"NUL in a value", SPAN_INIT("GET / HTTP/1.1\r\nA: b\0"), ERR_BAD_HEAD},
        {"a control in a value", SPAN_INIT("GET / HTTP/1.1\r\nA: b\x01"), ERR_BAD_HEAD},
        {"a control at the start of a line", SPAN_INIT("GET / HTTP/1.1\r\n\x01"), ERR_BAD_HEAD},
        {"bare LF in front", SPAN_INIT("\n"), ERR_BAD_LINE_END},
        {"bare CR in front", SPAN_INIT("\rG"), ERR_BAD_LINE_END},
        {"bare LF behind the method", SPAN_INIT("GET\n"), ERR_BAD_LINE_END},
        {"bare LF behind the target", SPAN_INIT("GET /\n"), ERR_BAD_LINE_END},
        {"bare LF behind the version", SPAN_INIT("GET / HTTP/1.1\n"), ERR_BAD_LINE_END},
        {"bare CR behind the version", SPAN_INIT("GET / HTTP/1.1\rH"), ERR_BAD_LINE_END},
        {"bare LF behind a name", SPAN_INIT("GET / HTTP/1.1\r\nA\n"), ERR_BAD_LINE_END},
        {"bare LF behind a value", SPAN_INIT("GET / HTTP/1.1\r\nA: b\n"), ERR_BAD_LINE_END},
        {"bare CR in a value (CVE-2023-30589)", SPAN_INIT("GET / HTTP/1.1\r\nX: \rT"), ERR_BAD_LINE_END},
        {"two CR", SPAN_INIT("GET / HTTP/1.1\r\r"), ERR_BAD_LINE_END},
        {"bare LF as the empty line", SPAN_INIT("GET / HTTP/1.1\r\nA: b\r\n\n"), ERR_BAD_LINE_END},
        {"bare CR as the empty line", SPAN_INIT("GET / HTTP/1.1\r\nA: b\r\n\rX"), ERR_BAD_LINE_END},
        {"obs-fold (RFC 9112 §5.2)", SPAN_INIT("GET / HTTP/1.1\r\nA: b\r\n "), ERR_BAD_FIELD},
        {"obs-fold with a tab", SPAN_INIT("GET / HTTP/1.1\r\nA: b\r\n\t"), ERR_BAD_FIELD},
        {"space in front of the first field", SPAN_INIT("GET / HTTP/1.1\r\n "), ERR_BAD_FIELD},
        {"an empty name", SPAN_INIT("GET / HTTP/1.1\r\n:"), ERR_BAD_FIELD},
        {"space in front of the colon (RFC 9112 §5.1)", SPAN_INIT("GET / HTTP/1.1\r\nA "), ERR_BAD_FIELD},
        {"a line without a colon", SPAN_INIT("GET / HTTP/1.1\r\nA\r"), ERR_BAD_FIELD},
        {"a byte that no name holds", SPAN_INIT("GET / HTTP/1.1\r\nA(\x29"), ERR_BAD_FIELD},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct head_scan scan = {0};
        size_t len = 0;
        size_t last = cases[i].data.len;

        if (cases[i].data.data[last - 1] == ')') {
            last--; /* the parenthesis in front of it is the error already */
        }
        for (size_t k = 0; k < last; k++) {
            cr_expect_eq(head_find(&scan, span_take(cases[i].data, k), &limits, &len), ERR_AGAIN, "%s, %zu",
                         cases[i].name, k);
        }
        cr_expect_eq(head_find(&scan, cases[i].data, &limits, &len), cases[i].want, "%s", cases[i].name);
    }
}

/* Fed byte by byte, a head never reaches the steps that take many bytes at once. */
static enum err find_byte_by_byte(struct span data, size_t *out_len)
{
    struct head_scan scan = {0};
    enum err error = ERR_AGAIN;

    for (size_t len = 1; len <= data.len && error == ERR_AGAIN; len++) {
        error = head_find(&scan, span_take(data, len), &limits, out_len);
    }
    return error;
}

Test(head_scan, many_bytes_at_once_are_judged_as_one_by_one)
{
    char head[] = "GET /a-path HTTP/1.1\r\nHost: example.com\r\nA-Rather-Long-Name:a value that is longer than "
                  "sixteen bytes, and than thirty-two\r\nShort:\r\n\r\n";
    size_t len = sizeof head - 1;

    for (size_t at = 0; at < len; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            char kept = head[at];
            size_t whole_len = 0;
            size_t single_len = 0;

            head[at] = (char)byte;
            enum err whole = find((struct span){head, len}, &whole_len);
            enum err single = find_byte_by_byte((struct span){head, len}, &single_len);
            cr_assert_eq(whole, single, "%zu: byte %u: %s, %s", at, byte, err_name(whole), err_name(single));
            cr_assert_eq(whole_len, single_len, "%zu: byte %u", at, byte);
            head[at] = kept;
        }
    }
}

Test(head_scan, keeps_the_limits)
{
    struct head_limits small = {.head_bytes = 30, .target_bytes = 5, .field_count = 10};
    static const struct {
        const char *name, *data;
        enum err want;
    } cases[] = {
        {"a head of n bytes", "GET / HTTP/1.1\r\nA: 12345678\r\n\r\n", ERR_HEAD_TOO_LARGE}, /* 31 */
        {"n + 1", "GET / HTTP/1.1\r\nA: 1234567\r\n\r\n", ERR_OK},
        {"n bytes without an end", "GET / HTTP/1.1\r\nA: 12345678901", ERR_HEAD_TOO_LARGE},
        {"n - 1 bytes without an end", "GET / HTTP/1.1\r\nA: 1234567890", ERR_AGAIN},
        {"empty lines count", "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", ERR_HEAD_TOO_LARGE},
        {"a target of n bytes", "GET /1234 HTTP/1.1\r\n\r\n", ERR_OK},
        {"a target of n + 1 bytes", "GET /12345", ERR_TARGET_TOO_LONG},
        {"a long phrase is no target", "HTTP/1.1 200 1234567890\r\n\r\n", ERR_OK},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct head_scan scan = {0};
        size_t len = 0;

        cr_expect_eq(head_find(&scan, span_of(cases[i].data), &small, &len), cases[i].want, "%s", cases[i].name);
    }
}
