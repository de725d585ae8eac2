/* exchange_internal.h: the exchange as its files share it: exchange.c (the machine), exchange_lookup.c (what is
 * stored), exchange_fetch.c (the origin), exchange_partial.c (what is missing of a partial response), exchange_admit.c
 * (limits), exchange_purge.c (PURGE), exchange_trace.c (traces), respond*.c (heads), deliver.c (bodies), exchange_log.c
 * and exchange_facts.c (the end).
 *
 * One exchange is in the client's arena and touched by the worker's thread only. */
#ifndef PROXY_EXCHANGE_INTERNAL_H
#define PROXY_EXCHANGE_INTERNAL_H

#include "cache/cache.h"
#include "http/range.h"
#include "proxy/client/tunnel.h"
#include "proxy/config/route.h"
#include "proxy/exchange/exchange.h"
#include "proxy/io/mailbox.h"
#include "proxy/origin/fetch.h"

enum step {
    STEP_IDLE,    /* created, not run */
    STEP_ROUTE,   /* which site and rules */
    STEP_PURGE,   /* until a PURGE is durable */
    STEP_LOOKUP,  /* what is stored */
    STEP_DECIDE,  /* may it be used */
    STEP_JOIN,    /* who fetches */
    STEP_MISSING, /* who fetches what is missing of a partial response */
    STEP_PASS,    /* past the cache */
    STEP_AWAIT,   /* for the head of the flight */
    STEP_SERVE,   /* head from the store */
    STEP_RESPOND, /* head from the flight */
    STEP_REPLY,   /* head and text of our own */
    STEP_DELIVER, /* the body */
    STEP_SENDING, /* for the last bytes to leave */
    STEP_TUNNEL,  /* another protocol has the connection */
    STEP_LOG,     /* the end */
    STEP_COUNT,
    STEP_WAIT, /* not a step: something will resume the exchange */
};

/* Where the response's body comes from. */
enum body_source { SOURCE_NONE, SOURCE_STORED, SOURCE_FLIGHT };

/* A run of the response's body: bytes first … end-1 of the representation, or text of our own (part heads of a
 * multipart/byteranges). */
struct part {
    struct span text; /* if text.len > 0 */
    uint64_t first;
    uint64_t end; /* UINT64_MAX: to the end, wherever that is */
};

enum {
    PARTS_MAX = 2 * RANGES_MAX + 1,
    EXCHANGE_MAX_LOOK_UPS = 3, /* then the request goes on alone */
    EXCHANGE_MAX_OUTRUN = 64,  /* look-ups that do not count among these */
};

struct exchange {
    /* who */
    struct worker *worker;
    struct stream *stream;
    struct arena *arena;
    const char *client;
    uint16_t client_port;
    struct span named;             /* by the trusted proxy that the client is: its client; empty: none */
    enum forwarded_style believed; /* of exchange_start */
    struct span scheme;            /* of the connection; exchange_scheme has what the client used */
    struct message wake;           /* the flight's party wakes us through the worker's mailbox */
    struct party party;
    enum step step;
    int64_t now_ms; /* when it was begun, or went on after it last waited: the time of what it decides */

    /* what was asked */
    struct http_request request; /* rewritten by rules from STEP_ROUTE on */
    struct span target;          /* as received */
    struct span host;            /* as received */
    enum err error;              /* of the head, later of whatever failed */
    bool counted;                /* among the requests being answered */
    const struct site *site;
    struct policy policy;
    struct key key;
    bool only_if_cached;
    struct span own_match; /* tags of larder's making, one of which the answer must have; empty: whatever it has */
    struct span trace_id, parent_id, span_id; /* of its trace, of who asks, of this request; empty: none */

    /* what is stored */
    bool has_cached;
    bool found_any; /* that, or a variant the request does not select */
    bool validated; /* our own fetch was answered 304 */
    bool replays;   /* `cached` is a recording (cache/key.h) */
    struct cached cached;
    struct headers stored_headers;
    struct span passed; /* lines that the 304 to our own fetch had for this client alone */
    struct reuse_verdict verdict;
    uint64_t generation;
    unsigned look_ups;
    unsigned outrun; /* look-ups in vain because something was stored meanwhile, for the most part under another key */

    /* what is missing of a partial response */
    struct byte_range gap; /* asked for, or being sent from the flight */
    bool completing;       /* `flight` is to bring the gap */
    bool begun;            /* the head has been sent: what comes must fit to it */
    bool not_combined;     /* the origin's parts do not fit: a partial response counts only if it is enough */
    unsigned gaps;         /* asked for so far */

    /* what is fetched */
    struct flight *flight;
    struct fetch *fetch; /* while it is ours */
    bool leads;          /* the flight's head answers our own request */
    bool passes;         /* the client's conditions went to the origin */
    bool collapsed;
    bool alone;       /* does not wait for others (again) */
    bool held_back;   /* the head waits for the end of the body */
    bool held_enough; /* it does so no longer */
    bool hinted;      /* a 103 was sent, ours or the origin's, or there is none to send */

    /* the answer */
    unsigned status;
    uint64_t retry_after_s;          /* with 429 and 503 */
    const struct headers *unchanged; /* its fields as the store or the flight has them, to be read only */
    struct headers headers;          /* see respond_change */
    enum body_source source;
    struct part whole;  /* the usual single part */
    struct part *parts; /* what is sent of it, in this order */
    size_t part_count;
    size_t part;     /* being sent */
    size_t ahead;    /* so many of several parts were looked at before the head goes out (deliver.c) */
    uint64_t offset; /* next byte of the representation, or of the part's text */
    struct tunnel *tunnel;
    struct purge_wait *purging; /* a PURGE that is not durable yet */
    struct cold_read *cold;     /* what comes next is being read into memory */
    bool warm;                  /* it was: now it is read in any case */

    /* for the log */
    enum outcome outcome;
    enum reason reason;
    enum reason store_reason;
    const char *rule;
    const char *purge_text; /* what `rule` may be although no rule decided (decide_purge_text); the arena's */
    const char *origin;
    unsigned attempts; /* at origins */
    unsigned origin_status;
    int64_t ttl_s;
    int64_t age_s;
    int64_t time_ms;
    uint64_t begun_us;
    uint64_t asked_us;
    uint64_t answered_us;
    uint64_t first_byte_us;
    uint64_t fetched_bytes; /* by its fetches that have ended */
    uint64_t fetch_waited_us;
    enum end_reason end;
};

/* exchange.c: goes on with `next` after a wait, from the loop. When that ends the exchange, it is gone. */
void exchange_resume(struct exchange *ex, enum step next);

/* exchange_lookup.c: a step. Afterwards `ex->key` is the one to fetch under. */
enum step exchange_lookup(struct exchange *ex);

/* exchange_lookup.c: what was found turns out to be unreadable, and nothing of it was sent: it is as if it were not
 * stored. The next step. */
enum step exchange_unreadable(struct exchange *ex);

/* exchange.c: an answer of our own for a failure. The next step. */
enum step exchange_fail(struct exchange *ex, enum err error, enum reason reason);
enum step exchange_not_matched(struct exchange *ex);  /* 412: its If-Match is not for the origin, and does not hold */
enum step exchange_decide_fetch(struct exchange *ex); /* nothing stored may be served as it is */
enum step exchange_offline_miss(struct exchange *ex); /* the same, and the origin may not be asked */
uint64_t exchange_now_us(void);

/* exchange.c: why it is answered so, and the rule that decided, NULL where none did. */
void exchange_because(struct exchange *ex, enum reason reason, const char *rule);

/* exchange_log.c: it is over: counted, and told to whoever listens. */
void exchange_tell(const struct exchange *ex, const struct stream_count *counts);

/* exchange_trace.c: with its site. False at the arena's limit. */
MUST_CHECK bool exchange_enter_trace(struct exchange *ex);

/* exchange_facts.c: before it leaves its flight. */
void exchange_keep_facts(const struct exchange *ex, const struct stream_count *counts);

/* exchange_log.c: what the origin is asked for on its behalf; lives as long as the configuration. */
struct fetch_cause exchange_cause(const struct exchange *ex);
struct span exchange_scheme(const struct exchange *ex); /* as the client used it, if it is known (decide_request) */

/* exchange_admit.c: is it within the limits on requests? False: status, reason and Retry-After are filled in. What it
 * counted exchange_leave_count takes back. */
bool exchange_admit(struct exchange *ex);
void exchange_leave_count(struct exchange *ex);

/* exchange_fetch.c: steps, and what they and others need. */
enum step exchange_join(struct exchange *ex);
enum step exchange_pass(struct exchange *ex);
enum step exchange_await(struct exchange *ex);
enum step exchange_waited(struct exchange *ex);                /* as long as it was to wait for a head */
uint64_t exchange_collapse_wait_ms(const struct exchange *ex); /* for another's head */
void exchange_leave_flight(struct exchange *ex);               /* follows nothing, asks for nothing any more */
void exchange_revalidate_behind(struct exchange *ex); /* one fetch behind for the key, unless one is under way */

/* exchange_fetch.c: something was stored since the look-up, for the most part under another key (JOIN_LOOK_AGAIN). That
 * is no disappointment: who went on alone now might fetch what was stored a moment ago. */
enum step exchange_look_again(struct exchange *ex);

/* exchange_partial.c: what of the partial response that was selected is missing for this request, and getting it. */
size_t exchange_gaps(struct exchange *ex, struct byte_range *out_first); /* how many, and the first */
enum step exchange_decide_missing(struct exchange *ex, size_t gaps);
enum step exchange_missing(struct exchange *ex);   /* a step */
enum step exchange_completed(struct exchange *ex); /* the flight that was to bring it has something to say */
bool exchange_next_gap(struct exchange *ex);       /* at ex->offset, up to the end of the part */

/* exchange_fetch.c: as the leader of `fill`. The next step. */
enum step exchange_begin_fetch(struct exchange *ex, struct fill *fill, const struct range_spec *range);
struct join_request exchange_join_request(struct exchange *ex, enum join_wish wish);
/* exchange_purge.c: the step of a PURGE, and what follows when it took too long. */
enum step exchange_purge(struct exchange *ex);
enum step exchange_purge_waited(struct exchange *ex);

/* respond.c: fill in status, fields, source and length, and start the response. The next step. */
enum step respond_from_stored(struct exchange *ex);
enum step respond_from_flight(struct exchange *ex);
enum step respond_ourselves(struct exchange *ex);

/* respond.c: starts a 101 with these fields, which is passed on. False: no memory. */
bool respond_upgraded(struct exchange *ex, const struct headers *headers);

/* respond.c: the fields of the response so far, to be read, and to be changed: `ex->headers`, which exists only from
 * the first change on where the response is a stored one. NULL at the arena's limit. */
const struct headers *respond_fields(const struct exchange *ex, const struct stream_head *head);
struct headers *respond_change(struct exchange *ex, struct stream_head *head);
MUST_CHECK bool respond_set_content_range(struct exchange *ex, struct stream_head *head,
                                          const struct content_range *value);

void respond_with_part(struct exchange *ex, struct part part); /* respond.c: that one alone is sent */

/* respond_conditions.c: does If-Match hold, where larder evaluates it? RFC 9110 §13.2.1: only what would be 2xx is
 * compared. */
bool respond_matches(const struct exchange *ex, const struct stream_head *head);

/* respond_conditions.c: fills in what is sent of the body; makes a 304, 206 or 416 of what the client holds already, or
 * wants a part of. False: no memory. */
MUST_CHECK bool respond_to_conditions(struct exchange *ex, struct stream_head *head, int64_t received_ms);

/* deliver.c: sends what can be sent now. The next step. */
enum step deliver(struct exchange *ex);

#endif
