/* why_suppose.c: what a response that the origin might send would be worth (`larder why --status`, and the tests of a
 * configuration). It is written as an origin would send it, read as larder reads it, and judged by assess.c like any
 * other; see fetch_response.c for the order. */
#include <string.h>

#include "cache/head.h"
#include "cache/vary.h"
#include "http/forward.h"
#include "http/parser.h"
#include "http/token.h"
#include "proxy/exchange/decide.h"
#include "proxy/io/log.h"
#include "proxy/why/why_internal.h"

enum { RESPONSE_MAX_BYTES = 20 * 1024 * 1024 };

/* ---- the response ---- */

static bool add_field(const char *text, struct buf *head, bool *has_framing, struct buf *error)
{
    const char *colon = strchr(text, ':');
    struct span name = {text, colon != NULL ? (size_t)(colon - text) : 0};

    if (colon == NULL || !is_token(name) || strpbrk(text, "\r\n") != NULL) {
        buf_format(error, "expected a response field such as 'Cache-Control: max-age=60', found %s",
                   log_quoted(span_of(text)).text);
        return false;
    }
    *has_framing = *has_framing || span_equal_nocase(name, SPAN("Content-Length")) ||
                   span_equal_nocase(name, SPAN("Transfer-Encoding"));
    buf_format(head, "%s\r\n", text);
    return true;
}

static bool write_head(const struct why_options *options, struct buf *head, struct buf *error)
{
    bool has_framing = false;

    buf_format(head, "HTTP/1.1 %u Supposed\r\n", options->response_status);
    for (size_t i = 0; i < options->response_field_count; i++) {
        if (!add_field(options->response_fields[i], head, &has_framing, error)) {
            return false;
        }
    }
    if (!has_framing && options->has_response_length) {
        buf_format(head, "Content-Length: %llu\r\n", (unsigned long long)options->response_length);
    }
    buf_add_text(head, "\r\n");
    return true;
}

bool why_check_response(const struct why_options *options, struct buf *error)
{
    struct buf head;

    buf_init(&head, RESPONSE_MAX_BYTES);
    bool good = write_head(options, &head, error);
    buf_finish(&head);
    return good;
}

static bool read_response(struct why *why, const struct why_options *options, enum method method, struct buf *error)
{
    const struct config *config = why->config;
    struct head_limits limits = {.head_bytes = config->server.max_head_bytes,
                                 .target_bytes = config->server.max_head_bytes,
                                 .field_count = config->server.max_fields};
    struct head_scan scan = {0};
    enum err failed = ERR_OK;
    struct buf head;
    size_t len;

    buf_init(&head, RESPONSE_MAX_BYTES);
    bool good = write_head(options, &head, error);
    if (good) {
        failed = head_find(&scan, buf_span(&head), &limits, &len);
    }
    if (good && failed == ERR_OK) {
        failed =
            parse_response_head(span_take(buf_span(&head), len), &limits, method, why->arena, &why->supposed.response);
    }
    buf_finish(&head);
    if (good && failed != ERR_OK) {
        buf_format(error, "no client would get such a response: %s", err_text(failed));
        return false;
    }
    return good && (assess_complete(&why->supposed.response, why->now_ms, why->arena) || why_no_memory(error));
}

/* ---- what it is worth ---- */

/* Is the request known to the key, so that its answer may be stored or freshen what is stored (exchange_pass)? */
static bool has_key(const struct why *why)
{
    if (why->action != WHY_PASS) {
        return true;
    }
    return why->reason != REASON_BYPASS_RULE && why->reason != REASON_UPGRADE &&
           (why->request.method == METHOD_POST || (why->request.method == METHOD_HEAD && why->has_failures));
}

/* Is a range asked for, or several: as the client has it, or what is missing? */
static bool asks_for_part(const struct why *why)
{
    struct range_set set;
    bool ranged = decide_single_range(&why->request.headers, &set) ||
                  decide_conditional_range(&why->request.headers, &set) || decide_several_ranges(&why->request.headers);

    if (why->completes) {
        return true;
    }
    return ranged && why->request.method == METHOD_GET &&
           (why->action == WHY_FETCH || (why->action == WHY_REVALIDATE && record_is_partial(&why->selected.record)));
}

/* What the client's conditions and ranges make of a 200 with these fields (respond.c). */
static unsigned status_for_client(const struct why *why, unsigned status, const struct headers *headers,
                                  uint64_t length)
{
    if (why->action == WHY_PASS || status != 200) {
        return status;
    }
    if (decide_not_modified(&why->request, status, headers, why->now_ms, why->now_ms)) {
        return 304;
    }
    return why_status_of_range(why, headers, length);
}

static void conclude_status(struct why *why)
{
    struct why_supposed *supposed = &why->supposed;
    const struct why_variant *selected = &why->selected;
    const struct http_response *response = &supposed->response;

    if (supposed->serves_stale || (supposed->confirms && response->status == 304)) {
        supposed->client_status =
            status_for_client(why, selected->record.status, &selected->headers, selected->record.body_len);
        return;
    }
    bool known = response->framing.kind == FRAMING_LENGTH;
    supposed->client_status =
        status_for_client(why, response->status, &response->headers, known ? response->framing.length : 0);
    bool part_held = supposed->part.partial &&
                     decide_not_modified(&why->request, 200, &supposed->part.whole.headers, why->now_ms, why->now_ms);
    if (part_held) {
        supposed->client_status = 304;
    }
}

/* May the selected response stay stored with these fields? */
static enum reason stays(const struct why *why, const struct http_response *freshened)
{
    struct answered now = {.config = why->config, .site = why->site, .request = &why->request, .response = freshened};
    struct freshness_inputs inputs = assess_freshness(why->config, freshened, why->now_ms, why->now_ms, why->arena);

    return assess_stay(&now, &inputs, why->selected.selection, why->arena);
}

/* What becomes of the selected response, of which the supposed one speaks (see fetch_validate.c). */
static enum reason freshen(const struct why *why)
{
    const struct http_response *response = &why->supposed.response;
    const struct header *age = headers_find(&response->headers, SPAN("Age"));
    struct http_response freshened = {.status = why->selected.record.status};

    if (!head_freshen(&why->selected.headers, &response->headers, why->arena, &freshened.headers) ||
        (age != NULL && !headers_set(&freshened.headers, SPAN("Age"), age->value))) {
        return REASON_NO_MEMORY;
    }
    enum reason dropped = stays(why, &freshened);
    if (dropped != REASON_NONE && response->status == 304 &&
        headers_remove(&freshened.headers, SPAN("Set-Cookie")) > 0) {
        dropped = stays(why, &freshened);
    }
    return dropped == REASON_NONE ? REASON_UPDATED : dropped;
}

/* Cache-Status says of a miss why it is or is not stored, of anything else why it was asked. */
static void conclude(struct why *why)
{
    struct why_supposed *supposed = &why->supposed;
    const struct why_failure *failed = &why->failures[FAILURE_STATUS];
    bool server_error = decide_is_server_failure(supposed->response.status);

    if (why->validates && supposed->response.status == 304) {
        supposed->confirms = assess_selects(why->config, &why->selected.headers, &supposed->response.headers);
        supposed->store_reason = supposed->confirms ? freshen(why) : REASON_NONE;
        supposed->reason = supposed->confirms ? REASON_REVALIDATED : why->reason;
        supposed->rule = NULL;
        return;
    }
    if (why->request.method == METHOD_HEAD && why->bridges && supposed->response.status == 200) {
        bool agrees = assess_head_agrees(&why->selected.headers, why->selected.record.body_len, &supposed->response);
        agrees = agrees && freshen(why) == REASON_UPDATED;
        supposed->assessment.verdict = (struct store_verdict){.reason = agrees ? REASON_UPDATED : REASON_OUTDATED};
        supposed->confirms = agrees;
    }
    supposed->store_reason = supposed->assessment.verdict.reason;
    supposed->stored = supposed->assessment.verdict.store;
    supposed->reason = why->reason;
    supposed->rule = why->rule;
    if (why->has_failures && server_error && failed->stale) {
        supposed->serves_stale = true;
        supposed->reason = failed->reason;
        supposed->rule = failed->rule;
    } else if (decide_shows_storing(why->outcome, why->reason)) {
        supposed->reason = supposed->store_reason;
        supposed->rule = supposed->assessment.verdict.rule;
    }
}

/* What else is not used any more after such an answer. False: no memory. */
static bool suppose_invalidation(struct why *why)
{
    struct why_supposed *supposed = &why->supposed;

    if (!why->has_failures) { /* the origin is not asked */
        return true;
    }
    struct invalidation what = assess_invalidation(&why->request, &supposed->response, why->arena);
    supposed->invalidated_groups = what.groups;
    for (size_t i = 0; i < what.uri_count; i++) {
        if (!why_url_of(why, &what.uris[i], &supposed->invalidated[i])) {
            return false;
        }
        supposed->invalidated_count++;
    }
    return true;
}

bool why_suppose(struct why *why, const struct why_options *options, struct buf *error)
{
    struct why_supposed *supposed = &why->supposed;
    struct http_request request = why->request;
    struct buf selection;

    if (why->action == WHY_FETCH) { /* for a HEAD, too (decide_head_as_get) */
        request.method = METHOD_GET;
    }
    if (why->site == NULL) { /* larder answers by itself */
        return true;
    }
    if (!read_response(why, options, request.method, error)) {
        return false;
    }
    if (!assess_part(&request, &supposed->response, asks_for_part(why), why->now_ms, why->arena, &supposed->part)) {
        return why_no_memory(error);
    }
    struct answered answered = {.config = why->config,
                                .site = why->site,
                                .request = &request,
                                .response = &supposed->part.whole,
                                .request_ms = why->now_ms,
                                .response_ms = why->now_ms,
                                .has_key = has_key(why),
                                .holds_good = why->holds_good};
    buf_init(&selection, VARY_MAX_BYTES * 4);
    supposed->assessment = assess_response(&answered, why->arena, &selection);
    if (supposed->part.mismatch) {
        supposed->assessment.verdict = (struct store_verdict){.reason = REASON_RANGE_MISMATCH};
    }
    bool done = arena_copy(why->arena, buf_span(&selection), &supposed->selection);
    buf_finish(&selection);
    struct lifetime_override lifetimes = policy_lifetimes(&supposed->assessment.policy);
    supposed->freshness = freshness_at(&supposed->assessment.inputs, &lifetimes, why->now_ms);
    why->has_supposed = true;
    conclude(why);
    conclude_status(why);
    return (done && suppose_invalidation(why)) || why_no_memory(error);
}

/* One slice, as a fill makes it (cache/fill.c). */
static bool add_slice(const struct why *why, struct record *record)
{
    const struct part_of_whole *part = &why->supposed.part;
    struct slices slices = {.count = 1,
                            .items[0] = {.first = part->range.first, .end = part->range.last + 1, .body_id = 1}};
    char *bytes = arena_alloc(why->arena, SLICE_BYTES);

    if (bytes == NULL) {
        return false;
    }
    slices_write(&slices, bytes);
    record->slices = (struct span){bytes, SLICE_BYTES};
    record->body_len = part->complete_length;
    record_set_validator(record, strong_validator_of(&part->whole.headers, why->now_ms / 1000));
    return true;
}

bool why_stored_of_supposed(const struct why *why, struct stored *out_stored)
{
    const struct why_supposed *supposed = &why->supposed;
    const struct freshness_inputs *inputs = &supposed->assessment.inputs;
    struct buf head;

    *out_stored = (struct stored){
        .record = {.object_id = 1,
                   .status = supposed->part.whole.status,
                   .inputs = *inputs,
                   .qualified_no_cache = inputs->directives.no_cache_fields.len > 0,
                   .qualified_private = inputs->directives.private_fields.len > 0,
                   .body_len = supposed->response.framing.length},
        .selection = supposed->selection,
    };
    buf_init(&head, RESPONSE_MAX_BYTES);
    head_write(&supposed->part.whole.headers, &head);
    bool done = !head.failed && arena_copy(why->arena, buf_span(&head), &out_stored->head);
    buf_finish(&head);
    return done && (!supposed->part.partial || add_slice(why, &out_stored->record));
}
