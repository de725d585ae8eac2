/* test_adaptive_limit.c: the limit against origins of known behaviour. */
#include "proxy/origin/adaptive_limit.h"

#include <criterion/criterion.h>

static uint64_t now_ms;

/* A window in which `under_way` requests were there all the time and took so long. */
static void window(struct adaptive_limit *limit, uint64_t took_ms, unsigned under_way)
{
    for (unsigned i = 0; i < ADAPTIVE_WINDOW_ANSWERS; i++) {
        now_ms += ADAPTIVE_WINDOW_MS / ADAPTIVE_WINDOW_ANSWERS + 1;
        adaptive_limit_answered(limit, took_ms, under_way, now_ms);
    }
}

Test(adaptive_limit, begins_low_and_within_the_maximum)
{
    struct adaptive_limit limit;

    adaptive_limit_init(&limit, 256);
    cr_expect_eq(adaptive_limit_now(&limit), (unsigned)ADAPTIVE_START);
    adaptive_limit_init(&limit, 2);
    cr_expect_eq(adaptive_limit_now(&limit), 2u);
    adaptive_limit_timed_out(&limit, 1);
    cr_expect_eq(adaptive_limit_now(&limit), 2u, "no minimum above the maximum");
}

Test(adaptive_limit, grows_while_answers_are_as_fast_as_usual)
{
    struct adaptive_limit limit;

    adaptive_limit_init(&limit, 256);
    for (unsigned i = 0; i < 100; i++) {
        window(&limit, 20, adaptive_limit_now(&limit));
    }
    cr_expect_eq(adaptive_limit_now(&limit), 256u);
}

Test(adaptive_limit, does_not_grow_unused)
{
    struct adaptive_limit limit;

    adaptive_limit_init(&limit, 256);
    for (unsigned i = 0; i < 100; i++) {
        window(&limit, 20, 3);
    }
    cr_expect_eq(adaptive_limit_now(&limit), (unsigned)ADAPTIVE_START);
}

/* An origin with room for 20: what is beyond waits in it. */
Test(adaptive_limit, settles_where_the_origin_begins_to_queue)
{
    struct adaptive_limit limit;

    adaptive_limit_init(&limit, 256);
    window(&limit, 50, 20);
    for (unsigned i = 0; i < 40; i++) {
        unsigned under_way = adaptive_limit_now(&limit);
        window(&limit, 50 * (under_way > 20 ? under_way : 20) / 20, under_way);
    }
    cr_expect_geq(adaptive_limit_now(&limit), 20u);
    cr_expect_leq(adaptive_limit_now(&limit), 60u, "%u", adaptive_limit_now(&limit));
}

Test(adaptive_limit, a_time_out_cuts_it_once_a_window)
{
    struct adaptive_limit limit;

    adaptive_limit_init(&limit, 256);
    adaptive_limit_timed_out(&limit, 1000);
    adaptive_limit_timed_out(&limit, 1001);
    adaptive_limit_timed_out(&limit, 1000 + ADAPTIVE_WINDOW_MS - 1);
    cr_expect_eq(adaptive_limit_now(&limit), ADAPTIVE_START * 3u / 4);
    for (uint64_t i = 1; i < 50; i++) {
        adaptive_limit_timed_out(&limit, 1000 + i * ADAPTIVE_WINDOW_MS);
    }
    cr_expect_eq(adaptive_limit_now(&limit), (unsigned)ADAPTIVE_MINIMUM, "but never to nothing");
}

Test(adaptive_limit, recovers)
{
    struct adaptive_limit limit;

    adaptive_limit_init(&limit, 256);
    now_ms = 1;
    window(&limit, 20, 32);
    for (uint64_t i = 0; i < 50; i++) {
        now_ms += ADAPTIVE_WINDOW_MS;
        adaptive_limit_timed_out(&limit, now_ms);
    }
    for (unsigned i = 0; i < 30; i++) {
        window(&limit, 20, adaptive_limit_now(&limit));
    }
    cr_expect_gt(adaptive_limit_now(&limit), 100u);
}
