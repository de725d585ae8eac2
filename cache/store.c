/* store.c: opening and closing the store.
 *
 * What is looked at when, and why that is enough:
 *   1. before LMDB may see the file: its meta pages, read by hand, and its length (store_file.c): LMDB believes both.
 *      Then what the next steps go to is read ahead (store_ahead.c): a wait for the disk a level, not a page;
 *   2. after an unclean stop: a child opens it first, and goes where the open will go (store_probe.c);
 *   3. LMDB's own pages, where they are CHECK_AT_OPEN_PAGES at most: a small store is known to be good when it opens;
 *   4. the open: the roots, first and last keys of tables, the rows of `pending` (as many as there were bodies being
 *      written or sent), the bitmap of the body file (3 MB for 100 GB, read in one go). Then readers may come;
 *   5. all of LMDB's own pages, by the disk thread, before its first batch (store_check_pages): seconds for a million
 *      tiny objects that are not in memory. Until then nothing is stored, and the queue to the disk may fill.
 * None of 1 to 4 grows with the number of objects. A file that fails any of these is set aside: at this open, or, where
 * 5 finds it, at the next.
 *
 * 5 may come late because only a change of a damaged tree can do harm. A reader changes nothing: what it meets in one
 * is a row or piece that fails its check, a fault that the guard catches (store_guard.c), or a key that is not found.
 *
 * After a clean stop 5 is left out where the kernel says that nobody has changed the file since and the process that
 * closed it had looked at it (store_marker.c): what LMDB wrote was flushed then. A sector that goes bad later is the
 * guard's and the checks' affair, as in a store that has been open for long.
 *
 * A file that is larger than its limit is looked at as a whole, then made smaller (store_shrink.c).
 *
 * Flags: NOTLS (a reader is an object, not a thread), NOMETASYNC (one flush a commit; after a power cut the last commit
 * may be undone, never torn), NORDAHEAD (the store may be larger than memory: readahead would read megabytes for a
 * page).
 *
 * The file is sparse and as long as the store is large from the start (store_border.c): LMDB itself leaves the last
 * pages unwritten when a transaction allocated and freed them, and the file would look truncated. posix_fallocate in
 * place of ftruncate is what would bring ENOSPC to the start instead of into a commit. */
#include "cache/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/store_batch.h"

enum {
    MAX_TABLES = 16,
    BYTES_AN_OBJECT = 32 * 1024, /* for the size of the tables; wrong guesses cost hit ratio only */
    MIN_OBJECTS = 4096,
    MAX_OBJECTS = 16 * 1024 * 1024,
    SHRINK_ROOM_PAGES = 1024,  /* behind a file that is too large: deleting copies pages */
    CHECK_AT_OPEN_PAGES = 256, /* of trees: about 100 MB of bodies, or 2000 tiny objects */
};

static enum err create_parts(struct store *store, const struct store_options *options);
static enum err open_files(struct store *store, const struct store_options *options, struct buf *note);
static enum err open_file(struct store *store, const struct store_options *options, struct store_marker *found,
                          struct buf *note);
static enum err try_file(struct store *store, const struct store_options *options, enum last_stop last,
                         struct buf *note);
static enum err look_inside(struct store *store, const struct store_options *options, enum last_stop last,
                            uint64_t file_pages, struct buf *note);
static enum err open_guarded(struct store *store, const struct store_options *options, struct buf *note);
static int open_env(struct store *store, const struct store_options *options);
static void drop_env(struct store *store);
static int size_file(struct store *store);

enum err store_open(const struct store_options *options, struct store **out_store, struct buf *out_note)
{
    REQUIRE(options->max_variants > 0);

    struct store *store = calloc(1, sizeof(*store));
    if (store == NULL) {
        return ERR_NO_MEMORY;
    }
    store->lock_fd = -1;
    store->marker_fd = -1;
    REQUIRE(pthread_mutex_init(&store->damage_mutex, NULL) == 0);
    enum err error = create_parts(store, options);
    if (error == ERR_OK) {
        error = store_file_lock(options->dir, &store->lock_fd, out_note);
    }
    if (error == ERR_OK) {
        error = open_files(store, options, out_note);
    }
    if (error != ERR_OK) {
        store_close(store);
        return error;
    }
    store->set_aside_bytes = store_file_set_aside_bytes(options->dir);
    *out_store = store;
    return ERR_OK;
}

/* All of them, with the lock held. */
static enum err open_files(struct store *store, const struct store_options *options, struct buf *note)
{
    struct store_owner owner = store_file_owner(options->dir);
    struct store_marker found;

    guard_install(-1);
    if (store_is_newer(options->dir, note)) {
        return ERR_NEWER;
    }
    store_file_remove_copy(options->dir);
    store->marker_fd = store_marker_open(options->dir, &found);
    store->trees_checked =
        found.last == LAST_STOP_CLEAN && found.stamp != 0 && found.stamp == store_file_stamp(options->dir);
    guard_install(store->marker_fd);
    enum err error = open_file(store, options, &found, note);
    guard_opened();
    store_file_give(options->dir, owner);
    if (error != ERR_OK) {
        guard_forget_marker(store->marker_fd);
        store_marker_restore(store->marker_fd, &found);
        store->marker_fd = -1;
    }
    return error;
}

void store_close(struct store *store)
{
    if (store == NULL) {
        return;
    }
    bool failed = store_failed(store);
    bool whole = !failed && store->env != NULL && store->trees_checked;

    if (store->env != NULL && !failed) {
        /* The last commit's meta page, which NOMETASYNC left to the kernel. If it fails, nothing is lost but that. */
        (void)mdb_env_sync(store->env, 1);
    }
    drop_env(store);
    guard_forget_marker(store->marker_fd);
    store_marker_close(store->marker_fd, failed ? LAST_STOP_DAMAGED : LAST_STOP_CLEAN,
                       whole ? store_file_stamp(store->dir) : 0);
    if (store->lock_fd >= 0) {
        close(store->lock_fd);
    }
    pthread_mutex_destroy(&store->damage_mutex);
    sieve_destroy(store->sieve);
    ghost_destroy(store->ghost);
    pins_destroy(store->pins);
    free(store->reclaim);
    free(store->begun.bodies);
    free(store->dir);
    free(store);
}

/* What LMDB left in an unknown state is not even closed: the environment, its map and a transaction stay. */
static void drop_env(struct store *store)
{
    store_close_bodies(store);
    if (store->env == NULL) {
        return;
    }
    if (store_failed(store)) {
        guard_abandon(store->env);
        guard_abandon(store->figures);
        for (size_t i = 0; i < ARRAY_LEN(store->ahead); i++) {
            if (store->ahead[i] != NULL) {
                guard_abandon(store->ahead[i]);
                store->ahead[i] = NULL;
            }
        }
    } else {
        mdb_txn_abort(store->figures);
        mdb_env_close(store->env);
    }
    store->figures = NULL;
    store->env = NULL;
}

uint64_t store_secret(const struct store *store)
{
    return store->secret;
}

bool store_failed(const struct store *store)
{
    return atomic_load_explicit(&store->failed, memory_order_relaxed);
}

static bool has_no_name(int fd)
{
    struct stat status;

    return fd >= 0 && fstat(fd, &status) == 0 && status.st_nlink == 0;
}

bool store_look_for_files(struct store *store)
{
    mdb_filehandle_t fd = -1;

    if (!store_failed(store) && !store_is_away(store)) {
        (void)mdb_env_get_fd(store->env, &fd); /* fails only without an environment */
        atomic_store_explicit(&store->deleted,
                              has_no_name(fd) || has_no_name(store->lock_fd) ||
                                  has_no_name(bodies_descriptor(store->bodies)),
                              memory_order_relaxed);
    }
    return store_is_deleted(store);
}

bool store_is_deleted(const struct store *store)
{
    return atomic_load_explicit(&store->deleted, memory_order_relaxed);
}

uint64_t store_new_body_id(struct store *store)
{
    return atomic_fetch_add_explicit(&store->next_body_id, 1, memory_order_relaxed);
}

void store_stats_of(struct store *store, struct store_stats *out_stats)
{
    *out_stats = (struct store_stats){
        .size_bytes = store->limit_pages * store->page_bytes,
        .body_size_bytes = store->bodies == NULL ? 0 : store->limit_blocks * BODIES_BLOCK_BYTES,
        .body_used_bytes = atomic_load_explicit(&store->used_blocks, memory_order_relaxed) * BODIES_BLOCK_BYTES,
        .cold_reads = atomic_load_explicit(&store->cold_reads, memory_order_relaxed),
        .cold_finds = atomic_load_explicit(&store->cold_finds, memory_order_relaxed),
        .damaged_reads = atomic_load_explicit(&store->damaged_reads, memory_order_relaxed),
        .used_bytes = atomic_load_explicit(&store->used_bytes, memory_order_relaxed),
        .objects = atomic_load_explicit(&store->objects, memory_order_relaxed),
        .reclaim_bodies = atomic_load_explicit(&store->reclaim_bodies, memory_order_relaxed),
        .evictions = atomic_load_explicit(&store->evictions, memory_order_relaxed),
        .commits = atomic_load_explicit(&store->commits, memory_order_relaxed),
        .commit_errors = atomic_load_explicit(&store->commit_errors, memory_order_relaxed),
        .faults = atomic_load_explicit(&store->faults, memory_order_relaxed),
        .set_aside_bytes = store->set_aside_bytes,
        .bytes_written = atomic_load_explicit(&store->bytes_written, memory_order_relaxed),
    };
}

const char *store_failure(const struct store *store)
{
    return atomic_load_explicit(&store->faults, memory_order_relaxed) > 0 ? "a fault while its file was read"
                                                                          : "it is damaged";
}

static bool is_want_of_room(int code)
{
    return code == NO_ROOM || code == MDB_MAP_FULL;
}

bool store_disk_refuses(const struct store *store)
{
    int code = atomic_load_explicit(&store->refusal, memory_order_relaxed);

    return code != 0 && code != ENOMEM && code != ECANCELED && code != BODY_ENDED && !is_want_of_room(code);
}

const char *store_refusal(const struct store *store)
{
    int code = atomic_load_explicit(&store->refusal, memory_order_relaxed);

    if (is_want_of_room(code)) {
        return "what is being sent or written leaves no room";
    }
    if (code == BODY_ENDED) {
        return "a body cannot be continued";
    }
    return code == 0 ? NULL : mdb_strerror(code);
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
        store_fail(store);
    }
}

void store_give_up(struct store *store)
{
    store_fail(store);
}

void store_fail(struct store *store)
{
    atomic_store_explicit(&store->failed, true, memory_order_relaxed);
}

static enum err create_parts(struct store *store, const struct store_options *options)
{
    uint64_t size = options->size_bytes < STORE_MIN_SIZE_BYTES ? STORE_MIN_SIZE_BYTES : options->size_bytes;
    uint64_t guess = size / BYTES_AN_OBJECT;
    uint64_t objects = guess < MIN_OBJECTS ? MIN_OBJECTS : guess > MAX_OBJECTS ? MAX_OBJECTS : guess;

    store->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    store->size_bytes = size / store->page_bytes * store->page_bytes;
    store->memory_bytes = options->memory_bytes;
    store->prefetches = size > options->memory_bytes / 2;
    store->dir = strdup(options->dir);
    store->max_variants = options->max_variants;
    store->sieve = sieve_create(objects);
    store->ghost = ghost_create(objects);
    store->pins = pins_create();
    return store->sieve == NULL || store->ghost == NULL || store->pins == NULL || store->dir == NULL ? ERR_NO_MEMORY
                                                                                                     : ERR_OK;
}

/* Opens the file; one that cannot be used is set aside, once. */
static enum err open_file(struct store *store, const struct store_options *options, struct store_marker *found,
                          struct buf *note)
{
    enum err error = try_file(store, options, found->last, note);

    if ((error != ERR_DAMAGED && error != ERR_FOREIGN) || options->keep) {
        return error;
    }
    drop_env(store);
    atomic_store(&store->failed, false); /* that was the file that goes now */
    error = store_file_set_aside(options->dir, note);
    if (error != ERR_OK) {
        return error;
    }
    store_marker_forgive(store->marker_fd, found);
    store_share(store, 0, store_body_file_blocks(store->dir));
    store->map_pages = store->most_pages;
    store->trees_checked = true; /* there are none */
    error = open_guarded(store, options, note);
    return error == ERR_OK ? store_open_bodies(store, note) : error;
}

/* Looks at the file, opens it, and makes it smaller where it must be. */
static enum err try_file(struct store *store, const struct store_options *options, enum last_stop last,
                         struct buf *note)
{
    for (unsigned i = 0;; i++) {
        uint64_t file_pages = 0;
        enum err error = store_file_check(options->dir, &file_pages, note);
        store_share(store, file_pages, store_body_file_blocks(store->dir));
        if (error == ERR_OK) {
            store_read_ahead(options->dir);
            error = look_inside(store, options, last, file_pages, note);
        } else if (error == ERR_NOT_FOUND) {
            store->trees_checked = true;
            if (i == 0 && store_file_is_missed(options->dir, note) && options->keep) {
                error = ERR_DAMAGED;
            }
        }
        if (error != ERR_OK && error != ERR_NOT_FOUND) {
            return error;
        }
        bool too_large = file_pages > store->most_pages;
        if (too_large && options->keep) {
            buf_add_text(note, "the data file is larger than its size permits");
            return ERR_DAMAGED;
        }
        store->map_pages = too_large ? file_pages + SHRINK_ROOM_PAGES : store->most_pages;
        error = open_guarded(store, options, note);
        if (error == ERR_OK) {
            error = store_open_bodies(store, note);
        }
        if (error != ERR_OK || !too_large || i > 0) {
            return error;
        }
        error = store_shrink(store, note);
        bool damaged = store_failed(store);
        drop_env(store);
        if (error != ERR_OK || damaged) {
            return damaged ? ERR_DAMAGED : error;
        }
        last = LAST_STOP_CLEAN; /* the new file is our own work */
    }
}

static enum err look_inside(struct store *store, const struct store_options *options, enum last_stop last,
                            uint64_t file_pages, struct buf *note)
{
    uint64_t pages = file_pages > store->most_pages ? file_pages : store->most_pages;

    if (store_marker_blames(last, note) ||
        (last == LAST_STOP_UNCLEAN && !store_probe(options->dir, pages * store->page_bytes, note))) {
        return ERR_DAMAGED;
    }
    bool all = file_pages > store->most_pages || options->keep; /* the file is changed at once; it must not be lost */
    const struct tree_limits limits = {.pages = all ? file_pages : CHECK_AT_OPEN_PAGES};
    enum tree_check check = TREES_GOOD;
    if (!store->trees_checked) {
        check = store_check_trees(options->dir, file_pages, &limits);
        store->trees_checked = check == TREES_GOOD;
    }
    if (check == TREES_DAMAGED) {
        buf_format(note, "the data file is damaged");
        return ERR_DAMAGED;
    }
    return ERR_OK;
}

struct open_call {
    struct store *store;
    const struct store_options *options;
    int code;
};

static void on_open(void *arg) /* guarded_fn */
{
    struct open_call *call = arg;

    call->code = open_env(call->store, call->options);
    if (call->code == 0) {
        store_count(call->store);
    }
}

static enum err open_guarded(struct store *store, const struct store_options *options, struct buf *note)
{
    struct open_call call = {.store = store, .options = options};

    /* A page of the lock file for which there is no room on the disk faults, too: that is no damage. */
    if (!guard_run(store, on_open, &call)) {
        call.code = store_disk_is_full(store) ? ENOSPC : MDB_CORRUPTED;
    }
    if (call.code != 0) {
        buf_format(note, "cannot open the store in %s: %s", options->dir,
                   err_from_mdb(call.code) == ERR_FOREIGN ? "its format is unknown" : mdb_strerror(call.code));
    }
    return err_from_mdb(call.code);
}

/* Opens the environment and its tables in a file that was found fit, or makes one. Inside a guarded call. */
static int open_env(struct store *store, const struct store_options *options)
{
    int dead;
    int code = mdb_env_create(&store->env);

    if (code == 0) {
        code = mdb_env_set_assert(store->env, guard_on_assert);
    }
    if (code == 0) {
        code = mdb_env_set_maxdbs(store->env, MAX_TABLES);
    }
    if (code == 0) {
        code = mdb_env_set_maxreaders(store->env, STORE_READER_SLOTS);
    }
    if (code == 0) {
        code = mdb_env_set_mapsize(store->env, store->map_pages * store->page_bytes);
    }
    if (code == 0) {
        code = mdb_env_open(store->env, options->dir, STORE_ENV_FLAGS, 0600);
    }
    if (code == 0) {
        code = size_file(store);
    }
    if (code == 0) {
        code = mdb_reader_check(store->env, &dead);
    }
    return code == 0 ? store_open_tables(store) : code;
}

/* Its length is the size of the store, which may have changed since it was made; nothing lies behind the map. */
static int size_file(struct store *store)
{
    uint64_t map_bytes = store->map_pages * store->page_bytes;
    uint64_t bytes = map_bytes > store->size_bytes ? map_bytes : store->size_bytes;
    mdb_filehandle_t fd;
    struct stat status;
    int code = mdb_env_get_fd(store->env, &fd);

    if (code != 0) {
        return code;
    }
    if (fstat(fd, &status) != 0) {
        return errno;
    }
    return (uint64_t)status.st_size == bytes || ftruncate(fd, (off_t)bytes) == 0 ? 0 : errno;
}
