/* fetch_response.c: an origin's response: informational ones passed on, the final head judged, the body taken apart
 * into the fill.
 *
 * Happy path: the final head gives a verdict (stored or not, and why), opens the fill, and the body follows to its
 * verified end. A 304 to our own validators freshens the stored head, and everybody looks again
 * (fetch_validate.c).
 *
 * Failures:
 * - A head or a chunk that is not strictly HTTP: 502, and the connection is closed.
 * - The end before the end: the fill is failed, so that nothing of it is ever served as whole. */
#include "cache/head.h"
#include "cache/vary.h"
#include "http/forward.h"
#include "http/serialize.h"
#include "http/token.h"
#include "http/validators.h"
#include "proxy/exchange/assess.h"
#include "proxy/io/log.h"
#include "proxy/origin/fetch_internal.h"
#include "proxy/server/worker.h"

/* What became of the bytes at hand. */
enum taken {
    TAKEN_HEAD,    /* an informational one: look for the next */
    TAKEN_NOTHING, /* the head is not complete */
    TAKEN_ALL,     /* the rest is settled; the fetch may be gone */
};

static enum taken take_head(struct fetch *fetch);
static bool keep_rest(struct fetch *fetch);
static void take_body(struct fetch *fetch, struct span bytes);
static void final_head(struct fetch *fetch);
static void complete(struct fetch *fetch);
static void broken(struct fetch *fetch, enum err detail);

size_t fetch_fields_limit(const struct fetch *fetch)
{
    return 2 * fetch->worker->config->server.max_head_bytes;
}

void fetch_take(struct fetch *fetch, struct span bytes)
{
    fetch->responded = true;
    metrics_count_received(fetch->worker->shard, fetch->site, bytes.len);
    fetch->received_bytes += bytes.len;
    if (fetch->state == FETCH_BODY) {
        take_body(fetch, bytes);
        return;
    }
    /* Nearly all heads come in one piece: they are read where they lie. */
    enum taken taken = TAKEN_HEAD;
    bool continues = fetch->in.len > 0;
    fetch->rest = bytes;
    if (continues && !keep_rest(fetch)) {
        return;
    }
    while (taken == TAKEN_HEAD) {
        taken = take_head(fetch);
    }
    if (taken == TAKEN_NOTHING && continues) {
        buf_consume(&fetch->in, fetch->in.len - fetch->rest.len);
    } else if (taken == TAKEN_NOTHING) {
        (void)keep_rest(fetch); /* else the fetch has failed */
    }
}

/* Appends what is at hand to `in`, and has all of that at hand. False: the fetch has failed. */
static bool keep_rest(struct fetch *fetch)
{
    buf_add(&fetch->in, fetch->rest);
    if (fetch->in.failed) {
        broken(fetch, fetch->in.starved ? ERR_NO_MEMORY : ERR_HEAD_TOO_LARGE);
        return false;
    }
    fetch->rest = buf_span(&fetch->in);
    return true;
}

void fetch_take_end(struct fetch *fetch, enum err error)
{
    if (fetch->state == FETCH_BODY && error == ERR_OK && body_decoder_eof(&fetch->decoder) == ERR_OK) {
        complete(fetch);
        return;
    }
    if (fetch->state == FETCH_BODY) {
        log_warn("origin broke off origin=%s status=%u bytes=%llu", fetch_origin_text(fetch), fetch->response.status,
                 (unsigned long long)fetch->decoder.body_bytes);
    } else {
        log_warn("origin closed without an answer origin=%s", fetch_origin_text(fetch));
    }
    fetch_fail(fetch, fetch->state == FETCH_BODY ? ERR_TRUNCATED : ERR_RESET);
}

/* ---- heads ---- */

/* A 1xx: passed on to the one client that asked (RFC 9110 §15.2). */
static enum taken informational(struct fetch *fetch)
{
    struct http_response *response = &fetch->response;

    (void)headers_remove(&response->headers, SPAN("Content-Length")); /* RFC 9110 §8.6: it means nothing here */
    if (response->status == 101) {
        struct exchange *exchange = fetch->exchange;
        struct origin_conn *conn = fetch->conn;
        struct span upgrade = headers_value(&response->headers, SPAN("Upgrade"));
        bool asked = fetch->upgrade && fetch_request_is_out(fetch); /* RFC 9110 §7.8: all of it goes before */
        if (!asked || exchange == NULL || upgrade.len == 0 || !forward_remove_hop_by_hop(&response->headers) ||
            !headers_add(&response->headers, SPAN("Connection"), SPAN("upgrade")) ||
            !headers_add(&response->headers, SPAN("Upgrade"), upgrade)) {
            broken(fetch, ERR_BAD_STATUS);
            return TAKEN_ALL;
        }
        fetch_note_answer(fetch);
        exchange_on_fetch_ended(exchange, fetch->received_bytes, fetch->waited_us);
        fetch->received_bytes = 0; /* they are counted with the request */
        fetch->waited_us = 0;
        fetch->exchange = NULL;
        fetch->conn = NULL;
        exchange_on_upgraded(exchange, conn, &response->headers, fetch->rest);
        fetch_cancel(fetch);
        return TAKEN_ALL;
    }
    if (fetch->exchange != NULL && forward_remove_hop_by_hop(&response->headers)) {
        exchange_on_informational(fetch->exchange, response->status, &response->headers);
    }
    if (response->status == 100) {
        fetch_continue(fetch);
    }
    return TAKEN_HEAD;
}

/* Takes one head, and behind a final one the body. */
static enum taken take_head(struct fetch *fetch)
{
    const struct config *config = fetch->worker->config;
    struct head_limits limits = {.head_bytes = config->server.max_head_bytes,
                                 .target_bytes = config->server.max_head_bytes,
                                 .field_count = config->server.max_fields};
    size_t head_len = 0;

    enum err error = head_find(&fetch->scan, fetch->rest, &limits, &head_len);
    if (error == ERR_AGAIN) {
        return TAKEN_NOTHING;
    }
    if (error == ERR_OK) {
        error = parse_response_head_with(span_take(fetch->rest, head_len), &limits, fetch->request.method,
                                         origin_lines(fetch->pool->origins[fetch->choice.index]), &fetch->arena,
                                         &fetch->response);
        fetch->rest = span_skip(fetch->rest, head_len);
    }
    if (error != ERR_OK) {
        broken(fetch, error);
        return TAKEN_ALL;
    }
    fetch->scan = (struct head_scan){0};
    if (fetch->response.status < 200) {
        return informational(fetch);
    }
    final_head(fetch);
    return TAKEN_ALL;
}

/* A 204 with content is none (RFC 9110 §8.6, RFC 9112 §6.1): what comes behind it would be taken for the next answer.
 */
static bool promises_content(const struct http_response *response)
{
    if (response->status != 204) {
        return false;
    }
    struct span length = headers_value(&response->headers, SPAN("Content-Length"));
    return headers_has(&response->headers, SPAN("Transfer-Encoding")) ||
           (length.len > 0 && !span_equal(length, SPAN("0")));
}

static bool connection_may_stay(const struct http_response *response)
{
    const struct headers *headers = &response->headers;

    return !headers_list_has(headers, SPAN("Connection"), SPAN("close")) &&
           (response->minor == 1 || headers_list_has(headers, SPAN("Connection"), SPAN("keep-alive"))) &&
           response->framing.kind != FRAMING_CLOSE && !promises_content(response);
}

static void invalidate(struct fetch *fetch)
{
    const struct uri *target = &fetch->request.uri;
    const struct span parts[] = {target->scheme, SPAN_INIT("://"), target->authority};
    struct invalidation what = assess_invalidation(&fetch->request, &fetch->response, &fetch->arena);
    struct span origin;

    if (what.groups.count + what.groups.dropped_count > 0 &&
        arena_join(&fetch->arena, parts, ARRAY_LEN(parts), &origin)) {
        cache_invalidate_groups(fetch->worker->cache, origin, what.groups, fetch->response_ms, &fetch->arena);
    }
    for (size_t i = 0; i < what.uri_count; i++) {
        fetch_invalidate_uri(fetch, &what.uris[i]);
    }
}

HEADERS_FOLDED static inline void write_passed(struct buf *out, const struct headers *headers, struct span name)
{
    for (const struct header *field = headers_find(headers, name); field != NULL;
         field = headers_find_next(headers, field)) {
        write_field(out, field->name, field->value);
    }
}

/* Opens the fill with what the head says. False: no memory. */
static bool open_fill(struct fetch *fetch, const struct part_of_whole *part, const struct assessment *assessment,
                      struct span selection)
{
    const struct http_response *response = &part->whole;
    const struct freshness_inputs *inputs = &assessment->inputs;
    struct headers lines;
    struct buf fields, passed;

    buf_init(&fields, fetch_fields_limit(fetch));
    buf_init(&passed, fetch_fields_limit(fetch));
    buf_lend(&fetch->worker->spare_head, &fields);
    bool written = head_write_listed(&response->headers, &fields, &passed, &fetch->arena, &lines);
    write_passed(&passed, &response->headers, SPAN("Age"));
    write_passed(&passed, &response->headers, SPAN("Cache-Status"));
    write_passed(&passed, &response->headers, SPAN("Trailer"));
    if (fetch->request.method == METHOD_HEAD && response->status != 204 && response->status != 304) {
        write_passed(&passed, &response->headers, SPAN("Content-Length"));
    }
    struct flight_head head = {
        .status = fetch->response.status,
        .fields = buf_span(&fields),
        .lines = written ? lines : (struct headers){0},
        .passed = buf_span(&passed),
        .selection = selection,
        .policy = assessment->policy,
        .rule = assessment->verdict.rule,
        .record = {.status = response->status,
                   .inputs = *inputs,
                   .qualified_no_cache = inputs->directives.no_cache_fields.len > 0,
                   .qualified_private = inputs->directives.private_fields.len > 0,
                   .http_1_0 = fetch->response.minor == 0},
        .may_renew = fetch->renews,
        .length_known = response->framing.kind == FRAMING_LENGTH || response->framing.kind == FRAMING_NONE,
        .body_len = response->framing.length,
        .partial = part->partial,
        .range = part->range,
        .complete_length = part->complete_length,
    };
    if (part->partial) {
        head.record.body_len = part->complete_length;
        record_set_validator(&head.record, strong_validator_of(&response->headers, fetch->response_ms / 1000));
    }
    flight_set_store_reason(fetch->flight, assessment->verdict.reason);
    bool done = written && !passed.failed &&
                cache_fill_head(fetch->fill, &head, assessment->verdict.store, assessment->policy.max_object_bytes,
                                uv_now(&fetch->worker->loop)) == ERR_OK;
    buf_give_back(&fields, &fetch->worker->spare_head);
    buf_finish(&passed);
    return done;
}

/* Is it an error for a key under which something good is stored? Asked about when it comes, not when the request went
 * out: that may have been stored since. */
static bool keeps_stored(struct fetch *fetch)
{
    struct cache_reader *reader = fetch->worker->cache_reader;

    return fetch->response.status >= 500 && fetch->has_key && reader != NULL && cache_holds_good(reader, &fetch->key);
}

/* What becomes of the response. `compared`: what it did to what is stored, as the answer to HEAD. */
static struct assessment judge(struct fetch *fetch, const struct part_of_whole *part, enum reason compared,
                               struct buf *selection)
{
    struct answered answered = {.config = fetch->worker->config,
                                .site = fetch->site,
                                .request = &fetch->request,
                                .response = &part->whole,
                                .request_ms = fetch->request_ms,
                                .response_ms = fetch->response_ms,
                                .has_key = fetch->has_key,
                                .holds_good = keeps_stored(fetch)};
    struct assessment assessment = assess_response(&answered, &fetch->arena, selection);

    if (part->mismatch) {
        assessment.verdict = (struct store_verdict){.reason = REASON_RANGE_MISMATCH};
    }
    if (compared != REASON_NONE) {
        assessment.verdict = (struct store_verdict){.reason = compared};
    }
    if (assessment.verdict.store && !fetch_settle_key(fetch, &assessment.policy)) {
        assessment.verdict = (struct store_verdict){.reason = REASON_NO_MEMORY};
    }
    if (assessment.verdict.store && fetch->rekeyed && keeps_stored(fetch)) {
        assessment.verdict = (struct store_verdict){.reason = REASON_ERROR_KEEPS_STORED};
    }
    if (assessment.verdict.store) {
        fetch_prepare_renewal(fetch, buf_span(selection));
    }
    if (assessment.records && !part->mismatch && fetch_settle_recording(fetch)) {
        assessment.verdict = (struct store_verdict){.store = true, .reason = REASON_RECORDED};
    }
    return assessment;
}

/* RFC 9110 §15.4.5: to a GET or HEAD without a condition 304 says nothing. A client that holds nothing would be left
 * with nothing, and one that holds something with a confirmation of something else. (One that was to complete a partial
 * response is of no use, like any other.) */
static bool is_baseless(const struct fetch *fetch)
{
    return fetch->response.status == 304 && !fetch->conditional && !fetch->completing &&
           (fetch->request.method == METHOD_GET || fetch->request.method == METHOD_HEAD);
}

static void final_head(struct fetch *fetch)
{
    struct http_response *response = &fetch->response;
    enum reason compared = REASON_NONE;
    struct part_of_whole part;
    struct buf selection;

    fetch->response_ms = worker_now_ms();
    fetch_note_answer(fetch);
    fetch->reusable = connection_may_stay(response);
    fetch->awaits_continue = false;
    if (is_baseless(fetch)) {
        broken(fetch, ERR_BAD_STATUS);
        return;
    }
    if (!assess_complete(response, fetch->response_ms, &fetch->arena)) {
        fetch_fail(fetch, ERR_NO_MEMORY);
        return;
    }
    invalidate(fetch);
    if (response->status == 200 && fetch->comparing) {
        compared = fetch_compare(fetch);
    }
    if (response->status == 304 && fetch->validating) {
        fetch_validated(fetch);
        return;
    }
    bool partly = fetch->range.len > 0;
    if (!assess_part(&fetch->request, response, partly, fetch->response_ms, &fetch->arena, &part) ||
        (fetch->completing &&
         !assess_combine(&fetch->validate.stored, fetch->gap.first, fetch->response_ms, &fetch->arena, &part))) {
        fetch_fail(fetch, ERR_NO_MEMORY);
        return;
    }
    if (part.unfit) { /* it is of no use to anyone: they ask without what is stored */
        fetch->reusable = false;
        cache_fill_refuse(fetch->fill);
        fetch_finish(fetch);
        return;
    }
    buf_init(&selection, VARY_MAX_BYTES * 4);
    struct assessment assessment = judge(fetch, &part, compared, &selection);
    bool opened = open_fill(fetch, &part, &assessment, buf_span(&selection));
    buf_finish(&selection);
    if (!opened) {
        fetch_fail(fetch, ERR_NO_MEMORY);
        return;
    }
    fetch->state = FETCH_BODY;
    body_decoder_init(&fetch->decoder, &response->framing);
    if (body_decoder_done(&fetch->decoder)) {
        fetch->reusable = fetch->reusable && fetch->rest.len == 0;
        complete(fetch);
        return;
    }
    take_body(fetch, fetch->rest);
}

/* ---- bodies ---- */

static void take_body(struct fetch *fetch, struct span bytes)
{
    while (bytes.len > 0 && !body_decoder_done(&fetch->decoder)) {
        struct span piece;
        enum err error = body_decoder_feed(&fetch->decoder, &bytes, &piece);
        if (error != ERR_OK) {
            broken(fetch, error);
            return;
        }
        if (piece.len > 0 && cache_fill_append(fetch->fill, piece) != ERR_OK) {
            fetch_fail(fetch, ERR_NO_MEMORY);
            return;
        }
    }
    if (body_decoder_done(&fetch->decoder)) {
        fetch->reusable = fetch->reusable && bytes.len == 0; /* what follows a complete response is not the next one */
        complete(fetch);
        return;
    }
    fetch_read_on(fetch);
}

static void complete(struct fetch *fetch)
{
    struct headers trailers;
    struct buf lines;

    headers_init(&trailers, &fetch->arena);
    enum err error = body_decoder_trailers(&fetch->decoder, &trailers);
    if (error != ERR_OK) {
        broken(fetch, error);
        return;
    }
    buf_init(&lines, fetch_fields_limit(fetch));
    write_fields(&lines, &trailers);
    struct renewal renewal = {&fetch->validate, &fetch->renewed.record, fetch->renewed.head};
    cache_fill_complete_or_renew(fetch->fill, lines.failed ? (struct span){NULL, 0} : buf_span(&lines),
                                 fetch->renews ? &renewal : NULL);
    buf_finish(&lines);
    fetch_finish(fetch);
}

/* What clients are told: which limit it is; of what is malformed the log says more. */
static enum err answer_to(enum err detail)
{
    if (detail == ERR_HEAD_TOO_LARGE) {
        return ERR_RESPONSE_HEAD_TOO_LARGE;
    }
    if (detail == ERR_TOO_MANY_FIELDS) {
        return ERR_RESPONSE_TOO_MANY_FIELDS;
    }
    return detail == ERR_NO_MEMORY ? ERR_NO_MEMORY : ERR_BAD_RESPONSE;
}

/* Not HTTP as we read it: the connection is of no use, and the clients get a 502. */
static void broken(struct fetch *fetch, enum err detail)
{
    log_warn("origin speaks badly origin=%s error=%s", fetch_origin_text(fetch), err_name(detail));
    fetch_fail(fetch, answer_to(detail));
}
