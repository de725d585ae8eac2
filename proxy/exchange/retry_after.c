/* retry_after.c: see retry_after.h. */
#include "proxy/exchange/retry_after.h"

enum {
    MS_PER_S = 1000,
    MOST_S = 60,      /* however long a configuration lets requests wait: things change sooner */
    NO_MEMORY_S = 10, /* the system's memory is not ours to foresee; not at once */
};

static uint64_t seconds(uint64_t ms)
{
    uint64_t rounded_s = (ms + MS_PER_S - 1) / MS_PER_S;

    return rounded_s < 1 ? 1 : rounded_s > MOST_S ? MOST_S : rounded_s;
}

uint64_t retry_after_s(const struct config *config, const struct site *site, enum reason reason)
{
    if (reason == REASON_ORIGIN_SATURATED) {
        return seconds(config->server.origin_queue_timeout_ms); /* who stands in line now has gone by then */
    }
    if (reason == REASON_ORIGINS_DOWN && site != NULL) {
        return seconds(site->check.interval_ms * site->check.healthy); /* that many checks must pass first */
    }
    if (reason == REASON_NO_MEMORY) {
        return NO_MEMORY_S;
    }
    return 1; /* places among connections and requests become free all the time */
}
