/* store_tree.h: from the root of one of LMDB's trees to the row under a key, without LMDB.
 *
 * LMDB would do the same, but for every row anew: a cursor is set up, the table is looked for by its name, and each
 * step of a search waits for memory before it is known what the next one may want. On the way of a hit that is half of
 * what a find costs. A question that LMDB does not answer is also asked here: would it have to wait for the disk
 * (store_cold.c)?
 *
 * Nothing of the pages is believed (store_page.h). Where one makes no sense the answer is TREE_ODD, and LMDB itself is
 * asked: what it makes of it counts. The caller holds a snapshot, which keeps every page of it, and of every later
 * commit, from being used again meanwhile. Inside a guarded call. Threads: any; a view belongs to one. */
#ifndef CACHE_STORE_TREE_H
#define CACHE_STORE_TREE_H

#include "cache/store_page.h"

struct tree_root {
    uint64_t page;  /* PAGE_NONE: the tree is empty */
    unsigned depth; /* in pages */
    bool numbers;   /* its keys are of 8 bytes, native; else strings of bytes */
};

/* May a page be read now? False ends the search with TREE_COLD. */
typedef bool (*tree_page_fn)(void *arg, uint64_t page, bool branch);

struct tree_view {
    const char *map;
    uint64_t page_bytes;
    uint64_t last_page;    /* there is none behind it */
    tree_page_fn may_read; /* asked before each page; NULL: always */
    void *arg;
};

enum tree_found {
    TREE_FOUND,
    TREE_ABSENT,
    TREE_COLD,
    TREE_ODD,
};

/* The value under `key`; it lies in the map. */
enum tree_found tree_find(const struct tree_view *view, const struct tree_root *tree, struct span key,
                          struct span *out_value);

/* The tree of the tables' names as the meta page of transaction `txn` has it; sets `last_page` of the view. False: that
 * page has been written anew. */
bool tree_of_names(struct tree_view *view, uint64_t map_pages, uint64_t txn, struct tree_root *out_names);

/* The tree of the table with this name. */
enum tree_found tree_of_table(const struct tree_view *view, const struct tree_root *names, struct span name,
                              bool numbers, struct tree_root *out_tree);

#endif
