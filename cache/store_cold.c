/* store_cold.c: would a find wait for the disk, and waiting in its place.
 *
 * A find in a store larger than memory may touch pages of LMDB's trees that are not in memory: the leaf of the index,
 * that of the record, the page that the head lies in. LMDB cannot be asked before: it just touches them, and the event
 * loop, with all its clients, waits for the disk. So the question is answered without LMDB: the same descents from root
 * to leaf (store_tree.h), where each page is asked for (file_is_resident) before it is read. What comes out is advice:
 * a wrong answer costs a wait, or a detour.
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

struct probe {
    const struct store *store;
    struct seen_pages *seen;
    int fd;
};

/* ---- pages ---- */

static bool is_in_memory(void *arg, uint64_t page, bool branch) /* tree_page_fn */
{
    const struct probe *probe = arg;
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

/* ---- tables ---- */

struct tables {
    struct tree_root objects;
    struct tree_root chunks;
};

static enum tree_found find_table(const struct tree_view *view, const struct tree_root *names, enum table table,
                                  struct tree_root *out_tree)
{
    return tree_of_table(view, names, span_of(store_tables[table].name), store_tables[table].flags != 0, out_tree);
}

/* Record and first pieces of one object. */
static bool object_is_cold(const struct tree_view *view, const struct tables *tables, uint64_t object_id)
{
    struct object_row object;
    struct record record;
    struct span row;
    enum tree_found found = tree_find(view, &tables->objects, span_of_number(&object_id), &row);

    if (found != TREE_FOUND || !object_row_read(row, object_id, &object) ||
        record_decode(object.record, &record) != ERR_OK || !body_id_valid(object.body_id)) {
        return found == TREE_COLD;
    }
    uint64_t pieces = find_pieces_wanted(&record);
    for (uint64_t number = 0; number < pieces && number < STORE_WHOLE_PIECES && found != TREE_COLD; number++) {
        uint64_t name = piece_key(object.body_id, number);
        found = tree_find(view, &tables->chunks, span_of_number(&name), &row);
    }
    return found == TREE_COLD;
}

static bool key_is_cold(struct probe *probe, uint64_t txn, struct key_hash hash)
{
    struct tree_view view = {
        .map = probe->store->map, .page_bytes = probe->store->page_bytes, .may_read = is_in_memory, .arg = probe};
    char bytes[INDEX_KEY_BYTES];
    struct tree_root names;
    struct tree_root index;
    struct tables tables;
    struct variant variant;
    struct span row;

    if (!tree_of_names(&view, probe->store->map_pages, txn, &names)) {
        return false;
    }
    enum tree_found found = find_table(&view, &names, TABLE_INDEX, &index);
    index_key_write(hash, bytes);
    if (found == TREE_FOUND) {
        found = tree_find(&view, &index, (struct span){bytes, sizeof(bytes)}, &row);
    }
    if (found == TREE_FOUND) {
        found = find_table(&view, &names, TABLE_OBJECTS, &tables.objects);
    }
    if (found == TREE_FOUND) {
        found = find_table(&view, &names, TABLE_CHUNKS, &tables.chunks);
    }
    if (found != TREE_FOUND || row.len < CHECK_BYTES) {
        return found == TREE_COLD;
    }
    struct span rest = span_take(row, row.len - CHECK_BYTES);
    bool cold = false;
    for (unsigned i = 0; i < MAX_VARIANTS && !cold && variant_next(&rest, &variant); i++) {
        cold = object_is_cold(&view, &tables, variant.object_id);
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
    call->cold = key_is_cold(&probe, mdb_txn_id(call->reader->txn), call->hash);
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
    struct span row;
    struct span piece;

    if (reader_row(reader, TABLE_OBJECTS, span_of_number(&object_id), &row) != 0 ||
        !object_row_read(row, object_id, &object) || record_decode(object.record, &record) != ERR_OK ||
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
