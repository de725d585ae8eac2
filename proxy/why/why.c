/* why.c: asks what larder would do, in the order in which exchange.c does it. See why.h.
 *
 * From the request on (why_request.c) every answer comes from the function that gives it to an exchange. */
#include "cache/head.h"
#include "http/forward.h"
#include "http/range.h"
#include "http/validators.h"
#include "proxy/config/route.h"
#include "proxy/exchange/cache_status.h"
#include "proxy/exchange/decide.h"
#include "proxy/exchange/early_hints.h"
#include "proxy/why/why_internal.h"

enum { WORDS_ARENA_BYTES = 4 * 1024 * 1024 }; /* of the longest command line there is */

static bool judge_rules(struct why *why);
static void judge(struct why *why);
static bool answer(struct why *why);

bool why_no_memory(struct buf *error)
{
    buf_add_text(error, "why: out of memory");
    return false;
}

bool why_check_options(const struct why_options *options, struct buf *out_error)
{
    struct arena arena;

    arena_init(&arena, WORDS_ARENA_BYTES);
    bool good = why_check_request(options, &arena, out_error) && why_check_response(options, out_error);
    arena_finish(&arena);
    return good;
}

bool why_ask(const struct config *config, const struct why_options *options, int64_t now_ms, struct arena *arena,
             struct why *out_why, struct buf *out_error)
{
    return why_ask_store(config, NULL, options, now_ms, arena, out_why, out_error);
}

bool why_ask_store(const struct config *config, const struct why_store *store, const struct why_options *options,
                   int64_t now_ms, struct arena *arena, struct why *out_why, struct buf *out_error)
{
    struct why why = {.config = config, .arena = arena, .now_ms = now_ms};

    if (!why_read_request(&why, options, out_error) || !why_look_up(&why, store, out_error)) {
        return false;
    }
    if (!why_judge(&why)) {
        return why_no_memory(out_error);
    }
    if (options->response_status != 0 && !why_suppose(&why, options, out_error)) {
        return false;
    }
    *out_why = why;
    return true;
}

bool why_url_of(const struct why *why, const struct uri *uri, struct span *out_url)
{
    struct key key;

    if (!key_of_uri(uri, 0, why->arena, &key)) {
        return false;
    }
    *out_url = key_url(key.text);
    return true;
}

bool why_route(struct why *why)
{
    if (why->error == ERR_OK && !why->ends_here) {
        why->site = route_find(why->config, &why->request.uri);
    }
    if (why->site == NULL) {
        return true;
    }
    why->not_matched = decide_own_match(&why->request, &why->own_match) == OWN_MATCH_FAILED;
    if (!route_rewrite_request(why->site, &why->request, why->arena)) {
        return false;
    }
    why->policy = route_policy(why->config, why->site, &why->request, 0, NULL);
    return !policy_may_lookup(&why->request, &why->policy, &why->past_cache) ||
           forward_remove_hop_by_hop(&why->request.headers);
}

bool why_judge(struct why *why)
{
    if (!judge_rules(why)) {
        return false;
    }
    judge(why);
    return answer(why);
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

static void reply_offline(struct why *why)
{
    why->outcome = OUTCOME_NONE;
    reply(why, 504, REASON_OFFLINE_MISS);
}

/* Nothing stored may be served as it is. `usable`: but it may be validated. */
static void judge_fetch(struct why *why, bool usable)
{
    struct range_set set;

    if (why->policy.mode == MODE_OFFLINE) {
        reply_offline(why);
    } else if (policy_only_if_cached(&why->request)) {
        why->outcome = OUTCOME_NONE;
        reply(why, 504, REASON_ONLY_IF_CACHED);
    } else if (why->request.method == METHOD_HEAD && !decide_head_as_get(&why->policy, usable, why->outcome)) {
        conclude(why, WHY_PASS, why->outcome, usable ? why->reason : REASON_HEAD_MISS);
        /* The answer may freshen what is stored; then that is what Cache-Status says. */
        why->reason_is_final = !usable || why->outcome == OUTCOME_REQUEST;
        why->bridges = usable;
    } else if (why->request.method == METHOD_GET && headers_has(&why->request.headers, SPAN("Range")) && !usable &&
               !decide_single_range(&why->request.headers, &set) &&
               (why->has_selected || (!decide_conditional_range(&why->request.headers, &set) &&
                                      !decide_several_ranges(&why->request.headers)))) {
        conclude(why, WHY_PASS, why->outcome, REASON_RANGE);
    } else {
        conclude(why, usable ? WHY_REVALIDATE : WHY_FETCH, why->outcome, why->reason);
        why->reason_is_final = !usable && why->outcome == OUTCOME_REQUEST;
        why->validates = usable;
        why->bridges = usable;
    }
}

/* Of a partial response: true where it does not hold what is wanted. */
static bool judge_missing(struct why *why, const struct reuse_verdict *verdict)
{
    const struct why_variant *selected = &why->selected;
    bool fresh = verdict->reuse == REUSE_SERVE || verdict->reuse == REUSE_SERVE_REVALIDATE;
    struct byte_range gap;
    struct slices slices;

    if (!record_is_partial(&selected->record) ||
        !slices_read(selected->record.slices, selected->record.body_len, &slices)) {
        return false;
    }
    size_t gaps = decide_gaps(&why->request, &selected->record, &selected->headers, &slices, why->now_ms, &gap);
    if (gaps == 0) {
        return false;
    }
    why->outcome = fresh ? OUTCOME_PARTIAL : decide_validation_outcome(verdict->reason);
    why->reason = fresh ? REASON_PARTIAL : verdict->reason;
    judge_fetch(why, false);
    why->completes = why->action == WHY_FETCH && decide_completes(&why->request, &selected->record, fresh, gaps);
    return true;
}

static void judge_selected(struct why *why)
{
    why->policy = why->selected.policy;
    struct reuse_verdict verdict = policy_may_reuse(&why->request, &why->selected.record, &why->policy, why->now_ms);

    if (key_is_recording(why->key.text)) {
        verdict.reason = REASON_REPLAYED;
        verdict.rule = NULL;
    }
    why->reason = verdict.reason;
    why->rule = verdict.rule;
    if (verdict.reuse != REUSE_FETCH && judge_missing(why, &verdict)) {
        return;
    }
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

static void judge(struct why *why)
{
    if (why->error != ERR_OK) {
        unsigned status = err_status(why->error);
        reply(why, status != 0 ? status : 502, decide_refusal(why->error));
    } else if (why->ends_here) {
        reply(why, 200, REASON_MAX_FORWARDS);
    } else if (why->site == NULL) {
        reply(why, 404, REASON_NO_SITE);
    } else if (why->not_matched) {
        reply(why, 412, REASON_OWN_TAG);
    } else if (decide_purges(why->site, &why->request)) {
        bool stored = why->found != STORE_ABSENT && why->purged.effect != PURGED_HARD; /* by whatever variant */
        reply(why, stored ? 200 : 404, REASON_PURGE);
    } else if (why->past_cache != REASON_NONE && why->policy.mode == MODE_OFFLINE) {
        reply_offline(why);
    } else if (why->past_cache != REASON_NONE) {
        conclude(why, WHY_PASS, decide_bypass_outcome(why->past_cache), why->past_cache);
        why->rule = why->past_cache == REASON_BYPASS_RULE ? why->policy.rule[SETTING_BYPASS] : NULL;
    } else if (why->has_selected) {
        judge_selected(why);
    } else {
        bool others = why->found == STORE_OTHER_VARIANTS;
        why->outcome = others ? OUTCOME_VARY_MISS : OUTCOME_URI_MISS;
        why->reason = others ? REASON_VARY_MISS : REASON_URI_MISS;
        if (why->purged.effect == PURGED_HARD) {
            why->reason = REASON_PURGED;
        }
        judge_fetch(why, false);
    }
    why->has_failures = why->action == WHY_REVALIDATE || why->action == WHY_FETCH || why->action == WHY_PASS;
}

/* ---- the answer, as in respond.c ---- */

unsigned why_status_of_range(const struct why *why, const struct headers *headers, uint64_t body_len)
{
    struct ranges ranges;

    switch (decide_ranges(&why->request, headers, body_len, why->now_ms, &ranges)) {
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
    if (!record_is_partial(record) && !decide_own_etag(&why->policy, record->status, record->digest, &headers)) {
        return false;
    }
    why->status = record->status;
    why->etag = headers_value(&headers, SPAN("ETag"));
    if (why->own_match.len > 0 && record->status <= 299 && !if_match_has(why->own_match, why->etag)) {
        conclude(why, WHY_REPLY, why->outcome, REASON_OWN_TAG);
        why->status = 412;
        why->rule = NULL;
        return true;
    }
    why->has_ttl = true;
    why->ttl_s = why->selected.freshness.lifetime_s - why->selected.freshness.age_s;
    if (decide_not_modified(&why->request, record->status, &headers, record->inputs.response_ms, why->now_ms)) {
        why->not_modified = true;
        why->status = 304;
    } else if (record->status == 200) {
        why->status = why_status_of_range(why, &headers, record->body_len);
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
        failure->stale = why->bridges &&
                         policy_may_serve_stale(&why->request, &why->selected.record, &why->policy,
                                                (enum origin_failure)i, why->now_ms, &failure->reason, &failure->rule);
        if (!failure->stale) {
            *failure =
                (struct why_failure){.reason = otherwise[i], .against = why->bridges ? failure->reason : REASON_NONE};
        }
    }
}

static bool answer(struct why *why)
{
    if ((why->action == WHY_HIT || why->action == WHY_HIT_REVALIDATE) && !answer_stored(why)) {
        return false;
    }
    headers_init(&why->conditions, why->arena);
    headers_init(&why->hints, why->arena);
    if (why->action == WHY_REVALIDATE && !early_hints_for(&why->request, &why->policy, &why->selected.record,
                                                          &why->selected.headers, why->arena, &why->hints)) {
        headers_init(&why->hints, why->arena); /* there are none */
    }
    if (why->validates && !decide_validators(&why->selected.headers, &why->conditions)) {
        return false;
    }
    if (why->has_failures) {
        judge_failures(why);
        if (policy_invalidates(why->request.method, 200) && !why_url_of(why, &why->request.uri, &why->invalidates)) {
            return false;
        }
    }
    struct cache_status status = {.name = why->config->server.via,
                                  .outcome = why->outcome,
                                  .reason = why->reason_is_final ? why->reason : REASON_NONE,
                                  .rule = why->rule,
                                  .has_ttl = why->has_ttl,
                                  .ttl_s = why->ttl_s};
    return cache_status_format(&status, why->arena, &why->cache_status);
}
