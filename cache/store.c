/* store.c: opening and closing the store, its tables and what `meta` says.
 *
 * Opening touches a handful of pages whatever the size of the store: the two meta pages, the roots, the last keys of
 * `objects` and `chunks`, and the rows of `pending` (as many as there were bodies being written or sent).
 *
 * Flags: NOTLS (a reader is an object, not a thread), NOMETASYNC (one flush a commit; after a power cut the last commit
 * may be undone, never torn), NORDAHEAD (the store may be larger than memory: readahead would read megabytes for a
 * page).
 *
 * The file is sparse and as long as the map from the start: LMDB itself leaves the last pages unwritten when a
 * transaction allocated and freed them, and the file would look truncated. posix_fallocate in place of ftruncate is
 * what would bring ENOSPC to the start instead of into a commit. */
#include "cache/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/store_internal.h"

#define FORMAT UINT64_C(0x010072656472616C) /* "larder", 0, version 1 of the tables; also says the byte order */

enum {
    MAX_TABLES = 16,
    SPARE_READERS = 8,           /* LMDB reader slots beyond the store_readers */
    BYTES_AN_OBJECT = 32 * 1024, /* for the size of the tag table; wrong guesses cost hit ratio only */
    MIN_OBJECTS = 4096,
    MAX_OBJECTS = 16 * 1024 * 1024,
};

static const struct {
    const char *name;
    unsigned flags;
} tables[TABLE_COUNT] = {
    [TABLE_INDEX] = {"index", 0},
    [TABLE_OBJECTS] = {"objects", MDB_INTEGERKEY},
    [TABLE_CHUNKS] = {"chunks", MDB_INTEGERKEY},
    [TABLE_PENDING] = {"pending", MDB_INTEGERKEY},
    [TABLE_PURGES] = {"purges", MDB_INTEGERKEY},
    [TABLE_META] = {"meta", 0},
};

static enum err create_parts(struct store *store, const struct store_options *options);
static enum err open_file(struct store *store, const struct store_options *options, struct buf *note);
static enum err open_env(struct store *store, const struct store_options *options, uint64_t file_pages,
                         struct buf *note);
static int size_file(struct store *store, uint64_t map_bytes);
static int open_tables(struct store *store);
static int create_tables(struct store *store, MDB_txn *txn);
static int read_meta(struct store *store, MDB_txn *txn);
static int read_ids(struct store *store, MDB_txn *txn);
static int read_pending(struct store *store, MDB_txn *txn, uint64_t *out_last_body);

enum err store_open(const struct store_options *options, struct store **out_store, struct buf *out_note)
{
    REQUIRE(options->max_variants > 0);

    struct store *store = calloc(1, sizeof(*store));
    if (store == NULL) {
        return ERR_NO_MEMORY;
    }
    store->lock_fd = -1;
    REQUIRE(pthread_mutex_init(&store->damage_mutex, NULL) == 0);
    enum err error = create_parts(store, options);
    if (error == ERR_OK) {
        error = store_file_lock(options->dir, &store->lock_fd, out_note);
    }
    if (error == ERR_OK) {
        error = open_file(store, options, out_note);
    }
    if (error != ERR_OK) {
        store_close(store);
        return error;
    }
    store_count(store);
    *out_store = store;
    return ERR_OK;
}

void store_close(struct store *store)
{
    if (store == NULL) {
        return;
    }
    if (store->env != NULL) {
        if (!store_failed(store)) {
            /* The last commit's meta page, which NOMETASYNC left to the kernel. If it fails, nothing is lost but that.
             */
            (void)mdb_env_sync(store->env, 1);
        }
        mdb_env_close(store->env);
    }
    if (store->lock_fd >= 0) {
        close(store->lock_fd);
    }
    pthread_mutex_destroy(&store->damage_mutex);
    sieve_destroy(store->sieve);
    pins_destroy(store->pins);
    free(store->reclaim);
    free(store);
}

uint64_t store_secret(const struct store *store)
{
    return store->secret;
}

bool store_failed(const struct store *store)
{
    return atomic_load_explicit(&store->failed, memory_order_relaxed);
}

uint64_t store_new_body_id(struct store *store)
{
    return atomic_fetch_add_explicit(&store->next_body_id, 1, memory_order_relaxed);
}

void store_stats_of(struct store *store, struct store_stats *out_stats)
{
    *out_stats = (struct store_stats){
        .size_bytes = store->limit_pages * store->page_bytes,
        .used_bytes = atomic_load_explicit(&store->used_bytes, memory_order_relaxed),
        .objects = atomic_load_explicit(&store->objects, memory_order_relaxed),
        .reclaim_bodies = atomic_load_explicit(&store->reclaim_bodies, memory_order_relaxed),
        .evictions = atomic_load_explicit(&store->evictions, memory_order_relaxed),
        .commits = atomic_load_explicit(&store->commits, memory_order_relaxed),
        .commit_errors = atomic_load_explicit(&store->commit_errors, memory_order_relaxed),
        .bytes_written = atomic_load_explicit(&store->bytes_written, memory_order_relaxed),
    };
}

enum err err_from_mdb(int code)
{
    switch (code) { /* not an enum: LMDB's codes and errno's */
    case MDB_SUCCESS:
        return ERR_OK;
    case MDB_NOTFOUND:
        return ERR_NOT_FOUND;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case ENOMEM:
        return ERR_NO_MEMORY;
    case MDB_READERS_FULL:
        return ERR_LIMIT;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
        return ERR_DAMAGED;
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
        return ERR_FOREIGN;
    default:
        return ERR_IO;
    }
}

void store_note_code(struct store *store, int code)
{
    enum err error = err_from_mdb(code);

    /* PANIC: a meta page could not be written; what is on the disk is unknown until the next open. */
    if (code == MDB_PANIC || error == ERR_DAMAGED || error == ERR_FOREIGN) {
        atomic_store_explicit(&store->failed, true, memory_order_relaxed);
    }
}

static enum err create_parts(struct store *store, const struct store_options *options)
{
    uint64_t size = options->size_bytes < STORE_MIN_SIZE_BYTES ? STORE_MIN_SIZE_BYTES : options->size_bytes;
    uint64_t objects = size / BYTES_AN_OBJECT;

    store->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    store->limit_pages = size / store->page_bytes;
    store->max_variants = options->max_variants;
    store->sieve = sieve_create(objects < MIN_OBJECTS ? MIN_OBJECTS : objects > MAX_OBJECTS ? MAX_OBJECTS : objects);
    store->pins = pins_create();
    return store->sieve == NULL || store->pins == NULL ? ERR_NO_MEMORY : ERR_OK;
}

/* Opens the file; one that cannot be used is set aside, once. */
static enum err open_file(struct store *store, const struct store_options *options, struct buf *note)
{
    uint64_t file_pages = 0;
    enum err error = store_file_check(options->dir, &file_pages, note);

    if (error == ERR_OK || error == ERR_NOT_FOUND) {
        error = open_env(store, options, file_pages, note);
    }
    if (error != ERR_DAMAGED && error != ERR_FOREIGN) {
        return error;
    }
    if (store->env != NULL) {
        mdb_env_close(store->env);
        store->env = NULL;
    }
    error = store_file_set_aside(options->dir, note);
    return error == ERR_OK ? open_env(store, options, 0, note) : error;
}

static enum err open_env(struct store *store, const struct store_options *options, uint64_t file_pages,
                         struct buf *note)
{
    uint64_t map_pages = file_pages > store->limit_pages ? file_pages : store->limit_pages;
    uint64_t map_bytes = map_pages * store->page_bytes;
    int dead;
    int code = mdb_env_create(&store->env);

    if (code == 0) {
        code = mdb_env_set_maxdbs(store->env, MAX_TABLES);
    }
    if (code == 0) {
        code = mdb_env_set_maxreaders(store->env, options->max_readers + SPARE_READERS);
    }
    if (code == 0) {
        code = mdb_env_set_mapsize(store->env, map_bytes);
    }
    if (code == 0) {
        code = mdb_env_open(store->env, options->dir, MDB_NOTLS | MDB_NOMETASYNC | MDB_NORDAHEAD, 0600);
    }
    if (code == 0) {
        code = size_file(store, map_bytes);
    }
    if (code == 0) {
        code = mdb_reader_check(store->env, &dead);
    }
    if (code == 0) {
        code = open_tables(store);
    }
    if (code != 0) {
        buf_format(note, "cannot open the store in %s: %s", options->dir,
                   err_from_mdb(code) == ERR_FOREIGN ? "its format is unknown" : mdb_strerror(code));
    }
    return err_from_mdb(code);
}

/* The limit may have changed since the file was made; nothing lies behind map_bytes. */
static int size_file(struct store *store, uint64_t map_bytes)
{
    mdb_filehandle_t fd;
    struct stat status;
    int code = mdb_env_get_fd(store->env, &fd);

    if (code != 0) {
        return code;
    }
    if (fstat(fd, &status) != 0) {
        return errno;
    }
    return (uint64_t)status.st_size == map_bytes || ftruncate(fd, (off_t)map_bytes) == 0 ? 0 : errno;
}

static int open_tables(struct store *store)
{
    MDB_stat main_stat;
    MDB_txn *txn;
    int code = mdb_txn_begin(store->env, NULL, 0, &txn);

    if (code != 0) {
        return code;
    }
    code = mdb_stat(txn, 1, &main_stat); /* 1: the main table, which holds the names of ours */
    bool fresh = code == 0 && main_stat.ms_entries == 0;
    for (size_t i = 0; i < TABLE_COUNT && code == 0; i++) {
        unsigned flags;
        code = mdb_dbi_open(txn, tables[i].name, tables[i].flags | (fresh ? MDB_CREATE : 0), &store->tables[i]);
        if (code == MDB_NOTFOUND) {
            code = MDB_INCOMPATIBLE; /* something else's tables */
        }
        if (code == 0) {
            code = mdb_dbi_flags(txn, store->tables[i], &flags);
        }
        if (code == 0 && flags != tables[i].flags) {
            code = MDB_INCOMPATIBLE;
        }
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
    return mdb_txn_commit(txn); /* writes nothing unless the tables are new; keeps their handles */
}

static MDB_val meta_key(const char *name)
{
    return (MDB_val){.mv_size = strlen(name), .mv_data = (void *)(uintptr_t)name};
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
    int code = mdb_cursor_open(txn, table, &cursor);

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
 * (should `state` be damaged). */
static int read_ids(struct store *store, MDB_txn *txn)
{
    struct state_row state = {.next_object_id = 1, .next_body_id = 1};
    struct span bytes;
    uint64_t last_object;
    uint64_t last_piece;
    uint64_t last_pending;
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
        code = read_pending(store, txn, &last_pending);
    }
    if (code != 0) {
        return code;
    }
    uint64_t last_body =
        last_piece >> PIECE_NUMBER_BITS > last_pending ? last_piece >> PIECE_NUMBER_BITS : last_pending;
    store->next_object_id = state.next_object_id > last_object ? state.next_object_id : last_object + 1;
    store->next_body_id = state.next_body_id > last_body ? state.next_body_id : last_body + 1;
    store->hand = state.hand;
    store->sequence = state.sequence;
    return 0;
}

/* Nobody writes or sends these any more: their pieces are deleted behind, by the first batches. */
static int read_pending(struct store *store, MDB_txn *txn, uint64_t *out_last_body)
{
    uint64_t body_id = 0;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    int code = mdb_cursor_open(txn, store->tables[TABLE_PENDING], &cursor);

    if (code != 0) {
        return code;
    }
    store->reclaim_count = 0;
    code = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
    while (code == 0) {
        if (number_of_key(key, &body_id) != 0 || !body_id_valid(body_id)) {
            code = MDB_CORRUPTED;
        } else if (!store_reclaim_later(store, body_id)) {
            code = ENOMEM;
        } else {
            code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
        }
    }
    mdb_cursor_close(cursor);
    *out_last_body = body_id;
    atomic_store(&store->reclaim_waiting, store->reclaim_count > 0);
    return code == MDB_NOTFOUND ? 0 : code;
}
