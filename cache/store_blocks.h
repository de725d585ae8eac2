/* store_blocks.h: which blocks of the body file are in use: a bitmap in memory that runs one batch ahead of the one in
 * LMDB.
 *
 * What is in memory is the truth of the next commit. A batch takes and gives back blocks; the segments of the bitmap
 * that it changed go into its own transaction (blocks_next_dirty); then it is committed or aborted here, too.
 *
 * A block given back by batch N is used again by batch N+2 at the earliest. After a power cut the last commit may be
 * undone (MDB_NOMETASYNC): until commit N+1 has flushed what N wrote, the state before N, in which the block still
 * belongs to a body, may be the one that comes back. Nobody reads a block that was given back: a body that is pinned is
 * not deleted (pins.h), and that is asked before.
 *
 * Taking is next-fit: from where the last one ended, whatever run of free blocks comes first, as long as wanted at
 * most. A body may therefore lie in several extents; a file nearly full makes them short, and nothing else.
 *
 * A bound says how many of the blocks may be taken: the file may become shorter (store_border.c). A block behind it may
 * be cut off once it neither is in use nor waits: then nothing that a power cut could bring back names it.
 *
 * Knows neither LMDB nor the file. Threads: the disk thread. Memory: two bits a block. */
#ifndef CACHE_STORE_BLOCKS_H
#define CACHE_STORE_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/check.h"
#include "http/error.h"

enum {
    BLOCKS_SEGMENT_WORDS = 504, /* of 64 bits: with its check, one row of LMDB in one page */
    BLOCKS_PER_SEGMENT = BLOCKS_SEGMENT_WORDS * 64,
};

/* A run of blocks. */
struct extent {
    uint64_t first;
    uint64_t count;
};

struct blocks;

/* `capacity` blocks, all free, all of them may be taken. NULL: no memory. */
MUST_CHECK struct blocks *blocks_create(uint64_t capacity);
void blocks_destroy(struct blocks *blocks); /* accepts NULL */

/* ---- opening: before the first batch ---- */

/* The segment as it was written. False (damage): bits are set behind the capacity, or it was loaded before. */
MUST_CHECK bool blocks_load(struct blocks *blocks, uint64_t segment, const uint64_t words[BLOCKS_SEGMENT_WORDS]);

/* ---- between batches ---- */

/* Blocks from `bound` (the capacity at most) on are not taken any more. Those that are in use stay so. Costs a look at
 * the whole bitmap. */
void blocks_set_bound(struct blocks *blocks, uint64_t bound);

/* ---- a batch ---- */

/* Takes a run of at most `wanted` blocks. False: none is free now, or no memory. */
MUST_CHECK bool blocks_take(struct blocks *blocks, uint64_t wanted, struct extent *out_extent);

/* Gives a run back. ERR_DAMAGED: not all of it is in use; ERR_NO_MEMORY. Then nothing has changed. */
MUST_CHECK enum err blocks_give_back(struct blocks *blocks, struct extent extent);

/* The next segment, from `*segment` on, that the batch has changed; its words as they are to be written. False: no
 * more.
 */
bool blocks_next_dirty(const struct blocks *blocks, uint64_t *segment, const uint64_t **out_words);

/* The batch was committed, with the dirty segments in it. */
void blocks_commit(struct blocks *blocks);

/* It was not: everything is as before it. */
void blocks_abort(struct blocks *blocks);

/* ---- figures ---- */

uint64_t blocks_used(const struct blocks *blocks);        /* by bodies, after the running batch */
uint64_t blocks_used_within(const struct blocks *blocks); /* the bound */
uint64_t blocks_end(const struct blocks *blocks);         /* behind the last one in use */
uint64_t blocks_busy_end(const struct blocks *blocks);    /* behind the last one that is in use or waits */
uint64_t blocks_available(const struct blocks *blocks);   /* that can be taken now: neither used nor waiting */

#endif
