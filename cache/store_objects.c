/* store_objects.c: objects one after another, and whole bodies. See store_tools.h.
 *
 * A step copies a few rows of `objects`, and what the index says of them, in one snapshot; keys, heads and bodies are
 * read afterwards through store_read, a run of pieces at a time. Whatever cannot be read is looked for again before it
 * is called damaged: a larder that runs may have removed it a moment before. */
#include "cache/store_tools.h"

#include <errno.h>
#include <string.h>

#include "cache/store_internal.h"
#include "http/xxh3.h"

enum {
    STEP_ROWS = 32,
    STEP_BYTES = 1024 * 1024,       /* of overrides and selections in a step; one more row always fits */
    PREFIX_MAX_BYTES = 1024 * 1024, /* key and head together */
    READ_BYTES = STORE_READ_MAX_PIECES * STORE_PIECE_BYTES,
};

struct row {
    uint64_t object_id;
    enum store_fault fault;
    struct key_hash hash;
    struct record record;
    struct span selection;
    unsigned variant;
    unsigned variants;
};

struct step {
    struct store_reader *reader;
    struct arena *arena; /* of what the rows borrow */
    uint64_t next_id;    /* to begin with */
    uint64_t last_id;    /* to end with */
    struct row rows[STEP_ROWS];
    size_t count;
    int code;
};

static void on_last_id(void *arg);
static void on_step(void *arg);
static int take_row(struct step *step, uint64_t object_id, MDB_val data);
static bool look_up_index(struct step *step, struct row *row);
static bool visit_row(struct store_reader *reader, const struct store_tour *walk, const struct row *row,
                      struct buf *prefix);
static enum store_fault read_prefix(struct store_reader *reader, const struct row *row, struct buf *prefix);
static bool still_there(struct store_reader *reader, uint64_t object_id, uint64_t body_id);

const char *store_fault_text(enum store_fault fault)
{
    switch (fault) {
    case STORE_FAULT_NONE:
        return "good";
    case STORE_FAULT_ROW:
        return "its record is damaged";
    case STORE_FAULT_INDEX:
        return "nothing leads to it";
    case STORE_FAULT_HEAD:
        return "its key or head is damaged";
    case STORE_FAULT_KEY:
        return "it lies under another key";
    case STORE_FAULT_BODY:
        return "its body is damaged";
    case STORE_FAULT_DIGEST:
        return "its body is not what was stored";
    case STORE_FAULT_GONE:
        return "it was removed meanwhile";
    case STORE_FAULT_UNREADABLE:
        return "it cannot be read";
    }
    UNREACHABLE();
}

/* ---- the walk ---- */

enum err store_walk_objects(struct store_reader *reader, const struct store_tour *walk)
{
    struct arena arena;
    struct buf prefix;
    struct step step = {.reader = reader, .arena = &arena, .next_id = 1};
    enum err error = ERR_OK;
    bool more = true;

    arena_init(&arena, STEP_BYTES + RECORD_MAX_HEAD_BYTES + STORE_PIECE_BYTES);
    buf_init(&prefix, PREFIX_MAX_BYTES);
    if (!guard_run(reader->store, on_last_id, &step)) {
        step.code = MDB_CORRUPTED;
    }
    while (step.code == 0 && more && step.next_id <= step.last_id) {
        arena_reset(&arena);
        step.count = 0;
        if (!guard_run(reader->store, on_step, &step)) {
            step.code = MDB_CORRUPTED;
        }
        for (size_t i = 0; i < step.count && more; i++) {
            more = visit_row(reader, walk, &step.rows[i], &prefix);
        }
        more = more && step.count > 0;
    }
    if (step.code != 0 && step.code != MDB_NOTFOUND) {
        error = err_from_mdb(step.code);
    }
    buf_finish(&prefix);
    arena_finish(&arena);
    return error;
}

/* Where the walk ends: what is stored while it goes on is left to the next one. */
static void on_last_id(void *arg) /* guarded_fn */
{
    struct step *step = arg;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val data;

    step->code = reader_begin(step->reader);
    if (step->code != 0) {
        return;
    }
    step->code = store_open_cursor(step->reader->txn, step->reader->store->tables[TABLE_OBJECTS], &cursor);
    if (step->code == 0) {
        step->code = mdb_cursor_get(cursor, &key, &data, MDB_LAST);
        if (step->code == 0) {
            step->code = number_of_key(key, &step->last_id);
        }
        mdb_cursor_close(cursor);
    }
    reader_end(step->reader);
}

static void on_step(void *arg) /* guarded_fn */
{
    struct step *step = arg;
    MDB_cursor *cursor = NULL;
    uint64_t object_id = step->next_id;
    MDB_val key = {.mv_size = sizeof(object_id), .mv_data = &object_id};
    MDB_val data;

    step->code = reader_begin(step->reader);
    if (step->code != 0) {
        return;
    }
    step->code = store_open_cursor(step->reader->txn, step->reader->store->tables[TABLE_OBJECTS], &cursor);
    if (step->code == 0) {
        step->code = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
        while (step->code == 0) {
            step->code = number_of_key(key, &object_id);
            if (step->code == 0 && object_id < step->next_id) {
                step->code = MDB_CORRUPTED; /* not rising: it could go on for ever */
            }
            if (step->code != 0 || object_id > step->last_id || step->arena->used_bytes > STEP_BYTES) {
                break;
            }
            step->code = take_row(step, object_id, data);
            step->next_id = object_id + 1;
            if (step->code != 0 || step->count == STEP_ROWS) {
                break;
            }
            step->code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
        }
        mdb_cursor_close(cursor);
    }
    reader_end(step->reader);
}

static int take_row(struct step *step, uint64_t object_id, MDB_val data)
{
    struct row *row = &step->rows[step->count];
    struct object_row stored;

    *row = (struct row){.object_id = object_id, .fault = STORE_FAULT_ROW};
    step->count++;
    if (!object_row_read(span_of_value(data), object_id, &stored)) {
        return 0;
    }
    row->hash = stored.hash;
    if (record_decode(stored.record, &row->record) != ERR_OK || row->record.object_id != object_id ||
        row->record.body_id != stored.body_id ||
        row->record.body_len > STORE_MAX_STREAM_BYTES - row->record.key_len - row->record.head_len) {
        row->record = (struct record){0};
        return 0;
    }
    if (!arena_copy(step->arena, row->record.head_override, &row->record.head_override) ||
        !arena_copy(step->arena, row->record.slices, &row->record.slices)) {
        return ENOMEM;
    }
    row->fault = STORE_FAULT_INDEX;
    return look_up_index(step, row) ? 0 : ENOMEM;
}

/* Finds the object among the variants of its key. False: no memory. */
static bool look_up_index(struct step *step, struct row *row)
{
    char bytes[INDEX_KEY_BYTES];
    MDB_val key = {.mv_size = sizeof(bytes), .mv_data = bytes};
    MDB_val data;
    struct variant variant;
    struct span rest;

    index_key_write(row->hash, bytes);
    if (mdb_get(step->reader->txn, step->reader->store->tables[TABLE_INDEX], &key, &data) != 0 ||
        !index_row_check(span_of_value(data), row->hash, &rest)) {
        return true;
    }
    while (variant_next(&rest, &variant)) {
        row->variants++;
        if (variant.object_id == row->object_id) {
            row->variant = row->variants;
            row->fault = STORE_FAULT_NONE;
            if (!arena_copy(step->arena, variant.selection, &row->selection)) {
                return false;
            }
        }
    }
    return true;
}

static bool visit_row(struct store_reader *reader, const struct store_tour *walk, const struct row *row,
                      struct buf *prefix)
{
    struct store_item item = {
        .object_id = row->object_id,
        .fault = row->fault,
        .stored = {.record = row->record, .selection = row->selection},
        .variant = row->variant,
        .variants = row->variants,
    };

    bool record_only = walk->records_only && row->record.purge_sequence >= walk->heads_before;

    /* A note has no body: so of what has one, nothing need be read to tell. */
    if (row->fault != STORE_FAULT_ROW && (!record_only || row->record.body_len == 0)) {
        enum store_fault fault = read_prefix(reader, row, prefix);
        if (fault == STORE_FAULT_GONE) {
            return true;
        }
        if (fault != STORE_FAULT_NONE) {
            item.fault = fault;
        } else if (record_only) {
            item.note = !key_is_response(span_take(buf_span(prefix), row->record.key_len));
        } else {
            item.key = span_take(buf_span(prefix), row->record.key_len);
            item.stored.head = row->record.head_override.len > 0 ? row->record.head_override
                                                                 : span_skip(buf_span(prefix), row->record.key_len);
            if (!key_hash_equal(key_hash_of(item.key, reader->store->secret), row->hash)) {
                item.fault = STORE_FAULT_KEY;
            }
            item.note = item.fault == STORE_FAULT_NONE && !key_is_response(item.key);
        }
    }
    return (item.note && !walk->with_notes) || walk->visit(walk->arg, &item);
}

static size_t on_prefix(void *arg, const struct span *runs, size_t count) /* store_read_fn */
{
    struct buf *prefix = arg;
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        buf_add(prefix, runs[i]);
        used += runs[i].len;
    }
    return used;
}

/* Key and head, as first stored, into `prefix`. */
static enum store_fault read_prefix(struct store_reader *reader, const struct row *row, struct buf *prefix)
{
    uint64_t wanted = (uint64_t)row->record.key_len + row->record.head_len;
    enum err error = wanted <= PREFIX_MAX_BYTES ? ERR_OK : ERR_DAMAGED;
    size_t used;

    buf_clear(prefix);
    while (error == ERR_OK && prefix->len < wanted) {
        error = store_read(reader, row->record.body_id, prefix->len, (size_t)wanted - prefix->len, on_prefix, prefix,
                           &used);
        if (error == ERR_OK && prefix->failed) {
            return STORE_FAULT_UNREADABLE;
        }
    }
    if (error == ERR_OK) {
        return STORE_FAULT_NONE;
    }
    if (!still_there(reader, row->object_id, row->record.body_id)) {
        return STORE_FAULT_GONE;
    }
    return error == ERR_IO ? STORE_FAULT_UNREADABLE : STORE_FAULT_HEAD;
}

struct there_call {
    struct store_reader *reader;
    uint64_t object_id;
    uint64_t body_id;
    bool there;
};

static void on_there(void *arg) /* guarded_fn */
{
    struct there_call *call = arg;
    struct object_row row;
    MDB_val key = {.mv_size = sizeof(call->object_id), .mv_data = &call->object_id};
    MDB_val data;

    if (reader_begin(call->reader) != 0) {
        return;
    }
    int code = mdb_get(call->reader->txn, call->reader->store->tables[TABLE_OBJECTS], &key, &data);
    call->there =
        code == 0 && object_row_read(span_of_value(data), call->object_id, &row) && row.body_id == call->body_id;
    reader_end(call->reader);
}

static bool still_there(struct store_reader *reader, uint64_t object_id, uint64_t body_id)
{
    struct there_call call = {.reader = reader, .object_id = object_id, .body_id = body_id};

    /* A store that failed under it: then it is there, and cannot be read. */
    return !guard_run(reader->store, on_there, &call) || call.there;
}

/* ---- bodies ---- */

struct body_read {
    XXH3_state_t *digest;
    store_take_fn take;
    void *arg;
    uint64_t body_id;
    uint64_t at;  /* of that body's stream */
    uint64_t end; /* of what is wanted of it */
    bool ended;   /* by `take` */
};

static size_t on_body(void *arg, const struct span *runs, size_t count) /* store_read_fn */
{
    struct body_read *read = arg;
    size_t used = 0;

    for (size_t i = 0; i < count && !read->ended; i++) {
        (void)XXH3_128bits_update(read->digest, runs[i].data, runs[i].len); /* fails only for NULL */
        read->ended = read->take != NULL && !read->take(read->arg, runs[i]);
        used += runs[i].len;
    }
    read->at += used;
    return used;
}

/* Where the body lies: in one stream, or each slice of it in one. False: no more. */
static bool next_part(const struct record *record, size_t index, struct body_read *read)
{
    if (!record_is_partial(record)) {
        read->body_id = record->body_id;
        read->at = (uint64_t)record->key_len + record->head_len;
        read->end = read->at + record->body_len;
        return index == 0;
    }
    if (index >= record->slices.len / SLICE_BYTES) {
        return false;
    }
    struct slice slice = slice_in(record->slices, index);
    read->body_id = slice.body_id;
    read->at = slice.offset;
    read->end = slice.offset + (slice.end - slice.first);
    return true;
}

uint64_t store_body_bytes(const struct record *record)
{
    struct body_read part = {0};
    uint64_t bytes = 0;

    for (size_t i = 0; next_part(record, i, &part); i++) {
        bytes += part.end - part.at;
    }
    return bytes;
}

static enum err read_part(struct store_reader *reader, struct body_read *read)
{
    enum err error = ERR_OK;
    size_t used;

    while (error == ERR_OK && !read->ended && read->at < read->end) {
        uint64_t rest = read->end - read->at;
        error = store_read(reader, read->body_id, read->at, rest < READ_BYTES ? (size_t)rest : READ_BYTES, on_body,
                           read, &used);
    }
    return error;
}

enum store_fault store_read_body(struct store_reader *reader, const struct record *record, store_take_fn take,
                                 void *arg)
{
    struct body_read read = {.digest = XXH3_createState(), .take = take, .arg = arg};
    enum store_fault fault = STORE_FAULT_NONE;
    XXH128_canonical_t digest;
    enum err error = ERR_OK;

    if (read.digest == NULL) {
        return STORE_FAULT_UNREADABLE;
    }
    (void)XXH3_128bits_reset(read.digest); /* fails only for NULL */
    for (size_t i = 0; error == ERR_OK && !read.ended && next_part(record, i, &read); i++) {
        error = read_part(reader, &read);
    }
    if (error != ERR_OK) {
        fault = !still_there(reader, record->object_id, record->body_id) ? STORE_FAULT_GONE
                : error == ERR_IO                                        ? STORE_FAULT_UNREADABLE
                                                                         : STORE_FAULT_BODY;
    } else if (!read.ended && !record_is_partial(record)) { /* whose digest is not the body's */
        XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(read.digest));
        fault = memcmp(digest.digest, record->digest, DIGEST_BYTES) == 0 ? STORE_FAULT_NONE : STORE_FAULT_DIGEST;
    }
    XXH3_freeState(read.digest);
    return fault;
}
