/* store_extents.c: the part of a body that lies in the body file: which blocks, taken and given back in the same
 * transaction as everything else.
 *
 * A stream (key, head, body) of LARGE_PIECES or more lies in two places: the pieces of key and head in `chunks`, where
 * every find reads them, the rest in the body file, one piece a block. `extents` has a row for each run of blocks:
 *
 *   body id << 24 | number of its first piece, counted from the first one in the file
 *     →  u64 first block  u32 blocks  u32 number in the stream of the first piece in the file  u64 object  u64 check
 *
 * The object, 0 until the body is published and in the first row only, is for the hand that looks for blocks.
 *
 * `blocks` has the bitmap, a row for each segment that was ever used: 504 words and a check. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/store_batch.h"

enum {
    EXTENT_ROW_BYTES = 32,
    SEGMENT_BYTES_IN_ROW = BLOCKS_SEGMENT_WORDS * 8,
};

_Static_assert((int)BODIES_PAYLOAD_BYTES == (int)STORE_PIECE_BYTES, "a piece fills a block");
_Static_assert((int)SEGMENT_BYTES_IN_ROW + (int)CHECK_BYTES <= (int)PIECE_VALUE_BYTES, "a segment fits into a page");

/* A row of `extents`. */
struct extent_row {
    uint64_t body_id;
    uint64_t number; /* of its first piece, in the file */
    struct extent extent;
    uint64_t file_piece; /* number in the stream of the body's first piece in the file */
    uint64_t object_id;
};

static bool row_read(MDB_val key, MDB_val data, struct extent_row *out_row);
static int row_put(struct batch *batch, const struct extent_row *row);
static int last_row(MDB_cursor *cursor, uint64_t body_id, struct extent_row *out_row);
static int write_run(struct batch *batch, struct extent_row *last, bool first, struct span *rest);

/* ---- writing ---- */

int batch_write_blocks(struct batch *batch, uint64_t body_id, uint64_t stream_piece, struct span bytes)
{
    struct extent_row last = {.body_id = body_id, .file_piece = stream_piece};
    int code = last_row(batch->cursors[TABLE_EXTENTS], body_id, &last);
    bool first = code == MDB_NOTFOUND;

    if (code != 0 && !first) {
        return code;
    }
    if (stream_piece != last.file_piece + last.number + last.extent.count) {
        return BODY_ENDED; /* not behind what is there */
    }
    while (bytes.len > 0) {
        code = write_run(batch, &last, first, &bytes);
        if (code != 0) {
            return code;
        }
        first = false;
    }
    return 0;
}

/* Takes one run for the front of `*rest`, and writes it; `*last` is the body's last row before and after. */
static int write_run(struct batch *batch, struct extent_row *last, bool first, struct span *rest)
{
    struct store *store = batch->store;
    struct extent extent;
    uint64_t wanted = (rest->len + STORE_PIECE_BYTES - 1) / STORE_PIECE_BYTES;

    if (!blocks_take(store->blocks, wanted, &extent)) {
        return NO_ROOM;
    }
    struct body_run run = {.body_id = last->body_id, .number = last->number + last->extent.count, .extent = extent};
    struct span part = span_take(*rest, (size_t)extent.count * STORE_PIECE_BYTES);
    int code = bodies_write(store->bodies, &run, part);
    if (!first && last->extent.first + last->extent.count == extent.first &&
        last->extent.count + extent.count <= UINT32_MAX) {
        last->extent.count += extent.count;
    } else {
        last->object_id = first ? last->object_id : 0;
        last->number = run.number;
        last->extent = extent;
    }
    *rest = span_skip(*rest, part.len);
    return code == 0 ? row_put(batch, last) : code;
}

int batch_own_blocks(struct batch *batch, uint64_t body_id, uint64_t object_id)
{
    struct extent_row row;
    uint64_t name = piece_key(body_id, 0);
    MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};
    MDB_val data;
    int code = batch_get(batch, TABLE_EXTENTS, &key, &data);

    if (code != 0) {
        return code == MDB_NOTFOUND ? 0 : code;
    }
    if (!row_read(key, data, &row)) {
        return MDB_CORRUPTED; /* written by this very process a moment ago */
    }
    row.object_id = object_id;
    return row_put(batch, &row);
}

int batch_last_block(struct batch *batch, uint64_t body_id, uint64_t *out_end_piece)
{
    struct extent_row row;
    int code = last_row(batch->cursors[TABLE_EXTENTS], body_id, &row);

    if (code == 0) {
        *out_end_piece = row.file_piece + row.number + row.extent.count;
    }
    return code;
}

/* ---- giving back ---- */

int batch_drop_extents(struct batch *batch, uint64_t body_id, size_t max_rows, bool *out_all)
{
    *out_all = false;
    for (size_t dropped = 0;; dropped++) {
        struct extent_row row;
        uint64_t name = piece_key(body_id, 0);
        uint64_t got;
        MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};
        MDB_val data;
        int code = mdb_cursor_get(batch->cursors[TABLE_EXTENTS], &key, &data, MDB_SET_RANGE);

        if (code == 0) {
            code = number_of_key(key, &got);
        }
        if (code == MDB_NOTFOUND || (code == 0 && got >> PIECE_NUMBER_BITS != body_id)) {
            *out_all = true;
            return 0;
        }
        if (code != 0 || dropped == max_rows) {
            return code;
        }
        /* Blocks of a damaged row stay taken: to whom they belong is not known any more. */
        if (row_read(key, data, &row) && blocks_give_back(batch->store->blocks, row.extent) == ERR_NO_MEMORY) {
            return ENOMEM;
        }
        code = mdb_cursor_del(batch->cursors[TABLE_EXTENTS], 0);
        if (code != 0) {
            return code;
        }
        batch->delete_budget -= batch->delete_budget > 0;
    }
}

int batch_next_owner(struct batch *batch, uint64_t *body_id, uint64_t *out_object_id)
{
    struct extent_row row;
    uint64_t name = piece_key(*body_id, 0);
    MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};
    MDB_val data;
    int code = mdb_cursor_get(batch->cursors[TABLE_EXTENTS], &key, &data, MDB_SET_RANGE);

    if (code == 0) {
        code = number_of_key(key, &name);
    }
    if (code == 0) {
        *body_id = name >> PIECE_NUMBER_BITS;
        *out_object_id = row_read(key, data, &row) && row.number == 0 ? row.object_id : 0;
    }
    return code;
}

bool batch_body_behind(struct batch *batch, uint64_t body_id, uint64_t block)
{
    struct extent_row row;
    uint64_t name = piece_key(body_id, 0);
    MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};
    MDB_val data;
    int code = mdb_cursor_get(batch->cursors[TABLE_EXTENTS], &key, &data, MDB_SET_RANGE);

    while (code == 0 && row_read(key, data, &row) && row.body_id == body_id) {
        if (row.extent.first + row.extent.count > block) {
            return true;
        }
        code = mdb_cursor_get(batch->cursors[TABLE_EXTENTS], &key, &data, MDB_NEXT);
    }
    return false;
}

/* ---- reading ---- */

int reader_blocks(struct store_reader *reader, uint64_t body_id, uint64_t stream_piece, uint64_t max_pieces,
                  struct body_run *out_run)
{
    struct extent_row row;
    uint64_t name = piece_key(body_id, 0);
    MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};
    MDB_val data;
    int code = mdb_cursor_renew(reader->txn, reader->extents); /* here, and not at every find */

    if (code == 0) {
        code = mdb_cursor_get(reader->extents, &key, &data, MDB_SET_KEY);
    }
    if (code != 0) {
        store_note_code(reader->store, code);
        return code;
    }
    if (!row_read(key, data, &row)) {
        return MDB_CORRUPTED;
    }
    if (stream_piece < row.file_piece) {
        return MDB_NOTFOUND;
    }
    uint64_t number = stream_piece - row.file_piece;
    if (number >= row.extent.count) { /* not in the first run: the one that begins at it, or the last before it */
        name = piece_key(body_id, number);
        key = (MDB_val){.mv_size = sizeof(name), .mv_data = &name};
        code = mdb_cursor_get(reader->extents, &key, &data, MDB_SET_RANGE);
        if (code == MDB_NOTFOUND) {
            code = mdb_cursor_get(reader->extents, &key, &data, MDB_LAST);
        } else if (code == 0 && (!row_read(key, data, &row) || row.body_id != body_id || row.number != number)) {
            code = mdb_cursor_get(reader->extents, &key, &data, MDB_PREV);
        }
        if (code != 0) {
            return code;
        }
        if (!row_read(key, data, &row)) {
            return MDB_CORRUPTED;
        }
    }
    if (row.body_id != body_id || number < row.number || number - row.number >= row.extent.count) {
        return MDB_NOTFOUND;
    }
    uint64_t skip = number - row.number;
    uint64_t left = row.extent.count - skip;
    *out_run = (struct body_run){.body_id = body_id,
                                 .number = number,
                                 .extent = {row.extent.first + skip, left < max_pieces ? left : max_pieces}};
    return 0;
}

/* ---- the bitmap ---- */

int store_load_blocks(struct store *store, MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    int code = store_open_cursor(txn, store->tables[TABLE_BLOCKS], &cursor);

    if (code != 0) {
        return code;
    }
    /* Each row is a page of its own: all are asked for, so that the disk reads them together. */
    for (code = mdb_cursor_get(cursor, &key, &data, MDB_FIRST); code == 0;
         code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
        store_want_page(store, data);
    }
    code = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
    while (code == 0) {
        uint64_t words[BLOCKS_SEGMENT_WORDS];
        uint64_t segment;
        struct span bytes;

        code = number_of_key(key, &segment);
        if (code == 0 && (!check_strip(span_of_value(data), ~segment, &bytes) || bytes.len != sizeof(words))) {
            code = MDB_CORRUPTED;
        }
        if (code == 0) {
            memcpy(words, bytes.data, sizeof(words));
            code = blocks_load(store->blocks, segment, words) ? mdb_cursor_get(cursor, &key, &data, MDB_NEXT)
                                                              : MDB_CORRUPTED;
        }
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

int batch_save_blocks(struct batch *batch)
{
    const struct store *store = batch->store;
    const uint64_t *words;
    char row[SEGMENT_BYTES_IN_ROW + CHECK_BYTES];
    int code = 0;

    for (uint64_t segment = 0; code == 0 && blocks_next_dirty(store->blocks, &segment, &words); segment++) {
        uint64_t name = segment;
        MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};
        MDB_val data = {.mv_size = sizeof(row), .mv_data = row};
        memcpy(row, words, SEGMENT_BYTES_IN_ROW);
        uint64_t check = check_of((struct span){row, SEGMENT_BYTES_IN_ROW}, ~segment);
        memcpy(row + SEGMENT_BYTES_IN_ROW, &check, CHECK_BYTES);
        code = batch_put(batch, TABLE_BLOCKS, &key, &data);
    }
    return code;
}

/* ---- rows ---- */

static bool row_read(MDB_val key, MDB_val data, struct extent_row *out_row)
{
    struct extent_row row;
    uint64_t name;
    struct span bytes;
    uint32_t small[2];

    if (number_of_key(key, &name) != 0 || !check_strip(span_of_value(data), name, &bytes) ||
        bytes.len != EXTENT_ROW_BYTES - CHECK_BYTES) {
        return false;
    }
    memcpy(&row.extent.first, bytes.data, sizeof(row.extent.first));
    memcpy(small, bytes.data + 8, sizeof(small));
    memcpy(&row.object_id, bytes.data + 16, sizeof(row.object_id));
    row.extent.count = small[0];
    row.file_piece = small[1];
    row.body_id = name >> PIECE_NUMBER_BITS;
    row.number = name & ((UINT64_C(1) << PIECE_NUMBER_BITS) - 1);
    *out_row = row;
    return true;
}

static int row_put(struct batch *batch, const struct extent_row *row)
{
    char bytes[EXTENT_ROW_BYTES];
    uint32_t small[2] = {(uint32_t)row->extent.count, (uint32_t)row->file_piece};
    uint64_t name = piece_key(row->body_id, row->number);
    MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};
    MDB_val data = {.mv_size = sizeof(bytes), .mv_data = bytes};

    memcpy(bytes, &row->extent.first, sizeof(row->extent.first));
    memcpy(bytes + 8, small, sizeof(small));
    memcpy(bytes + 16, &row->object_id, sizeof(row->object_id));
    uint64_t check = check_of((struct span){bytes, EXTENT_ROW_BYTES - CHECK_BYTES}, name);
    memcpy(bytes + EXTENT_ROW_BYTES - CHECK_BYTES, &check, CHECK_BYTES);
    return mdb_cursor_put(batch->cursors[TABLE_EXTENTS], &key, &data, 0);
}

/* The last row of a body. MDB_NOTFOUND, `*out_row` untouched: it has none. */
static int last_row(MDB_cursor *cursor, uint64_t body_id, struct extent_row *out_row)
{
    uint64_t name = piece_key(body_id + 1, 0);
    struct extent_row row;
    MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};
    MDB_val data;
    int code = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);

    if (code == 0) {
        code = mdb_cursor_get(cursor, &key, &data, MDB_PREV);
    } else if (code == MDB_NOTFOUND) {
        code = mdb_cursor_get(cursor, &key, &data, MDB_LAST);
    }
    if (code == 0) {
        code = number_of_key(key, &name);
    }
    if (code != 0) {
        return code;
    }
    if (name >> PIECE_NUMBER_BITS != body_id) {
        return MDB_NOTFOUND;
    }
    if (!row_read(key, data, &row)) {
        return BODY_ENDED;
    }
    *out_row = row;
    return 0;
}
