/* store_meta.c: the tables, and what is read when they are opened: identity, ids, bodies that wait for deletion. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "cache/store_batch.h"

/* "larder", 0, version 3 of the tables; also says the byte order. It begins the row `identity` of `meta`, in every
 * version there will be: that is how an older larder knows a newer one's file (store_format.c). */
#define FORMAT UINT64_C(0x030072656472616C)

enum { VERSION_BITS = 8, VERSION_SHIFT = 56 };

const struct store_table store_tables[TABLE_COUNT] = {
    [TABLE_INDEX] = {"index", 0},
    [TABLE_OBJECTS] = {"objects", MDB_INTEGERKEY},
    [TABLE_CHUNKS] = {"chunks", MDB_INTEGERKEY},
    [TABLE_EXTENTS] = {"extents", MDB_INTEGERKEY},
    [TABLE_BLOCKS] = {"blocks", MDB_INTEGERKEY},
    [TABLE_PENDING] = {"pending", MDB_INTEGERKEY},
    [TABLE_PURGES] = {"purges", MDB_INTEGERKEY},
    [TABLE_META] = {"meta", 0},
};

static int create_tables(struct store *store, MDB_txn *txn);
static int read_meta(struct store *store, MDB_txn *txn);
static int read_ids(struct store *store, MDB_txn *txn);
static int read_pending(struct store *store, MDB_txn *txn, uint64_t *out_last_body);
static int find_map(struct store *store);

/* The handles of our tables; they are kept when `txn` is committed. With `create` they are made. */
static int open_handles(struct store *store, MDB_txn *txn, unsigned create)
{
    int code = 0;

    for (size_t i = 0; i < TABLE_COUNT && code == 0; i++) {
        unsigned flags;
        code = mdb_dbi_open(txn, store_tables[i].name, store_tables[i].flags | create, &store->tables[i]);
        if (code == MDB_NOTFOUND) {
            code = MDB_INCOMPATIBLE; /* something else's tables */
        }
        if (code == 0) {
            code = mdb_dbi_flags(txn, store->tables[i], &flags);
        }
        if (code == 0 && flags != store_tables[i].flags) {
            code = MDB_INCOMPATIBLE;
        }
    }
    return code;
}

int store_open_tables(struct store *store)
{
    MDB_stat main_stat;
    MDB_txn *txn;
    int code = mdb_txn_begin(store->env, NULL, 0, &txn);

    if (code != 0) {
        return code;
    }
    code = mdb_stat(txn, 1, &main_stat); /* 1: the main table, which holds the names of ours */
    bool fresh = code == 0 && main_stat.ms_entries == 0;
    if (code == 0) {
        code = open_handles(store, txn, fresh ? MDB_CREATE : 0);
    }
    if (code == 0 && fresh) {
        code = create_tables(store, txn);
    }
    if (code == 0) {
        code = read_meta(store, txn);
    }
    if (code == 0) {
        code = read_ids(store, txn);
    }
    if (code != 0) {
        mdb_txn_abort(txn);
        return code;
    }
    code = mdb_txn_commit(txn); /* writes nothing unless the tables are new; keeps their handles */
    return code == 0 ? find_map(store) : code;
}

int store_open_tables_readonly(struct store *store)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);

    if (code != 0) {
        return code;
    }
    code = open_handles(store, txn, 0);
    if (code == 0) {
        code = read_meta(store, txn);
    }
    if (code != 0) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn); /* keeps the handles */
}

unsigned store_format(void)
{
    return (unsigned)(FORMAT >> VERSION_SHIFT);
}

unsigned store_format_of(struct span identity)
{
    uint64_t format = 0;

    if (identity.len >= sizeof(format)) {
        memcpy(&format, identity.data, sizeof(format));
    }
    return ((format ^ FORMAT) << VERSION_BITS) == 0 ? (unsigned)(format >> VERSION_SHIFT) : 0;
}

static MDB_val meta_key(const char *name)
{
    return (MDB_val){.mv_size = strlen(name), .mv_data = (void *)(uintptr_t)name};
}

/* LMDB does not tell where its map is. A small row lies in a leaf, whose page begins with its number. */
static int find_map(struct store *store)
{
    MDB_val key = meta_key("identity");
    MDB_val data;
    uint64_t number;
    int code = store->figures == NULL ? mdb_txn_begin(store->env, NULL, MDB_RDONLY, &store->figures) : EINVAL;

    if (code != 0) {
        return code;
    }
    code = mdb_get(store->figures, store->tables[TABLE_META], &key, &data);
    if (code == 0) {
        uint64_t in_page = (uintptr_t)data.mv_data % store->page_bytes;
        const char *page = (const char *)data.mv_data - in_page;
        memcpy(&number, page, sizeof(number));
        if (number >= store->map_pages) {
            code = MDB_CORRUPTED;
        } else {
            store->map = page - number * store->page_bytes;
        }
    }
    mdb_txn_reset(store->figures);
    return code;
}

static int create_tables(struct store *store, MDB_txn *txn)
{
    struct {
        struct identity_row row;
        uint64_t check;
    } value = {.row = {.format = FORMAT, .piece_bytes = STORE_PIECE_BYTES}};
    MDB_val key = meta_key("identity");
    MDB_val data = {.mv_size = sizeof(value), .mv_data = &value};

    if (getrandom(&value.row.secret, sizeof(value.row.secret), 0) != (ssize_t)sizeof(value.row.secret)) {
        return errno;
    }
    value.check = check_of((struct span){(const char *)&value.row, sizeof(value.row)}, FORMAT);
    return mdb_put(txn, store->tables[TABLE_META], &key, &data, 0);
}

static int read_meta(struct store *store, MDB_txn *txn)
{
    MDB_val key = meta_key("identity");
    MDB_val data;
    struct span bytes;
    struct identity_row identity;
    int code = mdb_get(txn, store->tables[TABLE_META], &key, &data);

    if (code != 0) {
        return code == MDB_NOTFOUND ? MDB_INCOMPATIBLE : code;
    }
    if (data.mv_size != sizeof(identity) + CHECK_BYTES) {
        return MDB_INCOMPATIBLE;
    }
    memcpy(&identity, data.mv_data, sizeof(identity));
    if (identity.format != FORMAT || identity.piece_bytes != STORE_PIECE_BYTES) {
        return MDB_INCOMPATIBLE;
    }
    if (!check_strip(span_of_value(data), FORMAT, &bytes)) {
        return MDB_CORRUPTED;
    }
    store->secret = identity.secret;
    return 0;
}

int store_write_state(struct store *store, MDB_txn *txn, const struct state_row *state)
{
    struct {
        struct state_row row;
        uint64_t check;
    } value = {.row = *state};
    MDB_val key = meta_key("state");
    MDB_val data = {.mv_size = sizeof(value), .mv_data = &value};

    value.check = check_of((struct span){(const char *)&value.row, sizeof(value.row)}, FORMAT);
    return mdb_put(txn, store->tables[TABLE_META], &key, &data, 0);
}

/* The last key of a table of numbers, 0 if it is empty. */
static int last_key(MDB_txn *txn, MDB_dbi table, uint64_t *out_key)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    int code = store_open_cursor(txn, table, &cursor);

    if (code != 0) {
        return code;
    }
    *out_key = 0;
    code = mdb_cursor_get(cursor, &key, &data, MDB_LAST);
    if (code == 0) {
        code = number_of_key(key, out_key);
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

/* No id is ever given twice: beyond what `state` says (it was written with the last batch), and beyond what is there
 * (should `state` be damaged). MDB_CORRUPTED: there is nothing beyond. */
static int read_ids(struct store *store, MDB_txn *txn)
{
    struct state_row state = {.next_object_id = 1, .next_body_id = 1};
    struct span bytes;
    uint64_t last_object;
    uint64_t last_piece;
    uint64_t last_extent;
    uint64_t last_pending;
    uint64_t last_purge;
    MDB_val key = meta_key("state");
    MDB_val data;
    int code = mdb_get(txn, store->tables[TABLE_META], &key, &data);

    if (code == 0 && data.mv_size == sizeof(state) + CHECK_BYTES && check_strip(span_of_value(data), FORMAT, &bytes)) {
        memcpy(&state, bytes.data, sizeof(state));
    }
    if (code != 0 && code != MDB_NOTFOUND) {
        return code;
    }
    code = last_key(txn, store->tables[TABLE_OBJECTS], &last_object);
    if (code == 0) {
        code = last_key(txn, store->tables[TABLE_CHUNKS], &last_piece);
    }
    if (code == 0) {
        code = last_key(txn, store->tables[TABLE_EXTENTS], &last_extent);
    }
    if (code == 0) {
        code = last_key(txn, store->tables[TABLE_PURGES], &last_purge);
    }
    if (code == 0) {
        code = read_pending(store, txn, &last_pending);
    }
    if (code != 0) {
        return code;
    }
    if (last_object == UINT64_MAX || last_purge == UINT64_MAX) {
        return MDB_CORRUPTED;
    }
    uint64_t last_body = (last_piece > last_extent ? last_piece : last_extent) >> PIECE_NUMBER_BITS;
    last_body = last_body > last_pending ? last_body : last_pending;
    store->next_object_id = state.next_object_id > last_object ? state.next_object_id : last_object + 1;
    store->next_body_id = state.next_body_id > last_body ? state.next_body_id : last_body + 1;
    store->hand = state.hand;
    store->body_hand = state.body_hand;
    store->sequence = state.sequence;
    atomic_store(&store->purge_sequence, last_purge);
    return 0;
}

/* Nobody writes or sends these any more: their pieces are deleted behind, by the first batches. */
static int read_pending(struct store *store, MDB_txn *txn, uint64_t *out_last_body)
{
    uint64_t body_id = 0;
    uint64_t before = 0;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    int code = store_open_cursor(txn, store->tables[TABLE_PENDING], &cursor);

    if (code != 0) {
        return code;
    }
    store->reclaim_count = 0;
    code = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
    while (code == 0) {
        if (number_of_key(key, &body_id) != 0 || !body_id_valid(body_id) || body_id <= before) {
            code = MDB_CORRUPTED; /* not rising: a damaged tree can go on for ever */
        } else if (!store_reclaim_later(store, body_id)) {
            code = ENOMEM;
        } else {
            before = body_id;
            code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    *out_last_body = body_id;
    atomic_store(&store->reclaim_waiting, store->reclaim_count > 0);
    return code == MDB_NOTFOUND ? 0 : code;
}
