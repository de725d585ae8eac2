/* http1_stream.h: the HTTP/1 kind of stream (stream.h): framing of responses going out (http1_stream.c), bodies of
 * requests coming in (http1_body.c). http1_spares.c has the memory.
 *
 * A client, which drives it, has one from a request's head until it waits for the next with nothing received: of many
 * connections few are at a request. Threads: the worker's. */
#ifndef PROXY_HTTP1_STREAM_H
#define PROXY_HTTP1_STREAM_H

#include "http/buf.h"
#include "http/framing.h"
#include "proxy/client/stream.h"
#include "proxy/io/conn.h"
#include "proxy/io/mailbox.h"
#include "proxy/io/pace.h"

struct stream {
    struct client *client;
    struct conn *conn; /* the client's */
    const struct config *config;
    struct exchange *exchange; /* NULL between exchanges */
    struct buf out;            /* bytes the socket has not taken yet; none between exchanges */
    struct buf *spare;         /* memory for `out` that nobody else needs at the moment */
    struct message turn;       /* of client_yield */
    struct stream *next;       /* among the spares */

    /* the request */
    unsigned minor;
    bool wants_keep_alive; /* the client's word, and ours */
    bool expects_continue; /* Expect: 100-continue, and no 100 was sent */
    bool body_wanted;
    bool body_done;
    struct body_decoder decoder;

    /* the response */
    bool ended;   /* stream_end was called */
    bool waiting; /* the exchange was told BLOCKED: the client must take something first */
    bool yields;  /* … or the loop must turn first */
    bool gone;
    bool chunked;
    bool close_delimited;
    size_t head_from;      /* in `out`, where the response's head was put, */
    size_t head_end;       /* … to here */
    uint64_t left;         /* bytes to come of the chunk, or of a body with a length */
    size_t unsent_bytes;   /* of heads, that a tunnel was given to send */
    uint64_t turn_bytes;   /* written since the loop last turned */
    struct pace pace;      /* at which the client takes it */
    uint64_t write_due_ms; /* when it must have taken what was queued, by the connection's clock; while `waiting` */
    uint64_t body_due_ms;  /* … must have sent more of its body; while `body_wanted` */
    uint64_t due_ms;       /* … exchange_on_deadline is; 0: never */
    struct stream_count count;
};

/* A spare one, or new memory; NULL without. `conn` and `out_spare`, which gets the memory of `out` when it is let go,
 * outlive it. */
MUST_CHECK struct stream *http1_stream_take(struct stream_spares *spares, struct conn *conn,
                                            const struct config *config, struct buf *out_spare);

/* It is not needed any more; its `turn` is not posted. */
void http1_stream_let_go(struct stream *stream, struct stream_spares *spares);

void http1_stream_spares_finish(struct stream_spares *spares); /* frees them */

/* A request's head is complete. */
void http1_stream_begin(struct stream *stream, const struct http_request *request);

/* Feeds bytes of the request's body; returns how many were used. Nothing is used while no body is wanted. Calls the
 * exchange. */
size_t http1_stream_feed(struct stream *stream, struct span bytes, struct arena *arena);

/* conn_write is done: sends what is left of `out`, then tells the exchange. False, and nothing is done: the client is
 * too slow. */
MUST_CHECK bool http1_stream_written(struct stream *stream);

/* The loop has turned since client_yield: tells the exchange to go on. */
void http1_stream_turn(struct stream *stream);

/* Nothing of the request's body is at hand: the client has client_body from now on to send some. */
void http1_stream_await_body(struct stream *stream);

enum stream_late {
    STREAM_IN_TIME,
    STREAM_WRITE_LATE, /* the client has not taken what was queued */
    STREAM_BODY_LATE,  /* it has not sent more of its body */
};

/* The connection's timer has fired: whose time is over? If nobody's, the exchange is told of its deadline if that has
 * passed, and the timer is set for what is next. */
enum stream_late http1_stream_time_out(struct stream *stream);

/* The client is gone: from now on everything answers STREAM_GONE. */
void http1_stream_gone(struct stream *stream);

/* Is its end the connection's, and not all of it sent? Then an ordinary close would say that it was: the client must
 * see a reset (RFC 9112 §8). */
bool http1_stream_must_reset(const struct stream *stream);

/* May another request follow on this connection, once the request's body is read? */
bool http1_stream_may_continue(const struct stream *stream);

/* The timer is set for what is next: either of what the client must do, or else the deadline. */
void http1_stream_arm_timer(struct stream *stream);

/* What the stream needs of its client: it looks at its input again, from the loop. */
void client_kick(struct stream *stream);

/* … it calls http1_stream_turn when the loop has turned and others were served, */
void client_yield(struct stream *stream);

/* … and what it has received behind the request; valid until the exchange ends. */
struct span client_take_input(struct stream *stream);

#endif
