/* model_parts_write.c: see model_parts_write.h. */
#include "tests/unit/model_parts_write.h"

#include "http/range.h"
#include "tests/unit/model_write.h"

static void add_range(const struct m_range *range, struct headers *headers)
{
    static const enum range_spec_kind kinds[] = {
        [M_RANGE_CLOSED] = RANGE_SPEC_CLOSED, [M_RANGE_OPEN] = RANGE_SPEC_OPEN, [M_RANGE_SUFFIX] = RANGE_SPEC_SUFFIX};
    struct range_spec spec = {.kind = kinds[range->form],
                              .first = range->first,
                              .last = range->form == M_RANGE_CLOSED ? range->first + range->more : range->more};
    struct span text;

    if (range->form != M_RANGE_NONE) {
        REQUIRE(range_text(&spec, headers->arena, &text));
        REQUIRE(headers_add(headers, SPAN("Range"), text));
    }
}

struct http_request parts_write_request(const struct parts_step *step, struct arena *arena)
{
    struct m_request plain = {.no_cache = step->no_cache};
    struct m_response named = {
        .etag = step->if_range.etag, .etag_weak = step->if_range.etag_weak, .last_modified = step->if_range.date};
    struct http_request request = write_request(&plain, arena);
    struct http_response validators = write_response(&named, 200, arena);

    add_range(&step->range, &request.headers);
    for (size_t i = 0; i < validators.headers.count; i++) {
        REQUIRE(headers_add(&request.headers, SPAN("If-Range"), validators.headers.items[i].value));
    }
    return request;
}

struct http_response parts_write_reply(const struct parts_reply *reply, struct arena *arena)
{
    struct http_response response = write_response(&reply->head, reply->status, arena);

    REQUIRE(headers_add(&response.headers, SPAN("Content-Type"), SPAN("text/plain")));
    if (reply->has_content_range) {
        REQUIRE(headers_add(&response.headers, SPAN("Content-Range"), span_of(reply->content_range)));
    }
    response.framing = (struct framing){.kind = FRAMING_CHUNKED};
    if (reply->content_length >= 0) {
        response.framing = (struct framing){.kind = FRAMING_LENGTH, .length = (uint64_t)reply->content_length};
    }
    return response;
}
