/* test_model.c: random exchanges through larder's decision functions against a model of RFC 9111.
 *
 * model.c is the model, model_steps.c makes scenarios from seeds, model_write.c writes them as messages, model_cache.c
 * runs them. A scenario that fails is shrunk (steps dropped, then values zeroed) and printed with its seed. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "cache/vary.h"
#include "tests/unit/cache_support.h"
#include "tests/unit/model_cache.h"
#include "tests/unit/model_shrink.h"
#include "tests/unit/model_write.h"

enum { SCENARIO_COUNT = 30000 };

static struct arena arena;
static struct buf buf;

static void setup(void)
{
    arena_init(&arena, TEST_ARENA_BYTES);
    buf_init(&buf, VARY_MAX_BYTES);
}

static void teardown(void)
{
    buf_finish(&buf);
    arena_finish(&arena);
}

TestSuite(model, .init = setup, .fini = teardown);

static bool still_fails(const void *scenario)
{
    struct tally tally = {0};
    int step;

    return model_cache_run(scenario, &arena, &tally, &step) != NULL;
}

Test(model, larder_does_what_the_standard_allows)
{
    struct tally tally = {0};
    uint64_t failures = 0;

    for (uint64_t seed = 1; seed <= SCENARIO_COUNT && failures < 3; seed++) {
        struct scenario scenario = scenario_of_seed(seed);
        int step;
        if (model_cache_run(&scenario, &arena, &tally, &step) == NULL) {
            continue;
        }
        failures++;
        model_shrink(&(struct shrinkable){.scenario = &scenario,
                                          .rules = &scenario.rules,
                                          .rules_bytes = sizeof(scenario.rules),
                                          .steps = scenario.steps,
                                          .step_bytes = sizeof(scenario.steps[0]),
                                          .count = &scenario.count,
                                          .fails = still_fails});
        const char *why = model_cache_run(&scenario, &arena, &tally, &step);
        (void)fprintf(stderr, "seed %llu, step %d: %s\n", (unsigned long long)seed, step, why);
        scenario_print(&scenario);
        cr_expect_fail("seed %llu: %s", (unsigned long long)seed, why);
    }
    const unsigned happened[] = {tally.served,     tally.behind,      tally.stale_after_failure,
                                 tally.confirmed,  tally.refused_304, tally.stored,
                                 tally.not_stored, tally.invalidated, tally.client_has_it};
    for (size_t i = 0; i < ARRAY_LEN(happened) && failures == 0; i++) {
        cr_expect_geq(happened[i], 1000, "event %zu is not rare: %u", i, happened[i]);
    }
}

Test(model, age_grows_with_the_clock)
{
    uint64_t random = 1;

    for (uint64_t seed = 1; seed <= 5000; seed++) {
        struct scenario scenario = scenario_of_seed(seed);
        struct http_response response = write_response(&scenario.steps[0].answer, 200, &arena);
        int64_t sent_ms = T0_MS + (int64_t)random_below(&random, 20000) - 10000; /* clocks may go back */
        int64_t now_ms = T0_MS - 10000;
        struct freshness_inputs inputs = freshness_inputs_of(&response, sent_ms, T0_MS, &arena);
        int64_t before_ms = 0;

        for (int i = 0; i < 20; i++) {
            int64_t age_ms = freshness_age_ms(&inputs, now_ms);
            int64_t step_ms = (int64_t)random_below(&random, 3000);
            cr_assert_geq(age_ms, before_ms, "seed %d: the age never falls, and never below 0", (int)seed);
            if (now_ms >= T0_MS) {
                cr_assert_eq(freshness_age_ms(&inputs, now_ms + step_ms), age_ms + step_ms, "seed %d: grows",
                             (int)seed);
            }
            before_ms = age_ms;
            now_ms += step_ms;
        }
        arena_reset(&arena);
    }
}

Test(model, vary_matches_both_ways_or_neither)
{
    for (uint64_t seed = 1; seed <= 5000; seed++) {
        struct scenario scenario = scenario_of_seed(seed);
        const struct m_response *answer = &scenario.steps[0].answer;
        const struct m_request *asked[] = {&scenario.steps[0].request, &scenario.steps[1].request};
        struct http_response response = write_response(answer, 200, &arena);
        bool matches[2][2];

        for (int a = 0; a < 2; a++) {
            struct http_request first = write_request(asked[a], &arena);
            enum vary_kind kind = vary_select(&response.headers, NULL, &first.headers, &arena, &buf);
            cr_assert_eq(kind == VARY_STAR, answer->vary_star, "seed %d: a star is seen", (int)seed);
            cr_assert(vary_valid(buf_span(&buf)), "seed %d: what is made is valid", (int)seed);
            for (int b = 0; b < 2; b++) {
                struct http_request second = write_request(asked[b], &arena);
                struct m_stored stored = model_keep(asked[a], answer, 0, 0);
                matches[a][b] = kind != VARY_STAR && vary_matches(buf_span(&buf), &second.headers, &arena);
                cr_assert_eq(matches[a][b], model_selects(&stored, asked[b]), "seed %d: equal and no other", (int)seed);
            }
            buf_clear(&buf);
        }
        cr_assert_eq(matches[0][1], matches[1][0], "seed %d: it is symmetric", (int)seed);
        arena_reset(&arena);
    }
}
