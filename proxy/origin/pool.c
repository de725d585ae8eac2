/* pool.c: a worker's connections to the origins of a site. See pool.h. */
#include "proxy/origin/pool.h"

#include <stdlib.h>

#include "proxy/server/worker.h"

bool pool_init(struct pool *pool, struct worker *worker, const struct site *site, struct origin_set *set)
{
    *pool = (struct pool){.worker = worker, .site = site, .set = set};
    pool->origins = calloc(site->origin_count, sizeof(struct origin *));
    if (pool->origins == NULL) {
        return false;
    }
    for (size_t i = 0; i < site->origin_count; i++) {
        struct origin *origin = origin_create(worker, &site->origins[i], site->adaptive_limit);
        if (origin == NULL) {
            return false;
        }
        pool->origins[pool->origin_count++] = origin;
    }
    return true;
}

void pool_close_idle(struct pool *pool)
{
    for (size_t i = 0; i < pool->origin_count; i++) {
        origin_close_idle(pool->origins[i]);
    }
}

void pool_stop(struct pool *pool)
{
    for (size_t i = 0; i < pool->origin_count; i++) {
        origin_stop(pool->origins[i]);
    }
}

void pool_finish(struct pool *pool)
{
    for (size_t i = 0; i < pool->origin_count; i++) {
        origin_destroy(pool->origins[i]);
    }
    free(pool->origins);
}

static uint64_t full_origins(const struct pool *pool)
{
    uint64_t full = 0;

    for (size_t i = 0; i < pool->origin_count; i++) {
        full |= origin_is_full(pool->origins[i]) ? UINT64_C(1) << i : 0;
    }
    return full;
}

bool pool_choose(struct pool *pool, uint64_t key, uint64_t *tried, struct origin_choice *out_choice)
{
    struct origin_ask ask = {
        .key = key, .tried = *tried, .full = full_origins(pool), .now_ms = uv_now(&pool->worker->loop)};

    if (!origin_set_choose(pool->set, &ask, out_choice)) {
        return false;
    }
    *tried |= UINT64_C(1) << out_choice->index;
    return true;
}

void pool_count_request(struct pool *pool)
{
    retry_budget_request(&pool->budget, uv_now(&pool->worker->loop));
}

bool pool_take_retry(struct pool *pool)
{
    return retry_budget_take(&pool->budget, pool->site->retry_budget, uv_now(&pool->worker->loop));
}

enum origin_outlook pool_outlook(const struct pool *pool)
{
    return origin_set_outlook(pool->set, full_origins(pool), uv_now(&pool->worker->loop));
}
