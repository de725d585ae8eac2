/* model_parts_steps.c: see model_parts_steps.h. */
#include "tests/unit/model_parts_steps.h"

#include <stdio.h>

#include "http/check.h"
#include "tests/unit/model_steps.h"

static const uint8_t lengths[PARTS_VERSION_COUNT] = {12, 12, 9, 25};

/* ---- the origin ---- */

/* Weak names are the same for versions that differ: that is what makes them weak. */
static void name_version(const struct parts_step *step, unsigned version, int64_t now_s, struct m_response *head)
{
    switch ((enum parts_names)step->names) {
    case NAMES_TAG:
        head->etag = (uint8_t)(1 + version);
        return;
    case NAMES_WEAK_TAG:
        head->etag = (uint8_t)(1 + version / 2);
        head->etag_weak = true;
        return;
    case NAMES_DATE:
        head->last_modified = (struct opt){GIVEN, -1000 - 100 * (int32_t)version};
        return;
    case NAMES_WEAK_DATE:
        head->last_modified = (struct opt){GIVEN, (int32_t)now_s};
        return;
    case NAMES_NOTHING:
    case NAMES_COUNT:
        return;
    }
}

static bool is_confirmed(const struct m_response *stored, const struct m_response *now)
{
    if (stored->etag != 0 || now->etag != 0) {
        return stored->etag == now->etag;
    }
    return stored->last_modified.form == GIVEN && now->last_modified.form == GIVEN &&
           stored->last_modified.value == now->last_modified.value;
}

static void describe(struct parts_reply *reply, const char *format, unsigned last, unsigned complete_length)
{
    int len =
        snprintf(reply->content_range, sizeof(reply->content_range), format, reply->bytes.first, last, complete_length);

    REQUIRE(len > 0 && (size_t)len < sizeof(reply->content_range));
}

/* A 206 that may be wrong. `reply->bytes` are those asked for. */
static void answer_part(const struct parts_step *step, struct parts_reply *reply)
{
    struct m_bytes *bytes = &reply->bytes;
    unsigned length = lengths[reply->version];
    const char *format = "bytes %u-%u/%u";

    reply->status = 206;
    reply->has_content_range = true;
    if (step->deed == DEED_LESS) {
        bytes->end = (uint8_t)(bytes->first + (bytes->end - bytes->first + 1) / 2);
    }
    if (step->deed == DEED_OTHER) {
        bytes->first = bytes->first > 2 ? 2 : (uint8_t)(length - 3);
        bytes->end = (uint8_t)(bytes->first + 3);
    }
    unsigned last = bytes->end - 1U;
    if (step->deed == DEED_OTHER_LENGTH) {
        length++;
    }
    if (step->deed == DEED_UNKNOWN_LENGTH) {
        format = "bytes %u-%u/*";
    }
    if (step->deed == DEED_MALFORMED) {
        format = "bytes=%u-%u/%u";
    }
    describe(reply, format, last, length);
    reply->complete_length = (uint8_t)length;
    reply->content_length = bytes->end - bytes->first;
    if (step->deed == DEED_LENGTH || step->deed == DEED_SHORT) {
        bytes->end--;
    }
    if (step->deed == DEED_LONG) {
        bytes->end++;
    }
    if (step->deed == DEED_LENGTH) {
        reply->content_length--;
    }
    if (step->deed == DEED_SHORT || step->deed == DEED_LONG) {
        reply->content_length = -1;
    }
    switch ((enum parts_deed)step->deed) {
    case DEED_LENGTH:
    case DEED_SHORT:
    case DEED_LONG:
    case DEED_UNKNOWN_LENGTH:
    case DEED_MALFORMED:
        reply->sound = false;
        return;
    case DEED_RIGHT:
    case DEED_WHOLE:
    case DEED_IGNORES_IF_RANGE:
    case DEED_LESS:
    case DEED_OTHER:
    case DEED_OTHER_LENGTH:
    case DEED_UNNAMED:
    case DEED_UNASKED:
    case DEED_BREAKS_OFF:
    case DEED_CONFIRMS:
    case DEED_COUNT:
        return;
    }
}

struct parts_reply parts_answer(const struct parts_step *step, const struct parts_asked *asked, unsigned nth,
                                int64_t now_s)
{
    unsigned version = (step->version + (nth > 0 ? step->later : 0U)) % PARTS_VERSION_COUNT;
    struct parts_reply reply = {
        .status = 200,
        .head = {.control = {.max_age = {GIVEN, step->max_age},
                             .no_store = step->no_store,
                             .must_revalidate = step->must_revalidate},
                 .date = {GIVEN, (int32_t)now_s}},
        .version = (uint8_t)version,
        .complete_length = lengths[version],
        .content_length = lengths[version],
        .sound = true,
        .breaks_off = step->deed == DEED_BREAKS_OFF,
    };

    name_version(step, version, now_s, &reply.head);
    if (asked->if_none_match != NULL &&
        (step->deed == DEED_CONFIRMS || is_confirmed(asked->if_none_match, &reply.head))) {
        reply.status = 304;
        reply.breaks_off = false;
        return reply;
    }
    bool counts = step->deed == DEED_IGNORES_IF_RANGE || model_if_range_holds(&asked->if_range, &reply.head);
    struct m_range range = counts ? asked->range : (struct m_range){0};
    if (step->deed == DEED_UNNAMED) {
        reply.head.etag = 0;
        reply.head.last_modified = (struct opt){0};
    }
    enum m_selected selected = model_range(&range, lengths[version], &reply.bytes);
    if (selected == M_UNSATISFIABLE) {
        reply.status = 416;
        reply.bytes = (struct m_bytes){0};
        reply.content_length = 0;
        reply.breaks_off = false;
        return reply;
    }
    bool unasked = step->deed == DEED_UNASKED && selected == M_WHOLE;
    if (step->deed == DEED_WHOLE || (selected == M_WHOLE && !unasked)) {
        reply.bytes = (struct m_bytes){0, lengths[version]};
        return reply;
    }
    answer_part(step, &reply);
    return reply;
}

/* ---- scenarios ---- */

static bool one_in(uint64_t *state, uint32_t count)
{
    return random_below(state, count) == 0;
}

static uint8_t below(uint64_t *state, uint32_t count)
{
    return (uint8_t)random_below(state, count);
}

static void pick_range(uint64_t *r, struct m_range *range)
{
    *range = (struct m_range){.form = one_in(r, 5) ? M_RANGE_NONE : (uint8_t)(1 + below(r, 3))};
    if (range->form == M_RANGE_CLOSED || range->form == M_RANGE_OPEN) {
        range->first = below(r, one_in(r, 8) ? 30 : 12);
    }
    if (range->form == M_RANGE_CLOSED) {
        range->more = below(r, 10);
    }
    if (range->form == M_RANGE_SUFFIX) {
        range->more = below(r, 14);
    }
}

static void pick_if_range(uint64_t *r, struct m_if_range *if_range)
{
    unsigned version = below(r, PARTS_VERSION_COUNT);

    if (!one_in(r, 3)) {
        return;
    }
    if (one_in(r, 2)) {
        *if_range = (struct m_if_range){.etag = (uint8_t)(1 + version), .etag_weak = one_in(r, 4)};
    } else {
        if_range->date = (struct opt){GIVEN, -1000 - 100 * (int32_t)version};
    }
}

struct parts_scenario parts_scenario_of_seed(uint64_t seed)
{
    static const int32_t advances_ms[] = {0, 0, 0, 1, 1000, 2000, 4999, 5000};
    struct parts_scenario scenario = {.count = PARTS_STEPS_MAX};
    uint64_t r = seed;
    uint8_t names = one_in(&r, 2) ? NAMES_TAG : below(&r, NAMES_COUNT);
    uint8_t versions[PARTS_TARGET_COUNT] = {0};
    bool commits = one_in(&r, 60); /* a commit takes a hundred times as long as everything else */

    scenario.rules.letter = one_in(&r, 2);
    scenario.rules.request_directives = one_in(&r, 2);
    for (int i = 0; i < PARTS_STEPS_MAX; i++) {
        struct parts_step *step = &scenario.steps[i];
        step->advance_ms = advances_ms[below(&r, ARRAY_LEN(advances_ms))];
        step->delay_ms = one_in(&r, 4) ? 1000 : 0;
        step->act = one_in(&r, 12) ? PARTS_POST : commits && one_in(&r, 5) ? PARTS_COMMIT : PARTS_GET;
        step->target = one_in(&r, 6) ? 1 : 0;
        step->no_cache = one_in(&r, 12);
        step->names = one_in(&r, 8) ? below(&r, NAMES_COUNT) : names;
        step->deed = one_in(&r, 3) ? below(&r, DEED_COUNT) : DEED_RIGHT;
        step->max_age = one_in(&r, 4) ? 0 : 5;
        step->no_store = one_in(&r, 20);
        step->must_revalidate = one_in(&r, 12);
        step->meanwhile = one_in(&r, 20);
        step->later = one_in(&r, 12) ? (uint8_t)(1 + below(&r, PARTS_VERSION_COUNT - 1)) : 0;
        if (one_in(&r, 6)) {
            versions[step->target] = below(&r, PARTS_VERSION_COUNT);
        }
        step->version = versions[step->target];
        pick_range(&r, &step->range);
        pick_if_range(&r, &step->if_range);
    }
    return scenario;
}

static void print_request(const struct parts_step *step)
{
    (void)fprintf(stderr, "GET /%u ", step->target);
    switch ((enum m_range_form)step->range.form) {
    case M_RANGE_NONE:
        (void)fputs("all of it", stderr);
        break;
    case M_RANGE_CLOSED:
        (void)fprintf(stderr, "bytes=%u-%u", step->range.first, step->range.first + step->range.more);
        break;
    case M_RANGE_OPEN:
        (void)fprintf(stderr, "bytes=%u-", step->range.first);
        break;
    case M_RANGE_SUFFIX:
        (void)fprintf(stderr, "bytes=-%u", step->range.more);
        break;
    }
    if (step->if_range.etag != 0) {
        (void)fprintf(stderr, " if-range %stag %u", step->if_range.etag_weak ? "weak " : "", step->if_range.etag);
    } else if (step->if_range.date.form != ABSENT) {
        (void)fprintf(stderr, " if-range date %d", step->if_range.date.value);
    }
    (void)fprintf(stderr, "%s", step->no_cache ? " no-cache" : "");
}

void parts_scenario_print(const struct parts_scenario *scenario)
{
    static const char *const names[] = {"tag", "weak tag", "date", "weak date", "nothing"};
    static const char *const deeds[] = {"answers right",
                                        "sends the whole",
                                        "ignores If-Range",
                                        "sends less",
                                        "sends other bytes",
                                        "a wrong Content-Length",
                                        "a short body",
                                        "a long body",
                                        "complete length unknown",
                                        "complete length wrong",
                                        "malformed",
                                        "no validator",
                                        "a part unasked",
                                        "breaks off",
                                        "304 to everything"};

    _Static_assert(ARRAY_LEN(deeds) == DEED_COUNT, "each has a text");
    _Static_assert(ARRAY_LEN(names) == NAMES_COUNT, "each has a text");
    (void)fprintf(stderr, "  %s%s\n", scenario->rules.letter ? "rfc" : "safe",
                  scenario->rules.request_directives ? " request-directives" : "");
    for (int i = 0; i < scenario->count; i++) {
        const struct parts_step *step = &scenario->steps[i];
        (void)fprintf(stderr, "  %d. +%d ms: ", i + 1, step->advance_ms);
        if (step->act != PARTS_GET) {
            (void)fprintf(stderr, "%s /%u\n", step->act == PARTS_POST ? "POST" : "the disk writes", step->target);
            continue;
        }
        print_request(step);
        (void)fprintf(stderr,
                      "\n    the origin after %d ms: %s, version %u (later +%u) named by %s, max-age=%u%s%s%s\n",
                      step->delay_ms, deeds[step->deed], step->version, step->later, names[step->names], step->max_age,
                      step->no_store ? " no-store" : "", step->must_revalidate ? " must-revalidate" : "",
                      step->meanwhile ? ", invalidated meanwhile" : "");
    }
}
