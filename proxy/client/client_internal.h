/* client_internal.h: one connection from outside, as client.c (its life) and client_process.c (its requests) share it.
 */
#ifndef PROXY_CLIENT_INTERNAL_H
#define PROXY_CLIENT_INTERNAL_H

#include "http/parser.h"
#include "proxy/client/admission.h"
#include "proxy/client/client.h"
#include "proxy/client/http1_stream.h"
#include "proxy/exchange/exchange.h"
#include "proxy/io/pace.h"

enum { CLIENT_IN_PAUSE_BYTES = 64 * 1024 }; /* input behind a request, beyond which reading pauses */

enum client_state {
    CLIENT_IDLE,     /* for a request's first byte */
    CLIENT_HEAD,     /* for the rest of a head */
    CLIENT_EXCHANGE, /* for the exchange's end */
    CLIENT_DRAIN,    /* for the rest of the request's body */
    CLIENT_LINGER,   /* for the client to close */
    CLIENT_CLOSING,  /* for the handles */
};

struct client {
    struct worker *worker;
    struct client *next; /* of the worker's list */
    struct client *previous;
    enum client_state state;
    struct conn conn;
    struct stream *stream; /* NULL at rest, and before the first head is complete */
    struct arena arena;    /* reset after every exchange */
    struct buf in;         /* received and not consumed */
    union {
        struct head_scan scan;   /* CLIENT_IDLE, zeroed, and CLIENT_HEAD */
        struct {                 /* CLIENT_EXCHANGE */
            struct pace pace;    /* at which its request's body comes */
            uint64_t body_bytes; /* received since the exchange began */
        };
        uint64_t drained_bytes; /* CLIENT_DRAIN, CLIENT_LINGER */
    };
    struct message kick; /* process again, from the loop */
    struct admission admission;
    bool processing;     /* client_process is on the stack */
    bool input_ended;    /* the client closed its sending side */
    uint16_t field_slot; /* of the worker's field_memo: what the last head said */
    uint16_t port;
    enum forwarded_style believed; /* of exchange_start: whom the connection comes from decides */
    char host[CONN_HOST_BYTES];
};

extern const struct conn_events client_events;

/* Takes from `in` what the state wants, until more bytes are needed, an exchange is running, or it is others' turn. */
void client_process(struct client *client);
void client_on_kick(struct message *message);
void client_on_turn(struct message *message);

/* The exchange is told that its client is gone, which ends it. */
void client_exchange_gone(struct client *client, enum end_reason reason);

/* Between two requests, to the crew that serves now; the client closes. */
void client_hand_over(struct client *client);

/* No more is sent; what still comes is read and dropped for a while, so that the response arrives. */
void client_linger(struct client *client);
void client_linger_read(struct client *client, size_t bytes); /* so many came meanwhile */

void client_close(struct client *client);

#endif
