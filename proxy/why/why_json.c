/* why_json.c: `larder why --json`: one object; what does not apply is left out. */
#include "cache/vary.h"
#include "http/date.h"
#include "proxy/config/site_mode.h"
#include "proxy/exchange/decide.h"
#include "proxy/why/why.h"

static void write_request(const struct why *why, struct buf *out);
static void write_origins(const struct site *site, struct buf *out);
static void write_rules(const struct why *why, struct buf *out);
static void write_variants(const struct why *why, struct buf *out);
static void write_last(const struct why *why, struct buf *out);
static void write_verdict(const struct why *why, struct buf *out);
static void write_answer(const struct why *why, struct buf *out);
static void write_supposed(const struct why *why, struct buf *out);

/* ---- the syntax ---- */

static void separate(struct buf *out)
{
    char last = out->len > 0 ? out->data[out->len - 1] : '{';

    if (last != '{' && last != '[') { /* a text ends with its quote, so this is never inside one */
        buf_add_byte(out, ',');
    }
}

static void add_key(struct buf *out, const char *key)
{
    separate(out);
    buf_add_json_string(out, span_of(key));
    buf_add_byte(out, ':');
}

static void add_span(struct buf *out, const char *key, struct span value)
{
    add_key(out, key);
    buf_add_json_string(out, value);
}

static void add_text(struct buf *out, const char *key, const char *value)
{
    if (value != NULL) {
        add_span(out, key, span_of(value));
    }
}

static void add_number(struct buf *out, const char *key, int64_t value)
{
    add_key(out, key);
    buf_add_i64(out, value);
}

static void add_bool(struct buf *out, const char *key, bool value)
{
    add_key(out, key);
    buf_add_text(out, value ? "true" : "false");
}

static void add_time(struct buf *out, const char *key, int64_t time_ms)
{
    char text[DATE_RFC3339_LEN + 1] = "";

    date_format_rfc3339(time_ms / 1000, text);
    add_text(out, key, text);
}

static void open_object(struct buf *out, const char *key)
{
    add_key(out, key);
    buf_add_byte(out, '{');
}

/* ---- the parts ---- */

void why_write_json(const struct why *why, struct buf *out)
{
    buf_add_byte(out, '{');
    write_request(why, out);
    if (why->site != NULL) {
        add_text(out, "site", why->site->name);
        add_text(out, "mode", site_mode_text(why->policy.mode));
        write_origins(why->site, out);
        write_rules(why, out);
    }
    if (why->looked_up) {
        add_span(out, "key", why->key.text);
        add_text(out, "store", why->config->cache.dir);
        write_variants(why, out);
    }
    if (why->last.known) {
        write_last(why, out);
    }
    write_verdict(why, out);
    write_answer(why, out);
    if (why->has_supposed) {
        write_supposed(why, out);
    }
    buf_add_text(out, "}\n");
}

/* Fields as an object; lines of one name are joined, as the standard has it. */
static void write_fields(const struct headers *headers, struct arena *arena, struct buf *out)
{
    for (size_t i = 0; i < headers->count; i++) {
        struct span name = headers->items[i].name;
        struct span value;
        bool present;
        if (headers_find(headers, name) == &headers->items[i] &&
            headers_combine(headers, name, arena, &value, &present)) {
            separate(out);
            buf_add_json_string(out, name);
            buf_add_byte(out, ':');
            buf_add_json_string(out, value);
        }
    }
}

static void write_request(const struct why *why, struct buf *out)
{
    struct span target;

    open_object(out, "request");
    add_span(out, "method", why->request.method_name);
    if (why->error == ERR_OK && uri_path_and_query(&why->asked_uri, why->arena, &target)) {
        add_span(out, "host", why->asked_uri.authority);
        add_span(out, "target", target);
    }
    open_object(out, "fields");
    write_fields(&why->asked_headers, why->arena, out);
    buf_add_byte(out, '}');
    if (why->site != NULL && uri_path_and_query(&why->request.uri, why->arena, &target)) {
        open_object(out, "after_rules");
        add_span(out, "target", target);
        open_object(out, "fields");
        write_fields(&why->request.headers, why->arena, out);
        buf_add_text(out, "}}");
    }
    buf_add_byte(out, '}');
}

static void write_origins(const struct site *site, struct buf *out)
{
    add_key(out, "origins");
    buf_add_byte(out, '[');
    for (size_t i = 0; i < site->origin_count; i++) {
        separate(out);
        buf_add_byte(out, '{');
        add_text(out, "url", site->origins[i].text);
        add_number(out, "weight", site->origins[i].weight);
        add_bool(out, "backup", site->origins[i].backup);
        buf_add_byte(out, '}');
    }
    buf_add_byte(out, ']');
    add_text(out, "balance", balance_name(site->balance));
}

static void write_rules(const struct why *why, struct buf *out)
{
    add_text(out, "profile", why->config->cache.profile == PROFILE_SAFE ? "safe" : "rfc");
    add_key(out, "rules");
    buf_add_byte(out, '[');
    for (size_t i = 0; i < why->rule_count; i++) {
        separate(out);
        buf_add_byte(out, '{');
        add_text(out, "name", why->rules[i].rule->name);
        add_text(out, "matches", why->rules[i].matches ? "yes" : why->rules[i].waits ? "depends-on-response" : "no");
        buf_add_byte(out, '}');
    }
    buf_add_byte(out, ']');
    open_object(out, "settings_by_rule");
    for (enum setting setting = 0; setting < SETTING_COUNT; setting++) {
        if (why->policy.rule[setting] != NULL && why_setting_name(setting) != NULL) {
            add_text(out, why_setting_name(setting), why->policy.rule[setting]);
        }
    }
    buf_add_byte(out, '}');
}

static void add_selection(struct buf *out, const char *key, struct span selection)
{
    add_key(out, key);
    vary_add_json(out, selection);
}

static void write_window(const struct why_variant *variant, enum setting setting, struct buf *out)
{
    struct stale_window window = policy_stale_use(&variant->policy, &variant->record.inputs, setting);

    if (window.length_s >= 0) {
        open_object(out, why_setting_name(setting));
        add_number(out, "seconds", window.length_s);
        add_text(out, "rule", window.rule);
        buf_add_byte(out, '}');
    }
}

static void write_freshness(const struct why *why, const struct why_variant *variant, struct buf *out)
{
    struct why_lifetime lifetime = why_lifetime_of(why, variant);

    open_object(out, "freshness");
    add_number(out, "age", variant->freshness.age_s);
    add_number(out, "lifetime", variant->freshness.lifetime_s);
    add_bool(out, "fresh", variant->freshness.age_s < variant->freshness.lifetime_s);
    add_text(out, "from", lifetime.source);
    if (lifetime.field.len > 0) {
        add_span(out, "field", lifetime.field);
    }
    add_text(out, "rule", lifetime.rule);
    add_text(out, "source", lifetime.section);
    write_window(variant, SETTING_STALE_WHILE_REVALIDATE, out);
    write_window(variant, SETTING_STALE_IF_ERROR, out);
    add_text(out, "stale_forbidden_by", policy_stale_forbidden(&variant->record.inputs.directives));
    add_number(out, "max_heuristic", variant->policy.max_heuristic_s);
    add_number(out, "max_stale", variant->policy.max_stale_s);
    buf_add_byte(out, '}');
}

static void write_digest(const struct record *record, struct buf *out)
{
    add_key(out, "digest");
    buf_add_byte(out, '"');
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        buf_format(out, "%02x", record->digest[i]);
    }
    buf_add_byte(out, '"');
}

/* Of a partial response: first and last byte of each run, "bytes" being the complete length. */
static void write_held(const struct record *record, struct buf *out)
{
    struct byte_range held;

    add_key(out, "held");
    buf_add_byte(out, '[');
    for (uint64_t at = 0; why_next_held(record, at, &held); at = held.last + 1) {
        separate(out);
        buf_format(out, "[%llu,%llu]", (unsigned long long)held.first, (unsigned long long)held.last);
    }
    buf_add_byte(out, ']');
}

static void write_variants(const struct why *why, struct buf *out)
{
    add_key(out, "variants");
    buf_add_byte(out, '[');
    for (size_t i = 0; i < why->variant_count; i++) {
        const struct why_variant *variant = &why->variants[i];
        separate(out);
        buf_add_byte(out, '{');
        add_number(out, "id", (int64_t)variant->record.object_id);
        add_bool(out, "selected", variant->selected);
        add_number(out, "status", variant->record.status);
        add_time(out, "stored", variant->record.inputs.response_ms);
        add_number(out, "bytes", (int64_t)variant->record.body_len);
        if (!record_is_partial(&variant->record)) { /* there it is of the validator, and says nothing of bytes */
            write_digest(&variant->record, out);
        }
        if (record_is_partial(&variant->record)) {
            write_held(&variant->record, out);
        }
        add_selection(out, "selection", variant->selection);
        add_selection(out, "wanted", variant->wanted);
        open_object(out, "fields");
        write_fields(&variant->headers, why->arena, out);
        buf_add_byte(out, '}');
        write_freshness(why, variant, out);
        buf_add_byte(out, '}');
    }
    buf_add_byte(out, ']');
}

static void write_reason(enum reason reason, const char *rule, struct buf *out)
{
    add_text(out, "reason", reason_token(reason));
    add_text(out, "rule", rule);
    add_text(out, "source", reason_source(reason));
    add_text(out, "text", reason_text(reason));
}

static void write_last(const struct why *why, struct buf *out)
{
    const struct why_last *last = &why->last;

    open_object(out, "last");
    add_number(out, "seconds_ago", (why->now_ms - last->time_ms) / 1000);
    add_number(out, "status", last->status);
    open_object(out, "asked");
    write_reason(last->reason, NULL, out);
    buf_add_byte(out, '}');
    add_bool(out, "stored", decide_is_kept(last->store_reason));
    open_object(out, "storing");
    write_reason(last->store_reason, NULL, out);
    add_text(out, "hint", why_hint(last->store_reason));
    buf_add_text(out, "}}");
}

static void write_verdict(const struct why *why, struct buf *out)
{
    open_object(out, "verdict");
    add_text(out, "action", why_action_text(why->action));
    add_text(out, "outcome", outcome_text(why->outcome));
    write_reason(why->reason, why->rule, out);
    if (why->error != ERR_OK) {
        add_text(out, "error", err_text(why->error));
    }
    add_text(out, "hint", why_hint(why->reason));
    if (why->purged.effect != PURGED_NOT) {
        const struct purge *purge = &why->purged.purge;
        open_object(out, "purged");
        add_text(out, "kind", purge_kind_text(purge->kind));
        add_span(out, "name", purge->name);
        add_number(out, "sequence", (int64_t)purge->sequence);
        add_text(out, "mode", purge_mode_text(purge->mode));
        buf_add_byte(out, '}');
    }
    buf_add_byte(out, '}');
}

static void write_failures(const struct why *why, struct buf *out)
{
    static const char *const names[WHY_FAILURES] = {"status", "disconnected", "timeout", "slow"};

    open_object(out, "if_origin_fails");
    for (size_t i = 0; i < WHY_FAILURES; i++) {
        const struct why_failure *failure = &why->failures[i];
        open_object(out, names[i]);
        add_bool(out, "stale", failure->stale);
        if (failure->reason != REASON_NONE) {
            write_reason(failure->reason, failure->rule, out);
        }
        if (failure->against != REASON_NONE) {
            open_object(out, "against_stale");
            write_reason(failure->against, NULL, out);
            buf_add_byte(out, '}');
        }
        buf_add_byte(out, '}');
    }
    buf_add_byte(out, '}');
}

static void write_answer(const struct why *why, struct buf *out)
{
    open_object(out, "answer");
    if (why->status != 0) {
        add_number(out, "status", why->status);
    }
    add_bool(out, "not_modified", why->not_modified);
    add_span(out, "cache_status", why->cache_status);
    add_bool(out, "detail_is_final", why->reason_is_final);
    if (why->has_ttl) {
        add_number(out, "ttl", why->ttl_s);
        add_number(out, "age", why->selected.freshness.age_s);
    }
    if (why->etag.len > 0) {
        add_span(out, "etag", why->etag);
    }
    if (why->invalidates.len > 0) {
        add_span(out, "invalidates", why->invalidates);
    }
    if (why->hints.count > 0) {
        add_key(out, "early_hints");
        buf_add_byte(out, '[');
        for (size_t i = 0; i < why->hints.count; i++) {
            separate(out);
            buf_add_json_string(out, why->hints.items[i].value);
        }
        buf_add_byte(out, ']');
    }
    buf_add_byte(out, '}');
    if (why->validates) {
        open_object(out, "to_origin");
        write_fields(&why->conditions, why->arena, out);
        buf_add_byte(out, '}');
    }
    if (why->has_failures) {
        write_failures(why, out);
    }
}

static void write_invalidated(const struct why_supposed *supposed, struct buf *out)
{
    struct cache_groups groups = supposed->invalidated_groups;
    struct span group;

    add_key(out, "invalidates");
    buf_add_byte(out, '[');
    for (size_t i = 0; i < supposed->invalidated_count; i++) {
        separate(out);
        buf_add_json_string(out, supposed->invalidated[i]);
    }
    buf_add_byte(out, ']');
    add_key(out, "invalidates_groups");
    buf_add_byte(out, '[');
    while (cache_groups_next(&groups, &group)) {
        separate(out);
        buf_add_json_string(out, group);
    }
    buf_add_byte(out, ']');
}

static void write_supposed(const struct why *why, struct buf *out)
{
    const struct why_supposed *supposed = &why->supposed;

    open_object(out, "supposed");
    add_number(out, "status", supposed->response.status);
    add_bool(out, "stored", supposed->stored);
    add_bool(out, "recorded", supposed->assessment.records);
    add_bool(out, "confirms", supposed->confirms);
    add_bool(out, "serves_stale", supposed->serves_stale);
    add_number(out, "client_status", supposed->client_status);
    if (supposed->stored) {
        add_number(out, "lifetime", supposed->freshness.lifetime_s);
        add_number(out, "age", supposed->freshness.age_s);
    }
    if (why->invalidates.len > 0) {
        write_invalidated(supposed, out);
    }
    open_object(out, "storing");
    write_reason(supposed->store_reason, supposed->assessment.verdict.rule, out);
    add_text(out, "hint", why_hint(supposed->store_reason));
    buf_add_byte(out, '}');
    open_object(out, "detail");
    write_reason(supposed->reason, supposed->rule, out);
    buf_add_text(out, "}}");
}

/* ---- a reason alone ---- */

bool why_write_reason(struct span token, bool json, struct buf *out)
{
    for (int i = 0; i < REASON_COUNT; i++) {
        enum reason reason = (enum reason)i;
        if (!span_equal(token, span_of(reason_token(reason)))) {
            continue;
        }
        if (json) {
            buf_add_byte(out, '{');
            write_reason(reason, NULL, out);
            add_text(out, "hint", why_hint(reason));
            buf_add_text(out, "}\n");
        } else {
            buf_format(out, "%s: %s (%s)\n  to change it  %s\n", reason_token(reason), reason_text(reason),
                       reason_source(reason)[0] != '\0' ? reason_source(reason) : "larder", why_hint(reason));
        }
        return true;
    }
    return false;
}
