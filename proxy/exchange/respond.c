/* respond.c: the heads of responses: from the store, from a flight, and our own.
 *
 * One form for all: the stored fields as they are, then what larder says itself: Age, Via, Cache-Status. A condition of
 * the client that the response meets turns it into a 304 here, wherever the response came from. What lies in memory as
 * it is sent (hot.h) is not put together field by field, and says the same. */
#include "proxy/exchange/exchange_internal.h"

#include <string.h>

#include "cache/head.h"
#include "http/date.h"
#include "http/forward.h"
#include "http/multipart.h"
#include "http/validators.h"
#include "proxy/exchange/cache_status.h"
#include "proxy/exchange/decide.h"
#include "proxy/exchange/proxy_status.h"
#include "proxy/exchange/retry_after.h"
#include "proxy/server/worker.h"

enum { OWN_LINES_MAX_BYTES = 4096 }; /* Age, Via, Cache-Status: more than the last has room for in any case */

static enum step finish_head(struct exchange *ex, struct stream_head *head, int64_t received_ms);
static enum step start_response(struct exchange *ex, struct stream_head *head);
static bool add_own_fields(struct exchange *ex, unsigned minor);
static struct cache_status own_status(const struct exchange *ex);
static bool make_not_modified(struct exchange *ex);
static enum step no_room(struct exchange *ex);

static bool add_age(struct exchange *ex, int64_t age_s)
{
    char memory[24];
    struct buf digits;
    struct span text;

    ex->age_s = age_s;
    buf_init_in(&digits, memory, sizeof memory);
    buf_add_i64(&digits, age_s);
    return arena_copy(ex->arena, buf_span(&digits), &text) && headers_add(&ex->headers, SPAN("Age"), text);
}

/* Remaining freshness under the policy of this exchange, for Cache-Status and the log. */
static struct freshness freshness_now(const struct exchange *ex, const struct freshness_inputs *inputs)
{
    struct lifetime_override override = policy_lifetimes(&ex->policy);

    return freshness_at(inputs, &override, ex->now_ms);
}

/* Is it a single part of a whole that is known, from the flight? */
static bool is_part(const struct exchange *ex)
{
    return ex->source == SOURCE_FLIGHT && flight_head(ex->flight)->partial;
}

/* Does the client hold this response already (RFC 9110 §13.2.2)? Only a 200, or a part of one, is compared. */
static bool client_has_it(const struct exchange *ex, int64_t received_ms)
{
    unsigned status = is_part(ex) ? 200 : ex->status;

    return !ex->passes && decide_not_modified(&ex->request, status, &ex->headers, received_ms, ex->now_ms);
}

/* Does If-Match hold, where larder evaluates it? RFC 9110 §13.2.1: only what would be 2xx is compared. */
static bool matches(const struct exchange *ex)
{
    return ex->own_match.len == 0 || ex->status < 200 || ex->status > 299 ||
           if_match_has(ex->own_match, headers_value(&ex->headers, SPAN("ETag")));
}

/* The version that it was received by. */
static unsigned minor_of(const struct record *record)
{
    return record->http_1_0 ? 0 : 1;
}

/* Field lines that only the client gets whose request the origin answered. */
static bool add_passed(struct exchange *ex, struct span lines)
{
    struct headers passed;

    if (lines.len == 0) {
        return true;
    }
    if (head_read(lines, ex->arena, &passed) != ERR_OK) {
        return false;
    }
    for (size_t i = 0; i < passed.count; i++) {
        if (!headers_add(&ex->headers, passed.items[i].name, passed.items[i].value)) {
            return false;
        }
    }
    return true;
}

/* ---- from the store ---- */

/* Is the stored head the answer's as it stands, or its lines for a 304? So are most hits on what is in memory. */
static bool is_sent_as_stored(const struct exchange *ex)
{
    const struct record *record = &ex->cached.stored.record;
    const struct headers *stored = &ex->stored_headers;

    return ex->cached.hot != NULL && !ex->validated && !record->qualified_no_cache && !record->qualified_private &&
           !ex->policy.strip_tags && ex->own_match.len == 0 && !headers_has(stored, SPAN("Via")) &&
           !headers_has(&ex->request.headers, SPAN("Range")) &&
           (!ex->policy.own_etag || headers_has(stored, SPAN("ETag")) || headers_has(stored, SPAN("Last-Modified")));
}

/* What is left to do for these: the stored lines, then Age, Via and Cache-Status. */
static enum step respond_as_stored(struct exchange *ex, struct stream_head *head)
{
    const struct stored *stored = &ex->cached.stored;
    const struct cache_status status = own_status(ex);
    char memory[OWN_LINES_MAX_BYTES];
    struct buf own;

    buf_init_in(&own, memory, sizeof memory);
    buf_add(&own, SPAN("Age: "));
    buf_add_i64(&own, ex->age_s);
    buf_add(&own, SPAN("\r\n"));
    forward_write_via(&own, minor_of(&stored->record), span_of(status.name));
    buf_add(&own, SPAN("Cache-Status: "));
    cache_status_write(&status, &own);
    buf_add(&own, SPAN("\r\n"));
    if (own.failed) {
        return no_room(ex);
    }
    head->lines[0] = stored->head;
    head->lines[1] = buf_span(&own);
    if (!ex->passes && decide_not_modified(&ex->request, ex->status, &ex->stored_headers,
                                           stored->record.inputs.response_ms, ex->now_ms)) {
        ex->status = 304;
        head->lines[0] = ex->cached.hot->not_modified;
        head->body = STREAM_BODY_NONE;
    }
    ex->whole = (struct part){.end = head->length};
    ex->parts = &ex->whole;
    ex->part_count = head->body == STREAM_BODY_LENGTH ? 1 : 0;
    ex->begun = true;
    return start_response(ex, head);
}

enum step respond_from_stored(struct exchange *ex)
{
    const struct stored *stored = &ex->cached.stored;
    struct freshness freshness = freshness_now(ex, &stored->record.inputs);
    struct stream_head head = {.body = STREAM_BODY_LENGTH, .length = stored->record.body_len};

    ex->status = stored->record.status;
    ex->ttl_s = freshness.lifetime_s - freshness.age_s;
    ex->age_s = freshness.age_s;
    ex->source = SOURCE_STORED;
    if (!response_may_have_body(METHOD_GET, ex->status)) {
        head.body = STREAM_BODY_NONE;
    } else if (ex->request.method == METHOD_HEAD) {
        head.body = STREAM_BODY_OMITTED;
    }
    if (is_sent_as_stored(ex)) {
        return respond_as_stored(ex, &head);
    }
    head.headers = &ex->headers;
    if (!headers_copy(&ex->headers, &ex->stored_headers, ex->arena)) {
        return no_room(ex);
    }
    if (stored->record.qualified_no_cache || stored->record.qualified_private) {
        head_drop_qualified(&ex->headers);
    }
    decide_tags(&ex->policy, &ex->headers);
    if ((ex->cached.partial == NULL &&
         !decide_own_etag(&ex->policy, ex->status, stored->record.digest, &ex->headers)) ||
        (ex->validated && !add_passed(ex, ex->passed)) || !add_age(ex, freshness.age_s) ||
        !add_own_fields(ex, minor_of(&stored->record))) {
        return no_room(ex);
    }
    return finish_head(ex, &head, stored->record.inputs.response_ms);
}

/* ---- from a flight ---- */

/* How the body of a flight is framed for this client. */
static struct stream_head framing_of_flight(struct exchange *ex, const struct flight_head *flight_head)
{
    struct stream_head head = {.headers = &ex->headers, .body = STREAM_BODY_UNKNOWN};

    if (!response_may_have_body(ex->request.method, ex->status)) {
        bool of_get = !ex->passes && flight_head->length_known && response_may_have_body(METHOD_GET, ex->status);
        head.body = of_get ? STREAM_BODY_OMITTED : STREAM_BODY_NONE;
        head.length = of_get ? flight_head->body_len : 0;
        ex->source = SOURCE_NONE;
    } else if (flight_head->length_known) {
        head.body = STREAM_BODY_LENGTH;
        head.length = flight_head->body_len;
    }
    return head;
}

/* What is kept of a part's head is that of the whole. */
static bool add_content_range(struct exchange *ex, const struct flight_head *from)
{
    struct content_range value = {
        .has_range = true, .range = from->range, .has_length = true, .complete_length = from->complete_length};
    struct span text;

    return content_range_text(&value, ex->arena, &text) && headers_set(&ex->headers, SPAN("Content-Range"), text);
}

enum step respond_from_flight(struct exchange *ex)
{
    const struct flight_head *from = flight_head(ex->flight);
    struct span fields;

    ex->policy = from->policy;
    struct freshness freshness = freshness_now(ex, &from->record.inputs);
    ex->status = from->status;
    ex->ttl_s = freshness.lifetime_s - freshness.age_s;
    ex->source = SOURCE_FLIGHT;
    ex->store_reason = flight_store_reason(ex->flight);
    /* The flight outlives the response's head, but not the log line. */
    if (!headers_copy_texts(&ex->headers, &from->lines, from->fields, ex->arena, &fields)) {
        return no_room(ex);
    }
    if (!ex->leads && (from->record.qualified_no_cache || from->record.qualified_private)) {
        head_drop_qualified(&ex->headers); /* a follower reuses (RFC 9111 §5.2.2.4): they were for the one who asked */
    }
    decide_tags(&ex->policy, &ex->headers);
    uint8_t digest[DIGEST_BYTES];
    if (flight_digest(ex->flight, digest) && !decide_own_etag(&ex->policy, ex->status, digest, &ex->headers)) {
        return no_room(ex);
    }
    bool done = (!from->partial || add_content_range(ex, from)) &&
                (ex->leads ? add_passed(ex, from->passed) : add_age(ex, freshness.age_s));
    if (!done || !add_own_fields(ex, minor_of(&from->record))) {
        return no_room(ex);
    }
    struct stream_head head = framing_of_flight(ex, from);
    return finish_head(ex, &head, from->record.inputs.response_ms);
}

/* ---- what the client's own fields make of it ---- */

static void one_part(struct exchange *ex, struct part part)
{
    ex->whole = part;
    ex->parts = &ex->whole;
    ex->part_count = 1;
}

/* The parts of a multipart/byteranges, and the fields that go with it. */
static bool make_multipart(struct exchange *ex, struct stream_head *head, const struct ranges *ranges,
                           uint64_t complete_length)
{
    struct multipart multipart = {.content_type = headers_value(&ex->headers, SPAN("Content-Type")),
                                  .ranges = ranges,
                                  .complete_length = complete_length};
    struct part *part = arena_alloc(ex->arena, PARTS_MAX * sizeof(*part));
    struct span type;
    uint64_t random[2];

    ex->parts = part;
    if (part == NULL || uv_random(NULL, NULL, random, sizeof(random), 0, NULL) != 0 ||
        !arena_format(ex->arena, &multipart.boundary, "larder-%016llx%016llx", (unsigned long long)random[0],
                      (unsigned long long)random[1]) ||
        !multipart_type(&multipart, ex->arena, &type) || !multipart_length(&multipart, &head->length)) {
        return false;
    }
    for (size_t i = 0; i < ranges->count; i++) {
        if (!multipart_part_head(&multipart, i, ex->arena, &part->text)) {
            return false;
        }
        part->end = part->text.len;
        part++;
        *part++ = (struct part){.first = ranges->items[i].first, .end = ranges->items[i].last + 1};
    }
    if (!multipart_end(&multipart, ex->arena, &part->text)) {
        return false;
    }
    part->end = part->text.len;
    part++;
    ex->part_count = (size_t)(part - ex->parts);
    return headers_set(&ex->headers, SPAN("Content-Type"), type);
}

static bool make_partial(struct exchange *ex, struct stream_head *head, const struct ranges *ranges,
                         uint64_t complete_length)
{
    struct content_range value = {
        .has_range = true, .range = ranges->items[0], .has_length = true, .complete_length = complete_length};
    struct span text;

    ex->status = 206;
    if (ranges->count > 1) {
        return make_multipart(ex, head, ranges, complete_length);
    }
    one_part(ex, (struct part){.first = ranges->items[0].first, .end = ranges->items[0].last + 1});
    head->length = ranges->total_bytes;
    return content_range_text(&value, ex->arena, &text) && headers_set(&ex->headers, SPAN("Content-Range"), text);
}

/* Leaves the fields for which `belongs` holds. */
static bool keep_fields(struct exchange *ex, bool (*belongs)(struct span name))
{
    struct headers kept;

    headers_init(&kept, ex->arena);
    for (size_t i = 0; i < ex->headers.count; i++) {
        const struct header *field = &ex->headers.items[i];
        if (belongs(field->name) && !headers_add(&kept, field->name, field->value)) {
            return false;
        }
    }
    ex->headers = kept;
    return true;
}

/* Not what the stored head says of its content, nor how long that may be kept: caches in front would keep the refusal
 * for so long, and some would give it to whoever asks for the whole (RFC 9111 §3). */
static bool belongs_in_416(struct span name)
{
    static const struct span left_out[] = {
        SPAN_INIT("Content-Type"),        SPAN_INIT("Content-Encoding"),
        SPAN_INIT("Content-Language"),    SPAN_INIT("Content-Location"),
        SPAN_INIT("Content-Disposition"), SPAN_INIT("Content-Digest"),
        SPAN_INIT("Content-MD5"),         SPAN_INIT("Expires"),
        SPAN_INIT("Surrogate-Control"),
    };

    for (size_t i = 0; i < ARRAY_LEN(left_out); i++) {
        if (span_equal_nocase(left_out[i], name)) {
            return false;
        }
    }
    return !head_names_control(name);
}

/* 416 with the length there is (RFC 9110 §15.5.17). */
static bool make_unsatisfiable(struct exchange *ex, struct stream_head *head, uint64_t complete_length)
{
    struct content_range value = {.has_length = true, .complete_length = complete_length};
    struct span text;

    ex->status = 416;
    ex->part_count = 0;
    head->length = 0;
    return keep_fields(ex, belongs_in_416) && headers_add(&ex->headers, SPAN("Cache-Control"), SPAN("no-store")) &&
           content_range_text(&value, ex->arena, &text) && headers_set(&ex->headers, SPAN("Content-Range"), text);
}

static bool ascending(const struct ranges *ranges)
{
    for (size_t i = 1; i < ranges->count; i++) {
        if (ranges->items[i].first < ranges->items[i - 1].first) {
            return false;
        }
    }
    return true;
}

/* Answers with the ranges asked for, if they may be had (RFC 9110 §14.2): of a 200 whose length is known. */
static bool apply_range(struct exchange *ex, struct stream_head *head)
{
    uint64_t length = head->length;
    struct ranges ranges;

    if (ex->passes || ex->status != 200 || head->body != STREAM_BODY_LENGTH) {
        return true;
    }
    enum range_verdict verdict = decide_ranges(&ex->request, &ex->headers, length, ex->now_ms, &ranges);
    if (verdict == RANGE_SATISFIABLE && ex->source == SOURCE_FLIGHT && !ascending(&ranges)) {
        return true; /* a flight is read forwards only */
    }
    switch (verdict) {
    case RANGE_NONE:
        return true;
    case RANGE_SATISFIABLE:
        return make_partial(ex, head, &ranges, length);
    case RANGE_UNSATISFIABLE:
        return make_unsatisfiable(ex, head, length);
    }
    UNREACHABLE();
}

/* Conditions first, then ranges (RFC 9110 §13.2.2), then the response begins. */
static enum step finish_head(struct exchange *ex, struct stream_head *head, int64_t received_ms)
{
    bool known = head->body == STREAM_BODY_LENGTH;
    bool done = true;

    if (!matches(ex)) {
        return exchange_not_matched(ex);
    }
    one_part(ex, (struct part){.end = known ? head->length : UINT64_MAX});
    if (client_has_it(ex, received_ms)) {
        done = make_not_modified(ex);
        head->body = STREAM_BODY_NONE;
    } else {
        done = apply_range(ex, head);
    }
    if (!done) {
        return no_room(ex);
    }
    if (head->body == STREAM_BODY_NONE || head->body == STREAM_BODY_OMITTED) {
        ex->part_count = 0;
    }
    ex->offset = ex->parts[0].first;
    ex->begun = true;
    return start_response(ex, head);
}

/* ---- our own ---- */

enum step respond_ourselves(struct exchange *ex)
{
    const char *phrase = status_phrase(ex->status);
    const char *why = ex->error != ERR_OK ? err_text(ex->error) : reason_text(ex->reason);
    char date[DATE_TEXT_LEN];
    struct span date_text;
    struct span text;
    struct span proxy_status;
    struct span retry_after;

    date_format(ex->now_ms / 1000, date);
    headers_init(&ex->headers, ex->arena);
    ex->ttl_s = INT64_MIN;
    bool done = arena_format(ex->arena, &text, "%u %s: %s\n", ex->status, phrase, why) &&
                arena_copy(ex->arena, (struct span){date, DATE_TEXT_LEN}, &date_text) &&
                headers_add(&ex->headers, SPAN("Date"), date_text) &&
                headers_add(&ex->headers, SPAN("Content-Type"), SPAN("text/plain; charset=utf-8")) &&
                headers_add(&ex->headers, SPAN("Cache-Control"), SPAN("no-store"));
    const char *error_type = proxy_status_error(ex->status, ex->error, ex->reason);
    if (done && error_type != NULL) {
        done = arena_format(ex->arena, &proxy_status, "%s; error=%s", ex->worker->config->server.via, error_type) &&
               headers_add(&ex->headers, SPAN("Proxy-Status"), proxy_status);
    }
    if (done && (ex->status == 503 || ex->status == 429)) {
        uint64_t wait_s =
            ex->retry_after_s > 0 ? ex->retry_after_s : retry_after_s(ex->worker->config, ex->site, ex->reason);
        done = arena_format(ex->arena, &retry_after, "%llu", (unsigned long long)wait_s) &&
               headers_add(&ex->headers, SPAN("Retry-After"), retry_after);
    }
    if (!done || !add_own_fields(ex, 1)) {
        return no_room(ex);
    }
    struct stream_head head = {.headers = &ex->headers, .body = STREAM_BODY_LENGTH, .length = text.len};
    ex->source = SOURCE_NONE;
    one_part(ex, (struct part){.text = text, .end = text.len});
    if (ex->request.method == METHOD_HEAD) {
        head.body = STREAM_BODY_OMITTED;
        ex->part_count = 0;
    }
    return start_response(ex, &head);
}

bool respond_upgraded(struct exchange *ex, const struct headers *headers)
{
    ex->ttl_s = INT64_MIN;
    return headers_copy(&ex->headers, headers, ex->arena) && add_own_fields(ex, 1);
}

/* ---- helpers ---- */

static enum step start_response(struct exchange *ex, struct stream_head *head)
{
    head->status = ex->status;
    ex->first_byte_us = uv_hrtime() / 1000;
    return stream_start(ex->stream, head) ? STEP_DELIVER : no_room(ex);
}

/* The request's memory is used up: nothing can be said any more. */
static enum step no_room(struct exchange *ex)
{
    stream_abort(ex->stream);
    ex->error = arena_error(ex->arena);
    ex->end = END_REFUSED;
    return STEP_LOG;
}

/* What Cache-Status says of this exchange. */
static struct cache_status own_status(const struct exchange *ex)
{
    bool stored = (ex->leads || ex->validated) && decide_is_kept(ex->store_reason);
    bool follows = ex->source == SOURCE_FLIGHT && ex->flight != NULL;
    enum reason reason = ex->reason;
    const char *rule = ex->rule;

    bool removed = (ex->reason == REASON_PURGED || ex->reason == REASON_INVALIDATED) &&
                   stored; /* then why nothing was served is the news */
    if (ex->leads && !removed && decide_shows_storing(ex->outcome, ex->reason)) {
        reason = ex->store_reason;
        rule = flight_head(ex->flight)->rule;
    }
    return (struct cache_status){.name = ex->worker->config->server.via,
                                 .outcome = ex->outcome,
                                 .reason = reason,
                                 .rule = rule,
                                 .fwd_status = follows ? flight_head(ex->flight)->status : ex->origin_status,
                                 .stored = stored,
                                 .collapsed = ex->collapsed,
                                 .has_ttl = ex->ttl_s != INT64_MIN && ex->outcome != OUTCOME_METHOD,
                                 .ttl_s = ex->ttl_s};
}

/* Via and Cache-Status. `minor`: the version it came by. */
static bool add_own_fields(struct exchange *ex, unsigned minor)
{
    const struct cache_status status = own_status(ex);
    struct span value;

    return forward_add_via(&ex->headers, minor, span_of(status.name)) &&
           cache_status_format(&status, ex->arena, &value) && headers_add(&ex->headers, SPAN("Cache-Status"), value);
}

/* Leaves the fields that a 304 carries (RFC 9110 §15.4.5). */
static bool make_not_modified(struct exchange *ex)
{
    ex->status = 304;
    return keep_fields(ex, field_belongs_in_304);
}
