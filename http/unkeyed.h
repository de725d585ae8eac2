/* unkeyed.h: request fields that no cache key holds and that origins are known to obey or to repeat in their answers:
 * with one of them a client could get an answer stored that other clients must not get (cache poisoning).
 *
 * The fields of forwarding proxies (X-Forwarded-*, Forwarded) are forwarded.h's: larder writes them itself. Pure
 * functions. Threads: any. */
#ifndef HTTP_UNKEYED_H
#define HTTP_UNKEYED_H

#include "http/arena.h"
#include "http/check.h"
#include "http/message.h"

/* Is it one of them, or another that an application takes for one it is not: `_` for `-` in the name of a field by
 * which responses are selected or which larder writes? Fields that only put another method in the place of this one
 * count in GET and HEAD: elsewhere they are an application's own business, and nothing is answered from a cache. */
MUST_CHECK bool unkeyed_is_one(struct span name, enum method method);

/* Are these two names that an application takes for one, because it sees fields as environment variables (RFC 3875
 * §4.1.18): the same but for `_` and `-`? */
MUST_CHECK bool unkeyed_is_twin(struct span name, struct span other);

/* The name that an application takes `name` for: with `-` for each `_`. False at the arena's limit. */
MUST_CHECK bool unkeyed_with_hyphens(struct span name, struct arena *arena, struct span *out_name);

/* Does the request have one (that was let through)? */
MUST_CHECK bool unkeyed_has(const struct http_request *request);

/* Removes them, except those that `passed` names. */
void unkeyed_remove(struct http_request *request, const struct span *passed, size_t passed_count);

/* Is the request so large or so odd in its fields that an origin may refuse it where it would serve others? Such an
 * error says nothing about the resource. Thresholds are below what the usual servers take: 4 KiB of fields, 64 fields,
 * a value with bytes beyond ASCII or a tab. */
MUST_CHECK bool unkeyed_is_odd(const struct headers *request_headers);

#endif
