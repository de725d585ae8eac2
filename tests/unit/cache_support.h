/* cache_support.h: messages for the tests of cache/, built from text without the parser.
 *
 * Header text is lines "Name: value" with "\n" between them. Everything lives in the arena given. */
#ifndef TESTS_CACHE_SUPPORT_H
#define TESTS_CACHE_SUPPORT_H

#include <string.h>

#include "http/message.h"

/* The moment of the tests, and it as an HTTP-date. */
#define T0_S    INT64_C(1700000000)
#define T0_MS   (T0_S * 1000)
#define T0_TEXT "Tue, 14 Nov 2023 22:13:20 GMT"

enum { TEST_ARENA_BYTES = 16 * 1024 * 1024 };

static inline struct headers headers_from(struct arena *arena, const char *text)
{
    struct headers headers;
    struct span rest = span_of(text);
    struct span line;

    headers_init(&headers, arena);
    while (span_split(&rest, '\n', &line)) {
        size_t colon = span_find(line, ':');
        if (colon == SIZE_MAX) {
            check_failed("a header line has a colon", __FILE__, __LINE__, __func__);
        }
        if (!headers_add(&headers, span_take(line, colon), span_trim(span_skip(line, colon + 1)))) {
            check_failed("the headers fit into the arena", __FILE__, __LINE__, __func__);
        }
    }
    return headers;
}

static inline struct http_request request_from(struct arena *arena, const char *method, const char *headers)
{
    return (struct http_request){
        .method = method_of(span_of(method)),
        .method_name = span_of(method),
        .target = SPAN_INIT("/a"),
        .minor = 1,
        .headers = headers_from(arena, headers),
    };
}

static inline struct http_response response_from(struct arena *arena, unsigned status, const char *headers)
{
    return (struct http_response){.status = status, .minor = 1, .headers = headers_from(arena, headers)};
}

#endif
