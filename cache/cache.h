/* cache.h: the face of the cache towards proxy/: look up, join or lead a fetch, store, freshen, invalidate; and the
 * disk thread's work.
 *
 * What was decided but is not committed yet is seen by every look-up at once: the cache keeps, per key, the running
 * fetches, the responses complete or freshened but not yet on the disk, and removals under way. The store is asked only
 * behind these.
 *
 * Threads: every function from any thread, except cache_write (the disk thread) and a cache_reader (its owner). Errors:
 * the store's failures are never a client's: they show as ABSENT and as not stored, with a reason. */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <time.h>

#include "cache/flight.h"
#include "cache/hot.h"
#include "cache/key.h"
#include "cache/policy.h"
#include "cache/purge_set.h"
#include "cache/store.h"
#include "http/cache_groups.h"

struct cache;
struct cache_reader;

struct cache_options {
    struct store_options store;
    size_t write_queue_bytes; /* waiting for the disk */
    size_t window_bytes;      /* of a flight that is not stored; one that is has an eighth of the queue */
    size_t
        stream_memory_bytes;  /* of all flights: beyond it each gets little, and nothing more is stored; 0: no limit */
    uint64_t hit_for_miss_ms; /* for so long a key whose answer could not be shared is fetched by each for himself */
    size_t hot_bytes;         /* that each reader keeps in memory of what it finds often; 0: nothing */
};

/* Opens the store, with the errors and the note of store_open, and takes its journal of purges into memory; also
 * ERR_NO_MEMORY. The options are copied. */
MUST_CHECK enum err cache_open(const struct cache_options *options, struct cache **out_cache, struct buf *out_note);
void cache_close(struct cache *cache); /* after cache_stop_writes and all readers' end; accepts NULL */

MUST_CHECK struct cache_reader *cache_reader_create(struct cache *cache); /* NULL: no memory, no reader slot */
void cache_reader_destroy(struct cache_reader *reader);                   /* nothing found by it may be held any more */
/* It keeps nothing in memory from now on of what it finds: what it kept is its successor's to keep. Accepts NULL. */
void cache_reader_retire(struct cache_reader *reader);

struct cache *cache_reader_cache(struct cache_reader *reader);
struct store_reader *cache_reader_store(struct cache_reader *reader); /* for store_read */
struct store *cache_store(struct cache *cache);                       /* for store_pin, store_unpin, store_stats_of */

uint64_t cache_secret(const struct cache *cache); /* seeds key hashes (key.h) */

size_t cache_stream_bytes(const struct cache *cache); /* of bodies that stream, in memory */

size_t cache_queued_bytes(struct cache *cache); /* that wait for the disk */

/* ---- look-up ---- */

/* What there is of a partial response: in the store, and in flights that are complete and not all committed yet. */
struct partial {
    struct slices slices;
    struct flight *flights[SLICES_MAX]; /* each holds the body of some slices */
    size_t flight_count;
};

/* A stored response that a request selected. Memory is the arena's or that of `hot`; give `hot`, the flights and the
 * pins back with cached_finish, on the reader's thread. */
struct cached {
    struct stored stored;
    struct flight *flight;       /* its body is (also) in this flight's memory; NULL: in the store only */
    struct hot_response *hot;    /* everything belongs to it; NULL: to the arena */
    struct partial *partial;     /* not NULL: a part of its body, or all of it in parts */
    struct purge_verdict purged; /* soft: inputs.purged_ms is set; hard: this is why nothing was found */
};

/* Where the bytes from one on lie: in a body's stream, `flight` (borrowed) before the store where there is one. */
struct stored_run {
    struct flight *flight;
    uint64_t body_id;
    uint64_t offset;
    uint64_t bytes;
};

/* Where byte `at` of a partial response lies. False: it is missing. */
bool partial_run(const struct partial *partial, uint64_t at, struct stored_run *out_run);

/* `*out_generation` goes to cache_join: it tells whether something was stored in between. */
enum store_found cache_find(struct cache_reader *reader, const struct key *key, const struct headers *request,
                            struct arena *arena, struct cached *out_cached, uint64_t *out_generation);

/* Is a response stored under the key, for whatever request, that is no server error and that no hard purge names? Also
 * true where only the disk could tell, for nothing here waits for it (a key under which nothing is stored may be such a
 * one, too), and where memory is lacking for a look. */
bool cache_holds_good(struct cache_reader *reader, const struct key *key);

/* Would cache_find wait for the disk? Then store_warm_find on another thread first. Advice. */
bool cache_find_is_cold(struct cache_reader *reader, const struct key *key);

/* A second holder of the same: texts are copied to `arena`, the body is kept for it too. False: a limit, or no memory.
 */
MUST_CHECK bool cached_copy(struct cache *cache, const struct cached *cached, struct arena *arena,
                            struct cached *out_copy);

void cached_finish(struct cache *cache, struct cached *cached); /* accepts a zeroed one; twice is once */

/* ---- one fetch a key ---- */

enum join {
    JOIN_LEAD,       /* fetch it: `*out_fill` is yours to fill, others may follow its flight */
    JOIN_ALONE,      /* fetch it for yourself: `*out_fill`, nobody follows; it may still be stored */
    JOIN_FOLLOW,     /* another fetches it: `party` follows `*out_flight` */
    JOIN_LOOK_AGAIN, /* something was stored since the look-up: look up again */
    JOIN_NOBODY,     /* JOIN_IF_RUNNING: nobody fetches what would do */
    JOIN_FAILED,     /* no memory */
};

enum join_wish {
    JOIN_WITH_OTHERS,
    JOIN_WITHOUT_OTHERS, /* do not wait for anyone */
    JOIN_IF_RUNNING,     /* follow, but do not begin a fetch */
    JOIN_ONLY_LEAD,      /* a revalidation behind: JOIN_FOLLOW tells that someone is fetching it already; then
                            nothing is followed and no reference given */
};

/* What a request brings to cache_join. */
struct join_request {
    const struct key *key;
    const struct http_request *request;
    const struct range_spec *range; /* a part is wanted; NULL: the whole. A fetch of the whole serves both, one of a
                                       part only who wants the same part, unless its head says that it is the whole */
    bool several;                   /* more than one part is wanted, `range` is NULL: the same, but nobody wants the
                                       same parts */
    enum join_wish wish;
    uint64_t generation; /* of the look-up before */
    bool found;          /* it found a stored response: this is no first request */
    int64_t now_ms;      /* wall clock */
    uint64_t monotonic_ms;
    struct arena *arena; /* for comparing only */
};

struct fill;

/* Joins the fetch for this key, if there is one that may serve this request (its head is not there yet, or is shared,
 * selected by `request`, and usable), else begins one. Keys whose last answer could not be shared are
 * fetched alone for a while (hit_for_miss). A reference to `*out_flight` is the caller's in every case but LOOK_AGAIN
 * and FAILED. */
enum join cache_join(struct cache *cache, const struct join_request *join, struct party *party,
                     struct flight **out_flight, struct fill **out_fill);

/* A fetch that has nothing to do with the cache (a pass): only its own client follows. False: no memory. */
MUST_CHECK bool cache_pass(struct cache *cache, struct flight **out_flight, struct fill **out_fill);

/* May this request use what the flight's head says (it must be there)? */
bool cache_flight_serves(const struct flight *flight, const struct http_request *request, int64_t now_ms,
                         struct arena *arena);

/* ---- filling: one thread at a time; each fill is ended by exactly one of refuse, validated, complete, fail ---- */

/* Before the head: what comes belongs under another key than the one that was joined. Who waits for it stays, and has
 * to compare flight_key when the head is there. False: no memory; then it must not be stored. */
MUST_CHECK bool cache_fill_rekey(struct fill *fill, const struct key *key);

/* Before the head: what comes is not for others, and is to be stored as a recording under `key` (key_of_recording).
 * Waiting followers are sent away, and the next requests for the key that was joined do not wait for each other for a
 * while. False: no memory; then it must not be stored. */
MUST_CHECK bool cache_fill_record(struct fill *fill, const struct key *key, uint64_t monotonic_ms);

/* The request goes out now (again): what the origin makes of it is younger than every purge before, and than what it
 * made of requests that went out before. To be called before the first byte is sent. */
void cache_fill_sent(struct fill *fill);

/* The head has come. Where the key was invalidated meanwhile it is streamed as if to be stored, for those who came
 * before that, and the flight's store reason is REASON_RACED. With `store` storing begins, if the response is admitted:
 * at the request that its policy's min_uses says, and where it is large not at the first for a full store (but at once
 * in MODE_RECORD); followers count as requests. Without, waiting followers are sent away, and the next requests for the
 * key do not wait for each other for a while. ERR_NO_MEMORY: the fill must be failed. */
MUST_CHECK enum err cache_fill_head(struct fill *fill, const struct flight_head *head, bool store,
                                    uint64_t max_object_bytes, uint64_t monotonic_ms);

/* Appends to the body and hands full segments to the disk. Storing ends by itself when the body outgrows
 * max_object_bytes, or turns out to be large and is not admitted. */
MUST_CHECK enum err cache_fill_append(struct fill *fill, struct span bytes);

/* The producer has waited too long for the disk: goes on without storing. */
void cache_fill_stop_storing(struct fill *fill, enum reason reason);

/* The end was verified: publishes if it is being stored, unless the key was invalidated since the fill began, or the
 * response to a request sent later was stored, or confirmed what is, for the same variant, and is not older by its
 * Date (RFC 9111 §4, §4.3.4).
 * `trailers` are field lines for those who follow now. */
void cache_fill_complete(struct fill *fill, struct span trailers);

/* What a fetch of something that is stored makes of that. */
struct renewal {
    const struct cached *cached;
    const struct record *record; /* its times and inputs from now on */
    struct span head;            /* its head */
};

/* The same; but if the body turns out to be that of `renewal->cached`, byte by byte as far as length and digest tell,
 * nothing new is stored: that has now the renewal's record and head, as after a 304, and what was written of the
 * body is dropped. */
void cache_fill_complete_or_renew(struct fill *fill, struct span trailers, const struct renewal *renewal);

/* Broke off. Nothing of it is ever served as whole. */
void cache_fill_fail(struct fill *fill, enum err error);

/* Given up because nobody wants it, or its worker ends. Who joined meanwhile joins again if no head has come; else its
 * body breaks off (ERR_CANCELED). */
void cache_fill_cancel(struct fill *fill);

/* The leader goes another way before a head came: followers join again. */
void cache_fill_refuse(struct fill *fill);

/* `cached` has now `record` (times, inputs) and `head`: look-ups see it at once. Does not end the fill. The flight's
 * store reason, which is returned, is REASON_UPDATED (REASON_STORE_FAILED while the disk refuses writes), or says why
 * what is stored, if anything, stays as it is:
 * - REASON_RACED: the key was invalidated since the fill began, or the response purged hard; the answer to a request
 *   sent later was stored, or confirmed the same; or slices of it are still on their way to the disk
 * - REASON_DISK_BEHIND: the disk's queue is full; REASON_NO_MEMORY */
enum reason cache_fill_freshen(struct fill *fill, const struct cached *cached, const struct record *record,
                               struct span head);

/* The same, and the end: the origin answered 304; followers look up again. */
void cache_fill_validated(struct fill *fill, const struct cached *cached, const struct record *record,
                          struct span head);

/* ---- invalidation ---- */

/* Everything under the key is gone for look-ups that start after the return; running fetches of it are not stored, but
 * for `except` (NULL: none): the very exchange that invalidates may bring what is stored next. Where that cannot be
 * noted (no memory, or a disk that has refused so many that no more may wait) the store is given up: nothing of it is
 * served any more, here or after a restart. */
void cache_invalidate(struct cache *cache, const struct key *key, const struct fill *except);

/* Something is stored under the key, and an unsafe request is about to invalidate it (RFC 9111 §4.4). It is remembered
 * until something is stored under the key again, or another one with the same slot was invalidated. */
void cache_note_invalidated(struct cache *cache, const struct key *key);
bool cache_was_invalidated(struct cache *cache, const struct key *key);

/* ---- purging ---- */

enum { CACHE_PURGES_MAX = 256 }; /* of one call */

/* On the disk thread. ERR_OK: the purges are durable; else they are in force until this process ends, and written when
 * the disk takes writes again, unless they are too many. `sequence` is that of the last one. */
typedef void (*cache_purged_fn)(void *arg, uint64_t sequence, enum err error);

/* Purges what they name (sequences are given here), in one commit. When it returns they are in force: for look-ups
 * that start then, on every worker; and what was asked of an origin before and arrives later is dead or stale as what
 * is stored. `done` (may be NULL) runs once, after the commit. ERR_LIMIT: more wait for the disk than may, or more are
 * in force than can be; the disk thread is at work to make them fewer, and the second limit is none for a purge of a
 * whole host or of everything. ERR_BAD_TARGET: a name has not the form of its kind. ERR_NO_MEMORY. Then `done` never
 * runs. */
MUST_CHECK enum err cache_purge(struct cache *cache, const struct purge *purges, size_t count, cache_purged_fn done,
                                void *arg);

/* What an unsafe request invalidates by group, on the origin of `url` (RFC 9875 §3). In force at the return; nobody
 * waits for the disk, for this is an optimisation that the RFC permits, not an order of an operator. An origin that
 * fills half of the set with groups has its whole host purged instead. */
void cache_invalidate_groups(struct cache *cache, struct span url, struct cache_groups groups, int64_t now_ms,
                             struct arena *arena);

/* ---- the disk thread ---- */

enum cache_wait {
    WAIT_FOR_WORK,  /* until there is something to write */
    WAIT_FOR_BATCH, /* until there is enough for a batch, or someone waits for room */
};

/* Waits until the time `until` (CLOCK_MONOTONIC) at the latest. False: writes were stopped and nothing is left to do.
 */
bool cache_wait(struct cache *cache, enum cache_wait what, const struct timespec *until);

/* Collects a batch of what is queued (at most 8 MiB), applies it in one commit, tells whom it concerns. False: the disk
 * refused it; wait a little before the next. */
bool cache_write(struct cache *cache);

/* From now on cache_wait does not wait, and is false once the queue is empty. */
void cache_stop_writes(struct cache *cache);

/* After cache_stop_writes, when the disk thread has written all: it goes on. */
void cache_start_writes(struct cache *cache);

/* ---- another process takes the store over (store_let_go) ---- */

/* Whom to tell what was invalidated here; called on the disk thread. */
struct cache_successor {
    void (*removed)(struct cache_successor *successor, struct span key_text); /* the response under a key */
    void (*purged)(struct cache_successor *successor, uint64_t sequence, struct span row); /* for cache_purge_row */
};

/* The store's new owner serves. Until this call removals and purges wait, for the store may come back; from now on they
 * are told to `successor`, which stays the caller's. */
void cache_set_successor(struct cache *cache, struct cache_successor *successor);

/* What the store's former owner purged: a purge of ours, with a sequence of ours. False: it is none, or has no room (as
 * cache_purge). */
MUST_CHECK bool cache_purge_row(struct cache *cache, uint64_t sequence, struct span row);

#endif
