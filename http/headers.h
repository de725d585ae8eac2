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

struct headers {
    struct arena *arena;
    struct header *items;
    size_t count;
    size_t capacity;
};

void headers_init(struct headers *headers, struct arena *arena);

/* Appends; borrows name and value. False at the arena's limit. */
MUST_CHECK bool headers_add(struct headers *headers, struct span name, struct span value);

/* The first field line named `name`, or NULL. */
const struct header *headers_find(const struct headers *headers, struct span name);

/* The next line of the same name behind `previous`, which came from headers_find or headers_find_next; or NULL. */
const struct header *headers_find_next(const struct headers *headers, const struct header *previous);

bool headers_has(const struct headers *headers, struct span name);

/* The value of the first line, or the empty span. */
struct span headers_value(const struct headers *headers, struct span name);

size_t headers_count_of(const struct headers *headers, struct span name);

/* Removes all lines of that name; how many there were. */
size_t headers_remove(struct headers *headers, struct span name);

/* Removes all lines of that name, then appends one. False at the arena's limit. */
MUST_CHECK bool headers_set(struct headers *headers, struct span name, struct span value);

/* All lines of that name joined with ", " (RFC 9110 §5.3); borrowed as it is where there is only one. `*out_present`
 * tells absent from empty. False at the arena's limit. */
MUST_CHECK bool headers_combine(const struct headers *headers, struct span name, struct arena *arena,
                                struct span *out_value, bool *out_present);

/* Is `token` a member of the comma list that all lines of that name form? */
bool headers_list_has(const struct headers *headers, struct span name, struct span token);

/* A copy whose spans borrow from `source`'s owners as before. False at the limit of `arena`. */
MUST_CHECK bool headers_copy(struct headers *out_headers, const struct headers *source, struct arena *arena);

#endif
