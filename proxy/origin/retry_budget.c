/* retry_budget.c: a share of the requests of the last seconds. See retry_budget.h. */
#include "proxy/origin/retry_budget.h"

static void advance(struct retry_budget *budget, uint64_t now_ms)
{
    uint64_t half = now_ms / (RETRY_WINDOW_MS / 2);

    if (half == budget->half) {
        return;
    }
    bool adjacent = half == budget->half + 1;
    *budget = (struct retry_budget){
        .half = half, .past_requests = adjacent ? budget->requests : 0, .past_retries = adjacent ? budget->retries : 0};
}

void retry_budget_request(struct retry_budget *budget, uint64_t now_ms)
{
    advance(budget, now_ms);
    budget->requests++;
}

bool retry_budget_take(struct retry_budget *budget, unsigned percent, uint64_t now_ms)
{
    advance(budget, now_ms);
    uint64_t share = (budget->requests + budget->past_requests) * percent / 100;
    uint64_t allowed = percent == 0 ? 0 : share > RETRY_MINIMUM ? share : RETRY_MINIMUM;

    if (budget->retries + budget->past_retries >= allowed) {
        return false;
    }
    budget->retries++;
    return true;
}
