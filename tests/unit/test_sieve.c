/* test_sieve.c: marks of visited objects. */
#include <criterion/criterion.h>

#include "cache/sieve.h"

Test(sieve, a_mark_is_taken_once)
{
    struct sieve *sieve = sieve_create(100);

    cr_assert_not_null(sieve);
    cr_expect_not(sieve_take_mark(sieve, 1), "nothing is marked at first");
    sieve_mark(sieve, 1);
    sieve_mark(sieve, 1);
    cr_expect_not(sieve_take_mark(sieve, 2), "another object is not marked");
    cr_expect(sieve_take_mark(sieve, 1), "marked");
    cr_expect_not(sieve_take_mark(sieve, 1), "the mark was taken");
    sieve_destroy(sieve);
}

Test(sieve, as_many_objects_as_expected_are_remembered)
{
    enum { COUNT = 10000 };
    struct sieve *sieve = sieve_create(COUNT);
    unsigned kept = 0;
    unsigned wrong = 0;

    for (uint64_t id = 1; id <= COUNT; id++) {
        sieve_mark(sieve, id * 3);
    }
    for (uint64_t id = 1; id <= COUNT; id++) {
        wrong += sieve_take_mark(sieve, id * 3 + 1);
        kept += sieve_take_mark(sieve, id * 3);
    }
    cr_expect_geq(kept, COUNT * 99 / 100, "%u of %u", kept, (unsigned)COUNT);
    cr_expect_eq(wrong, 0, "%u taken for marked", wrong);
    sieve_destroy(sieve);
}

Test(sieve, an_overfull_table_forgets_some_and_keeps_the_newest)
{
    enum { COUNT = 100000 };
    struct sieve *sieve = sieve_create(16);

    for (uint64_t id = 1; id <= COUNT; id++) {
        sieve_mark(sieve, id);
    }
    cr_expect(sieve_take_mark(sieve, COUNT));
    sieve_destroy(sieve);
}

Test(sieve, nothing_is_expected)
{
    struct sieve *sieve = sieve_create(0);

    cr_assert_not_null(sieve);
    sieve_mark(sieve, UINT64_MAX);
    cr_expect(sieve_take_mark(sieve, UINT64_MAX));
    sieve_destroy(sieve);
    sieve_destroy(NULL);
}
