/* freshness.c: age and lifetime of a stored response (RFC 9111 §4.2).
 *
 * Ages are kept in milliseconds inside and shown as whole seconds, rounded down: `age_s < lifetime_s` then says exactly
 * `age < lifetime`. HTTP-dates have whole seconds, so whatever is compared with one is cut to whole seconds first.
 *
 * What cannot be read is read cautiously: an invalid max-age, s-maxage or Expires is a lifetime of 0, never a reason to
 * look at the next rule (§4.2.1). An invalid Age is ignored (§5.1), an invalid Date is the time of arrival (RFC 9110
 * §6.6.1). */
#include "cache/freshness.h"

#include "cache/head.h"
#include "http/date.h"
#include "http/targeted.h"
#include "http/token.h"

enum {
    MS_PER_S = 1000,
    CLOCK_SLACK_MS = 60 * MS_PER_S, /* by so much a clock is put right in passing */
};

#define RESIDENT_UNKNOWN_MS (INT64_C(2147483647) * MS_PER_S) /* no lifetime is longer (RFC 9111 §1.2.2) */

static void read_expires(const struct headers *headers, int64_t now_s, struct freshness_inputs *inputs);
static int64_t age_value_of(const struct headers *headers);
static int64_t seconds_of(int64_t time_ms);
static int64_t at_least_zero(int64_t value);
static struct freshness lifetime_of(const struct freshness_inputs *inputs, const struct lifetime_override *override);
static int64_t seconds_or_stale(struct delta delta);

struct freshness_inputs freshness_inputs_of(const struct http_response *response, int64_t request_ms,
                                            int64_t response_ms, struct arena *arena)
{
    const struct headers *headers = &response->headers;
    int64_t now_s = seconds_of(response_ms);
    struct freshness_inputs inputs = {
        .request_ms = request_ms,
        .response_ms = response_ms,
        .date_s = now_s,
        .age_s = age_value_of(headers),
        .has_etag = headers_value(headers, SPAN("ETag")).len > 0,
        .directives = directives_of_response(headers, arena),
        .status = response->status,
    };
    int64_t time_s;

    /* RFC 9110 §6.6.1: without a Date that can be read, the time of arrival. */
    if (date_parse(headers_value(headers, SPAN("Date")), now_s, &time_s)) {
        inputs.date_s = time_s;
    }
    if (date_parse(headers_value(headers, SPAN("Last-Modified")), now_s, &time_s)) {
        inputs.has_last_modified = true;
        inputs.last_modified_s = time_s;
    }
    read_expires(headers, now_s, &inputs);
    return inputs;
}

/* Whoever sends the stored head would not find the names there: the directives count for all of the response. */
static void forget_names(struct response_directives *directives)
{
    directives->no_cache = directives->no_cache || directives->no_cache_fields.len > 0;
    directives->no_cache_fields = (struct span){NULL, 0};
    directives->is_private = directives->is_private || directives->private_fields.len > 0;
    directives->private_fields = (struct span){NULL, 0};
}

void freshness_apply_targeted(struct freshness_inputs *inputs, const struct headers *headers,
                              const struct span *targets, size_t target_count, struct arena *arena)
{
    for (size_t i = 0; i < target_count; i++) {
        struct response_directives directives;
        if (directives_of_targeted(headers, targets[i], arena, &directives)) {
            if (!head_names_control(targets[i])) {
                forget_names(&directives);
            }
            inputs->directives = directives;
            inputs->has_expires = false;
            inputs->expires_invalid = false;
            return;
        }
    }
}

/* RFC 9111 §5.3: a date that cannot be read, "0" above all, is a time in the past. Of several lines the first counts
 * (§4.2.1). */
static void read_expires(const struct headers *headers, int64_t now_s, struct freshness_inputs *inputs)
{
    const struct header *expires = headers_find(headers, SPAN("Expires"));
    int64_t time_s;

    if (expires == NULL) {
        return;
    }
    inputs->has_expires = true;
    if (date_parse(expires->value, now_s, &time_s)) {
        inputs->expires_s = time_s;
    } else {
        inputs->expires_invalid = true;
    }
}

/* RFC 9111 §5.1: the first member counts, an invalid one is ignored. §1.2.2: what is too large for us is 2^31 - 1. */
static int64_t age_value_of(const struct headers *headers)
{
    struct span rest = headers_value(headers, SPAN("Age"));
    struct span member;
    uint64_t value;

    if (!list_next(&rest, &member) || !span_to_u64_clamped(member, INT32_MAX, &value)) {
        return 0;
    }
    return (int64_t)value;
}

/* Rounded towards the past, before 1970 too. */
static int64_t seconds_of(int64_t time_ms)
{
    int64_t seconds = time_ms / MS_PER_S;

    return time_ms % MS_PER_S < 0 ? seconds - 1 : seconds;
}

static int64_t at_least_zero(int64_t value)
{
    return value < 0 ? 0 : value;
}

/* A clock that went back a little stands still. One that was put right by more says nothing of when the response came:
 * it may have lain here for any time, and is not used without being validated. */
static int64_t resident_time_of(const struct freshness_inputs *inputs, int64_t now_ms)
{
    if (now_ms < inputs->response_ms - CLOCK_SLACK_MS) {
        return RESIDENT_UNKNOWN_MS;
    }
    return at_least_zero(now_ms - inputs->response_ms);
}

/* RFC 9111 §4.2.3, with its names. Clocks that go back between the first two moments count as standing still. */
int64_t freshness_age_ms(const struct freshness_inputs *inputs, int64_t now_ms)
{
    int64_t apparent_age = at_least_zero(seconds_of(inputs->response_ms) - inputs->date_s) * MS_PER_S;
    int64_t response_delay = at_least_zero(inputs->response_ms - inputs->request_ms);
    int64_t corrected_age_value = inputs->age_s * MS_PER_S + response_delay;
    int64_t corrected_initial_age = apparent_age > corrected_age_value ? apparent_age : corrected_age_value;

    return corrected_initial_age + resident_time_of(inputs, now_ms);
}

struct freshness freshness_at(const struct freshness_inputs *inputs, const struct lifetime_override *override,
                              int64_t now_ms)
{
    struct freshness freshness = lifetime_of(inputs, override);

    int64_t age_ms = freshness_age_ms(inputs, now_ms);

    freshness.age_s = age_ms / MS_PER_S;
    if (inputs->purged_ms > 0) { /* its lifetime ended with the purge */
        int64_t since_ms = now_ms > inputs->purged_ms ? now_ms - inputs->purged_ms : 0;
        int64_t until_s = age_ms > since_ms ? (age_ms - since_ms) / MS_PER_S : 0;
        freshness.lifetime_s = until_s < freshness.lifetime_s ? until_s : freshness.lifetime_s;
    }
    return freshness;
}

/* RFC 9111 §4.2.1: the first that is there decides, even when it is invalid. A rule's lifetimes are for the statuses
 * that a cache may keep without being told to: a `ttl` for a path must not keep its 500s for that long; one for 500s
 * does. */
static struct freshness lifetime_of(const struct freshness_inputs *inputs, const struct lifetime_override *override)
{
    const struct response_directives *directives = &inputs->directives;
    bool may_assign = freshness_heuristic_allowed(inputs);

    if (override->ttl_s >= 0 && (may_assign || override->ttl_for_status)) {
        return (struct freshness){.source = LIFETIME_RULE, .lifetime_s = override->ttl_s};
    }
    /* RFC 9111 §5.2.2.10: in a shared cache s-maxage beats max-age and Expires. */
    if (directives->s_maxage.state != DIRECTIVE_ABSENT) {
        return (struct freshness){.source = LIFETIME_S_MAXAGE, .lifetime_s = seconds_or_stale(directives->s_maxage)};
    }
    /* RFC 9111 §5.3: with max-age, Expires is ignored. */
    if (directives->max_age.state != DIRECTIVE_ABSENT) {
        return (struct freshness){.source = LIFETIME_MAX_AGE, .lifetime_s = seconds_or_stale(directives->max_age)};
    }
    if (inputs->has_expires) {
        int64_t lifetime_s = inputs->expires_invalid ? 0 : at_least_zero(inputs->expires_s - inputs->date_s);
        return (struct freshness){.source = LIFETIME_EXPIRES, .lifetime_s = lifetime_s};
    }
    if (override->default_ttl_s >= 0 && (may_assign || override->default_ttl_for_status)) {
        return (struct freshness){.source = LIFETIME_DEFAULT_RULE, .lifetime_s = override->default_ttl_s};
    }
    /* RFC 9111 §4.2.2: a tenth of the time since the last change. A change after Date says nothing. What did not change
     * for years may do so today: the guess has a bound. */
    if (may_assign && inputs->has_last_modified && inputs->last_modified_s <= inputs->date_s &&
        override->max_heuristic_s > 0) {
        int64_t tenth_s = (inputs->date_s - inputs->last_modified_s) / 10;
        int64_t lifetime_s = tenth_s < override->max_heuristic_s ? tenth_s : override->max_heuristic_s;
        return (struct freshness){.source = LIFETIME_HEURISTIC, .lifetime_s = lifetime_s};
    }
    return (struct freshness){.source = LIFETIME_NONE};
}

/* RFC 9111 §4.2.1: invalid freshness information means stale. */
static int64_t seconds_or_stale(struct delta delta)
{
    return delta.state == DIRECTIVE_VALID ? delta.seconds : 0;
}

bool freshness_is_explicit(const struct freshness_inputs *inputs)
{
    return inputs->directives.s_maxage.state != DIRECTIVE_ABSENT ||
           inputs->directives.max_age.state != DIRECTIVE_ABSENT || inputs->has_expires;
}

bool freshness_heuristic_allowed(const struct freshness_inputs *inputs)
{
    /* RFC 9110 §15.1 */
    static const unsigned heuristic[] = {200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501};

    /* RFC 9111 §5.2.2.9 */
    if (inputs->directives.is_public) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(heuristic); i++) {
        if (inputs->status == heuristic[i]) {
            return true;
        }
    }
    return false;
}
