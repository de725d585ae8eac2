/* successor.h: the process that is to take this one's place: started with our listening sockets, watched until it
 * serves.
 *
 * Happy path: started by the command this larder was started by; it asks for the store (`wants_store`); it serves
 *             (`serves`). Until then everything here goes on as it was.
 * Failures:   it cannot be started, ends, falls silent for SUCCESSOR_WAIT_MS or says what is not understood: it is
 *             killed, and `failed` told why.
 *
 * Ownership: part of the server; its handles are on the main loop, and successor_close must have been called, and the
 * loop have run, before that ends. Threads: the main thread, but for successor_tell. */
#ifndef PROXY_SUCCESSOR_H
#define PROXY_SUCCESSOR_H

#include <stdatomic.h>
#include <uv.h>

#include "http/check.h"
#include "proxy/server/channel.h"
#include "proxy/server/sockets.h"

#define SUCCESSOR_VARIABLE "LARDER_SUCCESSOR" /* of its environment: see successor.c */

enum { SUCCESSOR_WAIT_MS = 30000 }; /* for the next thing that it has to say */

enum successor_state {
    SUCCESSOR_NONE,
    SUCCESSOR_STARTING, /* runs, and has not asked for the store */
    SUCCESSOR_OPENING,  /* has the store, and does not serve yet */
    SUCCESSOR_SERVES,
    SUCCESSOR_FAILED,  /* was killed, and has not ended yet */
    SUCCESSOR_CLOSING, /* has ended; handles are being closed */
};

struct successor;

struct successor_events {
    bool (*wants_store)(struct successor *successor); /* let it go, note that, and tell; false: it cannot be */
    void (*serves)(struct successor *successor);
    void (*failed)(struct successor *successor, const char *why); /* `had_store` says whether it must be taken back */
};

struct successor {
    enum successor_state state;
    const struct successor_events *events;
    uv_process_t process;
    uv_poll_t poll;
    uv_timer_t timer;
    int fd;           /* our end of the channel */
    atomic_bool deaf; /* it did not hear what it was told last */
    bool had_store;   /* noted by wants_store: the store was let go for it, whether or not it heard */
    const char *why;  /* it failed */
    unsigned open_handles;
    char *buffer; /* of the channel */
};

/* Starts `argv` with the sockets. False with one line in `out_error`: nothing runs. Only in SUCCESSOR_NONE. */
MUST_CHECK bool successor_start(struct successor *successor, uv_loop_t *loop, const char *const *argv, unsigned workers,
                                const struct legacy *legacy, const struct successor_events *events,
                                struct buf *out_error);

/* Tells it something, once it has been started; any thread. False: it is not heard. One that hangs is waited for once,
 * not for each message. */
bool successor_tell(struct successor *successor, enum channel_kind kind, struct span bytes, int fd);

int successor_pid(const struct successor *successor);

/* We end. One that does not serve yet is killed. A second call changes nothing. */
void successor_close(struct successor *successor);

void successor_finish(struct successor *successor); /* after the loop; accepts a zeroed one */

#endif
