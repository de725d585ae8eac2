/* store_delete.c: taking objects out of the tables, and their bodies out of both files.
 *
 * Deletion is in two steps, so that a batch stays small whatever is removed: unlinking (index, object) at once, the
 * pieces as far as the batch's budget goes; the rest waits in `pending` and is deleted in slices by later batches, as
 * are bodies that are being sent. Deleting a piece reads its page: LMDB wants the header. */
#include <stdlib.h>
#include <string.h>

#include "cache/store_batch.h"

enum { FIRST_RECLAIM_COUNT = 64 };

static int delete_body(struct batch *batch, uint64_t body_id, size_t max_rows, bool *out_all);
static int delete_pieces(struct batch *batch, uint64_t body_id, size_t max_pieces, bool *out_all);

int batch_unlink(struct batch *batch, struct key_hash hash, uint64_t object_id)
{
    struct index_row row = {.len = 0};
    struct variant variant;
    struct span rest;
    char bytes[INDEX_KEY_BYTES];
    MDB_val key = {.mv_size = sizeof(bytes), .mv_data = bytes};
    MDB_val data;

    index_key_write(hash, bytes);
    int code = batch_get(batch, TABLE_INDEX, &key, &data);
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
    int code = batch_get(batch, TABLE_OBJECTS, &key, &data);

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
    int code = batch_get(batch, TABLE_OBJECTS, &key, &data);

    if (code != 0) {
        return code == MDB_NOTFOUND ? 0 : code;
    }
    size_t count = bodies_of(span_of_value(data), object_id, bodies);
    code = batch_delete(batch, TABLE_OBJECTS, &key);
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
        return code == 0 ? batch_end_body(batch, body_id) : code;
    }
    code = batch_reclaim_body(batch, body_id);
    if (code == 0 && store_reclaim_later(store, body_id)) { /* else the row is there: the next open finds it */
        store->reclaim[store->reclaim_count - 1].waiting = pinned;
    }
    return code;
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
        int code = mdb_cursor_get(batch->cursors[TABLE_CHUNKS], &key, &data, MDB_SET_RANGE);

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
            code = mdb_cursor_del(batch->cursors[TABLE_CHUNKS], 0);
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
            code = batch_end_body(batch, entry->body_id);
            entry->done = true;
        }
    }
    return code;
}
