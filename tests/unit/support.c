/* support.c: text to values and back, for unit tests. */
#include "tests/unit/support.h"

enum { ARENA_BYTES = 4 * 1024 * 1024 };

struct arena test_arena(void)
{
    struct arena arena;

    arena_init(&arena, ARENA_BYTES);
    return arena;
}

struct headers test_headers(struct arena *arena, const char *text)
{
    struct span rest = span_of(text);
    struct headers headers;
    struct span line, name;

    headers_init(&headers, arena);
    while (span_split(&rest, '\n', &line)) {
        REQUIRE(span_ends_with(line, SPAN("\r")));
        line.len--;
        REQUIRE(span_split(&line, ':', &name));
        REQUIRE(headers_add(&headers, name, span_trim(line)));
    }
    return headers;
}

const char *test_headers_text(const struct headers *headers, struct arena *arena)
{
    struct span text = SPAN("");

    for (size_t i = 0; i < headers->count; i++) {
        struct span parts[] = {text, headers->items[i].name, SPAN(": "), headers->items[i].value, SPAN("\r\n")};

        REQUIRE(arena_join(arena, parts, ARRAY_LEN(parts), &text));
    }
    return test_text(text, arena);
}

const char *test_text(struct span text, struct arena *arena)
{
    struct span parts[] = {text, {"", 1}};
    struct span copy;

    REQUIRE(arena_join(arena, parts, ARRAY_LEN(parts), &copy));
    return copy.data;
}

struct http_request test_request(struct arena *arena, const char *url, const char *fields)
{
    struct http_request request = {.method = METHOD_GET, .method_name = SPAN("GET"), .minor = 1};

    REQUIRE(uri_parse_absolute(span_of(url), arena, &request.uri) == ERR_OK);
    REQUIRE(uri_path_and_query(&request.uri, arena, &request.target));
    request.headers = test_headers(arena, fields);
    return request;
}

struct http_response test_response(struct arena *arena, unsigned status, const char *fields)
{
    return (struct http_response){.status = status, .minor = 1, .headers = test_headers(arena, fields)};
}
