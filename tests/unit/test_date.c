/* test_date.c: HTTP dates (RFC 9110 §5.6.7). */
#include <criterion/criterion.h>
#include <inttypes.h>

#include "http/check.h"
#include "http/date.h"

enum { NOW_S = 1700000000 }; /* 2023-11-14 22:13:20 */

Test(date, reads_the_three_forms)
{
    static const struct {
        const char *text;
        int64_t time_s;
    } cases[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"sun, 06 nov 1994 08:49:37 gmt", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"SUNDAY, 06-NOV-94 08:49:37 gMt", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Wed Nov  6 08:49:37 1994", 784111777}, /* not a Wednesday: nobody's business */
        {"Sun Nov 06 08:49:37 1994", 784111777},
        {"Sun Nov 16 08:49:37 1994", 784975777},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
        {"Sat, 01 Jan 0000 00:00:00 GMT", -62167219200},
        {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
        {"Thu, 18 Aug 2286 02:01:18 GMT", 9991821678}, /* needs 64 bits */
        {"Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
        {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800}, /* a leap second */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t time_s = 42;

        cr_expect(date_parse(span_of(cases[i].text), NOW_S, &time_s), "%s", cases[i].text);
        cr_expect_eq(time_s, cases[i].time_s, "%s: %" PRId64, cases[i].text, time_s);
    }
}

Test(date, refuses_everything_else)
{
    static const char *const cases[] = {
        "",
        "0",
        "-1",
        "now",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 AEST",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun,  06 Nov 1994 08:49:37 GMT",
        "Sun, 06  Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994  08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37  GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 06 Nov 1994 2:01:18 GMT",
        "Xxx, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nox 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 1900 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 08:49:3x GMT",
        "Sun, 06 Nov 19 4 08:49:37 GMT",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday 06-Nov-94 08:49:37 GMT",
        "Sunday, 06 Nov 94 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 UTC",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov   6 08:49:37 1994",
        "Sun Nov  6 08:49:37 94",
        "Sunday Nov  6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "1994-11-06T08:49:37Z",
        "784111777",
        "Sun, 06 Nov 1994 -8:49:37 GMT",
        "\"Sun, 06 Nov 1994 08:49:37 GMT\"",
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t time_s = 42;

        cr_expect_not(date_parse(span_of(cases[i]), NOW_S, &time_s), "%s", cases[i]);
        cr_expect_eq(time_s, 42, "%s", cases[i]);
    }
}

Test(date, two_digit_years_lie_at_most_50_years_ahead)
{
    static const struct {
        const char *text, *same;
    } cases[] = {
        {"Friday, 01-Jan-23 00:00:00 GMT", "Fri, 01 Jan 2023 00:00:00 GMT"},
        {"Friday, 01-Jan-00 00:00:00 GMT", "Fri, 01 Jan 2000 00:00:00 GMT"},
        {"Friday, 01-Jan-73 00:00:00 GMT", "Fri, 01 Jan 2073 00:00:00 GMT"},
        {"Friday, 14-Nov-73 22:13:20 GMT", "Fri, 14 Nov 2073 22:13:20 GMT"}, /* 50 years to the second */
        {"Friday, 14-Nov-73 22:13:21 GMT", "Fri, 14 Nov 1973 22:13:21 GMT"}, /* and one more */
        {"Friday, 01-Jan-74 00:00:00 GMT", "Fri, 01 Jan 1974 00:00:00 GMT"},
        {"Friday, 01-Jan-99 00:00:00 GMT", "Fri, 01 Jan 1999 00:00:00 GMT"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t got_s = 0, want_s = 0;

        cr_expect(date_parse(span_of(cases[i].text), NOW_S, &got_s), "%s", cases[i].text);
        cr_expect(date_parse(span_of(cases[i].same), NOW_S, &want_s), "%s", cases[i].same);
        cr_expect_eq(got_s, want_s, "%s", cases[i].text);
    }
}

Test(date, writes_imf_fixdate_and_clamps)
{
    static const struct {
        int64_t time_s;
        const char *text;
    } cases[] = {
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},    {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {-1, "Wed, 31 Dec 1969 23:59:59 GMT"},           {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},    {INT64_MIN, "Sat, 01 Jan 0000 00:00:00 GMT"},
        {253402300800, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[DATE_TEXT_LEN];

        date_format(cases[i].time_s, text);
        cr_expect(span_equal((struct span){text, sizeof text}, span_of(cases[i].text)), "%.29s", text);
    }
}

Test(date, writes_rfc3339_with_milliseconds)
{
    static const struct {
        int64_t time_ms;
        const char *want;
    } cases[] = {
        {784111777123, "1994-11-06T08:49:37.123Z"},
        {784111777007, "1994-11-06T08:49:37.007Z"},
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-1000, "1969-12-31T23:59:59.000Z"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[DATE_RFC3339_MS_LEN];

        date_format_rfc3339_ms(cases[i].time_ms, text);
        cr_expect(memcmp(text, cases[i].want, sizeof text) == 0, "got %.*s, want %s", DATE_RFC3339_MS_LEN, text,
                  cases[i].want);
    }
}

Test(date, writes_rfc3339_and_clamps)
{
    static const struct {
        int64_t time_s;
        const char *text;
    } cases[] = {
        {784111777, "1994-11-06T08:49:37Z"}, {0, "1970-01-01T00:00:00Z"},
        {951782400, "2000-02-29T00:00:00Z"}, {253402300799, "9999-12-31T23:59:59Z"},
        {INT64_MAX, "9999-12-31T23:59:59Z"}, {INT64_MIN, "0000-01-01T00:00:00Z"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[DATE_RFC3339_LEN];

        date_format_rfc3339(cases[i].time_s, text);
        cr_expect(span_equal((struct span){text, sizeof text}, span_of(cases[i].text)), "%.20s", text);
    }
}

Test(date, what_is_written_is_read_back)
{
    for (int64_t time_s = -62167219200; time_s <= 253402300799; time_s += 86400 * 13 + 12345) {
        char text[DATE_TEXT_LEN];
        int64_t back_s = 0;

        date_format(time_s, text);
        cr_assert(date_parse((struct span){text, sizeof text}, NOW_S, &back_s), "%.29s", text);
        cr_assert_eq(back_s, time_s, "%.29s", text);
    }
}

Test(date, extreme_clocks_are_harmless)
{
    int64_t time_s;

    cr_expect(date_parse(SPAN("Sunday, 06-Nov-94 08:49:37 GMT"), INT64_MAX, &time_s));
    cr_expect(date_parse(SPAN("Sunday, 06-Nov-94 08:49:37 GMT"), INT64_MIN, &time_s));
}
