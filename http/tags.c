/* tags.c: see tags.h. */
#include "http/tags.h"

#include <string.h>

#include "http/check.h"

static const struct {
    struct span name;
    const char *separators;
} fields[] = {
    {SPAN_INIT("Surrogate-Key"), " \t"},
    {SPAN_INIT("Cache-Tag"), ","},
    {SPAN_INIT("xkey"), " \t,"},
};

/* NULL: not a field of tags. */
static const char *separators_of(struct span field_name)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (span_equal_nocase(fields[i].name, field_name)) {
            return fields[i].separators;
        }
    }
    return NULL;
}

bool tags_is_field(struct span field_name)
{
    return separators_of(field_name) != NULL;
}

static bool separates(const struct tags *tags, char byte)
{
    return byte != '\0' && strchr(tags->separators, byte) != NULL;
}

struct tags tags_of(const struct headers *headers)
{
    return (struct tags){.headers = headers};
}

/* The next member of the line, trimmed; may be empty. False at its end. */
static bool next_in_line(struct tags *tags, struct span *out_name)
{
    size_t len = 0;

    if (tags->rest.len == 0) {
        return false;
    }
    while (len < tags->rest.len && !separates(tags, tags->rest.data[len])) {
        len++;
    }
    *out_name = span_trim(span_take(tags->rest, len));
    tags->rest = span_skip(tags->rest, len < tags->rest.len ? len + 1 : len);
    return true;
}

bool tags_next(struct tags *tags, struct span *out_name)
{
    struct span name;

    for (;;) {
        while (next_in_line(tags, &name)) {
            if (name.len > 0) {
                *out_name = name;
                return true;
            }
        }
        if (tags->index == tags->headers->count) {
            return false;
        }
        const struct header *line = &tags->headers->items[tags->index++];
        tags->separators = separators_of(line->name);
        tags->rest = tags->separators != NULL ? line->value : (struct span){NULL, 0};
    }
}

/* False: there is no field of tags, as nearly always. */
static bool may_have_tags(const struct headers *headers)
{
    bool may = false;

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        may = may || headers_may_have(headers, fields[i].name);
    }
    return may;
}

bool tags_within_limits(const struct headers *headers)
{
    struct tags tags = tags_of(headers);
    struct span name;
    size_t count = 0;

    if (!may_have_tags(headers)) {
        return true;
    }
    while (tags_next(&tags, &name)) {
        count++;
        if (count > TAGS_MAX || name.len > TAG_MAX_BYTES) {
            return false;
        }
    }
    return true;
}

size_t tags_remove(struct headers *headers)
{
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        count += headers_remove(headers, fields[i].name);
    }
    return count;
}
