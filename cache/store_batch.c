/* store_batch.c: a batch: one write transaction, and what the store keeps in memory beside it, which changes only when
 * the commit has succeeded. */
#include <string.h>

#include "cache/store_batch.h"

static void end_batch(struct batch *batch);
static void undo_body_file(struct store *store);

int batch_begin(struct store *store, struct batch *out_batch)
{
    struct batch batch = {
        .store = store,
        .next_object_id = store->next_object_id,
        .hand = store->hand,
        .body_hand = store->body_hand,
        .purge_sequence = store_newest_purge(store),
        .reclaim_before = store->reclaim_count,
        .delete_budget = store->limit_pages / 8 < DELETE_MAX_PIECES ? store->limit_pages / 8 : DELETE_MAX_PIECES,
        .evict_budget = EVICT_MAX_OBJECTS,
        .freed_before = pins_freed(store->pins),
        .border_body = store->border.next_body,
        .border_pause = store->border.pause,
    };
    int code = mdb_txn_begin(store->env, NULL, 0, &batch.txn);

    store->begun.count = 0;
    if (code != 0) {
        return code;
    }
    for (size_t i = 0; i < TABLE_COUNT && code == 0; i++) {
        code = store_open_cursor(batch.txn, store->tables[i], &batch.cursors[i]);
    }
    if (code != 0) {
        mdb_txn_abort(batch.txn);
        return code;
    }
    *out_batch = batch;
    return 0;
}

int store_open_cursor(MDB_txn *txn, MDB_dbi table, MDB_cursor **out_cursor)
{
    MDB_stat stat;
    int code = mdb_stat(txn, table, &stat); /* reads the table's row among the tables */

    return code == 0 ? mdb_cursor_open(txn, table, out_cursor) : code;
}

int batch_commit(struct batch *batch)
{
    struct store *store = batch->store;
    struct state_row state = {
        .next_object_id = batch->next_object_id,
        .next_body_id = atomic_load_explicit(&store->next_body_id, memory_order_relaxed),
        .hand = batch->hand,
        .body_hand = batch->body_hand,
        .sequence = store->sequence + 1,
    };
    int code = store_write_state(store, batch->txn, &state);

    if (code == 0) {
        code = batch_save_pending(batch);
    }
    if (code == 0 && store->blocks != NULL) {
        code = batch_save_blocks(batch);
    }
    /* First the bytes, then what says where they are. */
    if (code == 0 && store->bodies != NULL) {
        code = bodies_sync(store->bodies);
    }
    if (code != 0) {
        batch_abort(batch);
        return code;
    }
    code = mdb_txn_commit(batch->txn); /* closes the cursors; aborts where it fails */
    if (code != 0) {
        undo_body_file(store);
        end_batch(batch);
        return code;
    }
    if (store->blocks != NULL) {
        blocks_commit(store->blocks);
    }
    store->next_object_id = batch->next_object_id;
    store->hand = batch->hand;
    store->body_hand = batch->body_hand;
    atomic_store_explicit(&store->purge_sequence, batch->purge_sequence, memory_order_release);
    store->sequence = state.sequence;
    size_t kept = 0;
    for (size_t i = 0; i < store->reclaim_count; i++) {
        if (!store->reclaim[i].done) {
            store->reclaim[kept] = store->reclaim[i];
            kept++;
        }
    }
    store->reclaim_count = kept;
    batch->reclaim_before = kept;
    pthread_mutex_lock(&store->damage_mutex);
    store->damage_count -= batch->damage_taken;
    memmove(store->damage, store->damage + batch->damage_taken, store->damage_count * sizeof(store->damage[0]));
    atomic_store_explicit(&store->damage_waiting, store->damage_count > 0, memory_order_relaxed);
    pthread_mutex_unlock(&store->damage_mutex);
    store_note_pressure(store, batch);
    atomic_fetch_add_explicit(&store->evictions, batch->evictions, memory_order_relaxed);
    atomic_fetch_add_explicit(&store->bytes_written, batch->bytes_written, memory_order_relaxed);
    atomic_fetch_add_explicit(&store->commits, 1, memory_order_relaxed);
    end_batch(batch);
    store_count(store);
    return 0;
}

void batch_abort(struct batch *batch)
{
    mdb_txn_abort(batch->txn);
    undo_body_file(batch->store);
    end_batch(batch);
}

static void undo_body_file(struct store *store)
{
    if (store->blocks != NULL) {
        blocks_abort(store->blocks);
    }
    if (store->bodies != NULL) {
        bodies_abort(store->bodies);
    }
}

/* The transaction is over. What a batch that failed had noted is undone; after a commit there is nothing to undo. */
static void end_batch(struct batch *batch)
{
    struct store *store = batch->store;
    bool waiting = false;

    pins_end_deletions(store->pins);
    store->reclaim_count = batch->reclaim_before;
    for (size_t i = 0; i < store->reclaim_count; i++) {
        store->reclaim[i].done = false;
        waiting = waiting || !store->reclaim[i].waiting;
    }
    atomic_store_explicit(&store->reclaim_waiting, waiting, memory_order_relaxed);
    atomic_store_explicit(&store->freed_seen, batch->freed_before, memory_order_relaxed);
    atomic_store_explicit(&store->reclaim_bodies, store->reclaim_count, memory_order_relaxed);
    batch->txn = NULL;
}

void store_count(struct store *store)
{
    MDB_stat stat;
    uint64_t pages;

    if (mdb_txn_renew(store->figures) != 0) {
        return; /* the figures stay as they were */
    }
    if (store_used_pages(store, store->figures, &pages) == 0 &&
        mdb_stat(store->figures, store->tables[TABLE_OBJECTS], &stat) == 0) {
        atomic_store_explicit(&store->used_bytes, pages * store->page_bytes, memory_order_relaxed);
        atomic_store_explicit(&store->objects, stat.ms_entries, memory_order_relaxed);
    }
    mdb_txn_reset(store->figures);
    if (store->blocks != NULL) {
        atomic_store_explicit(&store->used_blocks, blocks_used(store->blocks), memory_order_relaxed);
    }
    atomic_store_explicit(&store->reclaim_bodies, store->reclaim_count, memory_order_relaxed);
}

/* ---- rows ---- */

static bool in_own_pages(const struct batch *batch, MDB_val key, MDB_val data)
{
    return NODE_HEADER_BYTES + key.mv_size + data.mv_size > value_inline_max(batch->store->page_bytes);
}

/* LMDB frees as many pages as the header says, from the page on that it says: pages of others, if it is damaged. A
 * value that this transaction has written lies outside the map. */
int batch_check_value(const struct batch *batch, MDB_val key, MDB_val data)
{
    const struct store *store = batch->store;
    uintptr_t at = (uintptr_t)data.mv_data - PAGE_HEADER_BYTES - (uintptr_t)store->map;

    if (!in_own_pages(batch, key, data) || at / store->page_bytes >= store->map_pages) {
        return 0;
    }
    bool good = at % store->page_bytes == 0 &&
                value_page_good(store->map + at, at / store->page_bytes, value_pages(data.mv_size, store->page_bytes));
    return good ? 0 : MDB_CORRUPTED;
}

bool batch_behind_limit(const struct batch *batch, MDB_val key, MDB_val data)
{
    uint64_t page;

    if (!in_own_pages(batch, key, data)) {
        return false;
    }
    memcpy(&page, (char *)data.mv_data - PAGE_HEADER_BYTES, sizeof(page)); /* it begins with its number */
    return page >= batch->store->limit_pages;
}

int batch_get(const struct batch *batch, enum table table, MDB_val *key, MDB_val *out_data)
{
    return mdb_cursor_get(batch->cursors[table], key, out_data, MDB_SET);
}

static int get_checked(struct batch *batch, enum table table, MDB_val *key, MDB_val *out_data)
{
    int code = batch_get(batch, table, key, out_data);

    return code == 0 ? batch_check_value(batch, *key, *out_data) : code;
}

int batch_delete(struct batch *batch, enum table table, MDB_val *key)
{
    MDB_val data;
    int code = get_checked(batch, table, key, &data);

    if (code == 0) {
        code = mdb_cursor_del(batch->cursors[table], 0);
    }
    return code == MDB_NOTFOUND ? 0 : code;
}

/* A value in pages of its own is deleted first: LMDB would write a smaller one into the same pages, and how many they
 * are could not be told from its length any more. */
int batch_put(struct batch *batch, enum table table, MDB_val *key, MDB_val *data)
{
    MDB_cursor *cursor = batch->cursors[table];
    MDB_val old;
    int code = get_checked(batch, table, key, &old);

    if (code == 0 && in_own_pages(batch, *key, old)) {
        code = mdb_cursor_del(cursor, 0);
    }
    return code == 0 || code == MDB_NOTFOUND ? mdb_cursor_put(cursor, key, data, 0) : code;
}
