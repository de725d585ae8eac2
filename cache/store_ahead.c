/* store_ahead.c: what an open reads of LMDB's file, read ahead together.
 *
 * An open goes to the first and the last key of every table, and so does the probe in front of it. Where nothing of the
 * file is in memory each page on these ways is a wait for the disk, one after another: the next is known only when the
 * one above it has been read. But the ways of different tables have nothing to do with each other. So they are gone all
 * at once, a level at a time: all pages of a level are asked for, then looked at. That makes as many waits as the
 * deepest tree has levels, and three, in place of some for each table.
 *
 * All of it is advice. What cannot be read, or makes no sense, is left to those who come behind. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "cache/store_internal.h"

enum {
    MAX_STEPS = 64,   /* the names' tree, then a table's: LMDB's cursors have no more levels than 32 each */
    MAX_WANTED = 128, /* pages of one level: two of each table, some of the free list */
    FREE_LEAVES = 16, /* of the free list, from its beginning: the probe looks at some rows there */
};

enum wanted_kind {
    WANTED_FREE_LIST,
    WANTED_NAMES,
    WANTED_ROWS,
};

/* A page, and how many levels it and those below it make. */
struct wanted {
    uint64_t page;
    unsigned depth;
    enum wanted_kind kind;
};

struct level {
    struct wanted items[MAX_WANTED];
    size_t count;
};

struct ahead {
    int fd;
    uint64_t page_bytes;
    uint64_t last_page;
    char *page; /* room for one */
};

static bool read_page(const struct ahead *ahead, uint64_t number)
{
    return pread(ahead->fd, ahead->page, ahead->page_bytes, (off_t)(number * ahead->page_bytes)) ==
           (ssize_t)ahead->page_bytes;
}

/* Asks for it, too. */
static void want(const struct ahead *ahead, struct level *level, struct wanted wanted)
{
    if (wanted.depth == 0 || wanted.page > ahead->last_page || level->count == MAX_WANTED) {
        return;
    }
    level->items[level->count] = wanted;
    level->count++;
    (void)posix_fadvise(ahead->fd, (off_t)(wanted.page * ahead->page_bytes), (off_t)ahead->page_bytes,
                        POSIX_FADV_WILLNEED);
}

static void want_tree(const struct ahead *ahead, struct level *level, const char *tree, enum wanted_kind kind)
{
    want(ahead, level,
         (struct wanted){.page = page_u64(tree + TREE_AT_ROOT), .depth = page_u16(tree + TREE_AT_DEPTH), .kind = kind});
}

/* What is behind a page that lies in `ahead->page`: the first and last child of a branch, the tables of a leaf of
 * names. */
static void want_behind(const struct ahead *ahead, struct level *next, struct wanted from)
{
    size_t lower = page_u16(ahead->page + PAGE_AT_LOWER);
    unsigned kind = from.depth == 1 ? PAGE_LEAF : PAGE_BRANCH;

    if (page_u16(ahead->page + PAGE_AT_FLAGS) != kind || lower <= PAGE_HEADER_BYTES || lower > ahead->page_bytes ||
        (kind == PAGE_LEAF && from.kind != WANTED_NAMES)) {
        return;
    }
    size_t count = (lower - PAGE_HEADER_BYTES) / 2;
    size_t first = from.kind == WANTED_ROWS ? 1 : FREE_LEAVES;
    for (size_t i = 0; i < count; i++) {
        struct page_node node;

        if (kind == PAGE_BRANCH && i >= first && i + 1 < count) {
            continue;
        }
        if (!page_node_read(ahead->page, ahead->page_bytes, i, kind, &node)) {
            return;
        }
        if (kind == PAGE_BRANCH) {
            want(ahead, next, (struct wanted){.page = node.child, .depth = from.depth - 1, .kind = from.kind});
        } else if ((node.flags & NODE_TREE) != 0 && node.data_bytes == TREE_BYTES && !node.big) {
            want_tree(ahead, next, node.data, WANTED_ROWS);
        }
    }
}

/* The meta page in force, as LMDB picks it. */
static bool read_meta(struct ahead *ahead)
{
    if (!read_page(ahead, 0)) {
        return false;
    }
    uint64_t first = page_u64(ahead->page + META_AT_TXN);
    return read_page(ahead, 1) && (page_u64(ahead->page + META_AT_TXN) > first || read_page(ahead, 0));
}

static void go_down(struct ahead *ahead, struct level levels[2])
{
    if (!read_meta(ahead)) {
        return;
    }
    ahead->last_page = page_u64(ahead->page + META_AT_LAST_PAGE);
    want_tree(ahead, &levels[0], ahead->page + META_AT_FREE_TREE, WANTED_FREE_LIST);
    want_tree(ahead, &levels[0], ahead->page + META_AT_MAIN_TREE, WANTED_NAMES);
    for (unsigned i = 0; i < MAX_STEPS && levels[i % 2].count > 0; i++) {
        const struct level *here = &levels[i % 2];
        struct level *next = &levels[(i + 1) % 2];
        next->count = 0;
        for (size_t j = 0; j < here->count; j++) {
            if (read_page(ahead, here->items[j].page)) {
                want_behind(ahead, next, here->items[j]);
            }
        }
    }
}

void store_read_ahead(const char *dir)
{
    char path[PATH_MAX];
    struct level levels[2] = {{.count = 0}};
    struct ahead ahead = {.page_bytes = (uint64_t)sysconf(_SC_PAGESIZE)};

    if (ahead.page_bytes > PAGE_MAX_BYTES || !store_file_path(dir, STORE_DATA_FILE, path)) {
        return;
    }
    ahead.fd = open(path, O_RDONLY | O_CLOEXEC);
    if (ahead.fd < 0) {
        return;
    }
    ahead.page = malloc(ahead.page_bytes);
    if (ahead.page != NULL) {
        (void)posix_fadvise(ahead.fd, 0, 0, POSIX_FADV_RANDOM); /* or a read of a page would be one of megabytes */
        go_down(&ahead, levels);
    }
    free(ahead.page);
    close(ahead.fd);
}
