/* why_text.c: `larder why` for people: the verdict, then the ladder that leads to it. */
#include <time.h>

#include "cache/vary.h"
#include "http/token.h"
#include "proxy/config/site_mode.h"
#include "proxy/exchange/decide.h"
#include "proxy/io/log.h"
#include "proxy/why/why.h"

static void write_verdict(const struct why *why, bool bold, struct buf *out);
static void write_request(const struct why *why, struct buf *out);
static void write_stored(const struct why *why, struct buf *out);
static void write_freshness(const struct why *why, struct buf *out);
static void write_answer(const struct why *why, struct buf *out);
static void write_supposed(const struct why *why, struct buf *out);

/* "  label         " */
static void label(struct buf *out, const char *text)
{
    buf_format(out, "  %-13s ", text);
}

/* "90 s", "5400 s (1 h 30 min)" */
static void add_seconds(struct buf *out, int64_t seconds)
{
    int64_t rest = seconds < 0 ? -seconds : seconds;

    buf_format(out, "%lld s", (long long)seconds);
    if (rest >= 86400) {
        buf_format(out, " (%lld d %lld h)", (long long)(rest / 86400), (long long)(rest % 86400 / 3600));
    } else if (rest >= 3600) {
        buf_format(out, " (%lld h %lld min)", (long long)(rest / 3600), (long long)(rest % 3600 / 60));
    } else if (rest > 120) {
        buf_format(out, " (%lld min)", (long long)(rest / 60));
    }
}

static void add_quoted(struct buf *out, struct span text)
{
    buf_add_text(out, log_quoted(text).text);
}

static void add_reason(struct buf *out, enum reason reason, const char *rule)
{
    buf_format(out, "%s: %s", reason_token(reason), reason_text(reason));
    if (rule != NULL) {
        buf_add_text(out, ", rule ");
        add_quoted(out, span_of(rule));
    }
    if (reason_source(reason)[0] != '\0') {
        buf_format(out, " (%s)", reason_source(reason));
    }
}

/* What it was worth when the origin was last asked: people ask why it is not stored now. */
static void write_last(const struct why *why, struct buf *out)
{
    const struct why_last *last = &why->last;

    buf_add_text(out, "\nthe origin's last answer\n");
    label(out, "asked");
    add_seconds(out, (why->now_ms - last->time_ms) / 1000);
    buf_format(out, " ago, %s; answered %u %s\n", reason_token(last->reason), last->status,
               status_phrase(last->status));
    label(out, "stored");
    buf_add_text(out, decide_is_kept(last->store_reason) ? "yes, " : "no, ");
    add_reason(out, last->store_reason, NULL);
    buf_add_byte(out, '\n');
    if (!decide_is_kept(last->store_reason)) {
        label(out, "to change it");
        buf_format(out, "%s\n", why_hint(last->store_reason));
    }
}

void why_write_text(const struct why *why, bool bold, struct buf *out)
{
    write_verdict(why, bold, out);
    write_request(why, out);
    if (why->looked_up) {
        write_stored(why, out);
    }
    if (why->last.known) {
        write_last(why, out);
    }
    if (why->has_selected) {
        write_freshness(why, out);
    }
    write_answer(why, out);
    if (why->has_supposed) {
        write_supposed(why, out);
    }
}

static const char *action_sentence(const struct why *why)
{
    switch (why->action) {
    case WHY_HIT:
        return why->not_modified ? "304 from the store: the client has it already" : "answered from the store";
    case WHY_HIT_REVALIDATE:
        return why->not_modified ? "304 from the store, and revalidated behind"
                                 : "answered from the store, and revalidated behind";
    case WHY_REVALIDATE:
        return why->conditions.count > 0 ? "revalidated at the origin, then answered"
                                         : "fetched from the origin: nothing stored can be validated";
    case WHY_FETCH:
        return why->completes ? "what is missing is fetched from the origin, then answered"
                              : "fetched from the origin, and stored if it may be";
    case WHY_PASS:
        return "passed to the origin, past the cache";
    case WHY_REPLY:
        return "answered by larder itself";
    }
    UNREACHABLE();
}

static void write_verdict(const struct why *why, bool bold, struct buf *out)
{
    buf_format(out, "%s%s%s\n", bold ? "\033[1m" : "", action_sentence(why), bold ? "\033[0m" : "");
    label(out, "because");
    add_reason(out, why->reason, why->rule);
    if (why->error != ERR_OK) {
        buf_format(out, ": %s", err_text(why->error));
    }
    buf_add_byte(out, '\n');
    if (why->purged.effect != PURGED_NOT) {
        const struct purge *purge = &why->purged.purge;
        label(out, "purged");
        buf_format(out, "by %s ", purge_kind_text(purge->kind));
        add_quoted(out, purge->name);
        buf_format(out, ", sequence %llu, %s\n", (unsigned long long)purge->sequence, purge_mode_text(purge->mode));
    }
    label(out, "to change it");
    buf_format(out, "%s\n", why_hint(why->reason));
}

/* ---- request ---- */

/* What rules made of the request's fields. */
static void write_changed_fields(const struct why *why, struct buf *out)
{
    const struct headers *before = &why->asked_headers;
    const struct headers *after = &why->request.headers;

    for (size_t i = 0; i < before->count; i++) {
        if (!headers_has(after, before->items[i].name)) {
            label(out, "field");
            buf_format(out, "%.*s is removed\n", SPAN_ARG(before->items[i].name));
        }
    }
    for (size_t i = 0; i < after->count; i++) {
        struct span name = after->items[i].name;
        if (!span_equal(headers_value(before, name), after->items[i].value) || !headers_has(before, name)) {
            label(out, "field");
            buf_format(out, "%.*s is now ", SPAN_ARG(name));
            add_quoted(out, after->items[i].value);
            buf_add_byte(out, '\n');
        }
    }
}

/* The settings that come from this rule: "ttl, bypass". */
static void write_rule(const struct why *why, const struct why_rule *rule, struct buf *out)
{
    size_t count = 0;

    label(out, "rule");
    add_quoted(out, span_of(rule->rule->name));
    if (rule->waits) {
        buf_add_text(out, " matches if the response is such\n");
        return;
    }
    buf_add_text(out, " matches");
    for (enum setting setting = 0; setting < SETTING_COUNT; setting++) {
        if (rule->rule->given[setting] && why_setting_name(setting) != NULL) {
            bool first = why->policy.rule[setting] == rule->rule->name;
            buf_format(out, "%s %s%s", count == 0 ? ":" : ",", why_setting_name(setting),
                       first ? "" : " (an earlier rule gives it)");
            count++;
        }
    }
    buf_add_byte(out, '\n');
}

static void write_origins(const struct site *site, struct buf *out)
{
    for (size_t i = 0; i < site->origin_count; i++) {
        const struct origin_url *origin = &site->origins[i];
        buf_format(out, " %s", origin->text);
        if (origin->weight > 1) {
            buf_format(out, " (weight %u)", origin->weight);
        }
        buf_add_text(out, origin->backup ? " (backup)" : "");
    }
    if (site->origin_count > 1) {
        buf_format(out, " by %s", balance_name(site->balance));
    }
}

static void write_request(const struct why *why, struct buf *out)
{
    buf_add_text(out, "\nrequest\n");
    if (why->site == NULL) {
        label(out, "site");
        buf_add_text(out, why->error != ERR_OK || why->ends_here ? "not asked for: the request ends here\n" : "none\n");
        return;
    }
    label(out, "site");
    buf_format(out, "%s, origin", why->site->name);
    write_origins(why->site, out);
    buf_format(out, ", profile %s\n", why->config->cache.profile == PROFILE_SAFE ? "safe" : "rfc");
    if (why->policy.mode != MODE_NORMAL) {
        label(out, "mode");
        buf_format(out, "%s\n", site_mode_text(why->policy.mode));
    }
    for (size_t i = 0; i < why->rule_count; i++) {
        if (why->rules[i].matches || why->rules[i].waits) {
            write_rule(why, &why->rules[i], out);
        }
    }
    if (why->rule_count == 0) {
        label(out, "rules");
        buf_add_text(out, "none\n");
    }
    write_changed_fields(why, out);
    label(out, "key");
    buf_format(out, "%.*s\n", SPAN_ARG(why->key.text));
}

/* ---- stored ---- */

/* "accept-encoding gzip (this request: absent)" for each field of the selection. */
static void write_selection(const struct why_variant *variant, struct buf *out)
{
    struct span rest = variant->selection;
    struct span wanted = variant->wanted;
    struct span name, value, other_name, other;
    bool present, other_present;

    while (vary_next(&rest, &name, &value, &present)) {
        label(out, "");
        buf_format(out, "%.*s ", SPAN_ARG(name));
        if (present) {
            add_quoted(out, value);
        } else {
            buf_add_text(out, "absent");
        }
        if (vary_next(&wanted, &other_name, &other, &other_present) && span_equal(name, other_name) &&
            (present != other_present || !span_equal(value, other))) {
            buf_add_text(out, "; in this request ");
            if (other_present) {
                add_quoted(out, other);
            } else {
                buf_add_text(out, "absent");
            }
        }
        buf_add_byte(out, '\n');
    }
}

static void add_time(struct buf *out, int64_t time_ms)
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm broken;
    char text[40];

    if (gmtime_r(&seconds, &broken) != NULL && strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &broken) > 0) {
        buf_add_text(out, text);
    }
}

/* "holds bytes 0-99, 200-299 of 1000" */
static void write_held(const struct why_variant *variant, struct buf *out)
{
    const struct record *record = &variant->record;
    struct byte_range held;

    label(out, "");
    buf_add_text(out, "holds bytes");
    for (uint64_t at = 0; why_next_held(record, at, &held); at = held.last + 1) {
        buf_format(out, "%s %llu-%llu", at == 0 ? "" : ",", (unsigned long long)held.first,
                   (unsigned long long)held.last);
    }
    buf_format(out, " of %llu\n", (unsigned long long)record->body_len);
}

static void write_variant(const struct why_variant *variant, struct buf *out)
{
    label(out, variant->selected ? "selected" : "not selected");
    buf_format(out, "status %u, %llu bytes, stored ", variant->record.status,
               (unsigned long long)variant->record.body_len);
    add_time(out, variant->record.inputs.response_ms);
    buf_format(out, ", age %lld of %lld s\n", (long long)variant->freshness.age_s,
               (long long)variant->freshness.lifetime_s);
    write_selection(variant, out);
    bool partial = record_is_partial(&variant->record);
    if (partial) {
        write_held(variant, out);
    }
    const struct header *etag = headers_find(&variant->headers, SPAN("ETag"));
    if (partial && etag == NULL) {
        return;
    }
    label(out, "");
    if (!partial) {
        buf_add_text(out, "digest ");
        for (size_t i = 0; i < DIGEST_BYTES; i++) {
            buf_format(out, "%02x", variant->record.digest[i]);
        }
    }
    if (etag != NULL) {
        buf_format(out, "%sETag %.*s", partial ? "" : ", ", SPAN_ARG(etag->value));
    }
    buf_add_byte(out, '\n');
}

static void write_stored(const struct why *why, struct buf *out)
{
    buf_format(out, "\nstored in %s: ", why->config->cache.dir);
    if (why->variant_count == 0) {
        buf_add_text(out, "nothing under this key\n");
        return;
    }
    buf_format(out, "%zu variant%s\n", why->variant_count, why->variant_count == 1 ? "" : "s");
    for (size_t i = 0; i < why->variant_count; i++) {
        write_variant(&why->variants[i], out);
    }
}

/* ---- freshness ---- */

static void write_window(const struct why_variant *variant, enum setting setting, const char *name, struct buf *out)
{
    struct stale_window window = policy_stale_window(&variant->policy, &variant->record.inputs.directives, setting);

    label(out, name);
    if (window.length_s < 0) {
        buf_add_text(out, "not given\n");
        return;
    }
    add_seconds(out, window.length_s);
    if (window.rule != NULL) {
        buf_add_text(out, " behind the lifetime, rule ");
        add_quoted(out, span_of(window.rule));
    } else {
        buf_add_text(out, " behind the lifetime, from the response");
    }
    buf_format(out, " (RFC 5861 %d)\n", setting == SETTING_STALE_WHILE_REVALIDATE ? 3 : 4);
}

static void write_freshness(const struct why *why, struct buf *out)
{
    const struct why_variant *variant = &why->selected;
    struct why_lifetime lifetime = why_lifetime_of(why, variant);
    const char *forbidden = policy_stale_forbidden(&variant->record.inputs.directives);
    int64_t left_s = variant->freshness.lifetime_s - variant->freshness.age_s;

    buf_add_text(out, "\nfreshness of the selected one\n");
    label(out, "age");
    add_seconds(out, variant->freshness.age_s);
    buf_add_byte(out, '\n');
    label(out, "lifetime");
    add_seconds(out, variant->freshness.lifetime_s);
    if (lifetime.rule != NULL) {
        buf_add_text(out, ", by rule ");
        add_quoted(out, span_of(lifetime.rule));
    } else if (lifetime.field.len > 0) {
        buf_format(out, ", %s from %.*s", lifetime.source, SPAN_ARG(lifetime.field));
    } else {
        buf_add_text(out, ": nothing says how long");
    }
    buf_format(out, " (%s)\n", lifetime.section);
    label(out, left_s > 0 ? "fresh for" : "stale for");
    add_seconds(out, left_s > 0 ? left_s : -left_s);
    buf_add_byte(out, '\n');
    if (forbidden != NULL) {
        label(out, "stale use");
        buf_format(out, "never: %s (RFC 9111 4.2.4)\n", forbidden);
        return;
    }
    write_window(variant, SETTING_STALE_WHILE_REVALIDATE, "revalidating", out);
    write_window(variant, SETTING_STALE_IF_ERROR, "if error", out);
    label(out, "at most");
    add_seconds(out, variant->policy.max_stale_s);
    buf_add_text(out, " behind the lifetime (max_stale)\n");
}

/* ---- answer ---- */

static void write_failures(const struct why *why, struct buf *out)
{
    static const char *const names[WHY_FAILURES] = {[FAILURE_STATUS] = "if 5xx",
                                                    [FAILURE_DISCONNECTED] = "if it is away",
                                                    [FAILURE_TIMEOUT] = "if too slow",
                                                    [FAILURE_SLOW] = "if slow"};

    for (int i = 0; i < WHY_FAILURES; i++) {
        const struct why_failure *failure = &why->failures[i];
        if (i == FAILURE_SLOW && !failure->stale) {
            continue; /* it is waited for, as ever */
        }
        label(out, names[i]);
        if (i == FAILURE_SLOW) {
            buf_format(out, "after %lld ms: ", (long long)why->policy.stale_if_slow_ms);
        }
        if (failure->stale) {
            buf_add_text(out, "the stored response, ");
        }
        if (failure->reason == REASON_NONE) {
            buf_add_text(out, "its answer is passed on");
            buf_add_text(out, why->bridges ? ", what is stored stays" : "");
        } else {
            add_reason(out, failure->reason, failure->rule);
        }
        if (failure->against != REASON_NONE) {
            buf_format(out, "; not the stored one, %s", reason_token(failure->against));
        }
        buf_add_byte(out, '\n');
    }
}

static void write_answer(const struct why *why, struct buf *out)
{
    buf_add_text(out, "\nanswer\n");
    if (why->validates) {
        label(out, "to the origin");
        for (size_t i = 0; i < why->conditions.count; i++) {
            buf_format(out, "%s%.*s: %.*s", i > 0 ? ", " : "", SPAN_ARG(why->conditions.items[i].name),
                       SPAN_ARG(why->conditions.items[i].value));
        }
        buf_add_text(out, why->conditions.count > 0 ? "\n" : "no condition: what is stored has no validator\n");
    }
    for (size_t i = 0; i < why->hints.count; i++) {
        label(out, i == 0 ? "at once" : "");
        buf_format(out, "%sLink: %.*s\n", i == 0 ? "103 with " : "", SPAN_ARG(why->hints.items[i].value));
    }
    label(out, "status");
    if (why->status != 0) {
        buf_format(out, "%u %s\n", why->status, status_phrase(why->status));
    } else {
        buf_format(out, "the origin's%s\n", why->validates ? "; on its 304 that of the stored response" : "");
    }
    label(out, "Cache-Status");
    buf_format(out, "%.*s", SPAN_ARG(why->cache_status));
    if (!why->reason_is_final) {
        buf_add_text(out, "; … the rest comes with the origin's answer");
    } else if (why->action == WHY_PASS) {
        buf_add_text(out, ", and the origin's status");
    }
    buf_add_byte(out, '\n');
    if (why->invalidates.len > 0 && !why->has_supposed) {
        label(out, "invalidates");
        buf_format(out,
                   "%.*s, and what Location, Content-Location and Cache-Group-Invalidation name, with a 2xx or 3xx "
                   "(RFC 9111 4.4)\n",
                   SPAN_ARG(why->invalidates));
    }
    if (why->etag.len > 0 && !why->not_modified && why->status == 200) {
        label(out, "304 for");
        buf_format(out, "If-None-Match: %.*s\n", SPAN_ARG(why->etag));
    }
    if (why->has_failures) {
        write_failures(why, out);
    }
}

/* ---- what the origin is supposed to answer ---- */

static void write_invalidated(const struct why *why, struct buf *out)
{
    const struct why_supposed *supposed = &why->supposed;
    struct cache_groups groups = supposed->invalidated_groups;
    struct span group;

    for (size_t i = 0; i < supposed->invalidated_count; i++) {
        label(out, i == 0 ? "invalidates" : "");
        buf_format(out, "%.*s%s\n", SPAN_ARG(supposed->invalidated[i]), i == 0 ? " (RFC 9111 4.4)" : "");
    }
    while (cache_groups_next(&groups, &group)) {
        label(out, "");
        buf_add_text(out, "the group ");
        add_quoted(out, group);
        buf_format(out, " of %.*s (RFC 9875 3)\n", SPAN_ARG(why->request.uri.authority));
    }
    if (why->invalidates.len > 0 && supposed->invalidated_count == 0) {
        label(out, "invalidates");
        buf_add_text(out, "nothing: it is an error (RFC 9111 4.4)\n");
    }
}

static void write_supposed(const struct why *why, struct buf *out)
{
    const struct why_supposed *supposed = &why->supposed;
    const struct store_verdict *verdict = &supposed->assessment.verdict;

    buf_format(out, "\nif the origin answered %u %s\n", supposed->response.status,
               status_phrase(supposed->response.status));
    label(out, "stored");
    if (supposed->confirms) {
        buf_add_text(out, "as it is, with the new fields, ");
        add_reason(out, supposed->store_reason, NULL);
    } else {
        buf_add_text(out, supposed->stored ? "yes, " : "no, ");
        add_reason(out, supposed->store_reason, verdict->rule);
    }
    buf_add_byte(out, '\n');
    if (supposed->stored) {
        label(out, "fresh for");
        add_seconds(out, supposed->freshness.lifetime_s - supposed->freshness.age_s);
        buf_add_byte(out, '\n');
    } else if (!supposed->confirms) {
        label(out, "to change it");
        buf_format(out, "%s\n", why_hint(supposed->store_reason));
    }
    if (supposed->assessment.records) {
        label(out, "recorded");
        add_reason(out, REASON_RECORDED, NULL);
        buf_add_byte(out, '\n');
    }
    if (supposed->serves_stale) {
        label(out, "the client");
        buf_add_text(out, "gets the stored response, ");
        add_reason(out, supposed->reason, supposed->rule);
        buf_add_byte(out, '\n');
    } else if (supposed->client_status != supposed->response.status) {
        label(out, "the client");
        buf_format(out, "gets %u %s\n", supposed->client_status, status_phrase(supposed->client_status));
    }
    write_invalidated(why, out);
}
