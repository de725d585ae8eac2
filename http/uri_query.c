/* uri_query.c: the parameters of a query: those that do not matter removed, the others sorted (uri.h). */
#include "http/uri.h"

#include <stdlib.h>
#include <string.h>

/* One parameter of a query, for sorting. */
struct pair {
    struct span text;
    struct span name;
    struct span value;
    size_t index; /* place in the query: qsort is not stable by itself */
};

/* Order of bytes; a prefix comes first. */
static int compare_spans(struct span a, struct span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.data, b.data, len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_pairs(const void *left, const void *right)
{
    const struct pair *a = left, *b = right;
    int order = compare_spans(a->name, b->name);

    if (order == 0) {
        order = compare_spans(a->value, b->value);
    }
    return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

/* The parameters of `query` that `strip` leaves; their number. */
static size_t collect_pairs(struct span query, const struct span *strip, size_t strip_count, struct pair *pairs)
{
    size_t count = 0;
    bool more = true;

    while (more) {
        size_t end = span_find(query, '&');
        struct span text = span_take(query, end);
        size_t equals = span_find(text, '=');
        struct span name = span_take(text, equals);
        bool stripped = false;

        for (size_t i = 0; i < strip_count && !stripped; i++) {
            stripped = span_matches_glob(name, strip[i]);
        }
        if (!stripped) {
            pairs[count] =
                (struct pair){text, name, equals == SIZE_MAX ? SPAN("") : span_skip(text, equals + 1), count};
            count++;
        }
        more = end != SIZE_MAX;
        query = more ? span_skip(query, end + 1) : query;
    }
    return count;
}

bool uri_filter_query(struct uri *uri, const struct span *strip, size_t strip_count, bool sort, struct arena *arena)
{
    size_t count = 1;
    size_t left;
    struct pair *pairs;
    char *text;
    size_t len = 0;

    if (!uri->has_query || uri->query.len == 0 || (strip_count == 0 && !sort)) {
        return true;
    }
    for (size_t i = 0; i < uri->query.len; i++) {
        count += uri->query.data[i] == '&';
    }
    pairs = arena_alloc(arena, count * sizeof *pairs);
    text = arena_alloc_text(arena, uri->query.len);
    if (pairs == NULL || text == NULL) {
        return false;
    }
    left = collect_pairs(uri->query, strip, strip_count, pairs);
    if (sort) {
        qsort(pairs, left, sizeof *pairs, compare_pairs);
    }
    for (size_t i = 0; i < left; i++) {
        if (i > 0) {
            text[len++] = '&';
        }
        if (pairs[i].text.len > 0) {
            memcpy(text + len, pairs[i].text.data, pairs[i].text.len);
            len += pairs[i].text.len;
        }
    }
    uri->query = (struct span){text, len};
    if (left < count && len == 0) {
        uri->has_query = false;
    }
    return true;
}
