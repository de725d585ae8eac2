/* store_read.c: readers, the pieces of a body, and what is noted of damage.
 *
 * A read transaction is renewed, used and reset within one call: it never outlives a return to a loop, where it would
 * keep every page freed meanwhile from being used again.
 *
 * Whatever touches the map runs inside guard_run; callbacks, which may do anything, do not. What they are given lies in
 * the map, but every byte of it was read a moment before, for its check.
 *
 * Nothing of the disk is believed: lengths are checked before they are used, every piece and row against its check.
 * What fails counts as absent and is noted for the next store_apply, which removes it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/store_internal.h"

struct collect_call {
    struct store_reader *reader;
    uint64_t body_id;
    uint64_t offset;
    size_t max_bytes;
    struct store_cold *cold; /* NULL: wait for the disk */
    struct span runs[STORE_READ_MAX_PIECES];
    size_t count;
    bool begun;           /* the transaction is to be ended */
    bool in_file;         /* the pieces lie in the body file: */
    struct body_run part; /* there */
    int code;             /* what stopped it, 0 where it had enough */
};

static void on_create(void *arg);
static enum err read_guarded(struct collect_call *call, store_read_fn read, void *arg, size_t *out_used);
static void on_collect(void *arg);
static enum err read_blocks(struct collect_call *call, store_read_fn read, void *arg, size_t *out_used);
static void note_damaged_body(struct store *store, uint64_t body_id);

/* ---- readers ---- */

struct store_reader *store_reader_create(struct store *store)
{
    struct store_reader *reader = calloc(1, sizeof(*reader));

    if (reader == NULL) {
        return NULL;
    }
    reader->store = store;
    if (guard_run(store, on_create, reader) && reader->txn == NULL) {
        free(reader);
        return NULL;
    }
    return reader;
}

static void on_create(void *arg) /* guarded_fn */
{
    struct store_reader *reader = arg;

    if (mdb_txn_begin(reader->store->env, NULL, MDB_RDONLY, &reader->txn) != 0) {
        reader->txn = NULL;
    } else if (store_open_cursor(reader->txn, reader->store->tables[TABLE_CHUNKS], &reader->pieces) != 0) {
        mdb_txn_abort(reader->txn);
        reader->txn = NULL;
    } else if (store_open_cursor(reader->txn, reader->store->tables[TABLE_EXTENTS], &reader->extents) != 0) {
        mdb_cursor_close(reader->pieces);
        mdb_txn_abort(reader->txn);
        reader->txn = NULL;
    } else {
        mdb_txn_reset(reader->txn);
    }
}

void store_reader_destroy(struct store_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    if (store_failed(reader->store)) {
        guard_abandon(reader->txn);
        guard_abandon(reader->pieces);
        guard_abandon(reader->extents);
    } else {
        mdb_cursor_close(reader->pieces);
        mdb_cursor_close(reader->extents);
        mdb_txn_abort(reader->txn);
    }
    free(reader->blocks);
    free(reader->seen);
    free(reader);
}

int reader_begin(struct store_reader *reader)
{
    int code = mdb_txn_renew(reader->txn);

    if (code != 0) {
        store_note_code(reader->store, code);
    }
    return code;
}

/* Touches LMDB's table of readers and its memory, not the map. */
void reader_end(struct store_reader *reader)
{
    if (!store_failed(reader->store)) {
        mdb_txn_reset(reader->txn);
    }
}

/* ---- rows ---- */

/* The trees of the snapshot: they stay where they are until the next commit. */
static bool find_trees(struct store_reader *reader)
{
    const struct store *store = reader->store;
    struct reader_trees *trees = &reader->trees;
    uint64_t txn = mdb_txn_id(reader->txn);
    struct tree_root names;

    if (trees->txn == txn) {
        return true;
    }
    trees->txn = 0;
    trees->view = (struct tree_view){.map = store->map, .page_bytes = store->page_bytes};
    if (store->map == NULL || !tree_of_names(&trees->view, store->map_pages, txn, &names)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(trees->roots); i++) {
        if (tree_of_table(&trees->view, &names, span_of(store_tables[i].name), store_tables[i].flags != 0,
                          &trees->roots[i]) != TREE_FOUND) {
            return false;
        }
    }
    trees->txn = txn;
    return true;
}

int reader_row(struct store_reader *reader, enum table table, struct span key, struct span *out_row)
{
    MDB_val name = {.mv_size = key.len, .mv_data = (void *)(uintptr_t)key.data};
    MDB_val value;

    REQUIRE(table < ARRAY_LEN(reader->trees.roots));
    enum tree_found found =
        find_trees(reader) ? tree_find(&reader->trees.view, &reader->trees.roots[table], key, out_row) : TREE_ODD;
    if (found == TREE_FOUND || found == TREE_ABSENT) {
        return found == TREE_FOUND ? 0 : MDB_NOTFOUND;
    }
    int code = mdb_get(reader->txn, reader->store->tables[table], &name, &value);
    if (code == 0) {
        *out_row = span_of_value(value);
    }
    return code;
}

/* ---- the body ---- */

int reader_find_piece(struct store_reader *reader, uint64_t body_id, uint64_t number, bool first, MDB_val *out_value)
{
    uint64_t name = piece_key(body_id, number);
    uint64_t got;
    MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};
    int code = first ? mdb_cursor_renew(reader->txn, reader->pieces) : 0;

    if (code == 0) {
        code = mdb_cursor_get(reader->pieces, &key, out_value, first ? MDB_SET_KEY : MDB_NEXT);
    }
    if (code != 0) {
        store_note_code(reader->store, code);
        return code;
    }
    code = number_of_key(key, &got);
    return code == 0 && got != name ? MDB_NOTFOUND : code;
}

int reader_piece(struct store_reader *reader, uint64_t body_id, uint64_t number, bool first, struct span *out_payload)
{
    MDB_val data;
    int code = reader_find_piece(reader, body_id, number, first, &data);

    if (code != 0) {
        return code;
    }
    struct span value = span_of_value(data);
    return value.len <= PIECE_VALUE_BYTES && check_strip(value, piece_key(body_id, number), out_payload)
               ? 0
               : MDB_CORRUPTED;
}

enum err store_read(struct store_reader *reader, uint64_t body_id, uint64_t offset, size_t max_bytes,
                    store_read_fn read, void *arg, size_t *out_used)
{
    struct collect_call call;

    call.reader = reader; /* not as a whole: the runs are a kilobyte that need not be zeroed */
    call.body_id = body_id;
    call.offset = offset;
    call.max_bytes = max_bytes;
    call.cold = NULL;
    return read_guarded(&call, read, arg, out_used);
}

enum err store_read_now(struct store_reader *reader, uint64_t body_id, uint64_t offset, size_t max_bytes,
                        store_read_fn read, void *arg, size_t *out_used, struct store_cold *out_cold)
{
    struct collect_call call;

    call.reader = reader;
    call.body_id = body_id;
    call.offset = offset;
    call.max_bytes = max_bytes;
    call.cold = out_cold;
    enum err error = read_guarded(&call, read, arg, out_used);
    if (error == ERR_COLD) {
        atomic_fetch_add_explicit(&reader->store->cold_reads, 1, memory_order_relaxed);
    }
    return error;
}

static enum err read_guarded(struct collect_call *call, store_read_fn read, void *arg, size_t *out_used)
{
    struct store *store = call->reader->store;
    enum err error = ERR_OK;

    if (!body_id_valid(call->body_id) || call->offset >= STORE_MAX_STREAM_BYTES) {
        return ERR_NOT_FOUND;
    }
    if (!guard_run(store, on_collect, call) || !call->begun) {
        return ERR_IO;
    }
    if (call->count > 0) {
        /* What comes before a piece that fails is good; the next call will begin at the failure. */
        *out_used = read(arg, call->runs, call->count);
    } else if (call->code == MDB_CORRUPTED) {
        error = ERR_DAMAGED;
    } else if (call->code == EAGAIN) {
        error = ERR_COLD;
    } else if (call->code != 0 && call->code != MDB_NOTFOUND) {
        error = ERR_IO;
    } else if (!call->in_file) {
        error = ERR_NOT_FOUND;
    }
    reader_end(call->reader);
    if (error == ERR_OK && call->count == 0) {
        error = read_blocks(call, read, arg, out_used);
    }
    if (error == ERR_DAMAGED || (error == ERR_IO && call->in_file)) {
        note_damaged_body(store, call->body_id);
    }
    return error;
}

/* The pieces, each checked: from here on their pages have been read. Where there are none, where in the body file. */
static void on_collect(void *arg) /* guarded_fn */
{
    struct collect_call *call = arg;
    uint64_t number = call->offset / STORE_PIECE_BYTES;
    size_t skip = (size_t)(call->offset % STORE_PIECE_BYTES);
    size_t bytes = 0;
    bool last = false;

    call->count = 0;
    call->code = 0;
    call->in_file = false;
    call->begun = reader_begin(call->reader) == 0;
    if (call->begun && call->cold != NULL && !call->reader->store->fits_memory &&
        reader_is_cold(call->reader, call->body_id, number, call->cold)) {
        call->code = EAGAIN;
        return;
    }
    while (call->begun && !last && call->count < STORE_READ_MAX_PIECES && bytes < call->max_bytes) {
        struct span piece;
        call->code = reader_piece(call->reader, call->body_id, number + call->count, call->count == 0, &piece);
        if (call->code != 0) {
            break;
        }
        last = piece.len < STORE_PIECE_BYTES;
        piece = span_take(span_skip(piece, skip), call->max_bytes - bytes);
        skip = 0;
        if (piece.len == 0) {
            break; /* the end */
        }
        call->runs[call->count] = piece;
        call->count++;
        bytes += piece.len;
    }
    if (call->begun && call->count == 0 && call->code == MDB_NOTFOUND) {
        call->code =
            reader_blocks(call->reader, call->body_id, number, (uint64_t)2 * STORE_READ_MAX_PIECES, &call->part);
        call->in_file = call->code == 0;
    }
}

/* ---- the body file ---- */

/* The size of what a read gets there at once. */
_Static_assert((int)STORE_READ_MAX_PIECES <= (int)BODIES_READ_BLOCKS, "a read's pieces fit into the buffer");

static uint64_t blocks_wanted(const struct body_run *part, size_t skip, size_t max_bytes)
{
    uint64_t most = part->extent.count < STORE_READ_MAX_PIECES ? part->extent.count : STORE_READ_MAX_PIECES;

    if (max_bytes < most * STORE_PIECE_BYTES - skip) {
        most = (skip + max_bytes + STORE_PIECE_BYTES - 1) / STORE_PIECE_BYTES;
    }
    return most;
}

/* Those of the run that can be given without a copy, and behind them those that must be read, such as the last one of a
 * body. Where that fails it is the next call's news. */
static enum err collect_blocks(struct collect_call *call, const struct body_run *run, size_t *out_count)
{
    const struct store *store = call->reader->store;
    enum bodies_wait wait = call->cold == NULL ? BODIES_WAIT : BODIES_NOW;
    size_t viewed = call->cold == NULL ? 0 : bodies_view(store->bodies, run, store->prefetches, call->runs);
    struct body_run rest = *run;
    size_t more = 0;

    rest.number += viewed;
    rest.extent.first += viewed;
    rest.extent.count -= viewed;
    *out_count = viewed;
    if (rest.extent.count == 0) {
        return ERR_OK;
    }
    enum err error = bodies_read(store->bodies, &rest, wait, call->reader->blocks, call->runs + viewed, &more);
    *out_count += more;
    return viewed > 0 ? ERR_OK : error;
}

static enum err read_blocks(struct collect_call *call, store_read_fn read, void *arg, size_t *out_used)
{
    struct store_reader *reader = call->reader;
    const struct bodies *bodies = reader->store->bodies;
    struct body_run run = call->part;
    size_t skip = (size_t)(call->offset % STORE_PIECE_BYTES);
    size_t left = call->max_bytes;
    size_t count;

    if (bodies == NULL) {
        return ERR_NOT_FOUND;
    }
    if (reader->blocks == NULL) {
        reader->blocks = malloc((size_t)STORE_READ_MAX_PIECES * BODIES_BLOCK_BYTES);
        if (reader->blocks == NULL) {
            return ERR_IO;
        }
    }
    run.extent.count = blocks_wanted(&run, skip, left);
    enum err error = collect_blocks(call, &run, &count);
    if (error == ERR_COLD) {
        call->cold->count = 1;
        call->cold->runs[0] = (struct store_cold_run){.in_bodies = true,
                                                      .offset = run.extent.first * BODIES_BLOCK_BYTES,
                                                      .bytes = run.extent.count * BODIES_BLOCK_BYTES};
    }
    if (error != ERR_OK) {
        return error;
    }
    for (size_t i = 0; i < count; i++) {
        call->runs[i] = span_take(span_skip(call->runs[i], skip), left);
        left -= call->runs[i].len;
        skip = 0;
    }
    if (call->runs[0].len == 0) {
        return ERR_NOT_FOUND; /* behind the end, in the last block */
    }
    bool goes_on = left > 0 && call->part.extent.count > run.extent.count;
    if (call->cold != NULL && reader->store->prefetches && goes_on) {
        bodies_prefetch(
            bodies, (struct extent){run.extent.first + run.extent.count, call->part.extent.count - run.extent.count});
    }
    *out_used = read(arg, call->runs, count);
    return ERR_OK;
}

/* ---- pins ---- */

void store_unpin(struct store *store, uint64_t body_id)
{
    pins_release(store->pins, body_id);
}

bool store_pin(struct store *store, uint64_t body_id)
{
    return pins_add(store->pins, body_id);
}

static void unpin_slices(struct store *store, const struct record *record, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        pins_release(store->pins, slice_in(record->slices, i).body_id);
    }
}

void store_unpin_stored(struct store *store, const struct record *record)
{
    unpin_slices(store, record, record->slices.len / SLICE_BYTES);
    pins_release(store->pins, record->body_id);
}

bool store_pin_stored(struct store *store, const struct record *record)
{
    if (!pins_add(store->pins, record->body_id)) {
        return false;
    }
    for (size_t i = 0; i < record->slices.len / SLICE_BYTES; i++) {
        if (!pins_add(store->pins, slice_in(record->slices, i).body_id)) {
            unpin_slices(store, record, i);
            pins_release(store->pins, record->body_id);
            return false;
        }
    }
    return true;
}

enum pin_result store_acquire_stored(struct store *store, const struct record *record, uint64_t generation)
{
    enum pin_result result = pins_acquire(store->pins, record->body_id, generation);

    for (size_t i = 0; i < record->slices.len / SLICE_BYTES && result == PIN_OK; i++) {
        result = pins_acquire(store->pins, slice_in(record->slices, i).body_id, generation);
        if (result != PIN_OK) {
            unpin_slices(store, record, i);
            pins_release(store->pins, record->body_id);
        }
    }
    return result;
}

/* ---- damage ---- */

/* Bounded: what does not fit is found again at its next look-up. */
void store_note_damage(struct store *store, struct key_hash hash, uint64_t object_id)
{
    bool known = false;

    pthread_mutex_lock(&store->damage_mutex);
    for (size_t i = 0; i < store->damage_count; i++) {
        known = known || (store->damage[i].object_id == object_id && key_hash_equal(store->damage[i].hash, hash));
    }
    if (!known && store->damage_count < DAMAGE_MAX) {
        store->damage[store->damage_count] = (struct damage){.hash = hash, .object_id = object_id};
        store->damage_count++;
    }
    atomic_store_explicit(&store->damage_waiting, true, memory_order_relaxed);
    pthread_mutex_unlock(&store->damage_mutex);
}

/* A read of a body does not know the object: the next find that comes to it reports it. */
static void note_damaged_body(struct store *store, uint64_t body_id)
{
    if (store_body_damaged(store, body_id)) {
        return;
    }
    atomic_fetch_add_explicit(&store->damaged_reads, 1, memory_order_relaxed);
    pthread_mutex_lock(&store->damage_mutex);
    uint64_t count = atomic_load_explicit(&store->damaged_body_count, memory_order_relaxed);
    store->damaged_bodies[count % DAMAGE_MAX] = body_id;
    atomic_store_explicit(&store->damaged_body_count, count + 1, memory_order_relaxed);
    pthread_mutex_unlock(&store->damage_mutex);
}

bool store_body_damaged(struct store *store, uint64_t body_id)
{
    bool damaged = false;

    if (atomic_load_explicit(&store->damaged_body_count, memory_order_relaxed) == 0) {
        return false; /* the usual case: no lock on the way of a hit */
    }
    pthread_mutex_lock(&store->damage_mutex);
    for (size_t i = 0; i < DAMAGE_MAX; i++) {
        damaged = damaged || store->damaged_bodies[i] == body_id;
    }
    pthread_mutex_unlock(&store->damage_mutex);
    return damaged;
}
