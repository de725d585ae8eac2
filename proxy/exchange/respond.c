/* respond.c: the heads of responses: from the store, from a flight, and our own.
 *
 * One way for all: the fields of the response, what the rules and this exchange change in them, what the client's
 * conditions and ranges make of it (respond_conditions.c), and behind them what larder says itself: Age, Via,
 * Cache-Status.
 *
 * A head of the store or of a flight is sent as it lies there, not field by field, until something is to be changed in
 * it: most never are. Until then there is no list of its fields but the one that lies there, too, which is to be read
 * only; who changes a head asks respond_change for one that may be changed. */
#include "proxy/exchange/exchange_internal.h"

#include "cache/head.h"
#include "http/date.h"
#include "http/forward.h"
#include "proxy/exchange/cache_status.h"
#include "proxy/exchange/decide.h"
#include "proxy/exchange/proxy_status.h"
#include "proxy/exchange/retry_after.h"
#include "proxy/server/worker.h"

/* Age, Via, Cache-Status: larder's name twice, at most 255 bytes, and of a rule's name at most 1 KiB, which may double
 * where it is escaped (cache_status.c). */
enum { OWN_LINES_MAX_BYTES = 4096 };

static enum step finish_head(struct exchange *ex, struct stream_head *head, const struct record *record);
static bool start_response(struct exchange *ex, struct stream_head *head, unsigned minor);
static enum step no_room(struct exchange *ex);

const struct headers *respond_fields(const struct exchange *ex, const struct stream_head *head)
{
    return head->headers != NULL ? head->headers : ex->unchanged;
}

struct headers *respond_change(struct exchange *ex, struct stream_head *head)
{
    if (head->headers == NULL) {
        if (!headers_copy(&ex->headers, ex->unchanged, ex->arena)) {
            return NULL;
        }
        head->headers = &ex->headers;
        head->lines = (struct span){NULL, 0};
    }
    return &ex->headers;
}

void respond_with_part(struct exchange *ex, struct part part)
{
    ex->whole = part;
    ex->parts = &ex->whole;
    ex->part_count = 1;
    ex->part = 0;
    ex->offset = part.first;
}

bool respond_set_content_range(struct exchange *ex, struct stream_head *head, const struct content_range *value)
{
    struct headers *headers = respond_change(ex, head);
    struct span text;

    return headers != NULL && content_range_text(value, ex->arena, &text) &&
           headers_set(headers, SPAN("Content-Range"), text);
}

/* Remaining freshness under the policy of this exchange, for Cache-Status and the log. */
static struct freshness freshness_now(const struct exchange *ex, const struct freshness_inputs *inputs)
{
    struct lifetime_override override = policy_lifetimes(&ex->policy);

    return freshness_at(inputs, &override, ex->now_ms);
}

/* ---- changes; false: no room for them ---- */

/* Fields that Cache-Control names are not for whoever reuses the response. */
static bool drop_qualified(struct exchange *ex, struct stream_head *head, const struct record *record)
{
    if (!record->qualified_no_cache && !record->qualified_private) {
        return true;
    }
    struct headers *headers = respond_change(ex, head);
    if (headers != NULL) {
        head_drop_qualified(headers);
    }
    return headers != NULL;
}

static bool drop_tags(struct exchange *ex, struct stream_head *head)
{
    if (!ex->policy.strip_tags) {
        return true;
    }
    struct headers *headers = respond_change(ex, head);
    if (headers != NULL) {
        decide_tags(&ex->policy, headers);
    }
    return headers != NULL;
}

static bool add_own_etag(struct exchange *ex, struct stream_head *head, const uint8_t digest[DIGEST_BYTES])
{
    if (!decide_wants_own_etag(&ex->policy, ex->status, respond_fields(ex, head))) {
        return true;
    }
    struct headers *headers = respond_change(ex, head);
    return headers != NULL && decide_own_etag(&ex->policy, ex->status, digest, headers);
}

/* Field lines that only the client gets whose request the origin answered. */
static bool add_passed(struct exchange *ex, struct stream_head *head, struct span lines)
{
    struct headers passed;

    if (lines.len == 0) {
        return true;
    }
    struct headers *headers = respond_change(ex, head);
    if (headers == NULL || head_read(lines, ex->arena, &passed) != ERR_OK) {
        return false;
    }
    for (size_t i = 0; i < passed.count; i++) {
        if (!headers_add(headers, passed.items[i].name, passed.items[i].value)) {
            return false;
        }
    }
    return true;
}

/* ---- from the store ---- */

enum step respond_from_stored(struct exchange *ex)
{
    const struct stored *stored = &ex->cached.stored;
    struct freshness freshness = freshness_now(ex, &stored->record.inputs);
    struct stream_head head = {.lines = stored->head, .body = STREAM_BODY_LENGTH, .length = stored->record.body_len};

    ex->status = stored->record.status;
    ex->ttl_s = freshness.lifetime_s - freshness.age_s;
    ex->age_s = freshness.age_s;
    ex->source = SOURCE_STORED;
    ex->unchanged = &ex->stored_headers;
    if (!response_may_have_body(METHOD_GET, ex->status)) {
        head.body = STREAM_BODY_NONE;
    } else if (ex->request.method == METHOD_HEAD) {
        head.body = STREAM_BODY_OMITTED;
    }
    if (!drop_qualified(ex, &head, &stored->record) || !drop_tags(ex, &head) ||
        (ex->cached.partial == NULL && !add_own_etag(ex, &head, stored->record.digest)) ||
        (ex->validated && !add_passed(ex, &head, ex->passed))) {
        return no_room(ex);
    }
    return finish_head(ex, &head, &stored->record);
}

/* ---- from a flight ---- */

/* How the body of a flight is framed for this client. */
static struct stream_head framing_of_flight(struct exchange *ex, const struct flight_head *flight_head)
{
    struct stream_head head = {.lines = flight_head->fields, .body = STREAM_BODY_UNKNOWN};

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

enum step respond_from_flight(struct exchange *ex)
{
    const struct flight_head *from = flight_head(ex->flight);
    uint8_t digest[DIGEST_BYTES];

    ex->policy = from->policy;
    struct freshness freshness = freshness_now(ex, &from->record.inputs);
    ex->status = from->status;
    ex->ttl_s = freshness.lifetime_s - freshness.age_s;
    ex->age_s = ex->leads ? -1 : freshness.age_s;
    ex->source = SOURCE_FLIGHT;
    ex->store_reason = flight_store_reason(ex->flight);
    ex->unchanged = &from->lines; /* the flight outlives the response's head */
    struct stream_head head = framing_of_flight(ex, from);
    /* A follower reuses (RFC 9111 §5.2.2.4). */
    bool done = (ex->leads || drop_qualified(ex, &head, &from->record)) && drop_tags(ex, &head);
    if (done && flight_digest(ex->flight, digest)) {
        done = add_own_etag(ex, &head, digest);
    }
    if (done && from->partial) { /* what is kept of a part's head is that of the whole */
        const struct content_range part = {
            .has_range = true, .range = from->range, .has_length = true, .complete_length = from->complete_length};
        done = respond_set_content_range(ex, &head, &part);
    }
    done = done && (!ex->leads || add_passed(ex, &head, from->passed));
    return done ? finish_head(ex, &head, &from->record) : no_room(ex);
}

/* Conditions first, then ranges (RFC 9110 §13.2.2), then the response begins. */
static enum step finish_head(struct exchange *ex, struct stream_head *head, const struct record *record)
{
    if (!respond_matches(ex, head)) {
        return exchange_not_matched(ex);
    }
    if (!respond_to_conditions(ex, head, record->inputs.response_ms)) {
        return no_room(ex);
    }
    ex->offset = ex->parts[0].first;
    ex->begun = true;
    return start_response(ex, head, record->http_1_0 ? 0 : 1) ? STEP_DELIVER : no_room(ex);
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
    ex->age_s = -1;
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
    if (!done) {
        return no_room(ex);
    }
    struct stream_head head = {.headers = &ex->headers, .body = STREAM_BODY_LENGTH, .length = text.len};
    ex->source = SOURCE_NONE;
    respond_with_part(ex, (struct part){.text = text, .end = text.len});
    if (ex->request.method == METHOD_HEAD) {
        head.body = STREAM_BODY_OMITTED;
        ex->part_count = 0;
    }
    return start_response(ex, &head, 1) ? STEP_DELIVER : no_room(ex);
}

bool respond_upgraded(struct exchange *ex, const struct headers *headers)
{
    struct stream_head head = {.headers = headers, .body = STREAM_BODY_NONE};

    ex->status = 101;
    ex->ttl_s = INT64_MIN;
    return start_response(ex, &head, 1);
}

/* ---- helpers ---- */

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
    bool of_flight = ex->flight != NULL && ex->source != SOURCE_STORED; /* also where it has no body to be sent */
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
                                 .fwd_status = of_flight ? flight_head(ex->flight)->status : ex->origin_status,
                                 .stored = stored,
                                 .collapsed = ex->collapsed,
                                 .has_ttl = ex->ttl_s != INT64_MIN && ex->outcome != OUTCOME_METHOD,
                                 .ttl_s = ex->ttl_s};
}

/* What larder says itself, behind the fields of every response. `minor`: the version it came by. */
static void write_own_lines(const struct exchange *ex, unsigned minor, struct buf *out)
{
    const struct cache_status status = own_status(ex);

    if (ex->age_s >= 0) {
        buf_add(out, SPAN("Age: "));
        buf_add_i64(out, ex->age_s);
        buf_add(out, SPAN("\r\n"));
    }
    forward_write_via(out, minor, span_of(status.name));
    buf_add(out, SPAN("Cache-Status: "));
    cache_status_write(&status, out);
    buf_add(out, SPAN("\r\n"));
}

/* False: no room. */
static bool start_response(struct exchange *ex, struct stream_head *head, unsigned minor)
{
    char memory[OWN_LINES_MAX_BYTES];
    struct buf own;

    buf_init_in(&own, memory, sizeof memory);
    write_own_lines(ex, minor, &own);
    head->status = ex->status;
    head->last_lines = buf_span(&own);
    ex->first_byte_us = exchange_now_us();
    return !own.failed && stream_start(ex->stream, head);
}
