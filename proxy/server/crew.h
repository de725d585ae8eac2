/* crew.h: the workers of one configuration.
 *
 * A configuration never changes. Another one comes with a crew of its own: that has the same listening sockets, takes
 * the idle connections of the former crew over, and all new ones; the former crew finishes what it began with the
 * configuration it began it with, and is destroyed when nothing is left. So no request is lost, and none ever sees two
 * configurations. Crews share the cache, so a request of one follows a fetch of another.
 *
 * Ownership: a crew owns its configuration, its sockets, its origin sets and its workers. Threads: the main thread. */
#ifndef PROXY_CREW_H
#define PROXY_CREW_H

#include "proxy/server/sockets.h"
#include "proxy/server/worker.h"

struct crew {
    struct crew *next; /* the server's list: newest first */
    struct config *config;
    struct sockets sockets;
    struct origin_set **origin_sets; /* one a site */
    struct worker *workers;
    unsigned worker_count;
    unsigned made;    /* workers that worker_init made */
    unsigned started; /* workers whose thread was started */
    unsigned retired; /* workers that let others answer what is asked from now on */
    unsigned ended;   /* workers whose loop is over */
    bool replaced;    /* another crew has its place */
    bool stopping;    /* it was told to end within shutdown_timeout */
    unsigned turn;    /* of the workers, to get an idle connection */
};

/* Binds and makes everything that needs no cache; nothing listens yet. Owns `config`, also when it fails: NULL with one
 * line in `out_error`. `sockets` are those it may take from, `former` the crew that tells what is known of its origins
 * (NULL: none). */
struct crew *crew_create(struct config *config, unsigned worker_count, const struct sockets *sockets,
                         const struct crew *former, struct buf *out_error);

/* Listens, and starts the workers; `shared` says what crews have in common. On failure one line in `out_error`; what
 * runs must be told to stop. */
MUST_CHECK enum err crew_start(struct crew *crew, const struct worker_shared *shared, struct buf *out_error);

/* The crew has taken the former one's place. */
void crew_retire(struct crew *former, struct crew *crew);

/* Another process has the listening sockets: what is idle is handed over, the rest finishes. */
void crew_leave(struct crew *crew);

void crew_stop(struct crew *crew);  /* ends within shutdown_timeout; a second call changes nothing */
void crew_abort(struct crew *crew); /* ends now */

/* Its workers open the access log anew. */
void crew_reopen_log(struct crew *crew);

/* An idle connection of a former crew; not after crew_stop. */
void crew_take_connection(struct crew *crew, struct handover *handover);

/* All its workers have posted their retired_message: it begins nothing any more. */
bool crew_has_retired(const struct crew *crew);

/* Nothing of it runs, and nothing will come. */
bool crew_is_over(const struct crew *crew);

/* When it is over; accepts NULL. Closes its sockets. */
void crew_destroy(struct crew *crew);

#endif
