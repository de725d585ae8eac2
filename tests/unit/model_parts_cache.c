/* model_parts_cache.c: larder's cache and decisions, put together as proxy/exchange/exchange.c, exchange_partial.c and
 * fetch_response.c do, for one client at a time.
 *
 * Each answer of the origin carries its number in the model's history in a plain field, so that a stored head says
 * which answer it came from, and each byte says of which version and place it is. */
#include "tests/unit/model_parts_cache.h"

#include <stdio.h>
#include <string.h>

#include "cache/head.h"
#include "proxy/exchange/assess.h"
#include "proxy/exchange/decide.h"
#include "tests/unit/cache_support.h"
#include "tests/unit/model_parts_read.h"
#include "tests/unit/model_parts_write.h"
#include "tests/unit/model_write.h"

enum { HEAD_LIMIT_BYTES = 4096, ANSWERS_MAX = 12, MONOTONIC_MS = 5000000 };

struct run {
    struct cache *cache;
    struct cache_reader *reader;
    struct arena *arena; /* of one step */
    struct policy policy;
    const struct m_rules *rules;
    struct key keys[PARTS_TARGET_COUNT];
    char key_texts[PARTS_TARGET_COUNT][64];
    struct m_history history;
    unsigned invalidated, invalidated_count; /* in this step: the target, and of how many answers to it */
    int64_t now_ms;                          /* since T0 */
    const char *failure;                     /* the first thing that was wrong, or NULL */
    struct parts_tally *tally;
};

/* One request. */
struct client {
    const struct parts_step *step;
    struct http_request request;
    struct cached cached;
    struct headers stored; /* the head of what is cached, as it is served */
    uint64_t generation;
    struct party party;
    struct flight *flight;
    struct fill *fill;
    bool has_cached;
    bool validated;   /* the origin was asked about it in this step */
    bool ranged;      /* the origin is asked for a part */
    unsigned answers; /* of the origin, so far */
};

static void ask(struct run *run, struct client *client);
static bool fetch_missing(struct run *run, struct client *client, const struct byte_range *gap);

static void fail_if(struct run *run, bool wrong, const char *what)
{
    if (wrong && run->failure == NULL) {
        run->failure = what;
    }
}

static void on_wake(struct party *party) /* nobody waits here */
{
    (void)party;
}

/* ---- the origin's answers ---- */

/* The answer gets the next number, and stands in the history. */
static void receive(struct run *run, const struct client *client, struct parts_reply *reply, int64_t request_ms,
                    unsigned confirms)
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

/* Which answer this head came with. */
static unsigned number_of(const struct headers *headers)
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

/* A response that has begun goes on with what it found: for the model it happens when the step is over. */
static void invalidate(struct run *run, unsigned target)
{
    cache_invalidate(run->cache, &run->keys[target], NULL);
    run->invalidated = target;
    run->invalidated_count = run->history.count;
    run->tally->invalidated++;
}

static bool open_fill(struct run *run, struct client *client, const struct part_of_whole *part, int64_t request_ms)
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

static void fill(struct run *run, struct client *client, const struct parts_reply *reply)
{
    char bytes[256];
    size_t len = 0;

    for (unsigned at = reply->bytes.first; at < reply->bytes.end; at++) {
        bytes[len++] = (char)model_byte(reply->version, at);
    }
    if (client->step->meanwhile) {
        invalidate(run, client->step->target);
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

static void leave(struct client *client)
{
    if (client->flight != NULL) {
        flight_unfollow(client->flight, &client->party);
        flight_unref(client->flight);
        client->flight = NULL;
    }
}

static void join(struct run *run, struct client *client, const struct range_spec *range)
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

    leave(client);
    REQUIRE(cache_join(run->cache, &join, &client->party, &client->flight, &client->fill) == JOIN_ALONE);
    cache_fill_sent(client->fill);
}

/* ---- what is served ---- */

static bool flight_brings(const struct client *client, uint64_t at)
{
    const struct flight_head *head;

    if (client->flight == NULL || flight_phase(client->flight) != FLIGHT_COMPLETE) {
        return false;
    }
    head = flight_head(client->flight);
    return head->partial && record_may_combine(&client->cached.stored.record, &head->record) &&
           head->range.first <= at && head->range.last >= at;
}

/* Byte `at`, of what is stored or of what is fetched for it. False: it cannot be had, the client's connection is reset.
 */
static bool take_byte(struct run *run, struct client *client, uint64_t at, uint64_t end, uint8_t *out_byte)
{
    struct byte_range gap;

    if (flight_brings(client, at)) {
        const struct flight_head *head = flight_head(client->flight);
        return parts_read_flight(run->reader, client->flight,
                                 flight_body_offset(client->flight) + (at - head->range.first), out_byte);
    }
    if (client->cached.partial == NULL || !slices_gap(&client->cached.partial->slices, at, end, &gap) ||
        gap.first != at) {
        return parts_read_stored(run->reader, &client->cached, at, out_byte);
    }
    return fetch_missing(run, client, &gap) && take_byte(run, client, at, end, out_byte);
}

/* The bytes first … end-1, each of them held against the model. */
static void deliver(struct run *run, struct client *client, struct m_bytes bytes)
{
    unsigned number = number_of(&client->stored);
    unsigned brought_by_head = 0;

    for (unsigned at = bytes.first; at < bytes.end; at++) {
        uint8_t byte;
        if (!take_byte(run, client, at, bytes.end, &byte)) {
            fail_if(run, client->answers == 0, "what is stored can be read");
            run->tally->broken_off++;
            return;
        }
        fail_if(run, !model_byte_belongs(&run->history, number, run->history.count - client->answers, at, byte),
                "a byte of another representation than the validator names (RFC 9111 3.4)");
        const struct m_bytes *own = &run->history.items[number - 1].bytes;
        brought_by_head += own->first <= at && at < own->end;
    }
    run->tally->from_several += brought_by_head > 0 && brought_by_head < (unsigned)(bytes.end - bytes.first);
}

/* Answers with what is cached, and what is fetched to complete it. */
static void serve(struct run *run, struct client *client)
{
    const struct parts_step *step = client->step;
    struct m_request plain = {.no_cache = step->no_cache};
    unsigned number = number_of(&client->stored);
    uint64_t length = client->cached.stored.record.body_len;
    struct ranges ranges;
    struct m_bytes want = {0};
    bool behind;

    fail_if(run, number == 0 || number > run->history.count, "a head that no origin sent");
    if (run->failure != NULL) {
        return;
    }
    const struct m_received *received = &run->history.items[number - 1];
    fail_if(run, received->target != step->target, "the head of another target");
    fail_if(run, length != received->complete_length, "the complete length is that of the answer");
    if (!client->validated) {
        fail_if(run, !model_may_hold(&run->history, number), "what must not be stored, or was invalidated, is used");
        fail_if(run, model_reuse(&plain, &received->head, run->rules, run->now_ms, &behind) == FORBIDDEN,
                "it reused what the model forbids to reuse");
    }
    struct m_range range =
        model_if_range_holds(&step->if_range, &received->head.response) ? step->range : (struct m_range){0};
    enum m_selected selected = model_range(&range, (unsigned)length, &want);
    enum range_verdict verdict = decide_ranges(&client->request, &client->stored, length, T0_MS + run->now_ms, &ranges);
    fail_if(run, (selected == M_UNSATISFIABLE) != (verdict == RANGE_UNSATISFIABLE), "416 (RFC 9110 14.1.1)");
    fail_if(run, (selected == M_PART) != (verdict == RANGE_SATISFIABLE), "206 or 200 (RFC 9110 13.1.5, 14.2)");
    fail_if(run,
            run->failure == NULL && selected == M_PART &&
                (ranges.count != 1 || ranges.items[0].first != want.first || ranges.items[0].last + 1 != want.end),
            "the range that was asked for (RFC 9110 14.1.2)");
    if (run->failure != NULL) {
        return;
    }
    run->tally->served += !client->validated;
    run->tally->served_parts += !client->validated && selected == M_PART;
    run->tally->unsatisfiable += selected == M_UNSATISFIABLE;
    if (selected != M_UNSATISFIABLE) {
        deliver(run, client, want);
    }
}

/* ---- fetching ---- */

/* The origin's answer, not a 304. False: it was to complete what is stored, and does not fit. */
static bool take_answer(struct run *run, struct client *client, struct parts_reply *reply, int64_t request_ms,
                        const struct byte_range *gap)
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

/* Asks for what is missing. True: the flight has the beginning of it at least. */
static bool fetch_missing(struct run *run, struct client *client, const struct byte_range *gap)
{
    bool to_the_end = gap->last + 1 == client->cached.stored.record.body_len;
    struct range_spec spec = {.kind = to_the_end ? RANGE_SPEC_OPEN : RANGE_SPEC_CLOSED,
                              .first = gap->first,
                              .last = to_the_end ? 0 : gap->last};
    struct parts_asked asked = {.range = {.form = to_the_end ? M_RANGE_OPEN : M_RANGE_CLOSED,
                                          .first = (uint8_t)gap->first,
                                          .more = to_the_end ? 0 : (uint8_t)(gap->last - gap->first)}};
    const struct m_response *stored = &run->history.items[number_of(&client->stored) - 1].head.response;
    int64_t request_ms = run->now_ms;

    if (client->answers >= ANSWERS_MAX) {
        return false;
    }
    /* as proxy/origin/fetch.c: If-Range with the strong validator, where there is one */
    if (strong_validator_of(&client->stored, T0_S + run->now_ms / 1000).len > 0) {
        asked.if_range = (struct m_if_range){.etag = stored->etag, .etag_weak = stored->etag_weak};
        asked.if_range.date = stored->etag == 0 ? stored->last_modified : (struct opt){0};
    }
    client->ranged = true;
    join(run, client, &spec);
    run->now_ms += client->step->delay_ms;
    struct parts_reply reply = parts_answer(client->step, &asked, client->answers++, run->now_ms / 1000);
    receive(run, client, &reply, request_ms, 0);
    bool fits = take_answer(run, client, &reply, request_ms, gap);
    run->tally->completed += fits && flight_brings(client, gap->first);
    return fits && flight_brings(client, gap->first);
}

/* As proxy/exchange/exchange_partial.c: what the request wants and is not stored is asked for before the head is sent.
 */
static void complete(struct run *run, struct client *client, const struct byte_range *gap)
{
    struct span fields;

    if (fetch_missing(run, client, gap)) {
        REQUIRE(arena_copy(run->arena, flight_head(client->flight)->fields, &fields)); /* the next gap is another's */
        REQUIRE(head_read(fields, run->arena, &client->stored) == ERR_OK);
        client->validated = true;
        serve(run, client);
        return;
    }
    if (flight_phase(client->flight) == FLIGHT_REFUSED || flight_head(client->flight)->partial) {
        client->has_cached = false;
        ask(run, client);
    }
}

/* A 304 for what is cached. False: it speaks of something else. */
static bool confirm(struct run *run, struct client *client, const struct parts_reply *reply, int64_t request_ms)
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
        invalidate(run, client->step->target);
    }
    cache_fill_validated(client->fill, &client->cached, &record, buf_span(&fields));
    client->fill = NULL;
    buf_finish(&fields);
    client->stored = merged;
    client->cached.stored.record.inputs = record.inputs;
    run->tally->confirmed++;
    return true;
}

/* Asks for what the client wants; about what is cached, where something is. */
static void ask(struct run *run, struct client *client)
{
    const struct parts_step *step = client->step;
    bool whole_cached = client->has_cached && client->cached.partial == NULL;
    bool ranged = step->range.form != M_RANGE_NONE && !whole_cached;
    struct parts_asked asked = {.range = ranged ? step->range : (struct m_range){0}};
    unsigned number = client->has_cached ? number_of(&client->stored) : 0;
    int64_t request_ms = run->now_ms;
    struct range_set set;

    bool conditional = ranged && decide_conditional_range(&client->request.headers, &set);
    if (conditional && client->has_cached) {
        return; /* it passes: the answer is the origin's */
    }
    if (conditional) {
        asked.if_range = step->if_range;
    }
    REQUIRE(!ranged || conditional || decide_single_range(&client->request.headers, &set));
    asked.if_none_match = number != 0 ? &run->history.items[number - 1].head.response : NULL;
    client->ranged = ranged;
    join(run, client, ranged ? &set.specs[0] : NULL);
    run->now_ms += step->delay_ms;
    struct parts_reply reply = parts_answer(step, &asked, client->answers++, run->now_ms / 1000);
    bool confirms = reply.status == 304;
    receive(run, client, &reply, request_ms, confirms ? number : 0);
    if (!confirms) {
        (void)take_answer(run, client, &reply, request_ms, NULL);
        return;
    }
    if (confirm(run, client, &reply, request_ms)) {
        client->validated = true;
        serve(run, client);
        return;
    }
    cache_fill_refuse(client->fill);
    client->fill = NULL;
    client->has_cached = false; /* RFC 9111 §4.3.3: asks for the whole */
    ask(run, client);
}

/* ---- steps ---- */

static void get(struct run *run, const struct parts_step *step)
{
    struct client client = {.step = step, .request = parts_write_request(step, run->arena), .party.wake = on_wake};
    const struct key *key = &run->keys[step->target];
    struct byte_range gap;
    enum reason reason;

    REQUIRE(policy_may_lookup(&client.request, &run->policy, &reason));
    client.has_cached = cache_find(run->reader, key, &client.request.headers, run->arena, &client.cached,
                                   &client.generation) == STORE_FOUND;
    if (client.has_cached) {
        const struct record *record = &client.cached.stored.record;
        int64_t now_ms = T0_MS + run->now_ms;
        REQUIRE(head_read(client.cached.stored.head, run->arena, &client.stored) == ERR_OK);
        enum reuse reuse = policy_may_reuse(&client.request, record, &run->policy, now_ms).reuse;
        bool fresh = reuse == REUSE_SERVE || reuse == REUSE_SERVE_REVALIDATE;
        size_t gaps = 0;
        if (client.cached.partial != NULL) {
            gaps = decide_gaps(&client.request, record, &client.stored, &client.cached.partial->slices, now_ms, &gap);
        }
        client.has_cached =
            reuse != REUSE_FETCH && (gaps == 0 || decide_completes(&client.request, record, fresh, gaps));
        if (client.has_cached && gaps > 0) {
            complete(run, &client, &gap);
        } else if (client.has_cached && fresh) {
            serve(run, &client);
        } else {
            ask(run, &client);
        }
    } else {
        ask(run, &client);
    }
    leave(&client);
    cached_finish(run->cache, &client.cached);
}

static void take_step(struct run *run, const struct parts_step *step)
{
    run->now_ms += step->advance_ms;
    switch ((enum parts_act)step->act) {
    case PARTS_GET:
        get(run, step);
        return;
    case PARTS_POST:
        invalidate(run, step->target);
        return;
    case PARTS_COMMIT:
        (void)cache_write(run->cache);
        return;
    }
}

const char *parts_cache_run(const struct parts_scenario *scenario, struct cache_reader *reader, struct arena *arena,
                            struct parts_tally *tally, int *out_step)
{
    static unsigned runs;
    struct run run = {.cache = cache_reader_cache(reader),
                      .reader = reader,
                      .arena = arena,
                      .policy = write_policy(&scenario->rules),
                      .rules = &scenario->rules,
                      .tally = tally};
    int done = 0;

    runs++;
    for (unsigned i = 0; i < PARTS_TARGET_COUNT; i++) {
        int len = snprintf(run.key_texts[i], sizeof(run.key_texts[i]), "GET http://test.example/%u/%u", runs, i);
        run.keys[i].text = (struct span){run.key_texts[i], (size_t)len};
        run.keys[i].hash = key_hash_of(run.keys[i].text, cache_secret(run.cache));
    }
    while (done < scenario->count && run.failure == NULL) {
        arena_reset(arena);
        take_step(&run, &scenario->steps[done]);
        model_invalidate(&run.history, run.invalidated, run.invalidated_count);
        run.invalidated_count = 0;
        done++;
    }
    *out_step = done;
    return run.failure;
}
