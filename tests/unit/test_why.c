/* test_why.c: the tables of `larder why` are complete, and what goes wrong says so. */
#include <criterion/criterion.h>
#include <string.h>

#include "proxy/exchange/decide.h"
#include "proxy/why/why.h"

Test(why, every_reason_has_a_hint_of_its_own)
{
    const char *fallback = why_hint(REASON_COUNT);

    for (int i = 0; i < REASON_COUNT; i++) {
        const char *hint = why_hint((enum reason)i);
        cr_expect(hint != fallback && strlen(hint) > 10, "%s has no hint in why_hints.c", reason_token((enum reason)i));
        cr_expect_neq(hint[strlen(hint) - 1], '.', "%s", reason_token((enum reason)i));
    }
}

Test(why, every_setting_has_a_name)
{
    for (int i = 0; i < SETTING_COUNT; i++) {
        cr_expect_not_null(why_setting_name((enum setting)i), "setting %d", i);
    }
}

Test(why, a_reason_alone)
{
    struct buf out;

    buf_init(&out, 4096);
    cr_expect(why_write_reason(SPAN("no-store"), false, &out));
    cr_expect(span_starts_with(buf_span(&out), SPAN("no-store: the origin forbids storing (RFC 9111 5.2.2.5)\n")));
    buf_clear(&out);
    cr_expect(why_write_reason(SPAN("no-store"), true, &out));
    cr_expect(span_starts_with(buf_span(&out), SPAN("{\"reason\":\"no-store\",\"source\":\"RFC 9111 5.2.2.5\",")));
    buf_clear(&out);
    cr_expect_not(why_write_reason(SPAN("http://a/"), false, &out));
    cr_expect_eq(out.len, 0);
    buf_finish(&out);
}

Test(why, outcomes_of_what_is_not_served)
{
    cr_expect_eq(decide_bypass_outcome(REASON_METHOD), OUTCOME_METHOD);
    cr_expect_eq(decide_bypass_outcome(REASON_BYPASS_RULE), OUTCOME_BYPASS);
    cr_expect_eq(decide_bypass_outcome(REASON_UPGRADE), OUTCOME_REQUEST);
    cr_expect_eq(decide_validation_outcome(REASON_STALE), OUTCOME_STALE);
    cr_expect_eq(decide_validation_outcome(REASON_REQUEST_MIN_FRESH), OUTCOME_REQUEST);
}

Test(why, own_tags)
{
    static const uint8_t digest[DIGEST_BYTES] = {0x01, 0xab};
    static const struct {
        const char *name, *field;
        bool on;
        unsigned status;
        const char *want;
    } cases[] = {
        {"a 200 without validators", NULL, true, 200, "\"larder-01ab0000000000000000000000000000\""},
        {"switched off", NULL, false, 200, ""},
        {"another status", NULL, true, 404, ""},
        {"the origin's own", "ETag", true, 200, "\"x\""},
        {"a date of the origin's", "Last-Modified", true, 200, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct policy policy = {.own_etag = cases[i].on};
        struct headers headers;
        struct arena arena;
        arena_init(&arena, 4096);
        headers_init(&headers, &arena);
        if (cases[i].field != NULL) {
            cr_assert(headers_add(&headers, span_of(cases[i].field), SPAN("\"x\"")));
        }
        cr_expect(decide_own_etag(&policy, cases[i].status, digest, &headers), "%s", cases[i].name);
        cr_expect(span_equal(headers_value(&headers, SPAN("ETag")), span_of(cases[i].want)), "%s", cases[i].name);
        arena_finish(&arena);
    }
}
