/* why_text_stored.c: `larder why` for people: what is stored, and how fresh the selected variant is. */
#include "proxy/why/why_text.h"

#include "cache/vary.h"
#include "http/date.h"

/* ---- stored ---- */

/* The value of the field in a selection, which may be by other fields than the one it is compared with: by those that
 * trust_forwarded_fields named then, or names now. */
static bool find_in_selection(struct span selection, struct span wanted, struct span *out_value, bool *out_present)
{
    struct span name;

    while (vary_next(&selection, &name, out_value, out_present)) {
        if (span_equal(name, wanted)) {
            return true;
        }
    }
    return false;
}

/* "accept-encoding gzip (this request: absent)" for each field of the selection. */
static void write_selection(const struct why_variant *variant, struct buf *out)
{
    struct span rest = variant->selection;
    struct span name, value, other;
    bool present, other_present;

    while (vary_next(&rest, &name, &value, &present)) {
        why_label(out, "");
        buf_format(out, "%.*s ", SPAN_ARG(name));
        if (present) {
            why_add_quoted(out, value);
        } else {
            buf_add_text(out, "absent");
        }
        if (find_in_selection(variant->wanted, name, &other, &other_present) &&
            (present != other_present || !span_equal(value, other))) {
            buf_add_text(out, "; in this request ");
            if (other_present) {
                why_add_quoted(out, other);
            } else {
                buf_add_text(out, "absent");
            }
        }
        buf_add_byte(out, '\n');
    }
}

static void add_time(struct buf *out, int64_t time_ms)
{
    char text[DATE_RFC3339_LEN];

    date_format_rfc3339(time_ms / 1000, text);
    buf_format(out, "%.10s %.8s UTC", text, text + 11);
}

/* "holds bytes 0-99, 200-299 of 1000" */
static void write_held(const struct why_variant *variant, struct buf *out)
{
    const struct record *record = &variant->record;
    struct byte_range held;

    why_label(out, "");
    buf_add_text(out, "holds bytes");
    for (uint64_t at = 0; why_next_held(record, at, &held); at = held.last + 1) {
        buf_format(out, "%s %llu-%llu", at == 0 ? "" : ",", (unsigned long long)held.first,
                   (unsigned long long)held.last);
    }
    buf_format(out, " of %llu\n", (unsigned long long)record->body_len);
}

static void write_variant(const struct why_variant *variant, struct buf *out)
{
    why_label(out, variant->selected ? "selected" : "not selected");
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
    why_label(out, "");
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

void why_text_stored(const struct why *why, struct buf *out)
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
    struct stale_window window = policy_stale_use(&variant->policy, &variant->record.inputs, setting);

    why_label(out, name);
    if (window.length_s < 0) {
        buf_add_text(out, "not given\n");
        return;
    }
    why_add_seconds(out, window.length_s);
    if (window.rule != NULL) {
        buf_add_text(out, " behind the lifetime, rule ");
        why_add_quoted(out, span_of(window.rule));
    } else {
        buf_add_text(out, " behind the lifetime, from the response");
    }
    buf_format(out, " (RFC 5861 %d)\n", setting == SETTING_STALE_WHILE_REVALIDATE ? 3 : 4);
}

void why_text_freshness(const struct why *why, struct buf *out)
{
    const struct why_variant *variant = &why->selected;
    struct why_lifetime lifetime = why_lifetime_of(why, variant);
    const char *forbidden = policy_stale_forbidden(&variant->record.inputs.directives);
    int64_t left_s = variant->freshness.lifetime_s - variant->freshness.age_s;

    buf_add_text(out, "\nfreshness of the selected one\n");
    why_label(out, "age");
    why_add_seconds(out, variant->freshness.age_s);
    buf_add_byte(out, '\n');
    why_label(out, "lifetime");
    why_add_seconds(out, variant->freshness.lifetime_s);
    if (lifetime.rule != NULL) {
        buf_add_text(out, ", by rule ");
        why_add_quoted(out, span_of(lifetime.rule));
    } else if (lifetime.field.len > 0) {
        bool cut = variant->freshness.source == LIFETIME_HEURISTIC &&
                   variant->freshness.lifetime_s == variant->policy.max_heuristic_s;
        buf_format(out, ", %s from %.*s%s", lifetime.source, SPAN_ARG(lifetime.field),
                   cut ? ", at most max_heuristic" : "");
    } else {
        buf_add_text(out, ": nothing says how long");
    }
    buf_format(out, " (%s)\n", lifetime.section);
    why_label(out, left_s > 0 ? "fresh for" : "stale for");
    why_add_seconds(out, left_s > 0 ? left_s : -left_s);
    buf_add_byte(out, '\n');
    if (forbidden != NULL) {
        why_label(out, "stale use");
        buf_format(out, "never: %s (RFC 9111 4.2.4)\n", forbidden);
        return;
    }
    write_window(variant, SETTING_STALE_WHILE_REVALIDATE, "revalidating", out);
    write_window(variant, SETTING_STALE_IF_ERROR, "if error", out);
    why_label(out, "at most");
    why_add_seconds(out, variant->policy.max_stale_s);
    buf_add_text(out, " behind the lifetime (max_stale)\n");
}
