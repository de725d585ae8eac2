/* why_internal.h: the steps of `larder why`, in the order in which exchange.c takes them; shared by why*.c and by the
 * tests of a configuration (config_test.c), which ask the same of a store that is only supposed.
 *
 * Each goes on with what the one before left in `struct why`. Threads: one. Errors: as why_ask's. */
#ifndef PROXY_WHY_INTERNAL_H
#define PROXY_WHY_INTERNAL_H

#include "proxy/why/why.h"

/* Can the options be written as a request, and a response? False with a line in `error`. */
MUST_CHECK bool why_check_request(const struct why_options *options, struct arena *arena, struct buf *error);
MUST_CHECK bool why_check_response(const struct why_options *options, struct buf *error);

/* The request; what is wrong with it as HTTP is `why->error`. False: it makes no request at all. */
MUST_CHECK bool why_read_request(struct why *why, const struct why_options *options, struct buf *error);

/* Its site, what the site's rules make of it, and whether the cache is asked about it. False: no memory. */
MUST_CHECK bool why_route(struct why *why);

/* why_route, then what is stored for it. `store` NULL: the configuration's is opened for it. */
MUST_CHECK bool why_look_up(struct why *why, const struct why_store *store, struct buf *error);

/* The verdict and the answer, of what is in `why->selected`, if anything is. False: no memory. */
MUST_CHECK bool why_judge(struct why *why);

/* What the response that `options` describe would be worth, were it the origin's answer. Nothing where larder answers
 * by itself without the cache. */
MUST_CHECK bool why_suppose(struct why *why, const struct why_options *options, struct buf *error);

/* What the store would hold of it then; `why->supposed` must say that it is stored. False: no memory. */
MUST_CHECK bool why_stored_of_supposed(const struct why *why, struct stored *out_stored);

/* A stored response under the rules that match it. False: no memory, or a head that cannot be read. */
MUST_CHECK bool why_make_variant(const struct why *why, const struct stored *stored, struct why_variant *out);

/* A URI as it is keyed. False: no memory. */
MUST_CHECK bool why_url_of(const struct why *why, const struct uri *uri, struct span *out_url);

bool why_no_memory(struct buf *error); /* writes the line; false, always */

/* why.c: what the request's Range makes of a 200 with these fields and so long a body (RFC 9110 §14.2): 200, 206, 416.
 */
unsigned why_status_of_range(const struct why *why, const struct headers *headers, uint64_t body_len);

#endif
