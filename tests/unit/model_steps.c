/* model_steps.c: random scenarios from a seed, and how they are shown to people. */
#include "tests/unit/model_steps.h"

#include <stdio.h>

#include "tests/unit/cache_support.h"
#include "tests/unit/model_write.h"

uint32_t random_below(uint64_t *state, uint32_t below)
{
    uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((mixed ^ mixed >> 31) >> 32) % below;
}

static bool one_in(uint64_t *state, uint32_t count)
{
    return random_below(state, count) == 0;
}

static struct opt seconds(uint64_t *state, uint32_t absent_of_8)
{
    static const int32_t values[] = {0, 1, 2, 3, 5, 5, 10, 10, 60, 3600, INT32_MAX};

    if (random_below(state, 8) < absent_of_8) {
        return (struct opt){0};
    }
    if (one_in(state, 10)) {
        return (struct opt){BROKEN, (int32_t)random_below(state, 5)};
    }
    return (struct opt){GIVEN, values[random_below(state, ARRAY_LEN(values))]};
}

static struct opt moment(uint64_t *state, uint32_t absent_of_8, int64_t now_ms, int32_t before, int32_t after)
{
    if (random_below(state, 8) < absent_of_8) {
        return (struct opt){0};
    }
    if (one_in(state, 10)) {
        return (struct opt){BROKEN, (int32_t)random_below(state, 5)};
    }
    int32_t offset = (int32_t)random_below(state, (uint32_t)(before + after + 1)) - before;
    return (struct opt){GIVEN, (int32_t)(now_ms / 1000) + offset};
}

static void pick_control(uint64_t *r, struct m_control *control)
{
    *control = (struct m_control){
        .no_store = one_in(r, 24),
        .no_cache = one_in(r, 14),
        .is_private = one_in(r, 24),
        .is_public = one_in(r, 8),
        .must_revalidate = one_in(r, 10),
        .proxy_revalidate = one_in(r, 16),
        .must_understand = one_in(r, 16),
        .immutable = one_in(r, 10),
        .no_cache_fields = one_in(r, 10) ? (uint8_t)random_below(r, 8) : 0,
        .private_fields = one_in(r, 10) ? (uint8_t)random_below(r, 8) : 0,
        .max_age = seconds(r, 3),
        .s_maxage = seconds(r, 7),
        .while_revalidate = seconds(r, 6),
        .if_error = seconds(r, 6),
        .style = (uint8_t)random_below(r, 256),
    };
}

static void pick_response(uint64_t *r, int64_t now_ms, struct m_response *response)
{
    *response = (struct m_response){
        .status = one_in(r, 4) ? (uint8_t)random_below(r, MODEL_STATUS_COUNT) : 0,
        .date = moment(r, 4, now_ms, 4, 2),
        .expires = moment(r, 6, now_ms, 3, 12),
        .last_modified = moment(r, 5, now_ms, 100, 2),
        .age = seconds(r, 6),
        .etag = one_in(r, 2) ? 0 : (uint8_t)(1 + random_below(r, 2)),
        .etag_weak = one_in(r, 4),
        .vary = one_in(r, 3) ? (uint8_t)random_below(r, 8) : 0,
        .vary_star = one_in(r, 30),
        .fields = {(uint8_t)random_below(r, 3), (uint8_t)random_below(r, 3), one_in(r, 6) ? 1 : 0},
        .unknown_coding = one_in(r, 30),
        .long_body = one_in(r, 4),
        .style = (uint8_t)random_below(r, 256),
    };
    pick_control(r, &response->control);
    if (one_in(r, 6)) {
        response->control = (struct m_control){0};
    }
}

static void pick_request(uint64_t *r, int64_t now_ms, struct m_request *request)
{
    *request = (struct m_request){
        .method = one_in(r, 8) ? (uint8_t)random_below(r, M_METHOD_COUNT) : M_GET,
        .cookie = one_in(r, 4),
        .authorization = one_in(r, 8),
        .content = one_in(r, 40),
        .upgrade = one_in(r, 40),
        .if_match = one_in(r, 40),
        .if_unmodified_since = one_in(r, 40),
        .no_cache = one_in(r, 16),
        .no_store = one_in(r, 16),
        .only_if_cached = one_in(r, 16),
        .max_stale_any = one_in(r, 16),
        .pragma_no_cache = one_in(r, 16),
        .max_age = seconds(r, 7),
        .max_stale = seconds(r, 7),
        .min_fresh = seconds(r, 7),
        .if_error = seconds(r, 7),
        .none_match_star = one_in(r, 16),
        .none_match = one_in(r, 4) ? (uint8_t)random_below(r, 8) : 0,
        .modified_since = moment(r, 6, now_ms, 60, 2),
        .style = (uint8_t)random_below(r, 256),
    };
    for (int i = 0; i < SELECTOR_COUNT; i++) {
        request->selectors[i] = one_in(r, 2) ? 0 : (uint8_t)random_below(r, SELECTOR_CHOICES);
    }
}

static void pick_rules(uint64_t *r, struct m_rules *rules)
{
    *rules = (struct m_rules){
        .letter = one_in(r, 2),
        .bypass = one_in(r, 40),
        .ignore_cookies = one_in(r, 4),
        .store_set_cookie = one_in(r, 3),
        .request_directives = one_in(r, 3),
        .small_objects = one_in(r, 8),
        .ttl = seconds(r, 6),
        .default_ttl = seconds(r, 6),
        .while_revalidate = seconds(r, 6),
        .if_error = seconds(r, 6),
        .max_stale = seconds(r, 5),
    };
}

struct scenario scenario_of_seed(uint64_t seed)
{
    static const int32_t advances_ms[] = {0, 0, 1, 499, 500, 999, 1000, 1001, 2000, 3000, 4999, 5000, 9999, 60000};
    static const int32_t delays_ms[] = {0, 0, 0, 0, 1, 400, 1000, 2500};
    struct scenario scenario = {.count = STEPS_MAX};
    uint64_t r = seed;
    int64_t now_ms = 0;

    pick_rules(&r, &scenario.rules);
    for (int i = 0; i < STEPS_MAX; i++) {
        struct step *step = &scenario.steps[i];
        step->advance_ms = advances_ms[random_below(&r, ARRAY_LEN(advances_ms))];
        step->delay_ms = delays_ms[random_below(&r, ARRAY_LEN(delays_ms))];
        step->target = (uint8_t)random_below(&r, TARGET_COUNT);
        step->origin = one_in(&r, 3) ? ORIGIN_ANSWERS : (uint8_t)random_below(&r, ORIGIN_ACT_COUNT);
        now_ms += step->advance_ms;
        pick_request(&r, now_ms, &step->request);
        pick_response(&r, now_ms, &step->answer);
        now_ms += step->delay_ms;
    }
    return scenario;
}

/* ---- printing ---- */

static void print_headers(const struct headers *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        (void)fprintf(stderr, "      %.*s: %.*s\n", SPAN_ARG(headers->items[i].name),
                      SPAN_ARG(headers->items[i].value));
    }
}

void scenario_print(const struct scenario *scenario)
{
    static const char *const acts[] = {"answers", "confirms if asked to", "answers 503", "is gone", "is too slow"};
    struct policy policy = write_policy(&scenario->rules);
    struct arena arena;

    arena_init(&arena, TEST_ARENA_BYTES);
    (void)fprintf(stderr, "  %s ttl=%lld default-ttl=%lld swr=%lld sie=%lld max-stale=%lld%s%s%s%s%s\n",
                  scenario->rules.letter ? "rfc" : "safe", (long long)policy.ttl_s, (long long)policy.default_ttl_s,
                  (long long)policy.stale_while_revalidate_s, (long long)policy.stale_if_error_s,
                  (long long)policy.max_stale_s, policy.bypass ? " bypass" : "",
                  policy.ignore_cookies ? " ignore-cookies" : "", policy.store_set_cookie ? " store-set-cookie" : "",
                  policy.request_directives ? " request-directives" : "",
                  policy.max_object_bytes ? " small-objects" : "");
    for (int i = 0; i < scenario->count; i++) {
        const struct step *step = &scenario->steps[i];
        struct http_request request = write_request(&step->request, &arena);
        struct http_response answer = write_response(&step->answer, model_status[step->answer.status], &arena);
        (void)fprintf(stderr, "  %d. +%d ms: %.*s /%u%s\n", i + 1, step->advance_ms, SPAN_ARG(request.method_name),
                      step->target, step->request.content ? " with content" : "");
        print_headers(&request.headers);
        (void)fprintf(stderr, "    the origin %s after %d ms: %u%s%s\n", acts[step->origin], step->delay_ms,
                      answer.status, step->answer.unknown_coding ? " unknown-coding" : "",
                      step->answer.long_body ? " long-body" : "");
        print_headers(&answer.headers);
    }
    arena_finish(&arena);
}
