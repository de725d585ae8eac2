/* test_ghost.c: what is remembered of keys that are not stored. */
#include <criterion/criterion.h>

#include "cache/ghost.h"

/* Keys are hashes: all their bits vary. */
static uint64_t key(uint64_t number)
{
    uint64_t hash = (number + 1) * UINT64_C(0x9E3779B97F4A7C15);

    hash ^= hash >> 32;
    hash *= UINT64_C(0xD6E8FEB86659FD93);
    return hash ^ hash >> 32;
}

Test(ghost, uses_are_counted_until_it_is_stored_and_evicted)
{
    struct ghost *ghost = ghost_create(100);

    cr_assert_not_null(ghost);
    cr_expect_eq(ghost_uses(ghost, key(1)), 0, "unknown");
    ghost_note_use(ghost, key(1));
    ghost_note_use(ghost, key(1));
    cr_expect_eq(ghost_uses(ghost, key(1)), 2);
    cr_expect_eq(ghost_uses(ghost, key(2)), 0, "another key");
    ghost_note_eviction(ghost, key(1));
    cr_expect_eq(ghost_uses(ghost, key(1)), GHOST_EVICTED);
    ghost_note_use(ghost, key(1));
    cr_expect_eq(ghost_uses(ghost, key(1)), GHOST_EVICTED, "says more than a use");
    ghost_destroy(ghost);
    ghost_destroy(NULL);
}

Test(ghost, a_count_ends_somewhere)
{
    struct ghost *ghost = ghost_create(1);

    for (unsigned i = 0; i < 1000; i++) {
        ghost_note_use(ghost, key(1));
    }
    cr_expect_eq(ghost_uses(ghost, key(1)), GHOST_MAX_USES);
    ghost_destroy(ghost);
}

Test(ghost, three_keys_an_object_are_remembered_and_the_oldest_forgotten)
{
    enum { OBJECTS = 4096, KNOWN = 3 * OBJECTS, MANY = 40 * OBJECTS };
    struct ghost *ghost = ghost_create(OBJECTS);
    unsigned known = 0;
    unsigned old = 0;

    for (uint64_t number = 0; number < MANY; number++) {
        ghost_note_eviction(ghost, key(number));
    }
    for (uint64_t number = MANY - KNOWN; number < MANY; number++) {
        known += ghost_uses(ghost, key(number)) == GHOST_EVICTED;
    }
    for (uint64_t number = 0; number < MANY / 2; number++) {
        old += ghost_uses(ghost, key(number)) != 0;
    }
    cr_expect_gt(known, KNOWN * 9 / 10, "%u of %u", known, (unsigned)KNOWN);
    cr_expect_lt(old, 10, "%u", old);
    ghost_destroy(ghost);
}

Test(ghost, what_is_noted_again_is_young_again)
{
    enum { WAYS = 16 };
    struct ghost *ghost = ghost_create(1); /* one line */

    ghost_note_use(ghost, key(0));
    for (uint64_t number = 1; number < WAYS; number++) {
        ghost_note_use(ghost, key(number));
    }
    ghost_note_use(ghost, key(0));
    ghost_note_use(ghost, key(WAYS));
    cr_expect_eq(ghost_uses(ghost, key(0)), 2);
    cr_expect_eq(ghost_uses(ghost, key(1)), 0, "the oldest");
    cr_expect_eq(ghost_uses(ghost, key(2)), 1);
    ghost_destroy(ghost);
}
