/* server_internal.h: the main thread's state, shared by server.c (start, signals, stop), server_crews.c (who serves, by
 * which configuration) and server_upgrade.c (another process takes this one's place, or this one takes another's). */
#ifndef PROXY_SERVER_INTERNAL_H
#define PROXY_SERVER_INTERNAL_H

#include "proxy/admin/admin.h"
#include "proxy/client/client.h"
#include "proxy/client/client_table.h"
#include "proxy/server/crew.h"
#include "proxy/server/disk.h"
#include "proxy/server/notify.h"
#include "proxy/server/predecessor.h"
#include "proxy/server/server.h"
#include "proxy/server/successor.h"
#include "proxy/server/watchdog.h"

enum {
    SERVER_SIGNALS = 5, /* that are watched */
    SERVER_TEXT_MAX_BYTES = 8192,
    SERVER_FORMER_CREWS_MAX = 8, /* that finish what they began */
};

struct server {
    const struct config_flags *flags;
    const char *const *argv;
    struct buf text; /* the line that says what failed, memory among others */
    char text_memory[SERVER_TEXT_MAX_BYTES];
    struct cache *cache;
    struct disk disk;
    struct metrics *metrics;
    struct traffic *traffic;
    struct follow *follow;
    struct site_modes *modes;
    struct facts *facts;
    struct admin *admin;
    unsigned worker_count;
    struct notify notify;
    struct sockets inherited; /* with which the process was started, until it has taken what it wants of them */
    struct crew *crews;       /* list: the first one serves, the others finish what they began */
    struct client_limits limits;
    struct predecessor *predecessor; /* whose place this process takes, or took; NULL: none */
    struct predecessor_events predecessor_events;
    struct successor successor;  /* that is to take ours */
    struct cache_successor heir; /* the same, of the store, once it serves */
    uv_timer_t leave_timer;      /* of what is still to finish when it serves */
    struct watchdog watchdog;
    uv_loop_t loop;
    uv_work_t pool_start; /* with which libuv's threads begin */
    struct mailbox mailbox;
    uv_signal_t signals[SERVER_SIGNALS];
    bool stopping;
};

/* ---- server.c ---- */

/* Says in `server->text` what could not be done, and returns `error`. */
enum err server_explain(struct server *server, const char *what, enum err error);

/* No worker is left that could post to it. */
void server_close_loop(struct server *server);

/* ---- server_crews.c ---- */

/* A crew that crew_create has made; it need not be in the list yet. On failure `server->text` says why. */
MUST_CHECK enum err server_start_crew(struct server *server, struct crew *crew);

/* Logs the addresses that the crew has bound; those that it has from a former one were said already. */
void server_announce(const struct crew *crew);

/* SIGHUP. True: when nothing is begun any more with the former configuration, the log and the service manager are told.
 * False: the former one goes on, and the log says why. */
bool server_reload(struct server *server);

/* Destroys crews that have ended; when that was the last of a server that stops, ends the loop. */
void server_remove_ended_crews(struct server *server);

/* ---- server_upgrade.c ---- */

/* SIGUSR2: starts a successor. What becomes of it is in the log. */
void server_upgrade(struct server *server);
bool server_is_upgrading(const struct server *server);

/* The successor serves, and a worker has retired: where that was the last, the log is told that nothing is begun here
 * any more. */
void server_check_left(struct server *server);

/* Everything runs: takes the place of the predecessor. */
void server_succeed(struct server *server);

/* The start failed: what was inherited stays its owner's. */
void server_forsake(struct server *server);

/* An idle connection of a server that stops: to the successor where there is one, else it is closed. */
void server_pass_on(struct server *server, struct handover *handover);

#endif
