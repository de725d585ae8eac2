/* fetch_internal.h: the fetch as its files share it: fetch.c (life), fetch_request.c (what is asked), fetch_origin.c
 * (which origin, retries, the connection), fetch_response.c (head and body), fetch_validate.c (what is stored). */
#ifndef PROXY_FETCH_INTERNAL_H
#define PROXY_FETCH_INTERNAL_H

#include "http/framing.h"
#include "http/parser.h"
#include "proxy/io/mailbox.h"
#include "proxy/origin/fetch.h"
#include "proxy/origin/pool.h"

enum fetch_state {
    FETCH_ACQUIRE, /* for a connection */
    FETCH_HEAD,    /* the request is being sent, the response's head awaited */
    FETCH_BODY,    /* for the rest of the body */
};

/* What a stored response becomes by a new head. */
struct freshened {
    struct record record;
    struct headers headers;
    struct span head;      /* what of them is stored */
    struct headers fields; /* the fields in it */
};

struct fetch {
    struct worker *worker;
    struct fetch *next; /* of the worker's list */
    struct fetch *previous;
    enum fetch_state state;
    struct arena arena; /* it lies in it itself, and everything below borrows from there */

    /* whom it is for */
    struct exchange *exchange; /* NULL: it left, or there never was one */
    struct fill *fill;
    struct flight *flight;
    struct party producer;
    struct message wake;
    bool behind; /* a revalidation behind: wanted although nobody follows */

    /* what is asked */
    const struct site *site;
    struct http_request request;
    struct key key;
    bool has_key; /* it may be stored */
    bool keep_conditions;
    bool upgrade;
    struct span client;
    struct span scheme;
    struct span host;
    struct cached validate; /* what is validated, or compared with */
    struct headers stored;  /* its fields */
    bool comparing;         /* … with the answer to this HEAD */
    bool validating;
    bool rekeyed; /* what comes lies under another key than `validate` */
    bool renews;  /* should the body be that of `validate`, this is what becomes of it: */
    struct freshened renewed;
    bool completing; /* `validate` is partial, and `gap` of it is asked for */
    struct byte_range gap;
    struct span range; /* what Range asks for; empty: nothing */

    /* whom it is asked */
    struct pool *pool;
    struct origin_choice choice; /* the origin asked now, or asked last */
    bool asking;                 /* the choice is counted as a request under way */
    uint64_t tried;              /* origins: a bit each */
    unsigned attempts;
    uint64_t hash; /* of the target, for BALANCE_HASH */

    /* the request on its way */
    struct origin_request acquire;
    struct origin_conn *conn;
    struct buf out;       /* not taken by the socket yet */
    bool request_sent;    /* all of it, body included */
    bool conditional;     /* it may be answered 304 */
    bool awaits_continue; /* the body waits for a 100 */
    int64_t request_ms;
    uint64_t asked_ms; /* the same, loop time */

    /* for the report */
    struct fetch_cause cause; /* once there is no exchange */
    uint64_t received_bytes;
    uint64_t waited_us; /* for its heads so far */
    bool waits;         /* for one, since asked_ms */

    /* the response */
    struct buf in;    /* its head so far, where it did not come in one piece */
    struct span rest; /* what has come and was not taken yet: in `in`, or where it was read to; within fetch_take */
    struct head_scan scan;
    bool responded; /* a byte of it came */
    struct http_response response;
    int64_t response_ms;
    bool reusable; /* the connection, after the end */
    struct body_decoder decoder;
    bool paused;          /* not read: no room */
    unsigned standstills; /* how often slow followers were looked for since there was room */
};

/* What the field lines that are made of a response's may take: as received they had a space less each. */
size_t fetch_fields_limit(const struct fetch *fetch);

/* fetch_response.c: bytes of the response; may end the fetch. */
void fetch_take(struct fetch *fetch, struct span bytes);

/* fetch_response.c: the origin closed while a response was awaited or under way; ends the fetch. */
void fetch_take_end(struct fetch *fetch, enum err error);

/* fetch_validate.c: a 304 to our validators came: ends the fetch, or asks for the whole. */
void fetch_validated(struct fetch *fetch);

/* fetch_validate.c: a 200 to HEAD came: freshens the stored response, or shows that it is not the current one any more.
 * Which of the two. */
enum reason fetch_compare(struct fetch *fetch);

/* fetch_validate.c: record and stored form of `headers`, which are in force for `validate` from now on: times and
 * directives are read from them anew. False: no memory. */
bool fetch_freshen(struct fetch *fetch, const struct headers *headers, struct freshened *out);

/* fetch_renew.c: a 200 that will be stored came where `validate` was to be confirmed. If both are the same but for the
 * body, which nobody knows yet, notes what `validate` becomes should that be the same, too. */
void fetch_prepare_renewal(struct fetch *fetch, struct span selection);

/* fetch_search.c: a response that will be stored goes under the key that its No-Vary-Search gives it. False: it cannot,
 * and must not be stored. */
bool fetch_settle_key(struct fetch *fetch, const struct policy *policy);

/* fetch_search.c: the answer goes under the key of its recording, and to nobody else. False: it cannot, and must not be
 * stored. */
bool fetch_settle_recording(struct fetch *fetch);

/* fetch_search.c: what is stored for the URI is gone, under whichever key. */
void fetch_invalidate_uri(struct fetch *fetch, const struct uri *uri);

/* fetch_origin.c: asks one of the site's origins. */
void fetch_ask(struct fetch *fetch);

/* fetch_origin.c: asks the same origin again, on a connection of its own. */
void fetch_again(struct fetch *fetch);

/* fetch_origin.c: the connection ended (`error` as on_end has it) before the origin said anything. True: that was on
 * its way when the request was sent, which goes out once more. */
bool fetch_replay(struct fetch *fetch, enum err error);

/* fetch_origin.c: the wait for a head is over, if there was one. */
void fetch_note_wait(struct fetch *fetch);

/* fetch_origin.c: the origin's final head is there. */
void fetch_note_answer(struct fetch *fetch);

/* fetch_origin.c: the fetch is over, or goes elsewhere; `error` tells what became of the request. */
void fetch_leave_origin(struct fetch *fetch, enum err error);

/* fetch_request.c: the fetch may outlive the exchange: takes a copy of all it needs. False: no memory. */
MUST_CHECK bool fetch_copy_request(struct fetch *fetch, const struct fetch_options *options);

/* fetch_request.c: writes the request's head to `out`. False: memory or a limit. */
MUST_CHECK bool fetch_build_head(struct fetch *fetch);

/* fetch.c: there is a connection: sends the request. */
void fetch_connected(struct fetch *fetch, struct origin_conn *conn);

/* fetch.c: is the connection through with the request, body included? */
bool fetch_request_is_out(const struct fetch *fetch);

/* fetch.c: sends the request's body, which waited for a 100. */
void fetch_continue(struct fetch *fetch);

/* fetch.c: reads on, or pauses while there is no room; sets the timer that fits. What nobody wants ends here: the fetch
 * may be gone. */
void fetch_read_on(struct fetch *fetch);

/* fetch.c: the end, good (the fill has been ended) or bad (it is failed here). The fetch is gone. */
void fetch_finish(struct fetch *fetch);
void fetch_fail(struct fetch *fetch, enum err error);

/* fetch.c: nobody wants it, or the worker ends: who follows it all the same asks for itself, or sees the body break
 * off. The fetch is gone. */
void fetch_cancel(struct fetch *fetch);

/* fetch.c: gives way to clients, before anything was sent: who follows asks for itself. The fetch is gone. */
void fetch_refuse(struct fetch *fetch);

#endif
