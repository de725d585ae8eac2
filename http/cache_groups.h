/* cache_groups.h: groups of responses that are invalidated together (RFC 9875).
 *
 * Both fields are lists of strings, compared byte for byte, within one origin. Parameters are ignored. Threads: any. */
#ifndef HTTP_CACHE_GROUPS_H
#define HTTP_CACHE_GROUPS_H

#include "http/message.h"

enum {
    CACHE_GROUPS_MAX = 64,       /* groups read from one field; RFC 9875 §2 and §3 ask for 32 at least */
    CACHE_GROUP_MAX_BYTES = 128, /* of one group's name; 32 at least */
};

/* Names not read yet. A copy is a second reader. */
struct cache_groups {
    const struct span *next; /* the names themselves borrow from the field or the arena */
    size_t count;            /* how many are left */
    size_t dropped_count;    /* members beyond the limits: these groups are not known to the response */
};

/* The groups that a response belongs to, from Cache-Groups. None if the field is absent or malformed: anything but a
 * list of strings is ignored as a whole (RFC 9651 §2.2). False only at the arena's limit. */
MUST_CHECK bool cache_groups_of_response(const struct headers *response_headers, struct arena *arena,
                                         struct cache_groups *out_groups);

/* The groups that a response invalidates, from Cache-Group-Invalidation. None if the method of the request is safe (RFC
 * 9875 §3); whether the response's status lets it invalidate anything is the caller's to decide. False only at the
 * arena's limit. */
MUST_CHECK bool cache_groups_invalidated(enum method method, const struct headers *response_headers,
                                         struct arena *arena, struct cache_groups *out_groups);

/* The next name, which may be empty and holds printable ASCII only; false at the end. */
bool cache_groups_next(struct cache_groups *groups, struct span *out_name);

#endif
