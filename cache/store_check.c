/* store_check.c: are LMDB's own pages what they should be?
 *
 * LMDB has no checksums. Reading a damaged tree gives rows that fail their checks, or a fault that the guard catches;
 * *changing* one can write anywhere in our memory. So every page of every tree is looked at before the first change:
 * headers, every node inside its page and beside the others, keys in order, levels, no page used twice, free pages not
 * in use, counts as recorded. What lies in the tables is not looked at: it has checks of its own.
 *
 * Cost: branches and leaves, about 1 % of a file of bodies, most of one of tiny objects. The children of a branch are
 * asked for together, neighbours as one run: the disk reads them at the same time, and in few pieces. `budget_pages`
 * bounds it, for the open; the rest is the disk thread's, behind it (store_check_pages), and may be broken off. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/store_internal.h"

enum {
    FIRST_PAGE = 2,
    MAX_DEPTH = 32,      /* LMDB's cursors have no more */
    MAX_CHILDREN = 1024, /* of a branch, that are asked for together: more than a page of 4 KiB can have */
    NEAR_PAGES = 16,     /* to read what lies between costs less than another read */
};

enum tree_kind {
    TREE_FREE_LIST, /* values: lists of free pages */
    TREE_NAMES,     /* values: trees */
    TREE_ROWS,
};

struct walk {
    const char *map;
    uint64_t page_bytes;
    uint64_t file_pages;
    uint64_t last_page;
    uint64_t txn;
    uint64_t budget;            /* pages that may still be looked at */
    bool values;                /* pages of rows' values, too */
    const atomic_bool *give_up; /* set by another thread: break it off. NULL: nobody does */
    unsigned char *used;        /* a bit a page */
};

struct tree {
    enum tree_kind kind;
    unsigned flags;
    unsigned depth;
    uint64_t branches; /* these four count down */
    uint64_t leaves;
    uint64_t overflow_pages;
    uint64_t entries;
    uint64_t root;
    bool has_last;
    struct span last;     /* the key met before */
    bool last_may_repeat; /* it was a branch's: usually the first key of what it leads to */
};

static enum tree_check walk_file(struct walk *walk);
static enum tree_check walk_tree(struct walk *walk, enum tree_kind kind, const char *at);
static enum tree_check walk_page(struct walk *walk, struct tree *tree, uint64_t number, unsigned level);
static void want_children(const struct walk *walk, const char *page, size_t count);
static void want_lists(const struct walk *walk, const char *page, size_t count);
static enum tree_check walk_leaf(struct walk *walk, struct tree *tree, const char *page, size_t count);
static bool check_page(const struct walk *walk, const char *page, uint64_t number, unsigned flags, size_t *out_count);
static bool check_key(const struct tree *tree, struct span key);
static enum tree_check check_value(struct walk *walk, struct tree *tree, const struct page_node *node);
static bool claim(struct walk *walk, uint64_t first, uint64_t count);

struct guarded_walk {
    struct walk walk;
    enum tree_check result;
};

static void on_walk(void *arg) /* guarded_fn */
{
    struct guarded_walk *call = arg;

    call->result = walk_file(&call->walk);
}

enum tree_check store_check_trees(const char *dir, uint64_t file_pages, const struct tree_limits *limits)
{
    char path[PATH_MAX];
    struct stat status;
    struct guarded_walk call = {.walk = {.page_bytes = (uint64_t)sysconf(_SC_PAGESIZE),
                                         .file_pages = file_pages,
                                         .budget = limits->pages,
                                         .values = limits->values,
                                         .give_up = limits->give_up},
                                .result = TREES_DAMAGED};
    size_t map_bytes = (size_t)(file_pages * call.walk.page_bytes);

    if (!store_file_path(dir, STORE_DATA_FILE, path)) {
        return TREES_UNCHECKED;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return TREES_UNCHECKED;
    }
    if (fstat(fd, &status) != 0 || (uint64_t)status.st_size < map_bytes) {
        close(fd);
        return TREES_DAMAGED;
    }
    void *map = mmap(NULL, map_bytes, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    call.walk.used = calloc(1, (size_t)(file_pages / CHAR_BIT + 1));
    if (map == MAP_FAILED || call.walk.used == NULL) {
        call.result = TREES_UNCHECKED;
    } else {
        call.walk.map = map;
        (void)madvise(map, map_bytes, MADV_RANDOM); /* the leaves lie anywhere between the bodies */
        if (!guard_call(on_walk, &call)) {
            call.result = TREES_DAMAGED; /* a page that the disk cannot read */
        }
    }
    if (map != MAP_FAILED) {
        munmap(map, map_bytes);
    }
    free(call.walk.used);
    return call.result;
}

/* The meta page in force, as LMDB picks it, and the two trees in it. */
static enum tree_check walk_file(struct walk *walk)
{
    const char *first = walk->map;
    const char *second = walk->map + walk->page_bytes;
    uint64_t first_txn = page_u64(first + META_AT_TXN);
    uint64_t second_txn = page_u64(second + META_AT_TXN);
    const char *meta = first_txn < second_txn ? second : first;

    walk->last_page = page_u64(meta + META_AT_LAST_PAGE);
    if (walk->last_page >= walk->file_pages || first_txn % 2 != 0 || (second_txn % 2 == 0 && second_txn != 0)) {
        return TREES_DAMAGED; /* transaction n writes meta page n % 2 */
    }
    walk->txn = page_u64(meta + META_AT_TXN);
    /* These flags are the environment's, too: no other is ever ours. */
    if (page_u16(meta + META_AT_FREE_TREE + 4) != TREE_NUMBERS || page_u16(meta + META_AT_MAIN_TREE + 4) != 0) {
        return TREES_DAMAGED;
    }
    enum tree_check result = walk_tree(walk, TREE_FREE_LIST, meta + META_AT_FREE_TREE);
    return result == TREES_GOOD ? walk_tree(walk, TREE_NAMES, meta + META_AT_MAIN_TREE) : result;
}

static enum tree_check walk_tree(struct walk *walk, enum tree_kind kind, const char *at)
{
    struct tree tree = {
        .kind = kind,
        .flags = page_u16(at + 4),
        .depth = page_u16(at + 6),
        .branches = page_u64(at + 8),
        .leaves = page_u64(at + 16),
        .overflow_pages = page_u64(at + 24),
        .entries = page_u64(at + 32),
        .root = page_u64(at + 40),
    };
    enum tree_check result = TREES_GOOD;

    if ((tree.flags & ~(unsigned)TREE_NUMBERS) != 0 || tree.depth > MAX_DEPTH ||
        (tree.root == PAGE_NONE) != (tree.depth == 0)) {
        return TREES_DAMAGED;
    }
    if (tree.branches > walk->budget || tree.leaves > walk->budget - tree.branches) {
        return TREES_UNCHECKED; /* it says so itself: not one page of it is read */
    }
    if (tree.root != PAGE_NONE) {
        result = walk_page(walk, &tree, tree.root, 1);
    }
    if (result != TREES_GOOD) {
        return result;
    }
    return tree.branches == 0 && tree.leaves == 0 && tree.overflow_pages == 0 && tree.entries == 0 ? TREES_GOOD
                                                                                                   : TREES_DAMAGED;
}

static enum tree_check walk_page(struct walk *walk, struct tree *tree, uint64_t number, unsigned level)
{
    enum tree_check result = TREES_GOOD;
    bool leaf = level == tree->depth;
    size_t count;

    if (walk->budget == 0 || (walk->give_up != NULL && atomic_load_explicit(walk->give_up, memory_order_relaxed))) {
        return TREES_UNCHECKED;
    }
    walk->budget--;
    if (!claim(walk, number, 1)) {
        return TREES_DAMAGED;
    }
    const char *page = walk->map + number * walk->page_bytes;
    if (!check_page(walk, page, number, leaf ? PAGE_LEAF : PAGE_BRANCH, &count)) {
        return TREES_DAMAGED;
    }
    if (leaf) {
        tree->leaves--;
        return walk_leaf(walk, tree, page, count);
    }
    tree->branches--;
    want_children(walk, page, count);
    for (size_t i = 0; i < count && result == TREES_GOOD; i++) {
        struct page_node node;

        if (!page_node_read(page, walk->page_bytes, i, PAGE_BRANCH, &node)) {
            return TREES_DAMAGED;
        }
        if (i > 0) { /* the first one is never compared and may be empty */
            if (!check_key(tree, node.key)) {
                return TREES_DAMAGED;
            }
            tree->last = node.key;
            tree->last_may_repeat = true;
        }
        result = walk_page(walk, tree, node.child, level + 1);
    }
    return result;
}

static int compare_pages(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

/* Asks for the pages that are looked at next: those that lie near each other as one run, with what is between. */
static void want_children(const struct walk *walk, const char *page, size_t count)
{
    uint64_t pages[MAX_CHILDREN];
    size_t wanted = 0;

    for (size_t i = 0; i < count && i < walk->budget && wanted < MAX_CHILDREN; i++) {
        struct page_node node;
        if (page_node_read(page, walk->page_bytes, i, PAGE_BRANCH, &node) && node.child <= walk->last_page) {
            pages[wanted] = node.child;
            wanted++;
        }
    }
    if (wanted == 0) {
        return;
    }
    qsort(pages, wanted, sizeof(pages[0]), compare_pages);
    for (size_t from = 0, to; from < wanted; from = to) {
        for (to = from + 1; to < wanted && pages[to] - pages[to - 1] <= NEAR_PAGES; to++) {
        }
        (void)madvise((char *)(uintptr_t)walk->map + pages[from] * walk->page_bytes,
                      (pages[to - 1] - pages[from] + 1) * walk->page_bytes, MADV_WILLNEED); /* advice */
    }
}

/* The free list's values that have pages of their own: of no other tree are they looked at. */
static void want_lists(const struct walk *walk, const char *page, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct page_node node;
        if (page_node_read(page, walk->page_bytes, i, PAGE_LEAF, &node) && node.big) {
            uint64_t first = page_u64(node.data);
            uint64_t pages = value_pages(node.data_bytes, walk->page_bytes);
            if (first <= walk->last_page && pages <= walk->last_page - first + 1) {
                (void)madvise((char *)(uintptr_t)walk->map + first * walk->page_bytes, pages * walk->page_bytes,
                              MADV_WILLNEED); /* advice */
            }
        }
    }
}

static enum tree_check walk_leaf(struct walk *walk, struct tree *tree, const char *page, size_t count)
{
    enum tree_check result = TREES_GOOD;

    if (tree->kind == TREE_FREE_LIST) {
        want_lists(walk, page, count);
    }
    for (size_t i = 0; i < count && result == TREES_GOOD; i++) {
        struct page_node node;

        if (!page_node_read(page, walk->page_bytes, i, PAGE_LEAF, &node) || !check_key(tree, node.key)) {
            return TREES_DAMAGED;
        }
        tree->has_last = true;
        tree->last = node.key;
        tree->last_may_repeat = false;
        tree->entries--;
        result = check_value(walk, tree, &node);
    }
    return result;
}

/* Its header; and its nodes fill exactly the part behind `upper`, without holes or overlaps. */
static bool check_page(const struct walk *walk, const char *page, uint64_t number, unsigned flags, size_t *out_count)
{
    size_t lower = page_u16(page + 12);
    size_t upper = page_u16(page + 14);
    unsigned char taken[PAGE_MAX_BYTES / 2 / CHAR_BIT] = {0}; /* nodes begin at even places */
    size_t bytes = 0;

    if (page_u64(page) != number || page_u16(page + 10) != flags || lower <= PAGE_HEADER_BYTES || lower % 2 != 0 ||
        lower > upper || upper > walk->page_bytes || walk->page_bytes > PAGE_MAX_BYTES) {
        return false;
    }
    size_t count = (lower - PAGE_HEADER_BYTES) / 2;
    for (size_t i = 0; i < count; i++) {
        size_t at = page_u16(page + PAGE_HEADER_BYTES + 2 * i);
        struct page_node node;

        /* The sum again: larder may have been started while its stopped store is checked, and write this page. */
        if (at < upper || at % 2 != 0 || !page_node_read(page, walk->page_bytes, i, flags, &node) ||
            at + node.bytes > walk->page_bytes) {
            return false;
        }
        for (size_t unit = at / 2; unit < (at + node.bytes) / 2; unit++) {
            unsigned char bit = (unsigned char)(1u << unit % CHAR_BIT);
            if ((taken[unit / CHAR_BIT] & bit) != 0) {
                return false;
            }
            taken[unit / CHAR_BIT] |= bit;
        }
        bytes += node.bytes;
    }
    *out_count = count;
    return bytes == walk->page_bytes - upper;
}

/* Of the right form, and behind the last one. */
static bool check_key(const struct tree *tree, struct span key)
{
    int order = 1;

    if (key.len == 0 || (tree->flags == TREE_NUMBERS && key.len != sizeof(uint64_t))) {
        return false;
    }
    if (!tree->has_last) {
        return true;
    }
    if (tree->flags == TREE_NUMBERS) {
        uint64_t number = page_u64(key.data);
        uint64_t last = page_u64(tree->last.data);
        order = number > last ? 1 : number == last ? 0 : -1;
    } else {
        order = memcmp(key.data, tree->last.data, key.len < tree->last.len ? key.len : tree->last.len);
        order = order == 0 ? (key.len > tree->last.len) - (key.len < tree->last.len) : order;
    }
    return order > 0 || (order == 0 && tree->last_may_repeat);
}

/* The list of pages that one transaction freed: how many, then their numbers, falling. */
static bool check_free_list(struct walk *walk, struct span key, struct span list)
{
    if (page_u64(key.data) > walk->txn || list.len < sizeof(uint64_t) || list.len % sizeof(uint64_t) != 0) {
        return false;
    }
    uint64_t count = page_u64(list.data); /* read once: see check_page */
    if (count > list.len / sizeof(uint64_t) - 1) {
        return false;
    }
    uint64_t before = UINT64_MAX;
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number = page_u64(list.data + i * sizeof(uint64_t));
        if (number >= before || !claim(walk, number, 1)) {
            return false;
        }
        before = number;
    }
    return true;
}

/* The pages of a value that has its own. Headers of rows and pieces are looked at when they are deleted: they are as
 * many as the bodies' pages. In its free list LMDB overwrites values with shorter ones in the same pages, which then
 * may be more than the value needs: only their header says how many they are. Our own rows are never written so
 * (batch_put). */
static bool check_big_value(struct walk *walk, struct tree *tree, const struct page_node *node)
{
    uint64_t first = page_u64(node->data);
    uint64_t pages = value_pages(node->data_bytes, walk->page_bytes);

    if (tree->kind == TREE_FREE_LIST && first >= FIRST_PAGE && first <= walk->last_page) {
        const char *page = walk->map + first * walk->page_bytes;
        uint32_t had;

        memcpy(&had, page + 12, sizeof(had));
        if (had < pages || !value_page_good(page, first, had)) {
            return false;
        }
        pages = had;
    } else if (node->small ||
               (walk->values &&
                (first > walk->last_page || !value_page_good(walk->map + first * walk->page_bytes, first, pages)))) {
        return false;
    }
    tree->overflow_pages -= pages;
    return claim(walk, first, pages);
}

static enum tree_check check_value(struct walk *walk, struct tree *tree, const struct page_node *node)
{
    struct span value = {node->data, node->data_bytes};

    if (node->big) {
        if (!check_big_value(walk, tree, node)) {
            return TREES_DAMAGED;
        }
        value.data = walk->map + page_u64(node->data) * walk->page_bytes + PAGE_HEADER_BYTES;
    }
    if (((node->flags & NODE_TREE) != 0) != (tree->kind == TREE_NAMES)) {
        return TREES_DAMAGED;
    }
    switch (tree->kind) {
    case TREE_FREE_LIST:
        return check_free_list(walk, node->key, value) ? TREES_GOOD : TREES_DAMAGED;
    case TREE_NAMES:
        return value.len == TREE_BYTES ? walk_tree(walk, TREE_ROWS, value.data) : TREES_DAMAGED;
    case TREE_ROWS:
        return TREES_GOOD;
    }
    UNREACHABLE();
}

/* False: outside the file, or used by something else already. */
static bool claim(struct walk *walk, uint64_t first, uint64_t count)
{
    if (first < FIRST_PAGE || first > walk->last_page || count > walk->last_page - first + 1) {
        return false;
    }
    for (uint64_t page = first; page < first + count; page++) {
        unsigned char bit = (unsigned char)(1u << page % CHAR_BIT);
        if ((walk->used[page / CHAR_BIT] & bit) != 0) {
            return false;
        }
        walk->used[page / CHAR_BIT] |= bit;
    }
    return true;
}
