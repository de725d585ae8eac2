/* tags.h: the names under which an origin lets many responses be purged at once: Surrogate-Key, Cache-Tag, xkey.
 *
 * No standard defines them; this is how those who introduced them read them: Surrogate-Key separates names by white
 * space, Cache-Tag by commas (white space around a name does not count, inside it does), xkey by either. Names are
 * compared byte for byte; the same name in two of the fields is the same tag. Everything borrows from the fields;
 * nothing is allocated. Threads: any. */
#ifndef HTTP_TAGS_H
#define HTTP_TAGS_H

#include "http/headers.h"

enum {
    TAGS_MAX = 1024,      /* of one response */
    TAG_MAX_BYTES = 1024, /* of one name */
};

/* Where a walk over the tags of a response stands. A copy is a second one. */
struct tags {
    const struct headers *headers;
    size_t index;           /* of the next field line */
    const char *separators; /* of the line that is being read */
    struct span rest;
};

struct tags tags_of(const struct headers *headers);

/* The next tag, never empty; the same one may come twice. False at the end. */
bool tags_next(struct tags *tags, struct span *out_name);

/* Are they at most TAGS_MAX, none longer than TAG_MAX_BYTES? A response beyond that must not be stored: a purge by a
 * tag that was not kept would miss it. */
bool tags_within_limits(const struct headers *headers);

bool tags_is_field(struct span field_name); /* one of the three */

/* Takes the three fields out; they are for caches. How many lines there were. */
size_t tags_remove(struct headers *headers);

#endif
