/* store_border.c: how the size is shared between LMDB's file and the body file: the border between them follows the
 * load.
 *
 * LMDB's file holds the index, records, heads and small bodies, the body file the rest. How many bytes that is on
 * either side depends on what is stored: of a usual mix (median 12 KiB, mean 88 KiB) LMDB has one in seven, of small
 * objects (mean 8 KiB) more than half. So both have a limit that moves; together they are the size, always.
 *
 *     size = limit_pages (LMDB's file may grow so far)  +  limit_blocks (the body file's length, reserved on the disk)
 *
 * The length of the body file is the only note of it: whatever a kill leaves, the next open gives LMDB what is left.
 * (LMDB's file is sparse; its length is the size: that is how the size is found again.) LMDB's map is as large as its
 * limit may ever become: LMDB cannot move the end of a map that readers use. That its file does not grow behind its
 * limit is a matter of the high-water mark (store_evict.c), which keeps three batches free, and of store_write.c, which
 * ends a batch that is given a page behind it as LMDB ends one at the end of the map.
 *
 * It moves in steps of one in STEPS of the size, and for the file whose hand has to evict while the other's need not:
 *
 * - Down, for LMDB. At once where the body file has never been full lately and nothing lies in its last step; else when
 *   LMDB's hand has evicted half a step's worth of pages and the body file's hand nothing meanwhile. (Where both evict,
 *   each gets what it asks for; LMDB's hand, which walks over all objects, makes room in the body file, too, for a
 *   moment: that is why it is not believed at once.) Nothing behind the border is taken any more, objects that have
 *   blocks there are evicted by the batches that come, as many as a walk over the bodies finds; those that are being
 *   written or sent are waited for. When no block behind it is in use or waits for its second commit (store_blocks.h),
 *   so that no power cut can bring back a row that names one, the file is cut, then LMDB's limit is raised.
 * - Up, for the body file: as far as LMDB's file never grew. Its limit is lowered, then the body file made longer;
 *   where the disk has no room for it, that is tried again much later. What LMDB's file has grown to it keeps: LMDB
 *   gives no page back. `larder store compact` writes it anew; then the body file gets the rest as it needs it.
 *
 * Either keeps an eighth: LMDB for its rows, the body file so that large bodies stay possible. */
#include <string.h>

#include "cache/store_batch.h"

#define MIN_SPLIT_BYTES ((uint64_t)128 << 20) /* of a store with a body file */

enum {
    FIRST_SHARE = 5, /* LMDB begins with one in so many */
    EIGHTHS = 8,
    STEPS = 64,
    CALM_BATCHES = 64,      /* without eviction: this file is not full */
    WALK_MAX_BODIES = 4096, /* looked at in a batch */
    WALK_MAX_EVICTED = 256,
    WALK_PAUSE = 64, /* batches from one walk to the next: something there is pinned */
};

static void set_limits(struct store *store, uint64_t blocks);

/* ---- shares ---- */

static uint64_t least_blocks(const struct store *store)
{
    return store->size_bytes / EIGHTHS / BODIES_BLOCK_BYTES;
}

static uint64_t most_blocks(const struct store *store)
{
    return (store->size_bytes - store->size_bytes / EIGHTHS) / BODIES_BLOCK_BYTES;
}

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

void store_share(struct store *store, uint64_t file_pages, uint64_t had_blocks)
{
    uint64_t size = store->size_bytes;
    uint64_t file_bytes = file_pages * store->page_bytes;
    uint64_t wanted = had_blocks > 0 ? had_blocks : (size - size / FIRST_SHARE) / BODIES_BLOCK_BYTES;

    store->most_pages = (size < MIN_SPLIT_BYTES ? size : size - size / EIGHTHS) / store->page_bytes;
    if (size < MIN_SPLIT_BYTES) {
        store->max_blocks = 0;
        set_limits(store, 0);
        return;
    }
    store->max_blocks = most_blocks(store);
    store->border.calm_blocks = CALM_BATCHES; /* nobody has asked it for room yet */
    uint64_t room = file_bytes < size ? (size - file_bytes) / BODIES_BLOCK_BYTES : 0;
    /* A file of LMDB's that is too large is made smaller (store_shrink.c): to half. */
    uint64_t most = file_pages > store->most_pages ? size / 2 / BODIES_BLOCK_BYTES : room;
    set_limits(store, clamp(wanted, least_blocks(store), most < store->max_blocks ? most : store->max_blocks));
}

/* The body file has so many blocks from now on, LMDB the rest. */
static void set_limits(struct store *store, uint64_t blocks)
{
    uint64_t pages = (store->size_bytes - blocks * BODIES_BLOCK_BYTES) / store->page_bytes;

    pages = pages < store->most_pages ? pages : store->most_pages;
    store->limit_blocks = blocks;
    store->limit_pages = pages;
    store->border.to_blocks = blocks;
    store->fits_memory = pages * store->page_bytes < store->memory_bytes / 2;
}

void store_limit_bodies(struct store *store, uint64_t blocks)
{
    store->max_blocks = blocks;
    set_limits(store, blocks);
}

/* ---- moving ---- */

static uint64_t step_blocks(const struct store *store)
{
    return store->size_bytes / STEPS / BODIES_BLOCK_BYTES;
}

/* How far LMDB's file has grown. */
static uint64_t file_pages(const struct store *store)
{
    MDB_envinfo info;

    return mdb_env_info(store->env, &info) == 0 ? (uint64_t)info.me_last_pgno + 1 : store->limit_pages;
}

/* The body file gives up what lies behind `blocks`, from the next batch on. */
static void begin_giving_up(struct store *store, uint64_t blocks)
{
    store->border.to_blocks = blocks;
    store->border.next_body = 0;
    store->border.pause = 0;
    blocks_set_bound(store->blocks, blocks);
}

/* Nothing lies behind the border any more, whatever a power cut undoes. */
static void finish_giving_up(struct store *store)
{
    uint64_t blocks = store->border.to_blocks;

    if (blocks_busy_end(store->blocks) <= blocks && bodies_resize(store->bodies, blocks) == 0) {
        set_limits(store, blocks);
        store->border.evicted_pages = 0;
    }
}

static void extend(struct store *store)
{
    uint64_t before = store->limit_blocks;
    uint64_t blocks = before + step_blocks(store);

    set_limits(store, blocks); /* first: the two together are never more than the size */
    if (bodies_resize(store->bodies, blocks) != 0) {
        set_limits(store, before);
        store->border.calm_pages = 0; /* the disk is full: not again soon */
        return;
    }
    blocks_set_bound(store->blocks, blocks);
}

/* May the body file have a step more of what LMDB's file never used? */
static bool may_extend(const struct store *store)
{
    uint64_t step_pages = step_blocks(store) * BODIES_BLOCK_BYTES / store->page_bytes;
    uint64_t batch_pages = store_batch_bytes(store) / store->page_bytes;

    return store->border.calm_blocks == 0 && store->border.calm_pages >= CALM_BATCHES &&
           store->limit_blocks + step_blocks(store) <= store->max_blocks &&
           file_pages(store) + step_pages + batch_pages <= store_high_water(store);
}

/* Should it give a step up? */
static bool should_give_up(const struct store *store)
{
    const struct border *border = &store->border;
    uint64_t step_pages = step_blocks(store) * BODIES_BLOCK_BYTES / store->page_bytes;

    return store->limit_blocks >= least_blocks(store) + step_blocks(store) && border->evicted_pages >= step_pages / 2;
}

void store_move_border(struct store *store)
{
    struct border *border = &store->border;

    if (store->bodies == NULL) {
        return;
    }
    uint64_t used_pages = file_pages(store);
    if (border->to_blocks < store->limit_blocks) {
        finish_giving_up(store);
    } else if (used_pages > store->limit_pages && store->limit_blocks > least_blocks(store)) {
        uint64_t left = (store->size_bytes - used_pages * store->page_bytes) / BODIES_BLOCK_BYTES;
        begin_giving_up(store, clamp(left, least_blocks(store), store->limit_blocks));
    } else if (should_give_up(store)) {
        begin_giving_up(store, store->limit_blocks - step_blocks(store));
    } else if (may_extend(store)) {
        extend(store);
    }
}

/* Before a batch that LMDB's hand would have to evict for. */
void store_give_free_room(struct store *store, uint64_t pages)
{
    uint64_t used = atomic_load_explicit(&store->used_bytes, memory_order_relaxed) / store->page_bytes;
    uint64_t step = step_blocks(store);

    while (store->bodies != NULL && used + pages > store_high_water(store) &&
           store->border.to_blocks == store->limit_blocks && store->border.calm_blocks >= CALM_BATCHES &&
           store->limit_blocks >= least_blocks(store) + step && store_blocks_fit(store, step + step / 2) &&
           blocks_busy_end(store->blocks) <= store->limit_blocks - step) {
        uint64_t before = store->limit_blocks;
        begin_giving_up(store, before - step);
        finish_giving_up(store);
        if (store->limit_blocks == before) {
            return; /* the file cannot be cut: later */
        }
    }
}

void store_note_pressure(struct store *store, const struct batch *batch)
{
    struct border *border = &store->border;

    border->calm_blocks = batch->evicted_blocks ? 0 : border->calm_blocks + 1;
    border->calm_pages = batch->evicted_pages > 0 ? 0 : border->calm_pages + 1;
    border->evicted_pages = batch->evicted_blocks ? 0 : border->evicted_pages + batch->evicted_pages;
    border->next_body = batch->border_body;
    border->pause = batch->border_pause;
}

/* ---- what lies behind it ---- */

/* Evicts the object of the body at `batch->border_body` if that reaches behind the border. One that is being written
 * has none yet; what is unlinked waits for its pin or its turn. */
static int clear_body(struct batch *batch, uint64_t border, unsigned *evicted)
{
    uint64_t object_id;
    int code = batch_next_owner(batch, &batch->border_body, &object_id);

    if (code == 0 && object_id != 0 && batch_body_behind(batch, batch->border_body, border) &&
        pins_begin_deletion(batch->store->pins, batch->border_body)) {
        batch->evictions++;
        *evicted += 1;
        code = batch_evict_object(batch, object_id);
    }
    batch->border_body++;
    return code;
}

int batch_clear_border(struct batch *batch)
{
    const struct store *store = batch->store;
    uint64_t border = store->border.to_blocks;
    unsigned evicted = 0;
    int code = 0;

    if (store->bodies == NULL || border == store->limit_blocks || blocks_end(store->blocks) <= border) {
        return 0;
    }
    if (batch->border_pause > 0) {
        batch->border_pause--;
        return 0;
    }
    for (unsigned looked = 0;
         looked < WALK_MAX_BODIES && evicted < WALK_MAX_EVICTED && batch->delete_budget > 0 && code == 0; looked++) {
        code = clear_body(batch, border, &evicted);
    }
    if (code == MDB_NOTFOUND) { /* all were looked at: those that are left are pinned */
        batch->border_body = 0;
        batch->border_pause = WALK_PAUSE;
        code = 0;
    }
    return code;
}

/* For an open: whoever has blocks behind the end goes, also what was never finished. */
int batch_drop_behind(struct batch *batch, uint64_t end, uint64_t *body_id)
{
    int code = 0;

    for (unsigned dropped = 0; dropped < WALK_MAX_EVICTED && code == 0; *body_id += 1) {
        uint64_t object_id;
        code = batch_next_owner(batch, body_id, &object_id);
        if (code == 0 && batch_body_behind(batch, *body_id, end)) {
            code = object_id != 0 ? batch_evict_object(batch, object_id) : batch_drop_body(batch, *body_id);
            dropped++;
        }
    }
    return code;
}
