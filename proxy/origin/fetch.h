/* fetch.h: one request to an origin: connect or reuse, send, read the head, stream the body into a fill.
 *
 * A fetch belongs to the worker that started it and owns a copy of everything it needs: it may outlive the exchange
 * that asked for it, when others follow or the response is being stored. It ends its fill in every case. Threads: the
 * worker's. */
#ifndef PROXY_FETCH_H
#define PROXY_FETCH_H

#include "cache/cache.h"
#include "proxy/config/route.h"
#include "proxy/exchange/exchange.h"

struct fetch;

/* Why the origin was asked, for the report (traffic.h). */
struct fetch_cause {
    enum reason reason;
    const char *rule; /* or NULL; the configuration's */
};

struct fetch_options {
    struct worker *worker;
    const struct site *site;
    const struct http_request *request; /* as the cache sees it (rewritten by rules); copied */
    const struct key *key;              /* NULL: a pass */
    const struct cached *validate;      /* what to revalidate; NULL: nothing. Shared, not taken */
    const struct headers *stored;       /* with `validate`: its fields, as read from its head; copied */
    struct span range;                  /* what Range asks for; empty: the whole, unless the conditions are kept */
    const struct byte_range *gap; /* `range` asks for this part, which is missing in `validate`; NULL: it does not */
    bool compare;                 /* `validate` is only compared with the answer to this HEAD (RFC 9111 §4.3.5) */
    const char *client;           /* for the forwarded fields */
    struct span scheme;           /* of the client's connection */
    struct span host;             /* the authority that was keyed: what the origin is told */
    struct exchange *exchange;    /* told of progress; NULL: a revalidation behind */
    bool keep_conditions;         /* the client's conditions go to the origin as they are */
    bool upgrade;                 /* the client asks for another protocol */
    struct fetch_cause cause;     /* of a fetch without an exchange */
};

/* Takes `fill` (and the reference `flight` stays the caller's). False: no memory; the fill was failed. True: it runs;
 * or it has ended already, and told its exchange and the flight. `*out_fetch` must be where the exchange keeps it. */
MUST_CHECK bool fetch_start(const struct fetch_options *options, struct fill *fill, struct flight *flight,
                            struct fetch **out_fetch);

/* Bytes of the request's body; `end` with the last, and with it trailers (NULL: none). Then exchange_on_body_wanted
 * asks for more. */
void fetch_send_body(struct fetch *fetch, struct span bytes, bool end, const struct headers *trailers);

/* It is to be finished even if nobody follows: its answer is for the store. Call it before fetch_detach. */
void fetch_go_on_behind(struct fetch *fetch);

/* The exchange leaves, and says what for it was. Ends the fetch if nobody wants it. */
void fetch_detach(struct fetch *fetch, const struct fetch_cause *cause);

/* Facts for the log. */
const char *fetch_origin_text(const struct fetch *fetch);

/* The worker gives up: all its fetches end now. */
void fetches_abort(struct worker *worker);

#endif
