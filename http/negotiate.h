/* negotiate.h: what a client's Accept-Encoding and Accept-Language come down to, when an origin has only a few variants
 * (RFC 9110 §12.5).
 *
 * Every client writes these fields its own way; reduced to the value that matters, they select few variants instead of
 * hundreds. Sound where the origin chooses by the same few values: hence by rule. Threads: any. Errors: none; what is
 * malformed counts as not said. */
#ifndef HTTP_NEGOTIATE_H
#define HTTP_NEGOTIATE_H

#include "http/headers.h"

/* One of three: "br", "gzip", or "" for what is not coded. Clients that send nothing get "": an absent field would let
 * the origin choose. */
struct span negotiate_encoding(const struct headers *request_headers);

/* The one of `languages` that the client weighs highest, the earlier of equals; the first where it likes none of them.
 * A range matches a tag that is equal to it or begins with it (`de` the tag `de-AT`, RFC 4647 §3.3.1), and a tag that
 * it begins with (`de-AT` the tag `de`, §3.4). `count` is 1 at least. */
struct span negotiate_language(const struct headers *request_headers, const struct span *languages, size_t count);

#endif
