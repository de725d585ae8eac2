/* multipart.h: the body of a 206 with several ranges: multipart/byteranges (RFC 9110 §14.6, §15.3.7.2).
 *
 * Such a body is, for each range, a head and its bytes, then the end. The response carries no Content-Range of its own.
 * Ownership: borrows everything; texts are made in the arena. Threads: any. */
#ifndef HTTP_MULTIPART_H
#define HTTP_MULTIPART_H

#include "http/range.h"

enum { BOUNDARY_MAX_BYTES = 70 }; /* RFC 2046 §5.1.1 */

struct multipart {
    struct span boundary; /* a token of 1 … BOUNDARY_MAX_BYTES that no part contains: the caller's random choice */
    struct span content_type;    /* of the representation; empty if it has none */
    const struct ranges *ranges; /* within the complete length */
    uint64_t complete_length;
};

/* The Content-Type of the response. False at the arena's limit. */
MUST_CHECK bool multipart_type(const struct multipart *multipart, struct arena *arena, struct span *out_type);

/* What goes out in front of the bytes of range number `index`. False at the arena's limit. */
MUST_CHECK bool multipart_part_head(const struct multipart *multipart, size_t index, struct arena *arena,
                                    struct span *out_head);

/* What goes out behind the bytes of the last range. False at the arena's limit. */
MUST_CHECK bool multipart_end(const struct multipart *multipart, struct arena *arena, struct span *out_end);

/* The Content-Length of the response: heads, bytes and end. False beyond 64 bits. */
MUST_CHECK bool multipart_length(const struct multipart *multipart, uint64_t *out_bytes);

#endif
