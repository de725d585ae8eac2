/* test_client_limits.c: who a client is, how many connections it has, how often it may ask, how slow it may be. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "proxy/client/client_id.h"
#include "proxy/client/client_table.h"
#include "proxy/client/rate_limit.h"
#include "proxy/io/pace.h"
#include "tests/unit/support.h"

#define SECOND_US UINT64_C(1000000)

static struct client_id id_of(const char *text)
{
    struct client_id id = {{0}};

    cr_assert(client_id_of(span_of(text), 64, &id), "%s", text);
    return id;
}

static bool same(const char *a, const char *b)
{
    struct client_id first = id_of(a), second = id_of(b);

    return memcmp(first.bytes, second.bytes, sizeof first.bytes) == 0;
}

Test(client_id, an_ipv6_client_is_its_network)
{
    struct client_id id;

    cr_expect(same("2001:db8::1", "2001:db8::ffff:ffff:1:2"));
    cr_expect_not(same("2001:db8::1", "2001:db8:0:1::1"));
    cr_expect_not(same("192.0.2.1", "192.0.2.2"));
    cr_expect(same("192.0.2.1", "::ffff:192.0.2.1"));
    cr_expect_not(client_id_of(SPAN("unix"), 64, &id));
    cr_expect_not(client_id_of(SPAN(""), 64, &id));
    cr_expect_not(client_id_of(SPAN("1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20"), 64, &id));
}

Test(client_table, counts_each_client_for_itself)
{
    struct client_table *table = client_table_create(7);
    struct client_id one = id_of("192.0.2.1"), other = id_of("192.0.2.2");

    cr_assert_not_null(table);
    cr_expect(client_table_enter(table, &one, 2));
    cr_expect(client_table_enter(table, &one, 2));
    cr_expect_not(client_table_enter(table, &one, 2));
    cr_expect(client_table_enter(table, &other, 2));
    client_table_leave(table, &one);
    cr_expect(client_table_enter(table, &one, 2));
    client_table_leave(table, &one);
    client_table_leave(table, &one);
    client_table_leave(table, &other);
    client_table_destroy(table);
}

static unsigned take_all(struct rate_limit *limit, const struct client_id *id, struct rate rate, uint64_t now_us)
{
    unsigned taken = 0;
    uint64_t wait_us;

    while (taken < 1000 && rate_limit_take(limit, id, SPAN("site"), SPAN("rule"), &rate, now_us, &wait_us)) {
        taken++;
    }
    return taken;
}

Test(rate_limit, a_burst_and_then_the_rate)
{
    struct rate_limit *limit = rate_limit_create(7);
    struct rate rate = {.interval_us = SECOND_US / 10, .burst = 5};
    struct client_id id = id_of("192.0.2.1");
    uint64_t now_us = 1000 * SECOND_US;
    uint64_t wait_us = 0;

    cr_expect_eq(take_all(limit, &id, rate, now_us), 5);
    cr_expect_not(rate_limit_take(limit, &id, SPAN("site"), SPAN("rule"), &rate, now_us, &wait_us));
    cr_expect_eq(wait_us, SECOND_US / 10);
    cr_expect_eq(take_all(limit, &id, rate, now_us + SECOND_US / 10), 1);
    cr_expect_eq(take_all(limit, &id, rate, now_us + 3 * SECOND_US), 5, "never more than the burst");
    cr_expect(rate_limit_take(limit, &id, SPAN("site"), SPAN("other"), &rate, now_us + 3 * SECOND_US, &wait_us),
              "each rule counts for itself");
    rate_limit_destroy(limit);
}

/* Whoever used up its burst has not got it back after any number of other clients came. */
Test(rate_limit, a_flood_of_clients_frees_nobody)
{
    struct rate_limit *limit = rate_limit_create(7);
    struct rate rate = {.interval_us = SECOND_US, .burst = 10};
    struct client_id id = id_of("192.0.2.1");
    uint64_t now_us = 1000 * SECOND_US;

    unsigned taken = 0;

    cr_expect_eq(take_all(limit, &id, rate, now_us), 10);
    for (unsigned i = 0; i < 200000; i++) {
        char text[64];
        uint64_t wait_us;
        snprintf(text, sizeof text, "2001:db8:%x:%x::1", i >> 16, i & 0xffff);
        struct client_id other = id_of(text);
        taken += rate_limit_take(limit, &other, SPAN("site"), SPAN("rule"), &rate, now_us, &wait_us) ? 1 : 0;
    }
    cr_expect_eq(taken, 200000, "each is served, as if it came alone: %u", taken);
    cr_expect_eq(take_all(limit, &id, rate, now_us), 0);
    rate_limit_destroy(limit);
}

Test(rate_limit, a_newcomer_does_not_pay_for_others)
{
    struct rate_limit *limit = rate_limit_create(7);
    struct rate rate = {.interval_us = SECOND_US, .burst = 2};
    uint64_t now_us = 1000 * SECOND_US;
    unsigned short_of_burst = 0;

    for (unsigned i = 0; i < 200000; i++) { /* all of the table and more use up what they have */
        char text[64];
        snprintf(text, sizeof text, "2001:db8:%x:%x::1", i >> 16, i & 0xffff);
        struct client_id id = id_of(text);
        short_of_burst += take_all(limit, &id, rate, now_us) == 2 ? 0 : 1;
    }
    cr_expect_eq(short_of_burst, 0, "%u", short_of_burst);
    rate_limit_destroy(limit);
}

Test(pace, only_the_time_of_waiting_counts)
{
    struct pace pace;

    pace_begin(&pace);
    pace_wait(&pace, 1000);
    cr_expect(pace_moved(&pace, 1900, 1, 100, 1000), "the window is not full yet");
    cr_expect(pace_moved(&pace, 90000, 1, 100, 1000), "nobody waited");
    pace_wait(&pace, 90000);
    cr_expect_not(pace_moved(&pace, 90200, 2, 100, 1000), "2 bytes in 1.1 s");
    pace_wait(&pace, 91000);
    cr_expect(pace_moved(&pace, 92000, 102, 100, 1000), "100 bytes in 1 s");
    pace_wait(&pace, 92000);
    cr_expect(pace_moved(&pace, 93000, 102, 0, 1000), "no limit");
}
