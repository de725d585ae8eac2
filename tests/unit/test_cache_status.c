/* test_cache_status.c: the member of Cache-Status, to the letter (RFC 9211). */
#include "proxy/exchange/cache_status.h"

#include <criterion/criterion.h>
#include <string.h>

#include "support.h"

Test(cache_status, texts)
{
    static const struct {
        const char *name;
        struct cache_status status;
        const char *want;
    } cases[] = {
        {"a hit",
         {.name = "larder", .outcome = OUTCOME_HIT, .reason = REASON_FRESH, .has_ttl = true, .ttl_s = 59},
         "larder; hit; ttl=59; detail=fresh"},
        {"a stale hit has a negative ttl",
         {.name = "larder", .outcome = OUTCOME_HIT, .reason = REASON_STALE_IF_ERROR, .has_ttl = true, .ttl_s = -7},
         "larder; hit; ttl=-7; detail=stale-if-error"},
        {"a ttl of 0 is said", {.name = "c", .outcome = OUTCOME_HIT, .has_ttl = true}, "c; hit; ttl=0"},
        {"a miss that is stored",
         {.name = "larder",
          .outcome = OUTCOME_URI_MISS,
          .reason = REASON_STORED,
          .fwd_status = 200,
          .stored = true,
          .has_ttl = true,
          .ttl_s = 60},
         "larder; fwd=uri-miss; fwd-status=200; stored; ttl=60; detail=stored"},
        {"a follower",
         {.name = "larder", .outcome = OUTCOME_URI_MISS, .reason = REASON_FOLLOWED, .collapsed = true},
         "larder; fwd=uri-miss; collapsed; detail=followed"},
        {"collapsed and stored, in this order",
         {.name = "c", .outcome = OUTCOME_STALE, .collapsed = true, .stored = true},
         "c; fwd=stale; collapsed; stored"},
        {"what belongs to forwarding is not said of a hit",
         {.name = "c", .outcome = OUTCOME_HIT, .fwd_status = 200, .collapsed = true, .stored = true},
         "c; hit"},
        {"answered without the cache",
         {.name = "c", .outcome = OUTCOME_NONE, .reason = REASON_NO_SITE},
         "c; detail=no-site"},
        {"nothing at all", {.name = "c", .outcome = OUTCOME_NONE}, "c"},
        {"the rule that decided",
         {.name = "c", .outcome = OUTCOME_BYPASS, .reason = REASON_BYPASS_RULE, .rule = "static"},
         "c; fwd=bypass; detail=\"bypass-rule static\""},
        {"a rule's name is escaped",
         {.name = "c", .outcome = OUTCOME_BYPASS, .reason = REASON_BYPASS_RULE, .rule = "a \"b\" \\"},
         "c; fwd=bypass; detail=\"bypass-rule a \\\"b\\\" \\\\\""},
        {"bytes that a string cannot hold",
         {.name = "c", .outcome = OUTCOME_BYPASS, .reason = REASON_BYPASS_RULE, .rule = "\xc3\xa9\r\n\x7f"},
         "c; fwd=bypass; detail=\"bypass-rule ?????\""},
        {"a name that is no token", {.name = "my cache", .outcome = OUTCOME_HIT}, "\"my cache\"; hit"},
        {"a name that begins with a digit", {.name = "1st", .outcome = OUTCOME_HIT}, "\"1st\"; hit"},
        {"a name with a dot", {.name = "cache.example", .outcome = OUTCOME_HIT}, "cache.example; hit"},
        {"an empty name", {.name = "", .outcome = OUTCOME_HIT}, "\"\"; hit"},
        {"a name with line ends", {.name = "a\r\nB: c", .outcome = OUTCOME_HIT}, "\"a??B: c\"; hit"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span value;
        cr_assert(cache_status_format(&cases[i].status, &arena, &value), "%s", cases[i].name);
        cr_expect_str_eq(test_text(value, &arena), cases[i].want, "%s", cases[i].name);
    }
    arena_finish(&arena);
}

Test(cache_status, limits)
{
    static char rule[2048];
    struct cache_status status = {.name = "c", .outcome = OUTCOME_BYPASS, .reason = REASON_BYPASS_RULE, .rule = rule};
    struct span value = SPAN("untouched");
    struct arena small;

    arena_init(&small, 4);
    status.rule = NULL;
    cr_expect_not(cache_status_format(&status, &small, &value), "the arena's limit");
    cr_expect(span_equal(value, SPAN("untouched")));
    arena_finish(&small);

    struct arena arena = test_arena();
    memset(rule, 'r', sizeof(rule) - 1);
    status.rule = rule;
    cr_assert(cache_status_format(&status, &arena, &value));
    cr_expect_lt(value.len, 2000, "a rule's name without end is cut");
    cr_expect_eq(value.data[value.len - 1], '"', "and the string still ends");
    arena_finish(&arena);
}
