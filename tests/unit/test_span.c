/* test_span.c: borrowed bytes. */
#include <criterion/criterion.h>

#include "http/check.h"
#include "tests/unit/support.h"

Test(span, compares_with_and_without_case)
{
    static const struct {
        const char *a, *b;
        bool equal, equal_nocase;
    } cases[] = {
        {"", "", true, true},          {"Host", "Host", true, true},
        {"Host", "hOST", false, true}, {"Host", "Hos", false, false},
        {"[", "{", false, false}, /* differ in the case bit, but are no letters */
        {"@", "`", false, false},      {"\xc3\x84", "\xc3\xa4", false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(span_equal(span_of(cases[i].a), span_of(cases[i].b)), cases[i].equal, "%s %s", cases[i].a,
                     cases[i].b);
        cr_expect_eq(span_equal_nocase(span_of(cases[i].a), span_of(cases[i].b)), cases[i].equal_nocase, "%s %s",
                     cases[i].a, cases[i].b);
    }
}

Test(span, lower_case_is_ascii_only)
{
    for (int byte = 0; byte < 256; byte++) {
        int want = byte >= 'A' && byte <= 'Z' ? byte + 32 : byte;

        cr_expect_eq((unsigned char)ascii_lower((char)byte), want, "%d", byte);
    }
}

Test(span, empty_and_null_spans_are_equal_and_harmless)
{
    struct span null = span_of(NULL);
    struct span head;

    cr_expect_eq(null.len, 0);
    cr_expect(span_equal(null, SPAN("")));
    cr_expect(span_equal_nocase(null, SPAN("")));
    cr_expect_eq(span_find(null, 'a'), SIZE_MAX);
    cr_expect_eq(span_skip(null, 3).len, 0);
    cr_expect_eq(span_take(null, 3).len, 0);
    cr_expect_eq(span_trim(null).len, 0);
    cr_expect_not(span_split(&null, ',', &head));
    cr_expect(span_starts_with(null, SPAN("")));
}

Test(span, finds_prefixes_suffixes_and_bytes)
{
    cr_expect(span_starts_with(SPAN("abc"), SPAN("ab")));
    cr_expect(span_starts_with(SPAN("abc"), SPAN("abc")));
    cr_expect_not(span_starts_with(SPAN("ab"), SPAN("abc")));
    cr_expect(span_ends_with(SPAN("abc"), SPAN("bc")));
    cr_expect_not(span_ends_with(SPAN("abc"), SPAN("ab")));
    cr_expect_not(span_ends_with(SPAN("c"), SPAN("bc")));
    cr_expect_eq(span_find(SPAN("abcb"), 'b'), 1);
    cr_expect_eq(span_find(SPAN("abcb"), 'x'), SIZE_MAX);
}

Test(span, skip_and_take_stop_at_the_end)
{
    cr_expect(span_equal(span_skip(SPAN("abc"), 1), SPAN("bc")));
    cr_expect(span_equal(span_skip(SPAN("abc"), 3), SPAN("")));
    cr_expect(span_equal(span_skip(SPAN("abc"), 4), SPAN("")));
    cr_expect(span_equal(span_take(SPAN("abc"), 1), SPAN("a")));
    cr_expect(span_equal(span_take(SPAN("abc"), 4), SPAN("abc")));
}

Test(span, plain_text_ends_before_what_is_escaped)
{
    char text[20];

    for (size_t len = 0; len <= sizeof text; len++) {
        for (size_t at = 0; at < len; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                bool plain = byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
                memset(text, byte % 2 == 0 ? ' ' : '~', sizeof text);
                text[at] = (char)byte;
                size_t got = span_plain_len((struct span){text, len});
                cr_assert_eq(got, plain ? len : at, "%zu of %zu, byte %u at %zu", got, len, byte, at);
            }
        }
    }
    cr_expect_eq(span_plain_len((struct span){NULL, 0}), 0);
    cr_expect_eq(span_plain_len(SPAN("abcdefgh\x01\x01\x80\"")), 8);
}

Test(span, trims_spaces_and_tabs_only)
{
    cr_expect(span_equal(span_trim(SPAN(" \t a b\t ")), SPAN("a b")));
    cr_expect(span_equal(span_trim(SPAN(" \t ")), SPAN("")));
    cr_expect(span_equal(span_trim(SPAN("\r\na")), SPAN("\r\na")));
}

Test(span, splits_at_the_first_separator)
{
    struct span rest = SPAN("a,,b,");
    struct span head;

    cr_expect(span_split(&rest, ',', &head) && span_equal(head, SPAN("a")));
    cr_expect(span_split(&rest, ',', &head) && span_equal(head, SPAN("")));
    cr_expect(span_split(&rest, ',', &head) && span_equal(head, SPAN("b")));
    cr_expect_not(span_split(&rest, ',', &head), "what stands behind the last separator is empty");
}

Test(span, reads_numbers)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } cases[] = {
        {"0", true, 0},
        {"007", true, 7},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1a", false, 0},
        {"0x1", false, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t value = 42;

        cr_expect_eq(span_to_u64(span_of(cases[i].text), &value), cases[i].ok, "%s", cases[i].text);
        cr_expect_eq(value, cases[i].ok ? cases[i].value : 42, "%s", cases[i].text);
    }
}

Test(span, clamps_numbers_of_any_length)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } cases[] = {
        {"9", true, 9},
        {"10", true, 10},
        {"11", true, 10},
        {"18446744073709551616", true, 10},
        {"99999999999999999999999999999999999999999999", true, 10},
        {"18446744073709551616000000000000000000000001", true, 10},
        {"99999999999999999999999x", false, 0},
        {"", false, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t value = 0;

        cr_expect_eq(span_to_u64_clamped(span_of(cases[i].text), 10, &value), cases[i].ok, "%s", cases[i].text);
        cr_expect_eq(value, cases[i].value, "%s", cases[i].text);
    }
}

Test(span, matches_globs)
{
    static const struct {
        const char *text, *glob;
        bool match;
    } cases[] = {
        {"", "", true},
        {"", "*", true},
        {"a", "", false},
        {"abc", "abc", true},
        {"abc", "a?c", true},
        {"ac", "a?c", false},
        {"abc", "a*", true},
        {"abc", "*c", true},
        {"abc", "*b*", true},
        {"abc", "*d*", false},
        {"abab", "*ab", true},
        {"aXbXc", "a*b*c", true},
        {"utm_id", "utm_*", true},
        {"utm", "utm_*", false},
        {"abc", "abc*", true},
        {"abc", "***", true},
        {"abcd", "a**d", true},
        {"mississippi", "m*iss*p?", true},
        {"mississippi", "m*issx*", false},
        {"ABC", "abc", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(span_matches_glob(span_of(cases[i].text), span_of(cases[i].glob)), cases[i].match, "%s %s",
                     cases[i].text, cases[i].glob);
    }
}

/* What a glob means, word for word. */
static bool means(struct span text, struct span glob)
{
    if (glob.len == 0) {
        return text.len == 0;
    }
    if (glob.data[0] == '*') {
        return means(text, span_skip(glob, 1)) || (text.len > 0 && means(span_skip(text, 1), glob));
    }
    return text.len > 0 && (glob.data[0] == '?' || glob.data[0] == text.data[0]) &&
           means(span_skip(text, 1), span_skip(glob, 1));
}

/* The number in base `letters.len`, a letter for each digit. */
static struct span word_of(unsigned number, struct span letters, char out[8])
{
    size_t len = 0;

    for (; number > 0; number /= (unsigned)letters.len + 1) {
        out[len++] = letters.data[number % (letters.len + 1) % letters.len];
    }
    return (struct span){out, len};
}

Test(span, globs_match_what_they_mean)
{
    char text_bytes[8], glob_bytes[8];

    for (unsigned text_number = 0; text_number < 729; text_number++) {
        struct span text = word_of(text_number, SPAN("ab"), text_bytes);
        for (unsigned glob_number = 0; glob_number < 3125; glob_number++) {
            struct span glob = word_of(glob_number, SPAN("ab*?"), glob_bytes);
            cr_assert_eq(span_matches_glob(text, glob), means(text, glob), "%.*s %.*s", SPAN_ARG(text), SPAN_ARG(glob));
        }
    }
}

Test(span, many_stars_do_not_explode)
{
    static char text[20000];
    struct span glob = SPAN("*a*a*a*a*a*a*a*a*a*a*a*a*b");

    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = 'a';
    }
    cr_expect_not(span_matches_glob((struct span){text, sizeof text}, glob));
}
