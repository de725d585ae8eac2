/* policy.c: what may be looked up, reused and served stale, and what is invalidated; policy_store.c: what may be
 * stored.
 *
 * Each question is a short row of "if this, then no, because": the first that applies gives the reason that users see,
 * so what the request says stands before what the response says, and what forbids stands before what is merely missing.
 *
 * Decisions where the standard leaves room, beside those that policy.h lists:
 *   - Windows are half-open, like freshness itself: with stale-while-revalidate=10 the last moment is just before 10 s.
 *   - A rule's ttl lifts an unqualified no-cache for reuse while fresh; it never lifts what protects people (no-store,
 *     private, Authorization, Set-Cookie), and it never makes stale use of a no-cache response possible. */
#include "cache/policy_internal.h"
#include "http/framing.h"
#include "http/unkeyed.h"
#include "http/validators.h"

enum { MS_PER_S = 1000 };

static const int64_t forever_s = INT64_C(1) << 40; /* durations beyond are cut to this: no product overflows */

static bool is_upgrade(const struct http_request *request);
static int64_t ms_of(int64_t duration_s);
static int64_t stale_ms_of(const struct freshness_inputs *inputs, struct freshness freshness, int64_t now_ms);
static bool within(int64_t stale_ms, int64_t window_s, const struct policy *policy);
static enum reason stale_forbidden(const struct response_directives *directives);
static enum reason fresh_reason(enum lifetime_source source);
static enum reason client_refuses(const struct http_request *request, const struct freshness_inputs *inputs,
                                  struct freshness freshness, int64_t now_ms);
static struct reuse_verdict reuse_stale(const struct http_request *request, const struct record *record,
                                        const struct policy *policy, struct freshness freshness, int64_t now_ms);
static bool client_limits_staleness(const struct http_request *request, const struct policy *policy);

bool policy_may_lookup(const struct http_request *request, const struct policy *policy, enum reason *out_reason)
{
    enum reason reason = REASON_NONE;

    /* RFC 9111 §4: only GET's responses are stored, and HEAD may use them (RFC 9110 §9.3.2). */
    if (request->method != METHOD_GET && request->method != METHOD_HEAD) {
        reason = REASON_METHOD;
    } else if (is_upgrade(request)) { /* before the rules: a bypassed path may well be a WebSocket's */
        reason = REASON_UPGRADE;
    } else if (policy->bypass && policy->mode != MODE_OFFLINE) {
        reason = REASON_BYPASS_RULE;
    } else if (unkeyed_has(request)) {
        reason = REASON_UNKEYED_FIELD; /* all others were removed (route_rewrite_request) */
    } else if (framing_has_body(&request->framing)) {
        /* RFC 9110 §9.3.1: content in a GET has no defined meaning; it is not part of the key. */
        reason = REASON_BODY_ON_GET;
    } else if (has_origin_condition(&request->headers)) {
        /* RFC 9111 §4.3.2 */
        reason = REASON_ORIGIN_CONDITION;
    }
    *out_reason = reason;
    return reason == REASON_NONE;
}

/* RFC 9110 §7.8: Upgrade counts only if Connection names it, and never in HTTP/1.0. */
static bool is_upgrade(const struct http_request *request)
{
    return request->minor >= 1 && headers_has(&request->headers, SPAN("Upgrade")) &&
           headers_list_has(&request->headers, SPAN("Connection"), SPAN("upgrade"));
}

/* With an origin that can be asked. */
static struct reuse_verdict may_reuse(const struct http_request *request, const struct record *record,
                                      const struct policy *policy, int64_t now_ms)
{
    const struct freshness_inputs *inputs = &record->inputs;
    struct lifetime_override override = policy_lifetimes(policy);
    struct freshness freshness = freshness_at(inputs, &override, now_ms);
    struct reuse_verdict verdict = {.reuse = REUSE_VALIDATE, .freshness = freshness};

    if (policy_cookie_forbids(request, inputs, policy)) {
        verdict.reuse = REUSE_FETCH;
        verdict.reason = REASON_COOKIE;
        return verdict;
    }
    /* RFC 9111 §5.2.2.4; the qualified form only drops fields. */
    if (inputs->directives.no_cache && !policy_ttl_applies(inputs, policy)) {
        verdict.reason = REASON_NO_CACHE;
        return verdict;
    }
    /* RFC 9111 §5.2.1: advisory, so a switch. */
    if (policy->request_directives) {
        verdict.reason = client_refuses(request, inputs, freshness, now_ms);
        if (verdict.reason != REASON_NONE) {
            return verdict;
        }
    }
    /* RFC 9111 §4.2 */
    if (freshness.age_s < freshness.lifetime_s) {
        verdict.reuse = REUSE_SERVE;
        verdict.reason = fresh_reason(freshness.source);
        verdict.rule = policy_lifetime_rule(freshness.source, policy);
        return verdict;
    }
    return reuse_stale(request, record, policy, freshness, now_ms);
}

struct reuse_verdict policy_may_reuse(const struct http_request *request, const struct record *record,
                                      const struct policy *policy, int64_t now_ms)
{
    struct reuse_verdict verdict = may_reuse(request, record, policy, now_ms);

    if (policy->mode == MODE_OFFLINE && verdict.reuse != REUSE_SERVE) {
        verdict.reuse = REUSE_SERVE;
        verdict.reason = REASON_OFFLINE;
        verdict.rule = NULL;
    }
    return verdict;
}

struct lifetime_override policy_lifetimes(const struct policy *policy)
{
    return (struct lifetime_override){.ttl_s = policy->ttl_s,
                                      .default_ttl_s = policy->default_ttl_s,
                                      .max_heuristic_s = policy->max_heuristic_s,
                                      .ttl_for_status = policy->ttl_for_status,
                                      .default_ttl_for_status = policy->default_ttl_for_status};
}

bool policy_ttl_applies(const struct freshness_inputs *inputs, const struct policy *policy)
{
    return policy->ttl_s >= 0 && (policy->ttl_for_status || freshness_heuristic_allowed(inputs));
}

bool policy_cookie_forbids(const struct http_request *request, const struct freshness_inputs *inputs,
                           const struct policy *policy)
{
    return policy->profile == PROFILE_SAFE && !policy->ignore_cookies && !policy_ttl_applies(inputs, policy) &&
           !freshness_is_explicit(inputs) && headers_has(&request->headers, SPAN("Cookie"));
}

/* What the client's own limits say against this response, fresh or not; REASON_NONE if nothing. Arguments that cannot
 * be read say nothing. */
static enum reason client_refuses(const struct http_request *request, const struct freshness_inputs *inputs,
                                  struct freshness freshness, int64_t now_ms)
{
    struct request_directives wishes = directives_of_request(&request->headers, request->headers.arena);
    int64_t age_ms = freshness_age_ms(inputs, now_ms);
    int64_t stale_ms = stale_ms_of(inputs, freshness, now_ms);
    /* RFC 8246 §2.1: while fresh, only no-cache is a reason to validate an immutable response; a reload's max-age=0 is
     * none. */
    bool settled = inputs->directives.immutable && stale_ms < 0;

    /* RFC 9111 §5.2.1.4, §5.4 */
    if (wishes.no_cache || wishes.pragma_no_cache) {
        return REASON_REQUEST_NO_CACHE;
    }
    /* RFC 9111 §5.2.1.1 */
    if (wishes.max_age.state == DIRECTIVE_VALID && age_ms > ms_of(wishes.max_age.seconds) && !settled) {
        return REASON_REQUEST_MAX_AGE;
    }
    /* RFC 9111 §5.2.1.3 */
    if (wishes.min_fresh.state == DIRECTIVE_VALID && -stale_ms < ms_of(wishes.min_fresh.seconds)) {
        return REASON_REQUEST_MIN_FRESH;
    }
    return REASON_NONE;
}

static int64_t ms_of(int64_t duration_s)
{
    return (duration_s > forever_s ? forever_s : duration_s) * MS_PER_S;
}

/* How long it has been stale; negative while it is fresh. */
static int64_t stale_ms_of(const struct freshness_inputs *inputs, struct freshness freshness, int64_t now_ms)
{
    return freshness_age_ms(inputs, now_ms) - ms_of(freshness.lifetime_s);
}

static enum reason fresh_reason(enum lifetime_source source)
{
    switch (source) {
    case LIFETIME_HEURISTIC:
        return REASON_FRESH_HEURISTIC;
    case LIFETIME_RULE:
    case LIFETIME_DEFAULT_RULE:
        return REASON_FRESH_BY_RULE;
    case LIFETIME_NONE:
    case LIFETIME_S_MAXAGE:
    case LIFETIME_MAX_AGE:
    case LIFETIME_EXPIRES:
        return REASON_FRESH;
    }
    UNREACHABLE();
}

const char *policy_lifetime_rule(enum lifetime_source source, const struct policy *policy)
{
    if (source == LIFETIME_RULE) {
        return policy->rule[SETTING_TTL];
    }
    return source == LIFETIME_DEFAULT_RULE ? policy->rule[SETTING_DEFAULT_TTL] : NULL;
}

/* `record` is stale, and no failure is known (yet). */
static struct reuse_verdict reuse_stale(const struct http_request *request, const struct record *record,
                                        const struct policy *policy, struct freshness freshness, int64_t now_ms)
{
    const struct response_directives *directives = &record->inputs.directives;
    int64_t stale_ms = stale_ms_of(&record->inputs, freshness, now_ms);
    struct reuse_verdict validate = {.reuse = REUSE_VALIDATE,
                                     .reason = record->inputs.purged_ms > 0 ? REASON_PURGED_SOFT : REASON_STALE,
                                     .freshness = freshness};

    if (stale_forbidden(directives) != REASON_NONE) {
        return validate;
    }
    if (policy->request_directives) {
        struct request_directives wishes = directives_of_request(&request->headers, request->headers.arena);
        int64_t accepted_ms = wishes.max_stale_any                          ? ms_of(forever_s)
                              : (wishes.max_stale.state == DIRECTIVE_VALID) ? ms_of(wishes.max_stale.seconds)
                                                                            : -1;
        /* RFC 9111 §5.2.1.2 */
        if (stale_ms <= accepted_ms && within(stale_ms, forever_s, policy)) {
            return (struct reuse_verdict){.reuse = REUSE_SERVE, .reason = REASON_MAX_STALE, .freshness = freshness};
        }
        /* RFC 9111 §5.2.1.1: who sends max-age without max-stale does not want a stale response. */
        if (wishes.max_age.state == DIRECTIVE_VALID && accepted_ms < 0) {
            return validate;
        }
    }
    /* RFC 5861 §3: a window behind the lifetime, so there must be one. */
    struct stale_window window = policy_stale_window(policy, directives, SETTING_STALE_WHILE_REVALIDATE);
    if (freshness.source != LIFETIME_NONE && within(stale_ms, window.length_s, policy)) {
        return (struct reuse_verdict){.reuse = REUSE_SERVE_REVALIDATE,
                                      .reason = REASON_STALE_WHILE_REVALIDATE,
                                      .rule = window.rule,
                                      .freshness = freshness};
    }
    return validate;
}

const char *policy_stale_forbidden(const struct response_directives *directives)
{
    if (directives->no_cache) {
        return "no-cache"; /* RFC 9111 §5.2.2.4 */
    }
    if (directives->must_revalidate) {
        return "must-revalidate"; /* RFC 9111 §5.2.2.2 */
    }
    if (directives->proxy_revalidate) {
        return "proxy-revalidate"; /* RFC 9111 §5.2.2.8 */
    }
    return directives->s_maxage.state != DIRECTIVE_ABSENT ? "s-maxage" : NULL; /* RFC 9111 §5.2.2.10 */
}

/* The same as a reason; REASON_NONE if nothing forbids it. */
static enum reason stale_forbidden(const struct response_directives *directives)
{
    if (policy_stale_forbidden(directives) == NULL) {
        return REASON_NONE;
    }
    return directives->no_cache ? REASON_NO_CACHE : REASON_MUST_REVALIDATE;
}

/* `stale_ms` is negative for what is still fresh. */
static bool within(int64_t stale_ms, int64_t window_s, const struct policy *policy)
{
    return window_s >= 0 && stale_ms < ms_of(window_s) && stale_ms < ms_of(policy->max_stale_s);
}

struct stale_window policy_stale_window(const struct policy *policy, const struct response_directives *directives,
                                        enum setting setting)
{
    bool behind = setting == SETTING_STALE_WHILE_REVALIDATE;
    int64_t given_s = behind ? policy->stale_while_revalidate_s : policy->stale_if_error_s;
    struct delta said = behind ? directives->stale_while_revalidate : directives->stale_if_error;

    if (given_s >= 0) {
        return (struct stale_window){.length_s = given_s, .rule = policy->rule[setting]};
    }
    return (struct stale_window){.length_s = said.state == DIRECTIVE_VALID ? said.seconds : -1};
}

struct stale_window policy_stale_use(const struct policy *policy, const struct freshness_inputs *inputs,
                                     enum setting setting)
{
    struct stale_window window = policy_stale_window(policy, &inputs->directives, setting);
    struct lifetime_override override = policy_lifetimes(policy);
    bool behind = setting == SETTING_STALE_WHILE_REVALIDATE;

    if (window.length_s < 0) {
        return window;
    }
    if (policy_stale_forbidden(&inputs->directives) != NULL ||
        (behind && freshness_at(inputs, &override, inputs->response_ms).source == LIFETIME_NONE)) {
        window.length_s = 0;
    }
    if (window.length_s > policy->max_stale_s) {
        window.length_s = policy->max_stale_s;
    }
    return window;
}

bool policy_only_if_cached(const struct http_request *request)
{
    return directives_of_request(&request->headers, request->headers.arena).only_if_cached;
}

bool policy_may_serve_stale(const struct http_request *request, const struct record *record,
                            const struct policy *policy, enum origin_failure failure, int64_t now_ms,
                            enum reason *out_reason, const char **out_rule)
{
    const struct freshness_inputs *inputs = &record->inputs;
    const struct response_directives *directives = &inputs->directives;
    struct lifetime_override override = policy_lifetimes(policy);
    int64_t stale_ms = stale_ms_of(inputs, freshness_at(inputs, &override, now_ms), now_ms);
    enum reason forbidden = stale_forbidden(directives);

    *out_rule = NULL;
    if (policy_cookie_forbids(request, inputs, policy)) {
        *out_reason = REASON_COOKIE;
        return false;
    }
    /* no-cache forbids at any age, the others once it is stale: it may be fresh where the client asked for a
     * validation. */
    if (forbidden == REASON_NO_CACHE || (forbidden != REASON_NONE && stale_ms >= 0)) {
        *out_reason = forbidden;
        return false;
    }
    if (failure == FAILURE_SLOW) {
        bool may = policy->stale_if_slow_ms > 0 && within(stale_ms, forever_s, policy) &&
                   !client_limits_staleness(request, policy);
        *out_reason = may ? REASON_STALE_IF_SLOW : REASON_STALE;
        *out_rule = may ? policy->rule[SETTING_STALE_IF_SLOW] : NULL;
        return may;
    }
    /* RFC 5861 §4 */
    struct stale_window window = policy_stale_window(policy, directives, SETTING_STALE_IF_ERROR);
    if (policy->request_directives) {
        struct delta wish = directives_of_request(&request->headers, request->headers.arena).stale_if_error;
        if (wish.state == DIRECTIVE_VALID && wish.seconds > window.length_s) {
            window = (struct stale_window){.length_s = wish.seconds};
        }
    }
    if (within(stale_ms, window.length_s, policy)) {
        *out_reason = REASON_STALE_IF_ERROR;
        *out_rule = window.rule;
        return true;
    }
    /* RFC 9111 §4.2.4: who is disconnected may. An answer, even a 5xx, is a connection. */
    if (failure != FAILURE_STATUS && within(stale_ms, forever_s, policy)) {
        *out_reason = REASON_STALE_DISCONNECTED;
        return true;
    }
    *out_reason = REASON_STALE;
    return false;
}

/* Did the client say how current it wants the response (RFC 9111 §5.2.1)? What it accepts without asking the origin it
 * has got before. */
static bool client_limits_staleness(const struct http_request *request, const struct policy *policy)
{
    if (!policy->request_directives) {
        return false;
    }
    struct request_directives wishes = directives_of_request(&request->headers, request->headers.arena);
    return wishes.no_cache || wishes.pragma_no_cache || wishes.max_age.state == DIRECTIVE_VALID ||
           wishes.min_fresh.state == DIRECTIVE_VALID || wishes.max_stale.state == DIRECTIVE_VALID;
}

bool policy_invalidates(enum method method, unsigned status)
{
    /* RFC 9111 §4.4: unsafe methods, those we do not know included, answered without an error. */
    return !method_is_safe(method) && status >= 200 && status <= 399;
}
