/* test_policy_reuse.c: what is stored may be reused, served stale, or has to be validated first (RFC 9111 4). */
#include <criterion/criterion.h>

#include "tests/unit/policy_support.h"

TestSuite(policy_reuse, .init = policy_setup, .fini = policy_teardown);

struct reuse_case {
    const char *name, *policy, *request, *response;
    int64_t after_ms; /* since the response arrived */
    enum reuse want;
    enum reason reason;
    const char *rule;
};

static void walk_reuse(const struct reuse_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (int profile = PROFILE_SAFE; profile <= PROFILE_RFC; profile++) {
            if (!holds_in(cases[i].policy, (enum profile)profile)) {
                continue;
            }
            struct policy policy = policy_from(cases[i].policy, (enum profile)profile);
            struct http_request request = request_from(&policy_arena, "GET", cases[i].request);
            struct record record = record_from(200, cases[i].response);
            struct reuse_verdict got = policy_may_reuse(&request, &record, &policy, T0_MS + cases[i].after_ms);
            const char *in = profile == PROFILE_SAFE ? "safe" : "rfc";
            cr_expect_eq(got.reuse, cases[i].want, "%s (%s): %d", cases[i].name, in, (int)got.reuse);
            cr_expect_eq(got.reason, cases[i].reason, "%s (%s): %s", cases[i].name, in, reason_token(got.reason));
            cr_expect(same_rule(got.rule, cases[i].rule), "%s (%s): rule", cases[i].name, in);
            cr_expect_eq(got.freshness.age_s, record.inputs.age_s + cases[i].after_ms / 1000, "%s: age", cases[i].name);
        }
    }
}

Test(policy_reuse, may_reuse_by_what_the_origin_says)
{
    static const struct reuse_case cases[] = {
        {"fresh (4.2)", "", "", "Cache-Control: max-age=10", 9999, REUSE_SERVE, REASON_FRESH, NULL},
        {"stale (4.2)", "", "", "Cache-Control: max-age=10", 10000, REUSE_VALIDATE, REASON_STALE, NULL},
        {"fresh by Expires (4.2.1)", "", "", "Expires: Tue, 14 Nov 2023 22:13:30 GMT", 9999, REUSE_SERVE, REASON_FRESH,
         NULL},
        {"stale by Expires (4.2.1)", "", "", "Expires: Tue, 14 Nov 2023 22:13:30 GMT", 10000, REUSE_VALIDATE,
         REASON_STALE, NULL},
        {"fresh by s-maxage (5.2.2.10)", "", "", "Cache-Control: s-maxage=10, max-age=0", 9999, REUSE_SERVE,
         REASON_FRESH, NULL},
        {"Age makes it stale (4.2.3)", "", "", "Cache-Control: max-age=10\nAge: 10", 0, REUSE_VALIDATE, REASON_STALE,
         NULL},
        {"fresh by heuristic (4.2.2)", "", "", LM_100, 99999, REUSE_SERVE, REASON_FRESH_HEURISTIC, NULL},
        {"stale by heuristic (4.2.2)", "", "", LM_100, 100000, REUSE_VALIDATE, REASON_STALE, NULL},
        {"the guess is bounded (4.2.2)", "max-heuristic=50", "", LM_100, 50000, REUSE_VALIDATE, REASON_STALE, NULL},
        {"within its bound (4.2.2)", "max-heuristic=50", "", LM_100, 49999, REUSE_SERVE, REASON_FRESH_HEURISTIC, NULL},
        {"nothing is stale (4.2.1)", "", "", "ETag: \"a\"", 0, REUSE_VALIDATE, REASON_STALE, NULL},
        {"an invalid max-age is stale (4.2.1)", "", "", "Cache-Control: max-age=a10", 0, REUSE_VALIDATE, REASON_STALE,
         NULL},
        {"no-cache (5.2.2.4)", "", "", "Cache-Control: no-cache, max-age=10", 0, REUSE_VALIDATE, REASON_NO_CACHE, NULL},
        {"no-cache, stale too (5.2.2.4)", "", "", "Cache-Control: no-cache, max-age=10", 10000, REUSE_VALIDATE,
         REASON_NO_CACHE, NULL},
        {"qualified no-cache (5.2.2.4)", "", "", "Cache-Control: no-cache=\"A\", max-age=10", 0, REUSE_SERVE,
         REASON_FRESH, NULL},
        {"must-revalidate while fresh (5.2.2.2)", "", "", "Cache-Control: must-revalidate, max-age=10", 0, REUSE_SERVE,
         REASON_FRESH, NULL},
        {"Pragma means nothing in it (5.4)", "", "", "Pragma: no-cache\nCache-Control: max-age=10", 0, REUSE_SERVE,
         REASON_FRESH, NULL},
        {"immutable and stale (RFC 8246 2)", "", "", "Cache-Control: immutable, max-age=10", 10000, REUSE_VALIDATE,
         REASON_STALE, NULL},
    };
    walk_reuse(cases, ARRAY_LEN(cases));
}

Test(policy_reuse, may_reuse_by_rule)
{
    static const struct reuse_case cases[] = {
        {"ttl lengthens", "ttl=20", "", "Cache-Control: max-age=10", 19999, REUSE_SERVE, REASON_FRESH_BY_RULE, "r"},
        {"ttl ends", "ttl=20", "", "Cache-Control: max-age=10", 20000, REUSE_VALIDATE, REASON_STALE, NULL},
        {"ttl shortens", "ttl=5", "", "Cache-Control: max-age=10", 5000, REUSE_VALIDATE, REASON_STALE, NULL},
        {"ttl=0 validates always", "ttl=0", "", "Cache-Control: max-age=10", 0, REUSE_VALIDATE, REASON_STALE, NULL},
        {"ttl lifts no-cache", "ttl=20", "", "Cache-Control: no-cache", 19999, REUSE_SERVE, REASON_FRESH_BY_RULE, "r"},
        {"default_ttl fills", "dttl=20", "", "ETag: \"a\"", 19999, REUSE_SERVE, REASON_FRESH_BY_RULE, "r"},
        {"default_ttl beats the heuristic", "dttl=20", "", LM_100, 20000, REUSE_VALIDATE, REASON_STALE, NULL},
        {"default_ttl yields to the origin", "dttl=20", "", "Cache-Control: max-age=10", 9999, REUSE_SERVE,
         REASON_FRESH, NULL},
        {"default_ttl does not lift no-cache", "dttl=20", "", "Cache-Control: no-cache", 0, REUSE_VALIDATE,
         REASON_NO_CACHE, NULL},
    };
    walk_reuse(cases, ARRAY_LEN(cases));
}

Test(policy_reuse, stale_while_revalidate)
{
    static const struct reuse_case cases[] = {
        {"in the window (RFC 5861 3)", "", "", "Cache-Control: max-age=10, stale-while-revalidate=5", 10000,
         REUSE_SERVE_REVALIDATE, REASON_STALE_WHILE_REVALIDATE, NULL},
        {"at its end (RFC 5861 3)", "", "", "Cache-Control: max-age=10, stale-while-revalidate=5", 14999,
         REUSE_SERVE_REVALIDATE, REASON_STALE_WHILE_REVALIDATE, NULL},
        {"behind it (RFC 5861 3)", "", "", "Cache-Control: max-age=10, stale-while-revalidate=5", 15000, REUSE_VALIDATE,
         REASON_STALE, NULL},
        {"a window of 0 is none", "", "", "Cache-Control: max-age=10, stale-while-revalidate=0", 10000, REUSE_VALIDATE,
         REASON_STALE, NULL},
        {"an invalid window is none", "", "", "Cache-Control: max-age=10, stale-while-revalidate=x", 10000,
         REUSE_VALIDATE, REASON_STALE, NULL},
        {"with max-age=0", "", "", "Cache-Control: max-age=0, stale-while-revalidate=5", 4999, REUSE_SERVE_REVALIDATE,
         REASON_STALE_WHILE_REVALIDATE, NULL},
        {"behind a heuristic", "", "", LM_100 "\nCache-Control: stale-while-revalidate=5", 104999,
         REUSE_SERVE_REVALIDATE, REASON_STALE_WHILE_REVALIDATE, NULL},
        {"not without any lifetime", "swr=5", "", "ETag: \"a\"", 0, REUSE_VALIDATE, REASON_STALE, NULL},
        {"by rule", "swr=5", "", "Cache-Control: max-age=10", 14999, REUSE_SERVE_REVALIDATE,
         REASON_STALE_WHILE_REVALIDATE, "r"},
        {"by rule, over", "swr=5", "", "Cache-Control: max-age=10", 15000, REUSE_VALIDATE, REASON_STALE, NULL},
        {"the rule replaces the origin's", "swr=0", "", "Cache-Control: max-age=10, stale-while-revalidate=5", 10000,
         REUSE_VALIDATE, REASON_STALE, NULL},
        {"must-revalidate forbids (5.2.2.2)", "swr=5", "",
         "Cache-Control: max-age=10, must-revalidate, stale-while-revalidate=5", 10000, REUSE_VALIDATE, REASON_STALE,
         NULL},
        {"proxy-revalidate forbids (5.2.2.8)", "swr=5", "",
         "Cache-Control: max-age=10, proxy-revalidate, stale-while-revalidate=5", 10000, REUSE_VALIDATE, REASON_STALE,
         NULL},
        {"s-maxage forbids (5.2.2.10)", "swr=5", "", "Cache-Control: s-maxage=10, stale-while-revalidate=5", 10000,
         REUSE_VALIDATE, REASON_STALE, NULL},
        {"no-cache forbids (5.2.2.4)", "swr=5", "", "Cache-Control: max-age=10, no-cache, stale-while-revalidate=5",
         10000, REUSE_VALIDATE, REASON_NO_CACHE, NULL},
        {"no-cache forbids behind a ttl too", "ttl=10 swr=5", "", "Cache-Control: no-cache", 10000, REUSE_VALIDATE,
         REASON_STALE, NULL},
        {"max_stale bounds it", "max-stale=3", "", "Cache-Control: max-age=10, stale-while-revalidate=5", 12999,
         REUSE_SERVE_REVALIDATE, REASON_STALE_WHILE_REVALIDATE, NULL},
        {"max_stale ends it", "max-stale=3", "", "Cache-Control: max-age=10, stale-while-revalidate=5", 13000,
         REUSE_VALIDATE, REASON_STALE, NULL},
        {"max_stale=0 forbids it", "max-stale=0", "", "Cache-Control: max-age=10, stale-while-revalidate=5", 10000,
         REUSE_VALIDATE, REASON_STALE, NULL},
    };
    walk_reuse(cases, ARRAY_LEN(cases));
}

Test(policy_reuse, request_directives_do_not_reach_through)
{
    static const char *const requests[] = {
        "Cache-Control: no-cache",       "Cache-Control: max-age=0",    "Cache-Control: max-age=1",
        "Cache-Control: min-fresh=1000", "Cache-Control: no-store",     "Pragma: no-cache",
        "Cache-Control: max-stale",      "Cache-Control: max-stale=99",
    };
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        const struct reuse_case cases[] = {
            {requests[i], "", requests[i], "Cache-Control: max-age=10", 5000, REUSE_SERVE, REASON_FRESH, NULL},
            {requests[i], "", requests[i], "Cache-Control: max-age=10", 10000, REUSE_VALIDATE, REASON_STALE, NULL},
        };
        walk_reuse(cases, ARRAY_LEN(cases));
    }
}

Test(policy_reuse, request_directives_by_rule)
{
#define ON "request-directives"
    static const struct reuse_case cases[] = {
        {"nothing said", ON, "", TEN, 5000, REUSE_SERVE, REASON_FRESH, NULL},
        {"no-cache (5.2.1.4)", ON, "Cache-Control: no-cache", TEN, 0, REUSE_VALIDATE, REASON_REQUEST_NO_CACHE, NULL},
        {"Pragma alone (5.4)", ON, "Pragma: no-cache", TEN, 0, REUSE_VALIDATE, REASON_REQUEST_NO_CACHE, NULL},
        {"Pragma beside Cache-Control (5.4)", ON, "Pragma: no-cache\nCache-Control: foo", TEN, 0, REUSE_SERVE,
         REASON_FRESH, NULL},
        {"no-store is not for what is stored (5.2.1.5)", ON, "Cache-Control: no-store", TEN, 0, REUSE_SERVE,
         REASON_FRESH, NULL},
        {"max-age, not older (5.2.1.1)", ON, "Cache-Control: max-age=5", TEN, 5000, REUSE_SERVE, REASON_FRESH, NULL},
        {"max-age, older (5.2.1.1)", ON, "Cache-Control: max-age=5", TEN, 5001, REUSE_VALIDATE, REASON_REQUEST_MAX_AGE,
         NULL},
        {"max-age=0 (5.2.1.1)", ON, "Cache-Control: max-age=0", TEN, 1, REUSE_VALIDATE, REASON_REQUEST_MAX_AGE, NULL},
        {"an invalid max-age", ON, "Cache-Control: max-age=x", TEN, 5000, REUSE_SERVE, REASON_FRESH, NULL},
        {"min-fresh, long enough (5.2.1.3)", ON, "Cache-Control: min-fresh=5", TEN, 5000, REUSE_SERVE, REASON_FRESH,
         NULL},
        {"min-fresh, not (5.2.1.3)", ON, "Cache-Control: min-fresh=5", TEN, 5001, REUSE_VALIDATE,
         REASON_REQUEST_MIN_FRESH, NULL},
        {"an invalid min-fresh", ON, "Cache-Control: min-fresh=-5", TEN, 9999, REUSE_SERVE, REASON_FRESH, NULL},
        {"max-stale (5.2.1.2)", ON, "Cache-Control: max-stale", TEN, 500000, REUSE_SERVE, REASON_MAX_STALE, NULL},
        {"max-stale=n, n (5.2.1.2)", ON, "Cache-Control: max-stale=5", TEN, 15000, REUSE_SERVE, REASON_MAX_STALE, NULL},
        {"max-stale=n, more (5.2.1.2)", ON, "Cache-Control: max-stale=5", TEN, 15001, REUSE_VALIDATE, REASON_STALE,
         NULL},
        {"an invalid max-stale", ON, "Cache-Control: max-stale=x", TEN, 10000, REUSE_VALIDATE, REASON_STALE, NULL},
        {"max-stale of something fresh", ON, "Cache-Control: max-stale", TEN, 0, REUSE_SERVE, REASON_FRESH, NULL},
        {"max-stale has our bound", ON " max-stale=3", "Cache-Control: max-stale", TEN, 13000, REUSE_VALIDATE,
         REASON_STALE, NULL},
        {"max-stale against must-revalidate (5.2.2.2)", ON, "Cache-Control: max-stale",
         "Cache-Control: max-age=10, must-revalidate", 10000, REUSE_VALIDATE, REASON_STALE, NULL},
        {"max-stale against proxy-revalidate (5.2.2.8)", ON, "Cache-Control: max-stale",
         "Cache-Control: max-age=10, proxy-revalidate", 10000, REUSE_VALIDATE, REASON_STALE, NULL},
        {"max-stale against s-maxage (5.2.2.10)", ON, "Cache-Control: max-stale", "Cache-Control: s-maxage=10", 10000,
         REUSE_VALIDATE, REASON_STALE, NULL},
        {"max-stale against no-cache (5.2.2.4)", ON, "Cache-Control: max-stale", "Cache-Control: max-age=10, no-cache",
         0, REUSE_VALIDATE, REASON_NO_CACHE, NULL},
        {"max-age and max-stale (5.2.1.1)", ON, "Cache-Control: max-age=20, max-stale=9", TEN, 15000, REUSE_SERVE,
         REASON_MAX_STALE, NULL},
        {"max-age with a max-stale that is over (5.2.1.1)", ON, "Cache-Control: max-age=20, max-stale=2",
         "Cache-Control: max-age=10, stale-while-revalidate=9", 15000, REUSE_SERVE_REVALIDATE,
         REASON_STALE_WHILE_REVALIDATE, NULL},
        {"max-age alone wants nothing stale (5.2.1.1)", ON, "Cache-Control: max-age=20",
         "Cache-Control: max-age=10, stale-while-revalidate=9", 15000, REUSE_VALIDATE, REASON_STALE, NULL},
        {"no-cache of the client against ttl", ON " ttl=20", "Cache-Control: no-cache", TEN, 0, REUSE_VALIDATE,
         REASON_REQUEST_NO_CACHE, NULL},
        {"a reload of something immutable (RFC 8246 2.1)", ON, "Cache-Control: max-age=0",
         "Cache-Control: max-age=10, immutable", 5000, REUSE_SERVE, REASON_FRESH, NULL},
        {"a forced reload of it (RFC 8246 2.1)", ON, "Cache-Control: no-cache", "Cache-Control: max-age=10, immutable",
         5000, REUSE_VALIDATE, REASON_REQUEST_NO_CACHE, NULL},
        {"a reload of it when stale (RFC 8246 2)", ON, "Cache-Control: max-age=0",
         "Cache-Control: max-age=10, immutable", 10000, REUSE_VALIDATE, REASON_REQUEST_MAX_AGE, NULL},
    };
    walk_reuse(cases, ARRAY_LEN(cases));
}

Test(policy_reuse, cookies_and_reuse)
{
    static const struct reuse_case cases[] = {
        {"declared fresh by max-age", "safe", "Cookie: a=b", TEN, 0, REUSE_SERVE, REASON_FRESH, NULL},
        {"declared fresh by s-maxage", "safe", "Cookie: a=b", "Cache-Control: s-maxage=10", 0, REUSE_SERVE,
         REASON_FRESH, NULL},
        {"declared fresh by Expires", "safe", "Cookie: a=b", "Expires: Tue, 14 Nov 2023 22:13:30 GMT", 0, REUSE_SERVE,
         REASON_FRESH, NULL},
        {"by a rule's ttl", "safe ttl=10", "Cookie: a=b", "", 0, REUSE_SERVE, REASON_FRESH_BY_RULE, "r"},
        {"declared, and stale", "safe", "Cookie: a=b", TEN, 10000, REUSE_VALIDATE, REASON_STALE, NULL},
        {"by heuristic only", "safe", "Cookie: a=b", LM_100, 0, REUSE_FETCH, REASON_COOKIE, NULL},
        {"by default_ttl only", "safe dttl=10", "Cookie: a=b", "", 0, REUSE_FETCH, REASON_COOKIE, NULL},
        {"by nothing", "safe", "Cookie: a=b", "ETag: \"a\"", 0, REUSE_FETCH, REASON_COOKIE, NULL},
        {"public is no lifetime", "safe", "Cookie: a=b", LM_100 "\nCache-Control: public", 0, REUSE_FETCH,
         REASON_COOKIE, NULL},
        {"cookies are ignored by rule", "safe ignore-cookies", "Cookie: a=b", LM_100, 0, REUSE_SERVE,
         REASON_FRESH_HEURISTIC, NULL},
        {"the letter ignores cookies", "rfc", "Cookie: a=b", LM_100, 0, REUSE_SERVE, REASON_FRESH_HEURISTIC, NULL},
        {"the letter, by default_ttl", "rfc dttl=10", "Cookie: a=b", "", 0, REUSE_SERVE, REASON_FRESH_BY_RULE, "r"},
    };
    walk_reuse(cases, ARRAY_LEN(cases));
}

Test(policy_reuse, may_serve_stale)
{
    enum { S = FAILURE_STATUS, D = FAILURE_DISCONNECTED, T = FAILURE_TIMEOUT, W = FAILURE_SLOW };
    static const struct {
        const char *name, *policy, *request, *response;
        int failure;
        int64_t after_ms;
        enum reason reason;
        const char *rule;
    } cases[] = {
        {"a 503 without permission (4.2.4)", "", "", TEN, S, 10000, REASON_STALE, NULL},
        {"disconnected (4.2.4)", "", "", TEN, D, 10000, REASON_STALE_DISCONNECTED, NULL},
        {"timeout (4.2.4)", "", "", TEN, T, 10000, REASON_STALE_DISCONNECTED, NULL},
        {"disconnected, with nothing but a validator", "", "", "ETag: \"a\"", D, 5000, REASON_STALE_DISCONNECTED, NULL},
        {"disconnected, within the bound", "max-stale=5", "", TEN, D, 14999, REASON_STALE_DISCONNECTED, NULL},
        {"disconnected, beyond the bound", "max-stale=5", "", TEN, D, 15000, REASON_STALE, NULL},
        {"timeout, beyond the bound", "max-stale=5", "", TEN, T, 15000, REASON_STALE, NULL},
        {"nothing stale at all", "max-stale=0", "", TEN, D, 10000, REASON_STALE, NULL},
        {"a 503 in the window (RFC 5861 4)", "", "", TEN ", stale-if-error=5", S, 14999, REASON_STALE_IF_ERROR, NULL},
        {"a 503 behind it (RFC 5861 4)", "", "", TEN ", stale-if-error=5", S, 15000, REASON_STALE, NULL},
        {"disconnected in the window", "", "", TEN ", stale-if-error=5", D, 14999, REASON_STALE_IF_ERROR, NULL},
        {"disconnected behind it", "", "", TEN ", stale-if-error=5", D, 15000, REASON_STALE_DISCONNECTED, NULL},
        {"an invalid window is none", "", "", TEN ", stale-if-error=x", S, 10000, REASON_STALE, NULL},
        {"the bound is above the window", "max-stale=2", "", TEN ", stale-if-error=5", S, 12000, REASON_STALE, NULL},
        {"by rule", "sie=5", "", TEN, S, 14999, REASON_STALE_IF_ERROR, "r"},
        {"by rule, over", "sie=5", "", TEN, S, 15000, REASON_STALE, NULL},
        {"the rule replaces the origin's", "sie=0", "", TEN ", stale-if-error=5", S, 10000, REASON_STALE, NULL},
        {"the client's wish is not heard", "", "Cache-Control: stale-if-error=5", TEN, S, 10000, REASON_STALE, NULL},
        {"the client's wish by rule", "request-directives", "Cache-Control: stale-if-error=5", TEN, S, 14999,
         REASON_STALE_IF_ERROR, NULL},
        {"the client's wish, over", "request-directives", "Cache-Control: stale-if-error=5", TEN, S, 15000,
         REASON_STALE, NULL},
        {"the longer wish counts", "request-directives sie=9", "Cache-Control: stale-if-error=5", TEN, S, 18999,
         REASON_STALE_IF_ERROR, "r"},
        {"must-revalidate (5.2.2.2)", "sie=9", "", TEN ", must-revalidate, stale-if-error=5", D, 10000,
         REASON_MUST_REVALIDATE, NULL},
        {"proxy-revalidate (5.2.2.8)", "sie=9", "", TEN ", proxy-revalidate", D, 10000, REASON_MUST_REVALIDATE, NULL},
        {"s-maxage (5.2.2.10)", "sie=9", "", "Cache-Control: s-maxage=10", T, 10000, REASON_MUST_REVALIDATE, NULL},
        {"an invalid s-maxage", "sie=9", "", "Cache-Control: s-maxage=x", T, 0, REASON_MUST_REVALIDATE, NULL},
        {"no-cache (5.2.2.4)", "sie=9", "", TEN ", no-cache", D, 0, REASON_NO_CACHE, NULL},
        {"no-cache behind a ttl", "sie=9 ttl=10", "", TEN ", no-cache", D, 10000, REASON_NO_CACHE, NULL},
        {"qualified no-cache does not forbid", "", "", TEN ", no-cache=\"A\"", D, 10000, REASON_STALE_DISCONNECTED,
         NULL},
        {"a fresh one the client wanted validated", "request-directives", "Cache-Control: no-cache", TEN, D, 0,
         REASON_STALE_DISCONNECTED, NULL},
        {"the same, with must-revalidate", "request-directives", "Cache-Control: no-cache", TEN ", must-revalidate", D,
         0, REASON_STALE_DISCONNECTED, NULL},
        {"the same, after a 503", "request-directives", "Cache-Control: no-cache", TEN, S, 0, REASON_STALE, NULL},
        {"someone's cookie", "safe sie=9", "Cookie: a=b", LM_100, D, 100000, REASON_COOKIE, NULL},
        {"someone's cookie, declared", "safe", "Cookie: a=b", TEN, D, 10000, REASON_STALE_DISCONNECTED, NULL},
        {"someone's cookie, ignored", "safe ignore-cookies", "Cookie: a=b", LM_100, D, 100000,
         REASON_STALE_DISCONNECTED, NULL},
        {"someone's cookie, by the letter", "rfc", "Cookie: a=b", LM_100, D, 100000, REASON_STALE_DISCONNECTED, NULL},
        {"slow, and no rule", "", "", TEN, W, 10000, REASON_STALE, NULL},
        {"slow, and a rule (4.2.4)", "slow-ms=300", "", TEN, W, 10000, REASON_STALE_IF_SLOW, "r"},
        {"slow, and a rule that says never", "slow-ms=0", "", TEN, W, 10000, REASON_STALE, NULL},
        {"slow, with nothing but a validator", "slow-ms=300", "", "ETag: \"a\"", W, 5000, REASON_STALE_IF_SLOW, "r"},
        {"slow, within the bound", "slow-ms=300 max-stale=5", "", TEN, W, 14999, REASON_STALE_IF_SLOW, "r"},
        {"slow, beyond the bound", "slow-ms=300 max-stale=5", "", TEN, W, 15000, REASON_STALE, NULL},
        {"slow, and other windows do not count", "sie=9", "", TEN ", stale-if-error=5", W, 10000, REASON_STALE, NULL},
        {"slow, must-revalidate (5.2.2.2)", "slow-ms=300", "", TEN ", must-revalidate", W, 10000,
         REASON_MUST_REVALIDATE, NULL},
        {"slow, proxy-revalidate (5.2.2.8)", "slow-ms=300", "", TEN ", proxy-revalidate", W, 10000,
         REASON_MUST_REVALIDATE, NULL},
        {"slow, s-maxage (5.2.2.10)", "slow-ms=300", "", "Cache-Control: s-maxage=10", W, 10000, REASON_MUST_REVALIDATE,
         NULL},
        {"slow, no-cache (5.2.2.4)", "slow-ms=300", "", TEN ", no-cache", W, 0, REASON_NO_CACHE, NULL},
        {"slow, someone's cookie", "safe slow-ms=300", "Cookie: a=b", LM_100, W, 100000, REASON_COOKIE, NULL},
        {"slow, and a client that reloads", "slow-ms=300", "Cache-Control: no-cache", TEN, W, 10000,
         REASON_STALE_IF_SLOW, "r"},
        {"slow, and a client that is heard (5.2.1.4)", "slow-ms=300 request-directives", "Cache-Control: no-cache", TEN,
         W, 10000, REASON_STALE, NULL},
        {"slow, and the old way to say so (5.4)", "slow-ms=300 request-directives", "Pragma: no-cache", TEN, W, 10000,
         REASON_STALE, NULL},
        {"slow, max-age heard (5.2.1.1)", "slow-ms=300 request-directives", "Cache-Control: max-age=99", TEN, W, 10000,
         REASON_STALE, NULL},
        {"slow, min-fresh heard (5.2.1.3)", "slow-ms=300 request-directives", "Cache-Control: min-fresh=1", TEN, W,
         10000, REASON_STALE, NULL},
        {"slow, staler than the client accepts (5.2.1.2)", "slow-ms=300 request-directives",
         "Cache-Control: max-stale=1", TEN, W, 15000, REASON_STALE, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int profile = PROFILE_SAFE; profile <= PROFILE_RFC; profile++) {
            if (!holds_in(cases[i].policy, (enum profile)profile)) {
                continue;
            }
            struct policy policy = policy_from(cases[i].policy, (enum profile)profile);
            struct http_request request = request_from(&policy_arena, "GET", cases[i].request);
            struct record record = record_from(200, cases[i].response);
            enum reason reason = REASON_COUNT;
            const char *rule = "untouched";
            bool want = cases[i].reason == REASON_STALE_IF_ERROR || cases[i].reason == REASON_STALE_DISCONNECTED ||
                        cases[i].reason == REASON_STALE_IF_SLOW;
            bool got = policy_may_serve_stale(&request, &record, &policy, (enum origin_failure)cases[i].failure,
                                              T0_MS + cases[i].after_ms, &reason, &rule);
            cr_expect_eq(got, want, "%s", cases[i].name);
            cr_expect_eq(reason, cases[i].reason, "%s: %s", cases[i].name, reason_token(reason));
            cr_expect(same_rule(rule, cases[i].rule), "%s: rule", cases[i].name);
        }
    }
}

Test(policy_reuse, offline_whatever_is_stored_is_served)
{
    static const struct {
        const char *name, *request, *response, *policy;
        int64_t age_s;
        enum reason want;
    } cases[] = {
        {"fresh", "", "Cache-Control: max-age=10", "offline", 5, REASON_FRESH},
        {"stale", "", "Cache-Control: max-age=10", "offline", 15, REASON_OFFLINE},
        {"stale beyond max_stale", "", "Cache-Control: max-age=10", "offline max-stale=1", 15, REASON_OFFLINE},
        {"no validation behind", "", "Cache-Control: max-age=10, stale-while-revalidate=10", "offline", 15,
         REASON_OFFLINE},
        {"must-revalidate (5.2.2.2)", "", "Cache-Control: max-age=10, must-revalidate", "offline", 15, REASON_OFFLINE},
        {"no-cache (5.2.2.4)", "", "Cache-Control: no-cache", "offline", 0, REASON_OFFLINE},
        {"no-cache of a client", "Cache-Control: no-cache", "Cache-Control: max-age=10", "offline request-directives",
         5, REASON_OFFLINE},
        {"Cookie", "Cookie: a=b", "", "safe offline", 0, REASON_OFFLINE},
        {"recording changes no reuse", "", "Cache-Control: no-cache", "record", 0, REASON_NO_CACHE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct policy policy = policy_from(cases[i].policy, PROFILE_SAFE);
        struct http_request request = request_from(&policy_arena, "GET", cases[i].request);
        struct record record = record_from(200, cases[i].response);
        struct reuse_verdict verdict = policy_may_reuse(&request, &record, &policy, T0_MS + cases[i].age_s * 1000);
        cr_expect_eq(verdict.reason, cases[i].want, "%s: %s", cases[i].name, reason_token(verdict.reason));
        cr_expect_eq(verdict.reuse == REUSE_SERVE, policy.mode == MODE_OFFLINE, "%s", cases[i].name);
    }
}
