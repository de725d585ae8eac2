/* policy_store.c: what may be stored, and recorded. As in policy.c the first that forbids gives the reason.
 *
 * Decisions where the standard leaves room, beside those that policy.h lists:
 *   - A response that arrives stale with a lifetime above 0 (its Age has used it up) is stored: the next one to ask can
 *     use it when the origin is away. One whose lifetime is 0 needs a validator, or a window in which its stale use is
 *     allowed.
 *   - 412 and 416 answer a condition or a range, not the URI: never stored. */
#include "cache/policy_internal.h"
#include "cache/sentinel.h"
#include "cache/vary.h"
#include "http/cache_groups.h"
#include "http/tags.h"
#include "http/token.h"
#include "http/unkeyed.h"

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

/* Without a rule only types are judged, and only where no lifetime is the origin's own word: that of a rule for *.css,
 * or a guess, is given by what the URL looks like, and that is what a deceiver chooses. What the origin itself declares
 * fresh it declares so for every URL it answers. */
static bool sentinel_forbids(const struct http_request *request, const struct http_response *response,
                             const struct freshness_inputs *inputs, const struct policy *policy,
                             enum reason *out_reason)
{
    bool by_rule = policy->rule[SETTING_SENTINEL] != NULL;
    bool own_word = freshness_is_explicit(inputs) && !policy_ttl_applies(inputs, policy);
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
    if (reason == REASON_NONE && policy_cookie_forbids(request, inputs, policy)) {
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
    case VARY_TWIN: /* which the request decides, not the response alone */
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
    const char *rule = policy_lifetime_rule(freshness.source, policy);
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
    struct stale_window behind = policy_stale_window(policy, directives, SETTING_STALE_WHILE_REVALIDATE);
    struct stale_window error = policy_stale_window(policy, directives, SETTING_STALE_IF_ERROR);

    return freshness_is_explicit(inputs) && policy_stale_forbidden(directives) == NULL &&
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
