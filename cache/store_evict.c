/* store_evict.c: how full the store is, what goes to make room, in what order.
 *
 * Accounting: the pages in use are the sum of what mdb_stat says of every table, inside the transaction too. Pages
 * freed by batch N can be used again by batch N+2, so that a few batches' worth must stay free for the store to turn
 * over without touching the end of the map: that is the headroom above the high-water mark. Eviction begins there and
 * ends at the low-water mark, half a batch below: it deletes in lots, whose pages were read ahead (store_prefetch.c).
 *
 * Eviction is SIEVE: the hand walks from old to new ids, takes the mark of a visited object and goes on, evicts the
 * first without one, and wraps around. An object being sent counts as visited. */
#include <string.h>

#include "cache/store_batch.h"

enum {
    HIGH_WATER_PERCENT = 92,
    HEADROOM_BATCHES = 3,
    HEADROOM_PAGES = 64,      /* the pages a batch copies beside its own: the paths to what it changes */
    SMALL_STORE_SHARE = 16,   /* a batch is at most this part of a store without a body file */
    SPLIT_STORE_SHARE = 64,   /* of one with: an eighth of what either file keeps */
    BODY_FILE_SHARE = 8,      /* of a body file: its headroom is three of them */
    RECLAIM_STEP_PIECES = 64, /* the least deleted at a time when space is wanted */
    ROOM_MAX_BATCHES = 64,    /* that one store_make_room commits */
    EVICT_MAX_SCAN = 65536,   /* a batch: then marks are ignored; bounds its time */
    TINY_COMMITS = 2,         /* after which pages freed before are usable */
};

enum hand {
    HAND_EVICTED,
    HAND_NOTHING, /* no object that could be evicted */
};

static uint64_t batch_pages(const struct store *store);
static int batch_make_pages(struct batch *batch, uint64_t pages);
static int evict_one(struct batch *batch, uint64_t *scanned, enum hand *out_hand);
static int wrap_hand(struct batch *batch);
static int evict_at(struct batch *batch, uint64_t object_id, struct span value, bool respect_mark, bool *out_evicted);

/* ---- accounting ---- */

int store_used_pages(const struct store *store, MDB_txn *txn, uint64_t *out_pages)
{
    enum { FREE_LIST = 0, MAIN = 1, META_PAGES = 2 };
    MDB_dbi all[TABLE_COUNT + 2] = {FREE_LIST, MAIN};
    uint64_t pages = META_PAGES;

    memcpy(all + 2, store->tables, sizeof(store->tables));
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        MDB_stat stat;
        int code = mdb_stat(txn, all[i], &stat);
        if (code != 0) {
            return code;
        }
        pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    }
    *out_pages = pages;
    return 0;
}

uint64_t store_batch_bytes(const struct store *store)
{
    bool split = store->max_blocks > 0;
    /* Of both files' size: it stays the same wherever the border is. */
    uint64_t share = store->size_bytes / (split ? SPLIT_STORE_SHARE : SMALL_STORE_SHARE);
    /* Less where the disk had no room for a body file of that size. */
    uint64_t most = split ? store->max_blocks * BODIES_BLOCK_BYTES / BODY_FILE_SHARE : share;

    share = share < most ? share : most;
    return share < BATCH_MAX_BYTES ? share : BATCH_MAX_BYTES;
}

static uint64_t batch_pages(const struct store *store)
{
    return store_batch_bytes(store) / store->page_bytes;
}

uint64_t store_high_water(const struct store *store)
{
    uint64_t share = store->limit_pages / 100 * HIGH_WATER_PERCENT;
    uint64_t headroom = store->limit_pages - HEADROOM_BATCHES * batch_pages(store) - HEADROOM_PAGES;

    return share < headroom ? share : headroom;
}

uint64_t store_low_water(const struct store *store)
{
    return store_high_water(store) - batch_pages(store) / 2;
}

int batch_check_space(struct batch *batch, const struct space *space)
{
    const struct store *store = batch->store;
    uint64_t used;
    int code = store_used_pages(store, batch->txn, &used);

    /* One batch's worth stays free in any case: deletion needs pages too. */
    if (code == 0 && used + space->pages > store->limit_pages - batch_pages(store)) {
        code = NO_ROOM;
    }
    return code == 0 ? batch_check_blocks(batch, space->blocks) : code;
}

/* ---- making room ---- */

int batch_make_space(struct batch *batch, const struct space *space)
{
    int code = batch_make_pages(batch, space->pages);

    return code == 0 ? batch_make_blocks(batch, space->blocks) : code;
}

static int batch_make_pages(struct batch *batch, uint64_t pages)
{
    uint64_t mark = store_high_water(batch->store);
    uint64_t scanned = 0;
    uint64_t used_before = 0; /* the hand evicted */

    while (batch->evictions < batch->evict_budget && batch->delete_budget > 0) {
        size_t budget_before = batch->delete_budget;
        enum hand hand;
        uint64_t used;
        int code = store_used_pages(batch->store, batch->txn, &used);

        if (code == 0 && used_before > used) {
            batch->evicted_pages += used_before - used;
        }
        if (code != 0 || used + pages <= mark) {
            return code;
        }
        used_before = 0;
        mark = store_low_water(batch->store);
        /* What is unlinked already goes first: it is of no use to anyone. */
        uint64_t wanted = used + pages - mark;
        code = batch_reclaim(batch, wanted < RECLAIM_STEP_PIECES ? RECLAIM_STEP_PIECES : (size_t)wanted);
        if (code != 0) {
            return code;
        }
        if (batch->delete_budget < budget_before) {
            continue;
        }
        used_before = used;
        code = evict_one(batch, &scanned, &hand);
        if (code != 0 || hand == HAND_NOTHING) {
            return code;
        }
    }
    return 0;
}

/* Moves the hand until one object is evicted, or it has passed all of them twice: the first time takes the marks. */
static int evict_one(struct batch *batch, uint64_t *scanned, enum hand *out_hand)
{
    unsigned wraps = 0;

    *out_hand = HAND_NOTHING;
    while (wraps <= 2) {
        uint64_t object_id = batch->hand;
        MDB_val key = {.mv_size = sizeof(object_id), .mv_data = &object_id};
        MDB_val data;
        bool evicted;
        int code = mdb_cursor_get(batch->cursors[TABLE_OBJECTS], &key, &data, MDB_SET_RANGE);

        if (code == MDB_NOTFOUND) {
            batch->hand = 0;
            wraps++;
            continue;
        }
        if (code == 0) {
            code = number_of_key(key, &object_id);
        }
        if (code != 0) {
            return code;
        }
        batch->hand = object_id + 1;
        *scanned += 1;
        code = evict_at(batch, object_id, span_of_value(data), *scanned <= EVICT_MAX_SCAN, &evicted);
        if (code != 0) {
            return code;
        }
        if (evicted) {
            *out_hand = HAND_EVICTED;
            return wrap_hand(batch);
        }
    }
    return 0;
}

/* A hand that has passed the newest object begins anew at once, not when it is needed next: until then a batch may have
 * added objects behind it, and it would run after the newest ones for ever and never see the others again. */
static int wrap_hand(struct batch *batch)
{
    MDB_val key = {.mv_size = sizeof(batch->hand), .mv_data = &batch->hand};
    MDB_val data;
    int code = mdb_cursor_get(batch->cursors[TABLE_OBJECTS], &key, &data, MDB_SET_RANGE);

    if (code == MDB_NOTFOUND) {
        batch->hand = 0;
        return 0;
    }
    return code;
}

static int evict_at(struct batch *batch, uint64_t object_id, struct span value, bool respect_mark, bool *out_evicted)
{
    struct object_row row;
    int code = 0;

    *out_evicted = false;
    if (sieve_take_mark(batch->store->sieve, object_id) && respect_mark) {
        return 0;
    }
    /* A damaged row goes at once; its entry in the index, which cannot be found from here, at its next look-up. */
    if (object_row_read(value, object_id, &row)) {
        if (!pins_begin_deletion(batch->store->pins, row.body_id)) {
            return 0;
        }
        store_note_eviction(batch->store, row.hash);
        code = batch_unlink(batch, row.hash, object_id);
    }
    if (code == 0) {
        code = batch_drop_object(batch, object_id);
    }
    if (code == 0) {
        batch->evictions++;
        *out_evicted = true;
    }
    return code;
}

/* Makes pages freed before usable. Each writes the row `state`: a transaction that changes nothing would not count. */
static int commit_tiny(struct store *store)
{
    int code = 0;

    for (unsigned i = 0; i < TINY_COMMITS && code == 0; i++) {
        struct batch batch;
        code = batch_begin(store, &batch);
        if (code == 0) {
            code = batch_commit(&batch);
        }
    }
    return code;
}

/* One batch of nothing but deletion. `share`: the part of the usual budget that it may use. */
static int make_room_step(struct store *store, const struct space *space, unsigned share, bool *out_enough)
{
    struct batch batch;
    uint64_t used = 0;
    int code = batch_begin(store, &batch);

    if (code != 0) {
        return code;
    }
    batch.evict_budget = (batch.evict_budget + share - 1) / share;
    batch.delete_budget = (batch.delete_budget + share - 1) / share;
    size_t budget_before = batch.delete_budget;
    code = batch_make_space(&batch, space);
    if (code == 0) {
        code = store_used_pages(store, batch.txn, &used);
    }
    if (code != 0) {
        batch_abort(&batch);
        return code;
    }
    bool stuck = batch.evictions == 0 && batch.delete_budget == budget_before;
    *out_enough = stuck || (used + space->pages <= store_high_water(store) && store_blocks_fit(store, space->blocks));
    return batch_commit(&batch);
}

int store_make_room(struct store *store, const struct space *space, unsigned attempt)
{
    bool enough = false;
    int code = commit_tiny(store); /* deleting copies pages: it needs some, too */

    for (unsigned i = 0; i < ROOM_MAX_BATCHES && !enough && code == 0; i++) {
        code = make_room_step(store, space, 1u << attempt, &enough);
    }
    return code == 0 ? commit_tiny(store) : code;
}

int store_evict_to_limit(struct store *store)
{
    uint64_t before = UINT64_MAX;

    for (;;) {
        struct batch batch;
        uint64_t used = 0;
        int code = batch_begin(store, &batch);

        if (code != 0) {
            return code;
        }
        code = batch_make_pages(&batch, 0);
        if (code == 0) {
            code = store_used_pages(store, batch.txn, &used);
        }
        if (code == 0 && used > store_high_water(store) && used >= before) {
            code = NO_ROOM; /* what is left cannot be evicted */
        }
        if (code != 0) {
            batch_abort(&batch);
            return code;
        }
        code = batch_commit(&batch);
        if (code != 0 || used <= store_high_water(store)) {
            return code;
        }
        before = used;
    }
}
