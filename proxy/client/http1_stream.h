/* http1_stream.h: the HTTP/1 kind of stream (stream.h): framing of responses going out, bodies of requests coming in.
 *
 * Embedded in struct client, which drives it. Threads: the worker's. */
#ifndef PROXY_HTTP1_STREAM_H
#define PROXY_HTTP1_STREAM_H

#include "http/buf.h"
#include "http/framing.h"
#include "proxy/client/stream.h"
#include "proxy/io/conn.h"
#include "proxy/io/pace.h"

struct stream {
    struct conn *conn;
    const struct config *config;
    struct exchange *exchange; /* NULL between exchanges */
    struct buf out;            /* bytes the socket has not taken yet; none between exchanges */
    struct buf *spare;         /* memory for `out` that nobody else needs at the moment */

    /* the request */
    unsigned minor;
    bool wants_keep_alive; /* the client's word, and ours */
    bool expects_continue; /* Expect: 100-continue, and no 100 was sent */
    bool body_wanted;
    bool body_done;
    struct body_decoder decoder;

    /* the response */
    bool ended;   /* stream_end was called */
    bool waiting; /* the exchange was told BLOCKED */
    bool gone;
    bool aborted; /* the response broke off: the connection must be reset */
    bool chunked;
    bool close_delimited;
    uint64_t left;       /* bytes to come of the chunk, or of a body with a length */
    uint64_t turn_bytes; /* written since the loop last turned */
    struct pace pace;    /* at which the client takes it */
    uint64_t due_ms;     /* when exchange_on_deadline is, by the connection's clock; 0: never */
    struct stream_count count;
};

/* `spare` outlives it, and takes the memory of `out` back between exchanges (client_process.c). */
void http1_stream_init(struct stream *stream, struct conn *conn, const struct config *config, struct buf *spare);
void http1_stream_finish(struct stream *stream);

/* A request's head is complete. */
void http1_stream_begin(struct stream *stream, const struct http_request *request);

/* Feeds bytes of the request's body; returns how many were used. Nothing is used while no body is wanted. Calls the
 * exchange. */
size_t http1_stream_feed(struct stream *stream, struct span bytes, struct arena *arena);

/* conn_write is done: sends what is left of `out`, then tells the exchange. False, and nothing is done: the client is
 * too slow. */
MUST_CHECK bool http1_stream_written(struct stream *stream);

/* The connection's timer has fired, and the stream waits for nothing of the client. */
void http1_stream_time_out(struct stream *stream);

/* The client is gone: from now on everything answers STREAM_GONE. */
void http1_stream_gone(struct stream *stream);

/* May another request follow on this connection, once the request's body is read? */
bool http1_stream_may_continue(const struct stream *stream);

/* What the stream needs of its client: it looks at its input again, from the loop. */
void client_kick(struct stream *stream);

/* … and what it has received behind the request; valid until the exchange ends. */
struct span client_take_input(struct stream *stream);

#endif
