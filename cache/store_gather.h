/* store_gather.h: blocks on their way to the body file: those that lie behind each other there go in one call,
 * whatever bodies they are of.
 *
 * A call ends at a multiple of GATHER_BLOCKS: the page cache takes what one call writes into as few folios as its place
 * in the file allows, and what a write costs is to a large part by the folio. A body of 64 KB took 42 µs of CPU time in
 * calls of its own, of 15 blocks and of one, and takes 31 µs in calls of 8 (checks and syncs included; ext4, Linux
 * 6.18; medians in turns, on a machine that had other work). Longer calls are no gain one can rely on: a folio of more
 * than 8 pages is not from a processor's own free pages but from the large blocks that the kernel keeps, which a
 * virtual machine may have given back to its host. Calls of 64 took 22 µs where they were in use lately, else 70 to
 * 140.
 *
 * Nothing is copied but the blocks' ends: the caller keeps the rest as it is until gather_write or gather_forget.
 * Threads: one. Functions that return `int` return 0 or an errno. */
#ifndef CACHE_STORE_GATHER_H
#define CACHE_STORE_GATHER_H

#include <stdbool.h>
#include <sys/uio.h>

#include "cache/store_blocks.h"
#include "http/span.h"

enum {
    GATHER_BLOCKS = 8,
    GATHER_BLOCK_BYTES = 4096,
    GATHER_END_BYTES = 24, /* of each block, copied */
    GATHER_RUNS = 3,       /* of a block in memory: payload, padding, end */
};

/* Zeroed: empty. */
struct gather {
    struct extent extent; /* what is gathered */
    size_t run_count;
    struct iovec runs[GATHER_BLOCKS * GATHER_RUNS];
    char ends[GATHER_BLOCKS][GATHER_END_BYTES];
};

/* May `block` be added to what is gathered? Else that must be written first. */
bool gather_fits(const struct gather *gather, uint64_t block);

/* Adds a block, which fits: its bytes are `payload`, `padding` (may be empty) and `end`, together GATHER_BLOCK_BYTES.
 */
void gather_add(struct gather *gather, uint64_t block, struct span payload, struct span padding,
                const char end[GATHER_END_BYTES]);

/* Writes what is gathered, if anything, and forgets it, also where that fails. */
MUST_CHECK int gather_write(struct gather *gather, int fd);

void gather_forget(struct gather *gather);

#endif
