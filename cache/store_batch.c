/* store_batch.c: a batch: one write transaction, and what the store keeps in memory beside it, which changes only when
 * the commit has succeeded. */
#include <string.h>

#include "cache/store_internal.h"

static void end_batch(struct batch *batch);

int batch_begin(struct store *store, struct batch *out_batch)
{
    struct batch batch = {
        .store = store,
        .next_object_id = store->next_object_id,
        .hand = store->hand,
        .reclaim_before = store->reclaim_count,
        .delete_budget = store->limit_pages / 8 < DELETE_MAX_PIECES ? store->limit_pages / 8 : DELETE_MAX_PIECES,
        .freed_before = pins_freed(store->pins),
    };
    int code = mdb_txn_begin(store->env, NULL, 0, &batch.txn);

    if (code != 0) {
        return code;
    }
    code = mdb_cursor_open(batch.txn, store->tables[TABLE_CHUNKS], &batch.pieces);
    if (code == 0) {
        code = mdb_cursor_open(batch.txn, store->tables[TABLE_OBJECTS], &batch.objects);
    }
    if (code != 0) {
        mdb_txn_abort(batch.txn);
        return code;
    }
    *out_batch = batch;
    return 0;
}

int batch_commit(struct batch *batch)
{
    struct store *store = batch->store;
    struct state_row state = {
        .next_object_id = batch->next_object_id,
        .next_body_id = atomic_load_explicit(&store->next_body_id, memory_order_relaxed),
        .hand = batch->hand,
        .sequence = store->sequence + 1,
    };
    int code = store_write_state(store, batch->txn, &state);

    if (code != 0) {
        batch_abort(batch);
        return code;
    }
    code = mdb_txn_commit(batch->txn); /* closes the cursors; aborts where it fails */
    if (code != 0) {
        end_batch(batch);
        return code;
    }
    store->next_object_id = batch->next_object_id;
    store->hand = batch->hand;
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
    end_batch(batch);
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
    MDB_txn *txn;
    MDB_stat stat;
    uint64_t pages;

    if (mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn) != 0) {
        return; /* the figures stay as they were */
    }
    if (store_used_pages(store, txn, &pages) == 0 && mdb_stat(txn, store->tables[TABLE_OBJECTS], &stat) == 0) {
        atomic_store_explicit(&store->used_bytes, pages * store->page_bytes, memory_order_relaxed);
        atomic_store_explicit(&store->objects, stat.ms_entries, memory_order_relaxed);
    }
    mdb_txn_abort(txn);
    atomic_store_explicit(&store->reclaim_bodies, store->reclaim_count, memory_order_relaxed);
}
