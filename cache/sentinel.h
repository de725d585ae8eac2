/* sentinel.h: signs that a response is not what its URL stands for to everyone, and must not be stored.
 *
 * - A path that ends like a static file, and a type that says it is a page or data: an application that serves
 *   /account for /account/x.css too (web cache deception).
 * - A field of the response that repeats the value of a request field which does not select it: the next client would
 *   get what this one sent (cache poisoning). Bodies are not searched.
 *
 * Pure functions. Threads: any. */
#ifndef CACHE_SENTINEL_H
#define CACHE_SENTINEL_H

#include "http/message.h"

/* Does the end of `path`, that of the normalised target, say that it is a static file, and Content-Type that it is HTML
 * or JSON? False without a Content-Type. */
bool sentinel_contradicts(struct span path, const struct headers *response_headers);

/* Does a response field hold the value of a request field that its Vary does not name? Values of 6 to 512 bytes count,
 * and not those of fields that responses repeat for good reasons (sentinel.c has the list). */
bool sentinel_echoes(const struct headers *request_headers, const struct headers *response_headers);

#endif
