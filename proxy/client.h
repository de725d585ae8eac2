/* client.h: one HTTP/1 connection from a client: the keep-alive loop around exchanges.
 *
 * Reads heads, starts an exchange for each, one at a time, and implements what an exchange sees of it (stream.h).
 * Threads: the worker's. */
#ifndef PROXY_CLIENT_H
#define PROXY_CLIENT_H

#include "proxy/worker.h"

/* A connection is waiting on `listener`: accepts it and owns it from now on. Beyond max_connections it is answered 503
 * and closed. The error of a failed accept (ERR_LIMIT: descriptors ran out: pause accepting). */
enum err client_accept(struct worker *worker, uv_stream_t *listener);

/* The worker stops: idle connections close now, others after their exchange. */
void clients_stop(struct worker *worker);

/* shutdown_timeout is over: everything closes now. */
void clients_abort(struct worker *worker);

#endif
