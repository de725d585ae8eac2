/* resolver.h: the addresses of one origin's name, in the order in which to try them.
 *
 * A numeric host is its own only address. A name is looked up on first use and again when its time is up; the old
 * addresses serve until the new ones are there, and when a look-up fails. An address that failed is tried last from
 * then on. Threads: the loop's. */
#ifndef PROXY_RESOLVER_H
#define PROXY_RESOLVER_H

#include <uv.h>

#include "http/check.h"
#include "http/error.h"
#include "proxy/config/config.h"
#include "proxy/io/lookup.h"

struct worker;

enum { RESOLVER_MAX_ADDRESSES = 16 };

struct resolver {
    struct worker *worker;
    const struct origin_url *url;
    void (*answered)(struct resolver *resolver, enum err error); /* a look-up ended; from the loop only */
    struct sockaddr_storage addresses[RESOLVER_MAX_ADDRESSES];   /* each keeps its place until the next look-up */
    unsigned order[RESOLVER_MAX_ADDRESSES];                      /* places, the one to try first in front */
    unsigned count;
    unsigned generation; /* which look-up the addresses are from */
    uint64_t due_ms;     /* loop time of the next look-up */
    bool numeric;
    bool stopped;
    bool failing;          /* the last look-up failed, and that was logged */
    struct lookup *lookup; /* running; NULL: none */
};

/* Which addresses a request has tried; zero it. */
struct resolver_tries {
    unsigned generation;
    uint32_t tried; /* a bit a place */
    unsigned last;
    unsigned count;
};

void resolver_init(struct resolver *resolver, struct worker *worker, const struct origin_url *url,
                   void (*answered)(struct resolver *resolver, enum err error));

/* Starts a look-up if there are no addresses or their time is up, and none is running. ERR_RESOLVE: there are no
 * addresses and it could not start. */
MUST_CHECK enum err resolver_refresh(struct resolver *resolver);

/* The next address to try, or NULL: all were (or the limit of tries is reached). Valid until the loop goes on. */
const struct sockaddr *resolver_pick(const struct resolver *resolver, struct resolver_tries *tries);

/* How many addresses are left to pick. */
unsigned resolver_untried(const struct resolver *resolver, const struct resolver_tries *tries);

/* The address picked last failed. */
void resolver_demote(struct resolver *resolver, const struct resolver_tries *tries);

/* No address answers: the name may have moved. Looked up again soon, before its time is up. */
void resolver_doubt(struct resolver *resolver);

/* Abandons what runs, and starts nothing more: `answered` does not run any more. Nobody waits for a look-up. */
void resolver_stop(struct resolver *resolver);

#endif
