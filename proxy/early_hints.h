/* early_hints.h: a 103 (RFC 8297) from what is stored, for a client that has to wait for the origin.
 *
 * What the page needed when it was stored it will most likely need again, so the client may begin to fetch that. Only
 * hints: whatever the answer turns out to be, nothing of them is in it. Threads: any. */
#ifndef PROXY_EARLY_HINTS_H
#define PROXY_EARLY_HINTS_H

#include "cache/record.h"
#include "http/message.h"

/* Does this client know what to do with a 103: a browser that goes to a page? Others ignore it at best, and some take
 * it for the answer (RFC 8297 §3). */
bool early_hints_wanted(const struct http_request *request);

/* The Link values of a stored 200 that are hints, one a field. False: there are none, or no memory. `out_headers`
 * borrows from `stored_headers`. */
MUST_CHECK bool early_hints_of(const struct record *record, const struct headers *stored_headers, struct arena *arena,
                               struct headers *out_headers);

#endif
