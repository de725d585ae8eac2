/* fuzz_range.c: any bytes as Range, If-Range and Content-Range. The first byte chooses the reader, the next eight are
 * the length of the representation, the rest is the field. */
#include <string.h>

#include "http/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { NOW_S = 1700000000 };

static bool contains(const struct ranges *ranges, uint64_t position)
{
    for (size_t i = 0; i < ranges->count; i++) {
        if (position >= ranges->items[i].first && position <= ranges->items[i].last) {
            return true;
        }
    }
    return false;
}

static void check_multipart(const struct ranges *ranges, uint64_t length, struct arena *arena)
{
    struct multipart multipart = {
        .boundary = SPAN("b"), .content_type = SPAN("a/b"), .ranges = ranges, .complete_length = length};
    uint64_t bytes, counted;
    struct span text;

    if (!multipart_length(&multipart, &bytes)) {
        REQUIRE(ranges->total_bytes > UINT64_MAX / 2);
        return;
    }
    counted = ranges->total_bytes;
    for (size_t i = 0; i < ranges->count; i++) {
        REQUIRE(multipart_part_head(&multipart, i, arena, &text));
        counted += text.len;
    }
    REQUIRE(multipart_end(&multipart, arena, &text));
    REQUIRE(counted + text.len == bytes);
}

static void try_range(struct span text, uint64_t length, struct arena *arena)
{
    struct range_set set;
    struct ranges ranges;

    if (!range_parse(text, &set)) {
        return;
    }
    REQUIRE(set.count > 0);
    REQUIRE(set.count <= RANGE_SPECS_MAX);
    if (range_resolve(&set, length, &ranges) != RANGE_SATISFIABLE) {
        return;
    }
    REQUIRE(ranges.count > 0);
    REQUIRE(ranges.count <= RANGES_MAX);
    REQUIRE(ranges.total_bytes <= length);
    for (size_t i = 0; i < ranges.count; i++) {
        struct byte_range a = ranges.items[i];

        REQUIRE(a.first <= a.last);
        REQUIRE(a.last < length);
        for (size_t k = i + 1; k < ranges.count; k++) {
            struct byte_range b = ranges.items[k];

            REQUIRE(a.last < b.first ? b.first - a.last > RANGE_GAP_BYTES : a.first > b.last);
            REQUIRE(a.last < b.first || a.first - b.last > RANGE_GAP_BYTES);
        }
    }
    for (size_t i = 0; i < set.count; i++) { /* what was asked for is there */
        if (set.specs[i].kind != RANGE_SPEC_SUFFIX && set.specs[i].first < length) {
            REQUIRE(contains(&ranges, set.specs[i].first));
        }
    }
    check_multipart(&ranges, length, arena);
}

static void try_content_range(struct span text, struct arena *arena)
{
    struct content_range value, again;
    struct span written;

    if (!content_range_parse(text, &value)) {
        return;
    }
    REQUIRE(content_range_text(&value, arena, &written));
    REQUIRE(written.len <= text.len);
    REQUIRE(content_range_parse(written, &again));
    REQUIRE(value.has_range == again.has_range && value.has_length == again.has_length);
    REQUIRE(value.range.first == again.range.first && value.range.last == again.range.last);
    REQUIRE(value.complete_length == again.complete_length);
}

static void try_if_range(struct span text, struct arena *arena)
{
    struct headers request, response;

    headers_init(&request, arena);
    headers_init(&response, arena);
    REQUIRE(headers_add(&request, SPAN("If-Range"), text));
    REQUIRE(headers_add(&response, SPAN("ETag"), text));
    REQUIRE(headers_add(&response, SPAN("Last-Modified"), text));
    REQUIRE(headers_add(&response, SPAN("Date"), SPAN("Tue, 14 Nov 2023 22:13:20 GMT")));
    if (if_range_holds(&request, &response, NOW_S)) {
        REQUIRE(text.len >= 2);
        REQUIRE(text.data[0] == '"' || last_modified_is_strong(&response, NOW_S));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint64_t length = 0;
    struct span text;
    struct arena arena;

    if (size < 9) {
        return 0;
    }
    for (size_t i = 1; i < 9; i++) {
        length = length << 8 | bytes[i];
    }
    text = (struct span){(const char *)bytes + 9, size - 9};
    arena_init(&arena, 4 * 1024 * 1024);
    switch (bytes[0] % 4) {
    case 0:
        try_range(text, length, &arena);
        break;
    case 1:
        try_range(text, length >> 48, &arena); /* lengths that the ranges of a short text reach */
        break;
    case 2:
        try_content_range(text, &arena);
        break;
    default:
        try_if_range(text, &arena);
        break;
    }
    arena_finish(&arena);
    return 0;
}
