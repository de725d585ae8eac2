/* store_cold.c: would a find wait for the disk, and waiting in its place.
 *
 * A find in a store larger than memory may touch pages of LMDB's trees that are not in memory: the leaf of the index,
 * that of the record, the page that the head lies in. LMDB cannot be asked before: it just touches them, and the event
 * loop, with all its clients, waits for the disk. So the question is answered without LMDB: the same descents from root
 * to leaf, where each page is asked for (file_is_resident) before it is read. What comes out is advice: a wrong answer
 * costs a wait, or a detour.
 *
 * Where there is something to wait for, store_warm_find does it on another thread, all of it: what is asked for again
 * then is in memory.
 *
 * Cost: 3 µs a find, of which half are the system calls for the leaves. Branches are hot: those that were found in
 * memory are taken for that for the next SEEN_FINDS finds. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/store_internal.h"

enum {
    SEEN_PAGES = 512, /* a power of two */
    SEEN_FINDS = 4096,
    MAX_LEVELS = 32,  /* LMDB's cursors have no more */
    MAX_VARIANTS = 4, /* of a key, that are asked about; more are warmed */
    MAX_WARMED = 16,
};

struct seen_pages {
    uint64_t finds;
    struct {
        uint64_t page;
        uint64_t until; /* the find */
    } pages[SEEN_PAGES];
};

enum descent {
    DESCENT_FOUND,
    DESCENT_ABSENT, /* or nothing that could be followed: LMDB will say */
    DESCENT_COLD,
};

struct probe {
    const struct store *store;
    struct seen_pages *seen;
    int fd;
    uint64_t last_page;
};

struct tree_root {
    uint64_t page;
    unsigned depth;
    bool numbers; /* of 8 bytes, native; else strings of bytes */
};

/* ---- pages ---- */

static bool is_in_memory(struct probe *probe, uint64_t page, bool branch)
{
    size_t place = page & (SEEN_PAGES - 1);
    struct seen_pages *seen = probe->seen;

    if (branch && seen->pages[place].page == page && seen->pages[place].until > seen->finds) {
        return true;
    }
    if (!file_is_resident(probe->fd, page * probe->store->page_bytes)) {
        return false;
    }
    if (branch) {
        seen->pages[place].page = page;
        seen->pages[place].until = seen->finds + SEEN_FINDS;
    }
    return true;
}

static int compare(const struct tree_root *tree, struct span left, struct span right)
{
    if (tree->numbers && left.len == sizeof(uint64_t) && right.len == sizeof(uint64_t)) {
        uint64_t a = page_u64(left.data);
        uint64_t b = page_u64(right.data);
        return (a > b) - (a < b);
    }
    int order = memcmp(left.data, right.data, left.len < right.len ? left.len : right.len);
    return order != 0 ? order : (left.len > right.len) - (left.len < right.len);
}

/* The last node whose key is not behind `key`; of a branch the first one counts as the least. False: there is none, or
 * the page makes no sense. */
static bool find_node(const struct probe *probe, const struct tree_root *tree, const char *page, unsigned kind,
                      struct span key, struct page_node *out_node)
{
    uint64_t page_bytes = probe->store->page_bytes;
    size_t lower = page_u16(page + PAGE_AT_LOWER);

    if (page_u16(page + PAGE_AT_FLAGS) != kind || lower <= PAGE_HEADER_BYTES || lower > page_bytes) {
        return false;
    }
    size_t low = kind == PAGE_BRANCH ? 1 : 0; /* [0, low) are not behind, [high, count) are */
    size_t high = (lower - PAGE_HEADER_BYTES) / 2;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct page_node node;
        if (!page_node_read(page, page_bytes, middle, kind, &node)) {
            return false;
        }
        if (compare(tree, node.key, key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && page_node_read(page, page_bytes, low - 1, kind, out_node);
}

static enum descent descend(struct probe *probe, const struct tree_root *tree, struct span key,
                            struct page_node *out_node)
{
    uint64_t number = tree->page;

    if (tree->depth == 0 || tree->depth > MAX_LEVELS) {
        return DESCENT_ABSENT;
    }
    for (unsigned level = 1;; level++) {
        bool leaf = level == tree->depth;
        if (number > probe->last_page) {
            return DESCENT_ABSENT;
        }
        if (!is_in_memory(probe, number, !leaf)) {
            return DESCENT_COLD;
        }
        const char *page = probe->store->map + number * probe->store->page_bytes;
        if (!find_node(probe, tree, page, leaf ? PAGE_LEAF : PAGE_BRANCH, key, out_node)) {
            return DESCENT_ABSENT;
        }
        if (leaf) {
            return compare(tree, out_node->key, key) == 0 ? DESCENT_FOUND : DESCENT_ABSENT;
        }
        number = out_node->child;
    }
}

/* The row under `key`. */
static enum descent find_row(struct probe *probe, const struct tree_root *tree, struct span key, struct span *out_row)
{
    struct page_node node;
    enum descent descent = descend(probe, tree, key, &node);

    if (descent != DESCENT_FOUND) {
        return descent;
    }
    *out_row = (struct span){node.data, node.data_bytes};
    if (node.big) {
        uint64_t page = page_u64(node.data);
        uint64_t pages = value_pages(node.data_bytes, probe->store->page_bytes);
        if (page > probe->last_page || pages > probe->last_page - page + 1) {
            return DESCENT_ABSENT;
        }
        if (!is_in_memory(probe, page, false)) {
            return DESCENT_COLD;
        }
        *out_row =
            (struct span){probe->store->map + page * probe->store->page_bytes + PAGE_HEADER_BYTES, node.data_bytes};
    }
    return DESCENT_FOUND;
}

/* ---- tables ---- */

/* The reader's snapshot keeps all pages of it, and of every later commit, from being used again meanwhile. */
static bool find_names(struct probe *probe, struct tree_root *out_tree)
{
    const char *first = probe->store->map;
    const char *second = first + probe->store->page_bytes;
    const char *meta = page_u64(first + META_AT_TXN) < page_u64(second + META_AT_TXN) ? second : first;

    probe->last_page = page_u64(meta + META_AT_LAST_PAGE);
    *out_tree = (struct tree_root){.page = page_u64(meta + META_AT_MAIN_TREE + TREE_AT_ROOT),
                                   .depth = page_u16(meta + META_AT_MAIN_TREE + TREE_AT_DEPTH)};
    return probe->last_page < probe->store->map_pages;
}

static enum descent find_table(struct probe *probe, const struct tree_root *names, enum table table,
                               struct tree_root *out_tree)
{
    struct span row;
    enum descent descent = find_row(probe, names, span_of(store_tables[table].name), &row);

    if (descent == DESCENT_FOUND && row.len != TREE_BYTES) {
        return DESCENT_ABSENT;
    }
    if (descent == DESCENT_FOUND) {
        *out_tree = (struct tree_root){.page = page_u64(row.data + TREE_AT_ROOT),
                                       .depth = page_u16(row.data + TREE_AT_DEPTH),
                                       .numbers = store_tables[table].flags != 0};
    }
    return descent;
}

struct tables {
    struct tree_root objects;
    struct tree_root chunks;
};

static struct span number_key(const uint64_t *number)
{
    return (struct span){(const char *)number, sizeof(*number)};
}

/* Record and first pieces of one object. */
static bool object_is_cold(struct probe *probe, const struct tables *tables, uint64_t object_id)
{
    struct object_row object;
    struct record record;
    struct span row;
    enum descent descent = find_row(probe, &tables->objects, number_key(&object_id), &row);

    if (descent != DESCENT_FOUND || !object_row_read(row, object_id, &object) ||
        record_decode(object.record, &record) != ERR_OK || !body_id_valid(object.body_id)) {
        return descent == DESCENT_COLD;
    }
    uint64_t pieces = find_pieces_wanted(&record);
    for (uint64_t number = 0; number < pieces && number < STORE_WHOLE_PIECES && descent != DESCENT_COLD; number++) {
        uint64_t name = piece_key(object.body_id, number);
        descent = find_row(probe, &tables->chunks, number_key(&name), &row);
    }
    return descent == DESCENT_COLD;
}

static bool key_is_cold(struct probe *probe, struct key_hash hash)
{
    char bytes[INDEX_KEY_BYTES];
    struct tree_root names;
    struct tree_root index;
    struct tables tables;
    struct variant variant;
    struct span row;

    if (!find_names(probe, &names)) {
        return false;
    }
    enum descent descent = find_table(probe, &names, TABLE_INDEX, &index);
    index_key_write(hash, bytes);
    if (descent == DESCENT_FOUND) {
        descent = find_row(probe, &index, (struct span){bytes, sizeof(bytes)}, &row);
    }
    if (descent == DESCENT_FOUND) {
        descent = find_table(probe, &names, TABLE_OBJECTS, &tables.objects);
    }
    if (descent == DESCENT_FOUND) {
        descent = find_table(probe, &names, TABLE_CHUNKS, &tables.chunks);
    }
    if (descent != DESCENT_FOUND || row.len < CHECK_BYTES) {
        return descent == DESCENT_COLD;
    }
    struct span rest = span_take(row, row.len - CHECK_BYTES);
    bool cold = false;
    for (unsigned i = 0; i < MAX_VARIANTS && !cold && variant_next(&rest, &variant); i++) {
        cold = object_is_cold(probe, &tables, variant.object_id);
    }
    return cold;
}

struct ask_call {
    struct store_reader *reader;
    struct key_hash hash;
    bool cold;
};

static void on_ask(void *arg) /* guarded_fn */
{
    struct ask_call *call = arg;
    struct probe probe = {.store = call->reader->store, .seen = call->reader->seen};

    if (mdb_env_get_fd(probe.store->env, &probe.fd) != 0 || reader_begin(call->reader) != 0) {
        return;
    }
    call->cold = key_is_cold(&probe, call->hash);
    reader_end(call->reader);
}

bool store_find_is_cold(struct store_reader *reader, struct key_hash hash)
{
    struct store *store = reader->store;
    struct ask_call call = {.reader = reader, .hash = hash};

    if (store->fits_memory) {
        return false;
    }
    if (reader->seen == NULL) {
        reader->seen = calloc(1, sizeof(*reader->seen));
    }
    if (reader->seen == NULL || !guard_run(store, on_ask, &call)) {
        return false;
    }
    reader->seen->finds++;
    if (call.cold) {
        atomic_fetch_add_explicit(&store->cold_finds, 1, memory_order_relaxed);
    }
    return call.cold;
}

/* ---- waiting ---- */

static void warm_object(struct store_reader *reader, uint64_t object_id)
{
    struct object_row object;
    struct record record;
    MDB_val key = {.mv_size = sizeof(object_id), .mv_data = &object_id};
    MDB_val data;
    struct span piece;

    if (mdb_get(reader->txn, reader->store->tables[TABLE_OBJECTS], &key, &data) != 0 ||
        !object_row_read(span_of_value(data), object_id, &object) || record_decode(object.record, &record) != ERR_OK ||
        !body_id_valid(object.body_id)) {
        return;
    }
    uint64_t pieces = find_pieces_wanted(&record);
    for (uint64_t number = 0; number < pieces && reader_piece(reader, object.body_id, number, number == 0, &piece) == 0;
         number++) {
    }
}

static void on_warm(void *arg) /* guarded_fn */
{
    struct ask_call *call = arg;
    struct variant variant;
    struct span rest;

    if (reader_begin(call->reader) != 0) {
        return;
    }
    if (find_read_index(call->reader, call->hash, &rest)) {
        for (unsigned i = 0; i < MAX_WARMED && variant_next(&rest, &variant); i++) {
            warm_object(call->reader, variant.object_id);
        }
    }
    reader_end(call->reader);
}

void store_warm_find(struct store *store, struct key_hash hash)
{
    struct store_reader *reader = store_reader_create(store);
    struct ask_call call = {.reader = reader, .hash = hash};

    if (reader != NULL) {
        (void)!guard_run(store, on_warm, &call); /* a fault shows in the next find */
        store_reader_destroy(reader);
    }
}
