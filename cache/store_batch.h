/* store_batch.h: what the disk thread does: batches, the operations in them, deletion and room, the part of a body in
 * the body file, the border between the two files. Threads: the disk thread, and whoever opens or closes the store. */
#ifndef CACHE_STORE_BATCH_H
#define CACHE_STORE_BATCH_H

#include "cache/store_internal.h"

/* ---- a batch: one write transaction (store_batch.c) ---- */

struct batch {
    struct store *store;
    MDB_txn *txn;
    MDB_cursor *cursors[TABLE_COUNT]; /* one on each: what lies on the page that it is on, is found without a search */
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

/* These move the table's cursor. */
int batch_get(const struct batch *batch, enum table table, MDB_val *key, MDB_val *out_data);
int batch_delete(struct batch *batch, enum table table, MDB_val *key); /* absent is fine */
int batch_put(struct batch *batch, enum table table, MDB_val *key, MDB_val *data);

/* ---- operations (store_write.c, store_publish.c) ---- */

int batch_put_object(struct batch *batch, uint64_t object_id, struct key_hash hash, const struct record *record);

int batch_publish(struct batch *batch, struct store_op *op);

/* ---- bodies without an object (store_pending.c) ---- */

/* The body is unfinished from now on. */
int batch_begin_body(struct batch *batch, uint64_t body_id);

/* An enum pending_kind, 0: the body is none of them. */
int batch_pending_kind(struct batch *batch, uint64_t body_id, char *out_kind);

/* It belongs to an object now, or is gone. Absent is fine. */
int batch_end_body(struct batch *batch, uint64_t body_id);

/* Its pieces wait to be deleted. */
int batch_reclaim_body(struct batch *batch, uint64_t body_id);

/* What the next open must find: before the batch ends. */
int batch_save_pending(struct batch *batch);

/* ---- purges (store_purges.c) ---- */

int batch_apply_purge(struct batch *batch, struct store_op *op);
int batch_apply_trim(struct batch *batch, struct store_op *op);
int batch_apply_remove_object(struct batch *batch, struct store_op *op);

/* ---- deletion (store_delete.c) ---- */

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

/* Remembers a body to be deleted later. False: no memory; then the next open finds it in `pending`. */
bool store_reclaim_later(struct store *store, uint64_t body_id);

/* ---- room (store_evict.c) ---- */

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

/* ---- the part of a body in the body file (store_extents.c) ---- */

/* Appends pieces to it; the first is number `stream_piece` of the stream. NO_ROOM; BODY_ENDED: they do not follow what
 * is there, or what is there cannot be read; an errno of the file. */
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

/* The same question for a look at a stopped store, with the errors of store_open_bodies. */
enum err store_check_bodies(struct store *store, struct buf *note);

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
