/* headers.c: the list of header fields. Lists are short (a few dozen): a set of name bits answers for most names that
 * are not there, or not again, and a scan that compares lengths first finds the others. */
#include "http/headers.h"

#include <string.h>

#include "http/token.h"

enum { FIRST_CAPACITY = 32 };

void headers_init(struct headers *headers, struct arena *arena)
{
    *headers = (struct headers){.arena = arena};
}

bool headers_grow(struct headers *headers)
{
    return headers_reserve(headers, headers->capacity + 1);
}

bool headers_reserve(struct headers *headers, size_t count)
{
    size_t capacity = headers->capacity == 0 ? FIRST_CAPACITY : headers->capacity;

    if (count <= headers->capacity) {
        return true;
    }
    while (capacity < count) {
        capacity *= 2;
    }
    struct header *items = arena_alloc_raw(headers->arena, capacity * sizeof *items);
    if (items == NULL) {
        return false;
    }
    if (headers->count > 0) {
        memcpy(items, headers->items, headers->count * sizeof *items);
    }
    headers->items = items;
    headers->capacity = capacity;
    return true;
}

const struct header *headers_find_behind(const struct headers *headers, const struct header *previous)
{
    REQUIRE(previous >= headers->items);
    REQUIRE(previous < headers->items + headers->count);
    return headers_find_from(headers, (size_t)(previous - headers->items) + 1, previous->name);
}

size_t headers_count_lines(const struct headers *headers, struct span name)
{
    size_t count = 0;

    for (size_t i = 0; i < headers->count; i++) {
        count += span_equal_nocase(headers->items[i].name, name);
    }
    return count;
}

/* The line at `index`, the only one whose name has that bit. */
static void remove_only(struct headers *headers, size_t index, struct span name)
{
    struct header *line = &headers->items[index];

    headers->count--;
    headers->names.present &= ~header_name_bit(name);
    memmove(line, line + 1, (headers->count - index) * sizeof *line);
}

size_t headers_remove_all(struct headers *headers, struct span name)
{
    const struct header *first = headers_find_from(headers, 0, name);
    size_t kept = first == NULL ? headers->count : (size_t)(first - headers->items);
    size_t removed;

    if (first != NULL && !headers_may_repeat(headers, name)) {
        remove_only(headers, kept, name);
        return 1;
    }
    for (size_t i = kept + 1; i < headers->count; i++) {
        if (!span_equal_nocase(headers->items[i].name, name)) {
            headers->items[kept++] = headers->items[i];
        }
    }
    removed = headers->count - kept;
    headers->count = kept;
    return removed;
}

bool headers_combine_lines(const struct headers *headers, struct span name, struct arena *arena, struct span *out_value,
                           bool *out_present)
{
    const struct header *first = headers_find_from(headers, 0, name);
    const struct header *next = first == NULL ? NULL : headers_find_next(headers, first);
    size_t len;
    char *text;
    size_t at;

    if (next == NULL) {
        *out_value = first == NULL ? (struct span){NULL, 0} : first->value;
        *out_present = first != NULL;
        return true;
    }
    len = first->value.len;
    for (const struct header *line = next; line != NULL; line = headers_find_next(headers, line)) {
        len += 2 + line->value.len;
    }
    text = arena_alloc_text(arena, len);
    if (text == NULL) {
        return false;
    }
    at = 0;
    for (const struct header *line = first; line != NULL; line = headers_find_next(headers, line)) {
        if (line != first) {
            text[at++] = ',';
            text[at++] = ' ';
        }
        if (line->value.len > 0) {
            memcpy(text + at, line->value.data, line->value.len);
            at += line->value.len;
        }
    }
    *out_value = (struct span){text, len};
    *out_present = true;
    return true;
}

bool headers_take_lines(struct headers *headers, struct span name, struct arena *arena, struct span *out_value,
                        bool *out_present)
{
    const struct header *first = headers_find_from(headers, 0, name);

    if (first != NULL && !headers_may_repeat(headers, name)) {
        *out_value = first->value;
        *out_present = true;
        remove_only(headers, (size_t)(first - headers->items), name);
        return true;
    }
    bool combined = headers_combine_lines(headers, name, arena, out_value, out_present);
    if (combined) {
        (void)headers_remove_all(headers, name);
    }
    return combined;
}

bool headers_lines_have(const struct headers *headers, struct span name, struct span token)
{
    for (const struct header *line = headers_find_from(headers, 0, name); line != NULL;
         line = headers_find_next(headers, line)) {
        if (list_has_token(line->value, token)) {
            return true;
        }
    }
    return false;
}

bool headers_copy(struct headers *out_headers, const struct headers *source, struct arena *arena)
{
    size_t capacity = source->count < FIRST_CAPACITY ? FIRST_CAPACITY : source->count;
    struct header *items = arena_alloc_raw(arena, capacity * sizeof *items);

    if (items == NULL) {
        return false;
    }
    if (source->count > 0) {
        memcpy(items, source->items, source->count * sizeof *items);
    }
    *out_headers = (struct headers){
        .arena = arena, .items = items, .count = source->count, .capacity = capacity, .names = source->names};
    return true;
}

/* `*text` moves to `copy`, which holds the bytes of `block`, if that is where it lies, else to a copy of its own. */
static bool move_to_copy(struct span *text, struct span block, struct span copy, struct arena *arena)
{
    uintptr_t at = (uintptr_t)text->data - (uintptr_t)block.data; /* far beyond its end where it lies before it */

    if (at <= block.len && text->len <= block.len - at) {
        text->data = copy.data + at;
        return true;
    }
    return arena_copy(arena, *text, text);
}

bool headers_copy_to(struct headers *out_headers, const struct headers *source, struct span block, struct span copy,
                     struct arena *arena)
{
    bool copied = headers_copy(out_headers, source, arena);

    for (size_t i = 0; copied && i < out_headers->count; i++) {
        copied = move_to_copy(&out_headers->items[i].name, block, copy, arena) &&
                 move_to_copy(&out_headers->items[i].value, block, copy, arena);
    }
    return copied;
}

bool headers_copy_texts(struct headers *out_headers, const struct headers *source, struct span block,
                        struct arena *arena, struct span *out_block)
{
    struct span copy;

    if (!arena_copy(arena, block, &copy) || !headers_copy_to(out_headers, source, block, copy, arena)) {
        return false;
    }
    *out_block = copy;
    return true;
}

const struct header *headers_find_from(const struct headers *headers, size_t start, struct span name)
{
    for (size_t i = start; i < headers->count; i++) {
        if (span_equal_nocase(headers->items[i].name, name)) {
            return &headers->items[i];
        }
    }
    return NULL;
}
