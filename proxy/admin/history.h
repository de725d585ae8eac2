/* history.h: what was counted in the last minutes, a sample each second, so that a page that is opened has a past.
 *
 * Memory: HISTORY_SAMPLES samples, whatever happens. A sample is as cheap as there are workers. Threads: the loop's. */
#ifndef PROXY_HISTORY_H
#define PROXY_HISTORY_H

#include "proxy/observe/metrics.h"

enum { HISTORY_SAMPLES = 600, HISTORY_INTERVAL_MS = 1000 };

/* Counters are since the start: what happened in between is their difference. */
struct history_sample {
    int64_t time_ms; /* wall clock */
    struct metrics_sums sums;
    unsigned connections;
    uint64_t store_used_bytes;
};

/* Where the samples are taken; outlives the history. */
struct history_scope {
    const struct metrics *metrics;
    struct cache *cache;
    const atomic_uint *connection_count;
};

struct history {
    struct history_scope scope;
    uv_timer_t timer;
    struct history_sample samples[HISTORY_SAMPLES]; /* a ring */
    size_t next;                                    /* where the next one goes */
    size_t count;
    bool open;
};

/* Takes the first sample at once. To be stopped; the struct must live until the loop has closed the timer. */
void history_start(struct history *history, uv_loop_t *loop, const struct history_scope *scope);
void history_stop(struct history *history); /* a second call, or one without a start, changes nothing */

/* The sample `index`, the oldest is 0; NULL: there are not so many. */
const struct history_sample *history_at(const struct history *history, size_t index);

#endif
