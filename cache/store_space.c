/* store_space.c: the body file as a whole: which bodies go there, opening it, room in it.
 *
 * The threshold, measured (`./dev bench store threshold`, a store of 512 MiB; LMDB / body file):
 *
 *     body                          8 KiB      12 KiB      16 KiB      20 KiB      24 KiB      32 KiB      64 KiB
 *     room, bytes a byte      1.10 / 1.55 1.07 / 1.37 1.06 / 1.28 1.05 / 1.22 1.04 / 1.18 1.03 / 1.14 1.03 / 1.07
 *     to store, us of CPU         36 / 35     42 / 35     42 / 37     46 / 42     55 / 45     65 / 46    102 / 61
 *     a hit, us of CPU          4.7 / 7.1   5.0 / 9.4   5.4 / 5.9   6.0 / 6.3   7.2 / 6.0   8.6 / 5.7  12.0 / 5.9
 *
 * A body in two places costs its hits a second look-up, but from the second hit on its bytes are not checked again; the
 * two are even at 20 KiB, where the file stores it for less, too. Below, LMDB needs less room and serves it faster.
 *
 * Room in it is made by a hand of its own: it walks over the bodies in the body file, from old to new, by SIEVE's rule
 * (store_evict.c).
 *
 * Full for large bodies is the file they go to, when it evicts: what is in use has come within two batches' worth of
 * where eviction ends. So far below it a batch may leave it: it takes less than it was given, and what goes last may be
 * large. Until then room costs nothing, and everything may have it.
 *
 * A smaller limit: bodies that reach behind the new end of the file are evicted at the open, then it is cut. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/store_batch.h"

enum {
    LARGE_PIECES = STORE_WHOLE_PIECES + 1, /* a stream of so many goes to the body file: 20 KiB */
    HEADROOM_BATCHES = 3,                  /* blocks given back by a batch can be taken by the next but one */
    EVICT_MAX_BODIES = 1024,               /* a batch */
    SCAN_MAX_BODIES = 65536,               /* a batch: then marks are ignored; bounds its time */
    RECLAIM_STEP_PIECES = 64,
    FULL_BATCHES = 2,
};

static uint64_t batch_blocks(const struct store *store);
static uint64_t high_water(const struct store *store, uint64_t blocks);
static enum err open_file(struct store *store, const char *path, uint64_t had_blocks, struct buf *note);
static enum err load(struct store *store, uint64_t had_blocks, struct buf *note);
static bool cut(struct store *store);

/* ---- which bodies ---- */

size_t store_chunk_bytes(const struct store *store, const struct store_op *op)
{
    uint64_t front = op->prefix_len == 0 ? 1 : (op->prefix_len + STORE_PIECE_BYTES - 1) / STORE_PIECE_BYTES;

    if (store->bodies == NULL || (op->first_piece == 0 && op->bytes.len < (size_t)LARGE_PIECES * STORE_PIECE_BYTES)) {
        return op->bytes.len;
    }
    if (op->first_piece >= front) {
        return 0;
    }
    return span_take(op->bytes, (size_t)(front - op->first_piece) * STORE_PIECE_BYTES).len;
}

/* ---- opening ---- */

uint64_t store_body_file_blocks(const char *dir)
{
    char path[PATH_MAX];
    struct stat status;

    return store_file_path(dir, STORE_BODIES_FILE, path) && stat(path, &status) == 0 && S_ISREG(status.st_mode)
               ? (uint64_t)status.st_size / BODIES_BLOCK_BYTES
               : 0;
}

enum err store_open_bodies(struct store *store, struct buf *note)
{
    char path[PATH_MAX];

    if (!store_file_path(store->dir, STORE_BODIES_FILE, path)) {
        return ERR_IO;
    }
    uint64_t had = store_body_file_blocks(store->dir);
    enum err error = load(store, had, note);
    if (error != ERR_OK) {
        return error;
    }
    blocks_set_bound(store->blocks, store->limit_blocks);
    if (had > store->limit_blocks && !cut(store)) {
        buf_format(note, "the body file cannot be cut");
        return ERR_DAMAGED;
    }
    atomic_store_explicit(&store->used_blocks, blocks_used(store->blocks), memory_order_relaxed);
    if (store->limit_blocks == 0) {
        (void)unlink(path); /* there may be none */
        return ERR_OK;
    }
    return open_file(store, path, had, note);
}

/* With less than wanted where the disk is full: what it had, or no body file. */
static enum err open_file(struct store *store, const char *path, uint64_t had_blocks, struct buf *note)
{
    uint64_t had;
    struct bodies_size size = {.blocks = store->limit_blocks, .max_blocks = store->max_blocks};
    enum err error = bodies_open(path, &size, store->secret, &store->bodies, &had, note);

    if (error != ERR_NO_SPACE || had_blocks >= store->limit_blocks) {
        return error;
    }
    store_limit_bodies(store, had_blocks);
    buf_format(note, "; it goes on with %llu MiB for them: make room or lower cache.size, and restart",
               (unsigned long long)(had_blocks * BODIES_BLOCK_BYTES) >> 20);
    blocks_set_bound(store->blocks, had_blocks);
    if (had_blocks == 0) {
        (void)unlink(path); /* it was made a moment ago, and is empty */
        return ERR_OK;
    }
    size = (struct bodies_size){.blocks = had_blocks, .max_blocks = had_blocks};
    return bodies_open(path, &size, store->secret, &store->bodies, &had, note);
}

enum err store_open_bodies_readonly(struct store *store, const char *dir)
{
    char path[PATH_MAX];

    if (!store_file_path(dir, STORE_BODIES_FILE, path)) {
        return ERR_IO;
    }
    enum err error = bodies_open_readonly(path, store->secret, &store->bodies);
    return error == ERR_NOT_FOUND ? ERR_OK : error;
}

void store_close_bodies(struct store *store)
{
    bodies_close(store->bodies);
    blocks_destroy(store->blocks);
    store->bodies = NULL;
    store->blocks = NULL;
}

/* ---- the bitmap ---- */

struct load_call {
    struct store *store;
    int code;
};

static void on_load(void *arg) /* guarded_fn */
{
    struct load_call *call = arg;

    call->code = call->store->figures == NULL /* of a look */
                     ? mdb_txn_begin(call->store->env, NULL, MDB_RDONLY, &call->store->figures)
                     : mdb_txn_renew(call->store->figures);
    if (call->code == 0) {
        call->code = store_load_blocks(call->store, call->store->figures);
        mdb_txn_reset(call->store->figures);
    }
}

/* What LMDB says of the blocks. ERR_DAMAGED: something lies where the file, which has so many, is not. */
static enum err load(struct store *store, uint64_t had_blocks, struct buf *note)
{
    struct load_call call = {.store = store};

    blocks_destroy(store->blocks);
    store->blocks = blocks_create(had_blocks > store->max_blocks ? had_blocks : store->max_blocks);
    if (store->blocks == NULL) {
        return ERR_NO_MEMORY;
    }
    if (!guard_run(store, on_load, &call)) {
        call.code = MDB_CORRUPTED;
    }
    if (call.code == ENOMEM) {
        return ERR_NO_MEMORY;
    }
    if (call.code != 0 || blocks_end(store->blocks) > had_blocks) {
        buf_format(note, "the body file is missing, too short, or its bitmap damaged");
        return ERR_DAMAGED;
    }
    return ERR_OK;
}

enum err store_check_bodies(struct store *store, struct buf *note)
{
    return load(store, store_body_file_blocks(store->dir), note);
}

/* ---- a smaller file ---- */

static void on_cut(void *arg) /* guarded_fn */
{
    struct load_call *call = arg;
    struct store *store = call->store;
    uint64_t body_id = 0;
    bool more = true;

    while (call->code == 0 && (more || store->reclaim_count > 0)) {
        struct batch batch;
        call->code = batch_begin(store, &batch);
        if (call->code != 0) {
            return;
        }
        call->code = batch_reclaim(&batch, SIZE_MAX);
        if (call->code == 0 && more) {
            call->code = batch_drop_behind(&batch, store->limit_blocks, &body_id);
            more = call->code != MDB_NOTFOUND;
            call->code = more ? call->code : 0;
        }
        if (call->code != 0) {
            batch_abort(&batch);
            return;
        }
        call->code = batch_commit(&batch);
    }
    if (call->code == 0) {
        call->code = mdb_env_sync(store->env, 1); /* before what they lay in is cut off */
    }
}

static bool cut(struct store *store)
{
    struct load_call call = {.store = store};

    return store_check_pages(store) == ERR_OK && guard_run(store, on_cut, &call) && call.code == 0 &&
           blocks_end(store->blocks) <= store->limit_blocks;
}

/* ---- room ---- */

static uint64_t batch_blocks(const struct store *store)
{
    return store_batch_bytes(store) / BODIES_BLOCK_BYTES;
}

static uint64_t high_water(const struct store *store, uint64_t blocks)
{
    return blocks - HEADROOM_BATCHES * batch_blocks(store);
}

/* What it is giving up does not count. */
bool store_blocks_fit(const struct store *store, uint64_t wanted)
{
    return store->blocks == NULL ||
           blocks_used_within(store->blocks) + wanted <= high_water(store, store->border.to_blocks);
}

bool store_is_full(const struct store *store)
{
    uint64_t batch = store_batch_bytes(store);
    uint64_t used = atomic_load_explicit(&store->used_bytes, memory_order_relaxed);
    uint64_t blocks = atomic_load_explicit(&store->used_blocks, memory_order_relaxed);
    uint64_t limit = store->limit_blocks;

    if (limit > 0) {
        return blocks * BODIES_BLOCK_BYTES + FULL_BATCHES * batch >= high_water(store, limit) * BODIES_BLOCK_BYTES;
    }
    return used + FULL_BATCHES * batch >= store_low_water(store) * store->page_bytes;
}

int batch_check_blocks(const struct batch *batch, uint64_t wanted)
{
    return wanted > 0 && blocks_available(batch->store->blocks) < wanted ? NO_ROOM : 0;
}

/* Evicts the object of the next body without a mark. MDB_NOTFOUND: the end was reached `*wraps` times. */
static int evict_next(struct batch *batch, uint64_t *scanned, unsigned *wraps)
{
    struct store *store = batch->store;

    while (*wraps <= 2) {
        uint64_t object_id;
        int code = batch_next_owner(batch, &batch->body_hand, &object_id);

        if (code == MDB_NOTFOUND) {
            batch->body_hand = 0;
            *wraps += 1;
            continue;
        }
        if (code != 0) {
            return code;
        }
        uint64_t body_id = batch->body_hand;
        batch->body_hand++;
        *scanned += 1;
        if (object_id == 0 || (sieve_take_mark(store->sieve, object_id) && *scanned <= SCAN_MAX_BODIES) ||
            !pins_begin_deletion(store->pins, body_id)) {
            continue; /* unfinished, or waits for deletion; visited; being sent */
        }
        batch->evictions++;
        batch->evicted_blocks = true;
        return batch_evict_object(batch, object_id);
    }
    return MDB_NOTFOUND;
}

int batch_make_blocks(struct batch *batch, uint64_t wanted)
{
    uint64_t scanned = 0;
    unsigned wraps = 0;
    int code = 0;

    for (unsigned evicted = 0; wanted > 0 && evicted < EVICT_MAX_BODIES && batch->delete_budget > 0 && code == 0;) {
        size_t budget_before = batch->delete_budget;

        if (store_blocks_fit(batch->store, wanted)) {
            return 0;
        }
        code = batch_reclaim(batch, RECLAIM_STEP_PIECES); /* unlinked already, of no use to anyone */
        if (code == 0 && batch->delete_budget == budget_before) {
            code = evict_next(batch, &scanned, &wraps);
            evicted++;
        }
    }
    return code == MDB_NOTFOUND ? 0 : code;
}
