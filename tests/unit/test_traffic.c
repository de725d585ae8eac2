/* test_traffic.c: the heaviest keys in bounded memory (heavy.h), and what the traffic is made of, by time
 * (traffic.h). */
#include <criterion/criterion.h>
#include <stdio.h>

#include "proxy/observe/traffic.h"

#define NOW_MS    (INT64_C(1700000000) * 1000)
#define MINUTE_MS (INT64_C(60) * 1000)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)

/* ---- heavy.h ---- */

static void count_key(struct heavy *heavy, unsigned key, uint64_t weight)
{
    char text[16];
    int len = snprintf(text, sizeof text, "key %u", key);

    heavy_count(heavy, (struct span){text, (size_t)len}, key * UINT64_C(0x9e3779b97f4a7c15), weight)->requests++;
}

struct found {
    size_t rows;
    uint64_t requests;
    uint64_t of_key[8]; /* requests of the first few */
};

static bool find_row(void *arg, const struct heavy_row *row)
{
    struct found *found = arg;
    uint64_t key = 0;

    cr_assert(span_to_u64(span_skip((struct span){row->key, row->key_len}, 4), &key));
    found->rows++;
    found->requests += row->counts.requests;
    if (key < ARRAY_LEN(found->of_key)) {
        found->of_key[key] = row->counts.requests;
    }
    return true;
}

static struct found find(const struct heavy *heavy)
{
    struct found found = {0};

    heavy_each(heavy, find_row, &found);
    return found;
}

Test(heavy, what_fits_is_counted_exactly)
{
    struct heavy *heavy = heavy_create(64, 16);

    for (unsigned i = 0; i < 100; i++) {
        count_key(heavy, i % 5, 1);
    }
    struct found found = find(heavy);
    cr_expect_eq(found.rows, 5);
    for (size_t key = 0; key < 5; key++) {
        cr_expect_eq(found.of_key[key], 20);
    }
    cr_expect_eq(heavy_rest(heavy).requests, 0);
    heavy_clear(heavy);
    cr_expect_eq(find(heavy).rows, 0);
    heavy_destroy(heavy);
}

/* Keys that come once each never push out what comes often, and what made room is in the rest. */
Test(heavy, the_heavy_stay_among_very_many)
{
    struct heavy *heavy = heavy_create(64, 16);
    enum { ROUNDS = 2000 };

    for (unsigned i = 0; i < ROUNDS; i++) {
        count_key(heavy, i % 4, 1);
        count_key(heavy, 1000 + i, 1);
    }
    struct found found = find(heavy);
    for (size_t key = 0; key < 4; key++) {
        cr_expect_eq(found.of_key[key], ROUNDS / 4, "key %zu", key);
    }
    cr_expect_leq(found.rows, 64);
    cr_expect_eq(found.requests + heavy_rest(heavy).requests, 2 * ROUNDS);
    heavy_destroy(heavy);
}

Test(heavy, a_weight_counts_as_many)
{
    struct heavy *heavy = heavy_create(HEAVY_WAYS, 16);

    count_key(heavy, 0, 1000);
    for (unsigned i = 0; i < 500; i++) {
        count_key(heavy, 1000 + i, 1);
    }
    cr_expect_eq(find(heavy).of_key[0], 1);
    heavy_destroy(heavy);
}

Test(heavy, tables_are_added_up)
{
    struct heavy *sum = heavy_create(64, 16);
    struct heavy *other = heavy_create(16, 16);

    for (unsigned i = 0; i < 200; i++) {
        count_key(sum, 1, 1);
        count_key(other, i % 2 == 0 ? 1 : 100 + i, 1);
    }
    uint64_t all = find(other).requests + heavy_rest(other).requests;
    cr_expect_eq(all, 200);
    heavy_merge(sum, other);
    cr_expect_eq(find(sum).of_key[1], 300);
    cr_expect_eq(find(sum).requests + heavy_rest(sum).requests, 400);
    heavy_destroy(other);
    heavy_destroy(sum);
}

Test(heavy, keys_are_cut)
{
    struct heavy *heavy = heavy_create(8, 4);

    count_key(heavy, 1, 1);
    count_key(heavy, 1, 1);
    struct heavy_counts *counts = heavy_count(heavy, SPAN("key "), UINT64_C(0x9e3779b97f4a7c15), 1);
    cr_expect_eq(counts->requests, 2);
    heavy_destroy(heavy);
}

/* ---- traffic.h ---- */

static struct site site = {.name = "www.example.com"};
static const struct config config = {.sites = &site, .site_count = 1};

static void count(struct traffic_shard *shard, const char *path, enum reason reason, const char *rule)
{
    const struct uri uri = {.scheme = SPAN("http"),
                            .authority = SPAN("www.example.com"),
                            .path = span_of(path),
                            .query = SPAN("q=1"),
                            .has_query = true};
    const struct traffic_event event = {
        .site = &site,
        .uri = &uri,
        .reason = reason,
        .rule = rule,
        .counts = {.requests = 1, .sent_bytes = 10, .received_bytes = 100, .origin_us = 1000}};

    traffic_count(shard, &event);
}

static bool sum_rows(void *arg, const struct heavy_row *row)
{
    heavy_add(arg, &row->counts);
    return true;
}

/* Requests since then. */
static uint64_t requests_since(const struct traffic *traffic, int64_t since_ms, int64_t now_ms, int64_t *out_from_ms)
{
    struct heavy_counts sum = {0};
    struct heavy *table = traffic_report(traffic, since_ms, now_ms, out_from_ms);

    heavy_each(table, sum_rows, &sum);
    heavy_destroy(table);
    return sum.requests;
}

struct routes {
    size_t count;
    char texts[16][128];
};

static bool list_route(void *arg, const struct heavy_row *row)
{
    struct routes *routes = arg;
    struct traffic_key key = traffic_key_of(row);

    (void)snprintf(routes->texts[routes->count++], sizeof(routes->texts[0]), "%s %.*s %.*s %.*s",
                   reason_token(key.reason), SPAN_ARG(key.site), SPAN_ARG(key.rule), SPAN_ARG(key.route));
    return true;
}

static bool has_route(const struct routes *routes, const char *text)
{
    for (size_t i = 0; i < routes->count; i++) {
        if (strcmp(routes->texts[i], text) == 0) {
            return true;
        }
    }
    return false;
}

Test(traffic, rows_are_site_reason_rule_and_route)
{
    struct traffic *traffic = traffic_create(1, NOW_MS);
    struct traffic_shard *shard = traffic_shard_create(traffic, &config);
    struct routes routes = {0};
    int64_t from_ms;

    count(shard, "/", REASON_FRESH, NULL);
    count(shard, "/index.html", REASON_FRESH, NULL);
    count(shard, "/about.html", REASON_FRESH, NULL);
    count(shard, "/static/a.css", REASON_SET_COOKIE, NULL);
    count(shard, "/static/js/b.js", REASON_SET_COOKIE, NULL);
    count(shard, "/api/1", REASON_BYPASS_RULE, "api");
    count(shard, "/a-first-segment-that-is-longer-than-anyone-would-like-to-read/1", REASON_FRESH, NULL);
    traffic_collect(traffic, NOW_MS);
    struct heavy *table = traffic_report(traffic, 0, NOW_MS, &from_ms);
    heavy_each(table, list_route, &routes);
    cr_expect_eq(routes.count, 5);
    cr_expect(has_route(&routes, "fresh www.example.com  /"));
    cr_expect(has_route(&routes, "fresh www.example.com  /*"));
    cr_expect(has_route(&routes, "set-cookie www.example.com  /static/*"));
    cr_expect(has_route(&routes, "bypass-rule www.example.com api /api/*"));
    cr_expect(has_route(&routes, "fresh www.example.com  /a-first-segment-that-is-longer-than-anyone-wou*"));
    heavy_destroy(table);
    traffic_retire(shard, NOW_MS);
    traffic_destroy(traffic);
}

Test(traffic, a_report_begins_when_it_is_asked_to)
{
    struct traffic *traffic = traffic_create(1, NOW_MS - 30 * DAY_MS);
    struct traffic_shard *shard = traffic_shard_create(traffic, &config);
    static const int64_t ages_ms[] = {20 * DAY_MS, 20 * HOUR_MS, 3 * HOUR_MS, 30 * MINUTE_MS, 0};
    int64_t from_ms;

    for (size_t i = 0; i < ARRAY_LEN(ages_ms); i++) {
        count(shard, "/a", REASON_FRESH, NULL);
        traffic_collect(traffic, NOW_MS - ages_ms[i]);
    }
    cr_expect_eq(requests_since(traffic, NOW_MS, NOW_MS, &from_ms), 1);
    cr_expect_eq(requests_since(traffic, NOW_MS - HOUR_MS, NOW_MS, &from_ms), 2);
    cr_expect(from_ms <= NOW_MS - HOUR_MS && from_ms > NOW_MS - HOUR_MS - 5 * MINUTE_MS);
    cr_expect_eq(requests_since(traffic, NOW_MS - 4 * HOUR_MS, NOW_MS, &from_ms), 3);
    cr_expect_eq(requests_since(traffic, NOW_MS - DAY_MS, NOW_MS, &from_ms), 4);
    cr_expect(from_ms <= NOW_MS - DAY_MS && from_ms > NOW_MS - DAY_MS - HOUR_MS);
    cr_expect_eq(requests_since(traffic, NOW_MS - 2 * DAY_MS, NOW_MS, &from_ms), 5, "all since the start");
    cr_expect_eq(from_ms, NOW_MS - 30 * DAY_MS);
    traffic_retire(shard, NOW_MS);
    traffic_destroy(traffic);
}

Test(traffic, urls_are_those_of_the_last_hours)
{
    struct traffic *traffic = traffic_create(1, NOW_MS - DAY_MS);
    struct traffic_shard *shard = traffic_shard_create(traffic, &config);
    struct heavy_counts sum = {0};
    int64_t from_ms;

    count(shard, "/old", REASON_FRESH, NULL);
    traffic_collect(traffic, NOW_MS - 3 * HOUR_MS);
    count(shard, "/a", REASON_FRESH, NULL);
    traffic_collect(traffic, NOW_MS - HOUR_MS);
    count(shard, "/a", REASON_FRESH, NULL);
    traffic_collect(traffic, NOW_MS);
    struct heavy *table = traffic_urls(traffic, NOW_MS, &from_ms);
    heavy_each(table, sum_rows, &sum);
    cr_expect_eq(sum.requests, 2);
    cr_expect(from_ms <= NOW_MS - HOUR_MS && from_ms > NOW_MS - 2 * HOUR_MS);
    heavy_destroy(table);
    traffic_retire(shard, NOW_MS);
    traffic_destroy(traffic);
}

Test(traffic, what_an_ended_worker_counted_stays)
{
    struct traffic *traffic = traffic_create(1, NOW_MS);
    struct traffic_shard *ended = traffic_shard_create(traffic, &config);
    struct traffic_shard *shard = traffic_shard_create(traffic, &config);
    int64_t from_ms;

    count(ended, "/a", REASON_FRESH, NULL);
    count(shard, "/a", REASON_FRESH, NULL);
    traffic_retire(ended, NOW_MS);
    traffic_collect(traffic, NOW_MS);
    cr_expect_eq(requests_since(traffic, 0, NOW_MS, &from_ms), 2);
    traffic_retire(shard, NOW_MS);
    traffic_destroy(traffic);
}
