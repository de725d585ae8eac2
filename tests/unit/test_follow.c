/* test_follow.c: which requests a follower sees. */
#include <criterion/criterion.h>

#include "proxy/observe/follow.h"

static const struct access_entry entry = {
    .client = "10.1.2.3",
    .forwarded_for = SPAN_INIT("192.0.2.7"),
    .method = SPAN_INIT("GET"),
    .scheme = SPAN_INIT("http"),
    .host = SPAN_INIT("www.example.com"),
    .target = SPAN_INIT("/img/a.png?x=1"),
    .status = 404,
    .outcome = OUTCOME_URI_MISS,
    .reason = REASON_URI_MISS,
    .store_reason = REASON_SET_COOKIE,
};

Test(follow, url_globs)
{
    static const struct {
        const char *glob;
        bool passes;
    } cases[] = {
        {"", true},
        {"/img/*", true},
        {"/img/a.png", false},
        {"/img/a.png[?]x=1", false},
        {"/img/?.png?x=1", true},
        {"http://www.example.com/*", true},
        {"http://*/img/*", true},
        {"*.png*", true},
        {"https://*", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct follow_filter filter = {0};
        (void)snprintf(filter.url_glob, sizeof filter.url_glob, "%s", cases[i].glob);
        cr_expect_eq(follow_filter_passes(&filter, &entry), cases[i].passes, "%s", cases[i].glob);
    }
}

Test(follow, each_condition)
{
    struct follow_filter client = {.by_client = true};
    struct follow_filter other = {.by_client = true};
    struct follow_filter named = {.by_client = true};

    cr_assert(network_parse(SPAN("10.0.0.0/8"), &client.client));
    cr_assert(network_parse(SPAN("10.1.2.4"), &other.client));
    cr_assert(network_parse(SPAN("192.0.2.0/24"), &named.client));
    const struct {
        const char *name;
        struct follow_filter filter;
        bool passes;
    } cases[] = {
        {"nothing asked", {.status_first = 0}, true},
        {"the status", {.status_first = 404, .status_last = 404}, true},
        {"the class", {.status_first = 400, .status_last = 499}, true},
        {"another class", {.status_first = 500, .status_last = 599}, false},
        {"the outcome", {.by_outcome = true, .outcome = OUTCOME_URI_MISS}, true},
        {"another outcome", {.by_outcome = true, .outcome = OUTCOME_HIT}, false},
        {"why it was asked for", {.by_reason = true, .reason = REASON_URI_MISS}, true},
        {"why it is not stored", {.by_reason = true, .reason = REASON_SET_COOKIE}, true},
        {"another reason", {.by_reason = true, .reason = REASON_PRIVATE}, false},
        {"the client's network", client, true},
        {"another client", other, false},
        {"whom a trusted proxy names", named, true},
        {"one of two", {.status_first = 404, .status_last = 404, .by_reason = true, .reason = REASON_PRIVATE}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(follow_filter_passes(&cases[i].filter, &entry), cases[i].passes, "%s", cases[i].name);
    }
}
