/* http1_body.c: the body of a request comes in: taken out of its framing, within its limit, and given to the exchange a
 * piece at a time, as it asks for them. */
#include "proxy/client/http1_stream.h"
#include "proxy/exchange/exchange.h"

void stream_read_body(struct stream *stream)
{
    if (!stream->gone && !stream->body_done) {
        stream->body_wanted = true;
        stream->body_due_ms = conn_now_ms(stream->conn) + stream->config->server.client_body_timeout_ms;
        client_kick(stream);
    }
}

void stream_pause_body(struct stream *stream)
{
    stream->body_wanted = false;
}

void http1_stream_await_body(struct stream *stream)
{
    stream->body_due_ms = conn_now_ms(stream->conn) + stream->config->server.client_body_timeout_ms;
    http1_stream_arm_timer(stream);
}

static void body_failed(struct stream *stream, enum err error)
{
    stream->body_wanted = false;
    stream->wants_keep_alive = false; /* where the next request would begin is not known */
    exchange_on_body_error(stream->exchange, error);
}

/* The end of the body, with the trailers behind it. */
static void body_ended(struct stream *stream, struct span piece, struct arena *arena)
{
    struct headers trailers;

    headers_init(&trailers, arena);
    enum err error = body_decoder_trailers(&stream->decoder, &trailers);
    if (error != ERR_OK) {
        body_failed(stream, error);
        return;
    }
    stream->body_done = true;
    stream->body_wanted = false;
    http1_stream_arm_timer(stream);
    exchange_on_body(stream->exchange, piece, true, trailers.count > 0 ? &trailers : NULL);
}

size_t http1_stream_feed(struct stream *stream, struct span bytes, struct arena *arena)
{
    struct span rest = bytes;
    uint64_t limit = stream->config->server.max_request_body_bytes;

    while (stream->body_wanted && rest.len > 0) {
        struct span piece;
        enum err error = body_decoder_feed(&stream->decoder, &rest, &piece);
        stream->count.request_body_bytes += piece.len;
        if (error == ERR_OK && limit > 0 && stream->count.request_body_bytes > limit) {
            error = ERR_BODY_TOO_LARGE;
        }
        if (error != ERR_OK) {
            body_failed(stream, error);
            break;
        }
        if (body_decoder_done(&stream->decoder)) {
            body_ended(stream, piece, arena);
        } else if (piece.len > 0) {
            stream->body_wanted = false;
            if (stream->due_ms != 0 && !stream->waiting) {
                http1_stream_arm_timer(stream);
            }
            exchange_on_body(stream->exchange, piece, false, NULL);
        }
    }
    return bytes.len - rest.len;
}
