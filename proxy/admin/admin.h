/* admin.h: the administration's listener: JSON over HTTP for people, scripts and larder's own commands (openapi.json
 * describes it), and the metrics.
 *
 * It runs on the main thread's loop and speaks through the same conn and parser as clients do; workers never wait for
 * it. Who may open the unix socket's file may do everything; over TCP a token is asked for where one is configured
 * (config_admin.c demands one for what other machines reach). Without a token only requests for a local Host are
 * answered, none that a page of another origin sends, and bodies must be JSON. GET / is the dashboard (admin_page.h).
 *
 * Threads: the loop's. Errors: what cannot be opened is one line; connections beyond a limit wait in the kernel. */
#ifndef PROXY_ADMIN_H
#define PROXY_ADMIN_H

#include <stdatomic.h>

#include "proxy/io/mailbox.h"
#include "proxy/observe/facts.h"
#include "proxy/observe/follow.h"
#include "proxy/observe/metrics.h"
#include "proxy/observe/traffic.h"

struct admin;
struct legacy;
struct sockets;

/* What it tells about and works on; outlives it. */
struct admin_scope {
    uv_loop_t *loop;
    struct mailbox *mailbox; /* of that loop */
    struct cache *cache;
    struct metrics *metrics;
    struct traffic *traffic;
    struct follow *follow;
    struct facts *facts;
    atomic_uint *connection_count;
    unsigned workers;
    struct sockets *inherited; /* that listeners may take theirs from; for admin_open */
    const struct config *config;
    struct origin_set *const *origin_sets; /* one a site */
};

/* Opens what [admin] of the configuration says. `*out_admin` is to be closed and destroyed, NULL on failure. A socket
 * that nobody asked for and that cannot be opened is left out, with a line in the log. */
MUST_CHECK enum err admin_open(const struct admin_scope *scope, struct admin **out_admin, struct buf *out_error);

/* Another configuration is in force. The listeners stay as they are. */
void admin_use(struct admin *admin, const struct config *config, struct origin_set *const *origin_sets);

/* Adds the listeners' sockets. False: no memory. */
MUST_CHECK bool admin_bequeath(const struct admin *admin, struct legacy *legacy);

/* Whether orders (modes, purges) are refused: a process that takes our place has the modes and the store. */
void admin_hold_orders(struct admin *admin, bool hold);

/* Another process has the sockets now: closes the listeners, not their files; what was begun is answered. */
void admin_leave(struct admin *admin);

/* Closes listeners and connections; the loop must run until they are closed. Accepts NULL; a second call changes
 * nothing. */
void admin_close(struct admin *admin);

void admin_destroy(struct admin *admin); /* after the loop has ended; accepts NULL */

#endif
