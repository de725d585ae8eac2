/* store_find.c: finding what is stored under a key: index row, record, the pieces that head and short bodies lie in.
 *
 * As in store_read.c: what touches the map is guarded, nothing of the disk is believed. */
#include <string.h>

#include "cache/store_internal.h"
#include "cache/vary.h"

enum { FIND_TRIES = 8 }; /* each retry means that a batch was committed within the few microseconds of a find */

/* A stream being copied out of its pieces: [key][head][body]. */
struct copy {
    struct span key;   /* compared */
    uint64_t head_len; /* of the stored head */
    char *head;        /* NULL: an override is in force, skip it */
    uint64_t body_len; /* bytes wanted */
    char *body;
};

enum look {
    LOOK_FOUND,
    LOOK_NO,    /* this one not */
    LOOK_RETRY, /* with a new snapshot */
};

static void on_find(void *arg);
static enum store_found find_once(struct store_reader *reader, const struct key *key, const struct headers *request,
                                  struct arena *arena, struct stored *out_stored, bool *out_retry);
static enum look look_at(struct store_reader *reader, const struct key *key, const struct variant *variant,
                         uint64_t generation, struct arena *arena, struct stored *out_stored);
static enum err copy_stored(struct store_reader *reader, const struct key *key, struct arena *arena,
                            struct stored *stored);
static enum err copy_piece(struct copy *copy, uint64_t at, struct span piece);

struct find_call {
    struct store_reader *reader;
    const struct key *key;
    const struct headers *request;
    struct arena *arena;
    struct stored stored;
    bool retry;
    enum store_found found;
};

enum store_found store_find(struct store_reader *reader, const struct key *key, const struct headers *request,
                            struct arena *arena, struct stored *out_stored)
{
    struct find_call call = {.reader = reader, .key = key, .request = request, .arena = arena, .retry = true};

    for (unsigned i = 0; i < FIND_TRIES && call.retry; i++) {
        if (store_is_away(reader->store) || !guard_run(reader->store, on_find, &call)) {
            return STORE_ABSENT; /* a pin that it had taken stays: nothing will ever be deleted */
        }
    }
    if (call.retry) {
        return STORE_ABSENT;
    }
    if (call.found == STORE_FOUND) {
        *out_stored = call.stored;
    }
    return call.found;
}

void store_touch(struct store *store, uint64_t object_id)
{
    sieve_mark(store->sieve, object_id);
}

static void on_find(void *arg) /* guarded_fn */
{
    struct find_call *call = arg;

    call->found = find_once(call->reader, call->key, call->request, call->arena, &call->stored, &call->retry);
}

/* Variants that a find has passed: they are newer than the one it finds. */
struct passed {
    struct span selection; /* of one of them */
    bool any;
    bool mixed; /* their Vary names different fields */
};

static void pass(struct passed *passed, struct span selection)
{
    passed->mixed = passed->mixed || (passed->any && !vary_same_fields(passed->selection, selection));
    passed->selection = selection;
    passed->any = true;
}

static enum store_found find_once(struct store_reader *reader, const struct key *key, const struct headers *request,
                                  struct arena *arena, struct stored *out_stored, bool *out_retry)
{
    /* Before the snapshot: a body deleted after this moment shows in the generation, or is in the snapshot. */
    uint64_t generation = pins_generation(reader->store->pins);
    enum store_found found = STORE_ABSENT;
    enum look look = LOOK_NO;
    struct passed passed = {.any = false};
    struct variant variant;
    struct span rest;

    *out_retry = false;
    if (reader_begin(reader) != 0) {
        return STORE_ABSENT;
    }
    if (find_read_index(reader, key->hash, &rest)) {
        while (look == LOOK_NO && variant_next(&rest, &variant)) {
            if (vary_matches(variant.selection, request, arena)) {
                look = look_at(reader, key, &variant, generation, arena, out_stored);
            } else {
                found = STORE_OTHER_VARIANTS;
            }
            if (look == LOOK_NO) {
                pass(&passed, variant.selection);
            }
        }
    }
    if (look == LOOK_FOUND && passed.any) {
        out_stored->overtaken = passed.mixed || !vary_same_fields(passed.selection, out_stored->selection);
    }
    reader_end(reader);
    if (look == LOOK_FOUND) {
        sieve_mark(reader->store->sieve, out_stored->record.object_id);
        return STORE_FOUND;
    }
    *out_retry = look == LOOK_RETRY;
    return found;
}

bool find_read_index(struct store_reader *reader, struct key_hash hash, struct span *out_variants)
{
    char bytes[INDEX_KEY_BYTES];
    struct span row;

    index_key_write(hash, bytes);
    int code = reader_row(reader, TABLE_INDEX, (struct span){bytes, sizeof(bytes)}, &row);
    if (code != 0) {
        store_note_code(reader->store, code);
        return false;
    }
    if (!index_row_check(row, hash, out_variants)) {
        store_note_damage(reader->store, hash, 0);
        return false;
    }
    return true;
}

/* The object of one variant: its record, a pin where the body is long, and what is copied at once. */
static enum look look_at(struct store_reader *reader, const struct key *key, const struct variant *variant,
                         uint64_t generation, struct arena *arena, struct stored *out_stored)
{
    struct store *store = reader->store;
    struct stored stored = {0};

    if (!find_read_record(reader, key, variant->object_id, &stored.record) ||
        !arena_copy(arena, variant->selection, &stored.selection)) {
        return LOOK_NO;
    }
    const struct record *record = &stored.record;
    uint64_t prefix_len = (uint64_t)record->key_len + record->head_len;
    stored.pinned =
        record_is_partial(record) || record->body_len > find_pieces_wanted(record) * STORE_PIECE_BYTES - prefix_len;
    if (stored.pinned) {
        switch (store_acquire_stored(store, record, generation)) {
        case PIN_OK:
            break;
        case PIN_RETRY:
            return LOOK_RETRY;
        case PIN_DYING:
        case PIN_FAILED:
            return LOOK_NO;
        }
    }
    enum err error = copy_stored(reader, key, arena, &stored);
    if (error != ERR_OK) {
        if (stored.pinned) {
            store_unpin_stored(store, record);
        }
        if (error == ERR_DAMAGED) {
            store_note_damage(store, key->hash, variant->object_id);
        }
        return LOOK_NO;
    }
    *out_stored = stored;
    return LOOK_FOUND;
}

bool store_record_damaged(struct store *store, const struct record *record)
{
    bool damaged = store_body_damaged(store, record->body_id);

    for (size_t i = 0; i < record->slices.len / SLICE_BYTES; i++) {
        damaged = damaged || store_body_damaged(store, slice_in(record->slices, i).body_id);
    }
    return damaged;
}

bool find_read_record(struct store_reader *reader, const struct key *key, uint64_t object_id, struct record *out_record)
{
    struct store *store = reader->store;
    struct span bytes;
    struct object_row row;
    int code = reader_row(reader, TABLE_OBJECTS, span_of_number(&object_id), &bytes);

    if (code != 0) {
        store_note_code(store, code);
        store_note_damage(store, key->hash, object_id); /* an index row that points nowhere */
        return false;
    }
    if (!object_row_read(bytes, object_id, &row) || record_decode(row.record, out_record) != ERR_OK ||
        out_record->object_id != object_id || out_record->body_id != row.body_id ||
        out_record->body_len > STORE_MAX_STREAM_BYTES - out_record->key_len - out_record->head_len) {
        store_note_damage(store, key->hash, object_id);
        return false;
    }
    if (store_record_damaged(store, out_record)) {
        store_note_damage(store, key->hash, object_id);
        return false;
    }
    return out_record->key_len == key->text.len; /* else a collision of hashes, not damage */
}

/* How many pieces a find reads: all of a small stream, else those that key and head lie in. Of a partial response those
 * only: what follows in their body is one slice of several. */
uint64_t find_pieces_wanted(const struct record *record)
{
    uint64_t prefix_len = (uint64_t)record->key_len + record->head_len;
    uint64_t whole = (prefix_len + record->body_len + STORE_PIECE_BYTES - 1) / STORE_PIECE_BYTES;
    uint64_t prefix = (prefix_len + STORE_PIECE_BYTES - 1) / STORE_PIECE_BYTES;

    return whole <= STORE_WHOLE_PIECES && !record_is_partial(record) ? whole : prefix;
}

/* Not reader_piece: that is for many, one after another. */
static bool find_piece(struct store_reader *reader, uint64_t body_id, uint64_t number, struct span *out_payload)
{
    uint64_t name = piece_key(body_id, number);
    struct span value;
    int code = reader_row(reader, TABLE_CHUNKS, span_of_number(&name), &value);

    if (code != 0) {
        store_note_code(reader->store, code);
        return false;
    }
    return value.len <= PIECE_VALUE_BYTES && check_strip(value, name, out_payload);
}

static enum err copy_stored(struct store_reader *reader, const struct key *key, struct arena *arena,
                            struct stored *stored)
{
    struct record *record = &stored->record;
    uint64_t prefix_len = (uint64_t)record->key_len + record->head_len;
    bool partial = record_is_partial(record);
    uint64_t total = partial ? prefix_len : prefix_len + record->body_len;
    uint64_t wanted = find_pieces_wanted(record);
    uint64_t body_len =
        wanted * STORE_PIECE_BYTES < total ? wanted * STORE_PIECE_BYTES - prefix_len : total - prefix_len;
    struct copy copy = {.key = key->text, .head_len = record->head_len, .body_len = body_len};

    if (record->head_override.len > 0) {
        if (!arena_copy(arena, record->head_override, &record->head_override)) {
            return ERR_ARENA_FULL;
        }
        stored->head = record->head_override;
    } else {
        record->head_override = (struct span){NULL, 0}; /* not even its address is kept: it is in the map */
        copy.head = arena_alloc_text(arena, record->head_len);
        if (copy.head == NULL) {
            return ERR_ARENA_FULL;
        }
        stored->head = (struct span){copy.head, record->head_len};
    }
    if (!arena_copy(arena, record->slices, &record->slices)) {
        return ERR_ARENA_FULL;
    }
    copy.body = arena_alloc_text(arena, (size_t)body_len);
    if (copy.body == NULL) {
        return ERR_ARENA_FULL;
    }
    stored->body_start = (struct span){copy.body, (size_t)body_len};
    for (uint64_t n = 0; n < wanted; n++) {
        uint64_t at = n * STORE_PIECE_BYTES;
        struct span piece;
        uint64_t expected = total - at < STORE_PIECE_BYTES ? total - at : STORE_PIECE_BYTES;
        if (!find_piece(reader, record->body_id, n, &piece) || piece.len < expected ||
            (piece.len > expected && !partial)) {
            return ERR_DAMAGED;
        }
        enum err error = copy_piece(&copy, at, piece);
        if (error != ERR_OK) {
            return error;
        }
    }
    return ERR_OK;
}

/* The bytes of `piece` (which begins at `at` of the stream) that lie in [start, start + len). */
static struct span overlap(struct span piece, uint64_t at, uint64_t start, uint64_t len, size_t *out_offset)
{
    uint64_t from = at > start ? at : start;
    uint64_t to = at + piece.len < start + len ? at + piece.len : start + len;

    if (from >= to) {
        *out_offset = 0;
        return (struct span){piece.data, 0};
    }
    *out_offset = (size_t)(from - start);
    return (struct span){piece.data + (from - at), (size_t)(to - from)};
}

/* ERR_NOT_FOUND: another key (a collision of hashes). */
static enum err copy_piece(struct copy *copy, uint64_t at, struct span piece)
{
    size_t offset;
    struct span part = overlap(piece, at, 0, copy->key.len, &offset);

    if (part.len > 0 && memcmp(part.data, copy->key.data + offset, part.len) != 0) {
        return ERR_NOT_FOUND;
    }
    part = overlap(piece, at, copy->key.len, copy->head_len, &offset);
    if (part.len > 0 && copy->head != NULL) {
        memcpy(copy->head + offset, part.data, part.len);
    }
    part = overlap(piece, at, copy->key.len + copy->head_len, copy->body_len, &offset);
    if (part.len > 0) {
        memcpy(copy->body + offset, part.data, part.len);
    }
    return ERR_OK;
}

/* ---- all variants ---- */

struct variants_call {
    struct store_reader *reader;
    const struct key *key;
    struct arena *arena;
    struct index_row row; /* a copy */
    struct variant variant;
    struct stored stored;
    bool begun;
    bool good; /* `stored` is there */
};

static void on_read_row(void *arg) /* guarded_fn */
{
    struct variants_call *call = arg;
    struct span variants;

    call->row.len = 0;
    call->begun = reader_begin(call->reader) == 0;
    if (call->begun && find_read_index(call->reader, call->key->hash, &variants)) {
        memcpy(call->row.bytes, variants.data, variants.len);
        call->row.len = variants.len;
    }
}

static void on_read_variant(void *arg) /* guarded_fn */
{
    struct variants_call *call = arg;

    call->stored = (struct stored){.selection = call->variant.selection};
    call->good = find_read_record(call->reader, call->key, call->variant.object_id, &call->stored.record) &&
                 copy_stored(call->reader, call->key, call->arena, &call->stored) == ERR_OK;
    call->stored.body_start = (struct span){NULL, 0};
}

enum store_found store_each_variant(struct store_reader *reader, const struct key *key, struct arena *arena,
                                    store_variant_fn visit, void *arg)
{
    struct variants_call call = {.reader = reader, .key = key, .arena = arena};
    enum store_found found = STORE_ABSENT;

    if (!guard_run(reader->store, on_read_row, &call) || !call.begun) {
        return STORE_ABSENT;
    }
    struct span rest = {call.row.bytes, call.row.len};
    bool more = true;
    while (more && variant_next(&rest, &call.variant)) {
        if (!guard_run(reader->store, on_read_variant, &call)) {
            return found;
        }
        if (call.good) {
            found = STORE_FOUND;
            more = visit(arg, &call.stored);
        }
    }
    reader_end(reader);
    return found;
}
