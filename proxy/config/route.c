#include "proxy/config/route.h"

#include <string.h>

#include "http/negotiate.h"
#include "http/token.h"
#include "http/unkeyed.h"
#include "proxy/config/site_mode.h"

enum {
    MEDIA_TYPE_MAX_BYTES = 128, /* longer ones match no glob */
    HOLD_BACK_MS = 100,         /* unless a rule says otherwise */
};

const struct site *route_find(const struct config *config, const struct uri *uri)
{
    return host_index_find(&config->hosts, uri_host_of(uri->authority), uri->path);
}

/* Is the shorter one, without its first byte, the end of the other? Of two wildcards: is one within the other? */
static bool share_end(struct span a, struct span b)
{
    size_t len = (a.len < b.len ? a.len : b.len) - 1;

    return span_equal_nocase(span_skip(a, a.len - len), span_skip(b, b.len - len));
}

static bool is_wildcard(struct span host)
{
    return span_starts_with(host, SPAN("*."));
}

static bool site_has_host(const struct site *site, struct span host)
{
    for (size_t i = 0; i < site->host_count; i++) {
        struct span own = site->hosts[i];
        /* "*.example.com" stands for one label or more in front of ".example.com". */
        bool within = (is_wildcard(own) && own.len <= host.len) || (is_wildcard(host) && host.len <= own.len);
        if (span_equal_nocase(own, host) || (within && share_end(own, host))) {
            return true;
        }
    }
    return site->host_count == 0;
}

bool route_has_host(const struct config *config, struct span host)
{
    for (size_t i = 0; i < config->site_count; i++) {
        if (site_has_host(&config->sites[i], host)) {
            return true;
        }
    }
    return false;
}

static bool method_fits(const struct rule *rule, struct span method)
{
    for (size_t i = 0; i < rule->method_count; i++) {
        if (span_equal(rule->methods[i], method)) {
            return true;
        }
    }
    return rule->method_count == 0;
}

static bool status_fits(const struct rule *rule, unsigned status)
{
    for (size_t i = 0; i < rule->status_count; i++) {
        if (rule->statuses[i] == status) {
            return true;
        }
    }
    return rule->status_count == 0;
}

/* The media type without parameters, in lower case. A response without one matches no glob. */
static bool content_type_fits(const struct rule *rule, const struct headers *response_headers)
{
    char lower[MEDIA_TYPE_MAX_BYTES];
    struct span rest;
    struct span type;

    if (rule->content_type_glob.len == 0) {
        return true;
    }
    rest = headers_value(response_headers, SPAN("Content-Type"));
    if (!span_split(&rest, ';', &type)) {
        return false;
    }
    type = span_trim(type);
    if (type.len == 0 || type.len > sizeof lower) {
        return false;
    }
    for (size_t i = 0; i < type.len; i++) {
        lower[i] = ascii_lower(type.data[i]);
    }
    return span_matches_glob((struct span){lower, type.len}, rule->content_type_glob);
}

static bool needs_response(const struct rule *rule)
{
    return rule->status_count > 0 || rule->content_type_glob.len > 0;
}

static bool request_fits(const struct rule *rule, const struct http_request *request)
{
    return method_fits(rule, request->method_name) &&
           (rule->path_glob.len == 0 || span_matches_glob(request->uri.path, rule->path_glob));
}

static void policy_take(struct policy *policy, enum setting setting, const struct rule *rule)
{
    policy->rule[setting] = rule->name;
    switch (setting) {
    case SETTING_TTL:
        policy->ttl_s = rule->ttl_s;
        policy->ttl_for_status = rule->status_count > 0;
        break;
    case SETTING_DEFAULT_TTL:
        policy->default_ttl_s = rule->default_ttl_s;
        policy->default_ttl_for_status = rule->status_count > 0;
        break;
    case SETTING_STALE_WHILE_REVALIDATE:
        policy->stale_while_revalidate_s = rule->stale_while_revalidate_s;
        break;
    case SETTING_STALE_IF_ERROR:
        policy->stale_if_error_s = rule->stale_if_error_s;
        break;
    case SETTING_STALE_IF_SLOW:
        policy->stale_if_slow_ms = (int64_t)rule->stale_if_slow_ms;
        break;
    case SETTING_BYPASS:
        policy->bypass = rule->bypass;
        break;
    case SETTING_IGNORE_COOKIES:
        policy->ignore_cookies = rule->ignore_cookies;
        break;
    case SETTING_STORE_SET_COOKIE:
        policy->store_set_cookie = rule->store_set_cookie;
        break;
    case SETTING_REQUEST_DIRECTIVES:
        policy->request_directives = rule->request_directives;
        break;
    case SETTING_OWN_ETAG:
        policy->own_etag = rule->own_etag;
        break;
    case SETTING_HOLD_BACK:
        policy->hold_back_ms = (int64_t)rule->hold_back_ms;
        break;
    case SETTING_STRIP_TAGS:
        policy->strip_tags = rule->strip_tags;
        break;
    case SETTING_EARLY_HINTS:
        policy->early_hints = rule->early_hints;
        break;
    case SETTING_NO_VARY_SEARCH:
        policy->no_vary_search = rule->no_vary_search;
        break;
    case SETTING_MIN_USES:
        policy->min_uses = rule->min_uses;
        break;
    case SETTING_HEAD_AS_GET:
        policy->head_as_get = rule->head_as_get;
        break;
    case SETTING_SENTINEL:
        policy->sentinel = rule->sentinel;
        break;
    case SETTING_COUNT:
        break;
    }
}

/* Takes from `rule` what no rule before it gave. */
static void policy_add_rule(struct policy *policy, const struct rule *rule)
{
    for (enum setting setting = 0; setting < SETTING_COUNT; setting++) {
        if (rule->given[setting] && policy->rule[setting] == NULL) {
            policy_take(policy, setting, rule);
        }
    }
}

struct policy route_policy(const struct config *config, const struct site *site, const struct http_request *request,
                           unsigned status, const struct headers *response_headers)
{
    struct policy policy = {
        .profile = config->cache.profile,
        .mode = site_mode(site),
        .own_etag = config->cache.profile == PROFILE_SAFE,
        .hold_back_ms = HOLD_BACK_MS,
        .head_as_get = true,
        .ttl_s = -1, /* none */
        .default_ttl_s = -1,
        .max_heuristic_s = (int64_t)(config->cache.max_heuristic_ms / 1000),
        .stale_while_revalidate_s = -1,
        .stale_if_error_s = -1,
        .max_stale_s = (int64_t)(config->cache.max_stale_ms / 1000),
        .max_object_bytes = config->cache.max_object_bytes,
        .admit_large = config->cache.admit_large,
    };

    for (size_t i = 0; i < site->rule_count; i++) {
        const struct rule *rule = &site->rules[i];
        if (!request_fits(rule, request)) {
            continue;
        }
        if (needs_response(rule) &&
            (response_headers == NULL || !status_fits(rule, status) || !content_type_fits(rule, response_headers))) {
            continue;
        }
        policy_add_rule(&policy, rule);
    }
    return policy;
}

bool route_asks_response(const struct site *site)
{
    for (size_t i = 0; i < site->rule_count; i++) {
        if (needs_response(&site->rules[i])) {
            return true;
        }
    }
    return false;
}

const struct rule *route_rate(const struct site *site, const struct http_request *request)
{
    for (size_t i = 0; i < site->rule_count; i++) {
        const struct rule *rule = &site->rules[i];
        if (rule->gives_rate && request_fits(rule, request)) {
            return rule;
        }
    }
    return NULL;
}

bool route_traces(const struct site *site, const struct http_request *request)
{
    for (size_t i = 0; i < site->rule_count; i++) {
        const struct rule *rule = &site->rules[i];
        if (rule->gives_trace && request_fits(rule, request)) {
            return rule->trace;
        }
    }
    return false;
}

static bool apply_query(const struct rule *rule, struct http_request *request, struct arena *arena)
{
    return uri_filter_query(&request->uri, rule->strip_query, rule->strip_query_count, rule->sort_query, arena);
}

static bool apply_encoding(const struct rule *rule, struct http_request *request)
{
    return !rule->normalize_accept_encoding ||
           headers_set(&request->headers, SPAN("Accept-Encoding"), negotiate_encoding(&request->headers));
}

/* A request without the field stays without: its client leaves the choice to the origin. */
static bool apply_language(const struct rule *rule, struct http_request *request)
{
    if (rule->language_count == 0 || !headers_has(&request->headers, SPAN("Accept-Language"))) {
        return true;
    }
    return headers_set(&request->headers, SPAN("Accept-Language"),
                       negotiate_language(&request->headers, rule->languages, rule->language_count));
}

static void apply_fields(const struct rule *rule, struct http_request *request)
{
    for (size_t i = 0; i < rule->strip_request_field_count; i++) {
        headers_remove(&request->headers, rule->strip_request_fields[i]);
    }
}

static bool changes_request(const struct rule *rule)
{
    return (rule->gives_query || rule->gives_vary || rule->gives_language || rule->gives_passed_fields ||
            rule->gives_request_fields) &&
           !needs_response(rule);
}

bool route_rewrite_request(const struct site *site, struct http_request *request, struct arena *arena)
{
    const struct rule *query = NULL;
    const struct rule *vary = NULL;
    const struct rule *language = NULL;
    const struct rule *fields = NULL;
    const struct rule *passed = NULL;

    for (size_t i = 0; i < site->rule_count; i++) {
        const struct rule *rule = &site->rules[i];
        if (!changes_request(rule) || !request_fits(rule, request)) {
            continue;
        }
        query = query == NULL && rule->gives_query ? rule : query;
        vary = vary == NULL && rule->gives_vary ? rule : vary;
        language = language == NULL && rule->gives_language ? rule : language;
        passed = passed == NULL && rule->gives_passed_fields ? rule : passed;
        fields = fields == NULL && rule->gives_request_fields ? rule : fields;
    }
    unkeyed_remove(request, passed == NULL ? NULL : passed->pass_request_fields,
                   passed == NULL ? 0 : passed->pass_request_field_count);
    if (fields != NULL) {
        apply_fields(fields, request); /* before the normalisation, which adds a field */
    }
    return (query == NULL || apply_query(query, request, arena)) && (vary == NULL || apply_encoding(vary, request)) &&
           (language == NULL || apply_language(language, request));
}
