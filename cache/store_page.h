/* store_page.h: the bytes of LMDB's pages, read without LMDB. Nothing of them is believed: what does not lie inside its
 * page is refused.
 *
 *     page    u64 number  u16 pad  u16 flags  u16 lower  u16 upper  (overflow: u32 pages), then u16 offsets of nodes
 *     node    u16 lo  u16 hi  u16 flags  u16 key size  key  data     leaf: hi:lo size of data; branch: flags:hi:lo page
 *     tree    u32 pad  u16 flags  u16 depth  u64 branches  u64 leaves  u64 overflow pages  u64 entries  u64 root
 *     meta    page header, then see store_file.c
 *
 * Functions of their arguments; the page may lie in the map (inside a guarded call). Threads: any. */
#ifndef CACHE_STORE_PAGE_H
#define CACHE_STORE_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/span.h"

#define PAGE_NONE UINT64_MAX /* the root of an empty tree */

/* Flags. */
enum {
    PAGE_BRANCH = 0x01,
    PAGE_LEAF = 0x02,
    PAGE_OVERFLOW = 0x04,
    NODE_BIG = 0x01,     /* the data is the number of the value's first page */
    NODE_TREE = 0x02,    /* the data is a tree: a named table */
    TREE_NUMBERS = 0x08, /* its keys are numbers of the machine (MDB_INTEGERKEY) */
};

/* Sizes and places in bytes: in a page, in a tree, in a meta page. */
enum {
    PAGE_MAX_BYTES = 65536,
    PAGE_HEADER_BYTES = 16,
    PAGE_AT_FLAGS = 10,
    PAGE_AT_LOWER = 12,
    NODE_AT_KEY_BYTES = 6,
    NODE_HEADER_BYTES = 8,
    TREE_BYTES = 48,
    TREE_AT_DEPTH = 6,
    TREE_AT_ROOT = 40,
    META_AT_FREE_TREE = 40,
    META_AT_MAIN_TREE = 88,
    META_AT_LAST_PAGE = 136,
    META_AT_TXN = 144,
};

struct page_node {
    unsigned flags;
    struct span key;
    uint64_t child;
    size_t data_bytes;
    const char *data; /* in the page: the value, or the number of its first page */
    size_t bytes;     /* in the page */
    bool big;         /* the value has pages of its own */
    bool small;       /* it could lie inside the leaf */
};

uint64_t page_u64(const char *at);
unsigned page_u16(const char *at);

/* Node `index` of a page of `kind` (PAGE_BRANCH, PAGE_LEAF), which must have so many. False: it does not lie inside the
 * page, or cannot be. */
bool page_node_read(const char *page, uint64_t page_bytes, size_t index, unsigned kind, struct page_node *out_node);

/* The most that key, value and LMDB's header take together inside a leaf; beyond, the value has pages of its own. */
size_t value_inline_max(uint64_t page_bytes);
uint64_t value_pages(size_t data_bytes, uint64_t page_bytes);
bool value_page_good(const char *page, uint64_t number, uint64_t pages); /* the header of the first of them */

#endif
