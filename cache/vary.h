/* vary.h: which of the stored variants a request selects (RFC 9111 §4.1).
 *
 * A selection is, for each field that Vary names, its value in the request that brought the response: absent, or
 * present with its lines joined and brought into one form as far as the field's syntax allows (vary.c has the list).
 * Encoded for the index as a run of bytes. Threads: any. */
#ifndef CACHE_VARY_H
#define CACHE_VARY_H

#include "http/buf.h"
#include "http/error.h"
#include "http/headers.h"

enum {
    VARY_MAX_FIELDS = 16,  /* beyond: not stored, REASON_VARY_TOO_MUCH */
    VARY_MAX_BYTES = 1024, /* of an encoded selection */
};

enum vary_kind {
    VARY_NONE, /* no Vary, or an empty one: matches every request */
    VARY_SOME,
    VARY_STAR,  /* `*` anywhere in any line, or a member that is no field name: never matches */
    VARY_LIMIT, /* too many fields or bytes, or the arena's limit */
    VARY_TWIN,  /* the request has a field that an application may take for one that Vary names (X_Foo for X-Foo) */
};

/* What Vary alone says, before there is a request to look at. VARY_LIMIT here means too many names; bytes are counted
 * by vary_select. */
enum vary_kind vary_kind_of(const struct headers *response);

/* Encodes the selection of `request` for a response with these headers into `out` (appends; nothing unless VARY_SOME).
 * Names are put in lower case, sorted, each once. `also` (NULL: none) counts as if Vary named it, too: fields that the
 * origin gets from a trusted proxy, whose influence its responses need not tell. */
enum vary_kind vary_select(const struct headers *response, const struct field_names *also,
                           const struct headers *request, struct arena *arena, struct buf *out);

/* Does `request` select the variant with this encoded selection? The empty selection matches always. False on damage,
 * and for a request of VARY_TWIN: nobody knows by which of the two fields the origin would choose. */
bool vary_matches(struct span selection, const struct headers *request, struct arena *arena);

/* Do both name the same fields? Then one request selects one of the two at most, unless they are equal. */
bool vary_same_fields(struct span a, struct span b);

/* Is `selection` well-formed, as read from the disk? */
bool vary_valid(struct span selection);

/* Takes the next field of a selection off `*rest`, to show it; false at the end, or at damage (then bytes are left in
 * `*rest`). `*out_present` false: absent in the request. Name and value borrow from the selection. */
bool vary_next(struct span *rest, struct span *out_name, struct span *out_value, bool *out_present);

/* Adds the selection as a JSON object of names and values; null: absent in the request. */
void vary_add_json(struct buf *out, struct span selection);

#endif
