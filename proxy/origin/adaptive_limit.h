/* adaptive_limit.h: how many requests an origin may have at a time, found out from how long it takes to answer.
 *
 * Windows of time are compared: while answers take about as long as they usually do the limit grows; when they take
 * more than ADAPTIVE_TOLERANCE times as long, requests have begun to queue inside the origin, and it shrinks in
 * proportion; a time-out cuts it at once. A window in which less than half of it was used says nothing about it.
 *
 * Functions of their arguments; times are of one monotonic clock. Threads: the caller's. */
#ifndef PROXY_ADAPTIVE_LIMIT_H
#define PROXY_ADAPTIVE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    ADAPTIVE_START = 32,
    ADAPTIVE_MINIMUM = 4,
    ADAPTIVE_TOLERANCE = 2,
    ADAPTIVE_WINDOW_MS = 250,
    ADAPTIVE_WINDOW_ANSWERS = 10, /* a window lasts until it has as many */
};

struct adaptive_limit {
    double limit;
    unsigned maximum;
    double usual_ms;        /* what an answer takes: falls quickly, rises slowly; 0: not known */
    uint64_t window_end_ms; /* of the window under way: */
    double sum_ms;
    unsigned answers;
    unsigned most_under_way;
    uint64_t next_cut_ms; /* requests that were sent together time out together, and cut it once */
};

void adaptive_limit_init(struct adaptive_limit *limit, unsigned maximum);

/* At most this many; at least 1. */
unsigned adaptive_limit_now(const struct adaptive_limit *limit);

/* An answer came after `took_ms`, while `under_way` requests were at the origin, itself among them. */
void adaptive_limit_answered(struct adaptive_limit *limit, uint64_t took_ms, unsigned under_way, uint64_t now_ms);

/* An answer did not come in time. */
void adaptive_limit_timed_out(struct adaptive_limit *limit, uint64_t now_ms);

#endif
