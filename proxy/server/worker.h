/* worker.h: one thread, one loop: its listeners, clients, origins, running fetches and log buffer.
 *
 * Workers share the configuration (const) and the cache; everything else belongs to one worker and is touched on its
 * thread only. */
#ifndef PROXY_WORKER_H
#define PROXY_WORKER_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <uv.h>

#include "cache/cache.h"
#include "http/arena.h"
#include "proxy/client/refusals.h"
#include "proxy/client/stream.h"
#include "proxy/config/config.h"
#include "proxy/io/mailbox.h"
#include "proxy/observe/access_log.h"
#include "proxy/observe/facts.h"
#include "proxy/observe/follow.h"
#include "proxy/observe/metrics.h"
#include "proxy/observe/traffic.h"
#include "proxy/origin/pool.h"
#include "proxy/server/listener.h"
#include "proxy/server/watchdog.h"

enum { WORKER_READ_BUFFER_BYTES = 65536, WORKER_LINE_BYTES = 64 };

struct client;
struct fetch;
struct handover;
struct health_checks;

enum worker_state {
    WORKER_RUNNING,
    WORKER_RETIRED,  /* accepts nothing, hands idle connections over, finishes the rest without a time limit */
    WORKER_STOPPING, /* closes idle connections, finishes the rest within shutdown_timeout */
    WORKER_ENDING,   /* nothing is left: all handles are being closed */
};

/* What is counted over all workers, for [server.limits] and rules. Any thread. */
struct client_limits {
    atomic_uint connections; /* of clients */
    atomic_uint requests;    /* being answered; counted where there is a limit */
    struct client_table *clients;
    struct rate_limit *rates;
};

/* What the workers of all configurations have in common. */
struct worker_shared {
    struct cache *cache;
    struct client_limits *limits;
    struct metrics *metrics;
    struct traffic *traffic;
    struct follow *follow;
    struct facts *facts;
    unsigned descriptors;                         /* so many at a time are expected in the process */
    struct mailbox *server;                       /* the main thread's */
    void (*on_retired)(struct message *message);  /* there, with a worker's retired_message */
    void (*on_ended)(struct message *message);    /* there, with a worker's ended_message: its loop is over */
    void (*on_handover)(struct message *message); /* there, with a handover's message: it needs another worker */
};

struct worker {
    alignas(WORKER_LINE_BYTES) unsigned number; /* they lie side by side: none writes to a cache line of the next */
    const struct config *config;
    struct worker_shared shared;
    struct cache *cache;               /* the shared one */
    struct cache_reader *cache_reader; /* NULL: the store is out of order, nothing is looked up in it */
    enum worker_state state;
    pthread_t thread;
    bool started; /* the thread runs, or ran */
    uv_loop_t loop;
    struct mailbox mailbox;
    struct message serve_message;   /* posted by the main thread: accept */
    struct message retire_message;  /* … another has taken its place */
    struct message stop_message;    /* … shut down in order */
    struct message abort_message;   /* … shut down now */
    struct message reopen_message;  /* … open the access log anew */
    struct watched watched;         /* does the loop turn? */
    struct message retired_message; /* posted to the main thread: whatever is asked from now on, others answer */
    struct message ended_message;   /* … the loop is over */
    uv_timer_t shutdown_timer;
    struct listener *listeners;
    size_t listener_count;
    struct pool *pools; /* one a site, in their order */
    size_t pool_count;
    struct health_checks *checks; /* the first worker's; NULL: others run them */
    struct client *clients;       /* list, by client.c */
    struct fetch *fetches;        /* list, by fetch.c */
    struct access_log access_log;
    struct metrics_shard *shard; /* what this worker counts; NULL: nothing is counted */
    struct traffic_shard *traffic;
    struct follow_shard *follow;
    struct facts_shard *facts;
    struct refusals refusals;
    uint64_t random_state;            /* of worker_random */
    int newest_fd;                    /* descriptor of the connection accepted last */
    struct field_memo *field_memo;    /* what clients' heads said lately */
    char *read_buffer;                /* conn.c's, WORKER_READ_BUFFER_BYTES */
    struct arena_spares arena_spares; /* of the clients' arenas */
    struct stream_spares stream_spares;
    struct buf spare_in; /* memory of buffers that no client needs at the moment */
    struct buf spare_out;
    struct buf spare_head; /* … that no fetch needs to write a head to */
};

/* Prepares loop, mailbox, cache reader, origins and listeners. `sets`: one a site. `fds[i]` is this worker's listening
 * socket for server.listen[i] of the configuration; the worker owns them from now on, also when this fails. On failure
 * nothing is left open. */
MUST_CHECK enum err worker_init(struct worker *worker, unsigned number, const struct config *config,
                                struct origin_set *const *sets, const struct worker_shared *shared, const int *fds);

/* Runs the loop in a thread of its own. When it is over ended_message is posted, as the thread's last deed. */
MUST_CHECK enum err worker_start(struct worker *worker);

/* Any thread, after worker_start. Accepts from now on: not before all of the crew run, so that what cannot start is
 * asked nothing. */
void worker_serve(struct worker *worker);

/* Any thread. Stops accepting, hands idle connections over (and posts retired_message then), and ends when its
 * exchanges have. */
void worker_retire(struct worker *worker);

/* Any thread. Stops accepting, closes idle connections, lets exchanges finish within shutdown_timeout, then closes what
 * is left. */
void worker_stop(struct worker *worker);

/* Any thread. The same, without letting anything finish. */
void worker_abort(struct worker *worker);

/* Any thread. */
void worker_reopen_log(struct worker *worker);

/* The main thread, before worker_stop. */
void worker_take_connection(struct worker *worker, struct handover *handover);

/* After worker_stop, worker_abort or ended_message: waits for the thread (one never started is stopped here), then
 * frees what worker_init made. */
void worker_join(struct worker *worker);

/* The origins of a site. */
struct pool *worker_pool(struct worker *worker, const struct site *site);

/* Called by client.c and fetch.c when one of theirs ended: an orderly stop ends the loop when nothing is left. */
void worker_check_stopped(struct worker *worker);

/* Random enough for ids that are to be unique, not for secrets. */
uint64_t worker_random(struct worker *worker);

/* Wall clock, milliseconds since 1970, read now (not the loop's cached time). */
int64_t worker_now_ms(void);

#endif
