/* test_policy_store.c: what may be stored (RFC 9111 3), and recorded. */
#include <criterion/criterion.h>

#include "tests/unit/policy_support.h"

TestSuite(policy_store, .init = policy_setup, .fini = policy_teardown);

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
            struct http_request request = request_from(&policy_arena, "GET", cases[i].request);
            struct http_response response = response_from(&policy_arena, cases[i].status, cases[i].response);
            struct freshness_inputs inputs = freshness_inputs_of(&response, T0_MS, T0_MS, &policy_arena);
            struct store_verdict got = policy_may_store(&request, &response, &inputs, &policy);
            bool want = cases[i].reason == REASON_STORED || cases[i].reason == REASON_STORED_BY_RULE;
            const char *in = profile == PROFILE_SAFE ? "safe" : "rfc";
            cr_expect_eq(got.store, want, "%s (%s)", cases[i].name, in);
            cr_expect_eq(got.reason, cases[i].reason, "%s (%s): %s", cases[i].name, in, reason_token(got.reason));
            cr_expect(same_rule(got.rule, cases[i].rule), "%s (%s): rule", cases[i].name, in);
        }
    }
}

Test(policy_store, may_store_what_is_of_use)
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

Test(policy_store, may_store_by_status)
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

Test(policy_store, may_store_what_the_origin_permits)
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

Test(policy_store, may_store_what_was_asked)
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
        struct http_request request = request_from(&policy_arena, methods[i], "");
        struct http_response response = response_from(&policy_arena, 200, TEN);
        struct freshness_inputs inputs = freshness_inputs_of(&response, T0_MS, T0_MS, &policy_arena);
        struct store_verdict got = policy_may_store(&request, &response, &inputs, &policy);
        cr_expect(!got.store && got.reason == REASON_NOT_STORED_METHOD, "%s (3)", methods[i]);
    }
}

Test(policy_store, may_store_set_cookie)
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

Test(policy_store, may_store_by_rule)
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

Test(policy_store, may_store_what_can_be_kept)
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
        struct http_request request = request_from(&policy_arena, "GET", "");
        struct http_response response = response_from(&policy_arena, 200, TEN);
        struct freshness_inputs inputs = freshness_inputs_of(&response, T0_MS, T0_MS, &policy_arena);
        response.framing = cases[i].framing;
        struct store_verdict got = policy_may_store(&request, &response, &inputs, &policy);
        cr_expect_eq(got.reason, cases[i].want, "%s: %s", cases[i].name, reason_token(got.reason));
    }
}

Test(policy_store, may_record)
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
        struct http_request request = request_from(&policy_arena, cases[i].method, cases[i].request);
        struct http_response response = response_from(&policy_arena, cases[i].status, cases[i].response);
        struct freshness_inputs inputs = freshness_inputs_of(&response, T0_MS, T0_MS, &policy_arena);
        if (headers_has(&response.headers, SPAN("Content-Length"))) {
            response.framing = (struct framing){.kind = FRAMING_LENGTH, .length = 11};
        }
        cr_expect_eq(policy_may_record(&request, &response, &policy), cases[i].want, "%s", cases[i].name);
        bool stores = policy_may_store(&request, &response, &inputs, &policy).store;
        cr_expect_not(stores, "%s: recording stores nothing for reuse", cases[i].name);
    }
}
