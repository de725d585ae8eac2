/* pool.h: the origins of one site as one worker uses them: their connections, and its budget for retries.
 *
 * Which of them is asked is decided over all workers (origin_set.h); how many requests each may have, and who waits in
 * line, is decided by each worker for itself (origin.h). Threads: the worker's. */
#ifndef PROXY_POOL_H
#define PROXY_POOL_H

#include "proxy/origin/origin.h"
#include "proxy/origin/origin_set.h"
#include "proxy/origin/retry_budget.h"

struct pool {
    struct worker *worker;
    const struct site *site;
    struct origin_set *set;
    struct origin **origins; /* in the site's order */
    size_t origin_count;
    struct retry_budget budget;
};

/* False: no memory; what was made is the pool's and ended like a whole one. */
MUST_CHECK bool pool_init(struct pool *pool, struct worker *worker, const struct site *site, struct origin_set *set);
void pool_close_idle(struct pool *pool); /* as origin_close_idle */
void pool_stop(struct pool *pool);       /* as origin_stop */
void pool_finish(struct pool *pool);     /* after the loop ended; accepts a zeroed one */

/* origin_set_choose, as seen from this worker; `tried` gets the bit of the chosen one. */
bool pool_choose(struct pool *pool, uint64_t key, uint64_t *tried, struct origin_choice *out_choice);

/* A request of this site begins: the budget for retries is a share of these. */
void pool_count_request(struct pool *pool);

/* May a request of this site go out once more? Counted if so. */
bool pool_take_retry(struct pool *pool);

/* origin_set_outlook, as seen from this worker. */
enum origin_outlook pool_outlook(const struct pool *pool);

#endif
