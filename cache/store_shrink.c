/* store_shrink.c: a file that is larger than its limit, because the limit was lowered.
 *
 * LMDB never gives pages back to the file system. So, at open: objects are evicted (SIEVE's order, from where the hand
 * stood) until what is left fits, what is left is copied into a new file without holes, and that takes the old one's
 * place by rename. A kill at any moment leaves either file whole: the next open goes on. The copy's name is fixed: what
 * a kill left of one is overwritten.
 *
 * Cost: LMDB reads each evicted page once and the copy writes what stays: 64 MiB to 16 MiB 0.2 s, about 3 s a GiB of
 * the old file. Nobody may wait long for a start: a file of more than SHRINK_MAX_BYTES is removed, and the store starts
 * empty; so it does where the copy does not succeed (the disk must hold it beside the old file for a moment). */
#include <fcntl.h>
#include <unistd.h>

#include "cache/store_internal.h"

#define COPY_FILE        "data.mdb.smaller"
#define SHRINK_MAX_BYTES ((uint64_t)4 << 30)

struct shrink {
    struct store *store;
    int fd;
    int code;
};

static void on_shrink(void *arg) /* guarded_fn */
{
    struct shrink *shrink = arg;

    shrink->code = store_evict_to_limit(shrink->store);
    if (shrink->code == 0) {
        shrink->code = mdb_env_copyfd2(shrink->store->env, shrink->fd, MDB_CP_COMPACT);
    }
}

/* The file as it should be, under the copy's name. */
static bool make_copy(struct store *store, const char *path)
{
    struct shrink shrink = {.store = store, .fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};

    if (shrink.fd < 0) {
        return false;
    }
    bool made = guard_run(store, on_shrink, &shrink) && shrink.code == 0 && fsync(shrink.fd) == 0;
    close(shrink.fd);
    return made;
}

enum err store_shrink(struct store *store, struct buf *note)
{
    char path[PATH_MAX];
    uint64_t file_bytes = store->map_pages * store->page_bytes;

    if (!store_file_path(store->dir, COPY_FILE, path)) {
        return ERR_IO;
    }
    if (file_bytes <= SHRINK_MAX_BYTES && make_copy(store, path)) {
        return store_file_replace(store->dir, COPY_FILE);
    }
    (void)unlink(path); /* there may be none */
    if (store_failed(store)) {
        buf_format(note, "the data file is damaged");
        return ERR_OK; /* the caller sets it aside */
    }
    buf_format(note, "the data file is larger than the new limit and cannot be made smaller; the store starts empty");
    return store_file_replace(store->dir, NULL);
}
