/* origin.h: the addresses of one origin, and this worker's connections to it.
 *
 * Names are resolved on first use and again when resolve_ttl is over (the old addresses serve until the new ones are
 * there, and when a look-up fails); IPv4 and IPv6 addresses are tried in turn, the next one when connecting fails or
 * takes its share of the time. Idle connections are kept and reused, youngest first, and read meanwhile: one that ends
 * or speaks unasked is closed. Threads: the worker's. */
#ifndef PROXY_ORIGIN_H
#define PROXY_ORIGIN_H

#include "http/line_memo.h"
#include "proxy/config/config.h"
#include "proxy/io/conn.h"
#include "proxy/origin/resolver.h"

struct origin;
struct origin_conn;

/* One origin URL of a site, for one worker; `adaptive`: as many requests at a time as it answers well
 * (adaptive_limit.h), max_origin_connections at most. NULL: no memory. */
struct origin *origin_create(struct worker *worker, const struct origin_url *url, bool adaptive);
void origin_close_idle(struct origin *origin); /* closes its idle connections, and keeps none from now on (shutdown) */
void origin_stop(struct origin *origin);       /* closes all it holds in the loop; no request or loan may be left */
void origin_destroy(struct origin *origin);    /* after the loop ended; accepts NULL */

/* What the lines of its last response's head said; whoever reads the next one may change it. */
struct line_memo *origin_lines(struct origin *origin);

enum origin_request_state {
    ORIGIN_REQUEST_NONE,       /* not asked for, or done */
    ORIGIN_REQUEST_WAITING,    /* in line, until fewer are in use than may be */
    ORIGIN_REQUEST_DUE,        /* for the loop to have handled all that it polled: then it gets an idle connection */
    ORIGIN_REQUEST_RESOLVING,  /* for the origin's name */
    ORIGIN_REQUEST_CONNECTING, /* for an address to answer */
    ORIGIN_REQUEST_READY,      /* for the loop, to run `done` */
};

/* Asks for a connection. Embed it, zeroed, and keep it until `done` ran or it was canceled; then it may be used again.
 */
struct origin_request {
    struct origin *origin;
    bool fresh;  /* no reused connection */
    bool yields; /* nobody waits for it: it does not stand in line, and leaves some connections to those who would */
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

/* A connection on loan from origin_acquire. The borrower sets conn.events and conn.owner while it has
 * it, before the loop turns; it has no timer set when it comes, and may be being read already. */
struct origin_conn {
    struct conn conn;
    struct origin *origin;
    bool reused;              /* it was kept: its other side may have given it up unseen */
    struct origin_conn *next; /* origin.c's: the idle list, youngest first */
    struct origin_conn *previous;
    struct origin_request *for_request; /* origin.c's: whose it will be, while connecting */
};

/* Gives an idle connection or a new one; waits in line when as many are in use as may be. Errors: ERR_RESOLVE,
 * ERR_RESOLVE_TIMEOUT, ERR_CONNECT, ERR_CONNECT_TIMEOUT (origin_connect_timeout over all addresses), ERR_SATURATED (the
 * line is full, or waited for origin_queue_timeout, or yielded), ERR_LIMIT (descriptors ran out), ERR_NO_MEMORY. Never
 * calls done before it has returned. */
void origin_acquire(struct origin *origin, struct origin_request *request);

/* As an origin_acquire that fails with `error`: for who finds out at once that there is nothing to ask. */
void origin_refuse(struct origin *origin, struct origin_request *request, enum err error);

void origin_cancel(struct origin_request *request); /* done will not run; accepts a request not asked for or done */

/* Would a request wait in line now? */
bool origin_is_full(const struct origin *origin);

/* For the adaptive limit: it answered after so long, or not in time. */
void origin_note_answer(struct origin *origin, uint64_t took_ms);
void origin_note_timeout(struct origin *origin);

/* The exchange ended cleanly and both sides want to keep the connection, or it was not used at all. */
void origin_release(struct origin_conn *conn);

/* The connection is of no more use. */
void origin_discard(struct origin_conn *conn);

#endif
