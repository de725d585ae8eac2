/* model.c: the rules of RFC 9111 for a shared cache, one function for each question, read off the standard's text.
 *
 * Written to be checked by eye against the standard, not to be fast or short. What the profiles and the rules of the
 * configuration change is from the README. */
#include "tests/unit/model.h"

#include <stddef.h>

const unsigned model_status[MODEL_STATUS_COUNT] = {200, 203, 204, 206, 299, 301, 302, 304,
                                                   404, 410, 412, 416, 500, 501, 503, 599};

enum lifetime_from { FROM_NOTHING, FROM_ORIGIN, FROM_GUESS, FROM_TTL, FROM_DEFAULT_TTL };

struct lifetime {
    enum lifetime_from from;
    int64_t s;
};

static unsigned status_of(const struct m_stored *stored)
{
    return model_status[stored->response.status];
}

static int64_t whole_seconds(int64_t ms) /* rounded down; the clock never goes below 0 here */
{
    return ms / 1000;
}

/* ---- freshness ---- */

/* RFC 9110 §15.1: "heuristically cacheable". RFC 9111 §4.2.2 adds `public`. */
static bool may_guess(const struct m_stored *stored)
{
    switch (status_of(stored)) {
    case 200:
    case 203:
    case 204:
    case 206:
    case 300:
    case 301:
    case 308:
    case 404:
    case 405:
    case 410:
    case 414:
    case 501:
        return true;
    default:
        return stored->response.control.is_public;
    }
}

/* The origin said how long, or tried to. */
static bool is_explicit(const struct m_stored *stored)
{
    const struct m_response *response = &stored->response;

    return response->control.max_age.form != ABSENT || response->control.s_maxage.form != ABSENT ||
           response->expires.form != ABSENT;
}

/* A `ttl` of a rule replaces the origin's word, for statuses that a cache may keep unasked. */
static bool ttl_rules(const struct m_stored *stored, const struct m_rules *rules)
{
    return rules->ttl.form == GIVEN && may_guess(stored);
}

/* RFC 9110 §6.6.1: no usable Date, so the time of receipt. */
static int64_t date_value_s(const struct m_stored *stored)
{
    return stored->response.date.form == GIVEN ? stored->response.date.value : whole_seconds(stored->response_ms);
}

/* RFC 9111 §4.2.1, first match; invalid is stale. */
static struct lifetime lifetime_of(const struct m_stored *stored, const struct m_rules *rules)
{
    const struct m_response *response = &stored->response;

    if (ttl_rules(stored, rules)) {
        return (struct lifetime){FROM_TTL, rules->ttl.value};
    }
    if (response->control.s_maxage.form != ABSENT) {
        bool valid = response->control.s_maxage.form == GIVEN;
        return (struct lifetime){FROM_ORIGIN, valid ? response->control.s_maxage.value : 0};
    }
    if (response->control.max_age.form != ABSENT) {
        bool valid = response->control.max_age.form == GIVEN;
        return (struct lifetime){FROM_ORIGIN, valid ? response->control.max_age.value : 0};
    }
    if (response->expires.form != ABSENT) {
        bool later = response->expires.form == GIVEN && response->expires.value > date_value_s(stored);
        return (struct lifetime){FROM_ORIGIN, later ? response->expires.value - date_value_s(stored) : 0};
    }
    if (rules->default_ttl.form == GIVEN && may_guess(stored)) {
        return (struct lifetime){FROM_DEFAULT_TTL, rules->default_ttl.value};
    }
    /* §4.2.2: a tenth of the time since it changed */
    if (may_guess(stored) && response->last_modified.form == GIVEN &&
        response->last_modified.value <= date_value_s(stored)) {
        return (struct lifetime){FROM_GUESS, (date_value_s(stored) - response->last_modified.value) / 10};
    }
    return (struct lifetime){FROM_NOTHING, 0};
}

/* RFC 9111 §4.2.3, with the section's own names. */
int64_t model_age_ms(const struct m_stored *stored, int64_t now_ms)
{
    int64_t age_value = stored->response.age.form == GIVEN ? (int64_t)stored->response.age.value * 1000 : 0;
    int64_t apparent_age = (whole_seconds(stored->response_ms) - date_value_s(stored)) * 1000;
    int64_t response_delay = stored->response_ms - stored->request_ms;
    int64_t corrected_age_value = age_value + response_delay;
    int64_t corrected_initial_age = apparent_age > corrected_age_value ? apparent_age : corrected_age_value;

    return corrected_initial_age + (now_ms - stored->response_ms);
}

/* Milliseconds past the end of its lifetime; negative: still fresh. */
static int64_t stale_ms(const struct m_stored *stored, const struct m_rules *rules, int64_t now_ms)
{
    return model_age_ms(stored, now_ms) - lifetime_of(stored, rules).s * 1000;
}

/* ---- storing ---- */

enum ruling model_look_up(const struct m_request *request, const struct m_rules *rules)
{
    if (request->method != M_GET && request->method != M_HEAD) {
        return FORBIDDEN; /* §4: only what GET brought is stored */
    }
    if (rules->bypass || request->content || request->upgrade) {
        return FORBIDDEN;
    }
    if (request->if_match || request->if_unmodified_since) {
        return FORBIDDEN; /* §4.3.2: not for a cache to evaluate */
    }
    return EXPECTED;
}

bool model_invalidates(const struct m_request *request, const struct m_response *response)
{
    bool unsafe = request->method == M_POST || request->method == M_DELETE || request->method == M_UNKNOWN;
    unsigned status = model_status[response->status];

    return unsafe && status >= 200 && status < 400; /* §4.4 */
}

/* §5.2.2.3: statuses among ours whose definition is in RFC 9110. */
static bool is_understood(unsigned status)
{
    return status != 299 && status != 599;
}

/* `safe`: who sends Cookie has to do with explicit freshness only. */
static bool cookie_shuts(const struct m_request *request, const struct m_stored *stored, const struct m_rules *rules)
{
    return !rules->letter && request->cookie && !rules->ignore_cookies && !is_explicit(stored) &&
           !ttl_rules(stored, rules);
}

static bool forbidden_to_store(const struct m_request *request, const struct m_stored *answer,
                               const struct m_rules *rules)
{
    const struct m_control *control = &answer->response.control;
    unsigned status = status_of(answer);

    if (request->method != M_GET || request->content || rules->bypass) {
        return true;
    }
    /* §3: understood where it has to be (206, 304); 412 and 416 answer the condition and the range, not the URI */
    if (status == 206 || status == 304 || status == 412 || status == 416) {
        return true;
    }
    /* §5.2.2.3, §5.2.2.5 */
    if (control->must_understand ? !is_understood(status) : control->no_store) {
        return true;
    }
    if (control->is_private) {
        return true; /* §5.2.2.7 */
    }
    /* §3.5 */
    if (request->authorization && !control->is_public && !control->must_revalidate && control->s_maxage.form != GIVEN) {
        return true;
    }
    if (rules->request_directives && request->no_store) {
        return true; /* §5.2.1.5 */
    }
    /* §3, last bullet: explicit, or public, or a status that allows to guess */
    if (!is_explicit(answer) && !may_guess(answer)) {
        return true;
    }
    bool sets_cookie = answer->response.fields[FIELD_SET_COOKIE] != 0;
    bool cookie_kept_out = ((control->no_cache_fields | control->private_fields) >> FIELD_SET_COOKIE & 1) != 0;
    if (!rules->letter && sets_cookie && !cookie_kept_out && !rules->store_set_cookie) {
        return true;
    }
    if (!rules->letter && answer->response.unknown_coding) {
        return true;
    }
    /* without a length its bytes are counted as they come */
    bool too_long = rules->small_objects && answer->response.long_body && !answer->response.unknown_coding;
    return cookie_shuts(request, answer, rules) || too_long;
}

enum ruling model_store(const struct m_request *request, const struct m_stored *answer, const struct m_rules *rules)
{
    const struct m_response *response = &answer->response;
    struct lifetime lifetime = lifetime_of(answer, rules);

    if (forbidden_to_store(request, answer, rules)) {
        return FORBIDDEN;
    }
    /* What no request could be answered with, or what a cautious cache may shrink from */
    if (response->vary_star || model_look_up(request, rules) != EXPECTED || response->unknown_coding) {
        return ALLOWED;
    }
    if (response->fields[FIELD_SET_COOKIE] != 0 && !rules->letter && !rules->store_set_cookie) {
        return ALLOWED;
    }
    if (response->etag != 0 || response->last_modified.form == GIVEN) {
        return EXPECTED;
    }
    bool always_asked = response->control.no_cache && lifetime.from != FROM_TTL;
    return lifetime.s > 0 && !always_asked ? EXPECTED : ALLOWED;
}

struct m_stored model_keep(const struct m_request *request, const struct m_response *response, int64_t request_ms,
                           int64_t response_ms)
{
    struct m_stored stored = {.response = *response, .request_ms = request_ms, .response_ms = response_ms};

    for (int i = 0; i < SELECTOR_COUNT; i++) {
        stored.selectors[i] = request->selectors[i];
    }
    for (int i = 0; i < FIELD_COUNT; i++) {
        if (response->control.private_fields >> i & 1) {
            stored.response.fields[i] = 0; /* §5.2.2.7 */
        }
    }
    return stored;
}

/* ---- reuse ---- */

bool model_selects(const struct m_stored *stored, const struct m_request *request)
{
    for (int i = 0; i < SELECTOR_COUNT; i++) {
        if ((stored->response.vary >> i & 1) && stored->selectors[i] != request->selectors[i]) {
            return false; /* §4.1 */
        }
    }
    return !stored->response.vary_star;
}

/* §4.2.4: nothing may override these once it is stale; s-maxage is one of them (§5.2.2.10). */
static bool stale_use_forbidden(const struct m_stored *stored)
{
    const struct m_control *control = &stored->response.control;

    return control->no_cache || control->must_revalidate || control->proxy_revalidate ||
           control->s_maxage.form != ABSENT;
}

static bool beyond_bound(int64_t stale, const struct m_rules *rules)
{
    return rules->max_stale.form == GIVEN && stale >= (int64_t)rules->max_stale.value * 1000;
}

/* A rule's window replaces the origin's; -1: none. */
static int64_t window_ms(struct opt origin, struct opt given)
{
    struct opt window = given.form == GIVEN ? given : origin;

    return window.form == GIVEN ? (int64_t)window.value * 1000 : -1;
}

/* §5.2.1: does the client refuse what is stored, fresh or not? */
static bool client_refuses(const struct m_request *request, const struct m_stored *stored, int64_t age, int64_t stale)
{
    bool has_cache_control = request->no_cache || request->no_store || request->only_if_cached ||
                             request->max_stale_any || request->max_age.form != ABSENT ||
                             request->max_stale.form != ABSENT || request->min_fresh.form != ABSENT ||
                             request->if_error.form != ABSENT;

    if (request->no_cache || (request->pragma_no_cache && !has_cache_control)) {
        return true;
    }
    /* RFC 8246: a reload is no reason to doubt what is immutable and fresh */
    bool reload_ignored = stored->response.control.immutable && stale < 0;
    if (request->max_age.form == GIVEN && age > (int64_t)request->max_age.value * 1000 && !reload_ignored) {
        return true;
    }
    return request->min_fresh.form == GIVEN && -stale < (int64_t)request->min_fresh.value * 1000;
}

enum ruling model_reuse(const struct m_request *request, const struct m_stored *stored, const struct m_rules *rules,
                        int64_t now_ms, bool *out_behind)
{
    const struct m_control *control = &stored->response.control;
    int64_t stale = stale_ms(stored, rules, now_ms);

    *out_behind = false;
    if (!model_selects(stored, request) || cookie_shuts(request, stored, rules)) {
        return FORBIDDEN;
    }
    if (control->no_cache && !ttl_rules(stored, rules)) {
        return FORBIDDEN; /* §5.2.2.4 */
    }
    if (rules->request_directives && client_refuses(request, stored, model_age_ms(stored, now_ms), stale)) {
        return FORBIDDEN;
    }
    if (stale < 0) {
        return EXPECTED; /* §4.2 */
    }
    if (stale_use_forbidden(stored) || beyond_bound(stale, rules)) {
        return FORBIDDEN;
    }
    if (rules->request_directives) {
        bool accepts = request->max_stale_any ||
                       (request->max_stale.form == GIVEN && stale <= (int64_t)request->max_stale.value * 1000);
        if (accepts) {
            return EXPECTED; /* §5.2.1.2 */
        }
        /* §5.2.1.1: max-age without max-stale asks for something fresh */
        if (request->max_age.form == GIVEN && request->max_stale.form != GIVEN) {
            return FORBIDDEN;
        }
    }
    /* RFC 5861 §3: a window behind a lifetime */
    *out_behind = true;
    int64_t window = window_ms(control->while_revalidate, rules->while_revalidate);
    return lifetime_of(stored, rules).from != FROM_NOTHING && stale < window ? EXPECTED : FORBIDDEN;
}

enum ruling model_serve_stale(const struct m_request *request, const struct m_stored *stored,
                              const struct m_rules *rules, enum m_failure failure, int64_t now_ms)
{
    const struct m_control *control = &stored->response.control;
    int64_t stale = stale_ms(stored, rules, now_ms);

    if (!model_selects(stored, request) || cookie_shuts(request, stored, rules) || control->no_cache) {
        return FORBIDDEN;
    }
    if (stale < 0) {
        return ALLOWED; /* still fresh: it was the client who wanted a validation */
    }
    if (stale_use_forbidden(stored) || beyond_bound(stale, rules)) {
        return FORBIDDEN;
    }
    bool in_window = stale < window_ms(control->if_error, rules->if_error);
    bool wished =
        rules->request_directives && request->if_error.form == GIVEN && stale < (int64_t)request->if_error.value * 1000;
    return in_window || wished || failure != M_FAILS_STATUS ? EXPECTED : FORBIDDEN;
}

uint8_t model_withheld(const struct m_stored *stored)
{
    return stored->response.control.no_cache_fields;
}

/* ---- validation ---- */

enum ruling model_speaks_of(const struct m_stored *stored, const struct m_response *not_modified)
{
    const struct m_response *response = &stored->response;

    if (not_modified->etag != 0) {
        bool same = response->etag == not_modified->etag;
        bool strong = !response->etag_weak && !not_modified->etag_weak;
        return same && (strong || not_modified->etag_weak) ? EXPECTED : FORBIDDEN;
    }
    if (not_modified->last_modified.form == GIVEN && response->last_modified.form == GIVEN) {
        return response->last_modified.value == not_modified->last_modified.value ? EXPECTED : FORBIDDEN;
    }
    return ALLOWED; /* no two validators to compare, but only one response was asked about */
}

static bool says_control(const struct m_control *control)
{
    return control->no_store || control->no_cache || control->is_private || control->is_public ||
           control->must_revalidate || control->proxy_revalidate || control->must_understand || control->immutable ||
           control->no_cache_fields != 0 || control->private_fields != 0 || control->max_age.form != ABSENT ||
           control->s_maxage.form != ABSENT || control->while_revalidate.form != ABSENT ||
           control->if_error.form != ABSENT;
}

static struct opt newer(struct opt old, struct opt new)
{
    return new.form != ABSENT ? new : old;
}

/* §3.2: what the 304 says replaces, what it does not say stays. Age speaks of the moment: only the 304's counts. */
struct m_stored model_freshen(const struct m_stored *stored, const struct m_response *not_modified, int64_t request_ms,
                              int64_t response_ms)
{
    struct m_stored now = *stored;
    struct m_response *response = &now.response;

    now.request_ms = request_ms;
    now.response_ms = response_ms;
    response->age = not_modified->age;
    response->date = newer(response->date, not_modified->date);
    response->expires = newer(response->expires, not_modified->expires);
    response->last_modified = newer(response->last_modified, not_modified->last_modified);
    if (says_control(&not_modified->control)) {
        response->control = not_modified->control;
    }
    if (not_modified->etag != 0) {
        response->etag = not_modified->etag;
        response->etag_weak = not_modified->etag_weak;
    }
    if (not_modified->vary != 0 || not_modified->vary_star) {
        response->vary = not_modified->vary;
        response->vary_star = not_modified->vary_star;
        response->style = not_modified->style;
    }
    for (int i = 0; i < FIELD_COUNT; i++) {
        if (not_modified->fields[i] != 0) {
            response->fields[i] = not_modified->fields[i];
        }
        if (response->control.private_fields >> i & 1) {
            response->fields[i] = 0; /* §5.2.2.7 */
        }
    }
    return now;
}

enum m_condition model_condition(const struct m_request *request, const struct m_stored *stored)
{
    const struct m_response *response = &stored->response;

    /* RFC 9110 §13.1.2: weak comparison; §13.2.2: the other condition is ignored then */
    if (request->none_match_star) {
        return M_CLIENT_HAS_IT;
    }
    if (request->none_match != 0) {
        bool listed = response->etag != 0 && (request->none_match >> response->etag & 1);
        return listed ? M_CLIENT_HAS_IT : M_CLIENT_NEEDS_IT;
    }
    if (request->modified_since.form != GIVEN) {
        return M_NO_CONDITION;
    }
    /* RFC 9111 §4.3.2: Last-Modified, else Date, else when it was received */
    int64_t changed_s = response->last_modified.form == GIVEN ? response->last_modified.value : date_value_s(stored);
    return changed_s <= request->modified_since.value ? M_CLIENT_HAS_IT : M_CLIENT_NEEDS_IT;
}
