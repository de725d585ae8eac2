/* worker.h: one thread, one loop: its listeners, clients, origins, running fetches and log buffer.
 *
 * Workers share the configuration (const) and the cache; everything else belongs to one worker and is touched on its
 * thread only. */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "cache/cache.h"
#include "proxy/access_log.h"
#include "proxy/config.h"
#include "proxy/listener.h"
#include "proxy/mailbox.h"
#include "proxy/metrics.h"
#include "proxy/pool.h"

enum { WORKER_READ_BUFFER_BYTES = 65536 };

struct client;
struct fetch;
struct health_checks;

struct worker {
    unsigned number;
    const struct config *config;
    struct cache *cache;
    struct cache_reader *cache_reader; /* NULL: the store is out of order, nothing is looked up in it */
    atomic_uint *connection_count;     /* clients over all workers */
    pthread_t thread;
    bool started; /* the thread runs, or ran */
    uv_loop_t loop;
    struct mailbox mailbox;
    struct message stop_message;  /* posted by the main thread: shut down in order */
    struct message abort_message; /* posted by the main thread: shut down now */
    struct mailbox *ended_to;     /* the main thread's: gets ended_message when the loop is over; may be NULL */
    struct message ended_message;
    uv_timer_t shutdown_timer;
    struct listener *listeners;
    size_t listener_count;
    struct pool *pools; /* one a site, in their order */
    size_t pool_count;
    struct health_checks *checks; /* the first worker's; NULL: others run them */
    struct client *clients;       /* list, by client.c */
    struct fetch *fetches;        /* list, by fetch.c */
    struct access_log access_log;
    struct metrics *metrics;       /* the main thread's, for the end */
    struct metrics_shard *shard;   /* what this worker counts; NULL: nothing is counted */
    uint64_t refused_count;        /* connections beyond max_connections */
    bool stopping;                 /* no new exchange on kept connections; set by the stop message */
    bool ending;                   /* nothing is left: all handles are being closed */
    struct field_memo *field_memo; /* what clients' heads said lately */
    char *read_buffer;             /* conn.c's, WORKER_READ_BUFFER_BYTES */
};

/* What all workers share. */
struct worker_shared {
    const struct config *config;
    struct cache *cache;
    struct origin_set *const *origin_sets; /* one a site, in their order */
    atomic_uint *connection_count;
    struct metrics *metrics;
};

/* Prepares loop, mailbox, cache reader, origins and listeners. `fds[i]` is this worker's listening socket for
 * server.listen[i] of the configuration; the worker owns them from now on, also when this fails. On failure nothing is
 * left open. */
MUST_CHECK enum err worker_init(struct worker *worker, unsigned number, const struct worker_shared *shared,
                                const int *fds);

/* Runs the loop in a thread of its own. When it is over `ended` is posted to `mailbox`, as the thread's last deed. */
MUST_CHECK enum err worker_start(struct worker *worker, struct mailbox *mailbox,
                                 void (*ended)(struct message *message));

/* Any thread. Stops accepting, closes idle connections, lets exchanges finish within shutdown_timeout, then closes what
 * is left. */
void worker_stop(struct worker *worker);

/* Any thread. The same, without letting anything finish. */
void worker_abort(struct worker *worker);

/* After worker_stop or worker_abort: waits for the thread (one never started is stopped here), then frees what
 * worker_init made. */
void worker_join(struct worker *worker);

/* The origins of a site. */
struct pool *worker_pool(struct worker *worker, const struct site *site);

/* Called by client.c and fetch.c when one of theirs ended: an orderly stop ends the loop when nothing is left. */
void worker_check_stopped(struct worker *worker);

/* Wall clock, milliseconds since 1970, read now (not the loop's cached time). */
int64_t worker_now_ms(void);

#endif
