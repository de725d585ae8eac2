/* store_prefetch.c: the next victims' pages are read ahead.
 *
 * Deleting a body reads a page of it at a time (LMDB wants each one's header). In a store larger than memory those of
 * the objects that nobody asks for are cold: one after the other they take a millisecond an object. So, after a batch
 * that evicted, the pages of as many objects as the next lot may delete are asked for, and the disk reads them while
 * the next batch is being collected. Not where LMDB's file stays in memory: asking is a call of the kernel a page.
 *
 * Only where the hand will be in a moment is looked at: it marks nothing, and a wrong guess costs a read. The trees'
 * own pages are read here as they would be by the deletion. */
#include <stdlib.h>
#include <sys/mman.h>

#include "cache/store_batch.h"

enum { MAX_SCAN = 4096 }; /* objects: the marked ones among them stay */

void store_want_page(const struct store *store, MDB_val data)
{
    uintptr_t at = (uintptr_t)data.mv_data - (uintptr_t)store->map;
    size_t page = at / store->page_bytes;

    if (page < store->map_pages) {
        (void)madvise((char *)(uintptr_t)store->map + page * store->page_bytes, store->page_bytes, MADV_WILLNEED);
    }
}

/* At most `max` pieces of the body; returns how many. */
static size_t want_body(const struct store *store, MDB_cursor *pieces, uint64_t body_id, size_t max)
{
    uint64_t name = piece_key(body_id, 0);
    MDB_val key = {.mv_size = sizeof(name), .mv_data = &name};
    MDB_val data;
    size_t count = 0;
    int code = mdb_cursor_get(pieces, &key, &data, MDB_SET_RANGE);

    while (code == 0 && count < max && number_of_key(key, &name) == 0 && name >> PIECE_NUMBER_BITS == body_id) {
        store_want_page(store, data);
        count++;
        code = mdb_cursor_get(pieces, &key, &data, MDB_NEXT);
    }
    return count;
}

static void want_victims(const struct store *store, MDB_cursor *objects, MDB_cursor *pieces)
{
    size_t budget = (size_t)(store_batch_bytes(store) / store->page_bytes); /* a lot is half of it */
    uint64_t object_id = store->hand;
    MDB_val key = {.mv_size = sizeof(object_id), .mv_data = &object_id};
    MDB_val data;
    int code = mdb_cursor_get(objects, &key, &data, MDB_SET_RANGE);

    for (unsigned scanned = 0; code == 0 && budget > 0 && scanned < MAX_SCAN; scanned++) {
        struct object_row row;
        if (number_of_key(key, &object_id) == 0 && !sieve_is_marked(store->sieve, object_id) &&
            object_row_read(span_of_value(data), object_id, &row)) {
            budget -= want_body(store, pieces, row.body_id, budget);
        }
        code = mdb_cursor_get(objects, &key, &data, MDB_NEXT);
    }
}

/* The cursors are the store's until they are closed: a fault in between must not lose them. */
void store_prefetch_victims(struct store *store)
{
    if (mdb_txn_renew(store->figures) != 0) {
        return;
    }
    if (store_open_cursor(store->figures, store->tables[TABLE_OBJECTS], &store->ahead[0]) == 0 &&
        store_open_cursor(store->figures, store->tables[TABLE_CHUNKS], &store->ahead[1]) == 0) {
        want_victims(store, store->ahead[0], store->ahead[1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(store->ahead); i++) {
        if (store->ahead[i] != NULL) {
            mdb_cursor_close(store->ahead[i]);
            store->ahead[i] = NULL;
        }
    }
    mdb_txn_reset(store->figures);
}
