/* policy.c: what may be stored, reused and served stale.
 *
 * Each question is a short row of "if this, then no, because": the first that applies gives the reason that users see,
 * so what the request says stands before what the response says, and what forbids stands before what is merely missing.
 *
 * Decisions where the standard leaves room, beside those that policy.h and CACHING.md list:
 *   - Windows are half-open, like freshness itself: with stale-while-revalidate=10 the last moment is just before 10 s.
 *   - A response that arrives stale with a lifetime above 0 (its Age has used it up) is stored: the next one to ask can
 * use it when the origin is away. One whose lifetime is 0 needs a validator, or a window in which its stale use is
 * allowed.
 *   - 412 and 416 answer a condition or a range, not the URI: never stored.
 *   - A rule's ttl lifts an unqualified no-cache for reuse while fresh; it never lifts what protects people (no-store,
 * private, Authorization, Set-Cookie), and it never makes stale use of a no-cache response possible. */
#include "cache/policy.h"

#include "cache/sentinel.h"
#include "cache/vary.h"
#include "http/cache_groups.h"
#include "http/tags.h"
#include "http/token.h"
#include "http/unkeyed.h"
#include "http/validators.h"

enum { MS_PER_S = 1000 };

static const int64_t forever_s = INT64_C(1) << 40; /* durations beyond are cut to this: no product overflows */

static bool has_content(const struct framing *framing);
static bool is_upgrade(const struct http_request *request);
static bool ttl_applies(const struct freshness_inputs *inputs, const struct policy *policy);
static bool cookie_forbids(const struct http_request *request, const struct freshness_inputs *inputs,
                           const struct policy *policy);
static int64_t ms_of(int64_t duration_s);
static int64_t stale_ms_of(const struct freshness_inputs *inputs, struct freshness freshness, int64_t now_ms);
static bool within(int64_t stale_ms, int64_t window_s, const struct policy *policy);
static struct stale_window window_of(struct delta directive, int64_t given_s, const char *rule);
static enum reason stale_forbidden(const struct response_directives *directives);
static enum reason fresh_reason(enum lifetime_source source);
static const char *lifetime_rule(enum lifetime_source source, const struct policy *policy);
static enum reason client_refuses(const struct http_request *request, const struct freshness_inputs *inputs,
                                  struct freshness freshness, int64_t now_ms);
static struct reuse_verdict reuse_stale(const struct http_request *request, const struct record *record,
                                        const struct policy *policy, struct freshness freshness, int64_t now_ms);
static enum reason cannot_keep(const struct http_request *request, const struct http_response *response,
                               const struct policy *policy);
static enum reason exchange_forbids(const struct http_request *request, const struct http_response *response,
                                    const struct policy *policy);
static enum reason origin_forbids(const struct http_request *request, const struct http_response *response,
                                  const struct freshness_inputs *inputs);
static bool is_understood(unsigned status);
static bool set_cookie_matters(const struct http_response *response, const struct freshness_inputs *inputs);
static struct store_verdict store_by_freshness(const struct freshness_inputs *inputs, const struct policy *policy);
static bool stale_use_foreseen(const struct freshness_inputs *inputs, const struct policy *policy);
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
    } else if (has_content(&request->framing)) {
        /* RFC 9110 §9.3.1: content in a GET has no defined meaning; it is not part of the key. */
        reason = REASON_BODY_ON_GET;
    } else if (has_origin_condition(&request->headers)) {
        /* RFC 9111 §4.3.2 */
        reason = REASON_ORIGIN_CONDITION;
    }
    *out_reason = reason;
    return reason == REASON_NONE;
}

static bool has_content(const struct framing *framing)
{
    return framing->kind != FRAMING_NONE && !(framing->kind == FRAMING_LENGTH && framing->length == 0);
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

    if (cookie_forbids(request, inputs, policy)) {
        verdict.reuse = REUSE_FETCH;
        verdict.reason = REASON_COOKIE;
        return verdict;
    }
    /* RFC 9111 §5.2.2.4; the qualified form only drops fields. */
    if (inputs->directives.no_cache && !ttl_applies(inputs, policy)) {
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
        verdict.rule = lifetime_rule(freshness.source, policy);
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
                                      .ttl_for_status = policy->ttl_for_status,
                                      .default_ttl_for_status = policy->default_ttl_for_status};
}

/* Does a rule's ttl replace what the origin says of this response? As freshness_at sees it. */
static bool ttl_applies(const struct freshness_inputs *inputs, const struct policy *policy)
{
    return policy->ttl_s >= 0 && (policy->ttl_for_status || freshness_heuristic_allowed(inputs));
}

/* `safe`: who sends a Cookie may be someone. What was not declared fresh by someone who knew neither goes to him nor
 * comes from him. A default_ttl is no such declaration: it is for what nobody thought of. */
static bool cookie_forbids(const struct http_request *request, const struct freshness_inputs *inputs,
                           const struct policy *policy)
{
    return policy->profile == PROFILE_SAFE && !policy->ignore_cookies && !ttl_applies(inputs, policy) &&
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

static const char *lifetime_rule(enum lifetime_source source, const struct policy *policy)
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

/* A rule's window replaces the origin's, the origin's one that no rule gave. */
static struct stale_window window_of(struct delta directive, int64_t given_s, const char *rule)
{
    if (given_s >= 0 && rule != NULL) {
        return (struct stale_window){.length_s = given_s, .rule = rule};
    }
    if (directive.state == DIRECTIVE_VALID) {
        return (struct stale_window){.length_s = directive.seconds};
    }
    return (struct stale_window){.length_s = given_s};
}

struct stale_window policy_stale_window(const struct policy *policy, const struct response_directives *directives,
                                        enum setting setting)
{
    bool behind = setting == SETTING_STALE_WHILE_REVALIDATE;

    return window_of(behind ? directives->stale_while_revalidate : directives->stale_if_error,
                     behind ? policy->stale_while_revalidate_s : policy->stale_if_error_s, policy->rule[setting]);
}

bool policy_only_if_cached(const struct http_request *request, const struct policy *policy)
{
    (void)policy; /* in the signature so that a setting can come without a change of its callers */
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
    if (cookie_forbids(request, inputs, policy)) {
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

/* Without a rule only types are judged, and only where no lifetime is the origin's own word: that of a rule for *.css,
 * or a guess, is given by what the URL looks like, and that is what a deceiver chooses. What the origin itself declares
 * fresh it declares so for every URL it answers. */
static bool sentinel_forbids(const struct http_request *request, const struct http_response *response,
                             const struct freshness_inputs *inputs, const struct policy *policy,
                             enum reason *out_reason)
{
    bool by_rule = policy->rule[SETTING_SENTINEL] != NULL;
    bool own_word = freshness_is_explicit(inputs) && !ttl_applies(inputs, policy);
    bool judges_type = by_rule ? policy->sentinel : policy->profile == PROFILE_SAFE && !own_word;

    if (judges_type && sentinel_contradicts(request->uri.path, &response->headers)) {
        *out_reason = REASON_TYPE_CONTRADICTS;
        return true;
    }
    if (policy->sentinel && sentinel_echoes(&request->headers, &response->headers)) {
        *out_reason = REASON_ECHO;
        return true;
    }
    return false;
}

struct store_verdict policy_may_store(const struct http_request *request, const struct http_response *response,
                                      const struct freshness_inputs *inputs, const struct policy *policy)
{
    const char *cookie_rule = NULL;
    enum reason reason = exchange_forbids(request, response, policy);

    if (reason == REASON_NONE) {
        reason = origin_forbids(request, response, inputs);
    }
    if (reason == REASON_NONE && policy->profile == PROFILE_SAFE && set_cookie_matters(response, inputs)) {
        if (!policy->store_set_cookie) {
            reason = REASON_SET_COOKIE;
        }
        cookie_rule = policy->rule[SETTING_STORE_SET_COOKIE];
    }
    if (reason == REASON_NONE && cookie_forbids(request, inputs, policy)) {
        reason = REASON_COOKIE_HEURISTIC;
    }
    if (reason != REASON_NONE) {
        return (struct store_verdict){
            .store = false,
            .reason = reason,
            .rule = reason == REASON_BYPASS_RULE ? policy->rule[SETTING_BYPASS] : NULL,
        };
    }
    struct store_verdict verdict = store_by_freshness(inputs, policy);
    if (verdict.store && sentinel_forbids(request, response, inputs, policy, &reason)) {
        return (struct store_verdict){.store = false, .reason = reason, .rule = policy->rule[SETTING_SENTINEL]};
    }
    if (verdict.store && verdict.reason == REASON_STORED && cookie_rule != NULL) {
        return (struct store_verdict){.store = true, .reason = REASON_STORED_BY_RULE, .rule = cookie_rule};
    }
    return verdict;
}

/* A purge by a tag or group that was not read would miss the response: then it is better not stored. */
static bool labels_can_be_kept(const struct headers *headers)
{
    struct cache_groups groups;

    return tags_within_limits(headers) && cache_groups_of_response(headers, headers->arena, &groups) &&
           groups.dropped_count == 0;
}

/* What larder cannot keep, and could not find again: by the kind of exchange. */
static enum reason cannot_keep(const struct http_request *request, const struct http_response *response,
                               const struct policy *policy)
{
    enum reason reason;

    /* RFC 9111 §3: a method whose responses we know how to reuse. POST could be one (RFC 9110 §9.3.3); not here. */
    if (request->method != METHOD_GET) {
        return REASON_NOT_STORED_METHOD;
    }
    /* What is not looked up is not stored: the answer may be to more than the key says. */
    if (!policy_may_lookup(request, policy, &reason)) {
        return reason;
    }
    /* RFC 9111 §3.3: a part that can be kept is judged as the 200 it belongs to, before it comes here; 416 answers a
     * range only. */
    if (response->status == 206 || response->status == 416) {
        return REASON_NOT_STORED_PARTIAL;
    }
    /* RFC 9111 §3: final; 304 freshens what is stored and is nothing in itself, 412 answers a condition. */
    if (response->status < 200 || response->status > 599 || response->status == 304 || response->status == 412) {
        return REASON_NOT_STORED_STATUS;
    }
    /* RFC 9112 §6.1: what cannot be decoded is kept as the bytes it is only by the letter. */
    if (response->framing.unknown_coding && policy->profile == PROFILE_SAFE) {
        return REASON_UNKNOWN_CODING;
    }
    if (!labels_can_be_kept(&response->headers)) {
        return REASON_TAGS_TOO_MUCH;
    }
    if (response->framing.kind == FRAMING_LENGTH && policy->max_object_bytes > 0 &&
        response->framing.length > policy->max_object_bytes) {
        return REASON_TOO_LARGE;
    }
    return REASON_NONE;
}

/* What forbids storing whatever the origin says of caching. */
static enum reason exchange_forbids(const struct http_request *request, const struct http_response *response,
                                    const struct policy *policy)
{
    enum reason reason = cannot_keep(request, response, policy);

    if (reason != REASON_NONE) {
        return reason;
    }
    /* Nobody else asked like that, so the answer may be nobody else's. Whoever means an error to be stored gets it
     * stored by the next ordinary request. */
    if (response->status >= 400 && unkeyed_is_odd(&request->headers)) {
        return REASON_ODD_REQUEST;
    }
    /* RFC 9111 §5.2.1.5 */
    if (policy->request_directives && directives_of_request(&request->headers, request->headers.arena).no_store) {
        return REASON_REQUEST_NO_STORE;
    }
    return REASON_NONE;
}

/* What the origin forbids to shared caches, which no rule lifts. */
static enum reason origin_forbids(const struct http_request *request, const struct http_response *response,
                                  const struct freshness_inputs *inputs)
{
    const struct response_directives *directives = &inputs->directives;

    /* RFC 9111 §5.2.2.3: it limits storing to who understands the status, and to him it takes the place of no-store. */
    if (directives->must_understand && !is_understood(response->status)) {
        return REASON_MUST_UNDERSTAND;
    }
    /* RFC 9111 §5.2.2.5 */
    if (directives->no_store && !directives->must_understand) {
        return REASON_NO_STORE;
    }
    /* RFC 9111 §5.2.2.7; of the qualified form only the named fields are left out (head_write). */
    if (directives->is_private) {
        return REASON_PRIVATE;
    }
    /* RFC 9111 §3.5 */
    bool for_all =
        directives->is_public || directives->must_revalidate || directives->s_maxage.state == DIRECTIVE_VALID;
    if (!for_all && headers_has(&request->headers, SPAN("Authorization"))) {
        return REASON_AUTHORIZATION;
    }
    switch (vary_kind_of(&response->headers)) {
    case VARY_STAR:
        /* RFC 9111 §4.1 */
        return REASON_VARY_STAR;
    case VARY_LIMIT:
        return REASON_VARY_TOO_MUCH;
    case VARY_NONE:
    case VARY_SOME:
        break;
    }
    return REASON_NONE;
}

/* RFC 9111 §3: the final statuses of RFC 9110 §15 whose rules for caching are all kept here. 206, 304, 412 and 416 are
 * not stored at all. */
static bool is_understood(unsigned status)
{
    static const unsigned understood[] = {
        200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406,
        407, 408, 409, 410, 411, 413, 414, 415, 417, 421, 422, 426, 500, 501, 502, 503, 504, 505,
    };

    for (size_t i = 0; i < ARRAY_LEN(understood); i++) {
        if (status == understood[i]) {
            return true;
        }
    }
    return false;
}

/* Would a stored Set-Cookie be replayed to others? Not where the origin itself keeps it out of reuse (RFC 9111
 * §5.2.2.4, §5.2.2.7). */
static bool set_cookie_matters(const struct http_response *response, const struct freshness_inputs *inputs)
{
    const struct span set_cookie = SPAN_INIT("Set-Cookie");

    return headers_has(&response->headers, set_cookie) &&
           !list_has_token(inputs->directives.no_cache_fields, set_cookie) &&
           !list_has_token(inputs->directives.private_fields, set_cookie);
}

/* Nothing forbids it; is it of any use? RFC 9111 §3, last bullet and last paragraph. */
static struct store_verdict store_by_freshness(const struct freshness_inputs *inputs, const struct policy *policy)
{
    struct lifetime_override override = policy_lifetimes(policy);
    struct freshness freshness = freshness_at(inputs, &override, inputs->response_ms);
    const char *rule = lifetime_rule(freshness.source, policy);
    bool by_rule = freshness.source == LIFETIME_RULE || freshness.source == LIFETIME_DEFAULT_RULE;
    struct store_verdict yes = {.store = true, .reason = by_rule ? REASON_STORED_BY_RULE : REASON_STORED, .rule = rule};
    struct store_verdict no = {.store = false, .reason = REASON_NO_FRESHNESS, .rule = rule};

    /* RFC 9111 §4.2.2: without explicit freshness only statuses of the list, or public, or those a rule names. */
    if (!freshness_is_explicit(inputs) && !freshness_heuristic_allowed(inputs) && !by_rule) {
        no.reason = REASON_NOT_STORED_STATUS;
        return no;
    }
    /* What can be validated can always be used again. */
    if (inputs->has_etag || inputs->has_last_modified) {
        return yes;
    }
    /* RFC 9111 §5.2.2.4: never used unvalidated, and it cannot be validated. */
    if (inputs->directives.no_cache && freshness.source != LIFETIME_RULE) {
        return no;
    }
    return freshness.lifetime_s > 0 || stale_use_foreseen(inputs, policy) ? yes : no;
}

/* Did the origin or a rule open a window for stale use, that nothing forbids? */
static bool stale_use_foreseen(const struct freshness_inputs *inputs, const struct policy *policy)
{
    const struct response_directives *directives = &inputs->directives;
    const char *behind_rule = policy->rule[SETTING_STALE_WHILE_REVALIDATE];
    const char *error_rule = policy->rule[SETTING_STALE_IF_ERROR];
    /* Only what someone said for this response: a default window would store everything. */
    struct stale_window behind = window_of(directives->stale_while_revalidate,
                                           behind_rule == NULL ? -1 : policy->stale_while_revalidate_s, behind_rule);
    struct stale_window error =
        window_of(directives->stale_if_error, error_rule == NULL ? -1 : policy->stale_if_error_s, error_rule);

    return freshness_is_explicit(inputs) && stale_forbidden(directives) == REASON_NONE &&
           (behind.length_s > 0 || error.length_s > 0);
}

bool policy_may_record(const struct http_request *request, const struct http_response *response,
                       const struct policy *policy)
{
    struct policy without_bypass = *policy;

    without_bypass.bypass = false;
    return policy->mode == MODE_RECORD && cannot_keep(request, response, &without_bypass) == REASON_NONE &&
           vary_kind_of(&response->headers) != VARY_LIMIT;
}

bool policy_invalidates(enum method method, unsigned status)
{
    /* RFC 9111 §4.4: unsafe methods, those we do not know included, answered without an error. */
    return !method_is_safe(method) && status >= 200 && status <= 399;
}
