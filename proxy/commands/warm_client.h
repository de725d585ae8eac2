/* warm_client.h: one kept connection to a larder that listens somewhere, for `larder warm`.
 *
 * Blocking: one thread each. What it reads is read by the parser that serves requests. Errors: by enum err. */
#ifndef PROXY_WARM_CLIENT_H
#define PROXY_WARM_CLIENT_H

#include "http/buf.h"
#include "http/message.h"
#include "proxy/config/config.h"

/* Zero it, set `address`. */
struct warm_client {
    const struct address *address; /* where larder listens */
    int fd;                        /* if open */
    bool open;
};

struct warm_request {
    bool secure; /* as a proxy that ends TLS would ask, which says so where `fields` do not */
    struct span host, target;
    struct span fields; /* all but Host, lines "Name: value\r\n" */
    struct buf *body;   /* gets the answer's; NULL: it is thrown away */
};

enum { WARM_WORD_BYTES = 64 };

struct warm_answer {
    unsigned status;
    bool hit, stored;             /* by Cache-Status */
    char detail[WARM_WORD_BYTES]; /* the reason in it; empty: none */
};

/* Asks and reads the whole answer. A kept connection that turns out closed is made anew, once. ERR_CONNECT: nobody
 * listens there; other errors are of this request, and the connection is closed. */
MUST_CHECK enum err warm_client_get(struct warm_client *client, const struct warm_request *request,
                                    struct warm_answer *out_answer);

void warm_client_close(struct warm_client *client);

/* What the last member of Cache-Status says, which is that of the cache nearest to the client (RFC 9211 §2). */
void warm_read_cache_status(const struct headers *headers, struct warm_answer *answer);

#endif
