/* why.c: asks what larder would do, in the order in which exchange.c does it. See why.h.
 *
 * The request is written as a client would send it and read as larder reads it; from there every answer comes from the
 * function that gives it to an exchange. */
#include "proxy/why.h"

#include <string.h>

#include "cache/head.h"
#include "cache/vary.h"
#include "http/forward.h"
#include "http/parser.h"
#include "http/range.h"
#include "http/token.h"
#include "http/validators.h"
#include "proxy/cache_status.h"
#include "proxy/decide.h"
#include "proxy/log.h"
#include "proxy/route.h"

enum { REQUEST_MAX_BYTES = 20 * 1024 * 1024 };

static bool read_request(struct why *why, const struct why_options *options, struct buf *error);
static bool look_up(struct why *why, struct buf *error);
static bool judge(struct why *why);
static bool answer(struct why *why);

static bool no_memory(struct buf *error)
{
    buf_add_text(error, "why: out of memory");
    return false;
}

bool why_ask(const struct config *config, const struct why_options *options, int64_t now_ms, struct arena *arena,
             struct why *out_why, struct buf *out_error)
{
    struct why why = {.config = config, .arena = arena, .now_ms = now_ms};

    if (!read_request(&why, options, out_error) || !look_up(&why, out_error)) {
        return false;
    }
    if (!judge(&why) || !answer(&why)) {
        return no_memory(out_error);
    }
    *out_why = why;
    return true;
}

/* ---- the request ---- */

/* "http://host/path?query#part" → host, and the target as a client would send it. */
static bool split_url(const char *url, struct span *out_host, struct span *out_target, struct arena *arena)
{
    struct span rest = span_of(url);
    size_t host_len = 0;
    size_t len = 0;

    if (!span_equal_nocase(span_take(rest, sizeof("http://") - 1), SPAN("http://"))) {
        return false;
    }
    rest = span_skip(rest, sizeof("http://") - 1);
    while (host_len < rest.len && strchr("/?#", rest.data[host_len]) == NULL) {
        host_len++;
    }
    *out_host = span_take(rest, host_len);
    rest = span_skip(rest, host_len);
    while (len < rest.len && rest.data[len] != '#') {
        len++;
    }
    rest = span_take(rest, len);
    struct span parts[] = {rest.len > 0 && rest.data[0] == '/' ? SPAN("") : SPAN("/"), rest};
    return uri_host_valid(*out_host) && arena_join(arena, parts, ARRAY_LEN(parts), out_target);
}

static bool add_field(const char *text, struct buf *head, bool *has_host, struct buf *error)
{
    const char *colon = strchr(text, ':');
    struct span name = {text, colon != NULL ? (size_t)(colon - text) : 0};

    if (colon == NULL || !is_token(name) || strpbrk(text, "\r\n") != NULL) {
        buf_format(error, "-H: expected a field such as 'Accept-Encoding: gzip', found %s",
                   log_quoted(span_of(text)).text);
        return false;
    }
    *has_host = *has_host || span_equal_nocase(name, SPAN("Host"));
    buf_format(head, "%s\r\n", text);
    return true;
}

/* The head as a client would send it. */
static bool write_head(const struct why_options *options, struct buf *head, struct arena *arena, struct buf *error)
{
    const char *method = options->method != NULL ? options->method : "GET";
    struct span host;
    struct span target;
    bool has_host = false;

    if (!is_token(span_of(method))) {
        buf_format(error, "--method: expected a method such as HEAD, found %s", log_quoted(span_of(method)).text);
        return false;
    }
    if (!split_url(options->url, &host, &target, arena)) {
        buf_format(error, "why: expected a URL such as http://127.0.0.1:8080/page, or a reason, found %s",
                   log_quoted(span_of(options->url)).text);
        return false;
    }
    buf_format(head, "%s %.*s HTTP/1.1\r\n", method, SPAN_ARG(target));
    for (size_t i = 0; i < options->field_count; i++) {
        if (!add_field(options->fields[i], head, &has_host, error)) {
            return false;
        }
    }
    if (!has_host) { /* -H Host names the site where the URL is only the way to larder */
        buf_format(head, "Host: %.*s\r\n", SPAN_ARG(host));
    }
    buf_add_text(head, "\r\n");
    return true;
}

static bool read_request(struct why *why, const struct why_options *options, struct buf *error)
{
    const struct config *config = why->config;
    struct head_limits limits = {.head_bytes = config->server.max_head_bytes,
                                 .target_bytes = config->server.max_target_bytes,
                                 .field_count = config->server.max_fields};
    struct head_scan scan = {0};
    struct buf head;
    size_t head_len;

    headers_init(&why->request.headers, why->arena);
    headers_init(&why->asked_headers, why->arena);
    buf_init(&head, REQUEST_MAX_BYTES);
    bool good = write_head(options, &head, why->arena, error);
    if (good) {
        why->error = head_find(&scan, buf_span(&head), &limits, &head_len);
        if (why->error == ERR_OK) {
            why->error = parse_request_head(span_take(buf_span(&head), head_len), &limits, why->arena, &why->request);
        }
    }
    buf_finish(&head);
    if (!good) {
        return false;
    }
    if (why->request.headers.arena == NULL) { /* as in client.c: nothing could be read */
        headers_init(&why->request.headers, why->arena);
    }
    why->host = headers_value(&why->request.headers, SPAN("Host"));
    if (why->error == ERR_OK) {
        why->error = decide_request(config, SPAN("http"), why->host, &why->request, why->arena);
    }
    why->asked_uri = why->request.uri;
    if (!headers_copy(&why->asked_headers, &why->request.headers, why->arena)) {
        return no_memory(error);
    }
    if (why->error == ERR_OK) {
        decide_upgrade(config, &why->request.headers);
        why->ends_here = decide_ends_here(&why->request, why->arena);
    }
    return true;
}

/* ---- the store ---- */

struct collect {
    struct why *why;
    size_t capacity;
};

static bool make_variant(const struct why *why, const struct stored *stored, struct why_variant *out)
{
    struct buf wanted;

    *out = (struct why_variant){.record = stored->record};
    if (!arena_copy(why->arena, stored->selection, &out->selection) ||
        head_read(stored->head, why->arena, &out->headers) != ERR_OK) {
        return false;
    }
    buf_init(&wanted, VARY_MAX_BYTES);
    (void)vary_select(&out->headers, &why->request.headers, why->arena, &wanted); /* empty: nothing to compare */
    bool copied = arena_copy(why->arena, buf_span(&wanted), &out->wanted);
    buf_finish(&wanted);
    out->policy = route_policy(why->config, why->site, &why->request, stored->record.status, &out->headers);
    struct lifetime_override override = policy_lifetimes(&out->policy);
    out->freshness = freshness_at(&stored->record.inputs, &override, why->now_ms);
    return copied;
}

static bool on_variant(void *arg, const struct stored *stored) /* store_variant_fn */
{
    struct collect *collect = arg;
    struct why *why = collect->why;

    if (why->variant_count == collect->capacity) {
        return false; /* stored with a larger max_variants */
    }
    if (make_variant(why, stored, &why->variants[why->variant_count])) {
        why->variant_count++;
    }
    return true;
}

static bool read_store(struct why *why, struct store *store)
{
    struct collect collect = {.why = why, .capacity = why->config->cache.max_variants};
    struct store_reader *reader = store_reader_create(store);
    struct stored stored;

    why->variants = arena_alloc(why->arena, collect.capacity * sizeof(*why->variants));
    if (reader == NULL || why->variants == NULL ||
        !key_of_uri(&why->request.uri, store_secret(store), why->arena, &why->key)) {
        store_reader_destroy(reader);
        return false;
    }
    why->looked_up = true;
    (void)store_each_variant(reader, &why->key, why->arena, on_variant, &collect);
    why->found = store_find(reader, &why->key, &why->request.headers, why->arena, &stored);
    if (why->found == STORE_FOUND) {
        why->has_selected = make_variant(why, &stored, &why->selected);
        if (stored.pinned) {
            store_unpin(store, stored.record.body_id);
        }
    }
    for (size_t i = 0; i < why->variant_count; i++) {
        why->variants[i].selected =
            why->has_selected && why->variants[i].record.object_id == why->selected.record.object_id;
    }
    store_reader_destroy(reader);
    return true;
}

/* The site, what its rules make of the request, and what is stored for that. */
static bool look_up(struct why *why, struct buf *error)
{
    struct store *store;
    struct buf note;

    buf_init(&note, 1024);
    enum err failed = store_open_readonly(why->config->cache.dir, &store, &note);
    if (failed != ERR_OK) {
        buf_format(error, "why: no store can be read in %s: %s%.*s", why->config->cache.dir,
                   note.len > 0 ? "" : err_text(failed), SPAN_ARG(buf_span(&note)));
    }
    buf_finish(&note);
    if (failed != ERR_OK) {
        return false;
    }
    bool done = true;
    if (why->error == ERR_OK && !why->ends_here) {
        why->site = route_find(why->config, &why->request.uri);
    }
    if (why->site != NULL) {
        done = route_rewrite_request(why->site, &why->request, why->arena);
        why->policy = route_policy(why->config, why->site, &why->request, 0, NULL);
        if (policy_may_lookup(&why->request, &why->policy, &why->past_cache)) {
            done = done && forward_remove_hop_by_hop(&why->request.headers);
        }
        done = done && read_store(why, store);
    }
    store_close(store);
    return done || no_memory(error);
}

/* ---- the rules ---- */

/* Does one rule match? route_policy says it, of a site that has only this rule, with a setting to show for it. */
static bool rule_matches(const struct why *why, const struct rule *rule)
{
    struct rule alone = *rule;
    struct site site = *why->site;

    alone.given[SETTING_BYPASS] = true;
    site.rules = &alone;
    site.rule_count = 1;
    struct policy policy = why->has_selected ? route_policy(why->config, &site, &why->request,
                                                            why->selected.record.status, &why->selected.headers)
                                             : route_policy(why->config, &site, &why->request, 0, NULL);
    return policy.rule[SETTING_BYPASS] != NULL;
}

static bool judge_rules(struct why *why)
{
    if (why->site == NULL) {
        return true;
    }
    why->rule_count = why->site->rule_count;
    why->rules = arena_alloc(why->arena, (why->rule_count + 1) * sizeof(*why->rules));
    if (why->rules == NULL) {
        return false;
    }
    for (size_t i = 0; i < why->rule_count; i++) {
        struct rule request_only = why->site->rules[i];
        request_only.status_count = 0;
        request_only.content_type_glob = (struct span){NULL, 0};
        bool matches = rule_matches(why, &why->site->rules[i]);
        why->rules[i] = (struct why_rule){
            .rule = &why->site->rules[i],
            .matches = matches,
            .waits = !matches && !why->has_selected && rule_matches(why, &request_only),
        };
    }
    return true;
}

/* ---- the verdict, as in exchange.c: route, lookup, decide, join ---- */

static void conclude(struct why *why, enum why_action action, enum outcome outcome, enum reason reason)
{
    why->action = action;
    why->outcome = outcome;
    why->reason = reason;
    why->reason_is_final = action != WHY_REVALIDATE && action != WHY_FETCH;
}

static void reply(struct why *why, unsigned status, enum reason reason)
{
    conclude(why, WHY_REPLY, why->outcome, reason);
    why->status = status;
    why->rule = NULL;
}

/* Nothing stored may be served as it is. `usable`: but it may be validated. */
static void judge_fetch(struct why *why, bool usable)
{
    bool ranges = headers_has(&why->request.headers, SPAN("Range"));

    if (policy_only_if_cached(&why->request, &why->policy)) {
        reply(why, 504, REASON_ONLY_IF_CACHED);
    } else if (why->request.method == METHOD_HEAD) {
        conclude(why, WHY_PASS, why->outcome, usable ? why->reason : REASON_HEAD_MISS);
        /* The answer may freshen what is stored; then that is what Cache-Status says. */
        why->reason_is_final = !usable || why->outcome == OUTCOME_REQUEST;
        why->has_failures = usable;
    } else if (ranges) {
        conclude(why, WHY_PASS, why->outcome, REASON_RANGE);
    } else {
        conclude(why, usable ? WHY_REVALIDATE : WHY_FETCH, why->outcome, why->reason);
        why->reason_is_final = !usable && why->outcome == OUTCOME_REQUEST;
        why->validates = usable;
        why->has_failures = usable;
    }
}

static void judge_selected(struct why *why)
{
    why->policy = why->selected.policy;
    struct reuse_verdict verdict = policy_may_reuse(&why->request, &why->selected.record, &why->policy, why->now_ms);

    why->reason = verdict.reason;
    why->rule = verdict.rule;
    switch (verdict.reuse) {
    case REUSE_SERVE:
        conclude(why, WHY_HIT, OUTCOME_HIT, verdict.reason);
        return;
    case REUSE_SERVE_REVALIDATE:
        conclude(why, WHY_HIT_REVALIDATE, OUTCOME_HIT, verdict.reason);
        why->validates = true;
        return;
    case REUSE_VALIDATE:
        why->outcome = decide_validation_outcome(verdict.reason);
        judge_fetch(why, true);
        return;
    case REUSE_FETCH:
        why->outcome = OUTCOME_REQUEST;
        judge_fetch(why, false);
        return;
    }
    UNREACHABLE();
}

static bool judge(struct why *why)
{
    if (!judge_rules(why)) {
        return false;
    }
    if (why->error != ERR_OK) {
        unsigned status = err_status(why->error);
        reply(why, status != 0 ? status : 502, REASON_BAD_REQUEST);
    } else if (why->ends_here) {
        reply(why, 200, REASON_MAX_FORWARDS);
    } else if (why->site == NULL) {
        reply(why, 404, REASON_NO_SITE);
    } else if (why->past_cache != REASON_NONE) {
        conclude(why, WHY_PASS, decide_bypass_outcome(why->past_cache), why->past_cache);
        why->rule = why->past_cache == REASON_BYPASS_RULE ? why->policy.rule[SETTING_BYPASS] : NULL;
    } else if (why->has_selected) {
        judge_selected(why);
    } else {
        bool others = why->found == STORE_OTHER_VARIANTS;
        why->outcome = others ? OUTCOME_VARY_MISS : OUTCOME_URI_MISS;
        why->reason = others ? REASON_VARY_MISS : REASON_URI_MISS;
        judge_fetch(why, false);
    }
    return true;
}

/* ---- the answer, as in respond.c ---- */

/* What Range makes of a stored 200 (RFC 9110 §14.2). */
static unsigned status_of_range(const struct why *why, const struct headers *headers)
{
    struct range_set set;
    struct ranges ranges;

    if (why->request.method != METHOD_GET || !range_of_request(&why->request.headers, &set) ||
        !if_range_holds(&why->request.headers, headers, why->now_ms / 1000)) {
        return 200;
    }
    switch (range_resolve(&set, why->selected.record.body_len, &ranges)) {
    case RANGE_NONE:
        return 200;
    case RANGE_SATISFIABLE:
        return 206;
    case RANGE_UNSATISFIABLE:
        return 416;
    }
    UNREACHABLE();
}

static bool answer_stored(struct why *why)
{
    const struct record *record = &why->selected.record;
    struct headers headers;

    if (!headers_copy(&headers, &why->selected.headers, why->arena)) {
        return false;
    }
    if (record->qualified_no_cache || record->qualified_private) {
        head_drop_qualified(&headers);
    }
    if (!decide_own_etag(&why->policy, record->status, record->digest, &headers)) {
        return false;
    }
    why->status = record->status;
    why->etag = headers_value(&headers, SPAN("ETag"));
    why->has_ttl = true;
    why->ttl_s = why->selected.freshness.lifetime_s - why->selected.freshness.age_s;
    if (decide_not_modified(&why->request, record->status, &headers, record->inputs.response_ms, why->now_ms)) {
        why->not_modified = true;
        why->status = 304;
    } else if (record->status == 200) {
        why->status = status_of_range(why, &headers);
    }
    return true;
}

static void judge_failures(struct why *why)
{
    static const enum reason otherwise[WHY_FAILURES] = {[FAILURE_STATUS] = REASON_NONE, /* its answer is passed on */
                                                        [FAILURE_SLOW] = REASON_NONE,   /* it is waited for */
                                                        [FAILURE_DISCONNECTED] = REASON_ORIGIN_FAILED,
                                                        [FAILURE_TIMEOUT] = REASON_ORIGIN_TIMEOUT};

    for (int i = 0; i < WHY_FAILURES; i++) {
        struct why_failure *failure = &why->failures[i];
        failure->stale = policy_may_serve_stale(&why->request, &why->selected.record, &why->policy,
                                                (enum origin_failure)i, why->now_ms, &failure->reason, &failure->rule);
        if (!failure->stale) {
            *failure = (struct why_failure){.reason = otherwise[i]};
        }
    }
}

static bool answer(struct why *why)
{
    if ((why->action == WHY_HIT || why->action == WHY_HIT_REVALIDATE) && !answer_stored(why)) {
        return false;
    }
    headers_init(&why->conditions, why->arena);
    if (why->validates && !decide_validators(&why->selected.headers, &why->conditions)) {
        return false;
    }
    if (why->has_failures) {
        judge_failures(why);
    }
    struct cache_status status = {.name = why->config->server.via,
                                  .outcome = why->outcome,
                                  .reason = why->reason_is_final ? why->reason : REASON_NONE,
                                  .rule = why->rule,
                                  .has_ttl = why->has_ttl,
                                  .ttl_s = why->ttl_s};
    return cache_status_format(&status, why->arena, &why->cache_status);
}
