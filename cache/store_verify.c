/* store_verify.c: what a walk over the objects does not see: rows of the index that lead nowhere, bodies that belong to
 * nobody, pages that are neither used nor free. See store_tools.h.
 *
 * Every step is a snapshot of its own. A row of the index and the objects it leads to are looked at in one, so that a
 * larder that runs changes nothing about the answer.
 *
 * Bodies have no way back to their object. So the ids of all objects' bodies in a window of ids are put into a bitmap,
 * then the bodies in that window are gone through: one pass over `objects` a window, 8 MiB whatever the store's size.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cache/store_internal.h"
#include "cache/store_tools.h"

#define NO_BODY UINT64_MAX

enum {
    STEP_ROWS = 256,
    WINDOW_IDS = 64 * 1024 * 1024, /* a bit each */
};

struct recount {
    struct store_reader *reader;
    struct store_recount result;
    store_progress_fn progress;
    void *arg;
    int code;
    bool more; /* the step did not come to the end */

    char index_key[INDEX_KEY_BYTES]; /* the last one looked at */
    bool index_begun;

    unsigned char *window;
    uint64_t window_start;
    uint64_t next_object;
    uint64_t next_body;
    MDB_cursor *bodies; /* on what is gone through: `chunks`, then `extents` */
};

static void run_step(struct recount *recount, guarded_fn step);
static void on_index_step(void *arg);
static int count_index_row(struct recount *recount, MDB_val key, MDB_val data);
static void on_objects_step(void *arg);
static void on_bodies_step(void *arg);
static void on_pages(void *arg);
static void count_bodies(struct recount *recount);
static uint64_t go_through(struct recount *recount, MDB_cursor *bodies);

static void report(const struct recount *recount, unsigned percent)
{
    if (recount->progress != NULL) {
        recount->progress(recount->arg, percent);
    }
}

enum err store_recount(struct store_reader *reader, bool alone, store_progress_fn progress, void *arg,
                       struct store_recount *out_recount)
{
    enum { INDEX_PERCENT = 30, BODIES_PERCENT = 95, ALL_PERCENT = 100 };
    struct recount recount = {.reader = reader, .progress = progress, .arg = arg, .more = true};

    report(&recount, 0);
    while (recount.code == 0 && recount.more) {
        run_step(&recount, on_index_step);
    }
    report(&recount, INDEX_PERCENT);
    if (recount.code == 0 && alone) {
        count_bodies(&recount);
    }
    report(&recount, BODIES_PERCENT);
    if (recount.code == 0) {
        run_step(&recount, on_pages);
    }
    report(&recount, ALL_PERCENT);
    if (recount.code == 0) {
        *out_recount = recount.result;
    }
    return err_from_mdb(recount.code);
}

/* One snapshot. */
static void run_step(struct recount *recount, guarded_fn step)
{
    recount->more = false;
    if (!guard_run(recount->reader->store, step, recount)) {
        recount->code = MDB_CORRUPTED;
    }
}

typedef int (*row_fn)(struct recount *recount, MDB_val key, MDB_val data);

/* Rows of a table from `start` on, STEP_ROWS at most, in one snapshot. `again`: `start` itself was seen already. */
static void each_row(struct recount *recount, enum table table, MDB_val start, bool again, row_fn row)
{
    MDB_cursor *cursor;
    MDB_val key = start;
    MDB_val data;
    unsigned count = 0;

    recount->code = reader_begin(recount->reader);
    if (recount->code != 0) {
        return;
    }
    recount->code = store_open_cursor(recount->reader->txn, recount->reader->store->tables[table], &cursor);
    if (recount->code == 0) {
        recount->code = mdb_cursor_get(cursor, &key, &data, start.mv_size == 0 ? MDB_FIRST : MDB_SET_RANGE);
        if (recount->code == 0 && again && key.mv_size == start.mv_size &&
            memcmp(key.mv_data, start.mv_data, start.mv_size) == 0) {
            recount->code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
        }
        for (; recount->code == 0 && count < STEP_ROWS; count++) {
            recount->code = row(recount, key, data);
            if (recount->code == 0) {
                recount->code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
            }
        }
        mdb_cursor_close(cursor);
    }
    reader_end(recount->reader);
    recount->more = recount->code == 0;
    if (recount->code == MDB_NOTFOUND) {
        recount->code = 0; /* the end */
    }
}

/* ---- the index ---- */

static void on_index_step(void *arg) /* guarded_fn */
{
    struct recount *recount = arg;
    char last[INDEX_KEY_BYTES];
    MDB_val start = {.mv_size = recount->index_begun ? INDEX_KEY_BYTES : 0, .mv_data = last};

    memcpy(last, recount->index_key, INDEX_KEY_BYTES);
    each_row(recount, TABLE_INDEX, start, true, count_index_row);
}

static int count_index_row(struct recount *recount, MDB_val key, MDB_val data)
{
    struct key_hash hash;
    struct variant variant;
    struct span rest;

    if (key.mv_size != INDEX_KEY_BYTES ||
        (recount->index_begun && memcmp(key.mv_data, recount->index_key, INDEX_KEY_BYTES) <= 0)) {
        return MDB_CORRUPTED; /* not rising: it could go on for ever */
    }
    memcpy(recount->index_key, key.mv_data, INDEX_KEY_BYTES);
    recount->index_begun = true;
    memcpy(&hash.high, recount->index_key, sizeof(hash.high));
    memcpy(&hash.low, recount->index_key + sizeof(hash.high), sizeof(hash.low));
    recount->result.index_rows++;
    if (!index_row_check(span_of_value(data), hash, &rest)) {
        recount->result.damaged_index_rows++;
        return 0;
    }
    while (variant_next(&rest, &variant)) {
        MDB_val name = {.mv_size = sizeof(variant.object_id), .mv_data = &variant.object_id};
        MDB_val row;
        int code = mdb_get(recount->reader->txn, recount->reader->store->tables[TABLE_OBJECTS], &name, &row);
        if (code != 0 && code != MDB_NOTFOUND) {
            return code;
        }
        recount->result.dangling_variants += code == MDB_NOTFOUND;
    }
    return 0;
}

/* ---- bodies ---- */

/* Body ids of `objects` and of `pending` into the window, then the bodies of the window against it. */
static void count_bodies(struct recount *recount)
{
    recount->window = malloc(WINDOW_IDS / CHAR_BIT);
    if (recount->window == NULL) {
        recount->code = ENOMEM;
        return;
    }
    recount->next_body = 1;
    for (bool more = true; more && recount->code == 0;) {
        memset(recount->window, 0, WINDOW_IDS / CHAR_BIT);
        recount->window_start = recount->next_body;
        recount->next_object = 1;
        recount->more = true;
        while (recount->code == 0 && recount->more) {
            run_step(recount, on_objects_step);
        }
        uint64_t large = go_through(recount, recount->reader->extents);
        uint64_t any = go_through(recount, recount->reader->pieces);
        recount->next_body = large < any ? large : any;
        more = recount->next_body != NO_BODY;
    }
    free(recount->window);
    recount->window = NULL;
}

/* The bodies of the window; gives the first one behind it. */
static uint64_t go_through(struct recount *recount, MDB_cursor *bodies)
{
    recount->bodies = bodies;
    recount->next_body = recount->window_start;
    recount->more = true;
    while (recount->code == 0 && recount->more && recount->next_body - recount->window_start < WINDOW_IDS) {
        run_step(recount, on_bodies_step);
    }
    return recount->more ? recount->next_body : NO_BODY;
}

static void mark_body(struct recount *recount, uint64_t body_id)
{
    uint64_t at = body_id - recount->window_start;

    if (at < WINDOW_IDS) {
        recount->window[at / CHAR_BIT] |= (unsigned char)(1u << at % CHAR_BIT);
    }
}

static int mark_object(struct recount *recount, MDB_val key, MDB_val data)
{
    struct object_row row;
    struct record record;
    uint64_t object_id;
    int code = number_of_key(key, &object_id);

    if (code == 0 && object_id < recount->next_object) {
        code = MDB_CORRUPTED;
    }
    if (code != 0) {
        return code;
    }
    recount->next_object = object_id + 1;
    if (object_row_read(span_of_value(data), object_id, &row)) {
        mark_body(recount, row.body_id);
    }
    if (record_decode(span_skip(span_of_value(data), OBJECT_PREFIX_BYTES + CHECK_BYTES), &record) == ERR_OK) {
        mark_body(recount, record.body_id); /* where the two differ, the walk says so */
        for (size_t i = 0; i < record.slices.len / SLICE_BYTES; i++) {
            mark_body(recount, slice_in(record.slices, i).body_id);
        }
    }
    return 0;
}

static void on_objects_step(void *arg) /* guarded_fn */
{
    struct recount *recount = arg;
    uint64_t name = recount->next_object;

    each_row(recount, TABLE_OBJECTS, (MDB_val){.mv_size = sizeof(name), .mv_data = &name}, false, mark_object);
}

static int body_waits(const struct recount *recount, uint64_t body_id, bool *out_waits)
{
    MDB_val key = {.mv_size = sizeof(body_id), .mv_data = &body_id};
    MDB_val data;
    int code = mdb_get(recount->reader->txn, recount->reader->store->tables[TABLE_PENDING], &key, &data);

    *out_waits = code == 0;
    return code == MDB_NOTFOUND ? 0 : code;
}

/* Does the body begin in `chunks`, as every one does? */
static bool has_first_piece(const struct recount *recount, uint64_t body_id)
{
    MDB_val value;

    return reader_find_piece(recount->reader, body_id, 0, true, &value) == 0;
}

/* The first row of each body; the rest of them is jumped over. One that has rows in both tables counts once: where it
 * begins. */
static void on_bodies_step(void *arg) /* guarded_fn */
{
    struct recount *recount = arg;
    struct store_reader *reader = recount->reader;

    recount->code = reader_begin(reader);
    if (recount->code != 0) {
        return;
    }
    recount->code = mdb_cursor_renew(reader->txn, recount->bodies);
    for (unsigned i = 0; recount->code == 0 && i < STEP_ROWS; i++) {
        uint64_t name = piece_key(recount->next_body, 0);
        MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};
        MDB_val data;
        bool waits;

        recount->code = mdb_cursor_get(recount->bodies, &key, &data, MDB_SET_RANGE);
        if (recount->code == 0) {
            recount->code = number_of_key(key, &name);
        }
        uint64_t body_id = name >> PIECE_NUMBER_BITS;
        if (recount->code == 0 && body_id < recount->next_body) {
            recount->code = MDB_CORRUPTED;
        }
        if (recount->code != 0) {
            break;
        }
        uint64_t at = body_id - recount->window_start;
        if (at >= WINDOW_IDS) {
            recount->next_body = body_id; /* of a window to come */
            break;
        }
        recount->next_body = body_id + 1;
        if (recount->bodies == reader->extents && has_first_piece(recount, body_id)) {
            continue;
        }
        recount->result.bodies++;
        if ((recount->window[at / CHAR_BIT] >> at % CHAR_BIT & 1) == 0) {
            recount->code = body_waits(recount, body_id, &waits);
            recount->result.orphan_bodies += !waits;
        }
    }
    reader_end(reader);
    recount->more = recount->code == 0;
    if (recount->code == MDB_NOTFOUND) {
        recount->code = 0;
    }
}

/* ---- pages ---- */

/* The free list holds, for every transaction, how many pages it freed and which. In one snapshot: it is short. */
static void on_pages(void *arg) /* guarded_fn */
{
    enum { FREE_LIST = 0 };
    struct recount *recount = arg;
    struct store *store = recount->reader->store;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    MDB_envinfo info;
    uint64_t used;
    uint64_t count;

    recount->code = reader_begin(recount->reader);
    if (recount->code != 0) {
        return;
    }
    recount->code = store_open_cursor(recount->reader->txn, FREE_LIST, &cursor);
    if (recount->code == 0) {
        recount->code = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
        while (recount->code == 0) {
            if (data.mv_size < sizeof(count)) {
                recount->code = MDB_CORRUPTED;
                break;
            }
            memcpy(&count, data.mv_data, sizeof(count));
            recount->result.free_pages += count;
            recount->code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
        }
        mdb_cursor_close(cursor);
    }
    if (recount->code == MDB_NOTFOUND) {
        recount->code = store_used_pages(store, recount->reader->txn, &used);
    }
    if (recount->code == 0) {
        recount->code = mdb_env_info(store->env, &info);
    }
    /* What was committed between the two is no loss: only a file that nobody changes adds up exactly. */
    if (recount->code == 0 && info.me_last_txnid == mdb_txn_id(recount->reader->txn)) {
        uint64_t pages = info.me_last_pgno + 1;
        uint64_t known = used + recount->result.free_pages;
        recount->result.lost_pages = known < pages ? pages - known : known - pages;
    }
    reader_end(recount->reader);
}

bool store_trees_good(const char *dir)
{
    const struct tree_limits all = {.pages = UINT64_MAX};
    struct buf note;
    uint64_t pages;

    buf_init(&note, 256);
    bool good = store_file_check(dir, &pages, &note) == ERR_OK && store_check_trees(dir, pages, &all) == TREES_GOOD;
    buf_finish(&note);
    return good;
}
