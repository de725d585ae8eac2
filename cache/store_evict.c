/* store_evict.c: how full the store is, what is deleted, in what order.
 *
 * Accounting: the pages in use are the sum of what mdb_stat says of every table, inside the transaction too. Pages
 * freed by batch N can be used again by batch N+2, so that a few batches' worth must stay free for the store to turn
 * over without touching the end of the map: that is the headroom above the high-water mark. Eviction begins there and
 * ends at the low-water mark, half a batch below: it deletes in lots, whose pages were read ahead (store_prefetch.c).
 *
 * Deletion is in two steps, so that a batch stays small whatever is removed: unlinking (index, object) at once, the
 * pieces as far as the batch's budget goes; the rest waits in `pending` and is deleted in slices by later batches, as
 * are bodies that are being sent. Deleting a piece reads its page: LMDB wants the header.
 *
 * Eviction is SIEVE: the hand walks from old to new ids, takes the mark of a visited object and goes on, evicts the
 * first without one, and wraps around. An object being sent counts as visited. */
#include <stdlib.h>
#include <string.h>

#include "cache/store_internal.h"

enum {
    HIGH_WATER_PERCENT = 92,
    HEADROOM_BATCHES = 3,
    HEADROOM_PAGES = 64,      /* the pages a batch copies beside its own: the paths to what it changes */
    SMALL_STORE_SHARE = 16,   /* a batch is at most this part of a store without a body file */
    SPLIT_STORE_SHARE = 64,   /* of one with: an eighth of what either file keeps */
    RECLAIM_STEP_PIECES = 64, /* the least deleted at a time when space is wanted */
    ROOM_MAX_BATCHES = 64,    /* that one store_make_room commits */
    EVICT_MAX_SCAN = 65536,   /* a batch: then marks are ignored; bounds its time */
    FIRST_RECLAIM_COUNT = 64,
    TINY_COMMITS = 2, /* after which pages freed before are usable */
};

enum hand {
    HAND_EVICTED,
    HAND_NOTHING, /* no object that could be evicted */
};

static uint64_t batch_pages(const struct store *store);
static int batch_make_pages(struct batch *batch, uint64_t pages);
static int delete_body(struct batch *batch, uint64_t body_id, size_t max_rows, bool *out_all);
static int delete_pieces(struct batch *batch, uint64_t body_id, size_t max_pieces, bool *out_all);
static int evict_one(struct batch *batch, uint64_t *scanned, enum hand *out_hand);
static int wrap_hand(struct batch *batch);
static int evict_at(struct batch *batch, uint64_t object_id, struct span value, bool respect_mark, bool *out_evicted);
static int delete_row(struct batch *batch, enum table table, uint64_t name);

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
    /* Of both files' size: it stays the same wherever the border is. */
    uint64_t share = store->size_bytes / (store->max_blocks > 0 ? SPLIT_STORE_SHARE : SMALL_STORE_SHARE);

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

/* ---- deleting ---- */

int batch_unlink(struct batch *batch, struct key_hash hash, uint64_t object_id)
{
    struct index_row row = {.len = 0};
    struct variant variant;
    struct span rest;
    char bytes[INDEX_KEY_BYTES];
    MDB_val key = {.mv_size = sizeof(bytes), .mv_data = bytes};
    MDB_val data;

    index_key_write(hash, bytes);
    int code = mdb_get(batch->txn, batch->store->tables[TABLE_INDEX], &key, &data);
    if (code != 0) {
        return code == MDB_NOTFOUND ? 0 : code;
    }
    bool found = false;
    if (index_row_check(span_of_value(data), hash, &rest)) {
        while (variant_next(&rest, &variant)) {
            if (variant.object_id == object_id) {
                found = true;
            } else if (!index_row_add(&row, variant)) {
                return MDB_CORRUPTED; /* it came out of a row of this size */
            }
        }
        if (!found) {
            return 0;
        }
    }
    if (row.len == 0) {
        return batch_delete(batch, TABLE_INDEX, &key); /* a damaged row, too: nothing in it can be found any more */
    }
    struct span sealed = index_row_seal(&row, hash);
    data = (MDB_val){.mv_size = sealed.len, .mv_data = row.bytes};
    return batch_put(batch, TABLE_INDEX, &key, &data);
}

int batch_evict_object(struct batch *batch, uint64_t object_id)
{
    struct object_row row;
    MDB_val key = {.mv_size = sizeof(object_id), .mv_data = &object_id};
    MDB_val data;
    int code = mdb_get(batch->txn, batch->store->tables[TABLE_OBJECTS], &key, &data);

    if (code == 0 && object_row_read(span_of_value(data), object_id, &row)) {
        store_note_eviction(batch->store, row.hash);
        code = batch_unlink(batch, row.hash, object_id);
    }
    if (code == 0) {
        code = batch_drop_object(batch, object_id);
    }
    return code == MDB_NOTFOUND ? 0 : code;
}

/* The ids of an object's bodies, each once; 0 where nothing of its row is good. With both copies of a body's id damaged
 * its pieces are left to a check of the whole store; so are those of further slices with the one copy of theirs. */
static size_t bodies_of(struct span value, uint64_t object_id, uint64_t out_bodies[SLICES_MAX + 1])
{
    struct object_row row;
    struct record record;
    size_t count = 0;
    struct span encoded = span_skip(value, OBJECT_PREFIX_BYTES + CHECK_BYTES);
    bool decoded = record_decode(encoded, &record) == ERR_OK && record.object_id == object_id;

    if (object_row_read(value, object_id, &row)) {
        out_bodies[count++] = row.body_id;
    } else if (decoded && body_id_valid(record.body_id)) {
        out_bodies[count++] = record.body_id;
    }
    for (size_t i = 0; decoded && i < record.slices.len / SLICE_BYTES; i++) {
        uint64_t body_id = slice_in(record.slices, i).body_id;
        size_t known = 0;
        while (known < count && out_bodies[known] != body_id) {
            known++;
        }
        if (known == count) {
            out_bodies[count++] = body_id;
        }
    }
    return count;
}

int batch_drop_object(struct batch *batch, uint64_t object_id)
{
    uint64_t bodies[SLICES_MAX + 1];
    MDB_val key = {.mv_size = sizeof(object_id), .mv_data = &object_id};
    MDB_val data;
    int code = mdb_get(batch->txn, batch->store->tables[TABLE_OBJECTS], &key, &data);

    if (code != 0) {
        return code == MDB_NOTFOUND ? 0 : code;
    }
    size_t count = bodies_of(span_of_value(data), object_id, bodies);
    code = delete_row(batch, TABLE_OBJECTS, object_id);
    for (size_t i = 0; i < count && code == 0; i++) {
        code = batch_drop_body(batch, bodies[i]);
    }
    return code;
}

int batch_drop_body(struct batch *batch, uint64_t body_id)
{
    struct store *store = batch->store;
    bool pinned = !pins_begin_deletion(store->pins, body_id);
    bool all = false;
    int code = 0;

    if (!pinned) {
        code = delete_body(batch, body_id, batch->delete_budget, &all);
    }
    if (code != 0 || all) {
        return code == 0 ? delete_row(batch, TABLE_PENDING, body_id) : code;
    }
    char kind = PENDING_RECLAIM;
    MDB_val key = {.mv_size = sizeof(body_id), .mv_data = &body_id};
    MDB_val data = {.mv_size = sizeof(kind), .mv_data = &kind};
    code = batch_put(batch, TABLE_PENDING, &key, &data);
    if (code == 0 && store_reclaim_later(store, body_id)) { /* else the row is there: the next open finds it */
        store->reclaim[store->reclaim_count - 1].waiting = pinned;
    }
    return code;
}

static int delete_row(struct batch *batch, enum table table, uint64_t name)
{
    MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};

    return batch_delete(batch, table, &key);
}

/* What lies in the body file first: that is few rows, and gives most of the space back. */
static int delete_body(struct batch *batch, uint64_t body_id, size_t max_rows, bool *out_all)
{
    size_t budget_before = batch->delete_budget;
    int code = 0;

    *out_all = true;
    if (batch->store->blocks != NULL) {
        code = batch_drop_extents(batch, body_id, max_rows, out_all);
    }
    size_t dropped = budget_before - batch->delete_budget;
    return code == 0 && *out_all ? delete_pieces(batch, body_id, max_rows - dropped, out_all) : code;
}

static int delete_pieces(struct batch *batch, uint64_t body_id, size_t max_pieces, bool *out_all)
{
    *out_all = false;
    for (size_t deleted = 0;; deleted++) {
        uint64_t name = piece_key(body_id, 0);
        uint64_t got;
        MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};
        MDB_val data;
        int code = mdb_cursor_get(batch->pieces, &key, &data, MDB_SET_RANGE);

        if (code == 0) {
            code = number_of_key(key, &got);
        }
        if (code == MDB_NOTFOUND || (code == 0 && got >> PIECE_NUMBER_BITS != body_id)) {
            *out_all = true;
            return 0;
        }
        if (code != 0 || deleted == max_pieces) {
            return code;
        }
        code = batch_check_value(batch, key, data);
        if (code == 0) {
            code = mdb_cursor_del(batch->pieces, 0);
        }
        if (code != 0) {
            return code;
        }
        batch->delete_budget -= batch->delete_budget > 0;
    }
}

/* ---- bodies that wait ---- */

bool store_reclaim_later(struct store *store, uint64_t body_id)
{
    if (store->reclaim_count == store->reclaim_capacity) {
        size_t capacity = store->reclaim_capacity == 0 ? FIRST_RECLAIM_COUNT : store->reclaim_capacity * 2;
        struct reclaim *grown = realloc(store->reclaim, capacity * sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        store->reclaim = grown;
        store->reclaim_capacity = capacity;
    }
    store->reclaim[store->reclaim_count] = (struct reclaim){.body_id = body_id};
    store->reclaim_count++;
    return true;
}

int batch_reclaim(struct batch *batch, size_t max_pieces)
{
    struct store *store = batch->store;
    size_t budget_before = batch->delete_budget;
    int code = 0;

    for (size_t i = 0; i < store->reclaim_count && code == 0; i++) {
        struct reclaim *entry = &store->reclaim[i];
        size_t deleted = budget_before - batch->delete_budget;
        bool all = false;

        if (batch->delete_budget == 0 || deleted >= max_pieces) {
            break;
        }
        entry->waiting = !entry->done && !pins_begin_deletion(store->pins, entry->body_id);
        if (entry->done || entry->waiting) {
            continue;
        }
        size_t limit = max_pieces - deleted < batch->delete_budget ? max_pieces - deleted : batch->delete_budget;
        code = delete_body(batch, entry->body_id, limit, &all);
        if (code == 0 && all) {
            code = delete_row(batch, TABLE_PENDING, entry->body_id);
            entry->done = true;
        }
    }
    return code;
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
        int code = mdb_cursor_get(batch->objects, &key, &data, MDB_SET_RANGE);

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
    int code = mdb_cursor_get(batch->objects, &key, &data, MDB_SET_RANGE);

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
