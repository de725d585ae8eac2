/* cache_internal.h: what cache.c (joining, invalidation), look_up.c, fill.c (the producer's side) and writer.c (the
 * disk thread's) share.
 *
 * Locks, in the order they may be taken: a fill's submit mutex, a shard's, a flight's (flight.c), the purge mutex, the
 * queue's. */
#ifndef CACHE_CACHE_INTERNAL_H
#define CACHE_CACHE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache/cache.h"

enum {
    SHARD_COUNT = 64,
    SHARD_BUCKETS = 256,
    VERSION_SLOTS = 4096,
    INVALIDATED_SLOTS = 4096,
    SHARD_NOTES = 256,    /* hit-for-miss notes kept per shard */
    REMOVALS_MAX = 65536, /* that wait for a disk that refuses them */
    BATCH_JOBS = 2048,    /* a small object is two: as many as a batch evicts */
    RECLAIM_OPS = 128,
    BATCH_SHARE = 16,                    /* of the queue's limit: a smaller batch waits a little for more */
    PURGES_MAX_BYTES = 32 * 1024 * 1024, /* of rows that wait for the disk; beside the queue's limit */
};

struct entry;

/* A response that is complete or freshened and not on the disk yet: look-ups find it before the store. */
struct settled {
    struct settled *next; /* of the entry, newest first */
    struct shard *shard;
    struct entry *entry;  /* while it is linked */
    struct record record; /* its slices lie in `memory`, too */
    struct span head;     /* these three lie in `memory` */
    struct span selection;
    struct span body_start; /* freshened ones with a small body: all of it */
    size_t memory_bytes;
    struct flight *flight; /* holds the body; NULL: it is in the store */
    struct store *pinned;  /* not NULL: the record's bodies are pinned there */
    bool dead;             /* invalidated or superseded, and unlinked: it must not be published */
    char memory[];
};

/* A fetch under way as the cache sees it. */
struct fill {
    struct fill *next; /* of the entry */
    struct cache *cache;
    struct shard *shard; /* NULL: a pass */
    struct entry
        *entry; /* NULL once it has left the table; this, `next` and `invalidated` are guarded by the shard's mutex */
    bool invalidated;       /* what it brings must not be stored */
    uint64_t created;       /* newest purge when it was made: no older row than this may be forgotten while it runs */
    _Atomic uint64_t birth; /* newest purge when the request was sent */
    _Atomic uint64_t sent;  /* the how-manieth of all requests it was */
    struct flight *flight;
    bool joinable; /* others may follow */
    bool ranged;   /* a part was asked for: this one, or (no kind) several */
    struct range_spec range;
    struct key_hash hash;  /* of the entry's key */
    struct key_hash asked; /* of the key that was joined: the same until cache_fill_rekey */
    bool found_before;     /* something was stored under the key already */
    bool records;          /* MODE_RECORD: it is admitted in any case */
    bool judged_large;     /* it was decided whether the store takes it although it is large */
    uint64_t max_object_bytes;
    size_t held_bytes; /* in memory to be stored, and not handed to the queue yet */
    void *digest;      /* XXH3 state of the body so far; NULL when not storing */
    bool submits;      /* it was being stored once: other threads may look at what the submit mutex guards */

    pthread_mutex_t submit_mutex; /* one thread at a time hands pieces, or the body's end, over; guards three below */
    bool ended;                   /* by the producer */
    bool in_backlog;              /* pieces wait for room in the queue */
    struct settled *to_publish;   /* complete: publish when all pieces are handed over */
    struct fill *backlog_next;    /* guarded by the queue's mutex */
};

/* A whole response that was settled, or an answer that confirmed one: of which variant, when it was asked for, and when
 * it was made. */
struct answer {
    uint64_t variant; /* hash of its selection */
    uint64_t sent;    /* as in struct fill; 0: none */
    int64_t date_s;
};

enum { ANSWERS_MAX = 4 }; /* that a key remembers: the last ones of as many variants */

/* What the cache knows of one key besides the store. Lives while there is something to know. */
struct entry {
    struct entry *next; /* of the bucket */
    struct shard *shard;
    struct key_hash hash;
    struct span text; /* behind the struct */
    struct fill *fills;
    struct settled *settled;
    uint64_t answered; /* the latest request whose response was settled here */
    struct answer answers[ANSWERS_MAX];
    unsigned removals;       /* queued and not committed: the store's answer does not count */
    bool removal_waits;      /* one of them has not been collected: it covers what is invalidated now */
    uint64_t alone_until_ms; /* hit-for-miss note, monotonic */
    bool noted;              /* in the shard's list of notes */
    struct entry *note_next;
};

struct shard {
    pthread_mutex_t
        mutex; /* guards everything below, and the entries, their fills' and settled ones' links and flags */
    struct entry *buckets[SHARD_BUCKETS];
    atomic_uint_fast64_t generation; /* of settled responses that became the store's */
    struct purge_reader *purges;
    struct entry *notes_first;
    struct entry *notes_last;
    unsigned note_count;
};

enum job_kind { JOB_PIECES, JOB_PUBLISH, JOB_FRESHEN, JOB_DROP, JOB_REMOVE, JOB_PURGE };

/* What one cache_purge writes. */
struct purge_rows {
    cache_purged_fn done; /* NULL: nobody waits */
    void *arg;
    struct buf bytes;
    size_t memory_bytes;
    size_t count;
    struct store_purge items[]; /* borrow from `bytes` */
};

/* A message to the disk thread. */
struct job {
    struct job *next;
    enum job_kind kind;
    size_t bytes;            /* what it counts in the queue */
    struct flight *flight;   /* PIECES: a reference */
    struct segment *segment; /* PIECES: a reference */
    struct span data;
    uint64_t offset;
    uint64_t body_id;        /* PIECES, DROP */
    struct settled *settled; /* PUBLISH, FRESHEN: its owner */
    struct entry *entry;     /* REMOVE */
    struct purge_rows *rows; /* PURGE: its owner */
    unsigned refusals;       /* DROP, REMOVE, PURGE: by the disk, since the writes were stopped */
    unsigned tries;          /* PURGE: that were refused, ever */
    bool again;              /* DROP: counted in the batch's drops */
    bool told;               /* PURGE: who waited knows that the disk refuses it; it is kept until the disk does not */
};

struct job_list {
    struct job *first;
    struct job *last;
};

void job_list_append(struct job_list *list, struct job *job);
struct job *job_list_take(struct job_list *list); /* the first; there is one */

/* Does someone wait for it? */
bool job_is_urgent(const struct job *job);

/* Purges stand in a line of their own, which goes first: who waits for one does not wait for all that is to be stored,
 * and what was born after one is not written before it (store_newest_purge). The line is in the order of their
 * sequences, those that the disk refuses first: they go back to its front. */
struct queue {
    pthread_mutex_t mutex; /* guards everything below */
    pthread_cond_t changed;
    struct job_list jobs;
    struct job_list purges;
    size_t bytes;      /* of the jobs in it */
    size_t held_bytes; /* of all fills that store: what is to be written and was not handed over */
    size_t limit_bytes;
    size_t removals;    /* JOB_REMOVEs queued */
    size_t purge_bytes; /* of rows that were admitted */
    size_t urgent;      /* jobs that someone waits for: no batch waits for more */
    struct fill *backlog;
    struct fill *backlog_last;
    size_t wake_bytes; /* the disk thread sleeps until there are as many; SIZE_MAX: it is awake, or being woken */
    bool stopped;
};

/* What one transaction takes up; the disk thread's. */
struct batch {
    struct job *jobs[BATCH_JOBS];
    struct store_op ops[BATCH_JOBS + RECLAIM_OPS]; /* one for each job, then those of the reclaim */
    size_t count;
    size_t bytes;
    size_t drops;            /* JOB_DROPs that were refused and queued again */
    struct job_list refused; /* purges: to be queued again, in their order */
};

/* Deleting what purges made dead (reclaim.c); the disk thread's. */
struct reclaim {
    struct store_reader *reader;
    struct purge_reader *purges;
    struct store_walk walk;
    bool walking;
    bool delete_soft;    /* what a soft purge names goes, too */
    uint64_t keep_from;  /* the oldest row that will be needed after it */
    uint64_t seen;       /* by the last walk that came to its end: the newest row */
    uint64_t trim_below; /* rows of the journal to be deleted; 0: none */
    unsigned rested;     /* batches since a purge that no walk has seen */
    struct store_op *dead;
    size_t dead_count;
};

struct cache {
    struct store *store;
    struct purge_set *purges;
    pthread_mutex_t purge_mutex; /* guards changes of it */
    struct reclaim reclaim;
    struct batch *batch;
    struct stream_memory stream_memory; /* of all flights */
    _Atomic uint64_t sent;              /* requests to origins, or about to be */
    size_t pass_window_bytes;
    size_t fill_window_bytes;
    uint64_t hit_for_miss_ms;
    size_t hot_bytes;
    _Atomic(struct cache_successor *) successor; /* NULL: the store is ours, or nobody has it yet */
    struct queue queue;
    atomic_uint versions[VERSION_SLOTS];                 /* of what is found under the keys of a slot: see hot.h */
    atomic_uint_fast64_t invalidated[INVALIDATED_SLOTS]; /* the hash of the last key of a slot; 0: none */
    struct shard shards[SHARD_COUNT];
};

struct cache_reader {
    struct cache *cache;
    struct store_reader *store_reader;
    struct hot *hot; /* NULL: none */
    struct purge_reader *purges;
};

struct shard *cache_shard(struct cache *cache, struct key_hash hash);

/* The version of what is found under a key and its neighbours in the slot. */
atomic_uint *cache_version(struct cache *cache, struct key_hash hash);

/* Something is stored under the key: cache_was_invalidated is false. */
void cache_forget_invalidated(struct cache *cache, struct key_hash hash);

/* What is found under this key is another from now on: called when that is visible, before anyone is told. */
void cache_changed(struct cache *cache, struct key_hash hash);

/* The entry for a key, made if `create`; NULL: absent, or no memory. The shard's mutex is held. */
struct entry *entry_find(struct shard *shard, struct key_hash hash, struct span text, bool create);

/* Frees it if nothing is known any more. The shard's mutex is held. */
void entry_release(struct entry *entry);

void settled_destroy(struct settled *settled);

/* A slice that was fetched, on its way to the disk; not a freshened partial response, whose slices are there. */
static inline bool settled_is_slice(const struct settled *settled)
{
    return settled->flight != NULL && record_is_partial(&settled->record);
}

/* The complete response, which is being stored, becomes what look-ups find: `*out_settled`. Else NULL, and the reason:
 * REASON_RACED: invalidated or surpassed meanwhile; REASON_NO_MEMORY; or why the disk refused it. */
enum reason fill_settle(struct fill *fill, struct settled **out_settled);

/* Was the key invalidated, or the response `head` purged hard, since the request was sent? Then it will not be settled.
 */
bool fill_is_raced(struct fill *fill, struct span head);

/* Was the response to a later request under this key settled since? Then it may have replaced what this one confirms.
 */
bool fill_is_surpassed(struct fill *fill);

/* REASON_UPDATED: `cached` has now `record` and `head`: settled, and queued for the disk. Else nothing has changed:
 * REASON_RACED: invalidated, purged hard or surpassed meanwhile (fill_is_surpassed, or a later answer confirmed it), or
 * partial with slices that are not on the disk yet; REASON_DISK_BEHIND: the queue is full; REASON_NO_MEMORY. */
enum reason fill_freshen(struct fill *fill, const struct cached *cached, const struct record *record, struct span head);

uint64_t fill_body_bytes(const struct fill *fill);

/* The store says now what `settled` said, or never will: unlinks and destroys it. */
void settled_forget(struct settled *settled);

/* Takes `settled` off its entry's list. The shard's mutex is held. */
void settled_unlink(struct settled *settled);

/* Queues a job, however full the queue is: who can do without asks queue_full first. False: no memory. */
bool queue_push(struct queue *queue, const struct job *job);

bool queue_full(struct queue *queue);

/* Is there as much to write as may wait, in the queue or still with the fills? */
bool queue_overfull(struct queue *queue);

/* A fill holds so many bytes more, or (negative) fewer. */
void queue_hold(struct queue *queue, ptrdiff_t bytes);

/* Queues the removal of everything under the key. False: no memory, or more wait than are worth waiting for. The
 * shard's mutex is held. */
bool queue_push_removal(struct queue *queue, struct entry *entry);

/* Has the disk thread call fill_resume when there is room again. */
void queue_add_backlog(struct queue *queue, struct fill *fill);

/* NULL: no memory. The shard's mutex is held; `entry` NULL for a pass, `range` for the whole. */
struct fill *fill_create(struct cache *cache, struct entry *entry, bool joinable, const struct range_spec *range);

/* The disk thread: the fill has left the backlog and goes on handing pieces over. */
void fill_resume(struct fill *fill);

/* ---- admission.c: is what a fill brings stored? REASON_NONE, or why not ---- */

/* By its head and the state of the store. Fills in what the later ones ask of `fill`; a request that is too early is
 * noted, so that one of the next is not. `fill->max_object_bytes` and `records` are known. */
enum reason admission_at_head(struct fill *fill, const struct flight_head *head);

enum reason admission_of_more(struct fill *fill);      /* the body has grown */
enum reason admission_at_end(const struct fill *fill); /* it is complete */

/* ---- purges (cache_purge.c) ---- */

/* The rows of the journal into the set. */
MUST_CHECK enum err cache_load_purges(struct cache *cache);

/* `head` without data: not known yet; then any tag or group that was purged since counts. */
struct purge_verdict cache_judge(struct purge_reader *reader, const struct key *key, struct span head, uint64_t birth,
                                 struct arena *arena);

/* Is what the fill brings to be thrown away because a purge since `birth` names the URL that was asked for, hard or
 * soft, and not the key under which it comes? The shard's mutex is held. */
bool cache_purges_asked(const struct fill *fill, uint64_t birth, struct arena *arena);

/* Says in `cached` what the purges in force make of it. */
void cache_apply_purges(struct cache_reader *reader, const struct key *key, struct arena *arena, struct cached *cached);

/* ---- purges on their way to the journal (purge_queue.c) ---- */

/* May rows of so many bytes wait for the disk, too? Then they count until queue_end_purge. */
MUST_CHECK bool queue_admit_purge(struct queue *queue, size_t bytes);
void queue_end_purge(struct queue *queue, size_t bytes);

/* The disk thread: what came of a JOB_PURGE. Who waits is told of the success, or of a refusal that is not the first;
 * true: its rows are destroyed. False, unless it was `last_try`: it is to be put back. */
bool purge_written(struct queue *queue, struct job *job, enum err error, bool last_try);

/* The disk thread: purges that were refused, in their order, back to the front of the line; empties `refused`. Of those
 * that nobody waits for any more the newest are kept, a part of a batch of `batch_bytes`. */
void queue_put_back_purges(struct queue *queue, struct job_list *refused, uint64_t batch_bytes);

/* ---- reclaim.c: the disk thread ---- */

MUST_CHECK enum err reclaim_open(struct cache *cache);
void reclaim_close(struct cache *cache);

/* Operations to go with a batch, at most RECLAIM_OPS; how many. Each call is followed by one of reclaim_finish. */
size_t reclaim_prepare(struct cache *cache, struct store_op *ops);
void reclaim_finish(struct cache *cache, const struct store_op *ops, size_t count, enum err error);

bool reclaim_has_work(const struct cache *cache);

void purge_rows_destroy(struct purge_rows *rows);

#endif
