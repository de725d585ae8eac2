/* test_arena.c: the bump allocator. */
#include <criterion/criterion.h>
#include <stdalign.h>
#include <string.h>

#include "tests/unit/support.h"

Test(arena, memory_is_aligned_zeroed_and_distinct)
{
    struct arena arena = test_arena();
    char *previous = NULL;

    for (size_t i = 1; i < 2000; i++) {
        char *text = arena_alloc_text(&arena, i % 7);
        char *memory = arena_alloc(&arena, i);

        cr_assert_not_null(text);
        cr_assert_not_null(memory);
        cr_assert_eq((uintptr_t)memory % alignof(max_align_t), 0);
        for (size_t k = 0; k < i; k++) {
            cr_assert_eq(memory[k], 0);
        }
        memset(memory, 0xff, i);
        memset(text, 0xff, i % 7);
        cr_assert_neq(memory, previous);
        previous = memory;
    }
    arena_finish(&arena);
}

Test(arena, the_limit_is_exact)
{
    struct arena arena;

    arena_init(&arena, 100);
    cr_expect_not_null(arena_alloc_text(&arena, 60));
    cr_expect_null(arena_alloc_text(&arena, 41), "n + 1");
    cr_expect_not_null(arena_alloc_text(&arena, 40), "n");
    cr_expect_null(arena_alloc_text(&arena, 1));
    cr_expect_eq(arena.used_bytes, 100);
    cr_expect_null(arena_alloc(&arena, SIZE_MAX));
    arena_finish(&arena);
}

Test(arena, a_reset_gives_everything_back_and_keeps_one_block)
{
    struct arena arena;

    arena_init(&arena, 1000000);
    for (int round = 0; round < 5; round++) {
        cr_assert_not_null(arena_alloc(&arena, 900000));
        cr_assert_null(arena_alloc(&arena, 200000));
        cr_assert_not_null(arena_alloc(&arena, 1000));
        arena_reset(&arena);
        cr_expect_eq(arena.used_bytes, 0);
        cr_expect_not_null(arena.blocks);
    }
    arena_finish(&arena);
    cr_expect_null(arena.blocks);
}

Test(arena, a_used_block_is_zeroed_again)
{
    struct arena arena = test_arena();
    char *memory = arena_alloc(&arena, 64);

    memset(memory, 'x', 64);
    arena_reset(&arena);
    memory = arena_alloc(&arena, 64);
    cr_expect_eq(memory[0], 0);
    cr_expect_eq(memory[63], 0);
    arena_finish(&arena);
}

Test(arena, allocates_nothing_until_used_and_finishes_twice)
{
    struct arena arena = {0};

    arena_finish(&arena);
    arena_init(&arena, 10);
    cr_expect_null(arena.blocks);
    arena_reset(&arena);
    arena_finish(&arena);
    arena_finish(NULL);
}

Test(arena, copies_joins_and_formats)
{
    struct arena arena = test_arena();
    struct span parts[] = {SPAN("a"), {NULL, 0}, SPAN("bc")};
    struct span text;

    cr_expect(arena_copy(&arena, SPAN("abc"), &text) && span_equal(text, SPAN("abc")));
    cr_expect(arena_copy(&arena, (struct span){NULL, 0}, &text) && text.len == 0);
    struct span first = SPAN("ab"), none = {NULL, 0}, last = SPAN("c");
    const char *before = first.data;
    cr_expect(arena_copy_texts(&arena, (struct span *[]){&first, &none, &last}, 3));
    cr_expect(span_equal(first, SPAN("ab")) && none.len == 0 && span_equal(last, SPAN("c")));
    cr_expect_neq(first.data, before);
    cr_expect_eq(last.data, first.data + 2, "all in one piece");
    cr_expect(arena_join(&arena, parts, 3, &text) && span_equal(text, SPAN("abc")));
    cr_expect(arena_format(&arena, &text, "%d-%s", 7, "x") && span_equal(text, SPAN("7-x")));
    arena_finish(&arena);
}

Test(arena, text_functions_leave_the_result_alone_at_the_limit)
{
    struct arena arena;
    struct span text = SPAN("before");

    arena_init(&arena, 2);
    cr_expect_not(arena_copy(&arena, SPAN("abc"), &text));
    cr_expect_not(arena_format(&arena, &text, "abc"));
    cr_expect(span_equal(text, SPAN("before")));
    cr_expect(arena_copy(&arena, SPAN("ab"), &text));
    arena_finish(&arena);
}

Test(arena, first_blocks_are_shared)
{
    struct arena_spares spares = {0};
    struct arena arenas[150];

    for (size_t i = 0; i < ARRAY_LEN(arenas); i++) {
        arena_init_sharing(&arenas[i], 1000 * 1000, &spares);
        cr_assert_not_null(arena_alloc(&arenas[i], 100));
        cr_assert_not_null(arena_alloc(&arenas[i], 100 * 1000)); /* a block of its own: never shared */
    }
    for (size_t i = 0; i < ARRAY_LEN(arenas); i++) {
        arena_finish(&arenas[i]);
    }
    cr_expect_lt(spares.count, ARRAY_LEN(arenas) / 2, "some at most");
    unsigned ready = spares.count;
    for (size_t i = 0; i < ARRAY_LEN(arenas); i++) {
        char *memory = arena_alloc(&arenas[i], 100);
        cr_assert_not_null(memory);
        cr_expect(memory[0] == 0 && memory[99] == 0);
        memset(memory, 'x', 100);
    }
    cr_expect_eq(spares.count, 0, "%u were ready", ready);
    for (size_t i = 0; i < ARRAY_LEN(arenas); i++) {
        arena_finish(&arenas[i]);
    }
    arena_spares_finish(&spares);
    cr_expect_null(spares.blocks);
}
