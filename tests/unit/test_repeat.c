/* test_repeat.c: which requests are sent once more, and until when. */
#include "proxy/origin/repeat.h"

#include "http/check.h"

#include <criterion/criterion.h>

Test(repeat, what_may_reach_an_origin_twice_rfc9112_9_3_1)
{
    static const struct {
        const char *name;
        struct http_request request;
        bool want;
    } cases[] = {
        {"GET", {.method = METHOD_GET}, true},
        {"HEAD", {.method = METHOD_HEAD}, true},
        {"OPTIONS", {.method = METHOD_OPTIONS}, true},
        {"QUERY", {.method = METHOD_QUERY}, true},
        {"PUT", {.method = METHOD_PUT}, true},
        {"DELETE", {.method = METHOD_DELETE}, true},
        {"PATCH", {.method = METHOD_PATCH}, false},
        {"POST", {.method = METHOD_POST}, false},
        {"a method that we do not know", {.method = METHOD_OTHER}, false},
        {"GET with a body", {.method = METHOD_GET, .framing = {.kind = FRAMING_LENGTH, .length = 1}}, false},
        {"PUT with a body", {.method = METHOD_PUT, .framing = {.kind = FRAMING_CHUNKED}}, false},
        {"PUT of nothing", {.method = METHOD_PUT, .framing = {.kind = FRAMING_LENGTH, .length = 0}}, true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct repeat_end crossed = {.kept = true};

        cr_expect_eq(repeat_is_harmless(&cases[i].request), cases[i].want, "%s", cases[i].name);
        cr_expect_eq(repeat_is_permitted(&cases[i].request, &crossed), cases[i].want, "%s", cases[i].name);
    }
}

/* RFC 9112 §9.3.1, §9.5: an end that came too late to have crossed the request is an answer to it. */
Test(repeat, the_end_of_a_connection_that_crossed_the_request_rfc9112_9_5)
{
    static const struct {
        const char *name;
        struct repeat_end end;
        bool want;
    } cases[] = {
        {"at once", {.kept = true}, true},
        {"just in time", {.kept = true, .after_ms = REPEAT_CROSSING_MS - 1}, true},
        {"too late", {.kept = true, .after_ms = REPEAT_CROSSING_MS}, false},
        {"much too late", {.kept = true, .after_ms = UINT64_MAX}, false},
        {"a new connection", {.kept = false}, false},
        {"half an answer", {.kept = true, .responded = true}, false},
    };
    const struct http_request get = {.method = METHOD_GET};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(repeat_is_permitted(&get, &cases[i].end), cases[i].want, "%s", cases[i].name);
    }
}
