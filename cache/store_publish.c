/* store_publish.c: a body whose pieces are all there becomes an object, or a slice of one (RFC 9111 §3.3, §3.4).
 *
 * All of it happens in the batch's transaction, so that an interval map never names bytes that are not there: whoever
 * fetched a slice decided by the validator it saw then; here, where one thread changes the maps, it is decided again by
 * the object that there is now. */
#include <errno.h>
#include <string.h>

#include "cache/head.h"
#include "cache/store_batch.h"
#include "cache/vary.h"

enum {
    RECORD_MAX_BYTES = RECORD_MAX_HEAD_BYTES + 8192,
    JOIN_MEMORY_BYTES = 4 * 1024 * 1024, /* two heads, as text and taken apart */
};

/* What becomes of a partial response. */
enum joined {
    JOINED_NEW,     /* an object of its own, in place of what cannot be combined with it */
    JOINED_ADDED,   /* a slice of the object that is there */
    JOINED_DROPPED, /* nothing: the bytes are there already, or there is no room in the map */
};

/* How long the stream is that the record's new body must hold. */
static uint64_t stream_length(const struct record *record)
{
    uint64_t body_len = record->body_len;

    if (record_is_partial(record)) {
        struct slice slice = slice_in(record->slices, 0);
        body_len = slice.end - slice.first;
    }
    return (uint64_t)record->key_len + record->head_len + body_len;
}

/* Is the last piece of the stream there, and of the right length? */
static int is_complete(struct batch *batch, const struct store_op *op, bool *out_complete)
{
    uint64_t total = stream_length(op->record);
    uint64_t last = total == 0 ? 0 : (total - 1) / STORE_PIECE_BYTES;
    uint64_t name = piece_key(op->body_id, last);
    MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};
    MDB_val data;
    int code = batch_get(batch, TABLE_CHUNKS, &key, &data);

    *out_complete = code == 0 && data.mv_size == total - last * STORE_PIECE_BYTES + CHECK_BYTES;
    if (code == MDB_NOTFOUND) {
        uint64_t end;
        code = batch_last_block(batch, op->body_id, &end);
        *out_complete = code == 0 && end == last + 1;
    }
    return code == MDB_NOTFOUND ? 0 : code;
}

/* Nothing is born after the newest purge that is on the disk: see store_newest_purge. */
int batch_put_object(struct batch *batch, uint64_t object_id, struct key_hash hash, const struct record *record)
{
    struct record row = *record;
    struct buf encoded;
    MDB_val key = {.mv_size = sizeof(object_id), .mv_data = &object_id};

    buf_init(&encoded, RECORD_MAX_BYTES);
    if (row.purge_sequence > batch->purge_sequence) {
        row.purge_sequence = batch->purge_sequence;
    }
    object_row_write(&encoded, object_id, hash, row.body_id, &row);
    MDB_val data = {.mv_size = encoded.len, .mv_data = encoded.data};
    int code = encoded.failed ? ENOMEM : batch_put(batch, TABLE_OBJECTS, &key, &data);
    buf_finish(&encoded);
    return code;
}

/* A copy of the variants under the key, none if the row is damaged: the map's bytes move with the first change. */
static int read_variants(struct batch *batch, struct key_hash hash, struct index_row *out_row)
{
    char bytes[INDEX_KEY_BYTES];
    MDB_val key = {.mv_size = sizeof(bytes), .mv_data = bytes};
    MDB_val data;
    struct span variants;

    out_row->len = 0;
    index_key_write(hash, bytes);
    int code = batch_get(batch, TABLE_INDEX, &key, &data);
    if (code == 0 && index_row_check(span_of_value(data), hash, &variants)) {
        memcpy(out_row->bytes, variants.data, variants.len);
        out_row->len = variants.len;
    }
    return code == MDB_NOTFOUND ? 0 : code;
}

/* Puts the new variant in front; those it replaces, and those there is no room for, are dropped with their bodies. */
static int add_to_index(struct batch *batch, const struct store_op *op)
{
    struct index_row old;
    struct index_row row = {.len = 0};
    struct variant variant = {.object_id = op->object_id, .selection = op->selection};
    char bytes[INDEX_KEY_BYTES];
    MDB_val key = {.mv_size = sizeof(bytes), .mv_data = bytes};
    unsigned count = 1;

    index_key_write(op->key.hash, bytes);
    int code = read_variants(batch, op->key.hash, &old);
    if (code != 0) {
        return code;
    }
    if (!index_row_add(&row, variant)) {
        return EINVAL; /* the caller has looked at its length */
    }
    struct span rest = {old.bytes, old.len};
    while (code == 0 && variant_next(&rest, &variant)) {
        bool keep = count < batch->store->max_variants && !span_equal(variant.selection, op->selection);
        if (keep && index_row_add(&row, variant)) {
            count++;
        } else {
            code = batch_drop_object(batch, variant.object_id);
        }
    }
    if (code != 0) {
        return code;
    }
    struct span sealed = index_row_seal(&row, op->key.hash);
    MDB_val data = {.mv_size = sealed.len, .mv_data = row.bytes};
    return batch_put(batch, TABLE_INDEX, &key, &data);
}

/* The record of the variant that `op` would replace. `*out_found`: there is a good one; its spans lie in the map. */
static int find_replaced(struct batch *batch, const struct store_op *op, struct record *out_record, bool *out_found)
{
    struct index_row row;
    struct variant variant;
    int code = read_variants(batch, op->key.hash, &row);
    struct span rest = {row.bytes, row.len};

    *out_found = false;
    while (code == 0 && variant_next(&rest, &variant)) {
        struct object_row object;
        MDB_val key = {.mv_size = sizeof(variant.object_id), .mv_data = &variant.object_id};
        MDB_val data;

        if (!span_equal(variant.selection, op->selection)) {
            continue;
        }
        code = batch_get(batch, TABLE_OBJECTS, &key, &data);
        *out_found = code == 0 && object_row_read(span_of_value(data), variant.object_id, &object) &&
                     record_decode(object.record, out_record) == ERR_OK && out_record->object_id == variant.object_id;
        return code == MDB_NOTFOUND ? 0 : code;
    }
    return code;
}

/* The head of what a record describes: the one that a 304 gave it, else the one in front of its body, which lies in
 * LMDB with the key. False: it cannot be read, or there is no memory. */
static bool read_head(struct batch *batch, const struct record *record, struct arena *arena, struct span *out_head)
{
    size_t len = (size_t)record->key_len + record->head_len;

    if (record->head_override.len > 0) {
        *out_head = record->head_override;
        return true;
    }
    char *text = arena_alloc_text(arena, len);
    if (text == NULL) {
        return false;
    }
    for (size_t at = 0; at < len;) {
        uint64_t name = piece_key(record->body_id, at / STORE_PIECE_BYTES);
        MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};
        MDB_val data;
        struct span piece;
        if (batch_get(batch, TABLE_CHUNKS, &key, &data) != 0 || !check_strip(span_of_value(data), name, &piece) ||
            piece.len == 0) {
            return false;
        }
        size_t count = len - at < piece.len ? len - at : piece.len;
        memcpy(text + at, piece.data, count);
        at += count;
    }
    *out_head = (struct span){text + record->key_len, record->head_len};
    return true;
}

/* What names one part names the whole: `record`, the newest, gets the names of `old` in its head, where it lacks some.
 * False: they are too many, or a head cannot be read. */
static bool unite_names(struct batch *batch, const struct record *old, struct record *record, struct arena *arena)
{
    struct span head, other, united;

    if (!read_head(batch, record, arena, &head) || !read_head(batch, old, arena, &other) ||
        !head_unite_stored_names(head, other, arena, &united)) {
        return false;
    }
    if (united.data != head.data) {
        record->head_override = united;
    }
    return record->head_override.len <= RECORD_MAX_HEAD_BYTES;
}

/* With JOINED_ADDED `record` becomes that of the object that is there, with one slice more; the head is that of the
 * newest slice. `room` is for its slices, the arena for its head. */
static int join(struct batch *batch, const struct store_op *op, struct record *record, char *room, struct arena *arena,
                enum joined *joined)
{
    struct record old;
    struct slices slices;
    bool found;
    int code = find_replaced(batch, op, &old, &found);

    *joined = JOINED_NEW;
    if (code != 0 || !found || store_record_damaged(batch->store, &old)) {
        return code; /* what cannot be read is worth less than a part that can */
    }
    if (!record_is_partial(&old)) {
        *joined = JOINED_DROPPED; /* it came while the slice was being fetched */
        return 0;
    }
    if (!record_may_combine(&old, record) || !slices_read(old.slices, old.body_len, &slices)) {
        return 0;
    }
    if (slices_add(&slices, slice_in(record->slices, 0)) != SLICES_ADDED) {
        *joined = JOINED_DROPPED;
        return 0;
    }
    if (!unite_names(batch, &old, record, arena)) {
        record->head_override = op->record->head_override;
        return 0;
    }
    slices_write(&slices, room);
    record->slices = (struct span){room, slices.count * SLICE_BYTES};
    record->object_id = old.object_id;
    record->purge_sequence = old.purge_sequence; /* its oldest bytes count */
    *joined = JOINED_ADDED;
    return 0;
}

/* The body is no longer pending: it belongs to the object from now on. */
static int publish_record(struct batch *batch, struct store_op *op, struct record *record, enum joined joined)
{
    int code = batch_end_body(batch, op->body_id);

    if (joined == JOINED_NEW) {
        record->object_id = batch->next_object_id;
        store_welcome(batch->store, op->key.hash, record->object_id);
        batch->next_object_id++;
    }
    op->object_id = record->object_id;
    op->done = true;
    if (code == 0) {
        code = batch_put_object(batch, op->object_id, op->key.hash, record);
    }
    if (code == 0) {
        code = batch_own_blocks(batch, op->body_id, op->object_id);
    }
    return code == 0 && joined == JOINED_NEW ? add_to_index(batch, op) : code;
}

int batch_publish(struct batch *batch, struct store_op *op)
{
    struct record record = *op->record;
    enum joined joined = JOINED_NEW;
    char room[SLICES_MAX * SLICE_BYTES];
    bool complete = false;
    struct arena arena;
    char kind;
    int code = batch_pending_kind(batch, op->body_id, &kind);

    if (code != 0 || kind != PENDING_UNFINISHED) {
        return code; /* it was dropped, or its pieces never came */
    }
    arena_init(&arena, JOIN_MEMORY_BYTES);
    record.body_id = op->body_id;
    if (op->selection.len <= VARY_MAX_BYTES && record.head_override.len <= RECORD_MAX_HEAD_BYTES &&
        record.body_len <= STORE_MAX_STREAM_BYTES - record.key_len - record.head_len) {
        code = is_complete(batch, op, &complete);
    }
    if (code == 0 && complete && record_is_partial(&record)) {
        code = join(batch, op, &record, room, &arena, &joined);
    }
    if (code == 0 && (!complete || joined == JOINED_DROPPED)) {
        code = batch_drop_body(batch, op->body_id);
    } else if (code == 0) {
        code = publish_record(batch, op, &record, joined);
    }
    arena_finish(&arena);
    return code;
}
