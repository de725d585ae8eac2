/* store_handover.c: another process takes the store over while this one still sends what it found in it. See store.h.
 *
 * LMDB lets several processes read and one write. What it cannot know is what only our memory holds: the next ids, the
 * free blocks one batch ahead, the pins. So there is one owner (the lock), who alone writes; the former one says what
 * it has pinned, the new one pins the same, and what is pinned stays where it is.
 *
 * Taking it back is right only where the other has changed nothing: what our memory says is then still so. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/store_internal.h"

bool store_is_away(const struct store *store)
{
    return atomic_load_explicit(&store->away, memory_order_acquire);
}

/* The last transaction in the file, 0 where it cannot be known. */
static uint64_t last_transaction(const struct store *store)
{
    MDB_envinfo info;

    return store_failed(store) || mdb_env_info(store->env, &info) != 0 ? 0 : info.me_last_txnid;
}

bool store_let_go(struct store *store, uint64_t **out_bodies, size_t *out_count)
{
    atomic_store_explicit(&store->away, true, memory_order_release);
    pins_turn_away(store->pins); /* a find that has not pinned yet looks again, and finds nothing */
    if (!pins_list(store->pins, out_bodies, out_count)) {
        atomic_store_explicit(&store->away, false, memory_order_release);
        return false;
    }
    if (!store_failed(store)) {
        (void)mdb_env_sync(store->env, 1); /* as in store_close */
    }
    store->left_at = last_transaction(store);
    guard_forget_marker(store->marker_fd);
    bool whole = !store_failed(store) && store->trees_checked;
    store_marker_close(store->marker_fd, store_failed(store) ? LAST_STOP_DAMAGED : LAST_STOP_CLEAN,
                       whole ? store_file_stamp(store->dir) : 0);
    store->marker_fd = -1;
    close(store->lock_fd);
    store->lock_fd = -1;
    return true;
}

/* Is the file in the directory the one that we have open, as we left it? */
static bool is_unchanged(const struct store *store)
{
    char path[PATH_MAX];
    struct stat there;
    struct stat ours;
    mdb_filehandle_t fd;

    return store->left_at != 0 && last_transaction(store) == store->left_at && mdb_env_get_fd(store->env, &fd) == 0 &&
           fstat(fd, &ours) == 0 && store_file_path(store->dir, STORE_DATA_FILE, path) && stat(path, &there) == 0 &&
           there.st_ino == ours.st_ino && there.st_dev == ours.st_dev && there.st_size == ours.st_size;
}

bool store_take_back(struct store *store)
{
    struct store_marker found; /* how the other ended does not matter: it changed nothing */
    struct buf note;

    buf_init(&note, PATH_MAX + 256);
    bool locked = store_file_lock(store->dir, &store->lock_fd, &note) == ERR_OK;
    buf_finish(&note);
    if (!locked || !is_unchanged(store)) {
        if (locked) {
            close(store->lock_fd);
            store->lock_fd = -1;
        }
        return false;
    }
    store->marker_fd = store_marker_open(store->dir, &found);
    guard_install(store->marker_fd);
    guard_opened();
    atomic_store_explicit(&store->away, false, memory_order_release);
    return true;
}
