/* http1_stream.c: see http1_stream.h.
 *
 * Sending: the head waits in `out` for the first bytes of the body, so that a small response is one write. What the
 * socket does not take at once is copied and queued, one write at a time; the exchange goes on when it is done. What a
 * socket takes without end is cut into turns: the exchange goes on in the loop's next one. */
#include "proxy/client/http1_stream.h"

#include "http/forward.h"
#include "http/serialize.h"
#include "proxy/exchange/exchange.h"

enum {
    COPY_BYTES = 8 * 1024,   /* of a body, when the socket is full: it tells when there is room again */
    TURN_BYTES = 256 * 1024, /* about so many, then others get their turn */
    MAX_RUNS = 64,
};

static enum stream_state lost(struct stream *stream);
static size_t copy_rest(struct stream *stream, const struct span *runs, size_t count);
static void accepted(struct stream *stream, size_t body_bytes);
static enum stream_state next_state(struct stream *stream);
static enum stream_state queue_out(struct stream *stream);
static enum stream_state flush(struct stream *stream);

void http1_stream_begin(struct stream *stream, const struct http_request *request)
{
    stream->minor = request->minor;
    stream->wants_keep_alive =
        !headers_list_has(&request->headers, SPAN("Connection"), SPAN("close")) &&
        (request->minor == 1 || headers_list_has(&request->headers, SPAN("Connection"), SPAN("keep-alive")));
    stream->expects_continue =
        request->minor == 1 &&
        span_equal_nocase(headers_value(&request->headers, SPAN("Expect")), SPAN("100-continue"));
    stream->body_wanted = false;
    body_decoder_finish(&stream->decoder);
    body_decoder_init(&stream->decoder, &request->framing);
    stream->body_done = body_decoder_done(&stream->decoder);
    stream->ended = false;
    stream->waiting = false;
    stream->yields = false;
    stream->chunked = false;
    stream->close_delimited = false;
    stream->left = 0;
    stream->unsent_bytes = 0;
    stream->turn_bytes = 0;
    stream->due_ms = 0;
    pace_begin(&stream->pace);
    stream->count = (struct stream_count){0};
}

bool http1_stream_must_reset(const struct stream *stream)
{
    return stream->close_delimited && (!stream->ended || stream->out.len > 0 || stream->conn->writing != NULL);
}

bool http1_stream_may_continue(const struct stream *stream)
{
    return stream->wants_keep_alive && !stream->gone && !stream->close_delimited && stream->ended;
}

/* ---- the response ---- */

void stream_informational(struct stream *stream, unsigned status, const struct headers *headers)
{
    if (stream->gone || stream->minor == 0 || stream->count.started) {
        return;
    }
    if (status == 100) {
        if (!stream->expects_continue) {
            return;
        }
        stream->expects_continue = false;
    }
    size_t before = stream->out.len;
    write_status_line(&stream->out, status);
    if (headers != NULL) {
        write_fields(&stream->out, headers);
    }
    write_end(&stream->out);
    stream->count.sent_bytes += stream->out.len - before;
    if (!stream->conn->writing) {
        (void)flush(stream); /* a client that is gone shows at the next write */
    }
}

static void write_framing(struct stream *stream, const struct stream_head *head)
{
    struct buf *out = &stream->out;

    switch (head->body) {
    case STREAM_BODY_NONE:
        break;
    case STREAM_BODY_OMITTED:
    case STREAM_BODY_LENGTH:
        buf_add(out, SPAN("Content-Length: "));
        buf_add_u64(out, head->length);
        buf_add(out, SPAN("\r\n"));
        stream->left = head->body == STREAM_BODY_LENGTH ? head->length : 0;
        break;
    case STREAM_BODY_UNKNOWN:
        stream->chunked = stream->minor == 1;
        stream->close_delimited = !stream->chunked;
        if (stream->chunked) {
            buf_add(out, SPAN("Transfer-Encoding: chunked\r\n"));
        }
        break;
    }
    if (head->status == 101) {
        stream->wants_keep_alive =
            false; /* the connection becomes the tunnel's; its own Connection field is among the headers */
    } else if (!stream->wants_keep_alive || stream->close_delimited) {
        buf_add(out, SPAN("Connection: close\r\n"));
    } else if (stream->minor == 0) {
        buf_add(out, SPAN("Connection: keep-alive\r\n"));
    }
}

void stream_close_after(struct stream *stream)
{
    stream->wants_keep_alive = false;
}

bool stream_start(struct stream *stream, const struct stream_head *head)
{
    size_t before = stream->out.len;

    if (stream->expects_continue && !stream->body_done) {
        stream->wants_keep_alive = false; /* the body may or may not come now (RFC 9110 §10.1.1) */
    }
    buf_lend(stream->spare, &stream->out);
    write_status_line(&stream->out, head->status);
    buf_add(&stream->out, head->lines);
    if (head->headers != NULL) {
        write_fields(&stream->out, head->headers);
    }
    buf_add(&stream->out, head->last_lines);
    write_framing(stream, head);
    write_end(&stream->out);
    stream->head_from = before;
    stream->head_end = stream->out.len;
    stream->count.started = true;
    stream->count.status = head->status;
    stream->count.sent_bytes += stream->head_end - stream->head_from;
    return !stream->out.failed;
}

/* `out` and as many of `runs` as are left of chunk or body, for one write. */
static size_t gather(const struct stream *stream, const struct span *runs, size_t count, struct span *out_runs)
{
    size_t used = 0;
    uint64_t left = stream->close_delimited ? UINT64_MAX : stream->left;

    if (stream->out.len > 0) {
        out_runs[used++] = buf_span(&stream->out);
    }
    for (size_t i = 0; i < count && used < MAX_RUNS + 1 && left > 0; i++) {
        out_runs[used] = span_take(runs[i], left < runs[i].len ? (size_t)left : runs[i].len);
        left -= out_runs[used].len;
        used++;
    }
    return used;
}

static size_t total_of(const struct span *runs, size_t count)
{
    size_t total = 0;

    for (size_t i = 0; i < count; i++) {
        total += runs[i].len;
    }
    return total;
}

enum stream_state stream_write(struct stream *stream, const struct span *runs, size_t count, size_t *out_accepted)
{
    struct span all[MAX_RUNS + 1];
    size_t taken = 0;

    *out_accepted = 0;
    if (stream->gone) {
        return STREAM_GONE;
    }
    REQUIRE(stream->count.started && !stream->ended);
    if (stream->yields) {
        return STREAM_BLOCKED;
    }
    if (stream->conn->writing) {
        stream->waiting = true;
        return STREAM_BLOCKED;
    }
    count = count < MAX_RUNS ? count : MAX_RUNS;
    if (stream->chunked && stream->left == 0) {
        size_t before = stream->out.len;
        stream->left = total_of(runs, count);
        write_chunk_start(&stream->out, stream->left);
        stream->count.sent_bytes += stream->out.len - before;
    }
    size_t all_count = gather(stream, runs, count, all);
    size_t head_bytes = stream->out.len;
    if (conn_try_write(stream->conn, all, all_count, &taken) != ERR_OK) {
        return lost(stream);
    }
    if (taken > head_bytes) {
        buf_clear(&stream->out);
        *out_accepted = taken - head_bytes;
        accepted(stream, *out_accepted);
        return next_state(stream);
    }
    size_t first = head_bytes > 0 ? 1 : 0;
    buf_consume(&stream->out, taken);
    *out_accepted = copy_rest(stream, all + first, all_count - first);
    accepted(stream, *out_accepted);
    return queue_out(stream);
}

/* A write failed: the client is gone. */
static enum stream_state lost(struct stream *stream)
{
    http1_stream_gone(stream);
    return STREAM_GONE;
}

/* The socket is full: a copy of what comes next waits for it behind `out`. How many bytes of the body were copied. */
static size_t copy_rest(struct stream *stream, const struct span *runs, size_t count)
{
    size_t copied = 0;

    for (size_t i = 0; i < count && copied < COPY_BYTES; i++) {
        struct span run = span_take(runs[i], COPY_BYTES - copied);
        buf_add(&stream->out, run);
        copied += run.len;
    }
    return copied;
}

/* Body bytes were sent or copied. */
static void accepted(struct stream *stream, size_t body_bytes)
{
    stream->count.body_bytes += body_bytes;
    stream->count.sent_bytes += body_bytes;
    stream->turn_bytes += body_bytes;
    if (!stream->close_delimited) {
        stream->left -= body_bytes;
    }
    if (stream->chunked && stream->left == 0) {
        write_chunk_end(&stream->out);
        stream->count.sent_bytes += 2;
    }
}

/* The socket took something: may it be given more at once? */
static enum stream_state next_state(struct stream *stream)
{
    bool complete = !stream->chunked && !stream->close_delimited && stream->left == 0;

    if (complete || stream->turn_bytes < TURN_BYTES) {
        return STREAM_READY;
    }
    stream->yields = true;
    client_yield(stream);
    return STREAM_BLOCKED;
}

/* Queues all of `out`. */
static enum stream_state queue_out(struct stream *stream)
{
    struct span run = buf_span(&stream->out);

    if (stream->out.failed || conn_write(stream->conn, &run, 1) != ERR_OK) {
        return lost(stream);
    }
    buf_clear(&stream->out);
    stream->waiting = true;
    pace_wait(&stream->pace, conn_now_ms(stream->conn));
    stream->write_due_ms = conn_now_ms(stream->conn) + stream->config->server.client_write_timeout_ms;
    http1_stream_arm_timer(stream);
    return STREAM_BLOCKED;
}

static enum stream_state flush(struct stream *stream)
{
    struct span run = buf_span(&stream->out);
    size_t taken = 0;

    if (stream->out.failed) {
        return lost(stream);
    }
    if (run.len > 0 && conn_try_write(stream->conn, &run, 1, &taken) != ERR_OK) {
        return lost(stream);
    }
    buf_consume(&stream->out, taken);
    return stream->out.len == 0 ? STREAM_READY : queue_out(stream);
}

enum stream_state stream_flush(struct stream *stream)
{
    stream->turn_bytes = 0; /* the body is not there yet, or all of it is sent */
    if (stream->gone) {
        return STREAM_GONE;
    }
    if (stream->conn->writing) {
        stream->waiting = true;
        return STREAM_BLOCKED;
    }
    return flush(stream);
}

enum stream_state stream_end(struct stream *stream, const struct headers *trailers)
{
    if (stream->gone) {
        return STREAM_GONE;
    }
    REQUIRE(stream->count.started && !stream->ended);
    stream->ended = true;
    if (stream->chunked) {
        size_t before = stream->out.len;
        write_last_chunk(&stream->out, trailers);
        stream->count.sent_bytes += stream->out.len - before;
    }
    return stream_flush(stream);
}

void stream_abort(struct stream *stream)
{
    stream->wants_keep_alive = false;
}

bool stream_take_back(struct stream *stream)
{
    bool unsent = stream->count.started && stream->out.len == stream->head_end; /* what is sent leaves `out` */

    if (stream->gone || !unsent) {
        return false;
    }
    stream->out.len = stream->head_from;
    stream->count.sent_bytes -= stream->head_end - stream->head_from;
    stream->count.started = false;
    stream->count.status = 0;
    stream->chunked = false;
    stream->close_delimited = false;
    stream->left = 0;
    return true;
}

bool http1_stream_written(struct stream *stream)
{
    const struct config *config = stream->config;

    stream->turn_bytes = 0;
    if (stream->gone || stream->exchange == NULL) {
        return true;
    }
    if (!pace_moved(&stream->pace, conn_now_ms(stream->conn), stream->count.sent_bytes, config->server.client_min_rate,
                    config->server.client_write_timeout_ms)) {
        return false;
    }
    if (stream->out.len > 0 && flush(stream) != STREAM_READY) {
        return true; /* still waiting; or gone, which the connection's end will tell */
    }
    if (!stream->waiting) {
        return true;
    }
    stream->waiting = false;
    if (stream->body_wanted) {
        http1_stream_await_body(stream); /* it may have read before it sends more */
    } else {
        http1_stream_arm_timer(stream);
    }
    if (stream->ended) {
        exchange_on_sent(stream->exchange);
    } else {
        exchange_on_writable(stream->exchange);
    }
    return true;
}

void http1_stream_turn(struct stream *stream)
{
    if (!stream->yields || stream->exchange == NULL) {
        return; /* the exchange has ended meanwhile */
    }
    stream->yields = false;
    stream->turn_bytes = 0;
    exchange_on_writable(stream->exchange);
}

void http1_stream_gone(struct stream *stream)
{
    stream->gone = true;
    stream->wants_keep_alive = false;
    stream->body_wanted = false;
}

void http1_stream_arm_timer(struct stream *stream)
{
    uint64_t now_ms = conn_now_ms(stream->conn);
    uint64_t next_ms = stream->due_ms;

    if (stream->waiting || stream->body_wanted) {
        uint64_t write_ms = stream->waiting ? stream->write_due_ms : UINT64_MAX;
        uint64_t body_ms = stream->body_wanted ? stream->body_due_ms : UINT64_MAX;
        next_ms = write_ms < body_ms ? write_ms : body_ms;
    }
    if (next_ms == 0) {
        conn_set_timer(stream->conn, 0);
    } else {
        conn_set_timer(stream->conn, next_ms > now_ms ? next_ms - now_ms : 1);
    }
}

void stream_set_deadline(struct stream *stream, uint64_t timeout_ms)
{
    stream->due_ms = timeout_ms > 0 ? conn_now_ms(stream->conn) + timeout_ms : 0;
    if (!stream->gone && !stream->waiting && !stream->body_wanted) {
        http1_stream_arm_timer(stream);
    }
}

enum stream_late http1_stream_time_out(struct stream *stream)
{
    uint64_t now_ms = conn_now_ms(stream->conn);

    if (stream->body_wanted && stream->body_due_ms <= now_ms) {
        stream->body_wanted = false;
        http1_stream_arm_timer(stream); /* what was sent already may still wait for the client */
        return STREAM_BODY_LATE;
    }
    if (stream->waiting && stream->write_due_ms <= now_ms) {
        return STREAM_WRITE_LATE;
    }
    if (!stream->body_wanted && !stream->waiting && stream->due_ms != 0 && stream->due_ms <= now_ms) {
        stream->due_ms = 0;
        exchange_on_deadline(stream->exchange);
    } else {
        http1_stream_arm_timer(stream); /* it was set for what has been done since */
    }
    return STREAM_IN_TIME;
}

void stream_count_tunnel(struct stream *stream, uint64_t to_client_bytes, uint64_t to_origin_bytes)
{
    uint64_t heads = to_client_bytes < stream->unsent_bytes ? to_client_bytes : stream->unsent_bytes;

    stream->count.body_bytes += to_client_bytes - heads;
    stream->count.sent_bytes += to_client_bytes;
    stream->count.request_body_bytes += to_origin_bytes;
}

struct conn *stream_connection(struct stream *stream)
{
    return stream->conn;
}

struct span stream_take_unsent(struct stream *stream)
{
    struct span unsent = buf_span(&stream->out);

    stream->out.len = 0; /* the bytes stay where they are until something is appended, which a tunnel does not */
    stream->count.sent_bytes -= unsent.len;
    stream->unsent_bytes = unsent.len;
    return unsent;
}

struct span stream_take_early_bytes(struct stream *stream)
{
    return client_take_input(stream);
}

struct stream_count stream_count(const struct stream *stream)
{
    return stream->count;
}
