/* headers.h: an ordered list of header fields in an arena.
 *
 * Order and duplicates are kept. Names compare ignoring case. Values are without the white space around them. Names and
 * values borrow: from the arena, the message's bytes, or literals, all of which must live as long as the list. Threads:
 * one at a time. */
#ifndef HTTP_HEADERS_H
#define HTTP_HEADERS_H

#include "http/arena.h"
#include "http/span.h"

struct header {
    struct span name;  /* as received */
    struct span value; /* trimmed; may be empty */
};

/* Names of fields, as a configuration gives them. */
struct field_names {
    struct span *items;
    size_t count;
};

/* Which names may be in a list, a bit for each (header_name_bit): most that are looked for are not there, and hardly
 * any is there twice. Names that were removed may still be in it, where others were removed by hand or share
 * their bit. */
struct header_names {
    uint64_t present;
    uint64_t repeated; /* more than one line may have it */
    uint32_t initials; /* a bit for each first letter (header_initial_bit) */
};

struct headers {
    struct arena *arena;
    struct header *items;
    size_t count;
    size_t capacity;
    struct header_names names;
};

/* In `names.present` beside them: some name has a `_`, which hardly any has. */
#define HEADERS_UNDERSCORE (UINT64_C(1) << 63)

/* Inline whatever the compiler thinks of its size: where the name is a literal next to nothing is left of it. */
#define HEADERS_FOLDED __attribute__((always_inline))

/* The bit of a name, whatever its case: folded by the compiler where the name is a literal. The factor was searched
 * for: names that larder looks for share no bit with others that browsers and servers send (test_headers.c). */
HEADERS_FOLDED static inline uint64_t header_name_bit(struct span name)
{
    if (name.len == 0) {
        return 1;
    }
    uint32_t first = (unsigned char)name.data[0] | 0x20U;
    uint32_t last = (unsigned char)name.data[name.len - 1] | 0x20U;
    uint32_t mixed = (first | last << 8 | (uint32_t)name.len << 16) * UINT32_C(0x6fba4221);

    return UINT64_C(1) << ((mixed >> 16) % 63U);
}

/* The bit of a first letter, whatever its case. */
static inline uint32_t header_initial_bit(char letter)
{
    return UINT32_C(1) << ((unsigned char)letter & 31U);
}

/* False: no line of that name is there. True: look. */
HEADERS_FOLDED static inline bool headers_may_have(const struct headers *headers, struct span name)
{
    return (headers->names.present & header_name_bit(name)) != 0 &&
           (name.len == 0 || (headers->names.initials & header_initial_bit(name.data[0])) != 0);
}

/* False: at most one line of that name is there. */
HEADERS_FOLDED static inline bool headers_may_repeat(const struct headers *headers, struct span name)
{
    return (headers->names.repeated & header_name_bit(name)) != 0;
}

void headers_init(struct headers *headers, struct arena *arena);

/* Makes room for at least one more line, or for `count` in all. False at the arena's limit. */
MUST_CHECK bool headers_grow(struct headers *headers);
MUST_CHECK bool headers_reserve(struct headers *headers, size_t count);

/* Appends; borrows name and value. False at the arena's limit. */
MUST_CHECK HEADERS_FOLDED static inline bool headers_add(struct headers *headers, struct span name, struct span value)
{
    if (headers->count == headers->capacity && !headers_grow(headers)) {
        return false;
    }
    uint64_t bit = header_name_bit(name);

    headers->items[headers->count++] = (struct header){.name = name, .value = value};
    headers->names.repeated |= headers->names.present & bit;
    headers->names.initials |= name.len == 0 ? 0 : header_initial_bit(name.data[0]);
    headers->names.present |= bit | (span_find(name, '_') != SIZE_MAX ? HEADERS_UNDERSCORE : 0);
    return true;
}

/* The first field line named `name` from the `start`th line on, or NULL. */
const struct header *headers_find_from(const struct headers *headers, size_t start, struct span name);

/* The first field line named `name`, or NULL. */
HEADERS_FOLDED static inline const struct header *headers_find(const struct headers *headers, struct span name)
{
    return headers_may_have(headers, name) ? headers_find_from(headers, 0, name) : NULL;
}

/* The next line of the same name behind `previous`, which came from headers_find or headers_find_next; or NULL.
 * headers_find_behind is the part of it that has to look. */
const struct header *headers_find_behind(const struct headers *headers, const struct header *previous);

static inline const struct header *headers_find_next(const struct headers *headers, const struct header *previous)
{
    return headers_may_repeat(headers, previous->name) ? headers_find_behind(headers, previous) : NULL;
}

HEADERS_FOLDED static inline bool headers_has(const struct headers *headers, struct span name)
{
    return headers_find(headers, name) != NULL;
}

/* The value of the first line, or the empty span. */
HEADERS_FOLDED static inline struct span headers_value(const struct headers *headers, struct span name)
{
    const struct header *header = headers_find(headers, name);

    return header == NULL ? (struct span){NULL, 0} : header->value;
}

/* How many lines of that name there are. headers_count_lines is the part of it that has to look. */
size_t headers_count_lines(const struct headers *headers, struct span name);

HEADERS_FOLDED static inline size_t headers_count_of(const struct headers *headers, struct span name)
{
    return headers_may_have(headers, name) ? headers_count_lines(headers, name) : 0;
}

/* Removes all lines of that name; how many there were. */
size_t headers_remove_all(struct headers *headers, struct span name);

HEADERS_FOLDED static inline size_t headers_remove(struct headers *headers, struct span name)
{
    return headers_may_have(headers, name) ? headers_remove_all(headers, name) : 0;
}

/* Removes all lines of that name, then appends one. False at the arena's limit. */
MUST_CHECK HEADERS_FOLDED static inline bool headers_set(struct headers *headers, struct span name, struct span value)
{
    (void)headers_remove(headers, name); /* how many there were does not matter */
    return headers_add(headers, name, value);
}

/* All lines of that name joined with ", " (RFC 9110 §5.3); borrowed as it is where there is only one. `*out_present`
 * tells absent from empty. False at the arena's limit. headers_combine_lines is the part of it that has to look. */
MUST_CHECK bool headers_combine_lines(const struct headers *headers, struct span name, struct arena *arena,
                                      struct span *out_value, bool *out_present);

MUST_CHECK HEADERS_FOLDED static inline bool headers_combine(const struct headers *headers, struct span name,
                                                             struct arena *arena, struct span *out_value,
                                                             bool *out_present)
{
    if (headers_may_have(headers, name)) {
        return headers_combine_lines(headers, name, arena, out_value, out_present);
    }
    *out_value = (struct span){NULL, 0};
    *out_present = false;
    return true;
}

/* The same, and removes the lines. headers_take_lines is the part of it that has to look. */
MUST_CHECK bool headers_take_lines(struct headers *headers, struct span name, struct arena *arena,
                                   struct span *out_value, bool *out_present);

MUST_CHECK HEADERS_FOLDED static inline bool
headers_take(struct headers *headers, struct span name, struct arena *arena, struct span *out_value, bool *out_present)
{
    if (headers_may_have(headers, name)) {
        return headers_take_lines(headers, name, arena, out_value, out_present);
    }
    *out_value = (struct span){NULL, 0};
    *out_present = false;
    return true;
}

/* Is `token` a member of the comma list that all lines of that name form? headers_lines_have is the part of it that has
 * to look. */
bool headers_lines_have(const struct headers *headers, struct span name, struct span token);

HEADERS_FOLDED static inline bool headers_list_has(const struct headers *headers, struct span name, struct span token)
{
    return headers_may_have(headers, name) && headers_lines_have(headers, name, token);
}

/* A copy whose spans borrow from `source`'s owners as before. False at the limit of `arena`. */
MUST_CHECK bool headers_copy(struct headers *out_headers, const struct headers *source, struct arena *arena);

/* A copy whose spans borrow from `arena` alone. `block` is where the texts of `source` lie, nearly all of them: it is
 * copied in one piece, to `*out_block`, and each other text. False at the limit of `arena`. */
MUST_CHECK bool headers_copy_texts(struct headers *out_headers, const struct headers *source, struct span block,
                                   struct arena *arena, struct span *out_block);

/* The same where `copy` has the bytes of `block` already, in `arena` or for as long as that. */
MUST_CHECK bool headers_copy_to(struct headers *out_headers, const struct headers *source, struct span block,
                                struct span copy, struct arena *arena);

#endif
