/* test_model_parts.c: random partial requests through larder's cache, byte by byte against a model of RFC 9111 §3.3 and
 * §3.4.
 *
 * model_parts.c is the model, model_parts_steps.c makes scenarios from seeds and plays the origin, model_parts_cache.c
 * runs them over a real store. A scenario that fails is shrunk and printed with its seed. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "store_support.h"
#include "tests/unit/cache_support.h"
#include "tests/unit/model_parts_cache.h"
#include "tests/unit/model_shrink.h"

enum { SCENARIO_COUNT = 10000, STORE_SIZE = 64 * 1024 * 1024 };

static char dir[SUPPORT_PATH_BYTES];
static struct cache *cache;
static struct cache_reader *reader;
static struct arena arena;

static void setup(void)
{
    struct cache_options options = {
        .store = {.dir = dir, .size_bytes = STORE_SIZE, .max_variants = 4},
        .write_queue_bytes = 16 * 1024 * 1024,
        .window_bytes = 128 * 1024,
        .hit_for_miss_ms = 0,
        .hot_bytes = 256 * 1024,
    };
    struct buf note;

    support_dir_make(dir);
    arena_init(&arena, TEST_ARENA_BYTES);
    buf_init(&note, 1024);
    cr_assert_eq(cache_open(&options, &cache, &note), ERR_OK);
    buf_finish(&note);
    reader = cache_reader_create(cache);
    cr_assert_not_null(reader);
}

static void teardown(void)
{
    cache_stop_writes(cache);
    while (cache_wait(cache, WAIT_FOR_WORK, &(struct timespec){0})) {
        (void)cache_write(cache);
    }
    cache_reader_destroy(reader);
    cache_close(cache);
    arena_finish(&arena);
    support_dir_remove(dir);
}

TestSuite(model_parts, .init = setup, .fini = teardown);

static bool still_fails(const void *scenario)
{
    struct parts_tally tally = {0};
    int step;

    return parts_cache_run(scenario, reader, &arena, &tally, &step) != NULL;
}

Test(model_parts, every_byte_is_one_of_the_representation_that_the_validator_names)
{
    struct parts_tally tally = {0};
    uint64_t failures = 0;

    for (uint64_t seed = 1; seed <= SCENARIO_COUNT && failures < 3; seed++) {
        struct parts_scenario scenario = parts_scenario_of_seed(seed);
        int step;
        if (parts_cache_run(&scenario, reader, &arena, &tally, &step) == NULL) {
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
        const char *why = parts_cache_run(&scenario, reader, &arena, &tally, &step);
        (void)fprintf(stderr, "seed %llu, step %d: %s\n", (unsigned long long)seed, step, why);
        parts_scenario_print(&scenario);
        cr_expect_fail("seed %llu: %s", (unsigned long long)seed, why);
    }
    const unsigned happened[] = {tally.served,    tally.served_parts, tally.unsatisfiable, tally.from_several,
                                 tally.completed, tally.unfit,        tally.broken_off,    tally.confirmed,
                                 tally.stored,    tally.not_stored,   tally.invalidated};
    for (size_t i = 0; i < ARRAY_LEN(happened) && failures == 0; i++) {
        cr_expect_geq(happened[i], 200, "event %zu is not rare: %u", i, happened[i]);
    }
}
