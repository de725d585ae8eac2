/* test_balance.c: shares by weight, least load, and what moves when an origin goes. */
#include "proxy/origin/balance.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "http/check.h"

enum { KEYS = 20000 };

static struct candidate candidates[4];

static void set_up(size_t count, const unsigned *weights)
{
    for (size_t i = 0; i < count; i++) {
        char url[64];
        (void)snprintf(url, sizeof url, "http://10.0.0.%zu:80", i + 1);
        candidates[i] = (struct candidate){.eligible = true, .weight = weights[i], .id = balance_hash(span_of(url))};
    }
}

static uint64_t key_of(unsigned number)
{
    char path[32];

    (void)snprintf(path, sizeof path, "/item/%u", number);
    return balance_hash(span_of(path));
}

Test(balance, round_robin_goes_in_turn_by_weight)
{
    static const struct {
        const char *name;
        unsigned weights[3];
        size_t count;
        const char *want;
    } cases[] = {
        {"alone", {1}, 1, "aaaa"},
        {"equal", {1, 1, 1}, 3, "abcabc"},
        {"two to one, not twice in a row at the round's start", {2, 1}, 2, "abaaba"},
        {"five to one to one", {5, 1, 1}, 3, "aabacaa"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        set_up(cases[i].count, cases[i].weights);
        for (const char *want = cases[i].want; *want != '\0'; want++) {
            cr_expect_eq(balance_choose(BALANCE_ROUND_ROBIN, candidates, cases[i].count, 0), *want - 'a',
                         "%s, turn %zu", cases[i].name, (size_t)(want - cases[i].want));
        }
    }
}

Test(balance, only_the_eligible_are_chosen)
{
    static const enum balance all[] = {BALANCE_ROUND_ROBIN, BALANCE_LEAST_CONNECTIONS, BALANCE_HASH};

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        set_up(3, (unsigned[]){1, 1, 1});
        candidates[0].eligible = false;
        candidates[2].eligible = false;
        for (unsigned key = 0; key < 20; key++) {
            cr_expect_eq(balance_choose(all[i], candidates, 3, key_of(key)), 1);
        }
        candidates[1].eligible = false;
        cr_expect_eq(balance_choose(all[i], candidates, 3, 0), BALANCE_NONE);
        cr_expect_eq(balance_choose(all[i], candidates, 0, 0), BALANCE_NONE);
    }
}

Test(balance, who_comes_back_has_no_credit_to_catch_up_with)
{
    unsigned turns[2] = {0, 0};

    set_up(2, (unsigned[]){1, 1});
    candidates[1].eligible = false;
    for (unsigned i = 0; i < 1000; i++) {
        cr_expect_eq(balance_choose(BALANCE_ROUND_ROBIN, candidates, 2, 0), 0);
    }
    candidates[1].eligible = true;
    for (unsigned i = 0; i < 10; i++) {
        turns[balance_choose(BALANCE_ROUND_ROBIN, candidates, 2, 0)]++;
    }
    cr_expect_eq(turns[0], 5u);
    cr_expect_eq(turns[1], 5u);
}

Test(balance, least_connections_by_weight)
{
    static const struct {
        const char *name;
        unsigned weights[3], requests[3];
        int want;
    } cases[] = {
        {"the one with the fewest", {1, 1, 1}, {3, 2, 5}, 1},
        {"idle", {1, 1, 1}, {1, 1, 0}, 2},
        {"twice the weight bears twice the load", {2, 1, 1}, {4, 2, 3}, 0},
        {"but not more", {2, 1, 1}, {6, 2, 4}, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        set_up(3, cases[i].weights);
        for (size_t k = 0; k < 3; k++) {
            candidates[k].requests = cases[i].requests[k];
        }
        cr_expect_eq(balance_choose(BALANCE_LEAST_CONNECTIONS, candidates, 3, 0), cases[i].want, "%s", cases[i].name);
    }
}

Test(balance, least_connections_go_in_turn_among_equals)
{
    set_up(3, (unsigned[]){1, 1, 1});
    for (int i = 0; i < 9; i++) {
        cr_expect_eq(balance_choose(BALANCE_LEAST_CONNECTIONS, candidates, 3, 0), i % 3);
    }
    cr_expect(candidates[0].eligible && candidates[1].eligible && candidates[2].eligible, "as they were");
}

Test(balance, keys_are_shared_out_by_weight)
{
    unsigned keys[3] = {0};

    set_up(3, (unsigned[]){1, 1, 2});
    for (unsigned key = 0; key < KEYS; key++) {
        keys[balance_choose(BALANCE_HASH, candidates, 3, key_of(key))]++;
    }
    cr_expect_float_eq(keys[0], KEYS / 4.0, KEYS / 50.0, "%u", keys[0]);
    cr_expect_float_eq(keys[1], KEYS / 4.0, KEYS / 50.0, "%u", keys[1]);
    cr_expect_float_eq(keys[2], KEYS / 2.0, KEYS / 50.0, "%u", keys[2]);
}

Test(balance, only_the_keys_of_the_origin_that_goes_move)
{
    unsigned moved_to[4] = {0};
    unsigned of_gone = 0;

    set_up(4, (unsigned[]){1, 1, 1, 1});
    for (unsigned key = 0; key < KEYS; key++) {
        candidates[2].eligible = true;
        int before = balance_choose(BALANCE_HASH, candidates, 4, key_of(key));
        cr_expect_eq(balance_choose(BALANCE_HASH, candidates, 4, key_of(key)), before);
        candidates[2].eligible = false;
        int after = balance_choose(BALANCE_HASH, candidates, 4, key_of(key));
        if (before == 2) {
            of_gone++;
            moved_to[after]++;
        } else {
            cr_expect_eq(after, before);
        }
    }
    for (int i = 0; i < 4; i++) {
        cr_expect_float_eq(moved_to[i], i == 2 ? 0 : of_gone / 3.0, of_gone / 10.0, "all others share them");
    }
}

Test(balance, one_hot_key_does_not_fill_one_origin)
{
    unsigned total = 0;

    set_up(4, (unsigned[]){1, 1, 1, 1});
    int first = balance_choose(BALANCE_HASH, candidates, 4, key_of(1));
    for (; total < 100; total++) {
        int chosen = balance_choose(BALANCE_HASH, candidates, 4, key_of(1));
        cr_assert_neq(chosen, BALANCE_NONE, "somebody may always have one more");
        candidates[chosen].requests++;
    }
    cr_expect_leq(candidates[first].requests, 32u, "5/4 of the fair share, rounded up");
    cr_expect_geq(candidates[first].requests, 31u);
}
