/* demo_site.h: what the demo origin has to offer, and its answers: a function of request and time.
 *
 * Threads: any. Errors: none; what does not exist is a 404. */
#ifndef PROXY_DEMO_SITE_H
#define PROXY_DEMO_SITE_H

#include "http/buf.h"
#include "http/message.h"

enum demo_after { DEMO_KEEP_ALIVE, DEMO_CLOSE };

/* Writes the whole response to `out` (see out->failed), with `Connection: close` where that comes `after`. `arena` is
 * for what is needed on the way. */
void demo_site_answer(const struct http_request *request, int64_t now_s, enum demo_after after, struct arena *arena,
                      struct buf *out);

/* The answer to bytes that are no request. */
void demo_site_refuse(unsigned status, struct buf *out);

#endif
