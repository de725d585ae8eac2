/* model_parts_cache.c: larder's cache and decisions, put together as proxy/exchange/exchange.c and exchange_partial.c
 * do, for one client at a time; what is asked of the origin is in model_parts_fetch.c.
 *
 * Each answer of the origin carries its number in the model's history in a plain field, so that a stored head says
 * which answer it came from, and each byte says of which version and place it is. */
#include "tests/unit/model_parts_cache.h"

#include <stdio.h>

#include "cache/head.h"
#include "proxy/exchange/decide.h"
#include "tests/unit/cache_support.h"
#include "tests/unit/model_parts_fetch.h"
#include "tests/unit/model_parts_read.h"
#include "tests/unit/model_parts_write.h"
#include "tests/unit/model_write.h"

static void ask(struct parts_run *run, struct parts_client *client);

static void on_wake(struct party *party) /* nobody waits here */
{
    (void)party;
}

/* ---- what is served ---- */

/* Byte `at`, of what is stored or of what is fetched for it. False: it cannot be had, the client's connection is reset.
 */
static bool take_byte(struct parts_run *run, struct parts_client *client, uint64_t at, uint64_t end, uint8_t *out_byte)
{
    struct byte_range gap;

    if (parts_flight_brings(client, at)) {
        const struct flight_head *head = flight_head(client->flight);
        return parts_read_flight(run->reader, client->flight,
                                 flight_body_offset(client->flight) + (at - head->range.first), out_byte);
    }
    if (client->cached.partial == NULL || !slices_gap(&client->cached.partial->slices, at, end, &gap) ||
        gap.first != at) {
        return parts_read_stored(run->reader, &client->cached, at, out_byte);
    }
    return parts_fetch_missing(run, client, &gap) && take_byte(run, client, at, end, out_byte);
}

/* The bytes first … end-1, each of them held against the model. */
static void deliver(struct parts_run *run, struct parts_client *client, struct m_bytes bytes)
{
    unsigned number = parts_number_of(&client->stored);
    unsigned brought_by_head = 0;

    for (unsigned at = bytes.first; at < bytes.end; at++) {
        uint8_t byte;
        if (!take_byte(run, client, at, bytes.end, &byte)) {
            parts_fail_if(run, client->answers == 0, "what is stored can be read");
            run->tally->broken_off++;
            return;
        }
        parts_fail_if(run, !model_byte_belongs(&run->history, number, run->history.count - client->answers, at, byte),
                      "a byte of another representation than the validator names (RFC 9111 3.4)");
        const struct m_bytes *own = &run->history.items[number - 1].bytes;
        brought_by_head += own->first <= at && at < own->end;
    }
    run->tally->from_several += brought_by_head > 0 && brought_by_head < (unsigned)(bytes.end - bytes.first);
}

/* Answers with what is cached, and what is fetched to complete it. */
static void serve(struct parts_run *run, struct parts_client *client)
{
    const struct parts_step *step = client->step;
    struct m_request plain = {.no_cache = step->no_cache};
    unsigned number = parts_number_of(&client->stored);
    uint64_t length = client->cached.stored.record.body_len;
    struct ranges ranges;
    struct m_bytes want = {0};
    bool behind;

    parts_fail_if(run, number == 0 || number > run->history.count, "a head that no origin sent");
    if (run->failure != NULL) {
        return;
    }
    const struct m_received *received = &run->history.items[number - 1];
    parts_fail_if(run, received->target != step->target, "the head of another target");
    parts_fail_if(run, length != received->complete_length, "the complete length is that of the answer");
    if (!client->validated) {
        parts_fail_if(run, !model_may_hold(&run->history, number),
                      "what must not be stored, or was invalidated, is used");
        parts_fail_if(run, model_reuse(&plain, &received->head, run->rules, run->now_ms, &behind) == FORBIDDEN,
                      "it reused what the model forbids to reuse");
    }
    struct m_range range =
        model_if_range_holds(&step->if_range, &received->head.response) ? step->range : (struct m_range){0};
    enum m_selected selected = model_range(&range, (unsigned)length, &want);
    enum range_verdict verdict = decide_ranges(&client->request, &client->stored, length, T0_MS + run->now_ms, &ranges);
    parts_fail_if(run, (selected == M_UNSATISFIABLE) != (verdict == RANGE_UNSATISFIABLE), "416 (RFC 9110 14.1.1)");
    parts_fail_if(run, (selected == M_PART) != (verdict == RANGE_SATISFIABLE), "206 or 200 (RFC 9110 13.1.5, 14.2)");
    parts_fail_if(
        run,
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

/* ---- asking ---- */

/* As proxy/exchange/exchange_partial.c: what the request wants and is not stored is asked for before the head is sent.
 */
static void complete(struct parts_run *run, struct parts_client *client, const struct byte_range *gap)
{
    struct span fields;

    if (parts_fetch_missing(run, client, gap)) {
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

/* Asks for what the client wants; about what is cached, where something is. */
static void ask(struct parts_run *run, struct parts_client *client)
{
    const struct parts_step *step = client->step;
    bool whole_cached = client->has_cached && client->cached.partial == NULL;
    bool ranged = step->range.form != M_RANGE_NONE && !whole_cached;
    struct parts_asked asked = {.range = ranged ? step->range : (struct m_range){0}};
    unsigned number = client->has_cached ? parts_number_of(&client->stored) : 0;
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
    parts_join(run, client, ranged ? &set.specs[0] : NULL);
    run->now_ms += step->delay_ms;
    struct parts_reply reply = parts_answer(step, &asked, client->answers++, run->now_ms / 1000);
    bool confirms = reply.status == 304;
    parts_receive(run, client, &reply, request_ms, confirms ? number : 0);
    if (!confirms) {
        (void)parts_take_answer(run, client, &reply, request_ms, NULL);
        return;
    }
    if (parts_confirm(run, client, &reply, request_ms)) {
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

static void get(struct parts_run *run, const struct parts_step *step)
{
    struct parts_client client = {
        .step = step, .request = parts_write_request(step, run->arena), .party.wake = on_wake};
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
    parts_leave(&client);
    cached_finish(run->cache, &client.cached);
}

static void take_step(struct parts_run *run, const struct parts_step *step)
{
    run->now_ms += step->advance_ms;
    switch ((enum parts_act)step->act) {
    case PARTS_GET:
        get(run, step);
        return;
    case PARTS_POST:
        parts_invalidate(run, step->target);
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
    struct parts_run run = {.cache = cache_reader_cache(reader),
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
