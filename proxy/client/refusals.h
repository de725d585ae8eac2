/* refusals.h: what overload made a worker refuse, and what speaks a protocol that it does not: counted by cause (here
 * and in the metrics), and a line in the process log for each period in which there was some: a flood of refusals is no
 * flood of lines.
 *
 * The first one of a cause is logged at once, with its client; while more come, their number every ten seconds.
 * Threads: the worker's. */
#ifndef PROXY_REFUSALS_H
#define PROXY_REFUSALS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "http/span.h"

struct metrics_shard;

enum refusal {
    REFUSAL_CONNECTIONS,        /* limits.connections */
    REFUSAL_CLIENT_CONNECTIONS, /* limits.connections_per_client */
    REFUSAL_REQUESTS,           /* limits.requests */
    REFUSAL_RATE,               /* a rule's rate_limit */
    REFUSAL_TLS,                /* where clear HTTP is spoken */
    REFUSAL_HTTP2,              /* without having asked for it (RFC 9113 §3.3) */
    REFUSAL_COUNT,
};

struct refusals {
    uv_timer_t timer; /* runs while there were some lately */
    unsigned worker;
    struct metrics_shard *shard; /* where they are counted, too; NULL: not yet */
    bool closed;
    struct {
        uint64_t total;
        uint64_t unsaid; /* since the last line */
        bool lately;     /* in this period or the last one */
    } counts[REFUSAL_COUNT];
};

void refusals_init(struct refusals *refusals, uv_loop_t *loop, unsigned worker);
void refusals_close(struct refusals *refusals); /* says what is unsaid; a second call changes nothing */

/* `client` is its address. */
void refusals_note(struct refusals *refusals, enum refusal cause, struct span client);

#endif
