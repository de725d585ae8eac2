/* test_retry_budget.c: a share of the requests, and a few for quiet times. */
#include "proxy/origin/retry_budget.h"

#include <criterion/criterion.h>

static unsigned take_all(struct retry_budget *budget, unsigned percent, uint64_t now_ms)
{
    unsigned taken = 0;

    while (taken < 10000 && retry_budget_take(budget, percent, now_ms)) {
        taken++;
    }
    return taken;
}

static void request(struct retry_budget *budget, unsigned count, uint64_t now_ms)
{
    for (unsigned i = 0; i < count; i++) {
        retry_budget_request(budget, now_ms);
    }
}

Test(retry_budget, a_quiet_site_has_the_minimum)
{
    struct retry_budget budget = {0};

    request(&budget, 1, 5);
    cr_expect_eq(take_all(&budget, 20, 6), (unsigned)RETRY_MINIMUM);
}

Test(retry_budget, a_busy_site_has_its_share)
{
    struct retry_budget budget = {0};

    request(&budget, 1000, 5);
    cr_expect_eq(take_all(&budget, 20, 6), 200u);
    request(&budget, 10, 7);
    cr_expect_eq(take_all(&budget, 20, 8), 2u, "and gets more with more requests");
}

Test(retry_budget, none_where_none_is_wanted)
{
    struct retry_budget budget = {0};

    request(&budget, 1000, 5);
    cr_expect_eq(take_all(&budget, 0, 6), 0u);
}

Test(retry_budget, what_is_past_is_forgotten)
{
    struct retry_budget budget = {0};
    uint64_t now_ms = RETRY_WINDOW_MS;

    request(&budget, 1000, now_ms);
    cr_expect_eq(take_all(&budget, 20, now_ms), 200u);
    now_ms += RETRY_WINDOW_MS / 2;
    cr_expect_eq(take_all(&budget, 20, now_ms), 0u, "half a window later both still count");
    now_ms += RETRY_WINDOW_MS / 2;
    cr_expect_eq(take_all(&budget, 20, now_ms), (unsigned)RETRY_MINIMUM);
    now_ms += 100 * RETRY_WINDOW_MS;
    cr_expect_eq(take_all(&budget, 20, now_ms), (unsigned)RETRY_MINIMUM);
}
