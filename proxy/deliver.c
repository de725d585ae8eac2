/* deliver.c: the body of a response to its client, from text, the store or a flight.
 *
 * Happy path: bytes go to the stream as long as it takes them; then the end. The stream pulls: when it is full, DELIVER
 * waits for exchange_on_writable, when a flight has nothing yet, for its wake. From the store bytes go out within one
 * call; what the socket did not take is read again later. What is not in memory is read into it by another thread
 * first.
 *
 * Failures:
 * - The body breaks off (the origin did, or a stored piece is damaged): the connection is reset; the client must not
 *   take what it got for the whole.
 * - The client is gone: LOG. */
#include "proxy/exchange_internal.h"

#include "cache/head.h"
#include "proxy/cold.h"
#include "proxy/log.h"
#include "proxy/worker.h"

enum { READ_BYTES = 256 * 1024 }; /* asked of the store at once */

static enum step finish(struct exchange *ex);
static enum step broke_off(struct exchange *ex, enum err error);

/* What became of one attempt to send. */
enum progress {
    PROGRESS_MORE, /* go on */
    PROGRESS_WAIT, /* the stream or the flight will wake us */
    PROGRESS_END,  /* the body is complete */
    PROGRESS_GONE, /* the client */
    PROGRESS_LOST, /* the body broke off */
};

/* Sends `runs`, which begin at ex->offset, as far as the part reaches. */
static enum progress send_runs(struct exchange *ex, const struct span *runs, size_t count, size_t *out_accepted)
{
    struct span clipped[STORE_READ_MAX_PIECES];
    uint64_t left = ex->parts[ex->part].end - ex->offset;
    size_t used = 0;

    for (; used < count && used < STORE_READ_MAX_PIECES && left > 0; used++) {
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

static enum progress send_run(struct exchange *ex, struct span run)
{
    size_t accepted;

    return send_runs(ex, &run, 1, &accepted);
}

struct read_context {
    struct exchange *ex;
    enum progress progress;
};

static size_t on_stored_runs(void *arg, const struct span *runs, size_t count) /* store_read_fn */
{
    struct read_context *context = arg;
    size_t accepted;

    context->progress = send_runs(context->ex, runs, count, &accepted);
    return accepted;
}

static void on_warm(void *arg) /* cold_done_fn */
{
    struct exchange *ex = arg;

    ex->cold = NULL;
    ex->warm = true;
    exchange_on_writable(ex);
}

/* Leaves the wait for the disk to another thread. PROGRESS_MORE: no memory for that, it must be had here. */
static enum progress await_disk(struct exchange *ex, uint64_t body_id, const struct store_cold *cold)
{
    ex->cold = cold_read_start(&ex->worker->loop, cache_store(ex->worker->cache), body_id, cold, on_warm, ex);
    if (ex->cold == NULL) {
        ex->warm = true;
        return PROGRESS_MORE;
    }
    return stream_flush(ex->stream) == STREAM_GONE ? PROGRESS_GONE : PROGRESS_WAIT;
}

/* Sends from the store; `stream_offset` is where the body begins in the stored stream. What was read into memory a
 * moment ago is read in any case: where memory is short it may be gone again, and this client would wait for ever. */
static enum progress send_from_store(struct exchange *ex, uint64_t body_id, uint64_t stream_offset)
{
    struct read_context context = {.ex = ex, .progress = PROGRESS_LOST};
    struct store_cold cold;
    size_t used;
    struct store_reader *reader = cache_reader_store(ex->worker->cache_reader);
    uint64_t at = stream_offset + ex->offset;
    enum err error;

    if (ex->cold != NULL) {
        return PROGRESS_WAIT; /* something else woke us */
    }
    if (ex->warm) {
        ex->warm = false;
        error = store_read(reader, body_id, at, READ_BYTES, on_stored_runs, &context, &used);
    } else {
        error = store_read_now(reader, body_id, at, READ_BYTES, on_stored_runs, &context, &used, &cold);
    }
    if (error == ERR_COLD) {
        return await_disk(ex, body_id, &cold);
    }
    if (error != ERR_OK) {
        log_error("stored body unreadable error=%s body=%llu offset=%llu", err_name(error), (unsigned long long)body_id,
                  (unsigned long long)ex->offset);
        ex->error = error;
        return PROGRESS_LOST;
    }
    return context.progress;
}

/* Sends from a flight's memory, or from the store what has left it. */
static enum progress send_from_flight(struct exchange *ex, struct flight *flight)
{
    uint64_t base = flight_body_offset(flight);
    struct segment *segment = NULL;
    struct span run;

    switch (flight_read(flight, base + ex->offset, &segment, &run)) {
    case FLIGHT_READ_DATA: {
        enum progress progress = send_run(ex, run);
        segment_unref(segment);
        if (flight == ex->flight) {
            flight_consumed(flight, &ex->party, base + ex->offset);
        }
        return progress;
    }
    case FLIGHT_READ_IN_STORE:
        return send_from_store(ex, flight_head(flight)->record.body_id, base);
    case FLIGHT_READ_WAIT:
        if (flight == ex->flight) {
            flight_consumed(flight, &ex->party, base + ex->offset); /* a range needs nothing before it */
        }
        /* What was begun goes out now: the client sees the head, and each piece, as the origin sends it. */
        return stream_flush(ex->stream) == STREAM_GONE ? PROGRESS_GONE : PROGRESS_WAIT;
    case FLIGHT_READ_END:
        return PROGRESS_END;
    case FLIGHT_READ_FAILED:
        ex->error = flight_error(flight);
        return PROGRESS_LOST;
    }
    UNREACHABLE();
}

static enum progress send_stored(struct exchange *ex)
{
    const struct stored *stored = &ex->cached.stored;

    if (ex->offset < stored->body_start.len) {
        return send_run(ex, span_skip(stored->body_start, (size_t)ex->offset));
    }
    if (ex->cached.flight != NULL) {
        return send_from_flight(ex, ex->cached.flight);
    }
    return send_from_store(ex, stored->record.body_id, (uint64_t)stored->record.key_len + stored->record.head_len);
}

/* Sends from the part that is next. */
static enum progress send_some(struct exchange *ex)
{
    const struct part *part;

    if (ex->part == ex->part_count) {
        return PROGRESS_END;
    }
    part = &ex->parts[ex->part];
    if (ex->offset == part->end) {
        ex->part++;
        ex->offset = ex->part < ex->part_count ? ex->parts[ex->part].first : 0;
        return PROGRESS_MORE;
    }
    if (part->text.len > 0) {
        return send_run(ex, span_skip(part->text, (size_t)ex->offset));
    }
    switch (ex->source) {
    case SOURCE_NONE:
        return PROGRESS_END;
    case SOURCE_STORED:
        return send_stored(ex);
    case SOURCE_FLIGHT:
        return send_from_flight(ex, ex->flight);
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
            return broke_off(ex, ex->error);
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

static enum step broke_off(struct exchange *ex, enum err error)
{
    ex->error = error;
    ex->end = END_ORIGIN_BROKE_OFF;
    stream_abort(ex->stream);
    return STEP_LOG;
}
