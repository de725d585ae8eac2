/* early_hints.h: a 103 (RFC 8297) from what is stored, for a client that has to wait for the origin.
 *
 * What the page needed when it was stored it will most likely need again, so the client may begin to fetch that. Only
 * hints: whatever the answer turns out to be, nothing of them is in it. Threads: any. */
#ifndef PROXY_EARLY_HINTS_H
#define PROXY_EARLY_HINTS_H

#include "cache/policy.h"
#include "http/message.h"

/* The Link values of a stored 200 that are hints, one a field, where a rule wants them sent and this client knows what
 * to do with a 103: a browser that goes to a page. Others ignore it at best, and some take it for the answer (RFC 8297
 * §3). False: there are none for it, or no memory. `out_headers` borrows from `stored_headers`. */
MUST_CHECK bool early_hints_for(const struct http_request *request, const struct policy *policy,
                                const struct record *record, const struct headers *stored_headers, struct arena *arena,
                                struct headers *out_headers);

#endif
