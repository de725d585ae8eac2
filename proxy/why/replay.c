/* replay.c: see replay.h. */
#include "proxy/why/replay.h"

#include <inttypes.h>
#include <stdlib.h>

#include "cache/vary.h"
#include "http/date.h"
#include "proxy/why/why_internal.h"

enum {
    FACT_ARENA_BYTES = 32 * 1024 * 1024,
    FIELD_BYTES = 2048,
    HEAD_BYTES = 300, /* of a response without a body, about */
    BUCKETS = 1 << 16,
};
#define STORE_ARENA_BYTES ((size_t)1 << 30) /* all that is supposed to be stored */

/* A supposed variant. */
struct variant {
    struct variant *next;
    struct stored stored;
};

struct entry {
    struct entry *next;
    struct span key;
    unsigned uses;
    struct variant *variants;
};

struct replay {
    const struct config *config;
    struct entry **buckets;
    struct arena memory; /* of the entries; `fact_arena` is emptied with each fact */
    struct arena fact_arena;
};

/* ---- the supposed store ---- */

static struct entry *entry_of(struct replay *replay, const struct key *key)
{
    struct entry **at = &replay->buckets[key->hash.low % BUCKETS];

    while (*at != NULL && !span_equal((*at)->key, key->text)) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        struct entry *entry = arena_alloc(&replay->memory, sizeof(*entry));
        if (entry == NULL || !arena_copy(&replay->memory, key->text, &entry->key)) {
            return NULL;
        }
        *at = entry;
    }
    return *at;
}

static const struct variant *select_variant(struct replay *replay, const struct entry *entry,
                                            const struct headers *request)
{
    const struct variant *variant = entry->variants;

    while (variant != NULL && !vary_matches(variant->stored.selection, request, &replay->fact_arena)) {
        variant = variant->next;
    }
    return variant;
}

/* In place of what has the same selection, else in front. */
static bool keep(struct replay *replay, struct entry *entry, const struct stored *stored)
{
    struct variant *variant = entry->variants;

    while (variant != NULL && !span_equal(variant->stored.selection, stored->selection)) {
        variant = variant->next;
    }
    if (variant == NULL) {
        variant = arena_alloc(&replay->memory, sizeof(*variant));
        if (variant == NULL) {
            return false;
        }
        variant->next = entry->variants;
        entry->variants = variant;
    }
    variant->stored = *stored;
    variant->stored.record.inputs.directives.no_cache_fields = SPAN(""); /* borrowed; read from the head again */
    variant->stored.record.inputs.directives.private_fields = SPAN("");
    return arena_copy(&replay->memory, stored->head, &variant->stored.head) &&
           arena_copy(&replay->memory, stored->selection, &variant->stored.selection);
}

/* ---- asking ---- */

/* The request at `now_ms`, and what it gets of the supposed store; `*out_entry` NULL: it is not looked up. */
static bool ask(struct replay *replay, const struct replay_fact *fact, int64_t now_ms, struct why *why,
                struct entry **out_entry)
{
    const struct why_options options = {
        .url = fact->url, .method = fact->method, .fields = fact->fields, .field_count = fact->field_count};
    struct buf error;

    *why = (struct why){.config = replay->config, .arena = &replay->fact_arena, .now_ms = now_ms};
    *out_entry = NULL;
    buf_init(&error, FIELD_BYTES);
    bool read = why_read_request(why, &options, &error) && why_route(why);
    buf_finish(&error);
    if (!read) {
        return false;
    }
    if (why->site != NULL) {
        if (!key_of_uri(&why->request.uri, 0, why->arena, &why->key)) {
            return false;
        }
        *out_entry = entry_of(replay, &why->key);
        if (*out_entry == NULL) {
            return false;
        }
    }
    if (*out_entry != NULL && why->past_cache == REASON_NONE) {
        const struct variant *variant = select_variant(replay, *out_entry, &why->request.headers);
        why->has_selected = variant != NULL && why_make_variant(why, &variant->stored, &why->selected);
        why->found = why->has_selected                ? STORE_FOUND
                     : (*out_entry)->variants != NULL ? STORE_OTHER_VARIANTS
                                                      : STORE_ABSENT;
        for (variant = (*out_entry)->variants; variant != NULL; variant = variant->next) {
            why->holds_good = why->holds_good || variant->stored.record.status < 500;
        }
    }
    return why_judge(why);
}

/* Expires moves with the time at which the response is supposed to come; Date is added anew. */
static const char *moved_field(struct replay *replay, const char *field, int64_t by_ms)
{
    struct span value = span_of(field);
    struct span name;
    struct span moved;
    char text[DATE_TEXT_LEN];
    int64_t time_s;

    (void)span_split(&value, ':', &name);
    if (!span_equal_nocase(name, SPAN("Expires")) || !date_parse(span_trim(value), 0, &time_s)) {
        return field;
    }
    date_format(time_s + by_ms / 1000, text);
    return arena_format(&replay->fact_arena, &moved, "Expires: %.*s", DATE_TEXT_LEN, text) ? moved.data : NULL;
}

/* The response of the fact, supposed to come at `why->now_ms`. */
static bool suppose(struct replay *replay, const struct replay_fact *fact, struct why *why)
{
    const struct replay_response *response = &fact->response;
    const char **fields = arena_alloc(&replay->fact_arena, (response->field_count + 1) * sizeof(*fields));
    struct why_options options = {.response_status = response->status,
                                  .response_fields = fields,
                                  .response_field_count = response->field_count,
                                  .has_response_length = true,
                                  .response_length = response->length};
    struct buf error;

    if (fields == NULL) {
        return false;
    }
    for (size_t i = 0; i < response->field_count; i++) {
        fields[i] = moved_field(replay, response->fields[i], why->now_ms - response->time_ms);
        if (fields[i] == NULL) {
            return false;
        }
    }
    buf_init(&error, FIELD_BYTES);
    bool good = why_suppose(why, &options, &error);
    buf_finish(&error);
    return good;
}

/* Did it stay out of the store for what happened, whatever the configuration? */
static bool is_circumstance(enum reason reason)
{
    return reason == REASON_TRUNCATED || reason == REASON_RACED || reason == REASON_DISK_BEHIND ||
           reason == REASON_ECHO || reason == REASON_ODD_REQUEST || reason == REASON_FIRST_REQUEST ||
           reason == REASON_UNKNOWN_CODING || reason == REASON_RANGE_MISMATCH || reason == REASON_NO_MEMORY;
}

/* What the supposed response leaves in the store. */
static bool take_supposed(struct replay *replay, const struct replay_fact *fact, struct why *why, struct entry *entry)
{
    struct why_supposed *supposed = &why->supposed;
    struct stored stored;

    if (!why->has_supposed || !supposed->stored || entry == NULL) {
        return true;
    }
    entry->uses++;
    if (is_circumstance(fact->store_reason)) {
        supposed->reason = fact->store_reason;
        return true;
    }
    if (entry->uses < supposed->assessment.policy.min_uses) {
        supposed->reason = REASON_MIN_USES;
        supposed->rule = supposed->assessment.policy.rule[SETTING_MIN_USES];
        return true;
    }
    return why_stored_of_supposed(why, &stored) && keep(replay, entry, &stored);
}

/* What was stored before the first fact about it. */
static bool seed(struct replay *replay, const struct replay_fact *fact)
{
    struct entry *entry;
    struct why why;

    if (!ask(replay, fact, fact->response.time_ms, &why, &entry)) {
        return false;
    }
    if (entry == NULL || why.action != WHY_FETCH) {
        return true;
    }
    return suppose(replay, fact, &why) && take_supposed(replay, fact, &why, entry);
}

/* Would the origin confirm what is selected: is it what it answered? */
static bool is_same(const struct why *why, const struct replay_response *response)
{
    static const struct span names[] = {SPAN_INIT("ETag"), SPAN_INIT("Last-Modified")};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct span stored = headers_value(&why->selected.headers, names[i]);
        for (size_t k = 0; k < response->field_count && stored.len > 0; k++) {
            struct span value = span_of(response->fields[k]);
            struct span name;
            (void)span_split(&value, ':', &name);
            if (span_equal_nocase(name, names[i])) {
                return span_equal(span_trim(value), stored);
            }
        }
    }
    return false;
}

static bool is_stale_hit(const struct why *why)
{
    return why->action == WHY_HIT_REVALIDATE;
}

/* The origin is asked: what its answer makes of it. */
static bool conclude_fetch(struct replay *replay, const struct replay_fact *fact, struct why *why, struct entry *entry,
                           struct replay_verdict *verdict)
{
    const struct replay_response *response = &fact->response;
    bool confirmed = why->validates && response->known && is_same(why, response);

    if (fact->collapsed && why->action == WHY_FETCH) { /* another's fetch answers it */
        verdict->reason = REASON_FOLLOWED;
        return true;
    }
    verdict->origin_requests = 1;
    verdict->origin_bytes = HEAD_BYTES + (confirmed || !response->known ? 0 : response->length);
    if (!response->known) {
        verdict->origin_bytes = fact->received_bytes;
        return true;
    }
    if (!suppose(replay, fact, why) || !take_supposed(replay, fact, why, entry)) {
        return false;
    }
    if (confirmed && !is_stale_hit(why)) {
        verdict->reason = REASON_REVALIDATED;
        verdict->rule = NULL;
    } else if (why->has_supposed && !is_stale_hit(why)) {
        verdict->reason = why->supposed.reason;
        verdict->rule = why->supposed.rule;
    }
    return true;
}

static bool judge(struct replay *replay, const struct replay_fact *fact, struct replay_verdict *verdict)
{
    struct entry *entry;
    struct why why;

    if (!ask(replay, fact, fact->time_ms, &why, &entry)) {
        return false;
    }
    if (!why.has_selected && why.action == WHY_FETCH && fact->response.stored) {
        arena_reset(&replay->fact_arena);
        if (!seed(replay, fact) || !ask(replay, fact, fact->time_ms, &why, &entry)) {
            return false;
        }
    }
    *verdict = (struct replay_verdict){.readable = true,
                                       .action = why.action,
                                       .reason = why.reason,
                                       .rule = why.rule,
                                       .site = why.site != NULL ? why.site->name : "",
                                       .hit = why.action == WHY_HIT || is_stale_hit(&why)};
    if (why.action == WHY_HIT || why.action == WHY_REPLY) {
        return true;
    }
    return conclude_fetch(replay, fact, &why, entry, verdict);
}

bool replay_run(const struct config *config, const struct replay_fact *facts, size_t count,
                struct replay_verdict *out_verdicts)
{
    struct replay replay = {.config = config, .buckets = calloc(BUCKETS, sizeof(struct entry *))};

    if (replay.buckets == NULL) {
        return false;
    }
    arena_init(&replay.memory, STORE_ARENA_BYTES);
    for (size_t i = 0; i < count; i++) {
        arena_init(&replay.fact_arena, FACT_ARENA_BYTES);
        out_verdicts[i] = (struct replay_verdict){.readable = false};
        if (!judge(&replay, &facts[i], &out_verdicts[i])) {
            out_verdicts[i] = (struct replay_verdict){.readable = false, .site = ""};
        }
        arena_finish(&replay.fact_arena);
    }
    arena_finish(&replay.memory);
    free(replay.buckets);
    return true;
}
