/* watchdog.h: the main thread looks whether every worker's loop still turns.
 *
 * Each worker is asked at every tick, and answers from its loop. Silence is counted in ticks of the main thread, not in
 * time: a machine that was suspended, or a process that was stopped, has made everyone silent and missed no tick. A
 * worker that is silent for server.watchdog serves nobody any more, and takes new connections all the same: the process
 * is aborted, so that whoever started it starts it again (and a core file shows where it hung). The service manager
 * hears WATCHDOG=1 while all answer, so that it notices when it is the main thread that hangs.
 *
 * The disk thread is not watched: without it responses pass unstored, and nobody waits.
 *
 * Ownership: part of the server. Threads: the main thread; watchdog_answer the worker's. */
#ifndef PROXY_WATCHDOG_H
#define PROXY_WATCHDOG_H

#include <stdatomic.h>

#include "proxy/io/mailbox.h"

struct crew;
struct notify;

/* A worker's part. */
struct watched {
    struct message question; /* posted to it by the main thread */
    atomic_bool answered;
    atomic_int thread_id;  /* of the system; 0: it does not run yet */
    unsigned silent_ticks; /* the main thread's */
    bool over;             /* its loop has ended; the main thread's */
};

struct watchdog {
    uv_timer_t timer;
    struct crew *const *crews; /* the list, borrowed */
    const struct notify *notify;
};

void watched_init(struct watched *watched);

/* The worker's thread begins. */
void watched_enter(struct watched *watched);

/* Watches all workers of all crews in the list, by the settings of the first. */
void watchdog_start(struct watchdog *watchdog, uv_loop_t *loop, struct crew *const *crews, const struct notify *notify);

void watchdog_close(struct watchdog *watchdog); /* accepts a zeroed one; a second call changes nothing */

#endif
