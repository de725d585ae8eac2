/* store_format.c: a store of a newer larder is left alone.
 *
 * An older version's, or another program's, file is set aside and a new one made: what it held can be fetched again. A
 * newer one's is what somebody wants back who has only gone a version back for a moment. So it is told from those
 * before anything is changed, before LMDB may see the file, and whatever else a newer version may have changed: by the
 * row `identity` of the table `meta`, which begins with the format (store_meta.c).
 *
 * Nothing of the pages is believed (store_tree.h), and a fault is caught: where the row is not found nothing is said,
 * and the open goes its way. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/store_internal.h"

struct format_call {
    struct tree_view view;
    uint64_t pages;
    unsigned version; /* 0: not found */
};

static void on_look(void *arg) /* guarded_fn */
{
    struct format_call *call = arg;
    uint64_t first = page_u64(call->view.map + META_AT_TXN);
    uint64_t second = page_u64(call->view.map + call->view.page_bytes + META_AT_TXN);
    struct tree_root names;
    struct tree_root meta;
    struct span identity;

    if (tree_of_names(&call->view, call->pages, first > second ? first : second, &names) &&
        tree_of_table(&call->view, &names, span_of(store_tables[TABLE_META].name), false, &meta) == TREE_FOUND &&
        tree_find(&call->view, &meta, SPAN("identity"), &identity) == TREE_FOUND) {
        call->version = store_format_of(identity);
    }
}

static unsigned look(const char *path, uint64_t pages)
{
    struct format_call call = {.view = {.page_bytes = (uint64_t)sysconf(_SC_PAGESIZE)}, .pages = pages};
    size_t bytes = (size_t)(pages * call.view.page_bytes);
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return 0;
    }
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED) {
        return 0;
    }
    (void)madvise(map, bytes, MADV_RANDOM); /* advice: the row is a few pages away */
    call.view.map = map;
    if (!guard_call(on_look, &call)) {
        call.version = 0;
    }
    munmap(map, bytes);
    return call.version;
}

bool store_is_newer(const char *dir, struct buf *note)
{
    char path[PATH_MAX];
    struct buf ignored; /* whoever opens it is told */
    uint64_t pages;

    buf_init(&ignored, PATH_MAX);
    enum err error = store_file_check(dir, &pages, &ignored);
    buf_finish(&ignored);
    if (error != ERR_OK || !store_file_path(dir, STORE_DATA_FILE, path)) {
        return false;
    }
    unsigned version = look(path, pages);
    if (version <= store_format()) {
        return false;
    }
    buf_format(note,
               "it is of format %u, a newer larder's, and this one knows format %u: nothing was changed; start the "
               "newer larder again, give another cache.dir, or delete this one",
               version, store_format());
    return true;
}
