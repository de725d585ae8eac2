/* deliver.c: the body of a response to its client, from text, the store or a flight.
 *
 * Happy path: bytes go to the stream as long as it takes them; then the end. The stream pulls: when it is full, DELIVER
 * waits for exchange_on_writable, when a flight has nothing yet, for its wake. From the store bytes go out within one
 * call; what the socket did not take is read again later. What is not in memory is read into it by another thread
 * first.
 *
 * Failures:
 * - The body breaks off (the origin did, or a stored piece cannot be read): stream_abort; the client must not take what
 *   it got for the whole.
 *   Where that happens before anything of the response was sent, REPLY says so instead, and what was stored and cannot
 *   be read is fetched. So the head waits for the first bytes of the store, and what a look-up has read of the body
 *   goes out with those that follow it. Of several ranges a quarter of a megabyte in all is read ahead, for the text
 *   in front of the first one goes out with the head.
 * - Several clients get a body that is not stored, and this one is too slow for the others: the same, with its own
 * name.
 * - The client is gone: LOG. */
#include <string.h>

#include "proxy/exchange/exchange_internal.h"

#include "cache/head.h"
#include "proxy/exchange/cold.h"
#include "proxy/exchange/decide.h"
#include "proxy/io/log.h"
#include "proxy/server/worker.h"

enum {
    READ_BYTES = 256 * 1024, /* asked of the store at once */
    FLIGHT_RUNS = 4,         /* of a flight's memory, sent at once */
};

static enum step finish(struct exchange *ex);
static enum step broke_off(struct exchange *ex, enum err error, enum end_reason end);
static enum step unreadable(struct exchange *ex);

/* What became of one attempt to send. */
enum progress {
    PROGRESS_MORE,       /* go on */
    PROGRESS_WAIT,       /* the stream or the flight will wake us */
    PROGRESS_END,        /* the body is complete */
    PROGRESS_GONE,       /* the client */
    PROGRESS_LOST,       /* the body broke off */
    PROGRESS_UNREADABLE, /* the store does not give what comes next */
    PROGRESS_SHED,       /* what comes next is gone: the others would not wait */
    PROGRESS_GAP,        /* what comes next is missing and must be fetched */
};

enum { RUNS_MAX = STORE_READ_MAX_PIECES + 1 }; /* what one read gives, and what goes before it */

/* Sends `runs`, which begin at ex->offset, as far as the part reaches, and `max_bytes` at most. */
static enum progress send_runs(struct exchange *ex, const struct span *runs, size_t count, uint64_t max_bytes,
                               size_t *out_accepted)
{
    struct span clipped[RUNS_MAX];
    uint64_t left = ex->parts[ex->part].end - ex->offset;
    size_t used = 0;

    left = left < max_bytes ? left : max_bytes;

    for (; used < count && used < RUNS_MAX && left > 0; used++) {
        clipped[used] = span_take(runs[used], left < runs[used].len ? (size_t)left : runs[used].len);
        left -= clipped[used].len;
    }
    enum stream_state state = stream_write(ex->stream, clipped, used, out_accepted);

    ex->offset += *out_accepted;
    switch (state) {
    case STREAM_READY:
        return PROGRESS_MORE;
    case STREAM_BLOCKED:
        return PROGRESS_WAIT;
    case STREAM_GONE:
        return PROGRESS_GONE;
    }
    UNREACHABLE();
}

static enum progress send_run(struct exchange *ex, struct span run, uint64_t max_bytes)
{
    size_t accepted;

    return send_runs(ex, &run, 1, max_bytes, &accepted);
}

/* Sends `first`, which lies in `segment` and at `run`'s offset, with what the flight has in memory behind it; gives the
 * segment back. */
static enum progress send_segments(struct exchange *ex, const struct stored_run *run, struct segment *segment,
                                   struct span first)
{
    struct segment *segments[FLIGHT_RUNS] = {segment};
    struct span runs[FLIGHT_RUNS] = {first};
    uint64_t bytes = first.len;
    size_t count = 1;
    size_t accepted;

    while (count < FLIGHT_RUNS && bytes < run->bytes &&
           flight_read(run->flight, run->offset + bytes, &segments[count], &runs[count]) == FLIGHT_READ_DATA) {
        bytes += runs[count].len;
        count++;
    }
    enum progress progress = send_runs(ex, runs, count, run->bytes, &accepted);
    for (size_t i = 0; i < count; i++) {
        segment_unref(segments[i]);
    }
    return progress;
}

struct read_context {
    struct exchange *ex;
    struct span before; /* goes out in front of what is read */
    enum progress progress;
};

static size_t on_stored_runs(void *arg, const struct span *runs, size_t count) /* store_read_fn */
{
    struct read_context *context = arg;
    struct span all[RUNS_MAX];
    size_t accepted;

    if (context->before.len == 0) {
        context->progress = send_runs(context->ex, runs, count, UINT64_MAX, &accepted);
        return accepted;
    }
    REQUIRE(count < RUNS_MAX);
    all[0] = context->before;
    memcpy(all + 1, runs, count * sizeof(*runs));
    context->progress = send_runs(context->ex, all, count + 1, UINT64_MAX, &accepted);
    return accepted > context->before.len ? accepted - context->before.len : 0;
}

static void on_warm(void *arg) /* cold_done_fn */
{
    struct exchange *ex = arg;

    ex->cold = NULL;
    ex->warm = true;
    exchange_on_writable(ex);
}

/* Leaves the wait for the disk to another thread. A head that waits to be sent waits on: the disk may have nothing for
 * it. PROGRESS_MORE: no memory for that, it must be had here. */
static enum progress await_disk(struct exchange *ex, uint64_t body_id, const struct store_cold *cold)
{
    ex->cold = cold_read_start(&ex->worker->loop, cache_store(ex->worker->cache), body_id, cold, on_warm, ex);
    if (ex->cold == NULL) {
        ex->warm = true;
        return PROGRESS_MORE;
    }
    return PROGRESS_WAIT;
}

static enum progress not_read(struct exchange *ex, const struct stored_run *run, enum err error)
{
    log_error("stored body unreadable error=%s key=%s body=%llu offset=%llu", err_name(error),
              log_quoted(ex->key.text).text, (unsigned long long)run->body_id, (unsigned long long)run->offset);
    ex->error = error;
    return PROGRESS_UNREADABLE;
}

/* Sends `before`, which lies at ex->offset of the representation, and what follows it there: from the store. What was
 * read into memory a moment ago is read in any case: where memory is short it may be gone again, and this client would
 * wait for ever. */
static enum progress send_from_store(struct exchange *ex, const struct stored_run *run, struct span before)
{
    struct read_context context = {.ex = ex, .before = before, .progress = PROGRESS_UNREADABLE};
    struct store_cold cold;
    size_t used;
    struct store_reader *reader = cache_reader_store(ex->worker->cache_reader);
    uint64_t left = ex->parts[ex->part].end - ex->offset - before.len; /* of a small range not more than it has */
    uint64_t wanted = run->bytes < left ? run->bytes : left;
    size_t max_bytes = wanted < READ_BYTES ? (size_t)wanted : READ_BYTES;
    enum err error;

    if (ex->cold != NULL) {
        return PROGRESS_WAIT; /* something else woke us */
    }
    if (ex->warm) {
        ex->warm = false;
        error = store_read(reader, run->body_id, run->offset, max_bytes, on_stored_runs, &context, &used);
    } else {
        error = store_read_now(reader, run->body_id, run->offset, max_bytes, on_stored_runs, &context, &used, &cold);
    }
    if (error == ERR_COLD) {
        return await_disk(ex, run->body_id, &cold);
    }
    return error == ERR_OK ? context.progress : not_read(ex, run, error);
}

/* The same from a flight's memory, or from the store what has left it. */
static enum progress send_from_flight(struct exchange *ex, const struct stored_run *run)
{
    struct flight *flight = run->flight;
    uint64_t offset = ex->offset;
    struct segment *segment = NULL;
    struct span bytes;

    switch (flight_read(flight, run->offset, &segment, &bytes)) {
    case FLIGHT_READ_DATA: {
        enum progress progress = send_segments(ex, run, segment, bytes);
        if (flight == ex->flight) {
            flight_consumed(flight, &ex->party, run->offset + (ex->offset - offset));
        }
        return progress;
    }
    case FLIGHT_READ_IN_STORE:
        if (flight == ex->flight) {
            flight_consumed(flight, &ex->party, run->offset);
        }
        return send_from_store(ex, run, SPAN(""));
    case FLIGHT_READ_WAIT:
        if (flight == ex->flight) {
            flight_consumed(flight, &ex->party, run->offset); /* a range needs nothing before it */
        }
        /* What was begun goes out now: the client sees the head, and each piece, as the origin sends it. */
        return stream_flush(ex->stream) == STREAM_GONE ? PROGRESS_GONE : PROGRESS_WAIT;
    case FLIGHT_READ_END:
        if (run->bytes != UINT64_MAX) { /* shorter than it was said to be */
            ex->error = ERR_TRUNCATED;
            return PROGRESS_LOST;
        }
        return PROGRESS_END;
    case FLIGHT_READ_FAILED:
        ex->error = flight_error(flight);
        return PROGRESS_LOST;
    case FLIGHT_READ_SHED:
        return PROGRESS_SHED;
    }
    UNREACHABLE();
}

/* A flight that carries the whole, or (a 206 that is passed on) all that the client gets. */
static enum progress send_from_whole_flight(struct exchange *ex, struct flight *flight)
{
    struct stored_run run = {.flight = flight,
                             .body_id = flight_head(flight)->record.body_id,
                             .offset = flight_body_offset(flight) + ex->offset,
                             .bytes = UINT64_MAX};

    return send_from_flight(ex, &run);
}

/* What is stored, then what is being fetched of the gaps. */
static enum progress send_partial(struct exchange *ex)
{
    struct stored_run run;

    if (partial_run(ex->cached.partial, ex->offset, &run)) {
        return run.flight != NULL ? send_from_flight(ex, &run) : send_from_store(ex, &run, SPAN(""));
    }
    if (!ex->completing || ex->flight == NULL || ex->offset < ex->gap.first || ex->offset > ex->gap.last) {
        return exchange_next_gap(ex) ? PROGRESS_GAP : PROGRESS_LOST;
    }
    const struct flight_head *head = flight_head(ex->flight);
    run = (struct stored_run){.flight = ex->flight,
                              .body_id = head->record.body_id,
                              .offset = flight_body_offset(ex->flight) + (ex->offset - head->range.first),
                              .bytes = ex->gap.last + 1 - ex->offset};
    return send_from_flight(ex, &run);
}

static enum progress send_stored(struct exchange *ex)
{
    const struct stored *stored = &ex->cached.stored;
    struct span start = stored->body_start;
    struct span before = SPAN("");

    if (ex->cached.partial != NULL) {
        return send_partial(ex);
    }
    if (ex->offset < start.len) {
        before = span_skip(start, (size_t)ex->offset);
        if (ex->cached.flight != NULL || ex->parts[ex->part].end <= start.len || start.len == stored->record.body_len) {
            return send_run(ex, before, UINT64_MAX);
        }
    }
    if (ex->cached.flight != NULL) {
        return send_from_whole_flight(ex, ex->cached.flight);
    }
    uint64_t offset = (uint64_t)stored->record.key_len + stored->record.head_len + ex->offset + before.len;
    struct stored_run run = {.body_id = stored->record.body_id, .offset = offset, .bytes = UINT64_MAX};
    return send_from_store(ex, &run, before);
}

/* ---- several ranges: looked at before the head goes out ---- */

static size_t on_looked_at(void *arg, const struct span *runs, size_t count) /* store_read_fn */
{
    size_t bytes = 0;

    (void)arg;
    for (size_t i = 0; i < count; i++) {
        bytes += runs[i].len;
    }
    return bytes;
}

/* Where a part's first bytes lie that are in the store only. False: they do not. */
static bool part_in_store(const struct exchange *ex, const struct part *part, struct stored_run *out_run)
{
    const struct stored *stored = &ex->cached.stored;
    uint64_t first = part->first > stored->body_start.len ? part->first : stored->body_start.len;

    if (part->text.len > 0 || ex->source != SOURCE_STORED || ex->cached.flight != NULL) {
        return false;
    }
    if (ex->cached.partial != NULL) {
        return partial_run(ex->cached.partial, part->first, out_run) && out_run->flight == NULL;
    }
    *out_run = (struct stored_run){.body_id = stored->record.body_id,
                                   .offset = (uint64_t)stored->record.key_len + stored->record.head_len + first,
                                   .bytes = part->end > first ? part->end - first : 0};
    return out_run->bytes > 0;
}

/* Can the first `bytes` of the run be read? */
static enum progress look_at(struct exchange *ex, struct stored_run run, uint64_t bytes)
{
    struct store_reader *reader = cache_reader_store(ex->worker->cache_reader);
    bool warm = ex->warm;
    struct store_cold cold;
    size_t used;

    ex->warm = false;
    for (; bytes > 0; bytes -= used, run.offset += used) {
        size_t max_bytes = (size_t)bytes;
        enum err error =
            warm ? store_read(reader, run.body_id, run.offset, max_bytes, on_looked_at, NULL, &used)
                 : store_read_now(reader, run.body_id, run.offset, max_bytes, on_looked_at, NULL, &used, &cold);
        if (error == ERR_COLD) {
            return await_disk(ex, run.body_id, &cold);
        }
        if (error != ERR_OK) {
            return not_read(ex, &run, error);
        }
    }
    return PROGRESS_MORE;
}

/* READ_BYTES in all, so that others get their turn. */
static enum progress look_ahead(struct exchange *ex)
{
    uint64_t left = READ_BYTES;

    if (ex->cold != NULL) {
        return PROGRESS_WAIT; /* something else woke us */
    }
    for (; ex->ahead < ex->part_count && left > 0; ex->ahead++) {
        const struct part *part = &ex->parts[ex->ahead];
        struct stored_run run;

        if (!part_in_store(ex, part, &run)) {
            continue;
        }
        uint64_t bytes = part->end - part->first;
        bytes = bytes < run.bytes ? bytes : run.bytes;
        bytes = bytes < left ? bytes : left;
        enum progress progress = look_at(ex, run, bytes);
        if (progress != PROGRESS_MORE || ex->warm) { /* no thread could wait for it: then it is read again, here */
            return progress;
        }
        left -= bytes;
    }
    ex->ahead = ex->part_count;
    return PROGRESS_MORE;
}

/* ---- all ---- */

/* Sends from the part that is next. */
static enum progress send_some(struct exchange *ex)
{
    const struct part *part;

    if (ex->part == ex->part_count) {
        return PROGRESS_END;
    }
    if (ex->part_count > 1 && ex->ahead < ex->part_count) {
        return look_ahead(ex);
    }
    part = &ex->parts[ex->part];
    if (ex->offset == part->end) {
        ex->part++;
        ex->offset = ex->part < ex->part_count ? ex->parts[ex->part].first : 0;
        return PROGRESS_MORE;
    }
    if (part->text.len > 0) {
        return send_run(ex, span_skip(part->text, (size_t)ex->offset), UINT64_MAX);
    }
    switch (ex->source) {
    case SOURCE_NONE:
        return PROGRESS_END;
    case SOURCE_STORED:
        return send_stored(ex);
    case SOURCE_FLIGHT:
        return send_from_whole_flight(ex, ex->flight);
    }
    UNREACHABLE();
}

enum step deliver(struct exchange *ex)
{
    for (;;) {
        switch (send_some(ex)) {
        case PROGRESS_MORE:
            break;
        case PROGRESS_WAIT:
            return STEP_WAIT;
        case PROGRESS_END:
            return finish(ex);
        case PROGRESS_GONE:
            ex->end = END_CLIENT_GONE;
            return STEP_LOG;
        case PROGRESS_LOST:
            return broke_off(ex, ex->error, END_ORIGIN_BROKE_OFF);
        case PROGRESS_UNREADABLE:
            return unreadable(ex);
        case PROGRESS_SHED:
            return broke_off(ex, ERR_SLOW_FOLLOWER, END_SLOW_FOLLOWER);
        case PROGRESS_GAP: /* what goes before it should not wait for the origin */
            if (stream_flush(ex->stream) == STREAM_GONE) {
                ex->end = END_CLIENT_GONE;
                return STEP_LOG;
            }
            return STEP_MISSING;
        }
    }
}

/* Trailers that came with the flight's end (RFC 9110 §6.5). */
static const struct headers *trailers_of(struct exchange *ex, struct headers *storage)
{
    struct span lines;

    bool to_the_end =
        ex->part_count > 0 && ex->parts[0].end == UINT64_MAX; /* else its length was said, and there are none */

    if (ex->source != SOURCE_FLIGHT || !to_the_end || !arena_copy(ex->arena, flight_trailers(ex->flight), &lines) ||
        lines.len == 0) {
        return NULL;
    }
    return head_read(lines, ex->arena, storage) == ERR_OK ? storage : NULL;
}

static enum step finish(struct exchange *ex)
{
    struct headers storage;

    switch (stream_end(ex->stream, trailers_of(ex, &storage))) {
    case STREAM_READY:
        return STEP_LOG;
    case STREAM_BLOCKED:
        return STEP_SENDING;
    case STREAM_GONE:
        ex->end = END_CLIENT_GONE;
        return STEP_LOG;
    }
    UNREACHABLE();
}

static enum step broke_off(struct exchange *ex, enum err error, enum end_reason end)
{
    if (ex->source == SOURCE_FLIGHT && end == END_ORIGIN_BROKE_OFF && stream_take_back(ex->stream)) {
        return exchange_fail(ex, error, decide_failure(error));
    }
    ex->error = error;
    ex->end = end;
    stream_abort(ex->stream);
    return STEP_LOG;
}

/* Where nothing was sent a fetch may bring it; but not that of a client's own request again. */
static enum step unreadable(struct exchange *ex)
{
    if (!stream_take_back(ex->stream)) {
        return broke_off(ex, ex->error, END_UNREADABLE);
    }
    return ex->source == SOURCE_STORED ? exchange_unreadable(ex) : exchange_fail(ex, ex->error, REASON_UNREADABLE);
}
