/* no_vary_search.c: see no_vary_search.h. */
#include "http/no_vary_search.h"

#include <stdlib.h>
#include <string.h>

#include "http/structured.h"

/* ---- the field ---- */

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    char lower = ascii_lower(byte);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* `+` and %-escapes resolved; an escape that is none stays as it is. False at the arena's limit. */
static bool decode(struct span text, struct arena *arena, struct span *out_text)
{
    char *bytes = arena_alloc_text(arena, text.len);
    size_t len = 0;

    if (bytes == NULL) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        int high = byte == '%' && text.len - i > 2 ? hex_digit(text.data[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text.data[i + 2]) : -1;
        if (low >= 0) {
            byte = (char)(high * 16 + low);
            i += 2;
        } else if (byte == '+') {
            byte = ' ';
        }
        bytes[len++] = byte;
    }
    *out_text = (struct span){bytes, len};
    return true;
}

/* The strings of an inner list. False: something else is in it, or too many, or at the arena's limit. */
static bool read_names(const struct structured_item *list, struct arena *arena, struct no_vary_search *out)
{
    struct structured items = structured_inner_list(list);
    struct structured_member member;
    struct span text;

    out->names = arena_alloc(arena, NO_VARY_SEARCH_NAMES * sizeof(*out->names));
    if (out->names == NULL) {
        return false;
    }
    while (structured_next(&items, &member)) {
        if (member.item.type != STRUCTURED_STRING || out->name_count == NO_VARY_SEARCH_NAMES ||
            !structured_text(&member.item, arena, &text) || !decode(text, arena, &out->names[out->name_count])) {
            return false;
        }
        out->name_count++;
    }
    return true;
}

bool no_vary_search_of(const struct headers *response, struct arena *arena, struct no_vary_search *out)
{
    struct no_vary_search found = {0};
    struct structured_item item;
    struct structured field;

    if (!headers_has(response, SPAN("No-Vary-Search")) ||
        !structured_of_headers(STRUCTURED_DICTIONARY, response, SPAN("No-Vary-Search"), arena, &field)) {
        return false;
    }
    if (structured_find(&field, SPAN("key-order"), &item)) {
        if (item.type != STRUCTURED_BOOLEAN) {
            return false;
        }
        found.any_order = item.number == 1;
    }
    if (structured_find(&field, SPAN("params"), &item)) {
        if (item.type == STRUCTURED_BOOLEAN) {
            found.all_but = item.number == 1;
        } else if (item.type != STRUCTURED_INNER_LIST || !read_names(&item, arena, &found)) {
            return false;
        }
    }
    if (structured_find(&field, SPAN("except"), &item) &&
        (!found.all_but || item.type != STRUCTURED_INNER_LIST || !read_names(&item, arena, &found))) {
        return false;
    }
    *out = found;
    return found.any_order || found.all_but || found.name_count > 0;
}

/* ---- queries ---- */

struct parameter {
    struct span name;
    struct span value;
    size_t index; /* place in the query: qsort is not stable by itself */
};

static bool is_relevant(const struct no_vary_search *variance, struct span name)
{
    for (size_t i = 0; i < variance->name_count; i++) {
        if (span_equal(name, variance->names[i])) {
            return variance->all_but;
        }
    }
    return !variance->all_but;
}

/* The relevant parameters, in their order. False: too many, or at the arena's limit. */
static bool read_query(const struct no_vary_search *variance, struct span query, struct arena *arena,
                       struct parameter *parameters, size_t *out_count)
{
    struct span text;
    size_t seen = 0;
    size_t count = 0;

    while (span_split(&query, '&', &text)) {
        size_t equals = span_find(text, '=');
        struct parameter *parameter = &parameters[count];
        if (text.len == 0) {
            continue;
        }
        if (seen++ == NO_VARY_SEARCH_PARAMETERS || !decode(span_take(text, equals), arena, &parameter->name) ||
            !decode(equals == SIZE_MAX ? SPAN("") : span_skip(text, equals + 1), arena, &parameter->value)) {
            return false;
        }
        if (is_relevant(variance, parameter->name)) {
            parameter->index = count++;
        }
    }
    *out_count = count;
    return true;
}

static int by_name(const void *left, const void *right)
{
    const struct parameter *a = left, *b = right;
    size_t len = a->name.len < b->name.len ? a->name.len : b->name.len;
    int order = len == 0 ? 0 : memcmp(a->name.data, b->name.data, len);

    if (order == 0) {
        order = (a->name.len > b->name.len) - (a->name.len < b->name.len);
    }
    return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

static size_t encode(struct span text, char *out)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        bool plain = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
                     byte == '-' || byte == '.' || byte == '_' || byte == '~';
        if (plain) {
            out[len++] = (char)byte;
        } else {
            out[len++] = '%';
            out[len++] = digits[byte >> 4];
            out[len++] = digits[byte & 15];
        }
    }
    return len;
}

bool no_vary_search_query(const struct no_vary_search *variance, const struct uri *uri, struct arena *arena,
                          struct span *out_query)
{
    struct span query = uri->has_query ? uri->query : (struct span){NULL, 0};
    struct parameter *parameters = arena_alloc(arena, (NO_VARY_SEARCH_PARAMETERS + 1) * sizeof(*parameters));
    char *text = arena_alloc_text(arena, 3 * query.len + 2 * NO_VARY_SEARCH_PARAMETERS);
    size_t count;
    size_t len = 0;

    if (parameters == NULL || text == NULL || !read_query(variance, query, arena, parameters, &count)) {
        return false;
    }
    if (variance->any_order) {
        qsort(parameters, count, sizeof(*parameters), by_name);
    }
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            text[len++] = '&';
        }
        len += encode(parameters[i].name, text + len);
        text[len++] = '=';
        len += encode(parameters[i].value, text + len);
    }
    *out_query = (struct span){text, len};
    return true;
}
