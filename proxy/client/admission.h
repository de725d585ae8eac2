/* admission.h: may a connection come in? The limits of connections, in all and of one client, over all workers.
 *
 * Threads: the worker's. */
#ifndef PROXY_ADMISSION_H
#define PROXY_ADMISSION_H

#include "cache/reason.h"
#include "http/buf.h"
#include "proxy/client/client_id.h"

struct client_limits;
struct worker;

/* What is counted for one connection; zeroed: nothing. */
struct admission {
    bool entered;
    bool has_id; /* counted among its client's too */
    struct client_id id;
};

/* `host` is the client's address. REASON_NONE: counted, until admission_leave. Else why not; it was noted. */
MUST_CHECK enum reason admission_enter(struct admission *admission, struct worker *worker, const char *host);

void admission_leave(struct admission *admission, struct client_limits *limits); /* a second call changes nothing */

/* The answer to a connection that may not: a whole response. */
void admission_write_refusal(struct buf *out, const struct worker *worker, enum reason reason);

#endif
