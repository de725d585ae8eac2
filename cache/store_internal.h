/* store_internal.h: what the store's files share: struct store, and reading. store_batch.h has what the disk thread
 * does, store_rows.h the bytes of rows, store_file.h the files without LMDB. LMDB's types end in these headers.
 *
 * store_file.c   the directory, the lock, is the data file fit to be opened, setting it aside
 * store_marker.c how the last process ended
 * store_ahead.c  the pages that an open goes to, read together
 * store_probe.c  the first open after an unclean stop, in a child
 * store_check.c  LMDB's own pages, looked at before the first change
 * store_page.h   what such a page says
 * store_tree.h   from the root of a tree to a row, without LMDB
 * store_cold.c   would a find wait for the disk
 * store_guard.c  a fault in LMDB costs the store, not the process
 * store_shrink.c a file larger than its limit
 * store_handover.c  another process takes it over
 * store.c        open, close
 * store_format.c which larder made the data file, read before LMDB sees it
 * store_readonly.c  a look at a store that another process may be using
 * store_objects.c  everything that is stored, one after another (store_tools.h, also the next two)
 * store_survey.c figures of the file
 * store_verify.c what a walk does not see: index, bodies, pages
 * store_meta.c   tables, and what `meta` says
 * store_rows.c   the bytes of a row: encoding, checks
 * store_read.c   readers, the pieces of a body, damage that was met
 * store_warm.c   what is on the disk and not in memory
 * store_find.c   finding what is stored under a key
 * store_walk.c   all keys, one after the other
 * store_batch.c  a write transaction: begin, commit, abort
 * store_write.c  the operations
 * store_publish.c one of them: a body becomes an object, or a slice of one
 * store_pending.c bodies that belong to no object
 * store_extents.c which blocks of the body file a body has
 * store_border.c how the size is shared between the two files, and how that follows the load
 * store_space.c  the body file as a whole: opened, cut at an open, room in it
 * store_blocks.h, store_bodies.h  the body file itself; they know nothing of LMDB
 * store_admit.c  what is remembered of keys that are not stored
 * store_purges.c the journal of purges, and the walk behind it
 * store_delete.c objects and bodies out of the tables and files
 * store_evict.c  accounting, SIEVE, making room
 * store_prefetch.c the pages of what is evicted next
 *
 * Functions that return `int` return LMDB's codes, or an errno; err_from_mdb translates them at the face of the store.
 */
#ifndef CACHE_STORE_INTERNAL_H
#define CACHE_STORE_INTERNAL_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "cache/ghost.h"
#include "cache/pins.h"
#include "cache/sieve.h"
#include "cache/store.h"
#include "cache/store_blocks.h"
#include "cache/store_bodies.h"
#include "cache/store_file.h"
#include "cache/store_page.h"
#include "cache/store_rows.h"
#include "cache/store_tree.h"
#include "http/buf.h"

enum table {
    TABLE_INDEX,
    TABLE_OBJECTS,
    TABLE_CHUNKS,
    TABLE_EXTENTS,
    TABLE_BLOCKS,
    TABLE_PENDING,
    TABLE_PURGES,
    TABLE_META,
    TABLE_COUNT,
};

enum {
    BATCH_MAX_BYTES = 8 * 1024 * 1024,
    /* In LMDB's table of readers, 64 bytes each. Who opens the store first, be it a tool that only looks at it, decides
     * for all who open it until nobody has it open: so all say the same, and enough for the most workers that there may
     * be, those of former configurations included. */
    STORE_READER_SLOTS = 4096,
    DAMAGE_MAX = 16,             /* remembered until the next store_apply */
    RECLAIM_SLICE_PIECES = 2048, /* deleted a batch when no space is wanted */
    EVICT_MAX_OBJECTS = 1024,    /* evicted a batch at most: bounds the pages it changes */
    DELETE_MAX_PIECES = 8192,    /* deleted a batch at most: bounds its dirty and freed pages */
};

/* ---- faults (store_guard.c) ---- */

typedef void (*guarded_fn)(void *arg);

/* Installs the handlers (once a process). `marker_fd`: where a crash is noted, or -1. Until guard_opened any crash is,
 * then those in a guarded call. */
void guard_install(int marker_fd);
void guard_opened(void);
void guard_forget_marker(int marker_fd);

/* Runs `call`. False: it faulted half-way. No lock of ours may be held while it touches the map; it does not nest. */
MUST_CHECK bool guard_call(guarded_fn call, void *arg);

/* The same for a store that is open: a fault marks it failed. False without a call if it has failed before. */
MUST_CHECK bool guard_run(struct store *store, guarded_fn call, void *arg);

void guard_on_assert(MDB_env *env, const char *text);

/* Leaks it on purpose: it is part of, or points into, what LMDB left in an unknown state. */
void guard_abandon(void *what);

/* ---- the store ---- */

/* An unlinked body whose pieces are still there. */
struct reclaim {
    uint64_t body_id;
    bool waiting; /* pinned when it was last looked at */
    bool done;    /* all deleted in the running batch */
};

/* A body that the running batch has begun. */
struct begun_body {
    uint64_t id;
    bool ended; /* in the same batch: published, or dropped */
};

/* Rising ids; one that ended and began again is in it twice. */
struct begun {
    struct begun_body *bodies;
    size_t count;
    size_t capacity;
};

/* Something that failed its check when it was read. */
struct damage {
    struct key_hash hash;
    uint64_t object_id; /* 0: the index row itself */
};

/* The border between the two files, and who asks for it to be moved (store_border.c). The disk thread's. */
struct border {
    uint64_t to_blocks;     /* the body file gives up what lies behind; limit_blocks: nothing */
    uint64_t next_body;     /* which body is looked at next for what lies there */
    unsigned pause;         /* batches until they are looked at once more */
    uint64_t evicted_pages; /* for room in LMDB's file, since it was moved or the body file's hand evicted */
    uint64_t calm_pages;    /* batches since that file's hand last had to evict */
    uint64_t calm_blocks;
};

struct store {
    MDB_env *env;
    MDB_dbi tables[TABLE_COUNT];
    int lock_fd;
    int marker_fd;
    char *dir;
    const char *map;      /* where LMDB has mapped the file; to check what a value's page says of itself */
    MDB_txn *figures;     /* read transaction of store_count and store_prefetch_victims, reset between calls */
    MDB_cursor *ahead[2]; /* of the latter, NULL between calls */
    uint64_t page_bytes;
    uint64_t size_bytes;           /* what both files may take: whole pages */
    uint64_t most_pages;           /* what LMDB's may ever take of it */
    uint64_t map_pages;            /* that, or the size of a file that is still larger */
    _Atomic uint64_t limit_pages;  /* what it may take now */
    _Atomic uint64_t limit_blocks; /* of the body file; 0: there is none */
    uint64_t max_blocks;           /* that this may become */
    uint64_t memory_bytes;         /* that the page cache can have */
    struct border border;
    uint64_t secret;
    unsigned max_variants;
    struct blocks *blocks; /* the disk thread's; NULL, as the next: there is no body file */
    struct bodies *bodies;
    bool prefetches;         /* all of it does not: what a body has next is read ahead */
    atomic_bool fits_memory; /* what lies in LMDB's file stays in the page cache: no need to ask */
    unsigned stale_readers;  /* slots of dead processes that the open found and cleared */
    struct sieve *sieve;
    struct ghost *ghost;
    struct pins *pins;
    atomic_bool failed;
    atomic_bool away; /* another process owns it */
    uint64_t left_at; /* the last transaction when it was let go */
    _Atomic uint64_t next_body_id;
    _Atomic uint64_t purge_sequence; /* of the newest row of `purges` */

    atomic_bool check_cancelled; /* store_cancel_check */
    atomic_bool trees_checked;   /* must be before the first change; set by the disk thread */

    /* the disk thread's */
    bool flushed; /* what the last process left in the kernel's memory: must be before the first change, too */
    uint64_t next_object_id;
    uint64_t hand;
    uint64_t body_hand;
    uint64_t sequence;
    struct reclaim *reclaim;
    size_t reclaim_count;
    size_t reclaim_capacity;
    struct begun begun;

    pthread_mutex_t damage_mutex; /* guards the three below */
    struct damage damage[DAMAGE_MAX];
    size_t damage_count;
    uint64_t damaged_bodies[DAMAGE_MAX]; /* a ring: a piece failed in store_read; their objects are unknown there */

    /* read from any thread */
    _Atomic uint64_t damaged_body_count; /* ever put into the ring */
    atomic_bool damage_waiting;
    atomic_bool reclaim_waiting; /* pieces could be deleted now */
    _Atomic uint64_t freed_seen; /* pins_freed when the last batch ended */

    /* figures */
    _Atomic uint64_t used_bytes;
    _Atomic uint64_t objects;
    _Atomic uint64_t reclaim_bodies;
    _Atomic uint64_t evictions;
    _Atomic uint64_t commits;
    _Atomic uint64_t commit_errors;
    _Atomic uint64_t faults;
    atomic_bool deleted; /* store_look_for_files */
    atomic_int refusal;  /* code of the last store_apply, 0 where it was not refused */
    uint64_t set_aside_bytes;
    _Atomic uint64_t bytes_written;
    _Atomic uint64_t used_blocks;
    _Atomic uint64_t cold_reads;
    _Atomic uint64_t cold_finds;
    _Atomic uint64_t damaged_reads;
};

struct store_table {
    const char *name;
    unsigned flags; /* of mdb_dbi_open */
};
extern const struct store_table store_tables[TABLE_COUNT];

#define STORE_ENV_FLAGS (MDB_NOTLS | MDB_NOMETASYNC | MDB_NORDAHEAD) /* why: store.c */

/* Codes of our own, beside LMDB's: ones of its that say much the same. */
#define NO_ROOM    MDB_TXN_FULL
#define BODY_ENDED MDB_BAD_VALSIZE /* this body cannot be continued; the store can */

enum err err_from_mdb(int code);

/* Nobody calls LMDB on it any more. Any thread. */
void store_fail(struct store *store);

/* Opens or makes the tables, reads what `meta` and `pending` say (store_meta.c). */
int store_open_tables(struct store *store);

/* Opens the tables there are and reads what identifies the store; writes nothing. */
int store_open_tables_readonly(struct store *store);

/* The version of the tables that this larder reads and writes. */
unsigned store_format(void);

/* The version that the row of the tables' format names; 0: it is not larder's (store_meta.c). */
unsigned store_format_of(struct span identity);

/* Is the data file of a later version than that? Says so. LMDB is not asked, and nothing but the row of the format is
 * believed to be where it is now; false where it is not found. After guard_install (store_format.c). */
bool store_is_newer(const char *dir, struct buf *note);

/* Makes the file obey the limit, with the store closed afterwards, or removes it: see store_shrink.c. Says what it did
 * where something was lost. Inside no guarded call. */
enum err store_shrink(struct store *store, struct buf *note);

/* So full that what LMDB cannot do is no fault of the disk's (store_write.c). */
bool store_disk_is_full(const struct store *store);

/* Marks the store failed where the code says that LMDB cannot or should not go on. */
void store_note_code(struct store *store, int code);

/* Writes the row `state` (store_meta.c). */
int store_write_state(struct store *store, MDB_txn *txn, const struct state_row *state);

/* Brings the figures up to date with the last commit (store_batch.c). */
void store_count(struct store *store);

/* mdb_cursor_open, but a damaged root faults before there is a cursor to leak. */
int store_open_cursor(MDB_txn *txn, MDB_dbi table, MDB_cursor **out_cursor);

/* Pages in use in the (read or write) transaction: exact, and independent of the size of the store. */
int store_used_pages(const struct store *store, MDB_txn *txn, uint64_t *out_pages);

/* ---- admission (store_admit.c) ---- */

/* An object of this key goes to make room, not because it was replaced or removed. */
void store_note_eviction(struct store *store, struct key_hash hash);

/* A new object. One whose key came back after its eviction begins as visited. */
void store_welcome(struct store *store, struct key_hash hash, uint64_t object_id);

/* ---- reading (store_read.c): inside a guarded call, but for reader_end ---- */

/* Where the trees of a find are in a snapshot. */
struct reader_trees {
    uint64_t txn; /* of the snapshot; 0: not known */
    struct tree_view view;
    struct tree_root roots[TABLE_CHUNKS + 1];
};

struct store_reader {
    struct store *store;
    MDB_txn *txn;            /* reset between calls; NULL if the store had failed before */
    MDB_cursor *pieces;      /* on `chunks` */
    MDB_cursor *extents;     /* on `extents` */
    char *blocks;            /* what was read from the body file; made when first needed */
    struct seen_pages *seen; /* of store_find_is_cold; made when first needed */
    struct reader_trees trees;
};

int reader_begin(struct store_reader *reader);
void reader_end(struct store_reader *reader);

/* The row of `index`, `objects` or `chunks` under `key`, as mdb_get would find it; it lies in the map. */
int reader_row(struct store_reader *reader, enum table table, struct span key, struct span *out_row);

/* Piece `number` of a body: the one behind the last call's, but for the `first`. MDB_NOTFOUND; MDB_CORRUPTED: its check
 * fails. (Neither means that LMDB's own pages are damaged.) */
int reader_piece(struct store_reader *reader, uint64_t body_id, uint64_t number, bool first, struct span *out_payload);

/* The same without a look at the piece: not even its page is read. */
int reader_find_piece(struct store_reader *reader, uint64_t body_id, uint64_t number, bool first, MDB_val *out_value);

/* Is the piece, which lies in LMDB's file, not in memory (store_warm.c)? Then `*out_cold` are it and those behind it.
 */
bool reader_is_cold(struct store_reader *reader, uint64_t body_id, uint64_t number, struct store_cold *out_cold);

/* Pins what store_unpin_stored gives back: all or nothing. */
enum pin_result store_acquire_stored(struct store *store, const struct record *record, uint64_t generation);

/* Is the page that `offset` of the file lies in, in memory at once (store_warm.c)? Where the file system cannot tell it
 * is not: the wait happens elsewhere. */
bool file_is_resident(int fd, uint64_t offset);

/* How many pieces a find reads of a record's body (store_find.c). */
uint64_t find_pieces_wanted(const struct record *record);

/* The variants under a hash, as a find reads them; they lie in the map. */
bool find_read_index(struct store_reader *reader, struct key_hash hash, struct span *out_variants);

/* The record of an object under this key, valid in every number. Its override and slices still lie in the map. */
bool find_read_record(struct store_reader *reader, const struct key *key, uint64_t object_id,
                      struct record *out_record);

/* The object is removed by the next store_apply. 0: the index row itself. */
void store_note_damage(struct store *store, struct key_hash hash, uint64_t object_id);
bool store_body_damaged(struct store *store, uint64_t body_id);              /* a piece of it failed lately */
bool store_record_damaged(struct store *store, const struct record *record); /* or of one of its bodies */

/* Where the blocks lie of pieces `stream_piece` and following of a body, as far as they lie in one run, `max_pieces` at
 * most (store_extents.c). MDB_NOTFOUND; MDB_CORRUPTED: a row fails its check. */
int reader_blocks(struct store_reader *reader, uint64_t body_id, uint64_t stream_piece, uint64_t max_pieces,
                  struct body_run *out_run);

#endif
