/* store_walk.c: all keys of the store, one after the other, for `larder vary`.
 *
 * Each step is a snapshot of its own, so that a long walk keeps no page from being used again; what is stored or goes
 * meanwhile may or may not be seen. As everywhere, nothing of the disk is believed. */
#include <string.h>

#include "cache/store_internal.h"

enum {
    WALK_ROWS = 4096,                   /* looked at in one snapshot */
    WALK_ARENA_BYTES = 4 * 1024 * 1024, /* for one key; a row holds some 400 variants at most */
};

struct walk {
    struct store_reader *reader;
    size_t min_variants;
    struct arena arena; /* of the key at hand */
    char at[INDEX_KEY_BYTES];
    bool begun; /* `at` was looked at */
    bool ended;
    bool has_key;
    struct stored_key key;
    uint64_t keys;
};

static size_t count_variants(struct span variants)
{
    struct variant variant;
    size_t count = 0;

    while (variant_next(&variants, &variant)) {
        count++;
    }
    return count;
}

static bool read_object(struct store_reader *reader, uint64_t object_id, struct record *out_record)
{
    MDB_val name = {.mv_size = sizeof(object_id), .mv_data = &object_id};
    MDB_val data;
    struct object_row row;

    if (mdb_get(reader->txn, reader->store->tables[TABLE_OBJECTS], &name, &data) != 0 ||
        !object_row_read(span_of_value(data), object_id, &row) || record_decode(row.record, out_record) != ERR_OK ||
        out_record->body_id != row.body_id) {
        return false;
    }
    out_record->head_override = (struct span){NULL, 0}; /* it lies in the map */
    return true;
}

/* The key's text lies in front of each of its bodies. */
static bool read_key(struct store_reader *reader, const struct record *record, struct arena *arena,
                     struct span *out_text)
{
    char *text = arena_alloc_text(arena, record->key_len);
    size_t have = 0;

    for (uint64_t n = 0; text != NULL && have < record->key_len; n++) {
        struct span piece;
        if (reader_piece(reader, record->body_id, n, n == 0, &piece) != 0 || piece.len == 0) {
            return false;
        }
        piece = span_take(piece, record->key_len - have);
        memcpy(text + have, piece.data, piece.len);
        have += piece.len;
    }
    *out_text = (struct span){text, record->key_len};
    return text != NULL;
}

/* What the row at hand says, copied. False: of it nothing can be read. */
static bool take_key(struct walk *walk, struct span variants)
{
    size_t capacity = count_variants(variants);
    struct stored_key key = {.variants = arena_alloc(&walk->arena, capacity * sizeof(*key.variants))};
    struct variant variant;

    while (key.variants != NULL && variant_next(&variants, &variant)) {
        struct stored_variant *out = &key.variants[key.count];
        if (read_object(walk->reader, variant.object_id, &out->record) &&
            arena_copy(&walk->arena, variant.selection, &out->selection)) {
            key.count++;
        }
    }
    walk->key = key;
    return key.count >= walk->min_variants && key.count > 0 &&
           read_key(walk->reader, &key.variants[0].record, &walk->arena, &walk->key.text);
}

/* Is it no response's row? A note has neither variants nor a body, so that hardly any key is read for it. */
static bool is_note(struct walk *walk, struct span variants)
{
    struct variant variant;
    struct record record;
    struct span key;
    bool note = count_variants(variants) == 1 && variant_next(&variants, &variant) &&
                read_object(walk->reader, variant.object_id, &record) && record.body_len == 0 &&
                read_key(walk->reader, &record, &walk->arena, &key) && !key_is_response(key);

    arena_reset(&walk->arena);
    return note;
}

static void step(struct walk *walk, MDB_cursor *cursor)
{
    MDB_val key = {.mv_size = sizeof(walk->at), .mv_data = walk->at};
    MDB_val data;
    int code = mdb_cursor_get(cursor, &key, &data, walk->begun ? MDB_SET_RANGE : MDB_FIRST);

    if (code == 0 && walk->begun && key.mv_size == sizeof(walk->at) &&
        memcmp(key.mv_data, walk->at, sizeof(walk->at)) == 0) {
        code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    for (unsigned i = 0; i < WALK_ROWS && code == 0 && key.mv_size == sizeof(walk->at); i++) {
        struct key_hash hash;
        struct span variants;
        memcpy(walk->at, key.mv_data, sizeof(walk->at));
        memcpy(&hash.high, walk->at, sizeof(hash.high));
        memcpy(&hash.low, walk->at + sizeof(hash.high), sizeof(hash.low));
        walk->begun = true;
        bool good = index_row_check(span_of_value(data), hash, &variants);
        bool note = good && is_note(walk, variants);
        walk->keys += note ? 0 : 1;
        if (good && !note && count_variants(variants) >= walk->min_variants && take_key(walk, variants)) {
            walk->has_key = true;
            return;
        }
        code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    walk->ended = code != 0 || key.mv_size != sizeof(walk->at);
}

static void on_step(void *arg) /* guarded_fn */
{
    struct walk *walk = arg;
    struct store *store = walk->reader->store;
    MDB_cursor *cursor;

    walk->ended = true; /* unless it goes on */
    if (reader_begin(walk->reader) != 0) {
        return;
    }
    if (store_open_cursor(walk->reader->txn, store->tables[TABLE_INDEX], &cursor) == 0) {
        walk->ended = false;
        step(walk, cursor);
        mdb_cursor_close(cursor);
    }
    reader_end(walk->reader);
}

bool store_each_key(struct store_reader *reader, size_t min_variants, store_key_fn visit, void *arg, uint64_t *out_keys)
{
    struct walk walk = {.reader = reader, .min_variants = min_variants};
    bool more = true;

    arena_init(&walk.arena, WALK_ARENA_BYTES);
    while (more && !walk.ended) {
        walk.has_key = false;
        arena_reset(&walk.arena);
        if (!guard_run(reader->store, on_step, &walk)) {
            break;
        }
        more = !walk.has_key || visit(arg, &walk.key);
    }
    arena_finish(&walk.arena);
    *out_keys = walk.keys;
    return !store_failed(reader->store);
}
