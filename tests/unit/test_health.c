/* test_health.c: when an origin is taken out and comes back; the clock is an argument. */
#include "proxy/origin/health.h"

#include <criterion/criterion.h>

#include "http/check.h"

static const struct health_rules rules = {.eject_after = 3, .eject_time_ms = 1000, .healthy = 2, .unhealthy = 3};

static enum health_change fail(struct health *health, uint64_t now_ms)
{
    return health_failed(health, &rules, &(struct health_failure){.silent = true, .may_eject = true}, now_ms);
}

static enum health_change fail_probe(struct health *health, uint64_t now_ms)
{
    return health_failed(health, &rules, &(struct health_failure){.probe = true}, now_ms);
}

static struct health ejected_at(uint64_t now_ms)
{
    struct health health = {0};

    (void)fail(&health, now_ms);
    (void)fail(&health, now_ms);
    cr_assert_eq(fail(&health, now_ms), HEALTH_EJECTED);
    return health;
}

Test(health, failures_in_a_row_eject)
{
    struct health health = {0};

    cr_expect(health_allows(&health, 0));
    cr_expect_eq(fail(&health, 10), HEALTH_SAME);
    cr_expect_eq(fail(&health, 20), HEALTH_SAME);
    cr_expect_eq(health_answered(&health, false, 30), HEALTH_SAME);
    cr_expect_eq(fail(&health, 40), HEALTH_SAME, "an answer in between: they begin anew");
    cr_expect_eq(fail(&health, 50), HEALTH_SAME);
    cr_expect_eq(fail(&health, 60), HEALTH_EJECTED);
    cr_expect_not(health_allows(&health, 1059));
    cr_expect(health_allows(&health, 1060));
}

Test(health, failures_far_apart_do_not)
{
    struct health health = {0};

    for (uint64_t i = 0; i < 10; i++) {
        cr_expect_eq(fail(&health, i * (HEALTH_WINDOW_MS / 2 + 1)), HEALTH_SAME, "failure %u", (unsigned)i);
    }
}

Test(health, the_last_one_stays)
{
    struct health health = {0};

    for (unsigned i = 0; i < 10; i++) {
        struct health_failure failure = {.may_eject = false};
        cr_expect_eq(health_failed(&health, &rules, &failure, i), HEALTH_SAME);
    }
    cr_expect(health_allows(&health, 10));
    cr_expect_eq(fail(&health, 11), HEALTH_EJECTED, "until there is another");
}

Test(health, without_a_number_nothing_ejects)
{
    static const struct health_rules never = {.eject_after = 0, .eject_time_ms = 1000};
    struct health health = {0};

    for (unsigned i = 0; i < 100; i++) {
        struct health_failure failure = {.may_eject = true};
        cr_expect_eq(health_failed(&health, &never, &failure, i), HEALTH_SAME);
    }
}

Test(health, one_probe_brings_it_back)
{
    struct health health = ejected_at(0);

    cr_expect_not(health_ask(&health, 999), "not yet");
    cr_expect(health_ask(&health, 1000));
    cr_expect_not(health_allows(&health, 1001), "one at a time");
    cr_expect_not(health_ask(&health, 1001));
    cr_expect_eq(health_answered(&health, false, 1002), HEALTH_SAME, "an answer to an older request");
    cr_expect_eq(fail(&health, 1003), HEALTH_SAME, "or its failure");
    cr_expect_eq(health_answered(&health, true, 1004), HEALTH_BACK);
    cr_expect(health_allows(&health, 1005));
    cr_expect_not(health_ask(&health, 1005), "it is in service: no probe");
}

Test(health, a_lost_probe_is_followed_by_another)
{
    struct health health = ejected_at(0);

    cr_expect(health_ask(&health, 1000));
    health_probe_lost(&health);
    cr_expect(health_allows(&health, 1001));
    cr_expect(health_ask(&health, 1001));
}

Test(health, each_time_twice_as_long_up_to_a_limit)
{
    static const uint64_t want_ms[] = {1000, 2000, 4000, 8000, 16000, 32000, 32000, 32000};
    struct health health = ejected_at(0);
    uint64_t now_ms = 0;

    for (size_t i = 0; i < ARRAY_LEN(want_ms); i++) {
        cr_expect_eq(health_ejection_ms(&health, &rules), want_ms[i]);
        cr_expect_not(health_allows(&health, now_ms + want_ms[i] - 1));
        now_ms += want_ms[i];
        cr_expect(health_ask(&health, now_ms));
        cr_expect_eq(fail_probe(&health, now_ms), HEALTH_EJECTED);
    }
}

Test(health, well_for_as_long_as_it_was_out_is_forgotten)
{
    static const struct {
        const char *name;
        uint64_t well_ms, want_ms;
    } cases[] = {{"not long enough", 999, 2000}, {"long enough", 1000, 1000}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct health health = ejected_at(0);
        uint64_t now_ms = 1000;

        cr_expect(health_ask(&health, now_ms));
        cr_expect_eq(health_answered(&health, true, now_ms), HEALTH_BACK);
        now_ms += cases[i].well_ms;
        (void)fail(&health, now_ms);
        (void)fail(&health, now_ms);
        cr_expect_eq(fail(&health, now_ms), HEALTH_EJECTED);
        cr_expect_eq(health_ejection_ms(&health, &rules), cases[i].want_ms, "%s", cases[i].name);
    }
}

Test(health, checks_in_a_row_decide)
{
    static const struct {
        bool passed;
        enum health_change want;
    } steps[] = {
        {false, HEALTH_SAME}, {false, HEALTH_SAME}, {true, HEALTH_SAME}, /* they begin anew */
        {false, HEALTH_SAME}, {false, HEALTH_SAME}, {false, HEALTH_UNHEALTHY}, {false, HEALTH_SAME},
        {true, HEALTH_SAME},  {false, HEALTH_SAME}, {true, HEALTH_SAME},       {true, HEALTH_HEALTHY},
        {true, HEALTH_SAME},  {false, HEALTH_SAME},
    };
    struct health health = {0};

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        cr_expect_eq(health_checked(&health, &rules, steps[i].passed), steps[i].want, "check %zu", i);
        cr_expect_eq(health_allows(&health, 0), !health.unhealthy);
    }
}
