/* test_freshness.c: age and lifetime (RFC 9111 §4.2). */
#include <criterion/criterion.h>

#include "cache/freshness.h"
#include "tests/unit/cache_support.h"

static const struct lifetime_override no_override = {.ttl_s = -1, .default_ttl_s = -1, .max_heuristic_s = INT64_MAX};

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, TEST_ARENA_BYTES);
}

static void teardown(void)
{
    arena_finish(&arena);
}

TestSuite(freshness, .init = setup, .fini = teardown);

static struct freshness_inputs inputs_at(unsigned status, const char *headers, int64_t request_ms, int64_t response_ms)
{
    struct http_response response = response_from(&arena, status, headers);

    return freshness_inputs_of(&response, request_ms, response_ms, &arena);
}

static struct freshness_inputs inputs_from(unsigned status, const char *headers)
{
    return inputs_at(status, headers, T0_MS, T0_MS);
}

Test(freshness, lifetime)
{
    static const struct {
        const char *name, *headers;
        int64_t want_s;
        enum lifetime_source source;
    } cases[] = {
        {"max-age is the lifetime (4.2.1)", "Cache-Control: max-age=10", 10, LIFETIME_MAX_AGE},
        {"s-maxage beats max-age (5.2.2.10)", "Cache-Control: max-age=10, s-maxage=20", 20, LIFETIME_S_MAXAGE},
        {"s-maxage beats a past Expires (5.3)", "Cache-Control: s-maxage=20\nExpires: 0", 20, LIFETIME_S_MAXAGE},
        {"max-age beats Expires (5.3)", "Cache-Control: max-age=10\nExpires: 0", 10, LIFETIME_MAX_AGE},
        {"max-age=0 is a lifetime (4.2.1)", "Cache-Control: max-age=0", 0, LIFETIME_MAX_AGE},
        {"an invalid s-maxage is stale, max-age or not (4.2.1)", "Cache-Control: s-maxage=x, max-age=10", 0,
         LIFETIME_S_MAXAGE},
        {"an invalid max-age is stale, Expires or not (4.2.1)",
         "Cache-Control: max-age=1.5\nExpires: Tue, 14 Nov 2023 22:13:30 GMT", 0, LIFETIME_MAX_AGE},
        {"a negative max-age is stale (4.2.1)", "Cache-Control: max-age=-1", 0, LIFETIME_MAX_AGE},
        {"max-age without an argument is stale (4.2.1)", "Cache-Control: max-age", 0, LIFETIME_MAX_AGE},
        {"leading zeros are digits (1.2.2)", "Cache-Control: max-age=0010", 10, LIFETIME_MAX_AGE},
        {"2^31-1 is the largest (1.2.2)", "Cache-Control: max-age=2147483647", INT32_MAX, LIFETIME_MAX_AGE},
        {"2^31 is as good as 2^31-1 (1.2.2)", "Cache-Control: max-age=2147483648", INT32_MAX, LIFETIME_MAX_AGE},
        {"twenty digits do not wrap (1.2.2)", "Cache-Control: max-age=99999999999999999999", INT32_MAX,
         LIFETIME_MAX_AGE},
        {"Expires minus Date (4.2.1)", "Date: Tue, 14 Nov 2023 22:13:10 GMT\nExpires: Tue, 14 Nov 2023 22:13:40 GMT",
         30, LIFETIME_EXPIRES},
        {"Expires minus arrival without Date (4.2.1)", "Expires: Tue, 14 Nov 2023 22:13:30 GMT", 10, LIFETIME_EXPIRES},
        {"a bad Date is as none (RFC 9110 6.6.1)", "Date: yesterday\nExpires: Tue, 14 Nov 2023 22:13:30 GMT", 10,
         LIFETIME_EXPIRES},
        {"Expires equal to Date is stale (4.2.1)", "Date: " T0_TEXT "\nExpires: " T0_TEXT, 0, LIFETIME_EXPIRES},
        {"Expires before Date is stale, not negative (4.2.1)",
         "Date: " T0_TEXT "\nExpires: Tue, 14 Nov 2023 22:13:10 GMT", 0, LIFETIME_EXPIRES},
        {"Expires: 0 is stale (5.3)", "Expires: 0", 0, LIFETIME_EXPIRES},
        {"an empty Expires is stale (5.3)", "Expires:", 0, LIFETIME_EXPIRES},
        {"Expires in another zone is stale (4.2)", "Expires: Tue, 14 Nov 2023 22:13:30 EST", 0, LIFETIME_EXPIRES},
        {"an invalid Expires stops the heuristic (4.2.2)",
         "Expires: 0\nDate: " T0_TEXT "\nLast-Modified: Mon, 13 Nov 2023 22:13:20 GMT", 0, LIFETIME_EXPIRES},
        {"the first of two Expires counts (4.2.1)", "Expires: Tue, 14 Nov 2023 22:13:30 GMT\nExpires: 0", 10,
         LIFETIME_EXPIRES},
        {"a tenth of the time since Last-Modified (4.2.2)",
         "Date: " T0_TEXT "\nLast-Modified: Tue, 14 Nov 2023 22:11:40 GMT", 10, LIFETIME_HEURISTIC},
        {"the tenth is rounded down (4.2.2)", "Date: " T0_TEXT "\nLast-Modified: Tue, 14 Nov 2023 22:11:41 GMT", 9,
         LIFETIME_HEURISTIC},
        {"Last-Modified equal to Date: nothing (4.2.2)", "Date: " T0_TEXT "\nLast-Modified: " T0_TEXT, 0,
         LIFETIME_HEURISTIC},
        {"Last-Modified after Date says nothing (4.2.2)",
         "Date: " T0_TEXT "\nLast-Modified: Tue, 14 Nov 2023 22:13:21 GMT", 0, LIFETIME_NONE},
        {"a bad Last-Modified says nothing (4.2.2)", "Last-Modified: once", 0, LIFETIME_NONE},
        {"an ETag is no lifetime (4.2.2)", "ETag: \"a\"", 0, LIFETIME_NONE},
        {"nothing says nothing (4.2.1)", "", 0, LIFETIME_NONE},
        {"Pragma in a response has no meaning (5.4)", "Pragma: no-cache\nCache-Control: max-age=10", 10,
         LIFETIME_MAX_AGE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct freshness_inputs inputs = inputs_from(200, cases[i].headers);
        struct freshness got = freshness_at(&inputs, &no_override, T0_MS);
        cr_expect_eq(got.lifetime_s, cases[i].want_s, "%s: %ld", cases[i].name, (long)got.lifetime_s);
        cr_expect_eq(got.source, cases[i].source, "%s: source %d", cases[i].name, (int)got.source);
    }
}

Test(freshness, a_rule_replaces_or_fills_the_lifetime)
{
    static const struct {
        const char *name;
        unsigned status;
        const char *headers;
        int64_t ttl_s, default_ttl_s, want_s;
        enum lifetime_source source;
    } cases[] = {
        {"ttl beats s-maxage", 200, "Cache-Control: s-maxage=5", 60, -1, 60, LIFETIME_RULE},
        {"ttl=0 is a lifetime", 200, "Cache-Control: max-age=5", 0, -1, 0, LIFETIME_RULE},
        {"a negative ttl is none", 200, "Cache-Control: max-age=5", -1, -1, 5, LIFETIME_MAX_AGE},
        {"ttl beats default_ttl", 200, "", 60, 30, 60, LIFETIME_RULE},
        {"ttl is not for a 500", 500, "Cache-Control: max-age=5", 60, -1, 5, LIFETIME_MAX_AGE},
        {"ttl is not for a 503 that says nothing", 503, "", 60, 60, 0, LIFETIME_NONE},
        {"ttl is for a public 302", 302, "Cache-Control: public", 60, -1, 60, LIFETIME_RULE},
        {"default_ttl fills what is not said", 200, "ETag: \"a\"", -1, 30, 30, LIFETIME_DEFAULT_RULE},
        {"default_ttl beats the heuristic", 200, "Last-Modified: Mon, 13 Nov 2023 22:13:20 GMT", -1, 30, 30,
         LIFETIME_DEFAULT_RULE},
        {"default_ttl yields to max-age", 200, "Cache-Control: max-age=5", -1, 30, 5, LIFETIME_MAX_AGE},
        {"default_ttl yields to an invalid max-age", 200, "Cache-Control: max-age=x", -1, 30, 0, LIFETIME_MAX_AGE},
        {"default_ttl yields to an invalid Expires", 200, "Expires: 0", -1, 30, 0, LIFETIME_EXPIRES},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct freshness_inputs inputs = inputs_from(cases[i].status, cases[i].headers);
        struct lifetime_override override = {.ttl_s = cases[i].ttl_s, .default_ttl_s = cases[i].default_ttl_s};
        struct freshness got = freshness_at(&inputs, &override, T0_MS);
        cr_expect_eq(got.lifetime_s, cases[i].want_s, "%s: %ld", cases[i].name, (long)got.lifetime_s);
        cr_expect_eq(got.source, cases[i].source, "%s: source %d", cases[i].name, (int)got.source);
    }
}

Test(freshness, a_guess_has_a_bound_rfc9111_4_2_2)
{
    static const struct {
        const char *name, *headers;
        int64_t max_s, want_s;
        enum lifetime_source source;
    } cases[] = {
        {"below it", "Last-Modified: Tue, 14 Nov 2023 22:11:40 GMT", 11, 10, LIFETIME_HEURISTIC},
        {"at it", "Last-Modified: Tue, 14 Nov 2023 22:11:40 GMT", 10, 10, LIFETIME_HEURISTIC},
        {"beyond it", "Last-Modified: Tue, 14 Nov 2023 22:11:40 GMT", 9, 9, LIFETIME_HEURISTIC},
        {"unchanged for half a century", "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT", 86400, 86400,
         LIFETIME_HEURISTIC},
        {"0: nothing is guessed", "Last-Modified: Tue, 14 Nov 2023 22:11:40 GMT", 0, 0, LIFETIME_NONE},
        {"what the origin says is no guess", "Cache-Control: max-age=100", 9, 100, LIFETIME_MAX_AGE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char headers[256];
        snprintf(headers, sizeof(headers), "Date: " T0_TEXT "\n%s", cases[i].headers);
        struct freshness_inputs inputs = inputs_from(200, headers);
        struct lifetime_override override = {.ttl_s = -1, .default_ttl_s = -1, .max_heuristic_s = cases[i].max_s};
        struct freshness got = freshness_at(&inputs, &override, T0_MS);
        cr_expect_eq(got.lifetime_s, cases[i].want_s, "%s: %ld", cases[i].name, (long)got.lifetime_s);
        cr_expect_eq(got.source, cases[i].source, "%s: source %d", cases[i].name, (int)got.source);
    }
}

Test(freshness, age)
{
    static const struct {
        const char *name, *headers;
        int64_t request_ms, response_ms, now_ms, want_ms;
    } cases[] = {
        {"new is 0 (4.2.3)", "Date: " T0_TEXT, 0, 0, 0, 0},
        {"resident time is added (4.2.3)", "Date: " T0_TEXT, 0, 0, 3500, 3500},
        {"apparent age from an old Date (4.2.3)", "Date: Tue, 14 Nov 2023 22:13:10 GMT", 0, 0, 0, 10000},
        {"apparent age has the resolution of Date (4.2.3)", "Date: " T0_TEXT, 900, 900, 900, 0},
        {"a Date ahead of us is age 0 (4.2.3)", "Date: Tue, 14 Nov 2023 22:14:20 GMT", 0, 0, 0, 0},
        {"Age counts (4.2.3)", "Date: " T0_TEXT "\nAge: 30", 0, 0, 3000, 33000},
        {"Age counts from the request (4.2.3)", "Age: 30", 0, 500, 500, 30500},
        {"the larger of both (4.2.3)", "Date: Tue, 14 Nov 2023 22:13:10 GMT\nAge: 30", 0, 0, 0, 30000},
        {"the larger of both, the other way (4.2.3)", "Date: Tue, 14 Nov 2023 22:12:20 GMT\nAge: 30", 0, 0, 0, 60000},
        {"the first member of Age (5.1)", "Age: 7, 9", 0, 0, 0, 7000},
        {"the first line of Age (5.1)", "Age: 7\nAge: 9", 0, 0, 0, 7000},
        {"Age that is no number is ignored (5.1)", "Age: abc", 0, 0, 0, 0},
        {"a negative Age is ignored (5.1)", "Age: -7200", 0, 0, 0, 0},
        {"a fraction in Age is ignored (5.1)", "Age: 7200.0", 0, 0, 0, 0},
        {"a parameter in Age is ignored (5.1)", "Age: 7200;foo=1", 0, 0, 0, 0},
        {"an unreadable first member hides the second (5.1)", "Age: x, 7", 0, 0, 0, 0},
        {"an empty Age is ignored (5.1)", "Age:", 0, 0, 0, 0},
        {"Age 2^31-1 (1.2.2)", "Age: 2147483647", 0, 0, 0, INT64_C(2147483647000)},
        {"Age 2^31 clamps (1.2.2)", "Age: 2147483648", 0, 0, 0, INT64_C(2147483647000)},
        {"an Age of twenty digits clamps (1.2.2)", "Age: 99999999999999999999", 0, 0, 0, INT64_C(2147483647000)},
        {"a clock that went back stands still", "Date: " T0_TEXT, 0, 0, -5000, 0},
        {"… by a minute", "Date: " T0_TEXT, 0, 0, -60000, 0},
        {"a clock that went back by more knows nothing", "Date: " T0_TEXT, 0, 0, -60001, INT64_C(2147483647000)},
        {"a clock that went back during the request", "Age: 1", 5000, 0, 0, 1000},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct freshness_inputs inputs =
            inputs_at(200, cases[i].headers, T0_MS + cases[i].request_ms, T0_MS + cases[i].response_ms);
        int64_t got_ms = freshness_age_ms(&inputs, T0_MS + cases[i].now_ms);
        struct freshness got = freshness_at(&inputs, &no_override, T0_MS + cases[i].now_ms);
        cr_expect_eq(got_ms, cases[i].want_ms, "%s: %ld ms", cases[i].name, (long)got_ms);
        cr_expect_eq(got.age_s, cases[i].want_ms / 1000, "%s: %ld s", cases[i].name, (long)got.age_s);
    }
}

Test(freshness, fresh_until_the_last_millisecond)
{
    struct freshness_inputs inputs = inputs_from(200, "Date: " T0_TEXT "\nCache-Control: max-age=10");
    struct freshness before = freshness_at(&inputs, &no_override, T0_MS + 9999);
    struct freshness after = freshness_at(&inputs, &no_override, T0_MS + 10000);

    cr_expect_lt(before.age_s, before.lifetime_s, "fresh at 9.999 s (4.2)");
    cr_expect_geq(after.age_s, after.lifetime_s, "stale at 10 s (4.2)");
}

Test(freshness, what_is_explicit)
{
    static const struct {
        const char *headers;
        bool want;
    } cases[] = {
        {"Cache-Control: max-age=1", true},
        {"Cache-Control: max-age=x", true},
        {"Cache-Control: s-maxage=1", true},
        {"Cache-Control: s-maxage", true},
        {"Expires: " T0_TEXT, true},
        {"Expires: 0", true},
        {"Cache-Control: no-cache, public, must-revalidate, stale-if-error=5", false},
        {"Last-Modified: " T0_TEXT "\nETag: \"a\"", false},
        {"Cache-Control: x=\"max-age=3600\"", false},
        {"", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct freshness_inputs inputs = inputs_from(200, cases[i].headers);
        cr_expect_eq(freshness_is_explicit(&inputs), cases[i].want, "%s", cases[i].headers);
    }
}

Test(freshness, heuristics_only_for_the_listed_statuses_or_public)
{
    static const unsigned listed[] = {200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501};

    for (unsigned status = 200; status <= 599; status++) {
        bool want = false;
        for (size_t i = 0; i < ARRAY_LEN(listed); i++) {
            want = want || listed[i] == status;
        }
        struct freshness_inputs plain = inputs_from(status, "");
        cr_expect_eq(freshness_heuristic_allowed(&plain), want, "%u (RFC 9110 15.1)", status);
    }
    struct freshness_inputs with_public = inputs_from(599, "Cache-Control: public");
    cr_expect(freshness_heuristic_allowed(&with_public), "public allows it for any status (5.2.2.9)");
}

Test(freshness, inputs_hold_what_the_response_says)
{
    struct freshness_inputs inputs =
        inputs_at(404,
                  "Date: Tue, 14 Nov 2023 22:13:10 GMT\nLast-Modified: Tue, 14 Nov 2023 22:11:40 GMT\n"
                  "Expires: " T0_TEXT "\nETag: W/\"x\"\nAge: 4",
                  T0_MS - 20, T0_MS + 999);

    cr_expect_eq(inputs.request_ms, T0_MS - 20);
    cr_expect_eq(inputs.response_ms, T0_MS + 999);
    cr_expect_eq(inputs.date_s, T0_S - 10);
    cr_expect_eq(inputs.last_modified_s, T0_S - 100);
    cr_expect_eq(inputs.expires_s, T0_S);
    cr_expect_eq(inputs.age_s, 4);
    cr_expect_eq(inputs.status, 404);
    cr_expect(inputs.has_expires && inputs.has_last_modified && inputs.has_etag && !inputs.expires_invalid);

    struct freshness_inputs bare = inputs_at(200, "Expires: 0\nETag:", T0_MS, T0_MS + 999);
    cr_expect_eq(bare.date_s, T0_S, "arrival, rounded down, where there is no Date (RFC 9110 6.6.1)");
    cr_expect(bare.has_expires && bare.expires_invalid && !bare.has_etag && !bare.has_last_modified);
}

/* RFC 9213 §2.1: no-cache and private may name fields, in fields where those names are found again on reuse. */
Test(freshness, names_of_fields_in_targeted_fields)
{
    static const struct {
        const char *target, *headers;
        bool no_cache, is_private;
        const char *no_cache_fields, *private_fields;
    } cases[] = {
        {"CDN-Cache-Control", "CDN-Cache-Control: max-age=1, no-cache=\"A\", private=\"B\"", false, false, "A", "B"},
        {"edge-cache-control", "Edge-Cache-Control: no-cache=\"A\"", false, false, "A", ""},
        {"Edge-Control", "Edge-Control: no-cache=\"A\"", true, false, "", ""},
        {"Edge-Control", "Edge-Control: private=\"B\"", false, true, "", ""},
        {"Edge-Control", "Edge-Control: max-age=1", false, false, "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_response response = response_from(&arena, 200, cases[i].headers);
        struct freshness_inputs inputs = freshness_inputs_of(&response, T0_MS, T0_MS, &arena);
        struct span target = span_of(cases[i].target);
        freshness_apply_targeted(&inputs, &response.headers, &target, 1, &arena);
        const struct response_directives *got = &inputs.directives;
        cr_expect_eq(got->no_cache, cases[i].no_cache, "%s", cases[i].headers);
        cr_expect_eq(got->is_private, cases[i].is_private, "%s", cases[i].headers);
        cr_expect(span_equal(got->no_cache_fields, span_of(cases[i].no_cache_fields)), "%s", cases[i].headers);
        cr_expect(span_equal(got->private_fields, span_of(cases[i].private_fields)), "%s", cases[i].headers);
    }
}
