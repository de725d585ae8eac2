/* exchange.h: one request, from its head to its log line. Read exchange.c first.
 *
 * Memory: the client's arena, which is reset after exchange_finish. Threads: the worker's. */
#ifndef PROXY_EXCHANGE_H
#define PROXY_EXCHANGE_H

#include "http/message.h"
#include "proxy/client/stream.h"
#include "proxy/observe/access_log.h"

struct exchange;
struct origin_conn;
struct worker;

/* What the client's side knows of a request when its head is complete. */
struct exchange_start {
    struct worker *worker;
    struct stream *stream;
    struct arena *arena;
    struct http_request request;
    enum err error;     /* the head could not be parsed: only an answer and a log line follow */
    const char *client; /* address; lives as long as the connection */
    uint16_t client_port;
    struct span scheme;            /* of the connection */
    enum forwarded_style believed; /* in which fields it may say for whom it asks; FORWARDED_NONE: it is not trusted */
};

/* In the arena. NULL: no memory (the client must be closed). */
struct exchange *exchange_create(const struct exchange_start *start);

/* Runs it until it waits or ends. When it has ended, stream_exchange_ended was called and the exchange is gone. */
void exchange_run(struct exchange *exchange);

/* Does another protocol have the connection? */
bool exchange_is_tunnel(const struct exchange *exchange);

/* ---- what the stream tells ---- */
void exchange_on_writable(struct exchange *exchange);
void exchange_on_sent(struct exchange *exchange); /* stream_end was BLOCKED and is done */
/* Of the request's body; `trailers` (NULL: none) come with the end and live as long as the call. */
void exchange_on_body(struct exchange *exchange, struct span bytes, bool end, const struct headers *trailers);
void exchange_on_body_error(struct exchange *exchange, enum err error);
void exchange_on_gone(struct exchange *exchange,
                      enum end_reason reason); /* the client is gone; stream calls do nothing from now on */

void exchange_on_deadline(struct exchange *exchange); /* of stream_set_deadline */

/* ---- what its own fetch tells (fetch.c), before the head shows in the flight ---- */
void exchange_on_asking(struct exchange *exchange, const char *origin); /* once more with each retry */
void exchange_on_informational(struct exchange *exchange, unsigned status, const struct headers *headers);
/* `fields`: those of `head`, where they lie; `passed`: lines that the 304 has for this client alone. All is copied. */
void exchange_on_validated(struct exchange *exchange, const struct record *record, struct span head,
                           const struct headers *fields, struct span passed);
void exchange_on_upgraded(struct exchange *exchange, struct origin_conn *conn, const struct headers *headers,
                          struct span early);
void exchange_on_body_wanted(struct exchange *exchange); /* send more of the request's body */
/* The fetch is going away; what it got, and how long the origin took. */
void exchange_on_fetch_ended(struct exchange *exchange, uint64_t received_bytes, uint64_t waited_us);

/* ---- what the stream's side must provide ---- */
void stream_exchange_ended(struct stream *stream, bool keep_connection);

#endif
