/* repeat.h: may a request be sent once more whose connection ended before a byte of the answer?
 *
 * Only where it is the connection that was dead, not the origin that failed: one that was kept idle, and whose end was
 * on its way when the request was. An end that comes later than that is the origin's answer to it. Where an origin
 * takes the request and fails at once the two look alike, so such a request must also be one that may reach it twice.
 *
 * Functions of their arguments. Threads: any. */
#ifndef PROXY_REPEAT_H
#define PROXY_REPEAT_H

#include "http/framing.h"

#include <stdbool.h>
#include <stdint.h>

/* How long the end of an idle connection can be on its way: a round trip to anywhere, and one packet lost of it. */
enum { REPEAT_CROSSING_MS = 1000 };

/* What is known when the connection has ended. */
struct repeat_end {
    bool kept;         /* the connection had been idle before; else it was made for this request */
    bool responded;    /* a byte of the answer came */
    uint64_t after_ms; /* when it did, since the request was begun to be sent; when that was noticed, if nobody knows */
};

/* May the origin get it twice? Idempotent, and without a body (RFC 9110 §9.2.2, RFC 9112 §9.3.1). */
bool repeat_is_harmless(const struct http_request *request);

/* May it be sent once more after this end? */
bool repeat_is_permitted(const struct http_request *request, const struct repeat_end *end);

#endif
