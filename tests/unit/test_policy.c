/* test_policy.c: what may be looked up, reused, served stale, stored and invalidated.
 *
 * A policy is written as words: "safe" or "rfc" (neither: the case holds in both), and settings such as "ttl=60" or
 * "bypass". A setting comes from a rule named "r"; with a leading "default-" ("default-sie=5") it comes from none. */
#include <criterion/criterion.h>

#include "cache/policy.h"
#include "tests/unit/cache_support.h"

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, TEST_ARENA_BYTES);
}

static void teardown(void)
{
    arena_finish(&arena);
}

TestSuite(policy, .init = setup, .fini = teardown);

static int64_t number_of(struct span text)
{
    uint64_t value;

    cr_assert(span_to_u64(text, &value), "%.*s is a number", SPAN_ARG(text));
    return (int64_t)value;
}

/* One word of a policy. False for a word that no policy has. */
static bool apply_word(struct span word, struct policy *policy)
{
    struct span value = word;
    struct span name;
    const struct {
        const char *name;
        int setting;
        int64_t *seconds;
        bool *flag;
    } settings[] = {
        {"ttl", SETTING_TTL, &policy->ttl_s, NULL},
        {"dttl", SETTING_DEFAULT_TTL, &policy->default_ttl_s, NULL},
        {"swr", SETTING_STALE_WHILE_REVALIDATE, &policy->stale_while_revalidate_s, NULL},
        {"sie", SETTING_STALE_IF_ERROR, &policy->stale_if_error_s, NULL},
        {"slow-ms", SETTING_STALE_IF_SLOW, &policy->stale_if_slow_ms, NULL},
        {"bypass", SETTING_BYPASS, NULL, &policy->bypass},
        {"ignore-cookies", SETTING_IGNORE_COOKIES, NULL, &policy->ignore_cookies},
        {"store-set-cookie", SETTING_STORE_SET_COOKIE, NULL, &policy->store_set_cookie},
        {"request-directives", SETTING_REQUEST_DIRECTIVES, NULL, &policy->request_directives},
        {"ttl-names-status", SETTING_TTL, NULL, &policy->ttl_for_status},
        {"dttl-names-status", SETTING_DEFAULT_TTL, NULL, &policy->default_ttl_for_status},
    };
    bool by_default = span_starts_with(word, SPAN("default-"));

    value = span_skip(word, by_default ? 8 : 0);
    (void)span_split(&value, '=', &name); /* without a value it stays empty */
    if (span_equal(word, SPAN("offline")) || span_equal(word, SPAN("record"))) {
        policy->mode = span_equal(word, SPAN("offline")) ? MODE_OFFLINE : MODE_RECORD;
        return true;
    }
    if (span_equal(name, SPAN("max-stale"))) {
        policy->max_stale_s = number_of(value);
        return true;
    }
    if (span_equal(name, SPAN("max-bytes"))) {
        policy->max_object_bytes = (uint64_t)number_of(value);
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        if (span_equal(name, span_of(settings[i].name))) {
            if (settings[i].flag != NULL) {
                *settings[i].flag = true;
            } else {
                *settings[i].seconds = number_of(value);
            }
            policy->rule[settings[i].setting] = by_default ? NULL : "r";
            return true;
        }
    }
    return false;
}

static struct policy policy_from(const char *words, enum profile profile)
{
    struct policy policy = {
        .profile = profile,
        .ttl_s = -1,
        .default_ttl_s = -1,
        .stale_while_revalidate_s = -1,
        .stale_if_error_s = -1,
        .max_stale_s = 1000000,
    };
    struct span rest = span_of(words);
    struct span word;

    while (span_split(&rest, ' ', &word)) {
        bool known = span_equal(word, SPAN("safe")) || span_equal(word, SPAN("rfc")) || word.len == 0;
        cr_assert(known || apply_word(word, &policy), "a policy has no word %.*s", SPAN_ARG(word));
    }
    return policy;
}

/* Does a case with these words hold in `profile`? */
static bool holds_in(const char *words, enum profile profile)
{
    struct span text = span_of(words);

    return !(span_starts_with(text, SPAN("safe")) && profile == PROFILE_RFC) &&
           !(span_starts_with(text, SPAN("rfc")) && profile == PROFILE_SAFE);
}

static struct record record_from(unsigned status, const char *headers)
{
    struct http_response response = response_from(&arena, status, headers);

    return (struct record){.status = status, .inputs = freshness_inputs_of(&response, T0_MS, T0_MS, &arena)};
}

static bool same_rule(const char *a, const char *b)
{
    return span_equal(span_of(a), span_of(b));
}

Test(policy, may_lookup)
{
    static const struct {
        const char *name, *method, *headers, *policy;
        enum framing_kind framing;
        uint64_t length;
        enum reason want;
    } cases[] = {
        {"GET", "GET", "", "", FRAMING_NONE, 0, REASON_NONE},
        {"HEAD (RFC 9110 9.3.2)", "HEAD", "", "", FRAMING_NONE, 0, REASON_NONE},
        {"GET with an empty body", "GET", "", "", FRAMING_LENGTH, 0, REASON_NONE},
        {"GET with a body (RFC 9110 9.3.1)", "GET", "", "", FRAMING_LENGTH, 1, REASON_BODY_ON_GET},
        {"GET with chunks (RFC 9110 9.3.1)", "GET", "", "", FRAMING_CHUNKED, 0, REASON_BODY_ON_GET},
        {"HEAD with a body", "HEAD", "", "", FRAMING_LENGTH, 1, REASON_BODY_ON_GET},
        {"a range is looked up", "GET", "Range: bytes=0-1", "", FRAMING_NONE, 0, REASON_NONE},
        {"a condition on the client's copy too", "GET", "If-None-Match: \"a\"\nIf-Modified-Since: " T0_TEXT, "",
         FRAMING_NONE, 0, REASON_NONE},
        {"If-Match is for the origin (4.3.2)", "GET", "If-Match: \"a\"", "", FRAMING_NONE, 0, REASON_ORIGIN_CONDITION},
        {"If-Unmodified-Since too (4.3.2)", "GET", "If-Unmodified-Since: " T0_TEXT, "", FRAMING_NONE, 0,
         REASON_ORIGIN_CONDITION},
        {"an upgrade (RFC 9110 7.8)", "GET", "Upgrade: websocket\nConnection: keep-alive, Upgrade", "", FRAMING_NONE, 0,
         REASON_UPGRADE},
        {"Upgrade without Connection is none", "GET", "Upgrade: websocket", "", FRAMING_NONE, 0, REASON_NONE},
        {"Connection without Upgrade is none", "GET", "Connection: upgrade", "", FRAMING_NONE, 0, REASON_NONE},
        {"a rule bypasses", "GET", "", "bypass", FRAMING_NONE, 0, REASON_BYPASS_RULE},
        {"the method comes before the rule", "POST", "", "bypass", FRAMING_NONE, 0, REASON_METHOD},
        {"offline there is nothing to bypass to", "GET", "", "bypass offline", FRAMING_NONE, 0, REASON_NONE},
        {"recording changes no look-up", "GET", "", "bypass record", FRAMING_NONE, 0, REASON_BYPASS_RULE},
        {"offline a method is as ever", "POST", "", "offline", FRAMING_NONE, 0, REASON_METHOD},
        {"no-cache of a client changes nothing (5.2.1)", "GET", "Cache-Control: no-cache, no-store, max-age=0", "",
         FRAMING_NONE, 0, REASON_NONE},
        {"Authorization is looked up (3.5)", "GET", "Authorization: x", "", FRAMING_NONE, 0, REASON_NONE},
        {"Cookie is looked up", "GET", "Cookie: a=b", "", FRAMING_NONE, 0, REASON_NONE},
        {"POST", "POST", "", "", FRAMING_LENGTH, 5, REASON_METHOD},
        {"PUT", "PUT", "", "", FRAMING_NONE, 0, REASON_METHOD},
        {"DELETE", "DELETE", "", "", FRAMING_NONE, 0, REASON_METHOD},
        {"PATCH", "PATCH", "", "", FRAMING_NONE, 0, REASON_METHOD},
        {"OPTIONS", "OPTIONS", "", "", FRAMING_NONE, 0, REASON_METHOD},
        {"TRACE", "TRACE", "", "", FRAMING_NONE, 0, REASON_METHOD},
        {"QUERY", "QUERY", "", "", FRAMING_NONE, 0, REASON_METHOD},
        {"an unknown one", "M-SEARCH", "", "", FRAMING_NONE, 0, REASON_METHOD},
        {"methods have their case (RFC 9110 9.1)", "get", "", "", FRAMING_NONE, 0, REASON_METHOD},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int profile = PROFILE_SAFE; profile <= PROFILE_RFC; profile++) {
            struct policy policy = policy_from(cases[i].policy, (enum profile)profile);
            struct http_request request = request_from(&arena, cases[i].method, cases[i].headers);
            enum reason reason = REASON_COUNT;
            request.framing = (struct framing){.kind = cases[i].framing, .length = cases[i].length};
            bool got = policy_may_lookup(&request, &policy, &reason);
            cr_expect_eq(reason, cases[i].want, "%s: %s", cases[i].name, reason_token(reason));
            cr_expect_eq(got, cases[i].want == REASON_NONE, "%s", cases[i].name);
        }
    }
    struct policy policy = policy_from("", PROFILE_SAFE);
    struct http_request old = request_from(&arena, "GET", "Upgrade: websocket\nConnection: upgrade");
    enum reason reason;
    old.minor = 0;
    cr_expect(policy_may_lookup(&old, &policy, &reason), "HTTP/1.0 cannot upgrade (RFC 9110 7.8)");
}

Test(policy, only_if_cached)
{
    static const struct {
        const char *headers;
        bool want;
    } cases[] = {
        {"Cache-Control: only-if-cached", true},
        {"Cache-Control: foo, Only-If-Cached", true},
        {"Cache-Control: x=\"only-if-cached\"", false},
        {"Pragma: only-if-cached", false},
        {"", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int profile = PROFILE_SAFE; profile <= PROFILE_RFC; profile++) {
            struct policy policy = policy_from("", (enum profile)profile);
            struct http_request request = request_from(&arena, "GET", cases[i].headers);
            cr_expect_eq(policy_only_if_cached(&request, &policy), cases[i].want, "%s", cases[i].headers);
        }
    }
}

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
            struct http_request request = request_from(&arena, "GET", cases[i].request);
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

#define LM_100 "Last-Modified: Tue, 14 Nov 2023 21:56:40 GMT" /* 1000 s before: fresh for 100 s */

Test(policy, may_reuse_by_what_the_origin_says)
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

Test(policy, may_reuse_by_rule)
{
    static const struct reuse_case cases[] = {
        {"ttl lengthens", "ttl=20", "", "Cache-Control: max-age=10", 19999, REUSE_SERVE, REASON_FRESH_BY_RULE, "r"},
        {"ttl ends", "ttl=20", "", "Cache-Control: max-age=10", 20000, REUSE_VALIDATE, REASON_STALE, NULL},
        {"ttl shortens", "ttl=5", "", "Cache-Control: max-age=10", 5000, REUSE_VALIDATE, REASON_STALE, NULL},
        {"ttl=0 validates always", "ttl=0", "", "Cache-Control: max-age=10", 0, REUSE_VALIDATE, REASON_STALE, NULL},
        {"ttl lifts no-cache", "ttl=20", "", "Cache-Control: no-cache", 19999, REUSE_SERVE, REASON_FRESH_BY_RULE, "r"},
        {"ttl as a default has no name", "default-ttl=20", "", "", 0, REUSE_SERVE, REASON_FRESH_BY_RULE, NULL},
        {"default_ttl fills", "dttl=20", "", "ETag: \"a\"", 19999, REUSE_SERVE, REASON_FRESH_BY_RULE, "r"},
        {"default_ttl beats the heuristic", "dttl=20", "", LM_100, 20000, REUSE_VALIDATE, REASON_STALE, NULL},
        {"default_ttl yields to the origin", "dttl=20", "", "Cache-Control: max-age=10", 9999, REUSE_SERVE,
         REASON_FRESH, NULL},
        {"default_ttl does not lift no-cache", "dttl=20", "", "Cache-Control: no-cache", 0, REUSE_VALIDATE,
         REASON_NO_CACHE, NULL},
    };
    walk_reuse(cases, ARRAY_LEN(cases));
}

Test(policy, stale_while_revalidate)
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
        {"a default does not", "default-swr=1", "", "Cache-Control: max-age=10, stale-while-revalidate=5", 14999,
         REUSE_SERVE_REVALIDATE, REASON_STALE_WHILE_REVALIDATE, NULL},
        {"a default where the origin has none", "default-swr=5", "", "Cache-Control: max-age=10", 14999,
         REUSE_SERVE_REVALIDATE, REASON_STALE_WHILE_REVALIDATE, NULL},
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

Test(policy, request_directives_do_not_reach_through)
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

Test(policy, request_directives_by_rule)
{
#define ON  "request-directives"
#define TEN "Cache-Control: max-age=10"
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

Test(policy, cookies_and_reuse)
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

Test(policy, may_serve_stale)
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
        {"a default does not", "default-sie=1", "", TEN ", stale-if-error=5", S, 14999, REASON_STALE_IF_ERROR, NULL},
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
            struct http_request request = request_from(&arena, "GET", cases[i].request);
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

struct store_case {
    const char *name, *policy, *request;
    unsigned status;
    const char *response;
    enum reason reason; /* STORED and STORED_BY_RULE: yes */
    const char *rule;
};

static void walk_store(const struct store_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (int profile = PROFILE_SAFE; profile <= PROFILE_RFC; profile++) {
            if (!holds_in(cases[i].policy, (enum profile)profile)) {
                continue;
            }
            struct policy policy = policy_from(cases[i].policy, (enum profile)profile);
            struct http_request request = request_from(&arena, "GET", cases[i].request);
            struct http_response response = response_from(&arena, cases[i].status, cases[i].response);
            struct freshness_inputs inputs = freshness_inputs_of(&response, T0_MS, T0_MS, &arena);
            struct store_verdict got = policy_may_store(&request, &response, &inputs, &policy);
            bool want = cases[i].reason == REASON_STORED || cases[i].reason == REASON_STORED_BY_RULE;
            const char *in = profile == PROFILE_SAFE ? "safe" : "rfc";
            cr_expect_eq(got.store, want, "%s (%s)", cases[i].name, in);
            cr_expect_eq(got.reason, cases[i].reason, "%s (%s): %s", cases[i].name, in, reason_token(got.reason));
            cr_expect(same_rule(got.rule, cases[i].rule), "%s (%s): rule", cases[i].name, in);
        }
    }
}

Test(policy, may_store_what_is_of_use)
{
    static const struct store_case cases[] = {
        {"max-age (3)", "", "", 200, TEN, REASON_STORED, NULL},
        {"s-maxage (3)", "", "", 200, "Cache-Control: s-maxage=10", REASON_STORED, NULL},
        {"Expires (3)", "", "", 200, "Expires: Tue, 14 Nov 2023 22:13:30 GMT", REASON_STORED, NULL},
        {"Last-Modified (4.2.2)", "", "", 200, LM_100, REASON_STORED, NULL},
        {"ETag: validated each time (3)", "", "", 200, "ETag: \"a\"", REASON_STORED, NULL},
        {"nothing (3)", "", "", 200, "", REASON_NO_FRESHNESS, NULL},
        {"public alone (3)", "", "", 200, "Cache-Control: public", REASON_NO_FRESHNESS, NULL},
        {"max-age=0 (3)", "", "", 200, "Cache-Control: max-age=0", REASON_NO_FRESHNESS, NULL},
        {"max-age=0 with a validator (3)", "", "", 200, "Cache-Control: max-age=0\nETag: \"a\"", REASON_STORED, NULL},
        {"an invalid max-age (4.2.1)", "", "", 200, "Cache-Control: max-age=x", REASON_NO_FRESHNESS, NULL},
        {"Expires in the past (3)", "", "", 200, "Expires: 0", REASON_NO_FRESHNESS, NULL},
        {"Expires in the past with a validator (3)", "", "", 200, "Expires: 0\n" LM_100, REASON_STORED, NULL},
        {"stale by Age on arrival", "", "", 200, TEN "\nAge: 10", REASON_STORED, NULL},
        {"max-age=0 and a window (RFC 5861 3)", "", "", 200, "Cache-Control: max-age=0, stale-while-revalidate=5",
         REASON_STORED, NULL},
        {"max-age=0 and the other window (RFC 5861 4)", "", "", 200, "Cache-Control: max-age=0, stale-if-error=5",
         REASON_STORED, NULL},
        {"max-age=0 and an empty window", "", "", 200, "Cache-Control: max-age=0, stale-if-error=0",
         REASON_NO_FRESHNESS, NULL},
        {"a window that must-revalidate shuts", "", "", 200,
         "Cache-Control: max-age=0, must-revalidate, stale-if-error=5", REASON_NO_FRESHNESS, NULL},
        {"max-age=0 and a window by rule", "swr=5", "", 200, "Cache-Control: max-age=0", REASON_STORED, NULL},
        {"max-age=0 and a window by default", "default-sie=5", "", 200, "Cache-Control: max-age=0", REASON_NO_FRESHNESS,
         NULL},
        {"max-age=0 and the other window by default", "default-swr=5", "", 200, "Cache-Control: max-age=0",
         REASON_NO_FRESHNESS, NULL},
        {"a window alone", "", "", 200, "Cache-Control: stale-if-error=5", REASON_NO_FRESHNESS, NULL},
        {"no-cache with a validator (5.2.2.4)", "", "", 200, "Cache-Control: no-cache\nETag: \"a\"", REASON_STORED,
         NULL},
        {"no-cache without (5.2.2.4)", "", "", 200, TEN ", no-cache", REASON_NO_FRESHNESS, NULL},
        {"qualified no-cache without (5.2.2.4)", "", "", 200, TEN ", no-cache=\"A\"", REASON_STORED, NULL},
        {"Pragma in a response (5.4)", "", "", 200, TEN "\nPragma: no-cache", REASON_STORED, NULL},
        {"an empty ETag is no validator", "", "", 200, "ETag:", REASON_NO_FRESHNESS, NULL},
    };
    walk_store(cases, ARRAY_LEN(cases));
}

Test(policy, may_store_by_status)
{
    static const struct store_case cases[] = {
        {"206 (3.3)", "", "", 206, TEN, REASON_NOT_STORED_PARTIAL, NULL},
        {"416 answers a range", "", "", 416, TEN, REASON_NOT_STORED_PARTIAL, NULL},
        {"304 (4.3.4)", "", "", 304, TEN "\nETag: \"a\"", REASON_NOT_STORED_STATUS, NULL},
        {"412 answers a condition", "", "", 412, TEN, REASON_NOT_STORED_STATUS, NULL},
        {"103 is not final (3)", "", "", 103, TEN, REASON_NOT_STORED_STATUS, NULL},
        {"302 without freshness (4.2.2)", "", "", 302, "ETag: \"a\"", REASON_NOT_STORED_STATUS, NULL},
        {"302 with Last-Modified (4.2.2)", "", "", 302, LM_100, REASON_NOT_STORED_STATUS, NULL},
        {"302 with public and Last-Modified (5.2.2.9)", "", "", 302, LM_100 "\nCache-Control: public", REASON_STORED,
         NULL},
        {"404 with Last-Modified (4.2.2)", "", "", 404, LM_100, REASON_STORED, NULL},
        {"404 with nothing", "", "", 404, "", REASON_NO_FRESHNESS, NULL},
        {"500 with nothing", "", "", 500, "", REASON_NOT_STORED_STATUS, NULL},
        {"500 with a rule's ttl", "ttl=60", "", 500, "", REASON_NOT_STORED_STATUS, NULL},
        {"500 with the ttl of a rule for 500s", "ttl=60 ttl-names-status", "", 500, "", REASON_STORED_BY_RULE, "r"},
        {"503 with the default_ttl of a rule for 503s", "dttl=60 dttl-names-status", "", 503, "", REASON_STORED_BY_RULE,
         "r"},
        {"500 with the default_ttl of one rule, the ttl of another that names it", "dttl=60 ttl-names-status", "", 500,
         "", REASON_NOT_STORED_STATUS, NULL},
        {"no-store on a 500 that a rule is for (5.2.2.5)", "ttl=60 ttl-names-status", "", 500,
         "Cache-Control: no-store", REASON_NO_STORE, NULL},
        {"404 with a rule's ttl", "ttl=60", "", 404, "", REASON_STORED_BY_RULE, "r"},
    };
    walk_store(cases, ARRAY_LEN(cases));

    static const unsigned explicitly[] = {200, 203, 204, 299, 300, 301, 302, 303, 307, 308, 400,
                                          404, 410, 414, 451, 499, 500, 501, 502, 503, 504, 599};
    for (size_t i = 0; i < ARRAY_LEN(explicitly); i++) {
        const struct store_case one = {
            "any final status with explicit freshness (3)", "", "", explicitly[i], TEN, REASON_STORED, NULL};
        walk_store(&one, 1);
    }
}

Test(policy, may_store_what_the_origin_permits)
{
    static const struct store_case cases[] = {
        {"no-store (5.2.2.5)", "", "", 200, TEN ", no-store", REASON_NO_STORE, NULL},
        {"no-store against ttl", "ttl=60", "", 200, "Cache-Control: no-store", REASON_NO_STORE, NULL},
        {"no-store, must-understand, understood (5.2.2.3)", "", "", 200, TEN ", no-store, must-understand",
         REASON_STORED, NULL},
        {"no-store, must-understand, not (5.2.2.3)", "", "", 599, TEN ", no-store, must-understand",
         REASON_MUST_UNDERSTAND, NULL},
        {"must-understand alone, not (5.2.2.3)", "", "", 299, TEN ", must-understand", REASON_MUST_UNDERSTAND, NULL},
        {"must-understand alone, understood (5.2.2.3)", "", "", 301, TEN ", must-understand", REASON_STORED, NULL},
        {"private (5.2.2.7)", "", "", 200, TEN ", private", REASON_PRIVATE, NULL},
        {"private against s-maxage (5.2.2.7)", "", "", 200, "Cache-Control: private, s-maxage=10", REASON_PRIVATE,
         NULL},
        {"private against ttl", "ttl=60", "", 200, "Cache-Control: private", REASON_PRIVATE, NULL},
        {"qualified private (5.2.2.7)", "", "", 200, TEN ", private=\"A\"", REASON_STORED, NULL},
        {"private=\"\" is unqualified", "", "", 200, TEN ", private=\"\"", REASON_PRIVATE, NULL},
        {"Authorization (3.5)", "", "Authorization: x", 200, TEN, REASON_AUTHORIZATION, NULL},
        {"Authorization against ttl", "ttl=60", "Authorization: x", 200, TEN, REASON_AUTHORIZATION, NULL},
        {"Authorization and public (3.5)", "", "Authorization: x", 200, TEN ", public", REASON_STORED, NULL},
        {"Authorization and must-revalidate (3.5)", "", "Authorization: x", 200, TEN ", must-revalidate", REASON_STORED,
         NULL},
        {"Authorization and s-maxage (3.5)", "", "Authorization: x", 200, "Cache-Control: s-maxage=5", REASON_STORED,
         NULL},
        {"Authorization and an invalid s-maxage", "", "Authorization: x", 200, "Cache-Control: s-maxage=x\nETag: \"a\"",
         REASON_AUTHORIZATION, NULL},
        {"Authorization and proxy-revalidate (3.5)", "", "Authorization: x", 200, TEN ", proxy-revalidate",
         REASON_AUTHORIZATION, NULL},
        {"Vary (4.1)", "", "", 200, TEN "\nVary: Foo", REASON_STORED, NULL},
        {"Vary: * (4.1)", "", "", 200, TEN "\nVary: Foo, *", REASON_VARY_STAR, NULL},
        {"Vary: * against ttl", "ttl=60", "", 200, "Vary: *", REASON_VARY_STAR, NULL},
        {"Vary with too many names", "", "", 200, TEN "\nVary: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", REASON_VARY_TOO_MUCH,
         NULL},
    };
    walk_store(cases, ARRAY_LEN(cases));
}

Test(policy, may_store_what_was_asked)
{
    static const struct store_case cases[] = {
        {"a client's no-store is not heard (5.2.1.5)", "", "Cache-Control: no-store", 200, TEN, REASON_STORED, NULL},
        {"a client's no-store by rule (5.2.1.5)", "request-directives", "Cache-Control: no-store", 200, TEN,
         REASON_REQUEST_NO_STORE, NULL},
        {"a client's no-cache never matters", "request-directives", "Cache-Control: no-cache", 200, TEN, REASON_STORED,
         NULL},
        {"bypassed", "bypass", "", 200, TEN, REASON_BYPASS_RULE, "r"},
        {"asked with If-Match", "", "If-Match: \"a\"", 200, TEN, REASON_ORIGIN_CONDITION, NULL},
        {"asked with a range, answered whole", "", "Range: bytes=0-1", 200, TEN, REASON_STORED, NULL},
        {"a cookie, declared fresh", "safe", "Cookie: a=b", 200, TEN, REASON_STORED, NULL},
        {"a cookie, declared stale", "safe", "Cookie: a=b", 200, "Expires: 0\nETag: \"a\"", REASON_STORED, NULL},
        {"a cookie, by heuristic", "safe", "Cookie: a=b", 200, LM_100, REASON_COOKIE_HEURISTIC, NULL},
        {"a cookie, by validator", "safe", "Cookie: a=b", 200, "ETag: \"a\"", REASON_COOKIE_HEURISTIC, NULL},
        {"a cookie, by default_ttl", "safe dttl=5", "Cookie: a=b", 200, "", REASON_COOKIE_HEURISTIC, NULL},
        {"a cookie, by ttl", "safe ttl=5", "Cookie: a=b", 200, "", REASON_STORED_BY_RULE, "r"},
        {"a cookie, ignored", "safe ignore-cookies", "Cookie: a=b", 200, LM_100, REASON_STORED, NULL},
        {"a cookie, by the letter", "rfc", "Cookie: a=b", 200, LM_100, REASON_STORED, NULL},
    };
    walk_store(cases, ARRAY_LEN(cases));

    static const char *const methods[] = {"HEAD", "POST", "PUT", "DELETE", "OPTIONS", "QUERY", "M-SEARCH"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct policy policy = policy_from("", PROFILE_RFC);
        struct http_request request = request_from(&arena, methods[i], "");
        struct http_response response = response_from(&arena, 200, TEN);
        struct freshness_inputs inputs = freshness_inputs_of(&response, T0_MS, T0_MS, &arena);
        struct store_verdict got = policy_may_store(&request, &response, &inputs, &policy);
        cr_expect(!got.store && got.reason == REASON_NOT_STORED_METHOD, "%s (3)", methods[i]);
    }
}

Test(policy, may_store_set_cookie)
{
#define SETS "\nSet-Cookie: a=b"
    static const struct store_case cases[] = {
        {"not in safe", "safe", "", 200, TEN SETS, REASON_SET_COOKIE, NULL},
        {"not by ttl either", "safe ttl=60", "", 200, TEN SETS, REASON_SET_COOKIE, NULL},
        {"by a rule of its own", "safe store-set-cookie", "", 200, TEN SETS, REASON_STORED_BY_RULE, "r"},
        {"the rule does not make it storable", "safe store-set-cookie", "", 200, "Cache-Control: private" SETS,
         REASON_PRIVATE, NULL},
        {"nor fresh", "safe store-set-cookie", "", 200, "A: 1" SETS, REASON_NO_FRESHNESS, NULL},
        {"kept out of reuse by no-cache (5.2.2.4)", "safe", "", 200, TEN ", no-cache=\"Set-Cookie\"" SETS,
         REASON_STORED, NULL},
        {"kept out of the store by private (5.2.2.7)", "safe", "", 200, TEN ", private=\"set-cookie\"" SETS,
         REASON_STORED, NULL},
        {"another field kept out", "safe", "", 200, TEN ", no-cache=\"A\"" SETS, REASON_SET_COOKIE, NULL},
        {"by the letter (7.3)", "rfc", "", 200, TEN SETS, REASON_STORED, NULL},
    };
    walk_store(cases, ARRAY_LEN(cases));
}

Test(policy, may_store_by_rule)
{
    static const struct store_case cases[] = {
        {"ttl", "ttl=60", "", 200, "", REASON_STORED_BY_RULE, "r"},
        {"ttl=0 without a validator", "ttl=0", "", 200, TEN, REASON_NO_FRESHNESS, "r"},
        {"ttl=0 with a validator", "ttl=0", "", 200, TEN "\nETag: \"a\"", REASON_STORED_BY_RULE, "r"},
        {"ttl lifts no-cache", "ttl=60", "", 200, "Cache-Control: no-cache", REASON_STORED_BY_RULE, "r"},
        {"default_ttl", "dttl=60", "", 200, "", REASON_STORED_BY_RULE, "r"},
        {"default_ttl yields", "dttl=60", "", 200, TEN, REASON_STORED, NULL},
        {"default_ttl=0 without a validator", "dttl=0", "", 200, "", REASON_NO_FRESHNESS, "r"},
        {"default_ttl is not for max-age=0", "dttl=60", "", 200, "Cache-Control: max-age=0", REASON_NO_FRESHNESS, NULL},
        {"default_ttl does not lift no-cache", "dttl=60", "", 200, "Cache-Control: no-cache", REASON_NO_FRESHNESS, "r"},
    };
    walk_store(cases, ARRAY_LEN(cases));
}

Test(policy, may_store_what_can_be_kept)
{
    static const struct {
        const char *name, *policy;
        struct framing framing;
        enum reason want;
    } cases[] = {
        {"a length at the limit", "max-bytes=10", {FRAMING_LENGTH, 10, false}, REASON_STORED},
        {"a length beyond it", "max-bytes=10", {FRAMING_LENGTH, 11, false}, REASON_TOO_LARGE},
        {"no limit", "", {FRAMING_LENGTH, UINT64_MAX, false}, REASON_STORED},
        {"chunks are counted later", "max-bytes=10", {FRAMING_CHUNKED, 0, false}, REASON_STORED},
        {"until close", "", {FRAMING_CLOSE, 0, false}, REASON_STORED},
        {"an unknown coding (RFC 9112 6.1)", "", {FRAMING_CLOSE, 0, true}, REASON_UNKNOWN_CODING},
        {"an unknown coding against ttl", "ttl=60", {FRAMING_CLOSE, 0, true}, REASON_UNKNOWN_CODING},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct policy policy = policy_from(cases[i].policy, PROFILE_SAFE);
        struct http_request request = request_from(&arena, "GET", "");
        struct http_response response = response_from(&arena, 200, TEN);
        struct freshness_inputs inputs = freshness_inputs_of(&response, T0_MS, T0_MS, &arena);
        response.framing = cases[i].framing;
        struct store_verdict got = policy_may_store(&request, &response, &inputs, &policy);
        cr_expect_eq(got.reason, cases[i].want, "%s: %s", cases[i].name, reason_token(got.reason));
    }
}

Test(policy, durations_without_end_do_not_overflow)
{
    struct policy policy =
        policy_from("swr=9223372036854775807 sie=9223372036854775807 max-stale=9223372036854775807", PROFILE_SAFE);
    struct http_request request = request_from(&arena, "GET", "");
    struct record record = record_from(200, TEN);
    enum reason reason;
    const char *rule;

    cr_expect_eq(policy_may_reuse(&request, &record, &policy, T0_MS + 1000000).reuse, REUSE_SERVE_REVALIDATE);
    cr_expect(policy_may_serve_stale(&request, &record, &policy, FAILURE_STATUS, T0_MS + 1000000, &reason, &rule));
    policy.ttl_s = INT64_MAX;
    policy.request_directives = true;
    request = request_from(&arena, "GET", "Cache-Control: max-stale, min-fresh=2147483647");
    cr_expect_eq(policy_may_reuse(&request, &record, &policy, T0_MS + 1000000).reuse, REUSE_SERVE);
    policy.max_stale_s = INT64_MIN;
    policy.ttl_s = INT64_MIN;
    cr_expect_eq(policy_may_reuse(&request, &record, &policy, T0_MS + 1000000).reuse, REUSE_VALIDATE);
}

Test(policy, offline_whatever_is_stored_is_served)
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
        struct http_request request = request_from(&arena, "GET", cases[i].request);
        struct record record = record_from(200, cases[i].response);
        struct reuse_verdict verdict = policy_may_reuse(&request, &record, &policy, T0_MS + cases[i].age_s * 1000);
        cr_expect_eq(verdict.reason, cases[i].want, "%s: %s", cases[i].name, reason_token(verdict.reason));
        cr_expect_eq(verdict.reuse == REUSE_SERVE, policy.mode == MODE_OFFLINE, "%s", cases[i].name);
    }
}

Test(policy, may_record)
{
    static const struct {
        const char *name, *method, *request, *response, *policy;
        unsigned status;
        bool want;
    } cases[] = {
        {"no-store (RFC 9111 5.2.2.5)", "GET", "", "Cache-Control: no-store", "record", 200, true},
        {"private (RFC 9111 5.2.2.7)", "GET", "", "Cache-Control: private", "record", 200, true},
        {"Set-Cookie", "GET", "", "Set-Cookie: a=b", "record", 200, true},
        {"Authorization (RFC 9111 3.5)", "GET", "Authorization: x", "", "record", 200, true},
        {"must-understand", "GET", "", "Cache-Control: must-understand", "record", 299, true},
        {"Vary: * (RFC 9111 4.1)", "GET", "", "Vary: *", "record", 200, true},
        {"no-store of the client", "GET", "Cache-Control: no-store", "", "record request-directives", 200, true},
        {"a rule bypasses", "GET", "", "", "record bypass", 200, true},
        {"an error", "GET", "", "", "record", 500, true},
        {"a redirection", "GET", "", "Location: /b", "record", 302, true},
        {"in normal mode", "GET", "", "Cache-Control: no-store", "", 200, false},
        {"offline", "GET", "", "Cache-Control: no-store", "offline", 200, false},
        {"HEAD has no content to replay", "HEAD", "", "", "record", 200, false},
        {"POST", "POST", "", "", "record", 200, false},
        {"a part", "GET", "Range: bytes=0-1", "Content-Range: bytes 0-1/5", "record", 206, false},
        {"an answer to a condition", "GET", "", "", "record", 304, false},
        {"If-Match", "GET", "If-Match: \"a\"", "", "record", 200, false},
        {"another protocol", "GET", "Upgrade: websocket\nConnection: upgrade", "", "record bypass", 200, false},
        {"too large", "GET", "", "Content-Length: 11", "record max-bytes=10", 200, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct policy policy = policy_from(cases[i].policy, PROFILE_SAFE);
        struct http_request request = request_from(&arena, cases[i].method, cases[i].request);
        struct http_response response = response_from(&arena, cases[i].status, cases[i].response);
        struct freshness_inputs inputs = freshness_inputs_of(&response, T0_MS, T0_MS, &arena);
        if (headers_has(&response.headers, SPAN("Content-Length"))) {
            response.framing = (struct framing){.kind = FRAMING_LENGTH, .length = 11};
        }
        cr_expect_eq(policy_may_record(&request, &response, &policy), cases[i].want, "%s", cases[i].name);
        bool stores = policy_may_store(&request, &response, &inputs, &policy).store;
        cr_expect_not(stores, "%s: recording stores nothing for reuse", cases[i].name);
    }
}

Test(policy, invalidates)
{
    static const struct {
        enum method method;
        bool unsafe;
    } methods[] = {
        {METHOD_GET, false},   {METHOD_HEAD, false}, {METHOD_OPTIONS, false}, {METHOD_TRACE, false},
        {METHOD_QUERY, false}, {METHOD_POST, true},  {METHOD_PUT, true},      {METHOD_DELETE, true},
        {METHOD_PATCH, true},  {METHOD_OTHER, true},
    };
    static const struct {
        unsigned status;
        bool success;
    } statuses[] = {{100, false}, {199, false}, {200, true},  {204, true},  {303, true},
                    {399, true},  {400, false}, {404, false}, {500, false}, {503, false}};

    for (size_t m = 0; m < ARRAY_LEN(methods); m++) {
        for (size_t s = 0; s < ARRAY_LEN(statuses); s++) {
            cr_expect_eq(policy_invalidates(methods[m].method, statuses[s].status),
                         methods[m].unsafe && statuses[s].success, "method %d, status %u (4.4)", (int)methods[m].method,
                         statuses[s].status);
        }
    }
}
