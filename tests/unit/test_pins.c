/* test_pins.c: bodies being sent against bodies being deleted. */
#include <criterion/criterion.h>

#include "cache/pins.h"

static struct pins *pins;

static void setup(void)
{
    pins = pins_create();
    cr_assert_not_null(pins);
}

static void teardown(void)
{
    pins_destroy(pins);
}

TestSuite(pins, .init = setup, .fini = teardown);

Test(pins, a_pinned_body_is_not_deleted)
{
    uint64_t generation = pins_generation(pins);

    cr_expect_eq(pins_acquire(pins, 7, generation), PIN_OK);
    cr_expect(pins_add(pins, 7), "a second pin");
    cr_expect_not(pins_begin_deletion(pins, 7), "pinned twice");
    pins_release(pins, 7);
    cr_expect_not(pins_begin_deletion(pins, 7), "pinned once");
    cr_expect(pins_begin_deletion(pins, 8), "another one is free");
    cr_expect_eq(pins_freed(pins), 0, "nothing that was wanted is free yet");
    pins_release(pins, 7);
    cr_expect_eq(pins_freed(pins), 1, "now it is");
    cr_expect(pins_begin_deletion(pins, 7));
    pins_end_deletions(pins);
}

Test(pins, freed_counts_only_what_was_refused)
{
    cr_expect_eq(pins_acquire(pins, 7, pins_generation(pins)), PIN_OK);
    pins_release(pins, 7);
    cr_expect_eq(pins_freed(pins), 0);
}

Test(pins, a_dying_body_is_not_pinned)
{
    uint64_t generation = pins_generation(pins);

    cr_expect(pins_begin_deletion(pins, 7));
    cr_expect(pins_begin_deletion(pins, 7), "twice in one transaction is once");
    cr_expect_eq(pins_acquire(pins, 7, generation), PIN_DYING);
    cr_expect_not(pins_add(pins, 7), "nor by a second pin");
    cr_expect_eq(pins_acquire(pins, 8, generation), PIN_OK, "another one is");
    pins_end_deletions(pins);
    cr_expect_eq(pins_acquire(pins, 7, generation), PIN_RETRY, "the snapshot may be older than the deletion");
    cr_expect_eq(pins_acquire(pins, 7, pins_generation(pins)), PIN_OK, "a new snapshot knows better");
    pins_release(pins, 7);
    pins_release(pins, 8);
}

Test(pins, without_deletions_the_generation_stays)
{
    uint64_t generation = pins_generation(pins);

    pins_end_deletions(pins);
    cr_expect_eq(pins_generation(pins), generation);
}

Test(pins, many)
{
    enum { COUNT = 20000 };

    for (uint64_t id = 1; id <= COUNT; id++) {
        cr_assert_eq(pins_acquire(pins, id, pins_generation(pins)), PIN_OK);
        cr_assert(id % 3 != 0 || pins_add(pins, id));
    }
    for (uint64_t id = 1; id <= COUNT; id++) {
        pins_release(pins, id);
    }
    for (uint64_t id = 1; id <= COUNT; id++) {
        cr_assert_eq(pins_begin_deletion(pins, id), id % 3 != 0, "%llu", (unsigned long long)id);
    }
    for (uint64_t id = 3; id <= COUNT; id += 3) {
        pins_release(pins, id);
    }
    pins_end_deletions(pins);
    for (uint64_t id = 1; id <= COUNT; id++) {
        cr_assert_eq(pins_acquire(pins, id, pins_generation(pins)), PIN_OK);
    }
}
