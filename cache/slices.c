/* slices.c: see slices.h. */
#include "cache/slices.h"

#include <string.h>

#include "cache/little_endian.h"
#include "http/check.h"

/* The index of the first slice that ends behind `at`. */
static size_t index_behind(const struct slices *slices, uint64_t at)
{
    size_t index = 0;

    while (index < slices->count && slices->items[index].end <= at) {
        index++;
    }
    return index;
}

enum slices_added slices_add(struct slices *slices, struct slice added)
{
    size_t gaps = slices_gap_count(slices, added.first, added.end);
    struct byte_range gap;

    REQUIRE(added.first < added.end);
    if (gaps == 0) {
        return SLICES_HELD;
    }
    if (slices->count + gaps > SLICES_MAX) {
        return SLICES_FULL;
    }
    while (slices_gap(slices, added.first, added.end, &gap)) {
        size_t index = index_behind(slices, gap.first);
        struct slice *place = &slices->items[index];
        memmove(place + 1, place, (slices->count - index) * sizeof(*place));
        *place = (struct slice){.first = gap.first,
                                .end = gap.last + 1,
                                .body_id = added.body_id,
                                .offset = added.offset + (gap.first - added.first)};
        slices->count++;
    }
    return SLICES_ADDED;
}

const struct slice *slices_at(const struct slices *slices, uint64_t at)
{
    size_t index = index_behind(slices, at);

    return index < slices->count && slices->items[index].first <= at ? &slices->items[index] : NULL;
}

bool slices_gap(const struct slices *slices, uint64_t first, uint64_t end, struct byte_range *out_gap)
{
    size_t index = index_behind(slices, first);

    while (index < slices->count && slices->items[index].first <= first) {
        first = slices->items[index].end;
        index++;
    }
    if (first >= end) {
        return false;
    }
    if (index < slices->count && slices->items[index].first < end) {
        end = slices->items[index].first;
    }
    *out_gap = (struct byte_range){.first = first, .last = end - 1};
    return true;
}

size_t slices_gap_count(const struct slices *slices, uint64_t first, uint64_t end)
{
    struct byte_range gap;
    size_t count = 0;

    while (first < end && slices_gap(slices, first, end, &gap)) {
        first = gap.last + 1;
        count++;
    }
    return count;
}

void slices_write(const struct slices *slices, char *out_bytes)
{
    for (size_t i = 0; i < slices->count; i++) {
        const struct slice *slice = &slices->items[i];
        char *at = out_bytes + i * SLICE_BYTES;
        le_put(at, 8, slice->first);
        le_put(at + 8, 8, slice->end);
        le_put(at + 16, 8, slice->body_id);
        le_put(at + 24, 8, slice->offset);
    }
}

struct slice slice_in(struct span bytes, size_t index)
{
    const char *at = bytes.data + index * SLICE_BYTES;

    REQUIRE((index + 1) * SLICE_BYTES <= bytes.len);
    return (struct slice){
        .first = le_get(at, 8), .end = le_get(at + 8, 8), .body_id = le_get(at + 16, 8), .offset = le_get(at + 24, 8)};
}

bool slices_read(struct span bytes, uint64_t complete_length, struct slices *out_slices)
{
    size_t count = bytes.len / SLICE_BYTES;
    uint64_t before = 0;

    if (bytes.len % SLICE_BYTES != 0 || count == 0 || count > SLICES_MAX) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct slice slice = slice_in(bytes, i);
        if (slice.first < before || slice.end <= slice.first || slice.end > complete_length || slice.body_id == 0 ||
            slice.body_id >> BODY_ID_BITS != 0 || slice.offset > UINT64_MAX - slice.end) {
            return false;
        }
        before = slice.end;
        out_slices->items[i] = slice;
    }
    out_slices->count = count;
    return true;
}
