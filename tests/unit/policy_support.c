/* policy_support.c: policies written as words, for the tests of cache/policy.h. */
#include "tests/unit/policy_support.h"

#include <criterion/criterion.h>

struct arena policy_arena;

void policy_setup(void)
{
    arena_init(&policy_arena, TEST_ARENA_BYTES);
}

void policy_teardown(void)
{
    arena_finish(&policy_arena);
}

static int64_t number_of(struct span text)
{
    uint64_t value;

    cr_assert(span_to_u64(text, &value), "%.*s is a number", SPAN_ARG(text));
    return (int64_t)value;
}

/* One word of a policy. False for a word that no policy has. */
static bool apply_word(struct span word, struct policy *policy)
{
    struct span value = word;
    struct span name;
    const struct {
        const char *name;
        int setting;
        int64_t *seconds;
        bool *flag;
    } settings[] = {
        {"ttl", SETTING_TTL, &policy->ttl_s, NULL},
        {"dttl", SETTING_DEFAULT_TTL, &policy->default_ttl_s, NULL},
        {"swr", SETTING_STALE_WHILE_REVALIDATE, &policy->stale_while_revalidate_s, NULL},
        {"sie", SETTING_STALE_IF_ERROR, &policy->stale_if_error_s, NULL},
        {"slow-ms", SETTING_STALE_IF_SLOW, &policy->stale_if_slow_ms, NULL},
        {"bypass", SETTING_BYPASS, NULL, &policy->bypass},
        {"ignore-cookies", SETTING_IGNORE_COOKIES, NULL, &policy->ignore_cookies},
        {"store-set-cookie", SETTING_STORE_SET_COOKIE, NULL, &policy->store_set_cookie},
        {"request-directives", SETTING_REQUEST_DIRECTIVES, NULL, &policy->request_directives},
        {"ttl-names-status", SETTING_TTL, NULL, &policy->ttl_for_status},
        {"dttl-names-status", SETTING_DEFAULT_TTL, NULL, &policy->default_ttl_for_status},
    };

    value = word;
    (void)span_split(&value, '=', &name); /* without a value it stays empty */
    if (span_equal(word, SPAN("offline")) || span_equal(word, SPAN("record"))) {
        policy->mode = span_equal(word, SPAN("offline")) ? MODE_OFFLINE : MODE_RECORD;
        return true;
    }
    if (span_equal(name, SPAN("max-stale"))) {
        policy->max_stale_s = number_of(value);
        return true;
    }
    if (span_equal(name, SPAN("max-heuristic"))) {
        policy->max_heuristic_s = number_of(value);
        return true;
    }
    if (span_equal(name, SPAN("max-bytes"))) {
        policy->max_object_bytes = (uint64_t)number_of(value);
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        if (span_equal(name, span_of(settings[i].name))) {
            if (settings[i].flag != NULL) {
                *settings[i].flag = true;
            } else {
                *settings[i].seconds = number_of(value);
            }
            policy->rule[settings[i].setting] = "r";
            return true;
        }
    }
    return false;
}

struct policy policy_from(const char *words, enum profile profile)
{
    struct policy policy = {
        .profile = profile,
        .ttl_s = -1,
        .default_ttl_s = -1,
        .max_heuristic_s = 1000000,
        .stale_while_revalidate_s = -1,
        .stale_if_error_s = -1,
        .max_stale_s = 1000000,
    };
    struct span rest = span_of(words);
    struct span word;

    while (span_split(&rest, ' ', &word)) {
        bool known = span_equal(word, SPAN("safe")) || span_equal(word, SPAN("rfc")) || word.len == 0;
        cr_assert(known || apply_word(word, &policy), "a policy has no word %.*s", SPAN_ARG(word));
    }
    return policy;
}

bool holds_in(const char *words, enum profile profile)
{
    struct span text = span_of(words);

    return !(span_starts_with(text, SPAN("safe")) && profile == PROFILE_RFC) &&
           !(span_starts_with(text, SPAN("rfc")) && profile == PROFILE_SAFE);
}

struct record record_from(unsigned status, const char *headers)
{
    struct http_response response = response_from(&policy_arena, status, headers);

    return (struct record){.status = status, .inputs = freshness_inputs_of(&response, T0_MS, T0_MS, &policy_arena)};
}

bool same_rule(const char *a, const char *b)
{
    return span_equal(span_of(a), span_of(b));
}
