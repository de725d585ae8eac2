/* exchange_partial.c: answering from a partial response: what of it this request wants and it does not hold is fetched,
 * and goes out between the bytes that are stored (RFC 9111 §3.4, RFC 9110 §15.3.7.3).
 *
 * Happy path: the first gap is asked for with Range and If-Range before the head is sent. A 206 with the same strong
 * validator freshens the stored head, and what there is and what comes are one representation: 200, or 206 for the
 * ranges asked for. Each further gap is asked for when the delivery comes to it.
 *
 * Failures:
 * - The origin has something else by now (200): its answer is the client's answer.
 * - It sends a part that does not fit, refuses the range, or has no strong validator: what is stored does not count,
 *   and the request goes on as if there were nothing (a part without a shared strong validator is never combined).
 * - The same when the head is sent already, or the origin is lost: the client's connection ends.
 * - Too many gaps: not worth so many requests. */
#include "proxy/exchange/exchange_internal.h"

#include "cache/head.h"
#include "proxy/exchange/decide.h"
#include "proxy/server/worker.h"

enum { PARTS_ASKED_MAX = 2 * DECIDE_GAPS_MAX }; /* for one request: the origin may send less than it was asked for */

/* ---- what is missing ---- */

size_t exchange_gaps(struct exchange *ex, struct byte_range *out_first)
{
    if (ex->cached.partial == NULL) {
        return 0;
    }
    return decide_gaps(&ex->request, &ex->cached.stored.record, &ex->stored_headers, &ex->cached.partial->slices,
                       ex->now_ms, out_first);
}

/* As if nothing were stored. */
static enum step ask_without(struct exchange *ex)
{
    ex->completing = false;
    ex->not_combined = true;
    ex->has_cached = false;
    return exchange_decide_fetch(ex);
}

enum step exchange_decide_missing(struct exchange *ex, size_t gaps)
{
    bool fresh = ex->verdict.reuse == REUSE_SERVE || ex->verdict.reuse == REUSE_SERVE_REVALIDATE;

    ex->outcome = fresh ? OUTCOME_PARTIAL : decide_validation_outcome(ex->reason);
    if (fresh) {
        exchange_because(ex, REASON_PARTIAL, NULL);
    }
    if (ex->only_if_cached || ex->policy.mode == MODE_OFFLINE) {
        return exchange_decide_fetch(ex); /* says so */
    }
    if (ex->not_combined || !decide_completes(&ex->request, &ex->cached.stored.record, fresh, gaps)) {
        return ask_without(ex);
    }
    return STEP_MISSING;
}

bool exchange_next_gap(struct exchange *ex)
{
    uint64_t end = ex->parts[ex->part].end;

    return slices_gap(&ex->cached.partial->slices, ex->offset, end, &ex->gap) && ex->gap.first == ex->offset;
}

/* ---- getting it ---- */

/* The head went out, and what should follow it cannot be had. */
static enum step broke_off(struct exchange *ex, enum err error)
{
    exchange_leave_flight(ex);
    ex->error = error;
    ex->end = END_ORIGIN_BROKE_OFF;
    stream_abort(ex->stream);
    return STEP_LOG;
}

enum step exchange_missing(struct exchange *ex)
{
    uint64_t length = ex->cached.stored.record.body_len;
    bool to_the_end = ex->gap.last + 1 == length;
    struct range_spec range = {.kind = to_the_end ? RANGE_SPEC_OPEN : RANGE_SPEC_CLOSED,
                               .first = ex->gap.first,
                               .last = to_the_end ? 0 : ex->gap.last};
    struct fill *fill = NULL;
    enum step next;

    exchange_leave_flight(ex);
    ex->completing = true;
    ex->gaps++;
    if (ex->gaps > PARTS_ASKED_MAX) {
        return ex->begun ? broke_off(ex, ERR_BAD_RESPONSE) : exchange_fail(ex, ERR_BAD_RESPONSE, REASON_ORIGIN_FAILED);
    }
    /* Once the head is out nothing is looked up again. */
    bool alone = ex->alone || ex->begun || ex->look_ups >= EXCHANGE_MAX_LOOK_UPS;
    struct join_request join = exchange_join_request(ex, alone ? JOIN_WITHOUT_OTHERS : JOIN_WITH_OTHERS);
    join.range = &range;
    switch (cache_join(ex->worker->cache, &join, &ex->party, &ex->flight, &fill)) {
    case JOIN_LOOK_AGAIN:
        ex->completing = false;
        return exchange_look_again(ex);
    case JOIN_FOLLOW:
        ex->collapsed = true;
        ex->asked_us = exchange_now_us();
        stream_set_deadline(ex->stream, exchange_collapse_wait_ms(ex));
        return STEP_AWAIT;
    case JOIN_LEAD:
    case JOIN_ALONE:
        ex->collapsed = false;
        next = exchange_begin_fetch(ex, fill, &range);
        return ex->begun && next == STEP_REPLY ? broke_off(ex, ex->error) : next;
    case JOIN_NOBODY:
    case JOIN_FAILED:
        break;
    }
    return ex->begun ? broke_off(ex, ERR_NO_MEMORY) : exchange_fail(ex, ERR_NO_MEMORY, REASON_ORIGIN_FAILED);
}

/* Does the flight bring the gap, or its beginning, of this very representation? */
static bool flight_has_gap(struct exchange *ex)
{
    const struct flight_head *head = flight_head(ex->flight);

    return head->partial && record_may_combine(&ex->cached.stored.record, &head->record) &&
           head->range.first <= ex->gap.first && head->range.last >= ex->gap.first;
}

/* The head of the part, folded into the stored one by the fetch, is that of the answer. */
static enum step combined(struct exchange *ex)
{
    const struct flight_head *head = flight_head(ex->flight);
    struct span fields;

    if (ex->gap.last > head->range.last) {
        ex->gap.last = head->range.last;
    }
    stream_set_deadline(ex->stream, 0);
    if (ex->begun) {
        return STEP_DELIVER;
    }
    if (!arena_copy(ex->arena, head->fields, &fields) || head_read(fields, ex->arena, &ex->stored_headers) != ERR_OK) {
        return exchange_fail(ex, ERR_ARENA_FULL, REASON_ORIGIN_FAILED);
    }
    ex->cached.stored.head = fields;
    ex->cached.stored.record.inputs = head->record.inputs;
    ex->cached.stored.record.qualified_no_cache = head->record.qualified_no_cache;
    ex->cached.stored.record.qualified_private = head->record.qualified_private;
    ex->store_reason = flight_store_reason(ex->flight);
    if (ex->leads) {
        ex->origin_status = head->status;
        ex->answered_us = exchange_now_us();
    }
    return STEP_SERVE;
}

enum step exchange_completed(struct exchange *ex)
{
    enum flight_phase phase = flight_phase(ex->flight);

    switch (phase) {
    case FLIGHT_PENDING:
        return STEP_WAIT;
    case FLIGHT_STREAMING:
    case FLIGHT_COMPLETE:
        if (!ex->leads && !cache_flight_serves(ex->flight, &ex->request, ex->now_ms, ex->arena)) {
            ex->alone = true; /* it was not for us */
            return STEP_MISSING;
        }
        if (flight_has_gap(ex)) {
            return combined(ex);
        }
        if (ex->begun) {
            return broke_off(ex, ERR_BAD_RESPONSE);
        }
        if (flight_head(ex->flight)->partial) {
            break; /* another's, that does not fit */
        }
        ex->completing = false; /* an answer to the whole of the request */
        ex->has_cached = false;
        return STEP_AWAIT;
    case FLIGHT_FAILED: {
        enum err error = flight_error(ex->flight);
        if (ex->begun) {
            return broke_off(ex, error);
        }
        return exchange_fail(ex, error, decide_failure(error));
    }
    case FLIGHT_REFUSED:
    case FLIGHT_VALIDATED:
        if (ex->begun) {
            return broke_off(ex, ERR_BAD_RESPONSE);
        }
        break;
    }
    exchange_leave_flight(ex);
    return ask_without(ex);
}
