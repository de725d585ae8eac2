/* test_slices.c: the interval map of a partial response. */
#include <criterion/criterion.h>
#include <string.h>

#include "cache/slices.h"
#include "http/check.h"

enum { LENGTH = 200 };

static struct slices map;

/* A body of its own for each, whose stream begins with 1000 bytes of key and head. */
static enum slices_added add(uint64_t first, uint64_t end, uint64_t body_id)
{
    return slices_add(&map, (struct slice){.first = first, .end = end, .body_id = body_id, .offset = 1000});
}

static void setup(void)
{
    map.count = 0;
}

TestSuite(slices, .init = setup);

Test(slices, what_was_added_is_found)
{
    cr_expect_eq(add(100, 120, 1), SLICES_ADDED);
    cr_expect_eq(add(0, 10, 2), SLICES_ADDED);
    cr_expect_eq(add(10, 20, 3), SLICES_ADDED, "touching slices stay two: they are in two bodies");
    cr_expect_eq(map.count, 3);
    cr_expect_eq(slices_at(&map, 0)->body_id, 2);
    cr_expect_eq(slices_at(&map, 9)->body_id, 2);
    cr_expect_eq(slices_at(&map, 10)->body_id, 3);
    cr_expect_eq(slices_at(&map, 119)->body_id, 1);
    cr_expect_null(slices_at(&map, 20));
    cr_expect_null(slices_at(&map, 99));
    cr_expect_null(slices_at(&map, 120));
}

Test(slices, only_what_is_missing_is_taken_of_a_new_one)
{
    const struct slice *slice;

    cr_expect_eq(add(20, 30, 1), SLICES_ADDED);
    cr_expect_eq(add(40, 50, 2), SLICES_ADDED);
    cr_expect_eq(add(20, 30, 3), SLICES_HELD);
    cr_expect_eq(add(25, 26, 3), SLICES_HELD);
    cr_expect_eq(add(10, 60, 4), SLICES_ADDED);
    cr_expect_eq(map.count, 5);
    slice = slices_at(&map, 35);
    cr_assert_not_null(slice);
    cr_expect(slice->first == 30 && slice->end == 40 && slice->body_id == 4);
    cr_expect_eq(slice->offset, 1020, "byte 30 is the 21st of 10-59");
    cr_expect_eq(slices_at(&map, 20)->body_id, 1);
    cr_expect_eq(slices_at(&map, 45)->body_id, 2);
    cr_expect_eq(slices_at(&map, 59)->offset, 1040);
}

Test(slices, gaps)
{
    static const struct {
        const char *name;
        uint64_t first, end;
        size_t count;
        struct byte_range gap;
    } cases[] = {
        {"all of it is there", 10, 20, 0, {0, 0}},
        {"before", 0, 15, 1, {0, 9}},
        {"behind", 15, 30, 1, {20, 29}},
        {"between touching ones there is none", 40, 60, 0, {0, 0}},
        {"two", 15, 70, 2, {20, 39}},
        {"everything", 0, LENGTH, 3, {0, 9}},
        {"nothing is there", 100, 110, 1, {100, 109}},
        {"one byte that is there", 19, 20, 0, {0, 0}},
        {"one byte that is not", 20, 21, 1, {20, 20}},
    };

    cr_assert_eq(add(10, 20, 1), SLICES_ADDED);
    cr_assert_eq(add(40, 50, 2), SLICES_ADDED);
    cr_assert_eq(add(50, 60, 3), SLICES_ADDED);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct byte_range gap = {0};
        bool any = slices_gap(&map, cases[i].first, cases[i].end, &gap);
        cr_expect_eq(any, cases[i].count > 0, "%s", cases[i].name);
        cr_expect_eq(slices_gap_count(&map, cases[i].first, cases[i].end), cases[i].count, "%s", cases[i].name);
        cr_expect(gap.first == cases[i].gap.first && gap.last == cases[i].gap.last, "%s", cases[i].name);
    }
}

Test(slices, the_number_is_bounded)
{
    for (uint64_t i = 0; i < SLICES_MAX; i++) {
        cr_assert_eq(add(10 * i, 10 * i + 5, i + 1), SLICES_ADDED);
    }
    struct slices before = map;
    cr_expect_eq(add(10000, 10001, 99), SLICES_FULL);
    cr_expect_eq(add(0, 10, 99), SLICES_FULL, "it would need one more");
    cr_expect_eq(add(0, 5, 99), SLICES_HELD);
    cr_expect_eq(memcmp(&before, &map, sizeof(map)), 0);
    map.count = SLICES_MAX - 1;
    cr_expect_eq(add(0, 20, 99), SLICES_FULL, "it would need two");
    cr_expect_eq(add(0, 10, 99), SLICES_ADDED);
}

/* Against an array with a body id for each byte. */
Test(slices, agrees_with_a_simple_model)
{
    uint64_t state = 9111;

    for (unsigned round = 0; round < 300; round++) {
        uint64_t model[LENGTH] = {0};
        char bytes[SLICES_MAX * SLICE_BYTES];
        struct slices again;

        map.count = 0;
        for (uint64_t body_id = 1; body_id < 30; body_id++) {
            state = state * UINT64_C(6364136223846793005) + 1442695040888963407U;
            uint64_t first = (state >> 33) % LENGTH;
            uint64_t end = first + 1 + (state >> 45) % (LENGTH - first);
            enum slices_added added = add(first, end, body_id);
            bool changed = false;
            for (uint64_t at = first; at < end && added != SLICES_FULL; at++) {
                changed = changed || model[at] == 0;
                model[at] = model[at] == 0 ? body_id : model[at];
            }
            cr_assert_eq(added == SLICES_ADDED, changed);
            for (uint64_t at = 0; at < LENGTH; at++) {
                const struct slice *slice = slices_at(&map, at);
                cr_assert_eq(slice == NULL ? 0 : slice->body_id, model[at]);
            }
        }
        slices_write(&map, bytes);
        struct span encoded = {bytes, map.count * SLICE_BYTES};
        cr_assert(slices_read(encoded, LENGTH, &again));
        cr_assert_eq(again.count, map.count);
        cr_assert_eq(memcmp(again.items, map.items, map.count * sizeof(map.items[0])), 0);
    }
}

Test(slices, what_is_no_map_is_refused)
{
    static const struct {
        const char *name;
        struct slice items[2];
        size_t count;
    } cases[] = {
        {"none", {{0}}, 0},
        {"empty", {{.first = 5, .end = 5, .body_id = 1}}, 1},
        {"backwards", {{.first = 5, .end = 4, .body_id = 1}}, 1},
        {"beyond the end", {{.first = 5, .end = LENGTH + 1, .body_id = 1}}, 1},
        {"no body", {{.first = 5, .end = 6}}, 1},
        {"a body id that is too large", {{.first = 5, .end = 6, .body_id = UINT64_C(1) << BODY_ID_BITS}}, 1},
        {"an offset that overflows", {{.first = 5, .end = 6, .body_id = 1, .offset = UINT64_MAX - 5}}, 1},
        {"descending", {{.first = 5, .end = 6, .body_id = 1}, {.first = 3, .end = 4, .body_id = 1}}, 2},
        {"overlapping", {{.first = 5, .end = 8, .body_id = 1}, {.first = 7, .end = 9, .body_id = 1}}, 2},
    };
    char bytes[SLICES_MAX * SLICE_BYTES];
    struct slices out;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        map.count = cases[i].count;
        memcpy(map.items, cases[i].items, cases[i].count * sizeof(map.items[0]));
        slices_write(&map, bytes);
        cr_expect_not(slices_read((struct span){bytes, map.count * SLICE_BYTES}, LENGTH, &out), "%s", cases[i].name);
    }
    map.count = 0;
    cr_assert_eq(add(0, 10, 1), SLICES_ADDED);
    slices_write(&map, bytes);
    cr_expect(slices_read((struct span){bytes, SLICE_BYTES}, LENGTH, &out));
    cr_expect_not(slices_read((struct span){bytes, SLICE_BYTES - 1}, LENGTH, &out), "cut off");
}
