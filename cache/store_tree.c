/* store_tree.c: see store_tree.h.
 *
 * What a search costs is the lines of memory it waits for: nodes lie in a page in the order in which they came, so each
 * that is looked at is another line. Where a key lies between two others tells about where its node is: keys of the
 * index are hashes, spread evenly, and ids are given one after another. So the first looks go where the key should be,
 * between the separators that the branch above gave; only what they do not find is searched by halves. */
#include "cache/store_tree.h"

#include <string.h>

enum {
    MAX_LEVELS = 32, /* LMDB's cursors have no more */
    CACHE_LINE_BYTES = 64,
    MAX_GUESSES = 4, /* a page; then halves: keys need not be spread evenly */
};

/* A key that is looked for, or a node's. */
struct tree_key {
    struct span bytes;
    uint64_t front; /* the first eight bytes as a number that has their order; where keys are numbers all of it */
};

/* Keys that a page may have: from `least` on and not behind `most`; UINT64_MAX: nothing is known of its end. */
struct range {
    uint64_t least;
    uint64_t most;
};

static enum tree_found descend(const struct tree_view *view, const struct tree_root *tree, const struct tree_key *key,
                               struct page_node *out_node);
static enum tree_found search(const struct tree_view *view, bool numbers, const char *page, unsigned kind,
                              const struct tree_key *key, struct range *range, struct page_node *out_node);

static bool may_read(const struct tree_view *view, uint64_t page, bool branch)
{
    return view->may_read == NULL || view->may_read(view->arg, page, branch);
}

static uint64_t front_of(struct span bytes, bool number)
{
    const bool swap = !number && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
    uint64_t front = 0;

    if (bytes.len >= sizeof(front)) {
        memcpy(&front, bytes.data, sizeof(front));
    } else if (bytes.len > 0) {
        memcpy(&front, bytes.data, bytes.len);
    }
    return swap ? __builtin_bswap64(front) : front;
}

enum tree_found tree_find(const struct tree_view *view, const struct tree_root *tree, struct span key,
                          struct span *out_value)
{
    struct tree_key wanted = {.bytes = key, .front = front_of(key, tree->numbers)};
    struct page_node node;

    if (tree->page == PAGE_NONE) {
        return TREE_ABSENT;
    }
    enum tree_found found = descend(view, tree, &wanted, &node);
    if (found != TREE_FOUND) {
        return found;
    }
    *out_value = (struct span){node.data, node.data_bytes};
    if (node.big) {
        uint64_t page = page_u64(node.data);
        uint64_t pages = value_pages(node.data_bytes, view->page_bytes);
        if (page > view->last_page || pages > view->last_page - page + 1) {
            return TREE_ODD;
        }
        if (!may_read(view, page, false)) {
            return TREE_COLD;
        }
        out_value->data = view->map + page * view->page_bytes + PAGE_HEADER_BYTES;
    }
    for (size_t at = 0; at < out_value->len; at += CACHE_LINE_BYTES) { /* all of it is read next, for its check */
        __builtin_prefetch(out_value->data + at);
    }
    return TREE_FOUND;
}

static enum tree_found descend(const struct tree_view *view, const struct tree_root *tree, const struct tree_key *key,
                               struct page_node *out_node)
{
    struct range range = {.least = 0, .most = UINT64_MAX};
    uint64_t number = tree->page;

    if (tree->depth == 0 || tree->depth > MAX_LEVELS) {
        return TREE_ODD;
    }
    for (unsigned level = 1;; level++) {
        bool leaf = level == tree->depth;
        if (number > view->last_page) {
            return TREE_ODD;
        }
        if (!may_read(view, number, !leaf)) {
            return TREE_COLD;
        }
        enum tree_found found = search(view, tree->numbers, view->map + number * view->page_bytes,
                                       leaf ? PAGE_LEAF : PAGE_BRANCH, key, &range, out_node);
        if (found != TREE_FOUND || leaf) {
            return found;
        }
        number = out_node->child;
    }
}

/* The key of node `index`. False: it does not lie inside the page, or is none of this tree. */
static bool read_key(const struct tree_view *view, bool numbers, const char *page, size_t index,
                     struct tree_key *out_key)
{
    size_t at = page_u16(page + PAGE_HEADER_BYTES + 2 * index);

    if (at + NODE_HEADER_BYTES > view->page_bytes) {
        return false;
    }
    size_t len = page_u16(page + at + NODE_AT_KEY_BYTES);
    if (len > view->page_bytes - at - NODE_HEADER_BYTES || (numbers && len != sizeof(out_key->front))) {
        return false;
    }
    out_key->bytes = (struct span){page + at + NODE_HEADER_BYTES, len};
    out_key->front = front_of(out_key->bytes, numbers);
    return true;
}

static int compare(const struct tree_key *left, const struct tree_key *right, bool numbers)
{
    if (left->front != right->front || numbers) {
        return (left->front > right->front) - (left->front < right->front);
    }
    int order = memcmp(left->bytes.data, right->bytes.data,
                       left->bytes.len < right->bytes.len ? left->bytes.len : right->bytes.len);
    return order != 0 ? order : (left->bytes.len > right->bytes.len) - (left->bytes.len < right->bytes.len);
}

/* Which of `count` nodes has the key, if theirs are spread evenly over the range; else the one in the middle. */
static size_t guess(uint64_t front, const struct range *range, size_t count, unsigned guesses)
{
    if (guesses >= MAX_GUESSES || range->most == UINT64_MAX || front < range->least || front >= range->most) {
        return count / 2;
    }
    double share = (double)(front - range->least) / (double)(range->most - range->least);
    size_t index = (size_t)(share * (double)count);
    return index < count ? index : count - 1;
}

/* Of a leaf the node with the key; of a branch the last one that is not behind it, the first of which counts as the
 * least. The range becomes that of the page below. */
static enum tree_found search(const struct tree_view *view, bool numbers, const char *page, unsigned kind,
                              const struct tree_key *key, struct range *range, struct page_node *out_node)
{
    size_t lower = page_u16(page + PAGE_AT_LOWER);

    if (page_u16(page + PAGE_AT_FLAGS) != kind || lower <= PAGE_HEADER_BYTES || lower > view->page_bytes) {
        return TREE_ODD;
    }
    bool leaf = kind == PAGE_LEAF;
    bool met = false;
    size_t low = leaf ? 0 : 1; /* [0, low) are not behind the key, [high, count) are */
    size_t high = (lower - PAGE_HEADER_BYTES) / 2;
    for (unsigned guesses = 0; low < high && !met; guesses++) {
        size_t middle = low + guess(key->front, range, high - low, guesses);
        struct tree_key other;
        if (!read_key(view, numbers, page, middle, &other)) {
            return TREE_ODD;
        }
        int order = compare(key, &other, numbers);
        met = order == 0;
        if (order >= 0) {
            low = middle + 1;
            range->least = other.front;
        } else {
            high = middle;
            range->most = other.front;
        }
    }
    if (leaf && !met) {
        return TREE_ABSENT;
    }
    return page_node_read(page, view->page_bytes, low - 1, kind, out_node) ? TREE_FOUND : TREE_ODD;
}

/* ---- where the trees are ---- */

bool tree_of_names(struct tree_view *view, uint64_t map_pages, uint64_t txn, struct tree_root *out_names)
{
    const char *meta = view->map + txn % 2 * view->page_bytes; /* transaction n writes meta page n % 2 */

    view->last_page = page_u64(meta + META_AT_LAST_PAGE);
    *out_names = (struct tree_root){.page = page_u64(meta + META_AT_MAIN_TREE + TREE_AT_ROOT),
                                    .depth = page_u16(meta + META_AT_MAIN_TREE + TREE_AT_DEPTH)};
    return page_u64(meta + META_AT_TXN) == txn && view->last_page < map_pages;
}

enum tree_found tree_of_table(const struct tree_view *view, const struct tree_root *names, struct span name,
                              bool numbers, struct tree_root *out_tree)
{
    struct span row;
    enum tree_found found = tree_find(view, names, name, &row);

    if (found != TREE_FOUND) {
        return found;
    }
    if (row.len != TREE_BYTES) {
        return TREE_ODD;
    }
    *out_tree = (struct tree_root){
        .page = page_u64(row.data + TREE_AT_ROOT), .depth = page_u16(row.data + TREE_AT_DEPTH), .numbers = numbers};
    return TREE_FOUND;
}
