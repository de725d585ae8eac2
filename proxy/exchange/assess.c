/* assess.c: see assess.h. */
#include "proxy/exchange/assess.h"

#include "cache/head.h"
#include "cache/vary.h"
#include "http/date.h"
#include "http/forward.h"
#include "http/validators.h"
#include "proxy/config/route.h"

bool assess_complete(struct http_response *response, int64_t response_ms, struct arena *arena)
{
    char text[DATE_TEXT_LEN];
    struct span value;

    if (!forward_remove_hop_by_hop(&response->headers)) {
        return false;
    }
    if (headers_has(&response->headers, SPAN("Date"))) {
        return true;
    }
    date_format(response_ms / 1000, text);
    return arena_copy(arena, (struct span){text, DATE_TEXT_LEN}, &value) &&
           headers_add(&response->headers, SPAN("Date"), value);
}

/* Does the answer to a client's If-Range say all that is to be stored of it? */
static bool says_all(const struct http_response *response, int64_t response_ms)
{
    return strong_validator_of(&response->headers, response_ms / 1000).len > 0 &&
           headers_has(&response->headers, SPAN("Content-Type"));
}

bool assess_part(const struct http_request *request, const struct http_response *response, bool asked,
                 int64_t response_ms, struct arena *arena, struct part_of_whole *out_part)
{
    struct content_range content;

    *out_part = (struct part_of_whole){.whole = *response};
    if (response->status != 206 || !asked || !content_range_of_response(&response->headers, &content) ||
        !content.has_range || !content.has_length ||
        (headers_has(&request->headers, SPAN("If-Range")) && !says_all(response, response_ms))) {
        return true;
    }
    const struct framing *framing = &response->framing;
    if (framing->kind == FRAMING_LENGTH && framing->length != content.range.last - content.range.first + 1) {
        out_part->mismatch = true;
        return true;
    }
    out_part->partial = true;
    out_part->range = content.range;
    out_part->complete_length = content.complete_length;
    out_part->whole.status = 200;
    if (!headers_copy(&out_part->whole.headers, &response->headers, arena)) {
        return false;
    }
    (void)headers_remove(&out_part->whole.headers, SPAN("Content-Range"));
    return true;
}

/* Is it the answer to our If-Range: a part of the very representation that is stored, with the same strong validator
 * (RFC 9110 §15.3.7.3)? */
static bool is_missing_part(const struct stored *stored, const struct headers *stored_headers, uint64_t missing,
                            int64_t response_ms, const struct part_of_whole *part)
{
    int64_t now_s = response_ms / 1000;
    struct span validator = strong_validator_of(stored_headers, now_s);

    return part->partial && part->complete_length == stored->record.body_len && part->range.first <= missing &&
           part->range.last >= missing && validator.len > 0 &&
           span_equal(validator, strong_validator_of(&part->whole.headers, now_s));
}

bool assess_combine(const struct stored *stored, uint64_t missing, int64_t response_ms, struct arena *arena,
                    struct part_of_whole *part)
{
    const struct header *age = headers_find(&part->whole.headers, SPAN("Age"));
    unsigned status = part->partial ? 206 : part->whole.status;
    struct headers headers, merged;

    part->unfit = status == 206 || status == 304 || status == 416;
    if (!part->unfit || head_read(stored->head, arena, &headers) != ERR_OK ||
        !is_missing_part(stored, &headers, missing, response_ms, part)) {
        return true;
    }
    if (!head_freshen(&headers, &part->whole.headers, arena, &merged) ||
        (age != NULL && !headers_set(&merged, SPAN("Age"), age->value))) {
        return false;
    }
    part->unfit = !head_unite_names(&merged, &headers);
    part->whole.headers = merged;
    return true;
}

struct freshness_inputs assess_freshness(const struct config *config, const struct http_response *response,
                                         int64_t request_ms, int64_t response_ms, struct arena *arena)
{
    struct freshness_inputs inputs = freshness_inputs_of(response, request_ms, response_ms, arena);

    freshness_apply_targeted(&inputs, &response->headers, config->cache.targets, config->cache.target_count, arena);
    return inputs;
}

/* The origin saw what larder wrote into this field, not what the client sent and a selection would compare. The field
 * of the other style it never sees: all requests are alike in it (forwarded_remove_untold). */
static bool varies_by_client(const struct config *config, const struct headers *headers)
{
    switch (config->server.forwarded) {
    case FORWARDED_X:
        return headers_list_has(headers, SPAN("Vary"), SPAN("X-Forwarded-For"));
    case FORWARDED_RFC:
        return headers_list_has(headers, SPAN("Vary"), SPAN("Forwarded"));
    case FORWARDED_NONE:
        return false;
    }
    UNREACHABLE();
}

enum reason assess_selection(const struct config *config, const struct headers *response_headers,
                             const struct headers *request_headers, struct arena *arena, struct buf *selection)
{
    if (varies_by_client(config, response_headers)) {
        return REASON_VARY_CLIENT;
    }
    switch (vary_select(response_headers, &config->server.trust_forwarded_fields, request_headers, arena, selection)) {
    case VARY_NONE:
    case VARY_SOME:
        return REASON_NONE;
    case VARY_STAR:
        return REASON_VARY_STAR;
    case VARY_LIMIT:
        return REASON_VARY_TOO_MUCH;
    case VARY_TWIN:
        return REASON_VARY_TWIN;
    }
    UNREACHABLE();
}

/* Is this the answer to a POST that later GETs may have: explicitly fresh, and its content that of the target (RFC 9110
 * §9.3.3)? */
static bool answers_later_gets(const struct answered *answered, const struct freshness_inputs *inputs,
                               struct arena *arena)
{
    const struct header *location = headers_find(&answered->response->headers, SPAN("Content-Location"));
    const struct uri *target = &answered->request->uri;
    struct uri uri;

    return answered->request->method == METHOD_POST && answered->response->status == 200 &&
           freshness_is_explicit(inputs) && location != NULL &&
           uri_resolve(target, location->value, arena, &uri) == ERR_OK && uri_same_origin(target, &uri) &&
           span_equal(uri.path, target->path) && uri.has_query == target->has_query &&
           span_equal(uri.query, target->query);
}

/* Not only where the good response was validated: an error says less of the request than a good response by its Vary,
 * and would be selected in its place. */
static bool keeps_stored(const struct answered *answered)
{
    return answered->holds_good && answered->response->status >= 500;
}

static struct store_verdict judge(const struct answered *answered, const struct freshness_inputs *inputs,
                                  const struct policy *policy, struct arena *arena, struct buf *selection)
{
    const struct http_response *response = answered->response;
    struct http_request request = *answered->request;

    if (answers_later_gets(answered, inputs, arena)) { /* what is stored is stored for GET */
        request.method = METHOD_GET;
        request.framing = (struct framing){0};
    }
    struct store_verdict verdict = policy_may_store(&request, response, inputs, policy);
    if (!verdict.store) {
        return verdict;
    }
    if (!answered->has_key) {
        return (struct store_verdict){.reason = REASON_NOT_STORED_METHOD};
    }
    if (keeps_stored(answered)) {
        return (struct store_verdict){.reason = REASON_ERROR_KEEPS_STORED};
    }
    enum reason reason = assess_selection(answered->config, &response->headers, &request.headers, arena, selection);
    return reason == REASON_NONE ? verdict : (struct store_verdict){.reason = reason};
}

/* After Vary: * one recording serves all whose proxy says the same of them. */
static bool select_without_vary(const struct answered *answered, struct arena *arena, struct buf *selection)
{
    struct headers none;

    headers_init(&none, arena);
    return assess_selection(answered->config, &none, &answered->request->headers, arena, selection) == REASON_NONE;
}

/* Is what `verdict` refuses recorded? An error would be replayed in place of what is stored, being newer. */
static bool judge_recording(const struct answered *answered, const struct policy *policy,
                            const struct store_verdict *verdict, struct arena *arena, struct buf *selection)
{
    const struct http_response *response = answered->response;

    if (verdict->store || !answered->has_key || keeps_stored(answered) ||
        !policy_may_record(answered->request, response, policy)) {
        return false;
    }
    enum reason reason =
        assess_selection(answered->config, &response->headers, &answered->request->headers, arena, selection);
    return reason == REASON_NONE || (reason == REASON_VARY_STAR && select_without_vary(answered, arena, selection));
}

struct assessment assess_response(const struct answered *answered, struct arena *arena, struct buf *selection)
{
    const struct http_response *response = answered->response;
    struct assessment assessment = {
        .policy =
            route_policy(answered->config, answered->site, answered->request, response->status, &response->headers),
        .inputs = assess_freshness(answered->config, response, answered->request_ms, answered->response_ms, arena),
    };

    assessment.verdict = judge(answered, &assessment.inputs, &assessment.policy, arena, selection);
    assessment.records = judge_recording(answered, &assessment.policy, &assessment.verdict, arena, selection);
    return assessment;
}

struct invalidation assess_invalidation(const struct http_request *request, const struct http_response *response,
                                        struct arena *arena)
{
    static const struct span names[] = {SPAN_INIT("Location"), SPAN_INIT("Content-Location")};
    struct invalidation out = {.uri_count = 0};

    if (!policy_invalidates(request->method, response->status)) {
        return out;
    }
    out.uris[out.uri_count++] = request->uri;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct header *field = headers_find(&response->headers, names[i]);
        struct uri *uri = &out.uris[out.uri_count];
        if (field == NULL || uri_resolve(&request->uri, field->value, arena, uri) != ERR_OK) {
            continue;
        }
        uri->scheme = request->uri.scheme; /* TLS ends in front of larder: an application that knows says https */
        out.uri_count += uri_same_origin(&request->uri, uri);
    }
    if (!cache_groups_invalidated(request->method, &response->headers, arena, &out.groups)) {
        out.groups = (struct cache_groups){.count = 0};
    }
    return out;
}

static bool field_agrees(const struct headers *stored, const struct headers *now, struct span name)
{
    const struct header *field = headers_find(now, name);

    return field == NULL || span_equal(field->value, headers_value(stored, name));
}

bool assess_head_agrees(const struct headers *stored, uint64_t body_bytes, const struct http_response *response)
{
    const struct headers *now = &response->headers;
    const struct header *length = headers_find(now, SPAN("Content-Length"));
    uint64_t bytes = 0;

    return field_agrees(stored, now, SPAN("ETag")) && field_agrees(stored, now, SPAN("Last-Modified")) &&
           (length == NULL || (span_to_u64(length->value, &bytes) && bytes == body_bytes));
}

bool assess_selects(const struct config *config, const struct headers *stored, const struct headers *not_modified)
{
    struct span stored_tag = headers_value(stored, SPAN("ETag"));
    struct span tag = headers_value(not_modified, SPAN("ETag"));

    return head_not_modified_selects(stored, not_modified) ||
           (config->cache.profile == PROFILE_SAFE && etag_is_weak(stored_tag) && !etag_is_weak(tag) &&
            etag_equal_weak(stored_tag, tag));
}

enum reason assess_stay(const struct answered *now, const struct freshness_inputs *inputs, struct span selection,
                        struct arena *arena)
{
    const struct http_response *response = now->response;
    struct policy policy = route_policy(now->config, now->site, now->request, response->status, &response->headers);
    struct http_request as_get = *now->request;
    struct buf selects;

    as_get.method = METHOD_GET;
    as_get.framing = (struct framing){0};
    struct store_verdict verdict = policy_may_store(&as_get, response, inputs, &policy);
    if (!verdict.store) {
        return verdict.reason;
    }
    buf_init(&selects, VARY_MAX_BYTES * 4);
    enum reason reason = assess_selection(now->config, &response->headers, &now->request->headers, arena, &selects);
    if (reason == REASON_NONE && !span_equal(buf_span(&selects), selection)) {
        reason = REASON_OUTDATED;
    }
    buf_finish(&selects);
    return reason;
}
