/* test_retry_after.c: when to ask again (RFC 9110 §10.2.3). */
#include "proxy/exchange/retry_after.h"

#include <criterion/criterion.h>

#include "http/check.h"

Test(retry_after, by_what_has_to_change)
{
    static const struct config config = {.server = {.origin_queue_timeout_ms = 2500}};
    static const struct config patient = {.server = {.origin_queue_timeout_ms = 3600000}};
    static const struct config no_queue = {.server = {.origin_queue_timeout_ms = 0}};
    static const struct site site = {.check = {.interval_ms = 5000, .healthy = 2}};
    static const struct {
        const char *name;
        const struct config *config;
        const struct site *site;
        enum reason reason;
        uint64_t want_s;
    } cases[] = {
        {"who stands in line has gone", &config, &site, REASON_ORIGIN_SATURATED, 3},
        {"not for an hour", &patient, &site, REASON_ORIGIN_SATURATED, 60},
        {"nobody stands in line", &no_queue, &site, REASON_ORIGIN_SATURATED, 1},
        {"two checks must pass", &config, &site, REASON_ORIGINS_DOWN, 10},
        {"no site", &config, NULL, REASON_ORIGINS_DOWN, 1},
        {"no memory", &config, &site, REASON_NO_MEMORY, 10},
        {"a place becomes free at any time", &config, &site, REASON_TOO_MANY_REQUESTS, 1},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(retry_after_s(cases[i].config, cases[i].site, cases[i].reason), cases[i].want_s, "%s",
                     cases[i].name);
    }
}
