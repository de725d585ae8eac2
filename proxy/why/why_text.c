/* why_text.c: `larder why` for people: the verdict, then the ladder that leads to it. */
#include "proxy/why/why_text.h"

#include "proxy/config/site_mode.h"
#include "proxy/exchange/decide.h"
#include "proxy/io/log.h"

static void write_verdict(const struct why *why, bool bold, struct buf *out);
static void write_request(const struct why *why, struct buf *out);
static void write_answer(const struct why *why, struct buf *out);
static void write_supposed(const struct why *why, struct buf *out);

void why_label(struct buf *out, const char *text)
{
    buf_format(out, "  %-13s ", text);
}

void why_add_seconds(struct buf *out, int64_t seconds)
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

void why_add_quoted(struct buf *out, struct span text)
{
    buf_add_text(out, log_quoted(text).text);
}

/* "token: sentence, rule "name" (source)" */
static void add_reason(struct buf *out, enum reason reason, const char *rule)
{
    buf_format(out, "%s: %s", reason_token(reason), reason_text(reason));
    if (rule != NULL) {
        buf_add_text(out, ", rule ");
        why_add_quoted(out, span_of(rule));
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
    why_label(out, "asked");
    why_add_seconds(out, (why->now_ms - last->time_ms) / 1000);
    buf_format(out, " ago, %s; answered %u %s\n", reason_token(last->reason), last->status,
               status_phrase(last->status));
    why_label(out, "stored");
    buf_add_text(out, decide_is_kept(last->store_reason) ? "yes, " : "no, ");
    add_reason(out, last->store_reason, NULL);
    buf_add_byte(out, '\n');
    if (!decide_is_kept(last->store_reason)) {
        why_label(out, "to change it");
        buf_format(out, "%s\n", why_hint(last->store_reason));
    }
}

void why_write_text(const struct why *why, bool bold, struct buf *out)
{
    write_verdict(why, bold, out);
    write_request(why, out);
    if (why->looked_up) {
        why_text_stored(why, out);
    }
    if (why->last.known) {
        write_last(why, out);
    }
    if (why->has_selected) {
        why_text_freshness(why, out);
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
    why_label(out, "because");
    add_reason(out, why->reason, why->rule);
    if (why->error != ERR_OK) {
        buf_format(out, ": %s", err_text(why->error));
    }
    buf_add_byte(out, '\n');
    if (why->purged.effect != PURGED_NOT) {
        const struct purge *purge = &why->purged.purge;
        why_label(out, "purged");
        buf_format(out, "by %s ", purge_kind_text(purge->kind));
        why_add_quoted(out, purge->name);
        buf_format(out, ", sequence %llu, %s\n", (unsigned long long)purge->sequence, purge_mode_text(purge->mode));
    }
    why_label(out, "to change it");
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
            why_label(out, "field");
            buf_format(out, "%.*s is removed\n", SPAN_ARG(before->items[i].name));
        }
    }
    for (size_t i = 0; i < after->count; i++) {
        struct span name = after->items[i].name;
        if (!span_equal(headers_value(before, name), after->items[i].value) || !headers_has(before, name)) {
            why_label(out, "field");
            buf_format(out, "%.*s is now ", SPAN_ARG(name));
            why_add_quoted(out, after->items[i].value);
            buf_add_byte(out, '\n');
        }
    }
}

/* The settings that come from this rule: "ttl, bypass". */
static void write_rule(const struct why *why, const struct why_rule *rule, struct buf *out)
{
    size_t count = 0;

    why_label(out, "rule");
    why_add_quoted(out, span_of(rule->rule->name));
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
        why_label(out, "site");
        buf_add_text(out, why->error != ERR_OK || why->ends_here ? "not asked for: the request ends here\n" : "none\n");
        return;
    }
    why_label(out, "site");
    buf_format(out, "%s, origin", why->site->name);
    write_origins(why->site, out);
    buf_format(out, ", profile %s\n", why->config->cache.profile == PROFILE_SAFE ? "safe" : "rfc");
    if (why->policy.mode != MODE_NORMAL) {
        why_label(out, "mode");
        buf_format(out, "%s\n", site_mode_text(why->policy.mode));
    }
    for (size_t i = 0; i < why->rule_count; i++) {
        if (why->rules[i].matches || why->rules[i].waits) {
            write_rule(why, &why->rules[i], out);
        }
    }
    if (why->rule_count == 0) {
        why_label(out, "rules");
        buf_add_text(out, "none\n");
    }
    write_changed_fields(why, out);
    why_label(out, "key");
    buf_format(out, "%.*s\n", SPAN_ARG(why->key.text));
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
        why_label(out, names[i]);
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
        why_label(out, "to the origin");
        for (size_t i = 0; i < why->conditions.count; i++) {
            buf_format(out, "%s%.*s: %.*s", i > 0 ? ", " : "", SPAN_ARG(why->conditions.items[i].name),
                       SPAN_ARG(why->conditions.items[i].value));
        }
        buf_add_text(out, why->conditions.count > 0 ? "\n" : "no condition: what is stored has no validator\n");
    }
    for (size_t i = 0; i < why->hints.count; i++) {
        why_label(out, i == 0 ? "at once" : "");
        buf_format(out, "%sLink: %.*s\n", i == 0 ? "103 with " : "", SPAN_ARG(why->hints.items[i].value));
    }
    why_label(out, "status");
    if (why->status != 0) {
        buf_format(out, "%u %s\n", why->status, status_phrase(why->status));
    } else {
        buf_format(out, "the origin's%s\n", why->validates ? "; on its 304 that of the stored response" : "");
    }
    why_label(out, "Cache-Status");
    buf_format(out, "%.*s", SPAN_ARG(why->cache_status));
    if (!why->reason_is_final) {
        buf_add_text(out, "; … the rest comes with the origin's answer");
    } else if (why->action == WHY_PASS) {
        buf_add_text(out, ", and the origin's status");
    }
    buf_add_byte(out, '\n');
    if (why->invalidates.len > 0 && !why->has_supposed) {
        why_label(out, "invalidates");
        buf_format(out,
                   "%.*s, and what Location, Content-Location and Cache-Group-Invalidation name, with a 2xx or 3xx "
                   "(RFC 9111 4.4)\n",
                   SPAN_ARG(why->invalidates));
    }
    if (why->etag.len > 0 && !why->not_modified && why->status == 200) {
        why_label(out, "304 for");
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
        why_label(out, i == 0 ? "invalidates" : "");
        buf_format(out, "%.*s%s\n", SPAN_ARG(supposed->invalidated[i]), i == 0 ? " (RFC 9111 4.4)" : "");
    }
    while (cache_groups_next(&groups, &group)) {
        why_label(out, "");
        buf_add_text(out, "the group ");
        why_add_quoted(out, group);
        buf_format(out, " of %.*s (RFC 9875 3)\n", SPAN_ARG(why->request.uri.authority));
    }
    if (why->invalidates.len > 0 && supposed->invalidated_count == 0) {
        why_label(out, "invalidates");
        buf_add_text(out, "nothing: it is an error (RFC 9111 4.4)\n");
    }
}

static void write_supposed(const struct why *why, struct buf *out)
{
    const struct why_supposed *supposed = &why->supposed;
    const struct store_verdict *verdict = &supposed->assessment.verdict;

    buf_format(out, "\nif the origin answered %u %s\n", supposed->response.status,
               status_phrase(supposed->response.status));
    why_label(out, "stored");
    bool freshens = supposed->confirms && decide_is_kept(supposed->store_reason);
    if (supposed->confirms) {
        buf_add_text(out, freshens ? "as it is, with the new fields, " : "no longer, ");
        add_reason(out, supposed->store_reason, NULL);
    } else {
        buf_add_text(out, supposed->stored ? "yes, " : "no, ");
        add_reason(out, supposed->store_reason, verdict->rule);
    }
    buf_add_byte(out, '\n');
    if (supposed->stored) {
        why_label(out, "fresh for");
        why_add_seconds(out, supposed->freshness.lifetime_s - supposed->freshness.age_s);
        buf_add_byte(out, '\n');
    } else if (!freshens) {
        why_label(out, "to change it");
        buf_format(out, "%s\n", why_hint(supposed->store_reason));
    }
    if (supposed->assessment.records) {
        why_label(out, "recorded");
        add_reason(out, REASON_RECORDED, NULL);
        buf_add_byte(out, '\n');
    }
    if (supposed->serves_stale) {
        why_label(out, "the client");
        buf_add_text(out, "gets the stored response, ");
        add_reason(out, supposed->reason, supposed->rule);
        buf_add_byte(out, '\n');
    } else if (supposed->client_status != supposed->response.status) {
        why_label(out, "the client");
        buf_format(out, "gets %u %s\n", supposed->client_status, status_phrase(supposed->client_status));
    }
    write_invalidated(why, out);
}
