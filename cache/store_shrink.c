/* store_shrink.c: a file that is larger than its limit, because the limit was lowered.
 *
 * LMDB never gives pages back to the file system. So, at open: objects are evicted (SIEVE's order, from where the hand
 * stood) until what is left fits, what is left is copied into a new file without holes, and that takes the old one's
 * place by rename. A kill at any moment leaves either file whole: the next open goes on, and removes what was left of
 * the copy. It belongs to whom the old one belongs.
 *
 * Cost: the old file is read once, in its order (LMDB reads page by page: from a cold disk that took ten times as
 * long), and what stays is written. 0.5 GB to 128 MiB: 0.4 s when it is in memory, 1.1 s from a cold disk.
 * Nobody may wait long for a start: a file of more than SHRINK_MAX_BYTES is removed, and the store starts empty; so it
 * does where the copy does not succeed (the disk must hold it beside the old file for a moment). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "cache/store_batch.h"
#include "cache/store_tools.h"

#define SHRINK_MAX_BYTES ((uint64_t)4 << 30)

enum { READ_BYTES = 256 * 1024 };

struct shrink {
    struct store *store;
    int fd;
    bool evict; /* down to the limit first */
    int code;
};

static void on_shrink(void *arg) /* guarded_fn */
{
    struct shrink *shrink = arg;

    shrink->code = shrink->evict ? store_evict_to_limit(shrink->store) : 0;
    if (shrink->code == 0) {
        shrink->code = mdb_env_copyfd2(shrink->store->env, shrink->fd, MDB_CP_COMPACT);
    }
}

/* Into the page cache, from front to back. Errors show where LMDB meets them. */
static void read_through(const struct store *store)
{
    char path[PATH_MAX];
    char *bytes = malloc(READ_BYTES);
    int fd = store_file_path(store->dir, STORE_DATA_FILE, path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd >= 0 && bytes != NULL) {
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* advice */
        while (read(fd, bytes, READ_BYTES) > 0) {
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    free(bytes);
}

/* The file as it should be, under the copy's name. */
static int make_copy(struct store *store, const char *path, bool evict)
{
    struct shrink shrink = {
        .store = store, .fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), .evict = evict};

    if (shrink.fd < 0) {
        return errno;
    }
    if (evict) {
        read_through(store); /* else it has been (check_copied) */
    }
    if (!guard_run(store, on_shrink, &shrink)) {
        shrink.code = MDB_CORRUPTED;
    }
    struct store_owner owner = store_file_owner(store->dir);
    if (geteuid() == 0) {
        (void)fchown(shrink.fd, owner.user, owner.group); /* refused: then it stays root's, as in store_file_give */
    }
    /* As long as every file of ours: its length is what says how large the store may become. */
    if (shrink.code == 0 && (ftruncate(shrink.fd, (off_t)store->size_bytes) != 0 || fsync(shrink.fd) != 0)) {
        shrink.code = errno;
    }
    close(shrink.fd);
    return shrink.code;
}

enum err store_shrink(struct store *store, struct buf *note)
{
    char path[PATH_MAX];
    uint64_t file_bytes = store->map_pages * store->page_bytes;

    if (!store_file_path(store->dir, STORE_COMPACT_FILE, path)) {
        return ERR_IO;
    }
    if (file_bytes <= SHRINK_MAX_BYTES && make_copy(store, path, true) == 0) {
        return store_file_replace(store->dir, STORE_COMPACT_FILE);
    }
    (void)unlink(path); /* there may be none */
    if (store_failed(store)) {
        buf_format(note, "the data file is damaged");
        return ERR_OK; /* the caller sets it aside */
    }
    buf_format(note, "the data file is larger than the new limit and cannot be made smaller; the store starts empty");
    return store_file_replace(store->dir, NULL);
}

/* LMDB copies as many pages of a value as its own first page says, and counts on from there: one that is damaged would
 * make a file of which nothing is found again. */
static enum err check_copied(struct store *store, struct buf *note)
{
    const struct tree_limits all = {.pages = UINT64_MAX, .values = true};

    read_through(store);
    switch (store_check_trees(store->dir, store->map_pages, &all)) {
    case TREES_GOOD:
        return ERR_OK;
    case TREES_DAMAGED:
        buf_add_text(note, "`larder store export` saves what is good");
        return ERR_DAMAGED;
    case TREES_UNCHECKED:
        return ERR_NO_MEMORY;
    }
    UNREACHABLE();
}

enum err store_compact(struct store *store, struct buf *out_note)
{
    char path[PATH_MAX];
    enum err error = check_copied(store, out_note);

    if (error == ERR_OK && !store_file_path(store->dir, STORE_COMPACT_FILE, path)) {
        error = ERR_IO;
    }
    while (error == ERR_OK && store_wants_apply(store)) { /* what waits for deletion would be copied, too */
        error = store_apply(store, NULL, 0);
    }
    if (error == ERR_OK && store_failed(store)) {
        error = ERR_DAMAGED;
    }
    if (error == ERR_OK) {
        int code = make_copy(store, path, false);
        error = err_from_mdb(code);
        if (code != 0) {
            buf_format(out_note, "%s", mdb_strerror(code));
        }
    }
    if (error == ERR_OK) {
        error = store_file_replace(store->dir, STORE_COMPACT_FILE);
    } else {
        (void)unlink(path); /* there may be none */
    }
    store_close(store);
    return error;
}
