/* store_write.c: applying operations, on the disk thread.
 *
 * A batch: what failed its check is removed, a slice of what waits for deletion is deleted, room is made, the
 * operations are applied (those with bytes first, else in their order), ids and hand are written, commit. What the
 * store keeps in memory changes only when the commit has succeeded.
 *
 * MAP_FULL (a reader that held its snapshot for long, or more copied pages than foreseen) ends a transaction for good:
 * room is made by transactions of their own, then the batch is tried again. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "cache/store_batch.h"
#include "cache/vary.h"

enum {
    PAGES_AN_OPERATION = 2,       /* copied: a leaf of index, now and then one of objects, pending, chunks */
    PAGES_A_BATCH = 64,           /* roots and branches, meta, free list */
    EXTENT_ROWS_A_PAGE = 50,      /* at the least */
    SEGMENTS_A_BATCH = 16,        /* of the bitmap, changed: copied */
    SHARED_PAGE_MAX_BYTES = 2000, /* about: what LMDB puts beside other values */
    ROOM_BATCHES = 2,             /* made after MAP_FULL, in batches of the size that did not fit */
    ROOM_TRIES = 6,
};

static enum err check_ops(const struct store *store, const struct store_op *ops, size_t count, struct space *out_space);
static int prepare(struct store *store);
static void on_apply(void *arg);
static void wait_for_readers(unsigned attempt);
static int apply_once(struct store *store, struct store_op *ops, size_t count, const struct space *space);
static int apply_ops(struct batch *batch, struct store_op *ops, size_t count);
static int remove_damaged(struct batch *batch);

/* ---- applying ---- */

bool store_wants_apply(struct store *store)
{
    if (store_failed(store) || store_is_away(store)) {
        return false;
    }
    return atomic_load_explicit(&store->reclaim_waiting, memory_order_relaxed) ||
           atomic_load_explicit(&store->damage_waiting, memory_order_relaxed) ||
           atomic_load_explicit(&store->freed_seen, memory_order_relaxed) != pins_freed(store->pins);
}

bool store_disk_is_full(const struct store *store)
{
    struct statvfs status;

    return statvfs(store->dir, &status) == 0 && status.f_bavail * status.f_frsize < BATCH_MAX_BYTES / 2;
}

struct apply_call {
    struct store *store;
    struct store_op *ops;
    size_t count;
    struct space space; /* that the operations will take */
    int code;
};

enum err store_apply(struct store *store, struct store_op *ops, size_t count)
{
    struct apply_call call = {.store = store, .ops = ops, .count = count};

    if (store_failed(store) || store_is_away(store)) {
        return ERR_IO;
    }
    if (count == 0 && !store_wants_apply(store)) {
        return ERR_OK;
    }
    enum err error = check_ops(store, ops, count, &call.space);
    if (error != ERR_OK) {
        return error;
    }
    call.code = prepare(store);
    if (call.code == 0 && !guard_run(store, on_apply, &call)) {
        call.code = MDB_PANIC;
    }
    /* The first write that does not fit any more is cut short, of which LMDB says EIO. */
    if (call.code == EIO && store_disk_is_full(store)) {
        call.code = ENOSPC;
    }
    atomic_store_explicit(&store->refusal, call.code, memory_order_relaxed);
    if (call.code == 0) {
        return ERR_OK;
    }
    store_note_code(store, call.code);
    atomic_fetch_add_explicit(&store->commit_errors, 1, memory_order_relaxed);
    error = err_from_mdb(call.code);
    return error == ERR_NO_SPACE || error == ERR_NO_MEMORY ? error : ERR_IO;
}

/* What must have happened before the first change. Nobody has changed the file since the open, and nobody does
 * meanwhile. */
static int prepare(struct store *store)
{
    /* After a kill the last commit may be in the kernel's memory only: a power cut could still take it back, and with
     * it the right to use what it gave back. */
    int code = store->flushed ? 0 : mdb_env_sync(store->env, 1);

    store->flushed = code == 0;
    if (code != 0 || store->trees_checked) {
        return code;
    }
    const struct tree_limits all = {.pages = UINT64_MAX, .give_up = &store->check_cancelled};
    switch (store_check_trees(store->dir, store->map_pages, &all)) {
    case TREES_GOOD:
        store->trees_checked = true;
        return 0;
    case TREES_DAMAGED:
        return MDB_CORRUPTED;
    case TREES_UNCHECKED:
        return store->check_cancelled ? ECANCELED : ENOMEM;
    }
    UNREACHABLE();
}

enum err store_check_pages(struct store *store)
{
    if (store_failed(store)) {
        return ERR_IO;
    }
    int code = prepare(store);
    if (code == ECANCELED) {
        return ERR_LIMIT;
    }
    store_note_code(store, code);
    return err_from_mdb(code);
}

bool store_pages_checked(const struct store *store)
{
    return store->trees_checked;
}

void store_cancel_check(struct store *store)
{
    store->check_cancelled = true;
}

void store_allow_check(struct store *store)
{
    store->check_cancelled = false;
}

/* Everything here may fault: nothing may be held that has to be given back, but for LMDB's own. */
static void on_apply(void *arg) /* guarded_fn */
{
    struct apply_call *call = arg;
    struct store *store = call->store;
    struct space room = {.blocks = call->space.blocks};
    uint64_t most = store_low_water(store) / 2; /* not worth emptying the store for */
    uint64_t evictions = atomic_load_explicit(&store->evictions, memory_order_relaxed);

    store_give_free_room(store, call->space.pages);
    int code = apply_once(store, call->ops, call->count, &call->space);
    for (unsigned i = 0; i < ROOM_TRIES && (code == MDB_MAP_FULL || (code == NO_ROOM && i == 0)); i++) {
        /* More each time: what a batch copies was more than foreseen, or it would have fitted. */
        room.pages = (ROOM_BATCHES + i) * call->space.pages;
        room.pages = room.pages < most ? room.pages : most;
        code = store_make_room(store, &room, i);
        if (code == 0) {
            code = apply_once(store, call->ops, call->count, &call->space);
        }
        if (code == MDB_MAP_FULL) {
            int dead;
            (void)mdb_reader_check(store->env, &dead); /* a `larder why` that was killed while it looked */
            wait_for_readers(i);
        }
    }
    call->code = code;
    if (code == 0) {
        store_move_border(store);
    }
    if (code == 0 && !store->fits_memory &&
        atomic_load_explicit(&store->evictions, memory_order_relaxed) != evictions) {
        store_prefetch_victims(store);
    }
}

/* Freed pages cannot be used while a reader has a snapshot from before: usually one that the scheduler has set aside,
 * for a few milliseconds. Longer each time, 63 ms in all: this is the disk thread, whose queue takes that. */
static void wait_for_readers(unsigned attempt)
{
    struct timespec pause = {.tv_nsec = 1000000L << attempt};

    (void)nanosleep(&pause, NULL); /* interrupted: then it was shorter */
}

/* What can be said without looking at the disk, and the pages the operations will take: those of their pieces, and the
 * copies of the rows' pages that they change, of which a small store has few. */
static enum err check_ops(const struct store *store, const struct store_op *ops, size_t count, struct space *out_space)
{
    struct space space = {.pages = PAGES_A_BATCH};
    uint64_t copies = 0;
    uint64_t small_bytes = 0; /* of pieces that share a page with others */

    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind == STORE_OP_PIECES) {
            size_t in_chunks = store_chunk_bytes(store, &ops[i]);
            uint64_t whole = in_chunks / STORE_PIECE_BYTES;
            uint64_t rest = in_chunks % STORE_PIECE_BYTES;
            if (ops[i].bytes.len / STORE_PIECE_BYTES + 1 + ops[i].first_piece > UINT64_C(1) << PIECE_NUMBER_BITS) {
                return ERR_LIMIT;
            }
            space.pages += whole + (rest > SHARED_PAGE_MAX_BYTES);
            small_bytes += rest > SHARED_PAGE_MAX_BYTES ? 0 : rest;
            space.blocks += (ops[i].bytes.len - in_chunks + STORE_PIECE_BYTES - 1) / STORE_PIECE_BYTES;
        } else {
            copies += PAGES_AN_OPERATION;
        }
        for (size_t j = 0; ops[i].kind == STORE_OP_PURGE && j < ops[i].purge_count; j++) {
            space.pages += ops[i].purges[j].row.len / STORE_PIECE_BYTES;
            small_bytes += ops[i].purges[j].row.len % STORE_PIECE_BYTES;
        }
        if (ops[i].kind == STORE_OP_FRESHEN || ops[i].kind == STORE_OP_PUBLISH) {
            space.pages += ops[i].record->head_override.len / STORE_PIECE_BYTES;
        }
    }
    uint64_t most = store_batch_bytes(store) / store->page_bytes;
    space.pages += (copies < most ? copies : most) + 2 * small_bytes / store->page_bytes; /* shared pages: half full */
    if (space.blocks > 0) {
        space.pages += 1 + space.blocks / EXTENT_ROWS_A_PAGE + SEGMENTS_A_BATCH;
    }
    if (space.pages > store->limit_pages / 2 || space.blocks > store->limit_blocks / 2) {
        return ERR_NO_SPACE; /* not worth emptying the store for */
    }
    *out_space = space;
    return ERR_OK;
}

static int apply_once(struct store *store, struct store_op *ops, size_t count, const struct space *space)
{
    struct batch batch;
    bool grows = false;
    int code = batch_begin(store, &batch);

    if (code != 0) {
        return code;
    }
    for (size_t i = 0; i < count; i++) {
        ops[i].done = false;
        grows = grows || ops[i].kind == STORE_OP_PIECES;
    }
    code = remove_damaged(&batch);
    if (code == 0) {
        uint64_t slice = store->limit_pages / 16;
        code = batch_reclaim(&batch, slice < RECLAIM_SLICE_PIECES ? (size_t)slice : RECLAIM_SLICE_PIECES);
    }
    if (code == 0) {
        code = batch_clear_border(&batch);
    }
    if (code == 0) {
        code = batch_make_space(&batch, space);
    }
    if (code == 0 && grows) {
        code = batch_check_space(&batch, space);
    }
    if (code == 0) {
        code = apply_ops(&batch, ops, count);
    }
    if (code != 0) {
        batch_abort(&batch);
        return code;
    }
    return batch_commit(&batch);
}

/* Things that failed their check while they were read. Copied out first: readers add to the list meanwhile. */
static int remove_damaged(struct batch *batch)
{
    struct store *store = batch->store;
    struct damage damage[DAMAGE_MAX];
    int code = 0;

    pthread_mutex_lock(&store->damage_mutex);
    batch->damage_taken = store->damage_count;
    memcpy(damage, store->damage, store->damage_count * sizeof(damage[0]));
    pthread_mutex_unlock(&store->damage_mutex);
    for (size_t i = 0; i < batch->damage_taken && code == 0; i++) {
        code = batch_unlink(batch, damage[i].hash, damage[i].object_id);
        if (code == 0 && damage[i].object_id != 0) {
            code = batch_drop_object(batch, damage[i].object_id);
        }
    }
    return code;
}

/* ---- the operations ---- */

static int apply_pieces(struct batch *batch, struct store_op *op)
{
    int code = op->first_piece == 0 ? batch_begin_body(batch, op->body_id) : 0;
    struct span rest = span_take(op->bytes, store_chunk_bytes(batch->store, op));
    struct span in_file = span_skip(op->bytes, rest.len);
    for (uint64_t number = op->first_piece; rest.len > 0 && code == 0; number++) {
        struct span piece = span_take(rest, STORE_PIECE_BYTES);
        uint64_t name = piece_key(op->body_id, number);
        MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};
        MDB_val data = {.mv_size = piece.len + CHECK_BYTES};

        code = mdb_cursor_put(batch->cursors[TABLE_CHUNKS], &key, &data, MDB_RESERVE);
        if (code == 0) {
            /* Every byte of the room is written: what it held before would go to the disk. */
            uint64_t check = check_of(piece, name);
            memcpy(data.mv_data, piece.data, piece.len);
            memcpy((char *)data.mv_data + piece.len, &check, CHECK_BYTES);
            code = batch_behind_limit(batch, key, data) ? MDB_MAP_FULL : 0;
        }
        rest = span_skip(rest, piece.len);
    }
    if (in_file.len > 0 && code == 0) {
        uint64_t first = op->first_piece + (op->bytes.len - in_file.len) / STORE_PIECE_BYTES;
        code = batch_write_blocks(batch, op->body_id, first, in_file);
    }
    batch->bytes_written += op->bytes.len;
    op->done = true;
    return code;
}

static int apply_freshen(struct batch *batch, struct store_op *op)
{
    struct record record = *op->record;
    struct object_row row;
    MDB_val key = {.mv_size = sizeof(op->object_id), .mv_data = &op->object_id};
    MDB_val data;
    int code = batch_get(batch, TABLE_OBJECTS, &key, &data);

    if (code != 0) {
        return code == MDB_NOTFOUND ? 0 : code;
    }
    if (!object_row_read(span_of_value(data), op->object_id, &row) || row.body_id != record.body_id ||
        record.head_override.len > RECORD_MAX_HEAD_BYTES) {
        return 0;
    }
    record.object_id = op->object_id;
    op->done = true;
    return batch_put_object(batch, op->object_id, row.hash, &record);
}

static int apply_drop_body(struct batch *batch, struct store_op *op)
{
    char kind;
    int code = batch_pending_kind(batch, op->body_id, &kind);

    if (code != 0 || kind != PENDING_UNFINISHED) {
        return code; /* published meanwhile, or never begun */
    }
    op->done = true;
    return batch_drop_body(batch, op->body_id);
}

static int apply_remove_key(struct batch *batch, struct store_op *op)
{
    struct index_row old = {.len = 0};
    struct variant variant;
    struct span rest;
    char bytes[INDEX_KEY_BYTES];
    MDB_val key = {.mv_size = sizeof(bytes), .mv_data = bytes};
    MDB_val data;

    index_key_write(op->key.hash, bytes);
    int code = batch_get(batch, TABLE_INDEX, &key, &data);
    if (code != 0) {
        return code == MDB_NOTFOUND ? 0 : code;
    }
    if (index_row_check(span_of_value(data), op->key.hash, &rest)) {
        memcpy(old.bytes, rest.data, rest.len);
        old.len = rest.len;
    }
    rest = (struct span){old.bytes, old.len};
    while (code == 0 && variant_next(&rest, &variant)) {
        code = batch_drop_object(batch, variant.object_id);
    }
    op->done = true;
    return code == 0 ? batch_delete(batch, TABLE_INDEX, &key) : code;
}

static int apply_op(struct batch *batch, struct store_op *op)
{
    switch (op->kind) {
    case STORE_OP_PIECES:
        return apply_pieces(batch, op);
    case STORE_OP_PUBLISH:
        return batch_publish(batch, op);
    case STORE_OP_FRESHEN:
        return apply_freshen(batch, op);
    case STORE_OP_DROP_BODY:
        return apply_drop_body(batch, op);
    case STORE_OP_REMOVE_KEY:
        return apply_remove_key(batch, op);
    case STORE_OP_PURGE:
        return batch_apply_purge(batch, op);
    case STORE_OP_TRIM_PURGES:
        return batch_apply_trim(batch, op);
    case STORE_OP_REMOVE_OBJECT:
        return batch_apply_remove_object(batch, op);
    }
    UNREACHABLE();
}

/* All bytes first, then what names them: LMDB gives the lowest free page first. The leaves of the index that a batch
 * changes are anywhere and change again any time, the pages of its bodies are given back together when their objects
 * are evicted. Taken by turns the two would mix in the file, until hardly a page that is written has a neighbour that
 * is: each is a call and a request to the disk then. No operation is about pieces that come behind it. */
static int apply_ops(struct batch *batch, struct store_op *ops, size_t count)
{
    int code = 0;

    for (size_t i = 0; i < count && code == 0; i++) {
        code = ops[i].kind == STORE_OP_PIECES ? apply_pieces(batch, &ops[i]) : 0;
    }
    for (size_t i = 0; i < count && code == 0; i++) {
        code = ops[i].kind == STORE_OP_PIECES ? 0 : apply_op(batch, &ops[i]);
    }
    return code;
}
