/* store_purges.c: the journal of purges, and the walk that finds what they made dead.
 *
 * Rows are values to the store; cache/purge.h says what is in them. The newest row is never deleted: its key is where
 * the sequence goes on after an open. */
#include <stdlib.h>
#include <string.h>

#include "cache/store_batch.h"

enum { TRIM_MAX_ROWS = 4096 }; /* a batch */

/* ---- writing ---- */

static int delete_purge(struct batch *batch, uint64_t sequence)
{
    MDB_val key = {.mv_size = sizeof(sequence), .mv_data = &sequence};

    return batch_delete(batch, TABLE_PURGES, &key);
}

int batch_apply_purge(struct batch *batch, struct store_op *op)
{
    int code = 0;

    for (size_t i = 0; i < op->purge_count && code == 0; i++) {
        const struct store_purge *purge = &op->purges[i];
        uint64_t sequence = purge->sequence;
        MDB_val key = {.mv_size = sizeof(sequence), .mv_data = &sequence};
        MDB_val data = {.mv_size = purge->row.len, .mv_data = (void *)(uintptr_t)purge->row.data};

        code = batch_put(batch, TABLE_PURGES, &key, &data);
        if (code == 0 && purge->replaced != 0) {
            code = delete_purge(batch, purge->replaced);
        }
        if (sequence > batch->purge_sequence) {
            batch->purge_sequence = sequence;
        }
    }
    op->done = true;
    return code;
}

int batch_apply_trim(struct batch *batch, struct store_op *op)
{
    uint64_t end = op->sequence < batch->purge_sequence ? op->sequence : batch->purge_sequence;
    int code = 0;

    for (unsigned i = 0; i < TRIM_MAX_ROWS && code == 0; i++) {
        uint64_t sequence = 0;
        MDB_val key;
        MDB_val data;

        code = mdb_cursor_get(batch->cursors[TABLE_PURGES], &key, &data, MDB_FIRST);
        if (code == 0) {
            code = number_of_key(key, &sequence);
        }
        if (code == MDB_NOTFOUND || (code == 0 && sequence >= end)) {
            op->done = true;
            return 0;
        }
        code = code == 0 ? delete_purge(batch, sequence) : code;
    }
    return code;
}

int batch_apply_remove_object(struct batch *batch, struct store_op *op)
{
    MDB_val key = {.mv_size = sizeof(op->object_id), .mv_data = &op->object_id};
    MDB_val data;
    struct object_row row;
    int code = batch_get(batch, TABLE_OBJECTS, &key, &data);

    if (code != 0) {
        return code == MDB_NOTFOUND ? 0 : code;
    }
    struct record record;
    if (!object_row_read(span_of_value(data), op->object_id, &row) || record_decode(row.record, &record) != ERR_OK ||
        record.purge_sequence != op->sequence) {
        return 0; /* a 304 has made it young meanwhile */
    }
    struct key_hash hash = row.hash;
    code = batch_unlink(batch, hash, op->object_id);
    op->done = true;
    return code == 0 ? batch_drop_object(batch, op->object_id) : code;
}

/* ---- the journal ---- */

uint64_t store_newest_purge(const struct store *store)
{
    return atomic_load_explicit(&store->purge_sequence, memory_order_acquire);
}

struct purge_call {
    struct store_reader *reader;
    uint64_t sequence; /* in: not below; out: found */
    size_t len;
    bool good; /* it was read, and is no longer than a row may be */
    int code;
    char bytes[STORE_PURGE_MAX_BYTES];
};

static void on_purge(void *arg) /* guarded_fn */
{
    struct purge_call *call = arg;
    uint64_t from = call->sequence;
    MDB_val key = {.mv_size = sizeof(from), .mv_data = &from};
    MDB_val data;
    MDB_cursor *cursor;

    call->good = false;
    call->code = reader_begin(call->reader);
    if (call->code != 0) {
        return;
    }
    call->code = store_open_cursor(call->reader->txn, call->reader->store->tables[TABLE_PURGES], &cursor);
    if (call->code == 0) {
        call->code = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
        if (call->code == 0) {
            call->code = number_of_key(key, &call->sequence);
        }
        if (call->code == 0 && data.mv_size <= sizeof(call->bytes)) {
            memcpy(call->bytes, data.mv_data, data.mv_size);
            call->len = data.mv_size;
            call->good = true;
        }
        mdb_cursor_close(cursor);
    }
    reader_end(call->reader);
}

enum err store_each_purge(struct store_reader *reader, uint64_t from, store_purge_fn visit, void *arg)
{
    struct purge_call *call = malloc(sizeof(*call));
    enum err error = ERR_OK;

    if (call == NULL) {
        return ERR_NO_MEMORY;
    }
    call->reader = reader;
    while (error == ERR_OK) {
        call->sequence = from;
        if (!guard_run(reader->store, on_purge, call)) {
            error = ERR_IO;
        } else if (call->code == MDB_NOTFOUND) {
            break;
        } else if (call->code != 0 || call->sequence < from || call->sequence == UINT64_MAX) {
            error = ERR_IO;
        } else if (!visit(arg, call->sequence, (struct span){call->bytes, call->good ? call->len : 0})) {
            break;
        } else {
            from = call->sequence + 1;
        }
    }
    free(call);
    return error;
}

/* ---- the walk ---- */

struct walk_call {
    struct store_reader *reader;
    struct store_walk *walk;
    struct arena *arena;
    struct store_object object;
    bool found;
};

/* Key and head of an object, as stored. */
static bool read_prefix(struct store_reader *reader, struct arena *arena, struct store_object *object)
{
    const struct record *record = &object->record;
    uint64_t len = (uint64_t)record->key_len + record->head_len;
    char *text = arena_alloc_text(arena, (size_t)len);
    struct span override;
    struct span piece;

    if (text == NULL || !arena_copy(arena, record->head_override, &override)) {
        return false;
    }
    for (uint64_t at = 0; at < len; at += piece.len) {
        if (reader_piece(reader, record->body_id, at / STORE_PIECE_BYTES, at == 0, &piece) != 0 || piece.len == 0) {
            return false;
        }
        memcpy(text + at, piece.data, len - at < piece.len ? len - at : piece.len);
    }
    object->key = (struct span){text, record->key_len};
    object->head = override.len > 0 ? override : (struct span){text + record->key_len, record->head_len};
    object->record.head_override = (struct span){NULL, 0};
    return true;
}

/* One row: the next one, whatever it is. */
static void on_walk(void *arg) /* guarded_fn */
{
    struct walk_call *call = arg;
    struct store_reader *reader = call->reader;
    struct store_object *object = &call->object;
    uint64_t object_id = call->walk->next_id;
    struct object_row row;
    MDB_cursor *cursor;
    MDB_val key = {.mv_size = sizeof(object_id), .mv_data = &object_id};
    MDB_val data;

    call->walk->failed = true;
    if (reader_begin(reader) != 0) {
        return;
    }
    if (store_open_cursor(reader->txn, reader->store->tables[TABLE_OBJECTS], &cursor) == 0) {
        int code = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
        call->walk->ended = code == MDB_NOTFOUND;
        call->walk->failed = code != 0 && code != MDB_NOTFOUND;
        if (code == 0 && (number_of_key(key, &object_id) != 0 || object_id < call->walk->next_id)) {
            call->walk->failed = true;
        } else if (code == 0) {
            call->walk->next_id = object_id + 1;
            call->found = object_row_read(span_of_value(data), object_id, &row) &&
                          record_decode(row.record, &object->record) == ERR_OK &&
                          object->record.body_id == row.body_id && object->record.purge_sequence < call->walk->sequence;
            object->hash = row.hash;
            if (call->found && !read_prefix(reader, call->arena, object)) {
                object->key = (struct span){NULL, 0};
            }
        }
        mdb_cursor_close(cursor);
    }
    reader_end(reader);
}

bool store_walk_next(struct store_reader *reader, struct store_walk *walk, struct arena *arena,
                     struct store_object *out_object)
{
    struct walk_call call = {.reader = reader, .walk = walk, .arena = arena};

    if (!guard_run(reader->store, on_walk, &call)) {
        walk->failed = true;
        return false;
    }
    if (call.found) {
        *out_object = call.object;
    }
    return call.found;
}
