/* test_policy.c: what may be looked up and invalidated, and durations without end. */
#include <criterion/criterion.h>

#include "tests/unit/policy_support.h"

TestSuite(policy, .init = policy_setup, .fini = policy_teardown);

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
            struct http_request request = request_from(&policy_arena, cases[i].method, cases[i].headers);
            enum reason reason = REASON_COUNT;
            request.framing = (struct framing){.kind = cases[i].framing, .length = cases[i].length};
            bool got = policy_may_lookup(&request, &policy, &reason);
            cr_expect_eq(reason, cases[i].want, "%s: %s", cases[i].name, reason_token(reason));
            cr_expect_eq(got, cases[i].want == REASON_NONE, "%s", cases[i].name);
        }
    }
    struct policy policy = policy_from("", PROFILE_SAFE);
    struct http_request old = request_from(&policy_arena, "GET", "Upgrade: websocket\nConnection: upgrade");
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
        struct http_request request = request_from(&policy_arena, "GET", cases[i].headers);
        cr_expect_eq(policy_only_if_cached(&request), cases[i].want, "%s", cases[i].headers);
    }
}

Test(policy, durations_without_end_do_not_overflow)
{
    struct policy policy =
        policy_from("swr=9223372036854775807 sie=9223372036854775807 max-stale=9223372036854775807", PROFILE_SAFE);
    struct http_request request = request_from(&policy_arena, "GET", "");
    struct record record = record_from(200, TEN);
    enum reason reason;
    const char *rule;

    cr_expect_eq(policy_may_reuse(&request, &record, &policy, T0_MS + 1000000).reuse, REUSE_SERVE_REVALIDATE);
    cr_expect(policy_may_serve_stale(&request, &record, &policy, FAILURE_STATUS, T0_MS + 1000000, &reason, &rule));
    policy.ttl_s = INT64_MAX;
    policy.request_directives = true;
    request = request_from(&policy_arena, "GET", "Cache-Control: max-stale, min-fresh=2147483647");
    cr_expect_eq(policy_may_reuse(&request, &record, &policy, T0_MS + 1000000).reuse, REUSE_SERVE);
    policy.max_stale_s = INT64_MIN;
    policy.ttl_s = INT64_MIN;
    cr_expect_eq(policy_may_reuse(&request, &record, &policy, T0_MS + 1000000).reuse, REUSE_VALIDATE);
}

/* What is told agrees with what is served: up to the last second of it, and not beyond. */
Test(policy, stale_use)
{
    static const struct {
        const char *name, *policy, *response;
        int64_t behind_s, error_s;
    } cases[] = {
        {"nothing given", "", TEN, -1, -1},
        {"the response's", "", TEN ", stale-while-revalidate=5, stale-if-error=6", 5, 6},
        {"a rule's", "swr=7 sie=8", TEN ", stale-while-revalidate=5, stale-if-error=6", 7, 8},
        {"at most max_stale", "swr=70 sie=80 max-stale=20", TEN, 20, 20},
        {"no-cache (RFC 9111 5.2.2.4)", "swr=7 sie=8", TEN ", no-cache", 0, 0},
        {"no-cache under a ttl", "ttl=10 swr=7 sie=8", "Cache-Control: no-cache", 0, 0},
        {"must-revalidate (RFC 9111 5.2.2.2)", "swr=7 sie=8", TEN ", must-revalidate", 0, 0},
        {"proxy-revalidate (RFC 9111 5.2.2.8)", "swr=7 sie=8", TEN ", proxy-revalidate", 0, 0},
        {"s-maxage (RFC 9111 5.2.2.10)", "swr=7 sie=8", "Cache-Control: s-maxage=10", 0, 0},
        {"no lifetime to stand behind (RFC 5861 3)", "swr=7 sie=8", "ETag: \"a\"", 0, 8},
        {"must-revalidate, and nothing given", "", TEN ", must-revalidate", -1, -1},
        {"no lifetime, and nothing given", "", "ETag: \"a\"", -1, -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct policy policy = policy_from(cases[i].policy, PROFILE_SAFE);
        struct http_request request = request_from(&policy_arena, "GET", "");
        struct record record = record_from(200, cases[i].response);
        struct stale_window behind = policy_stale_use(&policy, &record.inputs, SETTING_STALE_WHILE_REVALIDATE);
        struct stale_window error = policy_stale_use(&policy, &record.inputs, SETTING_STALE_IF_ERROR);
        int64_t behind_s = behind.length_s, error_s = error.length_s;
        struct lifetime_override override = policy_lifetimes(&policy);
        int64_t stale_from_ms = T0_MS + 1000 * freshness_at(&record.inputs, &override, T0_MS).lifetime_s;
        enum reason reason;
        const char *rule;

        cr_expect_eq(behind_s, cases[i].behind_s, "%s", cases[i].name);
        cr_expect_eq(error_s, cases[i].error_s, "%s", cases[i].name);
        cr_expect(same_rule(behind.rule, policy.rule[SETTING_STALE_WHILE_REVALIDATE]), "%s: who gave it",
                  cases[i].name);
        cr_expect(same_rule(error.rule, policy.rule[SETTING_STALE_IF_ERROR]), "%s: who gave it", cases[i].name);
        for (int64_t s = 0; s < 100; s++) {
            int64_t now_ms = stale_from_ms + 1000 * s;
            cr_expect_eq(policy_may_reuse(&request, &record, &policy, now_ms).reuse == REUSE_SERVE_REVALIDATE,
                         s < behind_s, "%s, behind, %d s", cases[i].name, (int)s);
            cr_expect_eq(policy_may_serve_stale(&request, &record, &policy, FAILURE_STATUS, now_ms, &reason, &rule),
                         s < error_s, "%s, if error, %d s", cases[i].name, (int)s);
        }
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
