/* test_reason.c: the list of reasons is complete and can be shown. */
#include <criterion/criterion.h>

#include "cache/reason.h"
#include "http/check.h"
#include "http/span.h"
#include "http/token.h"

Test(reason, every_reason_has_a_token_a_source_and_a_text)
{
    for (int i = 0; i < REASON_COUNT; i++) {
        struct span token = span_of(reason_token((enum reason)i));
        struct span source = span_of(reason_source((enum reason)i));
        struct span text = span_of(reason_text((enum reason)i));
        cr_expect(is_token(token), "reason %d: token %.*s can stand in Cache-Status", i, SPAN_ARG(token));
        cr_expect(text.len > 0 && !span_ends_with(text, SPAN(".")), "%.*s has a text", SPAN_ARG(token));
        cr_expect(i == REASON_NONE || span_equal(source, SPAN("config")) || span_starts_with(source, SPAN("RFC ")),
                  "%.*s names what decided", SPAN_ARG(token));
    }
}

Test(reason, tokens_are_unique)
{
    for (int i = 0; i < REASON_COUNT; i++) {
        for (int j = i + 1; j < REASON_COUNT; j++) {
            cr_expect_str_neq(reason_token((enum reason)i), reason_token((enum reason)j));
        }
    }
}

Test(reason, found_by_token)
{
    for (enum reason reason = 0; reason < REASON_COUNT; reason++) {
        cr_expect_eq(reason_of_token(reason_token(reason)), reason);
    }
    cr_expect_eq(reason_of_token("xyzzy"), REASON_NONE);
}

Test(reason, a_few_by_name)
{
    static const struct {
        enum reason reason;
        const char *token, *source;
    } cases[] = {
        {REASON_NONE, "none", ""},
        {REASON_URI_MISS, "uri-miss", "RFC 9111 4"},
        {REASON_FRESH_BY_RULE, "fresh-by-rule", "config"},
        {REASON_ORIGIN_TIMEOUT, "origin-timeout", "RFC 9110 15.6.5"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_str_eq(reason_token(cases[i].reason), cases[i].token);
        cr_expect_str_eq(reason_source(cases[i].reason), cases[i].source);
    }
}
