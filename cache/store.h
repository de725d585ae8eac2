/* store.h: stored responses on the disk: index, records, heads and bodies in LMDB, the large part of large bodies in a
 * file beside it. No LMDB type or code leaves the store's files, and nobody else knows where a body lies: a read gives
 * bytes, or says that they are cold (on the disk, not in memory) or gone.
 *
 * Tables (cache/README.md says where a body lies, and why):
 *   index    hash of the primary key  →  variants, newest first: (object id, encoded Vary selection)
 *   objects  object id                →  struct record, encoded (record.h)
 *   chunks   body id << 24 | n        →  piece n of a body's stream: [key][head as stored][body], each piece exactly
 *                                        one LMDB page
 *   extents  body id << 24 | n        →  where in the body file pieces n and following of a large body lie
 *   blocks   segment                  →  which blocks of the body file are in use
 *   pending  body id                  →  bodies begun and not finished, and removed ones whose pieces are still there;
 *                                        swept after an open
 *   purges   sequence                 →  what was purged (purge.h); record.purge_sequence refers to it
 *   meta     name                     →  format version, secret, ids, eviction hand
 *
 * Every piece carries a checksum seeded with its own key: a damaged or misplaced piece is never handed out. Rows of the
 * other tables carry one too.
 *
 * Threads: readers from any thread, each with a struct store_reader of its own, never across a return to a loop;
 * store_apply from one thread (the disk thread). Everything else says so.
 *
 * Errors: where LMDB reports damage, faults on it (SIGSEGV, SIGBUS, an assertion) or cannot go on after a failed
 * commit, the store is marked failed and never touched again: finds are ABSENT, applies return ERR_IO. The caller goes
 * on as a proxy that does not store, and the next open sets the file aside. What LMDB held stays allocated. A disk that
 * is full or answers with an error costs the batch only: what was committed is still served, and later applies try
 * again.
 */
#ifndef CACHE_STORE_H
#define CACHE_STORE_H

#include "cache/key.h"
#include "cache/record.h"
#include "http/error.h"

enum {
    STORE_PIECE_BYTES = 4072,          /* payload of one piece; with its 8-byte checksum one LMDB page */
    STORE_READ_MAX_PIECES = 64,        /* pieces one store_read hands out */
    STORE_WHOLE_PIECES = 4,            /* store_find returns the whole body of a stream of at most so many */
    STORE_PURGE_MAX_BYTES = 33 * 1024, /* of a row of the journal */
};
#define STORE_MAX_STREAM_BYTES ((uint64_t)STORE_PIECE_BYTES << 24) /* 68 GB: key, head and body together */
#define STORE_MIN_SIZE_BYTES   ((uint64_t)16 << 20)

struct store;
struct store_reader;

struct store_options {
    const char *dir;       /* made if absent, mode 0700 */
    uint64_t size_bytes;   /* both files together never grow beyond this; at least STORE_MIN_SIZE_BYTES is used. Files
                              that are larger already (the limit was lowered) are evicted down to it and cut by
                              store_open; LMDB's is written anew for that, up to 4 GiB; a larger one is removed */
    uint64_t memory_bytes; /* that the page cache can have; a store much smaller is not asked whether it is in memory */
    unsigned max_variants; /* of one key, at least 1; the oldest is dropped beyond (and where a row fills a page) */
    bool keep;             /* what is there is not given up: a file that would be set aside or removed is an error, and
                              nothing is changed. All of LMDB's own pages are looked at first */
};

/* Opens or makes the store. ERR_OK with a text in `out_note` when an unreadable, foreign, damaged or unknown-format
 * file was set aside (renamed; one such file is kept, beside what the store may take) and an empty store made. The
 * first call installs handlers for SIGSEGV, SIGBUS and SIGABRT, which pass on whatever does not happen inside the
 * store. After an unclean stop it forks. What root makes in another's directory becomes his. ERR_IN_USE (another
 * process), ERR_NEWER (a later version's store: nothing was changed), ERR_IO (directory not writable, …), ERR_NO_SPACE;
 * with `keep` ERR_DAMAGED and ERR_FOREIGN; `out_note` says more. */
MUST_CHECK enum err store_open(const struct store_options *options, struct store **out_store, struct buf *out_note);

/* A look at the store in `dir`, which another process may be using at the same time: takes no lock of ours, makes and
 * changes nothing in the data file, sets nothing aside. For readers, store_find and store_each_variant only, never
 * store_apply; what is found is what was committed. ERR_NOT_FOUND: there is none; ERR_FOREIGN: of another program or
 * format; ERR_NEWER; ERR_DAMAGED, ERR_LIMIT (too many look at it), ERR_IO; `out_note` says more. LMDB keeps note of
 * readers in `lock.mdb`, which must be writable. Not for a process that has the same store open already. */
MUST_CHECK enum err store_open_readonly(const char *dir, struct store **out_store, struct buf *out_note);

/* All readers must have been destroyed, no pin matters any more. Accepts NULL. */
void store_close(struct store *store);

uint64_t store_secret(const struct store *store); /* seeds key hashes */
bool store_failed(const struct store *store);     /* any thread */

const char *store_failure(const struct store *store); /* why, in a few words; where it has failed. Any thread */

/* On the thread that writes: has somebody deleted a file of it? It goes on as before, but nothing of it will be found
 * once it is closed. Some calls of the kernel, for which nothing waits. */
bool store_look_for_files(struct store *store);
bool store_is_deleted(const struct store *store); /* what that said last; any thread */

/* Why the last store_apply was refused, as the system says it. NULL: it was not. Any thread. */
const char *store_refusal(const struct store *store);

/* Was that the disk's doing, and not only a want of room or memory for a moment, one body's, or a stop? It counts for
 * whatever comes next, until a batch is written. That is tried a moment later, even if nothing comes: bodies that were
 * refused have to be dropped. Any thread. */
bool store_disk_refuses(const struct store *store);

/* What it holds must not be served any more, and it cannot be told so: marks it failed. Any thread. */
void store_give_up(struct store *store);

/* ---- another process takes it over ---- */

/* While no store_apply runs: lets the store go, so that another process may open it. From now on finds are ABSENT and
 * applies ERR_IO; what is pinned can still be read, for as long as the new owner pins it too: `*out_bodies` (malloc'd)
 * are the bodies. False: no memory; nothing has changed. */
MUST_CHECK bool store_let_go(struct store *store, uint64_t **out_bodies, size_t *out_count);

/* The other process is gone. False: it has written, or a third one has the store: it stays away. */
MUST_CHECK bool store_take_back(struct store *store);

bool store_is_away(const struct store *store); /* any thread */

/* ---- reading ---- */

MUST_CHECK struct store_reader *store_reader_create(struct store *store); /* NULL: no memory, no reader slot */
void store_reader_destroy(struct store_reader *reader);

/* A stored response as found. Everything is copied to the arena; nothing points into the map. */
struct stored {
    struct record record;
    struct span head;       /* as it stands now (after 304s) */
    struct span selection;  /* its encoded Vary selection */
    struct span body_start; /* the first bytes of the body, often all of it; at least min(body_len, what the last piece
                               of the head holds). Empty for a partial response */
    bool pinned;            /* the body is longer than body_start and pinned: give it back with store_unpin_stored */
    bool overtaken;         /* by a newer variant whose Vary names other fields: requests may select both, and must get
                               that one */
};

enum store_found {
    STORE_ABSENT,         /* nothing under this key */
    STORE_OTHER_VARIANTS, /* only variants that this request does not select */
    STORE_FOUND,
};

/* Looks for the newest variant under `key` that `request` selects; compares the whole key. Marks the object visited
 * (SIEVE). Damaged records and pieces count as absent. The body, if it is longer than body_start, is pinned: it stays
 * readable until store_unpin_stored. Of a partial response the bodies of all slices are. */
enum store_found store_find(struct store_reader *reader, const struct key *key, const struct headers *request,
                            struct arena *arena, struct stored *out_stored);

/* Would a find of this key wait for the disk? Asked without waiting, for event loops; advice, and false where all of
 * LMDB's file fits into memory. */
bool store_find_is_cold(struct store_reader *reader, struct key_hash hash);

/* Waits for what such a find would wait for. Any thread: one that may wait. Errors show in the find. */
void store_warm_find(struct store *store, struct key_hash hash);

/* As store_find marks it: the object was asked for, and was answered from memory. Any thread. */
void store_touch(struct store *store, uint64_t object_id);

/* Any thread. */
void store_unpin(struct store *store, uint64_t body_id);

/* Another pin on a body that is pinned already, or that is still being written (no DROP_BODY of it is under way).
 * False: no memory. Any thread. */
MUST_CHECK bool store_pin(struct store *store, uint64_t body_id);

/* The same for all bodies of what was found pinned: the one `record.body_id` names, and those of its slices. */
void store_unpin_stored(struct store *store, const struct record *record);
MUST_CHECK bool store_pin_stored(struct store *store, const struct record *record);

/* Is given runs of stored bytes that lie in the map and are valid during the call only; returns how many bytes it used.
 */
typedef size_t (*store_read_fn)(void *arg, const struct span *runs, size_t count);

/* Where bytes lie that a read would have had to wait for: for store_warm. */
enum { STORE_COLD_RUNS = 16 };
struct store_cold {
    size_t count;
    struct store_cold_run {
        bool in_bodies; /* else in LMDB's file */
        uint64_t offset;
        uint64_t bytes;
    } runs[STORE_COLD_RUNS];
};

/* Reads from byte `offset` of the stream (key, head, body) of a pinned body, at most `max_bytes` and
 * STORE_READ_MAX_PIECES pieces, and calls `read` once. `*out_used` is what it returned. ERR_NOT_FOUND: a piece is
 * absent (never for a pinned, committed range), or `offset` is the end; ERR_DAMAGED: its object is not found any more;
 * ERR_IO. */
MUST_CHECK enum err store_read(struct store_reader *reader, uint64_t body_id, uint64_t offset, size_t max_bytes,
                               store_read_fn read, void *arg, size_t *out_used);

/* The same without waiting for the disk: ERR_COLD, with `*out_cold`, where the first piece is not in memory. For event
 * loops. */
MUST_CHECK enum err store_read_now(struct store_reader *reader, uint64_t body_id, uint64_t offset, size_t max_bytes,
                                   store_read_fn read, void *arg, size_t *out_used, struct store_cold *out_cold);

/* Waits until what was cold has been read into memory. The body must be pinned meanwhile. Any thread: one that may
 * wait. Errors show in the next read. */
void store_warm(const struct store *store, const struct store_cold *cold);

/* All variants under a key, newest first, without bodies and without marking or pinning: for `larder why` and
 * invalidation tests. `visit` returns false to stop. Everything borrows until it returns; it may reset the arena, which
 * else holds head and first bytes of them all. One for which there is no room there is left out. */
typedef bool (*store_variant_fn)(void *arg, const struct stored *stored);
enum store_found store_each_variant(struct store_reader *reader, const struct key *key, struct arena *arena,
                                    store_variant_fn visit, void *arg);

/* All variants of one key, newest first, without heads and bodies. */
struct stored_variant {
    struct record record;
    struct span selection;
};
struct stored_key {
    struct span text;
    struct stored_variant *variants;
    size_t count;
};

/* Every key with `min_variants` variants or more, in no order that means anything, each as of a commit of its own.
 * `visit` returns false to stop; what it is given is valid during the call. `*out_keys`: how many were looked at, those
 * with fewer variants included. Not what larder notes for itself (key_is_response). False: the store failed on the way.
 */
typedef bool (*store_key_fn)(void *arg, const struct stored_key *key);
MUST_CHECK bool store_each_key(struct store_reader *reader, size_t min_variants, store_key_fn visit, void *arg,
                               uint64_t *out_keys);

/* ---- admission: any thread ---- */

/* A large body that is stored now takes the place of something else. As of the last commit. */
bool store_is_full(const struct store *store);

/* How many requests for the key were noted lately with store_note_use; UINT_MAX: it was stored and evicted since. Keys
 * are remembered in fixed memory, about four times as many as objects fit; lost at a restart. */
unsigned store_uses(struct store *store, struct key_hash hash);
void store_note_use(struct store *store, struct key_hash hash);

/* ---- writing: the disk thread ---- */

/* A body id never used before. Any thread. */
uint64_t store_new_body_id(struct store *store);

enum store_op_kind {
    STORE_OP_PIECES,      /* append pieces to a body; it is pending, unless it ends in the same batch */
    STORE_OP_PUBLISH,     /* all pieces are there: make it an object, in place of a variant with the same selection. A
                             partial one (its record has one slice) joins what it may be combined with instead, and never
                             takes the place of a whole one: then it is dropped */
    STORE_OP_FRESHEN,     /* a new record for an object that exists (same object and body id); nothing if it is gone */
    STORE_OP_DROP_BODY,   /* a body that will not be finished */
    STORE_OP_REMOVE_KEY,  /* all variants under a key */
    STORE_OP_PURGE,       /* rows of the journal, in place of older ones */
    STORE_OP_TRIM_PURGES, /* rows below a sequence, some thousand at a time; `done`: that was all of them */
    STORE_OP_REMOVE_OBJECT, /* one object, if its birth is still that */
};

/* A row of the journal to be written. */
struct store_purge {
    uint64_t sequence;
    uint64_t replaced; /* the row it takes the place of, or 0 */
    struct span row;
};

/* One change. Spans borrow from the caller until store_apply has returned. */
struct store_op {
    enum store_op_kind kind;
    uint64_t body_id;      /* PIECES, PUBLISH, DROP_BODY */
    uint32_t first_piece;  /* PIECES */
    struct span bytes;     /* PIECES: whole pieces but for the last of the body; may be empty. The first of a body:
                              all of it, or 64 KiB at least, by which its place is chosen */
    size_t prefix_len;     /* PIECES, the first of a body: of key and head, which every find reads */
    struct key key;        /* PUBLISH, REMOVE_KEY */
    struct span selection; /* PUBLISH */
    const struct record *record; /* PUBLISH (object_id ignored), FRESHEN */
    uint64_t object_id;          /* FRESHEN, REMOVE_OBJECT; PUBLISH: out, the id given */
    uint64_t sequence;           /* TRIM_PURGES: the first that stays; REMOVE_OBJECT: its record's purge_sequence */
    const struct store_purge *purges; /* PURGE */
    size_t purge_count;
    bool done; /* out: it took effect (PUBLISH: it is stored; FRESHEN: so was the object) */
};

/* How many bytes of pieces one store_apply should get at most: 8 MiB, less in a small store. */
uint64_t store_batch_bytes(const struct store *store);

/* Looks at all of LMDB's own pages, if that is still to be done: before the first change, since to change a damaged
 * tree may do harm that no check would find. Seconds in a large store after an unclean stop; meanwhile readers are
 * served. store_apply does it where nobody has. ERR_DAMAGED: the store has failed; ERR_LIMIT: no memory, or cancelled.
 */
MUST_CHECK enum err store_check_pages(struct store *store);
bool store_pages_checked(const struct store *store); /* any thread */

/* The process wants to stop: a check that runs, or is still to come, is broken off, and nothing is applied any more.
 * Any thread. */
void store_cancel_check(struct store *store);
void store_allow_check(struct store *store); /* it goes on after all. Any thread */

/* Applies the operations (PIECES before all others, else in their order) in one durable transaction, and evicts (SIEVE)
 * so that the file stays below its size. All or nothing: ERR_NO_SPACE (even after eviction and retries, or the disk is
 * full), ERR_NO_MEMORY, ERR_LIMIT (a stream longer than STORE_MAX_STREAM_BYTES), ERR_IO (see store_failed). `done` and
 * `object_id` count on ERR_OK only. Pinned bodies are unlinked but their pieces stay until the last pin is gone; large
 * ones are deleted in slices: both by later calls of store_apply, also with no operations. */
MUST_CHECK enum err store_apply(struct store *store, struct store_op *ops, size_t count);

/* Is there work for a store_apply without operations (pieces to delete, damage to clean up)? Any thread. */
bool store_wants_apply(struct store *store);

/* ---- the journal of purges ---- */

/* The sequence of the newest row there ever was. What is published is born no later: a purge that could not be written
 * may get its sequence again, and must then count. Any thread. */
uint64_t store_newest_purge(const struct store *store);

/* `row` is what STORE_OP_PURGE wrote, empty where it cannot be read. False: stop. */
typedef bool (*store_purge_fn)(void *arg, uint64_t sequence, struct span row);

/* The rows from the sequence `from` on, rising. ERR_NO_MEMORY, ERR_IO. */
MUST_CHECK enum err store_each_purge(struct store_reader *reader, uint64_t from, store_purge_fn visit, void *arg);

/* A walk over all objects, by id; new ones that come behind it are met, too. */
struct store_walk {
    uint64_t next_id;  /* to look at; 0 at the beginning */
    uint64_t sequence; /* only objects born before it are of interest */
    bool ended;
    bool failed; /* it could not go on */
};

struct store_object {
    struct key_hash hash;
    struct record record;
    struct span key; /* this and the head are the arena's; empty: they cannot be read, or are too long for it */
    struct span head;
};

/* Looks at one object. False: it is of no interest, or the walk has ended. */
bool store_walk_next(struct store_reader *reader, struct store_walk *walk, struct arena *arena,
                     struct store_object *out_object);

/* ---- figures: any thread, as of the last commit ---- */
struct store_stats {
    uint64_t size_bytes;      /* limit of LMDB's file: it moves (store_border.c), as the next but one */
    uint64_t used_bytes;      /* pages of it in use, exact */
    uint64_t body_size_bytes; /* size of the body file, 0 without one */
    uint64_t body_used_bytes; /* blocks of it in use, exact */
    uint64_t cold_reads;      /* store_read_now that found nothing in memory, since open */
    uint64_t cold_finds;      /* store_find_is_cold that said so, since open */
    uint64_t damaged_reads;   /* bodies of which a piece failed its check or could not be read, since open */
    uint64_t objects;
    uint64_t reclaim_bodies; /* unlinked bodies whose pieces are still there: pinned, or too large for one batch */
    uint64_t evictions;      /* since open */
    uint64_t commits;
    uint64_t commit_errors;
    uint64_t faults;          /* of the map, that the guard caught: the first one costs the store */
    uint64_t set_aside_bytes; /* on the disk, of a data file that could not be used; as of the open */
    uint64_t bytes_written;   /* payload of pieces since open */
};
void store_stats_of(struct store *store, struct store_stats *out_stats);

#endif
