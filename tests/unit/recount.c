/* recount.c: see recount.h. */
#include "recount.h"

#include <stdlib.h>
#include <string.h>

#include "cache/store_internal.h"

enum {
    MAX_BODIES = 65536,
    EXTENT_BYTES = 24, /* u64 first block, u32 blocks, u32 first piece in the file, u64 object; then a check */
    MAX_SEGMENTS = 64,
};

/* A body of an object, and how many of its pieces were not met yet. */
struct counted_body {
    uint64_t body_id;
    uint64_t object_id;
    uint64_t pieces;
};

struct counting {
    MDB_txn *txn;
    MDB_dbi tables[TABLE_COUNT];
    struct recount *out;
    struct buf *why;
    uint64_t variants;
    struct counted_body bodies[MAX_BODIES];
    size_t body_count;
    uint64_t blocks[MAX_SEGMENTS][BLOCKS_SEGMENT_WORDS]; /* that the extents have */
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
    REQUIRE(counting->body_count < MAX_BODIES);
    counting->bodies[counting->body_count++] = (struct counted_body){row.body_id, object_id, pieces};
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
    const struct counted_body *left = a;
    const struct counted_body *right = b;

    return left->body_id < right->body_id ? -1 : left->body_id > right->body_id;
}

/* So many pieces of a body were met. False: it is nobody's. `*out_object_id`: whose, 0 while it waits. */
static bool met(struct counting *counting, uint64_t body_id, uint64_t pieces, uint64_t *out_object_id)
{
    struct counted_body wanted = {.body_id = body_id};
    struct counted_body *body = bsearch(&wanted, counting->bodies, counting->body_count, sizeof(wanted), compare);
    MDB_val pending = {.mv_size = sizeof(body_id), .mv_data = &body_id};
    MDB_val data;

    *out_object_id = 0;
    if (body != NULL) {
        body->pieces -= pieces; /* to 0, if each is there once */
        *out_object_id = body->object_id;
        return true;
    }
    return mdb_get(counting->txn, counting->tables[TABLE_PENDING], &pending, &data) == 0 ||
           wrong(counting, "a piece of nobody's body:", body_id);
}

static bool on_piece(struct counting *counting, MDB_val key, struct span value) /* row_fn */
{
    uint64_t name = number_of(key);
    uint64_t object_id;
    struct span payload;

    if (!check_strip(value, name, &payload)) {
        return wrong(counting, "a piece fails its check:", name);
    }
    return met(counting, name >> PIECE_NUMBER_BITS, 1, &object_id);
}

static bool on_extent(struct counting *counting, MDB_val key, struct span value) /* row_fn */
{
    uint64_t name = number_of(key);
    uint64_t first;
    uint32_t count;
    uint64_t owner;
    uint64_t object_id;
    struct span row;

    if (!check_strip(value, name, &row) || row.len != EXTENT_BYTES) {
        return wrong(counting, "an extent fails its check:", name);
    }
    memcpy(&first, row.data, sizeof(first));
    memcpy(&count, row.data + 8, sizeof(count));
    memcpy(&owner, row.data + 16, sizeof(owner));
    for (uint64_t block = first; block < first + count; block++) {
        uint64_t bit = UINT64_C(1) << block % 64;
        REQUIRE(block / BLOCKS_PER_SEGMENT < MAX_SEGMENTS);
        uint64_t *word = &counting->blocks[block / BLOCKS_PER_SEGMENT][block % BLOCKS_PER_SEGMENT / 64];
        if ((*word & bit) != 0) {
            return wrong(counting, "a block of two bodies:", block);
        }
        *word |= bit;
    }
    counting->out->used_blocks += count;
    if (!met(counting, name >> PIECE_NUMBER_BITS, count, &object_id)) {
        return false;
    }
    bool first_row = (name & ((UINT64_C(1) << PIECE_NUMBER_BITS) - 1)) == 0;
    return !first_row || object_id == 0 || owner == object_id || wrong(counting, "an extent of another object:", name);
}

/* What the bitmap says is in use is what the extents have; taken off, nothing is left. */
static bool on_segment(struct counting *counting, MDB_val key, struct span value) /* row_fn */
{
    uint64_t segment = number_of(key);
    struct span row;

    REQUIRE(segment < MAX_SEGMENTS);
    if (!check_strip(value, ~segment, &row) || row.len != sizeof(counting->blocks[0])) {
        return wrong(counting, "a segment of the bitmap fails its check:", segment);
    }
    if (memcmp(row.data, counting->blocks[segment], row.len) != 0) {
        return wrong(counting, "blocks in use and blocks of bodies differ in segment", segment);
    }
    memset(counting->blocks[segment], 0, row.len);
    return true;
}

static bool count_blocks(struct counting *counting)
{
    static const uint64_t none[BLOCKS_SEGMENT_WORDS];

    if (!each_row(counting, counting->tables[TABLE_EXTENTS], on_extent) ||
        !each_row(counting, counting->tables[TABLE_BLOCKS], on_segment)) {
        return false;
    }
    for (uint64_t segment = 0; segment < MAX_SEGMENTS; segment++) {
        if (memcmp(counting->blocks[segment], none, sizeof(none)) != 0) {
            return wrong(counting, "bodies in blocks that are free, in segment", segment);
        }
    }
    for (size_t i = 0; i < counting->body_count; i++) {
        if (counting->bodies[i].pieces != 0) {
            return wrong(counting, "pieces missing, or too many, of body", counting->bodies[i].body_id);
        }
    }
    return true;
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
    if (!each_row(counting, counting->tables[TABLE_CHUNKS], on_piece) || !count_blocks(counting)) {
        return false;
    }
    if (counting->variants != counting->out->objects) {
        return wrong(counting, "more objects than variants, or fewer:", counting->variants);
    }
    return count_pages(counting, env);
}

bool recount_dir(const char *dir, struct recount *out, struct buf *why)
{
    static struct counting counting;
    MDB_env *env;
    bool good = false;

    memset(&counting, 0, sizeof(counting));
    counting.out = out;
    counting.why = why;
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
