/* origin.h: the addresses of one origin, and this worker's connections to it.
 *
 * Names are resolved on first use and again when resolve_ttl is over (the old addresses serve until the new ones are
 * there, and when a look-up fails); IPv4 and IPv6 addresses are tried in turn, the next one when connecting fails or
 * takes its share of the time. Idle connections are kept and reused, youngest first, and read meanwhile: one that ends
 * or speaks unasked is closed. Threads: the worker's. */
#ifndef PROXY_ORIGIN_H
#define PROXY_ORIGIN_H

#include "proxy/config.h"
#include "proxy/conn.h"
#include "proxy/resolver.h"

struct origin;
struct origin_conn;

/* One origin URL of a site, for one worker. NULL: no memory. */
struct origin *origin_create(struct worker *worker, const struct origin_url *url);
void origin_close_idle(struct origin *origin); /* closes its idle connections, and keeps none from now on (shutdown) */
void origin_stop(struct origin *origin);       /* closes all it holds in the loop; no request or loan may be left */
void origin_destroy(struct origin *origin);    /* after the loop ended; accepts NULL */

enum origin_request_state {
    ORIGIN_REQUEST_NONE,       /* not asked for, or done */
    ORIGIN_REQUEST_WAITING,    /* until fewer than max_origin_connections are in use */
    ORIGIN_REQUEST_RESOLVING,  /* for the origin's name */
    ORIGIN_REQUEST_CONNECTING, /* for an address to answer */
    ORIGIN_REQUEST_READY,      /* for the loop, to run `done` */
};

/* Asks for a connection. Embed it, zeroed, and keep it until `done` ran or it was canceled; then it may be used again.
 */
struct origin_request {
    struct origin *origin;
    bool fresh; /* no reused connection */
    /* Exactly once, later. `conn` is NULL on an error. The request's memory may go in it. */
    void (*done)(struct origin_request *request, struct origin_conn *conn, enum err error);
    /* the rest is origin.c's */
    struct origin_request *next;
    struct origin_request *previous;
    enum origin_request_state state;
    struct origin_conn *conn; /* CONNECTING: under way; READY: the result */
    enum err error;           /* READY: the result; CONNECTING: of the address tried last */
    uint64_t deadline_ms;     /* loop time */
    struct resolver_tries tries;
};

/* A connection on loan from origin_acquire. The borrower sets conn.events and conn.owner while it has it; it is not
 * being read and has no timer set when it comes. */
struct origin_conn {
    struct conn conn;
    struct origin *origin;
    bool reused;              /* it carried an exchange before */
    struct origin_conn *next; /* origin.c's: the idle list, youngest first */
    struct origin_conn *previous;
    struct origin_request *for_request; /* origin.c's: whose it will be, while connecting */
};

/* Gives an idle connection or a new one; waits when the origin has max_origin_connections in use. Errors: ERR_RESOLVE,
 * ERR_CONNECT, ERR_TIMEOUT (origin_connect_timeout over all addresses), ERR_LIMIT (too many wait already, or waited for
 * origin_connect_timeout, or descriptors ran out), ERR_NO_MEMORY. Never calls done before it has returned. */
void origin_acquire(struct origin *origin, struct origin_request *request);
void origin_cancel(struct origin_request *request); /* done will not run; accepts a request not asked for or done */

/* The exchange ended cleanly and both sides want to keep the connection. */
void origin_release(struct origin_conn *conn);

/* The connection is of no more use. */
void origin_discard(struct origin_conn *conn);

#endif
