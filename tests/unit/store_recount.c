/* store_recount.c: see store_recount.h. */
#include "store_recount.h"

#include <stdlib.h>
#include <string.h>

#include "cache/store_internal.h"

enum { MAX_BODIES = 65536 };

struct counting {
    MDB_txn *txn;
    MDB_dbi tables[TABLE_COUNT];
    struct recount *out;
    struct buf *why;
    uint64_t variants;
    uint64_t pieces; /* that the objects' bodies have */
    uint64_t bodies[MAX_BODIES];
    size_t body_count;
};

static bool wrong(struct counting *counting, const char *what, uint64_t number)
{
    buf_format(counting->why, "%s %llu", what, (unsigned long long)number);
    return false;
}

typedef bool (*row_fn)(struct counting *counting, MDB_val key, struct span value);

static bool each_row(struct counting *counting, MDB_dbi table, row_fn visit)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    bool good = true;

    if (mdb_cursor_open(counting->txn, table, &cursor) != 0) {
        return wrong(counting, "no cursor on table", table);
    }
    int code = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
    while (good && code == 0) {
        good = visit(counting, key, span_of_value(data));
        code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return good && (code == MDB_NOTFOUND || wrong(counting, mdb_strerror(code), table));
}

static uint64_t number_of(MDB_val key)
{
    uint64_t number = 0;

    memcpy(&number, key.mv_data, key.mv_size < sizeof(number) ? key.mv_size : sizeof(number));
    return number;
}

static bool get_object(struct counting *counting, uint64_t object_id, struct object_row *out_row)
{
    MDB_val key = {.mv_size = sizeof(object_id), .mv_data = &object_id};
    MDB_val data;

    return mdb_get(counting->txn, counting->tables[TABLE_OBJECTS], &key, &data) == 0 &&
           object_row_read(span_of_value(data), object_id, out_row);
}

static bool on_index_row(struct counting *counting, MDB_val key, struct span value) /* row_fn */
{
    struct key_hash hash;
    struct variant variant;
    struct object_row row;
    struct span rest;

    memcpy(&hash.high, key.mv_data, sizeof(hash.high));
    memcpy(&hash.low, (char *)key.mv_data + sizeof(hash.high), sizeof(hash.low));
    if (!index_row_check(value, hash, &rest) || rest.len == 0) {
        return wrong(counting, "an index row fails its check:", hash.high);
    }
    while (variant_next(&rest, &variant)) {
        counting->variants++;
        if (!get_object(counting, variant.object_id, &row) || !key_hash_equal(row.hash, hash)) {
            return wrong(counting, "a variant without its object:", variant.object_id);
        }
    }
    return true;
}

static bool on_object(struct counting *counting, MDB_val key, struct span value) /* row_fn */
{
    uint64_t object_id = number_of(key);
    struct object_row row;
    struct record record;

    if (!object_row_read(value, object_id, &row) || record_decode(row.record, &record) != ERR_OK ||
        record.object_id != object_id || record.body_id != row.body_id) {
        return wrong(counting, "an object's row is damaged:", object_id);
    }
    uint64_t total = (uint64_t)record.key_len + record.head_len + record.body_len;
    uint64_t pieces = total / STORE_PIECE_BYTES + (total % STORE_PIECE_BYTES > 0);
    uint64_t name = piece_key(row.body_id, pieces - 1);
    MDB_val last = {.mv_size = sizeof(name), .mv_data = &name};
    MDB_val data;
    if (mdb_get(counting->txn, counting->tables[TABLE_CHUNKS], &last, &data) != 0 ||
        data.mv_size != total - (pieces - 1) * STORE_PIECE_BYTES + CHECK_BYTES) {
        return wrong(counting, "an object's body has no end:", object_id);
    }
    REQUIRE(counting->body_count < MAX_BODIES);
    counting->bodies[counting->body_count++] = row.body_id;
    counting->pieces += pieces;
    counting->out->objects++;
    return true;
}

static bool on_pending(struct counting *counting, MDB_val key, struct span value) /* row_fn */
{
    (void)key;
    counting->out->pending_bodies++;
    return value.len == 1 || wrong(counting, "a pending row is damaged:", number_of(key));
}

static int compare(const void *a, const void *b)
{
    uint64_t left;
    uint64_t right;

    memcpy(&left, a, sizeof(left));
    memcpy(&right, b, sizeof(right));
    return left < right ? -1 : left > right;
}

static bool on_piece(struct counting *counting, MDB_val key, struct span value) /* row_fn */
{
    uint64_t name = number_of(key);
    uint64_t body_id = name >> PIECE_NUMBER_BITS;
    MDB_val pending = {.mv_size = sizeof(body_id), .mv_data = &body_id};
    MDB_val data;
    struct span payload;

    if (!check_strip(value, name, &payload)) {
        return wrong(counting, "a piece fails its check:", name);
    }
    if (bsearch(&body_id, counting->bodies, counting->body_count, sizeof(body_id), compare) != NULL) {
        counting->pieces--; /* to 0, if each is there once */
        return true;
    }
    return mdb_get(counting->txn, counting->tables[TABLE_PENDING], &pending, &data) == 0 ||
           wrong(counting, "a piece of nobody's body:", body_id);
}

static bool on_free_list(struct counting *counting, MDB_val key, struct span value) /* row_fn */
{
    size_t count;

    (void)key;
    memcpy(&count, value.data, sizeof(count)); /* then so many page numbers */
    counting->out->used_pages += count;        /* for the balance; taken off again */
    return true;
}

/* Used and free pages together are the file's. */
static bool count_pages(struct counting *counting, MDB_env *env)
{
    enum { FREE_LIST = 0, MAIN = 1, META_PAGES = 2 };
    MDB_dbi all[TABLE_COUNT + 2] = {FREE_LIST, MAIN};
    MDB_envinfo info;
    uint64_t used = META_PAGES;

    memcpy(all + 2, counting->tables, sizeof(counting->tables));
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        MDB_stat stat;
        REQUIRE(mdb_stat(counting->txn, all[i], &stat) == 0);
        used += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    }
    counting->out->used_pages = used;
    REQUIRE(mdb_env_info(env, &info) == 0);
    bool good = each_row(counting, FREE_LIST, on_free_list);
    if (good && counting->out->used_pages != info.me_last_pgno + 1) {
        good =
            wrong(counting, "pages that are neither used nor free:", info.me_last_pgno + 1 - counting->out->used_pages);
    }
    counting->out->used_pages = used;
    return good;
}

static bool count(struct counting *counting, MDB_env *env)
{
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (mdb_dbi_open(counting->txn, store_tables[i].name, store_tables[i].flags & ~(unsigned)MDB_CREATE,
                         &counting->tables[i]) != 0) {
            return wrong(counting, "no table", i);
        }
    }
    if (!each_row(counting, counting->tables[TABLE_INDEX], on_index_row) ||
        !each_row(counting, counting->tables[TABLE_OBJECTS], on_object) ||
        !each_row(counting, counting->tables[TABLE_PENDING], on_pending)) {
        return false;
    }
    qsort(counting->bodies, counting->body_count, sizeof(counting->bodies[0]), compare);
    if (!each_row(counting, counting->tables[TABLE_CHUNKS], on_piece)) {
        return false;
    }
    if (counting->variants != counting->out->objects) {
        return wrong(counting, "more objects than variants, or fewer:", counting->variants);
    }
    return (counting->pieces == 0 || wrong(counting, "pieces that are missing:", counting->pieces)) &&
           count_pages(counting, env);
}

bool store_recount(const char *dir, struct recount *out, struct buf *why)
{
    static struct counting counting;
    MDB_env *env;
    bool good = false;

    counting = (struct counting){.out = out, .why = why};
    *out = (struct recount){0};
    REQUIRE(mdb_env_create(&env) == 0);
    REQUIRE(mdb_env_set_maxdbs(env, TABLE_COUNT) == 0);
    int code = mdb_env_open(env, dir, MDB_RDONLY | MDB_NOLOCK, 0600);
    if (code == 0) {
        code = mdb_txn_begin(env, NULL, MDB_RDONLY, &counting.txn);
    }
    if (code != 0) {
        (void)wrong(&counting, mdb_strerror(code), 0);
    } else {
        good = count(&counting, env);
        mdb_txn_abort(counting.txn);
    }
    mdb_env_close(env);
    return good;
}
