/* store_readonly.c: a look at a store that a running larder may be using, from another process.
 *
 * LMDB is made for that: a reader registers in lock.mdb and sees the last commit. So nothing here touches our own lock,
 * the marker, or a byte of the data file; a file that cannot be used is only reported. The readers' finds do the rest
 * as they do in larder itself; what they remember (SIEVE's marks, damage) goes with the process.
 *
 * A process that is killed while it holds a snapshot leaves its entry in lock.mdb, which keeps pages from being used
 * again: the disk thread clears such entries when it runs out of pages, and so does every open. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/store_batch.h"
#include "cache/store_tools.h"

enum {
    MAX_TABLES = 16,
    FEW_OBJECTS = 64, /* nothing is evicted here */
};

struct readonly_call {
    struct store *store;
    const char *dir;
    int code;
};

static enum err open_parts(struct store *store, const char *dir, struct buf *note);
static void on_open(void *arg);

enum err store_open_readonly(const char *dir, struct store **out_store, struct buf *out_note)
{
    struct store *store = calloc(1, sizeof(*store));

    if (store == NULL) {
        return ERR_NO_MEMORY;
    }
    store->lock_fd = -1;
    store->marker_fd = -1;
    REQUIRE(pthread_mutex_init(&store->damage_mutex, NULL) == 0);
    enum err error = open_parts(store, dir, out_note);
    if (error != ERR_OK) {
        store_close(store);
        return error;
    }
    *out_store = store;
    return ERR_OK;
}

/* As long as the map of whoever writes, so that no commit of his lies behind ours. */
static enum err find_map_bytes(struct store *store, const char *dir)
{
    char path[PATH_MAX];
    struct stat status;

    if (!store_file_path(dir, STORE_DATA_FILE, path) || stat(path, &status) != 0) {
        return ERR_IO;
    }
    store->map_pages = (uint64_t)status.st_size / store->page_bytes;
    return ERR_OK;
}

static enum err open_parts(struct store *store, const char *dir, struct buf *note)
{
    struct readonly_call call = {.store = store, .dir = dir};
    uint64_t pages;

    store->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    store->sieve = sieve_create(FEW_OBJECTS);
    store->pins = pins_create();
    store->dir = strdup(dir);
    if (store->sieve == NULL || store->pins == NULL || store->dir == NULL) {
        return ERR_NO_MEMORY;
    }
    guard_install(-1);
    enum err error = store_file_check(dir, &pages, note);
    if (error == ERR_OK) {
        error = store_is_newer(dir, note) ? ERR_NEWER : find_map_bytes(store, dir);
    } else if (error == ERR_NOT_FOUND && store_file_is_missed(dir, note)) {
        error = ERR_DAMAGED;
    } else if (error == ERR_NOT_FOUND) {
        buf_format(note, "there is none");
    }
    if (error != ERR_OK) {
        return error;
    }
    store->size_bytes = store->map_pages * store->page_bytes;
    store->limit_pages = store->map_pages;
    if (!guard_run(store, on_open, &call)) {
        call.code = MDB_CORRUPTED;
    }
    store_file_give(dir, store_file_owner(dir)); /* lock.mdb may be new */
    error = err_from_mdb(call.code);
    if (error == ERR_OK) {
        error = store_open_bodies_readonly(store, dir);
    }
    if (error == ERR_FOREIGN) {
        buf_format(note, "its format is unknown");
    } else if (error == ERR_DAMAGED) {
        buf_format(note, "pages of the data file are damaged");
    } else if (error != ERR_OK) {
        buf_format(note, "%s", mdb_strerror(call.code));
    }
    return error;
}

bool store_would_keep(struct store *store, struct buf *out_note)
{
    return !store_marker_blames(store_marker_peek(store->dir), out_note) &&
           store_check_bodies(store, out_note) == ERR_OK;
}

static void on_open(void *arg) /* guarded_fn */
{
    struct readonly_call *call = arg;
    struct store *store = call->store;
    int dead = 0;

    call->code = mdb_env_create(&store->env);
    if (call->code == 0) {
        call->code = mdb_env_set_assert(store->env, guard_on_assert);
    }
    if (call->code == 0) {
        call->code = mdb_env_set_maxdbs(store->env, MAX_TABLES);
    }
    if (call->code == 0) {
        call->code = mdb_env_set_maxreaders(store->env, STORE_READER_SLOTS);
    }
    if (call->code == 0) {
        call->code = mdb_env_set_mapsize(store->env, store->map_pages * store->page_bytes);
    }
    if (call->code == 0) {
        call->code = mdb_env_open(store->env, call->dir, MDB_RDONLY | MDB_NOTLS | MDB_NORDAHEAD, 0600);
    }
    if (call->code == 0) {
        call->code = mdb_reader_check(store->env, &dead);
        store->stale_readers = (unsigned)dead;
    }
    if (call->code == 0) {
        call->code = store_open_tables_readonly(store);
    }
}
