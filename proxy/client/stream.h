/* stream.h: what an exchange sees of its client: one request coming in, one response going out.
 *
 * The seam between exchanges and protocols: an exchange knows neither sockets nor versions. HTTP/1 is implemented by
 * http1_stream.c; the struct is its business. Threads: the worker's.
 *
 * The other direction, what a stream tells its exchange, is in exchange.h. A stream never calls back from inside a call
 * of its exchange. */
#ifndef PROXY_STREAM_H
#define PROXY_STREAM_H

#include "http/message.h"
#include "proxy/observe/access_log.h"

struct stream;

enum stream_body {
    STREAM_BODY_NONE,    /* none, and no length said (204, 304, or as the fields say: HEAD) */
    STREAM_BODY_LENGTH,  /* `length` bytes follow */
    STREAM_BODY_UNKNOWN, /* ends with stream_end */
    STREAM_BODY_OMITTED, /* none follows, but `length` is said: the answer to HEAD */
};

/* Streams that no client needs at the moment (http1_stream.h). Zeroed: none. */
struct stream_spares {
    struct stream *first;
    unsigned count;
};

/* The head of a response. Framing fields are the stream's business and must not be among these. */
struct stream_head {
    unsigned status;
    struct span lines;             /* fields as they are sent ("Name: value\r\n"); copied at once */
    const struct headers *headers; /* behind them, or NULL */
    struct span last_lines;        /* behind all of these, as `lines` */
    enum stream_body body;
    uint64_t length;
};

enum stream_state {
    STREAM_READY,   /* go on */
    STREAM_BLOCKED, /* exchange_on_writable (stream_write) or exchange_on_sent (stream_end) will follow */
    STREAM_GONE,    /* the client is gone; nothing more can be sent */
};

/* A 1xx, at once; ignored for HTTP/1.0 clients. */
void stream_informational(struct stream *stream, unsigned status, const struct headers *headers);

/* The connection (of HTTP/1) ends with this exchange; to be called before stream_start. */
void stream_close_after(struct stream *stream);

/* Begins the response; sent with the first bytes of its body or its end. False: no memory. */
MUST_CHECK bool stream_start(struct stream *stream, const struct stream_head *head);

/* Sends body bytes; `*out_accepted` of them were taken (sent or copied), the others come again after
 * exchange_on_writable. */
enum stream_state stream_write(struct stream *stream, const struct span *runs, size_t count, size_t *out_accepted);

/* Sends what was begun without waiting for more of the body. */
enum stream_state stream_flush(struct stream *stream);

/* The response is complete. `trailers` may be NULL. */
enum stream_state stream_end(struct stream *stream, const struct headers *trailers);

/* The response cannot be completed: the client is made to notice, the connection is lost. */
void stream_abort(struct stream *stream);

/* The same before anything of the response was sent: it is as if it had not been started, and another can be. False,
 * and nothing is done: it is too late for that. */
MUST_CHECK bool stream_take_back(struct stream *stream);

/* Asks for (more of) the request's body: exchange_on_body follows, from the loop. */
void stream_read_body(struct stream *stream);
void stream_pause_body(struct stream *stream);

/* exchange_on_deadline follows after that time, unless it is set to 0 before. While the stream waits for the client,
 * its own timeouts come first: a deadline that passes meanwhile is told when the client is there again. */
void stream_set_deadline(struct stream *stream, uint64_t timeout_ms);

/* After a 101 was sent with stream_start and stream_end: the connection's bytes are the tunnel's. */
struct conn *stream_connection(struct stream *stream);

/* What of it (and of what was to go before it) the connection has not been given yet; taken out, for the tunnel to send
 * and count. It lives until the exchange ends. */
struct span stream_take_unsent(struct stream *stream);

/* The tunnel's bytes count as the bodies', but for those of stream_take_unsent, which went first. */
void stream_count_tunnel(struct stream *stream, uint64_t to_client_bytes, uint64_t to_origin_bytes);

/* Bytes the client sent behind the request; taken out. They live until the exchange ends. */
struct span stream_take_early_bytes(struct stream *stream);

/* Figures of this exchange. */
struct stream_count {
    uint64_t sent_bytes; /* head and framing included */
    uint64_t body_bytes; /* of the response's body */
    uint64_t request_body_bytes;
    bool started;    /* stream_start was called */
    unsigned status; /* the one started */
};
struct stream_count stream_count(const struct stream *stream);

#endif
