/* predecessor.h: the larder whose place this process is to take, and which started it for that (successor.h).
 *
 * Happy path: known by the environment; asked for its store when everything else is ready, waiting for it, and given
 *             the modes that were ordered (site_mode.h) before it; told that we serve. Then its idle connections come,
 *             and what is invalidated by the requests it still has; what it still sends stays pinned until it ends.
 * Failures:   - none without a predecessor. It ends, or gives nothing in time: before we serve, we cannot start.
 *             - once we serve it hangs: PREDECESSOR_GRACE_MS after it should have finished it is killed, which ends
 *               what its clients wait for.
 *
 * Threads: the main thread. */
#ifndef PROXY_PREDECESSOR_H
#define PROXY_PREDECESSOR_H

#include <uv.h>

#include "cache/cache.h"
#include "http/buf.h"
#include "proxy/config/site_mode.h"

enum { PREDECESSOR_GRACE_MS = 5000 }; /* beyond its shutdown_timeout, to close the store and end */

struct predecessor;

struct predecessor_events {
    void (*connection)(void *arg, int fd, bool is_unix, struct span input); /* owns `fd` */
    void (*hangs)(void *arg);                                               /* it is killed next */
    void *arg;
};

/* One was told by the environment, which is cleared of it. False with one line in `out_error`: there is one, and it is
 * not understood. `*out_predecessor` NULL: there is none. */
MUST_CHECK bool predecessor_find(struct predecessor **out_predecessor, struct buf *out_error);

unsigned predecessor_workers(const struct predecessor *predecessor);
const char *predecessor_socket_kinds(const struct predecessor *predecessor); /* for sockets_inherit */

/* Waits until the store is ours, and with it the modes that were ordered. */
MUST_CHECK bool predecessor_take_store(struct predecessor *predecessor, struct site_modes *modes,
                                       struct buf *out_error);

/* Pins what it is sending, in the store that was opened, until it ends. Before anything is written there. */
MUST_CHECK enum err predecessor_pin(struct predecessor *predecessor, struct cache *cache);

/* We serve: tells it, and listens to it from now on; `events` stay the caller's. */
void predecessor_take_over(struct predecessor *predecessor, uv_loop_t *loop, const struct predecessor_events *events);

/* Listens no more. A second call changes nothing; accepts NULL. */
void predecessor_close(struct predecessor *predecessor);

void predecessor_destroy(struct predecessor *predecessor); /* after the loop, and before the cache; accepts NULL */

#endif
