/* metrics_internal.h: the counters of one site; shared by metrics.c and metrics_text.c. */
#ifndef PROXY_METRICS_INTERNAL_H
#define PROXY_METRICS_INTERNAL_H

#include "proxy/observe/metrics.h"

#define METRICS_COUNT_ONE(name, text) +1
enum {
    METRICS_OUTCOMES = 0 OUTCOMES(METRICS_COUNT_ONE),
    METRICS_ENDS = 0 END_REASONS(METRICS_COUNT_ONE),
    METRICS_STATUSES = 6, /* 0: none was sent; 1xx to 5xx */
    METRICS_SIZES = 11,
};

extern const uint64_t metrics_sizes_bytes[METRICS_SIZES]; /* upper bounds */

typedef atomic_uint_fast64_t metrics_counter;

/* Nothing but counters: they are added up as one array. The last bucket has no bound. */
struct metrics_site {
    metrics_counter requests[METRICS_OUTCOMES][REASON_COUNT];
    metrics_counter sent_bytes[METRICS_OUTCOMES];
    metrics_counter statuses[METRICS_STATUSES];
    metrics_counter ends[METRICS_ENDS];
    metrics_counter durations[METRICS_TIMES + 1];
    metrics_counter duration_us;
    metrics_counter sizes[METRICS_SIZES + 1];
    metrics_counter size_bytes;
    metrics_counter waits[METRICS_TIMES + 1];
    metrics_counter wait_us;
    metrics_counter received_bytes;
};

/* The sum over all workers, those that ended included. */
struct metrics_total {
    struct metrics_total *next;
    struct metrics_site sums;
    char name[]; /* of the site; empty: requests that no site served */
};

/* One for each name. Zeroed there is none. */
struct metrics_totals {
    struct metrics_total *first, *last; /* in the order in which they were met */
    void *names;                        /* of theirs: tsearch(3); a configuration may have very many sites */
};

/* False with nothing left to free: no memory. Give them back with metrics_totals_finish. */
MUST_CHECK bool metrics_totals_take(const struct metrics *metrics, struct metrics_totals *out_totals);
void metrics_totals_finish(struct metrics_totals *totals); /* a second call changes nothing */

#endif
