/* model_cache.c: larder's decision functions, used as a small cache in memory would use them, each verdict compared
 * with the model's ruling.
 *
 * Each stored response carries the model's view of it (`seen`): what the model forbids must not happen to it, what it
 * expects must. What is stored goes through record_encode and record_decode, head_write and head_read. */
#include "tests/unit/model_cache.h"

#include <string.h>

#include "cache/head.h"
#include "cache/policy.h"
#include "cache/vary.h"
#include "http/validators.h"
#include "tests/unit/cache_support.h"
#include "tests/unit/model_write.h"

enum { ENTRY_COUNT = 8, HEAD_BYTES = 2048 };

struct bytes {
    char data[HEAD_BYTES];
    size_t len;
};

/* A stored response. */
struct entry {
    bool used;
    uint8_t target;
    uint64_t number; /* order of storing */
    struct bytes record, head, selection;
    struct m_stored seen; /* as the model sees it */
};

/* One run of a scenario. */
struct cache_in_memory {
    struct entry entries[ENTRY_COUNT];
    const struct m_rules *rules;
    struct policy policy;
    int64_t now_ms; /* since T0 */
    uint64_t stored_count;
    const char *failure; /* the first thing that was wrong, or NULL */
    struct arena *arena; /* of one step */
    struct buf buf;      /* empty between uses */
    struct tally *tally;
};

static void exchange(struct cache_in_memory *cache, const struct step *step);
static void fetch(struct cache_in_memory *cache, const struct step *step, struct entry *entry);

/* ---- verdicts against rulings ---- */

static void fail_if(struct cache_in_memory *cache, bool wrong, const char *what)
{
    if (wrong && cache->failure == NULL) {
        cache->failure = what;
    }
}

static void expect(struct cache_in_memory *cache, enum ruling ruling, bool did, const char *forbidden, const char *lost)
{
    fail_if(cache, ruling == FORBIDDEN && did, forbidden);
    fail_if(cache, ruling == EXPECTED && !did, lost);
}

/* ---- bytes ---- */

static struct span span_of_bytes(const struct bytes *bytes)
{
    return (struct span){bytes->data, bytes->len};
}

/* What is in `buf` now; it is empty afterwards. */
static void take_buf(struct cache_in_memory *cache, struct bytes *out)
{
    fail_if(cache, cache->buf.failed || cache->buf.len > sizeof(out->data), "what is to be stored fits");
    out->len = cache->buf.failed ? 0 : cache->buf.len;
    if (out->len > 0) {
        memcpy(out->data, cache->buf.data, out->len);
    }
    buf_clear(&cache->buf);
}

/* Encodes, decodes and encodes again. */
static void keep_record(struct cache_in_memory *cache, const struct record *record, struct bytes *out)
{
    struct record decoded;
    struct bytes again;

    record_encode(record, &cache->buf);
    take_buf(cache, out);
    if (record_decode(span_of_bytes(out), &decoded) != ERR_OK) {
        fail_if(cache, true, "a record that was encoded decodes");
        return;
    }
    record_encode(&decoded, &cache->buf);
    take_buf(cache, &again);
    fail_if(cache, !span_equal(span_of_bytes(out), span_of_bytes(&again)), "a record survives the round trip");
}

static struct record record_of(struct cache_in_memory *cache, const struct entry *entry)
{
    struct record record = {0};

    fail_if(cache, record_decode(span_of_bytes(&entry->record), &record) != ERR_OK, "a stored record decodes");
    return record;
}

static struct record record_from(struct cache_in_memory *cache, const struct http_response *response,
                                 int64_t request_ms, int64_t response_ms)
{
    struct record record = {.status = response->status};

    record.inputs = freshness_inputs_of(response, T0_MS + request_ms, T0_MS + response_ms, cache->arena);
    record.qualified_no_cache = record.inputs.directives.no_cache_fields.len > 0;
    record.qualified_private = record.inputs.directives.private_fields.len > 0;
    return record;
}

static struct headers stored_headers(struct cache_in_memory *cache, const struct entry *entry)
{
    struct headers headers;

    headers_init(&headers, cache->arena);
    fail_if(cache, head_read(span_of_bytes(&entry->head), cache->arena, &headers) != ERR_OK,
            "a stored head is readable");
    return headers;
}

/* ---- what is sent ---- */

static bool is_left_out(struct span name, uint8_t withheld)
{
    for (int i = 0; i < FIELD_COUNT; i++) {
        if ((withheld >> i & 1) && span_equal(name, field_names[i])) {
            return true;
        }
    }
    return span_equal(name, SPAN("Age"));
}

/* `headers` are exactly the fields the model has, but for those withheld; their order means nothing across names. */
static void check_fields(struct cache_in_memory *cache, const struct headers *headers, const struct m_stored *seen,
                         uint8_t withheld)
{
    struct http_response want = write_response(&seen->response, 200, cache->arena);
    size_t count = 0;

    for (size_t i = 0; i < want.headers.count; i++) {
        struct span name = want.headers.items[i].name;
        struct span got, wanted;
        bool present;

        if (is_left_out(name, withheld)) {
            continue;
        }
        count++;
        REQUIRE(headers_combine(&want.headers, name, cache->arena, &wanted, &present));
        REQUIRE(headers_combine(headers, name, cache->arena, &got, &present));
        fail_if(cache, !present, "a stored field is there");
        fail_if(cache, !span_equal(got, wanted), "a stored field keeps its value");
    }
    fail_if(cache, headers->count != count, "nothing is sent that is private, withheld or was replaced");
}

static void serve(struct cache_in_memory *cache, const struct step *step, const struct entry *entry, bool validated)
{
    struct http_request request = write_request(&step->request, cache->arena);
    struct headers headers = stored_headers(cache, entry);
    struct record record = record_of(cache, entry);
    uint8_t withheld = validated ? 0 : model_withheld(&entry->seen);
    int64_t age_ms = freshness_age_ms(&record.inputs, T0_MS + cache->now_ms);

    if (!validated && (record.qualified_no_cache || record.qualified_private)) {
        head_drop_qualified(&headers);
    }
    check_fields(cache, &headers, &entry->seen, withheld);
    fail_if(cache, record.status != model_status[entry->seen.response.status], "the status is the stored one");
    fail_if(cache, age_ms < 0, "an age is never negative");
    fail_if(cache, age_ms != model_age_ms(&entry->seen, cache->now_ms), "the age is that of RFC 9111 4.2.3");
    enum condition condition =
        condition_evaluate(&request.headers, &headers, record.inputs.response_ms / 1000, T0_S + cache->now_ms / 1000);
    enum m_condition want = model_condition(&step->request, &entry->seen);
    fail_if(cache, condition == CONDITION_MATCHED && want != M_CLIENT_HAS_IT, "304 only to a client that has it");
    fail_if(cache, condition != CONDITION_MATCHED && want == M_CLIENT_HAS_IT, "304 to a client that has it");
    cache->tally->client_has_it += condition == CONDITION_MATCHED;
}

/* ---- the cache ---- */

const char *model_cache_run(const struct scenario *scenario, struct arena *arena, struct tally *tally, int *out_step)
{
    struct cache_in_memory cache = {.rules = &scenario->rules, .policy = write_policy(&scenario->rules)};
    int done = 0;

    cache.arena = arena;
    cache.tally = tally;
    buf_init(&cache.buf, HEAD_BYTES);
    while (done < scenario->count && cache.failure == NULL) {
        arena_reset(arena);
        cache.now_ms += scenario->steps[done].advance_ms;
        exchange(&cache, &scenario->steps[done]);
        done++;
    }
    buf_finish(&cache.buf);
    *out_step = done;
    return cache.failure;
}

/* The newest stored response that the request selects. */
static struct entry *find(struct cache_in_memory *cache, const struct step *step, const struct http_request *request)
{
    struct entry *found = NULL;

    for (size_t i = 0; i < ENTRY_COUNT; i++) {
        struct entry *entry = &cache->entries[i];
        if (!entry->used || entry->target != step->target) {
            continue;
        }
        bool matches = vary_matches(span_of_bytes(&entry->selection), &request->headers, cache->arena);
        bool selected = model_selects(&entry->seen, &step->request);
        fail_if(cache, matches && !selected, "a variant that the request does not select is not used (4.1)");
        fail_if(cache, !matches && selected, "a variant that the request selects is found (4.1)");
        if (matches && (found == NULL || entry->number > found->number)) {
            found = entry;
        }
    }
    return found;
}

static void exchange(struct cache_in_memory *cache, const struct step *step)
{
    struct http_request request = write_request(&step->request, cache->arena);
    enum reason reason;
    bool behind;

    bool looked = policy_may_lookup(&request, &cache->policy, &reason);
    expect(cache, model_look_up(&step->request, cache->rules), looked, "it looked up what the model forbids",
           "it did not look up");
    struct entry *entry = looked ? find(cache, step, &request) : NULL;
    if (entry == NULL) {
        fetch(cache, step, NULL);
        return;
    }
    struct record record = record_of(cache, entry);
    struct reuse_verdict verdict = policy_may_reuse(&request, &record, &cache->policy, T0_MS + cache->now_ms);
    bool serves = verdict.reuse == REUSE_SERVE || verdict.reuse == REUSE_SERVE_REVALIDATE;
    expect(cache, model_reuse(&step->request, &entry->seen, cache->rules, cache->now_ms, &behind), serves,
           "it reused what the model forbids to reuse", "it did not reuse what is fresh or allowed stale");
    fail_if(cache, serves && behind != (verdict.reuse == REUSE_SERVE_REVALIDATE), "behind: while revalidating only");
    fail_if(cache, verdict.freshness.age_s != model_age_ms(&entry->seen, cache->now_ms) / 1000, "the age it shows");
    if (serves) {
        cache->tally->served++;
        cache->tally->behind += behind;
        serve(cache, step, entry, false);
    }
    if (verdict.reuse != REUSE_SERVE) {
        fetch(cache, step, verdict.reuse == REUSE_FETCH ? NULL : entry);
    }
}

static void drop_target(struct cache_in_memory *cache, uint8_t target)
{
    for (size_t i = 0; i < ENTRY_COUNT; i++) {
        cache->entries[i].used = cache->entries[i].used && cache->entries[i].target != target;
    }
}

static struct entry *free_entry(struct cache_in_memory *cache, uint8_t target, struct span selection)
{
    struct entry *oldest = &cache->entries[0];

    for (size_t i = 0; i < ENTRY_COUNT; i++) {
        struct entry *entry = &cache->entries[i];
        if (entry->used && entry->target == target && span_equal(span_of_bytes(&entry->selection), selection)) {
            return entry;
        }
        if (!entry->used || (oldest->used && entry->number < oldest->number)) {
            oldest = entry;
        }
    }
    return oldest;
}

/* A full answer has come. */
static void store(struct cache_in_memory *cache, const struct step *step, int64_t request_ms)
{
    struct http_request request = write_request(&step->request, cache->arena);
    struct http_response response = write_response(&step->answer, model_status[step->answer.status], cache->arena);
    struct record record = record_from(cache, &response, request_ms, cache->now_ms);
    struct m_stored seen = model_keep(&step->request, &step->answer, request_ms, cache->now_ms);
    struct m_stored whole = seen; /* with what private="…" keeps out: that is what decides */
    struct bytes selection;

    memcpy(whole.response.fields, step->answer.fields, sizeof(whole.response.fields));
    bool stores = policy_may_store(&request, &response, &record.inputs, &cache->policy).store;
    expect(cache, model_store(&step->request, &whole, cache->rules), stores,
           "it stored what the model forbids to store", "it did not store what it may use again");
    cache->tally->stored += stores;
    cache->tally->not_stored += !stores;
    bool invalidates = policy_invalidates(request.method, response.status);
    fail_if(cache, invalidates != model_invalidates(&step->request, &step->answer),
            "unsafe successes invalidate (4.4)");
    if (invalidates) {
        cache->tally->invalidated++;
        drop_target(cache, step->target);
    }
    if (!stores) {
        return;
    }
    enum vary_kind kind = vary_select(&response.headers, NULL, &request.headers, cache->arena, &cache->buf);
    fail_if(cache, kind != VARY_NONE && kind != VARY_SOME, "what is stored can be selected");
    take_buf(cache, &selection);
    struct entry *entry = free_entry(cache, step->target, span_of_bytes(&selection));
    *entry = (struct entry){.used = true, .target = step->target, .number = ++cache->stored_count, .seen = seen};
    entry->selection = selection;
    head_write(&response.headers, &cache->buf);
    take_buf(cache, &entry->head);
    keep_record(cache, &record, &entry->record);
}

/* The head as a 304 left it, as it came then: Age is the 304's. */
static struct http_response as_if_received(struct cache_in_memory *cache, const struct headers *merged,
                                           const struct headers *not_modified, unsigned status)
{
    struct http_response response = {.status = status, .minor = 1};
    const struct header *age = headers_find(not_modified, SPAN("Age"));

    REQUIRE(headers_copy(&response.headers, merged, cache->arena));
    REQUIRE(age == NULL || headers_set(&response.headers, SPAN("Age"), age->value));
    return response;
}

/* Does it stay stored with its new head? As proxy/origin/fetch_response.c does it. */
static bool stays(struct cache_in_memory *cache, const struct step *step, const struct entry *entry,
                  const struct http_response *response, const struct record *record)
{
    struct http_request request = write_request(&step->request, cache->arena);
    struct bytes selection;

    bool may = policy_may_store(&request, response, &record->inputs, &cache->policy).store;
    enum vary_kind kind = vary_select(&response->headers, NULL, &request.headers, cache->arena, &cache->buf);
    take_buf(cache, &selection);
    return may && (kind == VARY_NONE || kind == VARY_SOME) &&
           span_equal(span_of_bytes(&selection), span_of_bytes(&entry->selection));
}

/* A 304 has come for `entry`. True if it was about it. */
static bool confirm(struct cache_in_memory *cache, const struct step *step, struct entry *entry, int64_t request_ms)
{
    struct http_response not_modified = write_response(&step->answer, 304, cache->arena);
    struct headers stored = stored_headers(cache, entry);
    struct headers merged;

    bool speaks = head_not_modified_selects(&stored, &not_modified.headers);
    expect(cache, model_speaks_of(&entry->seen, &step->answer), speaks, "a 304 for something else updated it (4.3.4)",
           "a 304 with its validator did not update it (4.3.4)");
    if (!speaks) {
        cache->tally->refused_304++;
        return false;
    }
    cache->tally->confirmed++;
    REQUIRE(head_freshen(&stored, &not_modified.headers, cache->arena, &merged));
    unsigned status = model_status[entry->seen.response.status];
    struct http_response response = as_if_received(cache, &merged, &not_modified.headers, status);
    struct record record = record_from(cache, &response, request_ms, cache->now_ms);
    bool kept = stays(cache, step, entry, &response, &record);

    bool vary_changed =
        (step->answer.vary != 0 && step->answer.vary != entry->seen.response.vary) || step->answer.vary_star;
    entry->seen = model_freshen(&entry->seen, &step->answer, request_ms, cache->now_ms);
    memcpy(entry->seen.selectors, step->request.selectors, sizeof(entry->seen.selectors));
    head_write(&merged, &cache->buf);
    take_buf(cache, &entry->head);
    keep_record(cache, &record, &entry->record);
    serve(cache, step, entry, true);
    if (kept || !vary_changed) {
        expect(cache, model_store(&step->request, &entry->seen, cache->rules), kept,
               "a 304 made it something that the model forbids to store", "a 304 made it go");
    }
    if (!kept) {
        drop_target(cache, step->target);
    }
    return true;
}

static void origin_failed(struct cache_in_memory *cache, const struct step *step, const struct entry *entry)
{
    static const enum origin_failure failures[] = {
        [ORIGIN_503] = FAILURE_STATUS, [ORIGIN_GONE] = FAILURE_DISCONNECTED, [ORIGIN_SLOW] = FAILURE_TIMEOUT};
    static const enum m_failure in_model[] = {
        [ORIGIN_503] = M_FAILS_STATUS, [ORIGIN_GONE] = M_FAILS_DISCONNECTED, [ORIGIN_SLOW] = M_FAILS_TIMEOUT};
    struct http_request request = write_request(&step->request, cache->arena);
    struct record record = record_of(cache, entry);
    enum reason reason;
    const char *rule;

    bool serves = policy_may_serve_stale(&request, &record, &cache->policy, failures[step->origin],
                                         T0_MS + cache->now_ms, &reason, &rule);
    expect(cache, model_serve_stale(&step->request, &entry->seen, cache->rules, in_model[step->origin], cache->now_ms),
           serves, "it served stale what the model forbids to serve", "it did not serve stale what it may");
    if (serves) {
        cache->tally->stale_after_failure++;
        serve(cache, step, entry, false);
    }
}

/* The origin is asked; `entry` is what may be validated, or NULL. */
static void fetch(struct cache_in_memory *cache, const struct step *step, struct entry *entry)
{
    int64_t request_ms = cache->now_ms;
    bool may_validate =
        entry != NULL && (entry->seen.response.etag != 0 || entry->seen.response.last_modified.form == GIVEN);

    cache->now_ms += step->delay_ms;
    switch ((enum origin_act)step->origin) {
    case ORIGIN_503:
    case ORIGIN_GONE:
    case ORIGIN_SLOW:
        if (entry != NULL) {
            origin_failed(cache, step, entry);
        }
        return;
    case ORIGIN_CONFIRMS:
        if (may_validate && step->request.method == M_GET && confirm(cache, step, entry, request_ms)) {
            return;
        }
        break;
    case ORIGIN_ANSWERS:
    case ORIGIN_ACT_COUNT:
        break;
    }
    store(cache, step, request_ms);
}
