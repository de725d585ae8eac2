/* test_metrics.c: what workers count, by site, however many sites, workers and configurations there were. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/observe/metrics.h"

enum { MANY = 1000 };

static struct metrics *metrics;

static void setup(void)
{
    metrics = metrics_create();
    cr_assert_not_null(metrics);
}

static void teardown(void)
{
    metrics_destroy(metrics);
}

TestSuite(metrics, .init = setup, .fini = teardown);

static struct metrics_shard *shard_of(const struct config *config)
{
    struct metrics_shard *shard = metrics_shard_create(metrics, config);

    cr_assert_not_null(shard);
    return shard;
}

static void count(struct metrics_shard *shard, const struct site *site, size_t requests)
{
    static const struct metrics_request request = {
        .outcome = OUTCOME_HIT, .reason = REASON_FRESH, .status = 200, .sent_bytes = 10};

    for (size_t i = 0; i < requests; i++) {
        metrics_count_begin(shard);
        metrics_count_request(shard, site, &request);
    }
}

/* "name=requests name=requests ", in the order in which they are told. */
static bool add_text(void *arg, const struct metrics_site_sums *sums) /* metrics_site_fn */
{
    char *text = arg;

    cr_expect_eq(sums->hits, sums->requests);
    cr_expect_eq(sums->sent_bytes, 10 * sums->requests);
    (void)sprintf(text + strlen(text), "%s=%d ", sums->name, (int)sums->requests);
    return true;
}

static void expect(const char *want)
{
    char text[256] = "";

    cr_assert(metrics_each_site(metrics, add_text, text));
    cr_expect_str_eq(text, want);
}

Test(metrics, sites_of_one_name_are_one_over_workers_and_configurations)
{
    struct site before[] = {{.name = "a"}, {.name = "b"}, {.name = "a"}};
    struct site after[] = {{.name = "b"}, {.name = "c"}};
    struct config first = {.sites = before, .site_count = ARRAY_LEN(before)};
    struct config second = {.sites = after, .site_count = ARRAY_LEN(after)};
    struct metrics_shard *one = shard_of(&first);
    struct metrics_shard *other = shard_of(&first);
    struct metrics_sums sums;

    expect("");
    count(one, &before[1], 1);
    count(one, &before[2], 2);
    count(other, &before[0], 3);
    metrics_retire(metrics, one);
    expect("b=1 a=5 ");
    struct metrics_shard *newer = shard_of(&second);
    count(newer, &after[0], 4);
    count(newer, &after[1], 5);
    count(newer, NULL, 6);
    metrics_retire(metrics, other);
    expect("b=5 a=5 c=5 =6 ");
    metrics_retire(metrics, newer);
    expect("b=5 a=5 c=5 =6 ");
    metrics_sum(metrics, &sums);
    cr_expect(sums.requests == 21 && sums.hits == 21 && sums.in_flight == 0);
}

Test(metrics, refusals_of_workers_that_ended_stay)
{
    struct config config = {0};
    struct metrics_shard *one = shard_of(&config);
    struct metrics_shard *other = shard_of(&config);
    struct metrics_sums sums;

    metrics_count_refusal(NULL, REFUSAL_RATE);
    metrics_count_refusal(one, REFUSAL_CONNECTIONS);
    metrics_count_refusal(one, REFUSAL_RATE);
    metrics_count_refusal(other, REFUSAL_CONNECTIONS);
    metrics_count_accept_pause(NULL);
    metrics_count_accept_pause(one);
    metrics_count_accept_pause(other);
    metrics_retire(metrics, one);
    metrics_sum(metrics, &sums);
    cr_expect(sums.refusals[REFUSAL_CONNECTIONS] == 2 && sums.refusals[REFUSAL_RATE] == 1);
    cr_expect(sums.refusals[REFUSAL_CLIENT_CONNECTIONS] == 0 && sums.requests == 0);
    cr_expect_eq(sums.accept_pauses, 2);
    metrics_retire(metrics, other);
}

static bool count_sites(void *arg, const struct metrics_site_sums *sums) /* metrics_site_fn */
{
    (*(size_t *)arg)++;
    cr_expect_eq(sums->requests, 2, "%s", sums->name);
    return true;
}

Test(metrics, many_sites)
{
    struct site *sites = calloc(MANY, sizeof(*sites));
    char(*names)[16] = calloc(MANY, sizeof(*names));
    size_t told = 0;

    cr_assert(sites != NULL && names != NULL);
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "site-%04zu", i); /* in order: the worst for a tree */
        sites[i].name = names[i];
    }
    struct config config = {.sites = sites, .site_count = MANY};
    struct metrics_shard *shards[] = {shard_of(&config), shard_of(&config)};
    for (size_t i = 0; i < MANY; i++) {
        count(shards[0], &sites[i], 1);
        count(shards[1], &sites[MANY - 1 - i], 1);
    }
    cr_expect(metrics_each_site(metrics, count_sites, &told));
    cr_expect_eq(told, MANY);
    metrics_retire(metrics, shards[0]);
    metrics_retire(metrics, shards[1]);
    told = 0;
    cr_expect(metrics_each_site(metrics, count_sites, &told));
    cr_expect_eq(told, MANY);
    free(names);
    free(sites);
}
