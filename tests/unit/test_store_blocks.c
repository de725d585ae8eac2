/* The blocks of the body file: the rules of reuse, and random batches beside a model that keeps a byte a block. */
#include "cache/store_blocks.h"

#include <criterion/criterion.h>
#include <string.h>

#include "store_support.h"

enum { COUNT = 2 * BLOCKS_PER_SEGMENT + 1000 };

static struct blocks *blocks;

static void setup(void)
{
    blocks = blocks_create(COUNT);
    cr_assert_not_null(blocks);
}

static void teardown(void)
{
    blocks_destroy(blocks);
}

TestSuite(store_blocks, .init = setup, .fini = teardown);

static struct extent take(uint64_t wanted)
{
    struct extent extent = {0, 0};

    cr_assert(blocks_take(blocks, wanted, &extent));
    return extent;
}

Test(store_blocks, a_body_gets_one_extent_where_there_is_room)
{
    struct extent first = take(100);
    struct extent second = take(1);

    cr_expect_eq(first.count, 100);
    cr_expect_eq(second.first, first.first + 100, "next to it: the search goes on where it ended");
    cr_expect_eq(blocks_used(blocks), 101);
    cr_expect_eq(blocks_available(blocks), COUNT - 101);
}

Test(store_blocks, an_extent_crosses_words_and_segments)
{
    struct extent extent = take(BLOCKS_PER_SEGMENT + 10);
    uint64_t segment = 0;
    const uint64_t *words;

    cr_expect_eq(extent.count, BLOCKS_PER_SEGMENT + 10);
    cr_assert(blocks_next_dirty(blocks, &segment, &words));
    cr_expect_eq(segment, 0);
    cr_expect_eq(words[BLOCKS_SEGMENT_WORDS - 1], UINT64_MAX);
    segment++;
    cr_assert(blocks_next_dirty(blocks, &segment, &words));
    cr_expect_eq(segment, 1);
    cr_expect_eq(words[0], 0x3ff);
    segment++;
    cr_expect_not(blocks_next_dirty(blocks, &segment, &words), "the third was not touched");
}

Test(store_blocks, the_last_block_can_be_taken_and_none_behind_it)
{
    uint64_t taken = 0;
    struct extent extent;

    while (blocks_take(blocks, 10000, &extent)) {
        taken += extent.count;
        cr_assert_leq(extent.first + extent.count, COUNT);
    }
    cr_expect_eq(taken, COUNT);
    cr_expect_eq(blocks_available(blocks), 0);
}

/* Rule 3: the state that a power cut may bring back still has them. */
Test(store_blocks, what_a_batch_gives_back_is_used_again_two_batches_later)
{
    struct extent extent;

    while (blocks_take(blocks, UINT64_MAX, &extent)) {
    }
    blocks_commit(blocks);
    cr_assert_eq(blocks_give_back(blocks, (struct extent){5, 3}), ERR_OK);
    cr_expect_not(blocks_take(blocks, 1, &extent), "in the same batch");
    blocks_commit(blocks);
    cr_expect_eq(blocks_used(blocks), COUNT - 3);
    cr_expect_not(blocks_take(blocks, 1, &extent), "in the next");
    blocks_commit(blocks);
    cr_assert(blocks_take(blocks, 10, &extent), "in the one after");
    cr_expect_eq(extent.first, 5);
    cr_expect_eq(extent.count, 3);
}

Test(store_blocks, an_aborted_batch_does_not_shorten_the_wait)
{
    struct extent extent;

    while (blocks_take(blocks, UINT64_MAX, &extent)) {
    }
    blocks_commit(blocks);
    cr_assert_eq(blocks_give_back(blocks, (struct extent){5, 3}), ERR_OK);
    blocks_commit(blocks);
    blocks_abort(blocks);
    blocks_abort(blocks);
    cr_expect_not(blocks_take(blocks, 1, &extent));
    blocks_commit(blocks);
    cr_expect(blocks_take(blocks, 1, &extent));
}

Test(store_blocks, an_aborted_batch_leaves_nothing)
{
    struct extent kept = take(100);
    struct extent extent;
    uint64_t segment = 0;
    const uint64_t *words;

    blocks_commit(blocks);
    extent = take(50);
    cr_assert_eq(blocks_give_back(blocks, kept), ERR_OK);
    cr_assert_eq(blocks_give_back(blocks, extent), ERR_OK, "taken and given back in one batch");
    blocks_abort(blocks);
    cr_expect_eq(blocks_used(blocks), 100);
    cr_expect_eq(blocks_available(blocks), COUNT - 100, "what was never committed need not wait");
    cr_expect_not(blocks_next_dirty(blocks, &segment, &words));
    cr_expect_eq(blocks_give_back(blocks, kept), ERR_OK);
}

Test(store_blocks, what_is_not_in_use_cannot_be_given_back)
{
    struct extent extent = take(100);

    cr_expect_eq(blocks_give_back(blocks, (struct extent){extent.first + 50, 51}), ERR_DAMAGED, "half of it free");
    cr_expect_eq(blocks_give_back(blocks, (struct extent){COUNT - 1, 2}), ERR_DAMAGED, "behind the end");
    cr_expect_eq(blocks_give_back(blocks, (struct extent){UINT64_MAX, 2}), ERR_DAMAGED);
    cr_expect_eq(blocks_give_back(blocks, (struct extent){0, UINT64_MAX}), ERR_DAMAGED);
    cr_expect_eq(blocks_give_back(blocks, (struct extent){0, 0}), ERR_DAMAGED);
    cr_expect_eq(blocks_used(blocks), 100);
    cr_expect_eq(blocks_give_back(blocks, extent), ERR_OK);
    cr_expect_eq(blocks_give_back(blocks, extent), ERR_DAMAGED, "twice");
}

/* The file is to become shorter, and later longer again. */
Test(store_blocks, nothing_is_taken_behind_the_bound)
{
    struct extent behind;
    struct extent extent;

    cr_assert(blocks_take(blocks, COUNT, &behind));
    blocks_commit(blocks);
    blocks_set_bound(blocks, 1000);
    cr_expect_eq(blocks_used(blocks), COUNT);
    cr_expect_eq(blocks_used_within(blocks), 1000);
    cr_expect_eq(blocks_available(blocks), 0);
    cr_assert_eq(blocks_give_back(blocks, (struct extent){900, COUNT - 900}), ERR_OK, "across it");
    cr_expect_eq(blocks_end(blocks), 900);
    blocks_commit(blocks);
    cr_expect_eq(blocks_busy_end(blocks), COUNT, "it waits, there, too");
    cr_expect_not(blocks_take(blocks, 1, &extent));
    blocks_commit(blocks);
    cr_expect_eq(blocks_busy_end(blocks), 900);
    cr_expect_eq(blocks_available(blocks), 100);
    cr_assert(blocks_take(blocks, COUNT, &extent));
    cr_expect(extent.first == 900 && extent.count == 100);
    cr_expect_not(blocks_take(blocks, 1, &extent));
    blocks_abort(blocks);
    blocks_set_bound(blocks, 2000);
    cr_expect_eq(blocks_available(blocks), 1100);
    cr_expect_eq(blocks_used_within(blocks), 900);
}

/* The file is shorter than when they were written. */
Test(store_blocks, free_segments_behind_the_last_are_no_damage)
{
    uint64_t words[BLOCKS_SEGMENT_WORDS] = {0};

    cr_expect(blocks_load(blocks, COUNT / BLOCKS_PER_SEGMENT + 5, words));
    cr_expect_eq(blocks_used(blocks), 0);
    words[0] = 1;
    cr_expect_not(blocks_load(blocks, COUNT / BLOCKS_PER_SEGMENT + 5, words));
}

Test(store_blocks, a_damaged_bitmap_is_refused)
{
    uint64_t words[BLOCKS_SEGMENT_WORDS] = {0};

    words[1000 / 64] = UINT64_C(1) << 1000 % 64;
    cr_expect_not(blocks_load(blocks, 2, words), "the block behind the last");
    cr_expect_not(blocks_load(blocks, 3, words), "a segment too many");
    words[1000 / 64] = UINT64_C(1) << 999 % 64;
    cr_expect(blocks_load(blocks, 2, words), "the last block");
    cr_expect_not(blocks_load(blocks, 2, words), "loaded twice");
    cr_expect_eq(blocks_used(blocks), 1);
}

/* ---- beside a model ---- */

enum { BODIES = 200, BATCHES = 600, EXTENTS_MAX = 64 };

struct body {
    struct extent extents[EXTENTS_MAX];
    size_t count;
};

struct model {
    struct body bodies[BODIES];
    char owner[COUNT];     /* 0: free; else a body's number + 1, truncated: what a reader would find there */
    unsigned freed[COUNT]; /* the batch that gave it back last; 0: none */
};

static struct model now;
static struct model committed;

static void drop(struct body *body, unsigned batch)
{
    for (size_t i = 0; i < body->count; i++) {
        cr_assert_eq(blocks_give_back(blocks, body->extents[i]), ERR_OK);
        for (uint64_t n = 0; n < body->extents[i].count; n++) {
            now.owner[body->extents[i].first + n] = 0;
            now.freed[body->extents[i].first + n] = batch;
        }
    }
    body->count = 0;
}

static void fill(struct body *body, char owner, uint64_t wanted, unsigned batch)
{
    while (wanted > 0 && body->count < EXTENTS_MAX && blocks_take(blocks, wanted, &body->extents[body->count])) {
        struct extent extent = body->extents[body->count];
        for (uint64_t n = extent.first; n < extent.first + extent.count; n++) {
            cr_assert_eq(now.owner[n], 0, "block %llu belongs to another body", (unsigned long long)n);
            cr_assert(now.freed[n] == 0 || now.freed[n] + 2 <= batch, "given back by %u, taken by %u", now.freed[n],
                      batch);
            now.owner[n] = owner;
        }
        body->count++;
        wanted -= extent.count;
    }
}

/* What was written with the batches, as it would be read by an open. */
static void expect_loads(uint64_t segments_words[][BLOCKS_SEGMENT_WORDS])
{
    struct blocks *loaded = blocks_create(COUNT);
    uint64_t used = 0;

    for (uint64_t i = 0; i < 3; i++) {
        cr_assert(blocks_load(loaded, i, segments_words[i]));
    }
    for (size_t n = 0; n < COUNT; n++) {
        uint64_t word = segments_words[n / BLOCKS_PER_SEGMENT][n % BLOCKS_PER_SEGMENT / 64];
        cr_assert_eq(word >> n % 64 & 1, now.owner[n] != 0, "block %zu", n);
        used += now.owner[n] != 0;
    }
    cr_expect_eq(blocks_used(loaded), used);
    cr_expect(blocks_end(loaded) == 0 || now.owner[blocks_end(loaded) - 1] != 0);
    for (uint64_t n = blocks_end(loaded); n < COUNT; n++) {
        cr_assert_eq(now.owner[n], 0);
    }
    cr_expect_eq(blocks_used(blocks), used);
    blocks_destroy(loaded);
}

Test(store_blocks, random_batches_do_what_the_model_does)
{
    static uint64_t written[3][BLOCKS_SEGMENT_WORDS];
    uint64_t random = 7;

    for (unsigned batch = 1; batch <= BATCHES;) {
        for (unsigned i = 0; i < 12; i++) {
            uint64_t pick = support_random(&random);
            struct body *body = &now.bodies[pick % BODIES];
            drop(body, batch);
            fill(body, (char)(pick % BODIES % 100 + 1), support_random(&random) % 1200, batch);
        }
        if (support_random(&random) % 4 == 0) {
            blocks_abort(blocks);
            now = committed;
            continue;
        }
        const uint64_t *words;
        for (uint64_t segment = 0; blocks_next_dirty(blocks, &segment, &words); segment++) {
            memcpy(written[segment], words, sizeof(written[segment]));
        }
        blocks_commit(blocks);
        committed = now;
        batch++;
    }
    expect_loads(written);
}
