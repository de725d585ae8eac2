/* store_internal.h: what the store's files share. LMDB's types end here.
 *
 * store_file.c   the directory, the lock, is the data file fit to be opened, setting it aside
 * store_marker.c how the last process ended
 * store_probe.c  the first open after an unclean stop, in a child
 * store_check.c  LMDB's own pages, looked at before the first change
 * store_page.h   what such a page says
 * store_cold.c   would a find wait for the disk
 * store_guard.c  a fault in LMDB costs the store, not the process
 * store_shrink.c a file larger than its limit
 * store_handover.c  another process takes it over
 * store.c        open, close
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
 * store_extents.c which blocks of the body file a body has
 * store_border.c how the size is shared between the two files, and how that follows the load
 * store_space.c  the body file as a whole: opened, cut at an open, room in it
 * store_blocks.h, store_bodies.h  the body file itself; they know nothing of LMDB
 * store_admit.c  what is remembered of keys that are not stored
 * store_purges.c the journal of purges, and the walk behind it
 * store_evict.c  accounting, deletion, SIEVE, making room
 * store_prefetch.c the pages of what is evicted next
 *
 * Functions that return `int` return LMDB's codes, or an errno; err_from_mdb translates them at the face of the store.
 */
#ifndef CACHE_STORE_INTERNAL_H
#define CACHE_STORE_INTERNAL_H

#include <limits.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "cache/ghost.h"
#include "cache/pins.h"
#include "cache/sieve.h"
#include "cache/store.h"
#include "cache/store_blocks.h"
#include "cache/store_bodies.h"
#include "cache/store_page.h"
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
    CHECK_BYTES = 8,                                     /* XXH3-64 behind a piece and behind a row */
    PIECE_VALUE_BYTES = STORE_PIECE_BYTES + CHECK_BYTES, /* exactly one page with LMDB's 16-byte header */
    PIECE_NUMBER_BITS = 64 - BODY_ID_BITS,               /* of a key in `chunks` */
    INDEX_KEY_BYTES = 16,
    INDEX_ROW_MAX_BYTES = STORE_PIECE_BYTES, /* without its check: a row never takes two pages */
    VARIANT_HEADER_BYTES = 10,
    OBJECT_PREFIX_BYTES = 24, /* key hash, body id; then its check, then the record */
    BATCH_MAX_BYTES = 8 * 1024 * 1024,
    DAMAGE_MAX = 16,             /* remembered until the next store_apply */
    RECLAIM_SLICE_PIECES = 2048, /* deleted a batch when no space is wanted */
    EVICT_MAX_OBJECTS = 1024,    /* evicted a batch at most: bounds the pages it changes */
    DELETE_MAX_PIECES = 8192,    /* deleted a batch at most: bounds its dirty and freed pages */
};

/* ---- rows (store_rows.c) ---- */

/* A row of `index`: for each variant u64 object id, u16 length, encoded selection; newest first; then the check. */
struct index_row {
    size_t len; /* without the check */
    char bytes[INDEX_ROW_MAX_BYTES + CHECK_BYTES];
};

struct variant {
    uint64_t object_id;
    struct span selection;
};

/* A row of `objects`: the key's hash and the body's id with a check of their own (so that an object whose record is
 * damaged can still be unlinked and its body deleted), then the record. */
struct object_row {
    struct key_hash hash;
    uint64_t body_id;
    struct span record; /* encoded; borrows */
};

/* The row `state` of `meta`, written with every batch. */
struct state_row {
    uint64_t next_object_id;
    uint64_t next_body_id;
    uint64_t hand;      /* SIEVE's: the object id to look at next */
    uint64_t body_hand; /* the same for the body file: a body id */
    uint64_t sequence;  /* grows with every batch */
};

/* The row `identity` of `meta`, written once. */
struct identity_row {
    uint64_t format;
    uint64_t piece_bytes;
    uint64_t secret;
};

/* Where and how a value of `kind` in `pending` came to be. One byte. */
enum pending_kind {
    PENDING_UNFINISHED = 1, /* being written */
    PENDING_RECLAIM = 2,    /* unlinked; pieces to delete */
};

uint64_t piece_key(uint64_t body_id, uint64_t number);
bool body_id_valid(uint64_t body_id); /* as it can stand in a piece's key */
void index_key_write(struct key_hash hash, char out_key[INDEX_KEY_BYTES]);

/* The check of `bytes` as a piece or row that lies under `seed`. */
uint64_t check_of(struct span bytes, uint64_t seed);

/* `value` without the check at its end, if that is right. */
bool check_strip(struct span value, uint64_t seed, struct span *out_bytes);

/* The next variant; false at the end or where the bytes are malformed. */
bool variant_next(struct span *rest, struct variant *out_variant);

/* The variants of a row as it lies in the table; false if it is damaged in any way. */
bool index_row_check(struct span value, struct key_hash hash, struct span *out_variants);
bool index_row_add(struct index_row *row, struct variant variant); /* false: full */
struct span index_row_seal(struct index_row *row, struct key_hash hash);

/* False: the prefix is damaged. The record is not looked at. */
bool object_row_read(struct span value, uint64_t object_id, struct object_row *out_row);
void object_row_write(struct buf *out, uint64_t object_id, struct key_hash hash, uint64_t body_id,
                      const struct record *record);

struct span span_of_value(MDB_val value);

/* The number that a key of an INTEGERKEY table is. MDB_CORRUPTED: it has another length. */
int number_of_key(MDB_val key, uint64_t *out_number);

/* ---- the data file (store_file.c) ---- */

/* Makes the directory if need be and takes its lock. ERR_IN_USE, ERR_IO, ERR_NO_SPACE; says why. */
enum err store_file_lock(const char *dir, int *out_lock_fd, struct buf *note);

/* May LMDB open the data file? ERR_NOT_FOUND: there is none. ERR_DAMAGED, ERR_FOREIGN, ERR_IO: says why.
 * `*out_pages`: the pages of the file that were ever used. */
enum err store_file_check(const char *dir, uint64_t *out_pages, struct buf *note);

/* Renames the data file to data.mdb.damaged-<n>; older such files are removed. */
enum err store_file_set_aside(const char *dir, struct buf *note);

/* What the one that is kept takes on the disk. */
uint64_t store_file_set_aside_bytes(const char *dir);

/* When anything of the data file was last changed, as the kernel says (nobody can set that time); 0: not known. */
uint64_t store_file_stamp(const char *dir);

#define STORE_DATA_FILE   "data.mdb"
#define STORE_BODIES_FILE "bodies"

bool store_file_path(const char *dir, const char *name, char out_path[PATH_MAX]); /* false: too long */

/* Without the data file; another one, made meanwhile, takes its place where `replacement` is not NULL. */
enum err store_file_replace(const char *dir, const char *replacement);

/* ---- how the last process ended (store_marker.c) ---- */

enum last_stop {
    LAST_STOP_CLEAN,   /* closed */
    LAST_STOP_UNCLEAN, /* killed, crashed, or nothing is known */
    LAST_STOP_DAMAGED, /* the store had failed */
    LAST_STOP_CRASHES, /* crashed soon after its start, and the one before, too */
};

/* Says how it ended, and which stamp the data file had then (0: not known), and notes that a process runs. -1: no
 * marker can be written; then the next open finds nothing or an old one, which costs a probe and a check of the pages.
 */
int store_marker_open(const char *dir, enum last_stop *out_last, uint64_t *out_stamp);
void store_marker_forgive(int fd);       /* the file those crashes were about is gone */
void store_marker_write_crashed(int fd); /* in a signal handler */

/* A process ends that found the store DAMAGED or left it in order (CLEAN): then `stamp` says of which moment. Accepts
 * fd -1. */
void store_marker_close(int fd, enum last_stop how, uint64_t stamp);

/* ---- the first open after an unclean stop (store_probe.c) ---- */

/* Opens the file in a child and goes where an open and a first batch would. False: that does not end well; says why. */
bool store_probe(const char *dir, uint64_t map_bytes, struct buf *note);

/* ---- LMDB's own pages (store_check.c) ---- */

enum tree_check {
    TREES_GOOD,
    TREES_DAMAGED,
    TREES_UNCHECKED, /* the budget did not suffice; no memory; broken off */
};

/* Looks at every page of every tree of the file, whose meta pages must have been found good. Nobody may write.
 * `*give_up` (NULL: none) may be set meanwhile, to break it off. */
enum tree_check store_check_trees(const char *dir, uint64_t file_pages, uint64_t budget_pages,
                                  const atomic_bool *give_up);

/* ---- faults (store_guard.c) ---- */

typedef void (*guarded_fn)(void *arg);

/* Installs the handlers (once a process). `marker_fd`: where a crash is noted, or -1. */
void guard_install(int marker_fd);
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
    atomic_int refusal; /* code of the last store_apply, 0 where it was not refused */
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

#define NO_ROOM MDB_TXN_FULL /* a code of our own, beside LMDB's: one of its that says the same */

enum err err_from_mdb(int code);

/* Nobody calls LMDB on it any more. Any thread. */
void store_fail(struct store *store);

/* Opens the environment and its tables in a file that was found fit, or makes one. Inside a guarded call. */
int store_open_env(struct store *store, const struct store_options *options);

/* Opens or makes the tables, reads what `meta` and `pending` say (store_meta.c). */
int store_open_tables(struct store *store);

/* Opens the tables there are and reads what identifies the store; writes nothing. */
int store_open_tables_readonly(struct store *store);

/* The version of the tables that this larder reads and writes. */
unsigned store_format(void);

/* Makes the file obey the limit, with the store closed afterwards, or removes it: see store_shrink.c. Says what it did
 * where something was lost. Inside no guarded call. */
enum err store_shrink(struct store *store, struct buf *note);

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

struct store_reader {
    struct store *store;
    MDB_txn *txn;            /* reset between calls; NULL if the store had failed before */
    MDB_cursor *pieces;      /* on `chunks` */
    MDB_cursor *extents;     /* on `extents` */
    char *blocks;            /* what was read from the body file; made when first needed */
    struct seen_pages *seen; /* of store_find_is_cold; made when first needed */
};

int reader_begin(struct store_reader *reader);
void reader_end(struct store_reader *reader);

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

/* The object is removed by the next store_apply. 0: the index row itself. */
void store_note_damage(struct store *store, struct key_hash hash, uint64_t object_id);
bool store_body_damaged(struct store *store, uint64_t body_id); /* a piece of it failed lately */

/* Where the blocks lie of pieces `stream_piece` and following of a body, as far as they lie in one run, `max_pieces` at
 * most (store_extents.c). MDB_NOTFOUND; MDB_CORRUPTED: a row fails its check. */
int reader_blocks(struct store_reader *reader, uint64_t body_id, uint64_t stream_piece, uint64_t max_pieces,
                  struct body_run *out_run);

/* ---- a batch: one write transaction (store_batch.c) ---- */

struct batch {
    struct store *store;
    MDB_txn *txn;
    MDB_cursor *pieces;  /* on `chunks` */
    MDB_cursor *objects; /* on `objects`: the hand's */
    MDB_cursor *extents; /* on `extents` */
    uint64_t next_object_id;
    uint64_t hand;
    uint64_t body_hand;
    uint64_t purge_sequence;
    size_t reclaim_before; /* entries of store->reclaim when it began */
    size_t delete_budget;  /* pieces that may still be deleted in it */
    uint64_t evict_budget; /* objects that it may evict */
    uint64_t freed_before; /* pins_freed when it began */
    size_t damage_taken;
    uint64_t border_body; /* as in struct border */
    unsigned border_pause;
    uint64_t evicted_pages; /* of LMDB's file, for room in it */
    bool evicted_blocks;    /* something, for room in the body file */
    uint64_t evictions;
    uint64_t bytes_written;
};

int batch_begin(struct store *store, struct batch *out_batch);
int batch_commit(struct batch *batch); /* ends it in any case */
void batch_abort(struct batch *batch);

/* A value about to be deleted or replaced: are its own pages, of which LMDB believes the header, as they should be?
 * MDB_CORRUPTED. */
int batch_check_value(const struct batch *batch, MDB_val key, MDB_val data);

/* Did a value that was put just now get a page behind the limit of LMDB's file? LMDB's own end is that of the map,
 * which does not move with the border. Values that share a page are not asked. */
bool batch_behind_limit(const struct batch *batch, MDB_val key, MDB_val data);

int batch_delete(struct batch *batch, enum table table, MDB_val *key); /* absent is fine */
int batch_put(struct batch *batch, enum table table, MDB_val *key, MDB_val *data);

/* ---- operations (store_write.c, store_publish.c) ---- */

/* The kind of the body's row in `pending`, 0 without one. */
int batch_pending_kind(struct batch *batch, uint64_t body_id, char *out_kind);

int batch_put_object(struct batch *batch, uint64_t object_id, struct key_hash hash, const struct record *record);

int batch_publish(struct batch *batch, struct store_op *op);
/* ---- purges (store_purges.c) ---- */

int batch_apply_purge(struct batch *batch, struct store_op *op);
int batch_apply_trim(struct batch *batch, struct store_op *op);
int batch_apply_remove_object(struct batch *batch, struct store_op *op);

/* ---- deletion and space (store_evict.c) ---- */

/* Takes the object out of the index row of `hash`; nothing where it is not in it. */
int batch_unlink(struct batch *batch, struct key_hash hash, uint64_t object_id);

/* Takes the object out of index and objects, and deletes its bodies; that of its head must not be pinned. */
int batch_evict_object(struct batch *batch, uint64_t object_id);

/* Deletes the row of the object and its bodies; the index is the caller's. */
int batch_drop_object(struct batch *batch, uint64_t object_id);

/* Deletes the pieces now, or makes them wait for that in `pending`. */
int batch_drop_body(struct batch *batch, uint64_t body_id);

/* Deletes at most `max_pieces` of the bodies that wait. */
int batch_reclaim(struct batch *batch, size_t max_pieces);

/* What a batch will take. */
struct space {
    uint64_t pages;  /* of LMDB's file */
    uint64_t blocks; /* of the body file */
};

/* Pages in use when eviction ends. */
uint64_t store_low_water(const struct store *store);

/* Has the pages of the bodies that the hand will evict next read ahead (store_prefetch.c). Inside a guarded call,
 * outside a batch. */
void store_prefetch_victims(struct store *store);

/* Asks the kernel for the page that holds a value of its own pages. LMDB has not touched it. */
void store_want_page(const struct store *store, MDB_val data);

/* Pages in use beyond which is evicted. */
uint64_t store_high_water(const struct store *store);

/* Reclaims and evicts until so much more fits below the high-water marks; what it cannot do it leaves. */
int batch_make_space(struct batch *batch, const struct space *space);

/* NO_ROOM: even after eviction so much more does not fit (bodies that are being written or sent fill the store). */
int batch_check_space(struct batch *batch, const struct space *space);

/* Evicts until the store is below the high-water mark of its limit, whatever the file holds. */
int store_evict_to_limit(struct store *store);

/* After MAP_FULL or NO_ROOM: makes room in transactions of their own, and what they free usable. With each `attempt`
 * those are half as large: deleting copies pages, too, and must not need more of them than there are. */
int store_make_room(struct store *store, const struct space *space, unsigned attempt);

/* Remembers a body to be deleted later. False: no memory; then the next open finds it in `pending`. */
bool store_reclaim_later(struct store *store, uint64_t body_id);

/* ---- the part of a body in the body file (store_extents.c) ---- */

/* Appends pieces to it; the first is number `stream_piece` of the stream. NO_ROOM; EINVAL: they do not follow what is
 * there; an errno of the file. */
int batch_write_blocks(struct batch *batch, uint64_t body_id, uint64_t stream_piece, struct span bytes);

/* The number of the stream's piece behind the last one in the file. MDB_NOTFOUND: none is. */
int batch_last_block(struct batch *batch, uint64_t body_id, uint64_t *out_end_piece);

/* The body belongs to this object now: for batch_next_owner. Nothing where none of it is in the file. */
int batch_own_blocks(struct batch *batch, uint64_t body_id, uint64_t object_id);

/* Gives its blocks back, `max_rows` runs at most. */
int batch_drop_extents(struct batch *batch, uint64_t body_id, size_t max_rows, bool *out_all);

/* The next body in the file, from `*body_id` on, and its object, 0 if it has none. MDB_NOTFOUND. */
int batch_next_owner(struct batch *batch, uint64_t *body_id, uint64_t *out_object_id);

bool batch_body_behind(struct batch *batch, uint64_t body_id,
                       uint64_t block); /* does it use that one or a later one? */

/* The bitmap: from its table into store->blocks, which are free; what the batch changed, into its table. */
int store_load_blocks(struct store *store, MDB_txn *txn);
int batch_save_blocks(struct batch *batch);

/* ---- the border (store_border.c) ---- */

/* Sets the limits of both files; store->size_bytes is set. LMDB's file has so many pages, the body file so many blocks,
 * 0: there is none. */
void store_share(struct store *store, uint64_t file_pages, uint64_t had_blocks);

/* The disk has no room for more than so many. */
void store_limit_bodies(struct store *store, uint64_t blocks);

/* Before a batch that will take so many pages: room that the body file does not use goes to LMDB, rather than that it
 * evicts. */
void store_give_free_room(struct store *store, uint64_t pages);

/* After a batch: moves the border, or begins to, where the load asks for it. */
void store_move_border(struct store *store);

/* Who had to evict in the batch that was committed. */
void store_note_pressure(struct store *store, const struct batch *batch);

/* Evicts some of what lies in the part of the body file that it is giving up. */
int batch_clear_border(struct batch *batch);

/* Drops some of the bodies, from `*body_id` on, that lie behind `end`. MDB_NOTFOUND: none is left. */
int batch_drop_behind(struct batch *batch, uint64_t end, uint64_t *body_id);

/* ---- the body file as a whole (store_space.c) ---- */

uint64_t store_body_file_blocks(const char *dir); /* 0: there is none */

/* The environment must be open. ERR_DAMAGED: what LMDB says lies in the file cannot be there. ERR_OK with a note where
 * the disk has no room for all of it. Outside a guarded call. */
enum err store_open_bodies(struct store *store, struct buf *note);
void store_close_bodies(struct store *store);

/* For a look. The store may be without a body file. */
enum err store_open_bodies_readonly(struct store *store, const char *dir);

/* How many bytes of a STORE_OP_PIECES stay in `chunks`; the rest goes to the file. */
size_t store_chunk_bytes(const struct store *store, const struct store_op *op);

/* Evicts until `wanted` more blocks fit below the high-water mark; what it cannot do it leaves. */
int batch_make_blocks(struct batch *batch, uint64_t wanted);
int batch_check_blocks(const struct batch *batch, uint64_t wanted); /* NO_ROOM */

/* So many more are below the body file's high-water mark. */
bool store_blocks_fit(const struct store *store, uint64_t wanted);

#endif
