/* decide.c: see decide.h. */
#include "proxy/exchange/decide.h"

#include "http/forward.h"
#include "http/forwarded.h"
#include "http/tags.h"
#include "http/token.h"
#include "http/validators.h"

/* The target URI (RFC 9110 §7.1). Behind a trusted proxy its scheme is the one that the client used there; an absolute
 * target names that of this connection (RFC 9110 §7.4). */
static enum err read_uri(enum forwarded_style believed, struct span scheme, struct span host,
                         struct http_request *request, struct arena *arena)
{
    struct span target = request->target;
    struct span used = scheme;

    if (believed != FORWARDED_NONE) {
        used = forwarded_scheme(&request->headers, believed, scheme);
    }
    bool is_absolute = target.len > 0 && target.data[0] != '/' && target.data[0] != '*';
    enum err error = uri_of_request(is_absolute ? scheme : used, target, host, arena, &request->uri);
    if (error == ERR_OK) {
        request->uri.scheme = used;
    }
    if (error == ERR_OK && request->method == METHOD_OPTIONS && uri_target_is_bare(target)) {
        request->uri.path = SPAN("*"); /* RFC 9112 §3.2.4: of the server as a whole, not of "/" */
    }
    return error;
}

enum err decide_request(const struct config *config, enum forwarded_style believed, struct span scheme,
                        struct span host, struct http_request *request, struct arena *arena)
{
    const struct header *expect = headers_find(&request->headers, SPAN("Expect"));
    uint64_t limit = config->server.max_request_body_bytes;

    if (request->method == METHOD_CONNECT || request->method == METHOD_TRACE) {
        return ERR_METHOD_REFUSED;
    }
    if (expect != NULL && !span_equal_nocase(expect->value, SPAN("100-continue"))) {
        return ERR_BAD_EXPECTATION;
    }
    if (forward_is_loop(&request->headers, span_of(config->server.via), config->server.instance_id)) {
        return ERR_LOOP;
    }
    if (span_equal(request->target, SPAN("*")) && request->method != METHOD_OPTIONS) {
        return ERR_BAD_TARGET; /* RFC 9112 §3.2.4 */
    }
    if (limit > 0 && request->framing.kind == FRAMING_LENGTH && request->framing.length > limit) {
        return ERR_BODY_TOO_LARGE;
    }
    enum err error = read_uri(believed, scheme, host, request, arena);
    forwarded_remove_untold(&request->headers, believed, &config->server.trust_forwarded_fields);
    return error;
}

enum reason decide_refusal(enum err error)
{
    return error == ERR_LOOP ? REASON_LOOP : REASON_BAD_REQUEST;
}

void decide_upgrade(const struct config *config, struct headers *request_headers)
{
    const struct header *field = headers_find(request_headers, SPAN("Upgrade"));

    for (size_t i = 0; field != NULL && i < config->server.upgrade_count; i++) {
        if (span_equal_nocase(field->value, config->server.upgrades[i]) &&
            headers_find_next(request_headers, field) == NULL) {
            return;
        }
    }
    (void)headers_remove(request_headers, SPAN("Upgrade"));
}

void decide_range(struct http_request *request)
{
    if (request->method == METHOD_GET && range_is_void(&request->headers)) {
        (void)headers_remove(&request->headers, SPAN("Range"));
        (void)headers_remove(&request->headers, SPAN("If-Range"));
    }
}

bool decide_purges(const struct site *site, const struct http_request *request)
{
    return site->purge_from_count > 0 && span_equal(request->method_name, SPAN("PURGE"));
}

bool decide_ends_here(struct http_request *request, struct arena *arena)
{
    const struct header *field = headers_find(&request->headers, SPAN("Max-Forwards"));
    uint64_t left;
    struct span text;

    if (request->method != METHOD_OPTIONS || field == NULL || !span_to_u64_clamped(field->value, INT32_MAX, &left)) {
        return false;
    }
    return left == 0 || !arena_format(arena, &text, "%llu", (unsigned long long)left - 1) ||
           !headers_set(&request->headers, SPAN("Max-Forwards"), text);
}

enum outcome decide_bypass_outcome(enum reason reason)
{
    if (reason == REASON_METHOD) {
        return OUTCOME_METHOD;
    }
    return reason == REASON_BYPASS_RULE ? OUTCOME_BYPASS : OUTCOME_REQUEST;
}

enum outcome decide_validation_outcome(enum reason reason)
{
    bool asked =
        reason == REASON_REQUEST_NO_CACHE || reason == REASON_REQUEST_MAX_AGE || reason == REASON_REQUEST_MIN_FRESH;

    return asked ? OUTCOME_REQUEST : OUTCOME_STALE;
}

bool decide_head_as_get(const struct policy *policy, bool stored, enum outcome outcome)
{
    return policy->head_as_get && !stored && outcome != OUTCOME_REQUEST;
}

bool decide_shows_storing(enum outcome outcome, enum reason reason)
{
    bool missed = outcome == OUTCOME_URI_MISS || outcome == OUTCOME_VARY_MISS || outcome == OUTCOME_STALE ||
                  outcome == OUTCOME_PARTIAL;

    return missed && reason != REASON_HEAD_MISS && reason != REASON_RANGE;
}

bool decide_is_kept(enum reason store_reason)
{
    return store_reason == REASON_STORED || store_reason == REASON_STORED_BY_RULE || store_reason == REASON_RECORDED ||
           store_reason == REASON_UPDATED || store_reason == REASON_UNCHANGED;
}

enum reason decide_failure(enum err error)
{
    if (error == ERR_TIMEOUT || error == ERR_CONNECT_TIMEOUT || error == ERR_RESOLVE_TIMEOUT) {
        return REASON_ORIGIN_TIMEOUT;
    }
    if (error == ERR_SATURATED) {
        return REASON_ORIGIN_SATURATED;
    }
    if (error == ERR_OFFLINE) {
        return REASON_OFFLINE_MISS;
    }
    return error == ERR_ORIGINS_DOWN ? REASON_ORIGINS_DOWN : REASON_ORIGIN_FAILED;
}

bool decide_is_server_failure(unsigned status)
{
    return status == 500 || status == 502 || status == 503 || status == 504;
}

static const struct span own_tag_start = SPAN_INIT("\"larder-");

/* Of decide_own_etag's making? */
static bool is_own_tag(struct span tag)
{
    size_t digits = 2 * (size_t)DIGEST_BYTES;

    if (!span_starts_with(tag, own_tag_start) || tag.len != own_tag_start.len + digits + 1 ||
        tag.data[tag.len - 1] != '"') {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        char byte = tag.data[own_tag_start.len + i];
        if (!(byte >= '0' && byte <= '9') && !(byte >= 'a' && byte <= 'f')) {
            return false;
        }
    }
    return true;
}

bool decide_names_own_tags(const struct headers *request_headers, struct span name)
{
    size_t tags = 0;

    for (const struct header *line = headers_find(request_headers, name); line != NULL;
         line = headers_find_next(request_headers, line)) {
        struct span rest = line->value;
        struct span tag;
        while (etag_list_next(&rest, &tag)) {
            if (!is_own_tag(tag)) {
                return false;
            }
            tags++;
        }
    }
    return tags > 0;
}

enum own_match decide_own_match(struct http_request *request, struct span *out_value)
{
    const struct span name = SPAN_INIT("If-Match");
    bool present;

    if (!decide_names_own_tags(&request->headers, name)) {
        return OWN_MATCH_NONE;
    }
    if (request->method != METHOD_GET && request->method != METHOD_HEAD) {
        return OWN_MATCH_FAILED;
    }
    if (!headers_combine(&request->headers, name, request->headers.arena, out_value, &present)) {
        return OWN_MATCH_FAILED;
    }
    (void)headers_remove(&request->headers, name);
    (void)headers_remove(&request->headers, SPAN("If-Unmodified-Since")); /* RFC 9110 §13.1.4: not looked at with it */
    return OWN_MATCH_COMPARED;
}

bool decide_wants_own_etag(const struct policy *policy, unsigned status, const struct headers *response_headers)
{
    return policy->own_etag && status == 200 && !headers_has(response_headers, SPAN("ETag")) &&
           !headers_has(response_headers, SPAN("Last-Modified"));
}

bool decide_own_etag(const struct policy *policy, unsigned status, const uint8_t digest[DIGEST_BYTES],
                     struct headers *response_headers)
{
    struct buf tag;
    struct span copy;

    if (!decide_wants_own_etag(policy, status, response_headers)) {
        return true;
    }
    buf_init(&tag, own_tag_start.len + 2 * (size_t)DIGEST_BYTES + 1);
    buf_add(&tag, own_tag_start);
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        buf_format(&tag, "%02x", digest[i]);
    }
    buf_add_byte(&tag, '"');
    bool done = !tag.failed && arena_copy(response_headers->arena, buf_span(&tag), &copy) &&
                headers_add(response_headers, SPAN("ETag"), copy);
    buf_finish(&tag);
    return done;
}

void decide_tags(const struct policy *policy, struct headers *response_headers)
{
    if (policy->strip_tags) {
        (void)tags_remove(response_headers); /* how many there were is of no interest */
    }
}

const char *decide_purge_text(const struct purge *purge, struct arena *arena)
{
    struct span text;

    return arena_format(arena, &text, "%s, sequence %llu", purge_kind_text(purge->kind),
                        (unsigned long long)purge->sequence)
               ? text.data
               : NULL;
}

bool decide_not_modified(const struct http_request *request, unsigned status, const struct headers *response_headers,
                         int64_t received_ms, int64_t now_ms)
{
    bool asks = request->method == METHOD_GET || request->method == METHOD_HEAD;

    return asks && status == 200 &&
           condition_evaluate(&request->headers, response_headers, received_ms / 1000, now_ms / 1000) ==
               CONDITION_MATCHED;
}

enum range_verdict decide_ranges(const struct http_request *request, const struct headers *response_headers,
                                 uint64_t complete_length, int64_t now_ms, struct ranges *out_ranges)
{
    struct range_set set;

    if (request->method != METHOD_GET || !range_of_request(&request->headers, &set) ||
        !if_range_holds(&request->headers, response_headers, now_ms / 1000)) {
        return RANGE_NONE;
    }
    return range_resolve(&set, complete_length, out_ranges);
}

bool decide_single_range(const struct headers *request_headers, struct range_set *out_set)
{
    return range_of_request(request_headers, out_set) && out_set->count == 1 &&
           !headers_has(request_headers, SPAN("If-Range"));
}

bool decide_conditional_range(const struct headers *request_headers, struct range_set *out_set)
{
    return range_of_request(request_headers, out_set) && out_set->count == 1 &&
           headers_count_of(request_headers, SPAN("If-Range")) == 1;
}

bool decide_several_ranges(const struct headers *request_headers)
{
    struct range_set set;

    return range_of_request(request_headers, &set) && set.count > 1 && !headers_has(request_headers, SPAN("If-Range"));
}

size_t decide_gaps(const struct http_request *request, const struct record *record,
                   const struct headers *stored_headers, const struct slices *slices, int64_t now_ms,
                   struct byte_range *out_first)
{
    struct ranges ranges = {.count = 0};
    size_t gaps = 0;

    if (request->method != METHOD_GET || record->body_len == 0 ||
        decide_not_modified(request, record->status, stored_headers, record->inputs.response_ms, now_ms)) {
        return 0;
    }
    if (decide_ranges(request, stored_headers, record->body_len, now_ms, &ranges) == RANGE_NONE) {
        ranges.count = 1;
        ranges.items[0] = (struct byte_range){.first = 0, .last = record->body_len - 1};
    }
    for (size_t i = 0; i < ranges.count; i++) {
        uint64_t first = ranges.items[i].first;
        uint64_t end = ranges.items[i].last + 1;
        if (gaps == 0) {
            (void)slices_gap(slices, first, end, out_first);
        }
        gaps += slices_gap_count(slices, first, end);
    }
    return gaps;
}

bool decide_completes(const struct http_request *request, const struct record *record, bool fresh, size_t gaps)
{
    if (gaps > DECIDE_GAPS_MAX) {
        return false;
    }
    /* Without a strong validator the origin is still asked for the rest of a fresh response: it may answer with the
     * whole. Not for a range: that answer would be more than the client wants. */
    return record_has_strong_validator(record) || (fresh && !headers_has(&request->headers, SPAN("Range")));
}

bool decide_validators(const struct headers *stored_headers, struct headers *conditions)
{
    const struct header *etag = headers_find(stored_headers, SPAN("ETag"));
    const struct header *last_modified = headers_find(stored_headers, SPAN("Last-Modified"));

    return (etag == NULL || headers_add(conditions, SPAN("If-None-Match"), etag->value)) &&
           (last_modified == NULL || headers_add(conditions, SPAN("If-Modified-Since"), last_modified->value));
}
