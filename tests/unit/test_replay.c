/* test_replay.c: another configuration on requests that were recorded. */
#include <criterion/criterion.h>

#include "proxy/why/replay.h"
#include "tests/unit/config_support.h"

#define SITE    "[[site]]\norigin = \"http://a\"\n"
#define RULE    SITE "[[site.rule]]\nname = \"r\"\n"
#define TIME_MS (INT64_C(1700000000) * 1000)
#define URL     "http://h/a"

TestSuite(replay, .init = config_test_setup, .fini = config_test_teardown);

static const char *const fresh[] = {"Cache-Control: max-age=60", "ETag: \"1\""};
static const char *const with_cookie[] = {"Cache-Control: max-age=60", "Set-Cookie: x"};
static const char *const by_agent[] = {"Cache-Control: max-age=60", "Vary: User-Agent"};
static const char *const expires[] = {"Expires: Tue, 14 Nov 2023 22:14:20 GMT"}; /* a minute after TIME_MS */
static const char *const agent_a[] = {"User-Agent: \"a\""};
static const char *const agent_b[] = {"User-Agent: \"b\""};

static struct replay_fact fact(int64_t after_s, const char *url, const char *const *fields, size_t field_count)
{
    return (struct replay_fact){.time_ms = TIME_MS + after_s * 1000,
                                .method = "GET",
                                .url = url,
                                .response = {.known = true,
                                             .time_ms = TIME_MS + after_s * 1000,
                                             .status = 200,
                                             .length = 1000,
                                             .fields = fields,
                                             .field_count = field_count}};
}

/* "fetch stored, hit fresh" */
static const char *told(const struct replay_verdict *verdicts, size_t count)
{
    static char text[512];
    size_t len = 0;

    for (size_t i = 0; i < count; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s %s", i > 0 ? ", " : "",
                                verdicts[i].readable ? why_action_text(verdicts[i].action) : "unreadable",
                                verdicts[i].readable ? reason_token(verdicts[i].reason) : "");
    }
    return text;
}

static const char *replay(const char *config_text, const struct replay_fact *facts, size_t count)
{
    struct replay_verdict verdicts[8];
    struct config *config = load_config(config_text);

    cr_assert_not_null(config, "%s", error_text());
    cr_assert(replay_run(config, facts, count, verdicts));
    const char *text = told(verdicts, count);
    config_destroy(config);
    return text;
}

Test(replay, what_was_fetched_is_stored_or_not)
{
    const struct replay_fact facts[] = {fact(0, URL, fresh, 2), fact(10, URL, fresh, 2), fact(100, URL, fresh, 2)};
    const struct replay_fact cookies[] = {fact(0, URL, with_cookie, 2), fact(1, URL, with_cookie, 2)};

    cr_expect_str_eq(replay(SITE, facts, 3), "fetch stored, hit fresh, revalidate revalidated");
    cr_expect_str_eq(replay(RULE "ttl = \"1h\"\n", facts, 3),
                     "fetch stored-by-rule, hit fresh-by-rule, hit fresh-by-rule");
    cr_expect_str_eq(replay(RULE "bypass = true\n", facts, 3), "pass bypass-rule, pass bypass-rule, pass bypass-rule");
    cr_expect_str_eq(replay(SITE, cookies, 2), "fetch set-cookie, fetch set-cookie");
    cr_expect_str_eq(replay(RULE "store_set_cookie = true\n", cookies, 2), "fetch stored-by-rule, hit fresh");
    cr_expect_str_eq(replay(RULE "min_uses = 2\n", facts, 2), "fetch min-uses, fetch stored");
}

/* What was in the store before the first fact about it counts, as long as this configuration would have stored it. */
Test(replay, what_was_stored_before)
{
    struct replay_fact facts[] = {fact(0, URL, fresh, 2), fact(70, URL, fresh, 2)};

    facts[0].response.stored = true;
    facts[0].response.time_ms = TIME_MS - 30 * 1000;
    facts[1].response.stored = true; /* a 304 */
    cr_expect_str_eq(replay(SITE, facts, 2), "hit fresh, revalidate revalidated");
    cr_expect_str_eq(replay(RULE "ttl = \"10s\"\n", facts, 2), "revalidate revalidated, revalidate revalidated");
}

Test(replay, expires_moves_with_the_time)
{
    struct replay_fact facts[] = {fact(0, URL, expires, 1), fact(30, URL, expires, 1), fact(100, URL, expires, 1),
                                  fact(130, URL, expires, 1)};

    for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
        facts[i].response.time_ms = TIME_MS;
    }
    cr_expect_str_eq(replay(SITE, facts, 4), "fetch stored, hit fresh, revalidate stored, hit fresh");
}

Test(replay, queries_and_variants_come_together_by_rule)
{
    const struct replay_fact queries[] = {fact(0, URL "?utm_x=1", fresh, 2), fact(1, URL "?utm_x=2", fresh, 2)};
    struct replay_fact agents[] = {fact(0, URL, by_agent, 2), fact(1, URL, by_agent, 2)};

    agents[0].fields = agent_a;
    agents[1].fields = agent_b;
    agents[0].field_count = agents[1].field_count = 1;
    cr_expect_str_eq(replay(SITE, queries, 2), "fetch stored, fetch stored");
    cr_expect_str_eq(replay(RULE "strip_tracking = true\n", queries, 2), "fetch stored, hit fresh");
    cr_expect_str_eq(replay(SITE, agents, 2), "fetch stored, fetch stored");
    cr_expect_str_eq(replay(RULE "strip_request_fields = [\"user-agent\"]\n", agents, 2), "fetch stored, hit fresh");
}

Test(replay, what_happened_stays)
{
    struct replay_fact followed[] = {fact(0, URL, fresh, 2), fact(0, URL "/2", NULL, 0)};
    struct replay_fact truncated[] = {fact(0, URL, fresh, 2), fact(1, URL, fresh, 2)};
    struct replay_fact odd[] = {fact(0, "http://h h/", fresh, 2)};

    followed[1].collapsed = true;
    followed[1].response.known = false;
    truncated[0].store_reason = REASON_TRUNCATED;
    cr_expect_str_eq(replay(SITE, followed, 2), "fetch stored, fetch followed");
    cr_expect_str_eq(replay(SITE, truncated, 2), "fetch truncated, fetch stored");
    cr_expect_str_eq(replay(SITE, odd, 1), "unreadable ");
}
