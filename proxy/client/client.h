/* client.h: one HTTP/1 connection from a client: the keep-alive loop around exchanges.
 *
 * Reads heads, starts an exchange for each, one at a time, and implements what an exchange sees of it (stream.h).
 * Threads: the worker's. */
#ifndef PROXY_CLIENT_H
#define PROXY_CLIENT_H

#include "proxy/client/admission.h"
#include "proxy/server/worker.h"

/* A connection is waiting on `listener`: accepts it and owns it from now on. Beyond the limits of connections (in all,
 * and of one client) it is answered 503 and closed. The error of a failed accept (ERR_LIMIT: descriptors ran out;
 * ERR_NO_MEMORY): pause accepting. */
enum err client_accept(struct worker *worker, uv_stream_t *listener);

/* A connection that was accepted when the worker had begun to stop: its request is answered if it comes soon. Owns
 * `fd`.
 */
void client_accept_late(struct worker *worker, int fd, bool is_unix);

/* An idle connection on its way from a worker that retires to another. Its memory is its receiver's, and it stays
 * counted as a connection. */
struct handover {
    struct message message; /* first to the main thread, then to a worker */
    struct worker *worker;  /* from which it comes, then that which gets it */
    int fd;
    bool is_unix;
    struct admission admission; /* as what it is counted; zeroed: by nobody, it comes from another process */
    struct buf in;              /* received and not consumed */
};

/* A connection that another worker handed over. */
void client_take_over(struct worker *worker, struct handover *handover);

/* Nobody takes it: closes it. */
void handover_drop(struct handover *handover, struct client_limits *limits);

/* The worker retires: idle connections are handed over now, others after their exchange. */
void clients_retire(struct worker *worker);

/* The worker stops: idle connections close now, others after their exchange. */
void clients_stop(struct worker *worker);

/* shutdown_timeout is over: everything closes now. */
void clients_abort(struct worker *worker);

#endif
