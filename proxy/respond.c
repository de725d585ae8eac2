/* respond.c: the heads of responses: from the store, from a flight, and our own.
 *
 * One form for all: the stored fields as they are, then what larder says itself: Age, Via, Cache-Status. A condition of
 * the client that the response meets turns it into a 304 here, at the end, wherever the response came from. */
#include "proxy/exchange_internal.h"

#include <string.h>

#include "cache/head.h"
#include "http/date.h"
#include "http/forward.h"
#include "http/validators.h"
#include "proxy/cache_status.h"
#include "proxy/worker.h"

static enum step start_response(struct exchange *ex, const struct stream_head *head);
static bool add_own_fields(struct exchange *ex, bool stored);
static bool make_not_modified(struct exchange *ex);
static enum step no_room(struct exchange *ex);

static bool add_age(struct exchange *ex, int64_t age_s)
{
    struct span text;

    ex->age_s = age_s;
    return arena_format(ex->arena, &text, "%lld", (long long)age_s) && headers_add(&ex->headers, SPAN("Age"), text);
}

/* Remaining freshness under the policy of this exchange, for Cache-Status and the log. */
static struct freshness freshness_now(const struct exchange *ex, const struct freshness_inputs *inputs)
{
    struct lifetime_override override = {.ttl_s = ex->policy.ttl_s, .default_ttl_s = ex->policy.default_ttl_s};

    return freshness_at(inputs, &override, worker_now_ms());
}

/* Does the client hold this response already (RFC 9110 §13.2.2)? Only a 200 is compared. */
static bool client_has_it(const struct exchange *ex, int64_t received_ms)
{
    bool asks = ex->request.method == METHOD_GET || ex->request.method == METHOD_HEAD;

    return asks && ex->status == 200 && !ex->passes &&
           condition_evaluate(&ex->request.headers, &ex->headers, received_ms / 1000, worker_now_ms() / 1000) ==
               CONDITION_MATCHED;
}

/* ---- from the store ---- */

enum step respond_from_stored(struct exchange *ex)
{
    const struct stored *stored = &ex->cached.stored;
    struct freshness freshness = freshness_now(ex, &stored->record.inputs);
    struct stream_head head = {.body = STREAM_BODY_LENGTH, .length = stored->record.body_len};

    ex->status = stored->record.status;
    ex->ttl_s = freshness.lifetime_s - freshness.age_s;
    if (!headers_copy(&ex->headers, &ex->stored_headers, ex->arena)) {
        return no_room(ex);
    }
    if (stored->record.qualified_no_cache || stored->record.qualified_private) {
        head_drop_qualified(&ex->headers);
    }
    if (!add_age(ex, freshness.age_s) || !add_own_fields(ex, false)) {
        return no_room(ex);
    }
    ex->source = SOURCE_STORED;
    ex->length = stored->record.body_len;
    if (client_has_it(ex, stored->record.inputs.response_ms)) {
        if (!make_not_modified(ex)) {
            return no_room(ex);
        }
        head.body = STREAM_BODY_NONE;
        ex->source = SOURCE_NONE;
    } else if (ex->request.method == METHOD_HEAD) {
        head.body = STREAM_BODY_OMITTED;
        ex->source = SOURCE_NONE;
    } else if (!response_may_have_body(ex->request.method, ex->status)) {
        head.body = STREAM_BODY_NONE;
        ex->source = SOURCE_NONE;
    }
    return start_response(ex, &head);
}

/* ---- from a flight ---- */

/* Field lines that only the leader's client gets: the origin's own Age, Cache-Status and, without a body,
 * Content-Length. */
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

/* How the body of a flight is framed for this client. */
static struct stream_head framing_of_flight(struct exchange *ex, const struct flight_head *flight_head)
{
    struct stream_head head = {.body = STREAM_BODY_UNKNOWN};

    if (!response_may_have_body(ex->request.method, ex->status)) {
        head.body = STREAM_BODY_NONE;
        ex->source = SOURCE_NONE;
    } else if (flight_head->length_known) {
        head.body = STREAM_BODY_LENGTH;
        head.length = flight_head->body_len;
    }
    ex->length = head.length;
    return head;
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
    if (!arena_copy(ex->arena, from->fields, &fields) || head_read(fields, ex->arena, &ex->headers) != ERR_OK) {
        return no_room(ex);
    }
    bool done = ex->leads ? add_passed(ex, from->passed) : add_age(ex, freshness.age_s);
    if (!done || !add_own_fields(ex, ex->leads && from->record.body_id != 0)) {
        return no_room(ex);
    }
    struct stream_head head = framing_of_flight(ex, from);
    if (client_has_it(ex, from->record.inputs.response_ms)) {
        if (!make_not_modified(ex)) {
            return no_room(ex);
        }
        head.body = STREAM_BODY_NONE;
        ex->source = SOURCE_NONE;
    }
    return start_response(ex, &head);
}

/* ---- our own ---- */

enum step respond_ourselves(struct exchange *ex)
{
    const char *phrase = status_phrase(ex->status);
    const char *why = ex->error != ERR_OK ? err_text(ex->error) : reason_text(ex->reason);
    char date[DATE_TEXT_LEN];
    struct span date_text;

    date_format(worker_now_ms() / 1000, date);
    headers_init(&ex->headers, ex->arena);
    ex->ttl_s = INT64_MIN;
    bool done = arena_format(ex->arena, &ex->text, "%u %s: %s\n", ex->status, phrase, why) &&
                arena_copy(ex->arena, (struct span){date, DATE_TEXT_LEN}, &date_text) &&
                headers_add(&ex->headers, SPAN("Date"), date_text) &&
                headers_add(&ex->headers, SPAN("Content-Type"), SPAN("text/plain; charset=utf-8")) &&
                headers_add(&ex->headers, SPAN("Cache-Control"), SPAN("no-store"));
    if (done && ex->status == 503) {
        done = headers_add(&ex->headers, SPAN("Retry-After"), SPAN("1"));
    }
    if (!done || !add_own_fields(ex, false)) {
        return no_room(ex);
    }
    ex->source = SOURCE_TEXT;
    ex->length = ex->text.len;
    struct stream_head head = {.body = STREAM_BODY_LENGTH, .length = ex->text.len};
    if (ex->request.method == METHOD_HEAD) {
        head.body = STREAM_BODY_OMITTED;
        ex->source = SOURCE_NONE;
    }
    return start_response(ex, &head);
}

/* ---- helpers ---- */

static enum step start_response(struct exchange *ex, const struct stream_head *head)
{
    struct stream_head full = *head;

    full.status = ex->status;
    full.headers = &ex->headers;
    ex->first_byte_us = uv_hrtime() / 1000;
    return stream_start(ex->stream, &full) ? STEP_DELIVER : no_room(ex);
}

/* The request's memory is used up: nothing can be said any more. */
static enum step no_room(struct exchange *ex)
{
    stream_abort(ex->stream);
    ex->error = ERR_ARENA_FULL;
    ex->end = END_REFUSED;
    return STEP_LOG;
}

/* Via and Cache-Status. `stored`: the response is being stored now. */
static bool add_own_fields(struct exchange *ex, bool stored)
{
    const char *name = ex->worker->config->server.via;
    enum reason reason = ex->reason;
    bool missed = ex->outcome == OUTCOME_URI_MISS || ex->outcome == OUTCOME_VARY_MISS || ex->outcome == OUTCOME_STALE;
    const char *rule = ex->rule;
    struct span value;

    if (missed && ex->leads && ex->reason != REASON_HEAD_MISS && ex->reason != REASON_RANGE) {
        reason = ex->store_reason; /* why it is or is not stored is what people ask of a miss */
        rule = flight_head(ex->flight)->rule;
    }
    struct cache_status status = {.name = name,
                                  .outcome = ex->outcome,
                                  .reason = reason,
                                  .rule = rule,
                                  .fwd_status = ex->origin_status,
                                  .stored = stored || ex->validated,
                                  .collapsed = ex->collapsed,
                                  .has_ttl = ex->ttl_s != INT64_MIN && ex->outcome != OUTCOME_METHOD,
                                  .ttl_s = ex->ttl_s};
    return forward_add_via(&ex->headers, 1, span_of(name)) && cache_status_format(&status, ex->arena, &value) &&
           headers_add(&ex->headers, SPAN("Cache-Status"), value);
}

/* Leaves the fields that a 304 carries (RFC 9110 §15.4.5). */
static bool make_not_modified(struct exchange *ex)
{
    struct headers kept;

    headers_init(&kept, ex->arena);
    for (size_t i = 0; i < ex->headers.count; i++) {
        const struct header *field = &ex->headers.items[i];
        if (field_belongs_in_304(field->name) && !headers_add(&kept, field->name, field->value)) {
            return false;
        }
    }
    ex->headers = kept;
    ex->status = 304;
    return true;
}
