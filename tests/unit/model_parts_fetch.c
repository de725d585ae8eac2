/* model_parts_fetch.c: the origin's answers, and what the cache is given of them, as proxy/origin/fetch_response.c and
 * fetch_validate.c do. See model_parts_fetch.h. */
#include "tests/unit/model_parts_fetch.h"

#include <string.h>

#include "cache/head.h"
#include "proxy/exchange/assess.h"
#include "tests/unit/cache_support.h"
#include "tests/unit/model_parts_write.h"
#include "tests/unit/model_write.h"

enum { HEAD_LIMIT_BYTES = 4096, MONOTONIC_MS = 5000000 };

void parts_fail_if(struct parts_run *run, bool wrong, const char *what)
{
    if (wrong && run->failure == NULL) {
        run->failure = what;
    }
}

/* ---- the origin's answers ---- */

void parts_receive(struct parts_run *run, const struct parts_client *client, struct parts_reply *reply,
                   int64_t request_ms, unsigned confirms)
{
    struct m_request plain = {.no_cache = client->step->no_cache};

    REQUIRE(run->history.count < RECEIVED_MAX);
    struct m_received *received = &run->history.items[run->history.count++];
    reply->head.fields[FIELD_A] = (uint8_t)run->history.count;
    *received = (struct m_received){
        .head = model_keep(&plain, &reply->head, request_ms, run->now_ms),
        .target = client->step->target,
        .version = reply->version,
        .bytes = reply->bytes,
        .complete_length = reply->complete_length,
        .confirms = (uint8_t)confirms,
    };
    if (confirms != 0) {
        const struct m_received *confirmed = &run->history.items[confirms - 1];
        received->complete_length = confirmed->complete_length;
        received->not_modified = reply->head;
        received->head = model_freshen(&confirmed->head, &reply->head, request_ms, run->now_ms);
    }
    received->may_store = reply->sound && !reply->breaks_off && reply->status != 416 &&
                          model_store(&plain, &received->head, run->rules) != FORBIDDEN;
}

unsigned parts_number_of(const struct headers *headers)
{
    uint64_t number = 0;

    (void)span_to_u64(span_skip(headers_value(headers, field_names[FIELD_A]), strlen("value")), &number);
    return (unsigned)number;
}

/* ---- filling ---- */

static struct record record_from(const struct http_response *response, int64_t request_ms, int64_t now_ms)
{
    struct record record = {.status = response->status};

    record.inputs = freshness_inputs_of(response, T0_MS + request_ms, T0_MS + now_ms, response->headers.arena);
    return record;
}

void parts_invalidate(struct parts_run *run, unsigned target)
{
    cache_invalidate(run->cache, &run->keys[target], NULL);
    run->invalidated = target;
    run->invalidated_count = run->history.count;
    run->tally->invalidated++;
}

static bool open_fill(struct parts_run *run, struct parts_client *client, const struct part_of_whole *part,
                      int64_t request_ms)
{
    const struct http_response *response = &part->whole;
    struct record record = record_from(response, request_ms, run->now_ms);
    struct buf fields;

    bool stores = policy_may_store(&client->request, response, &record.inputs, &run->policy).store && !part->mismatch;
    buf_init(&fields, HEAD_LIMIT_BYTES);
    head_write(&response->headers, &fields);
    struct flight_head head = {
        .status = part->partial ? 206 : response->status,
        .fields = buf_span(&fields),
        .policy = run->policy,
        .record = record,
        .length_known = response->framing.kind == FRAMING_LENGTH,
        .body_len = response->framing.length,
        .partial = part->partial,
        .range = part->range,
        .complete_length = part->complete_length,
    };
    if (part->partial) {
        head.record.body_len = part->complete_length;
        record_set_validator(&head.record, strong_validator_of(&response->headers, T0_S + run->now_ms / 1000));
    }
    flight_set_store_reason(client->flight, stores ? REASON_STORED : REASON_NO_STORE);
    REQUIRE(cache_fill_head(client->fill, &head, stores, UINT64_MAX, MONOTONIC_MS) == ERR_OK);
    buf_finish(&fields);
    return stores;
}

static void fill(struct parts_run *run, struct parts_client *client, const struct parts_reply *reply)
{
    char bytes[256];
    size_t len = 0;

    for (unsigned at = reply->bytes.first; at < reply->bytes.end; at++) {
        bytes[len++] = (char)model_byte(reply->version, at);
    }
    if (client->step->meanwhile) {
        parts_invalidate(run, client->step->target);
    }
    REQUIRE(len == 0 || cache_fill_append(client->fill, (struct span){bytes, len}) == ERR_OK);
    /* what the framing makes of a body that is not as long as it says */
    if (reply->breaks_off || (reply->content_length >= 0 && (size_t)reply->content_length != len)) {
        cache_fill_fail(client->fill, ERR_TRUNCATED);
    } else {
        cache_fill_complete(client->fill, SPAN(""));
    }
    client->fill = NULL;
}

void parts_leave(struct parts_client *client)
{
    if (client->flight != NULL) {
        flight_unfollow(client->flight, &client->party);
        flight_unref(client->flight);
        client->flight = NULL;
    }
}

void parts_join(struct parts_run *run, struct parts_client *client, const struct range_spec *range)
{
    struct join_request join = {.key = &run->keys[client->step->target],
                                .request = &client->request,
                                .range = range,
                                .wish = JOIN_WITHOUT_OTHERS,
                                .generation = client->generation,
                                .found = client->has_cached,
                                .now_ms = T0_MS + run->now_ms,
                                .monotonic_ms = MONOTONIC_MS,
                                .arena = run->arena};

    parts_leave(client);
    REQUIRE(cache_join(run->cache, &join, &client->party, &client->flight, &client->fill) == JOIN_ALONE);
    cache_fill_sent(client->fill);
}

/* ---- fetching ---- */

bool parts_flight_brings(const struct parts_client *client, uint64_t at)
{
    const struct flight_head *head;

    if (client->flight == NULL || flight_phase(client->flight) != FLIGHT_COMPLETE) {
        return false;
    }
    head = flight_head(client->flight);
    return head->partial && record_may_combine(&client->cached.stored.record, &head->record) &&
           head->range.first <= at && head->range.last >= at;
}

bool parts_take_answer(struct parts_run *run, struct parts_client *client, struct parts_reply *reply,
                       int64_t request_ms, const struct byte_range *gap)
{
    struct http_response response = parts_write_reply(reply, run->arena);
    int64_t response_ms = T0_MS + run->now_ms;
    struct part_of_whole part;

    REQUIRE(assess_part(&client->request, &response, client->ranged, response_ms, run->arena, &part));
    if (gap != NULL) {
        REQUIRE(assess_combine(&client->cached.stored, gap->first, response_ms, run->arena, &part));
        if (part.unfit) {
            run->tally->unfit++;
            cache_fill_refuse(client->fill);
            client->fill = NULL;
            return false;
        }
    }
    bool stores = open_fill(run, client, &part, request_ms);
    fill(run, client, reply);
    run->tally->stored += stores;
    run->tally->not_stored += !stores;
    return true;
}

bool parts_fetch_missing(struct parts_run *run, struct parts_client *client, const struct byte_range *gap)
{
    bool to_the_end = gap->last + 1 == client->cached.stored.record.body_len;
    struct range_spec spec = {.kind = to_the_end ? RANGE_SPEC_OPEN : RANGE_SPEC_CLOSED,
                              .first = gap->first,
                              .last = to_the_end ? 0 : gap->last};
    struct parts_asked asked = {.range = {.form = to_the_end ? M_RANGE_OPEN : M_RANGE_CLOSED,
                                          .first = (uint8_t)gap->first,
                                          .more = to_the_end ? 0 : (uint8_t)(gap->last - gap->first)}};
    const struct m_response *stored = &run->history.items[parts_number_of(&client->stored) - 1].head.response;
    int64_t request_ms = run->now_ms;

    if (client->answers >= PARTS_ANSWERS_MAX) {
        return false;
    }
    /* as proxy/origin/fetch.c: If-Range with the strong validator, where there is one */
    if (strong_validator_of(&client->stored, T0_S + run->now_ms / 1000).len > 0) {
        asked.if_range = (struct m_if_range){.etag = stored->etag, .etag_weak = stored->etag_weak};
        asked.if_range.date = stored->etag == 0 ? stored->last_modified : (struct opt){0};
    }
    client->ranged = true;
    parts_join(run, client, &spec);
    run->now_ms += client->step->delay_ms;
    struct parts_reply reply = parts_answer(client->step, &asked, client->answers++, run->now_ms / 1000);
    parts_receive(run, client, &reply, request_ms, 0);
    bool fits = parts_take_answer(run, client, &reply, request_ms, gap);
    run->tally->completed += fits && parts_flight_brings(client, gap->first);
    return fits && parts_flight_brings(client, gap->first);
}

bool parts_confirm(struct parts_run *run, struct parts_client *client, const struct parts_reply *reply,
                   int64_t request_ms)
{
    struct http_response not_modified = parts_write_reply(reply, run->arena);
    struct http_response as_stored = {.status = client->cached.stored.record.status};
    struct record record = client->cached.stored.record;
    struct headers merged;
    struct buf fields;

    (void)headers_remove(&not_modified.headers, SPAN("Content-Type"));
    if (!head_not_modified_selects(&client->stored, &not_modified.headers)) {
        return false;
    }
    REQUIRE(head_freshen(&client->stored, &not_modified.headers, run->arena, &merged));
    REQUIRE(headers_copy(&as_stored.headers, &merged, run->arena));
    record.inputs = record_from(&as_stored, request_ms, run->now_ms).inputs;
    buf_init(&fields, HEAD_LIMIT_BYTES);
    head_write(&merged, &fields);
    if (!policy_may_store(&client->request, &as_stored, &record.inputs, &run->policy).store) {
        parts_invalidate(run, client->step->target);
    }
    cache_fill_validated(client->fill, &client->cached, &record, buf_span(&fields));
    client->fill = NULL;
    buf_finish(&fields);
    client->stored = merged;
    client->cached.stored.record.inputs = record.inputs;
    run->tally->confirmed++;
    return true;
}
