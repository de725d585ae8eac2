/* flight.h: one running fetch and its bytes, which any number of clients on any worker may follow.
 *
 * The producer (the fetch) sets the head and appends body bytes; followers read them by offset at their own pace, as
 * immutable runs. Bytes lie in refcounted segments until they are no longer needed here: when the response is being
 * stored, until they are committed (followers then read them from the store); else until every follower has consumed
 * them. Memory is bounded by the window whatever the body's size: flight_room tells the producer when to pause, its
 * party is woken when there is room again.
 *
 * Offsets count bytes of the stream [key][head][body] as the store keeps it; body byte b is at flight_body_offset() +
 * b.
 *
 * Ownership: counted references. Threads: one, the producer's, until it is shared: the answer to a request that passes
 * is nobody else's, and takes no locks. Then any (one mutex inside); `wake` of a party is called with that mutex held,
 * from any thread, and may only post a message. */
#ifndef CACHE_FLIGHT_H
#define CACHE_FLIGHT_H

#include "cache/policy.h"
#include "cache/reason.h"
#include "cache/record.h"
#include "cache/segments.h"
#include "http/error.h"

struct flight;

/* Someone who waits for a flight: a follower or the producer. Embed it; zero it first. */
struct party {
    void (*wake)(struct party *party); /* something changed: look again; may be called often: post a message once */
    struct party *next;                /* the flight's list */
    struct party *previous;
    uint64_t consumed; /* followers: everything before this offset is not needed any more */
    uint64_t looked;   /* `consumed`, when slow followers were last looked for */
    bool linked;
};

enum flight_phase {
    FLIGHT_PENDING,   /* no head yet */
    FLIGHT_STREAMING, /* head there, body coming */
    FLIGHT_COMPLETE,  /* the whole body is there */
    FLIGHT_VALIDATED, /* the origin confirmed the stored response: look it up again */
    FLIGHT_REFUSED,   /* given up before a head came (the leader went another way, or away): join again */
    FLIGHT_FAILED,    /* no usable answer: before the head, or the body broke off */
};

/* What a flight's head says: everything in it belongs to the flight and lives as long as it. */
struct flight_head {
    unsigned status;
    struct span fields;    /* field lines as stored (head.h) */
    struct headers lines;  /* the same as a list, with spans in `fields`; to be copied, nothing can be added */
    struct span passed;    /* field lines that only the leader's client gets: the origin's Age, Cache-Status, … */
    struct span selection; /* encoded Vary selection (stored flights) */
    struct policy policy;  /* that holds for this response, whoever asks for it */
    const char *rule;      /* that decided on storing, or NULL; the configuration's */
    struct record record;  /* freshness inputs always; ids and lengths where stored */
    bool shared;           /* others may follow: it is being stored */
    bool partial;          /* the body is the bytes `range` of a representation of `complete_length` */
    struct byte_range range;
    uint64_t complete_length;
    bool may_renew; /* its end says whether the body is the one that is stored already */
    bool length_known;
    uint64_t body_len; /* if length_known */
};

/* ---- life ---- */

/* `window_bytes` bounds what it holds in memory; at least 64 KiB, for memory is given back in slots of almost that.
 * NULL: no memory. One reference for the caller. */
MUST_CHECK struct flight *flight_create(struct span key, size_t window_bytes, struct stream_memory *memory);

/* Other threads may see it from now on. Called before they do, by the one thread whose it was until now. What is stored
 * is shared in any case. */
void flight_share(struct flight *flight);

struct flight *flight_ref(struct flight *flight);
void flight_unref(struct flight *flight); /* accepts NULL */

/* Lives as long as the flight; for others than the producer, from FLIGHT_STREAMING on. */
struct span flight_key(const struct flight *flight);

/* Before the head: another key. False: no memory. */
MUST_CHECK bool flight_rekey(struct flight *flight, struct span key);

/* When the origin was asked, on the monotonic clock; 0: not said. Set before anyone else sees the flight. */
void flight_set_begun(struct flight *flight, uint64_t monotonic_ms);
uint64_t flight_begun_ms(const struct flight *flight);

/* ---- the producer ---- */

/* NULL: it has gone; no wake after the return. */
void flight_set_producer(struct flight *flight, struct party *producer);

/* Sets the head; everything is copied. With a `store` it is being stored: the stream starts with key and head, is the
 * body `head->record.body_id` there, and that body is pinned as long as the flight lives; `window_bytes` replaces the
 * window. */
MUST_CHECK enum err flight_set_head(struct flight *flight, const struct flight_head *head, struct store *store,
                                    size_t window_bytes);

/* How many body bytes may be appended now; 0: wait for the wake. */
size_t flight_room(struct flight *flight);

/* Appends body bytes (beyond flight_room too, where bytes are at hand and cannot be put back). ERR_NO_MEMORY. */
MUST_CHECK enum err flight_append(struct flight *flight, struct span bytes);

/* The whole body is there. `trailers` (field lines, may be empty) are copied; kept for followers, never stored. */
void flight_complete(struct flight *flight, struct span trailers);

void flight_fail(struct flight *flight, enum err error);
void flight_set_validated(struct flight *flight);
void flight_set_refused(struct flight *flight);

/* Why it is stored (REASON_STORED…) or not; may change while it runs. Any thread. */
void flight_set_store_reason(struct flight *flight, enum reason reason);
enum reason flight_store_reason(const struct flight *flight);

/* The digest of the whole body, known with FLIGHT_COMPLETE of a stored one. */
void flight_set_digest(struct flight *flight, const uint8_t digest[DIGEST_BYTES]);
bool flight_digest(struct flight *flight, uint8_t out_digest[DIGEST_BYTES]); /* false: not known */

/* Which of the followers that are too far behind are given up. */
enum shed {
    SHED_IDLE, /* who has not read a slot since the last call; the others are waited for */
    SHED_ALL,
};

/* Not storing, and the window is full of what slow followers have not read: lets go of it up to half a window behind
 * the fastest one, or (SHED_IDLE) to where the last one is that is waited for, so that the others get on. How many will
 * find FLIGHT_READ_SHED, now or behind what was committed, which stays readable from the store: nobody, and nothing is
 * let go of, where it reaches no further than that. Each is counted once. */
unsigned flight_shed_slow(struct flight *flight, enum shed shed);

/* Does anyone still want it: a follower, or the store? */
bool flight_wanted(struct flight *flight);

/* ---- followers ---- */

/* For who is there before the head, as the leader's own client: it can have every byte. */
void flight_follow(struct flight *flight, struct party *party);

/* For one who comes later: follows unless the first bytes may be gone already. False: not followed. */
MUST_CHECK bool flight_join(struct flight *flight, struct party *party);
/* No wake after the return; accepts an unlinked party. */
void flight_unfollow(struct flight *flight, struct party *party);

unsigned flight_follower_count(struct flight *flight, unsigned max); /* does not count beyond `max` */

enum flight_phase flight_phase(struct flight *flight);
enum err flight_error(struct flight *flight); /* FLIGHT_FAILED */

/* From FLIGHT_STREAMING on; does not change. */
const struct flight_head *flight_head(const struct flight *flight);
struct span flight_trailers(const struct flight *flight); /* FLIGHT_COMPLETE */
uint64_t flight_body_offset(const struct flight *flight);
uint64_t flight_length(struct flight *flight); /* stream bytes so far */

enum flight_read {
    FLIGHT_READ_DATA,     /* `*out_run` holds bytes; give `*out_segment` back with segment_unref */
    FLIGHT_READ_IN_STORE, /* committed and gone from here: store_read(head->record.body_id, offset) */
    FLIGHT_READ_WAIT,     /* nothing more yet: wait for the wake */
    FLIGHT_READ_END,      /* that was all of it */
    FLIGHT_READ_FAILED,   /* the body broke off */
    FLIGHT_READ_SHED,     /* too slow for the others: what it needs is gone (flight_shed_slow) */
};

/* Bytes from `offset` on. */
enum flight_read flight_read(struct flight *flight, uint64_t offset, struct segment **out_segment,
                             struct span *out_run);

/* The follower needs nothing before `offset` any more. */
void flight_consumed(struct flight *flight, struct party *party, uint64_t offset);

/* ---- the store's side, used by cache.c ---- */

/* The object id it got when it was published, 0 before. Any thread. */
void flight_set_object_id(struct flight *flight, uint64_t object_id);
uint64_t flight_object_id(const struct flight *flight);

/* The next full segment (or with a complete body the last one) that was not handed out for writing yet. False: none.
 * The caller owns a reference to the segment. */
bool flight_next_write(struct flight *flight, uint64_t *out_offset, struct segment **out_segment,
                       struct span *out_bytes);

/* Everything before `offset` is committed. */
void flight_committed(struct flight *flight, uint64_t offset);

/* It is complete and look-ups may find it from now on: whatever followers have consumed, only what is committed leaves
 * memory, also when it is not stored in the end. False: it is not being stored (any more). */
MUST_CHECK bool flight_keep(struct flight *flight);

/* How far the stream was handed out by flight_next_write. */
uint64_t flight_written(struct flight *flight);

/* It will not be stored (any more): bytes stay until followers consumed them; committed ones stay readable while the
 * body is pinned. */
void flight_stop_storing(struct flight *flight);
bool flight_is_storing(struct flight *flight);

#endif
