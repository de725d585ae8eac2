/* retry_budget.h: how many requests may be sent to origins a second time: a share of all requests, so that retries
 * never multiply the load on origins that fail because of it.
 *
 * Counted over the last RETRY_WINDOW_MS, in two halves; whatever the share, RETRY_MINIMUM are free in that time, so
 * that a quiet site has retries too. Functions of their arguments; times are of one monotonic clock. Threads: the
 * caller's.
 */
#ifndef PROXY_RETRY_BUDGET_H
#define PROXY_RETRY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

enum { RETRY_WINDOW_MS = 10 * 1000, RETRY_MINIMUM = 10 };

/* Zeroed: nothing asked yet. */
struct retry_budget {
    uint64_t half;                        /* number of the current half window, counted from time 0 */
    uint64_t requests, retries;           /* in it */
    uint64_t past_requests, past_retries; /* in the one before */
};

/* A request begins. */
void retry_budget_request(struct retry_budget *budget, uint64_t now_ms);

/* May it be sent again? Taken from the budget if so. */
bool retry_budget_take(struct retry_budget *budget, unsigned percent, uint64_t now_ms);

#endif
