/* store_bodies.h: the body file: blocks of 4 KiB beside LMDB's file, in which large bodies lie.
 *
 * Every block holds one piece of one body, and a check seeded with the store's secret, the body and the piece: a block
 * that was lost, misplaced, or used again for another body is never taken for what was asked. Which blocks a body has
 * is LMDB's to say (store_extents.c), which are free, store_blocks.h's.
 *
 * The file is preallocated: a full disk shows when it is opened or made longer, not in a batch. A batch writes its
 * blocks, then calls bodies_sync, then commits: what LMDB says lies in a block is on the disk before LMDB says so. The
 * disk is told to begin with each megabyte, so that it works while the batch is made; that promises nothing.
 *
 * Bytes leave the file by pread, or by a write() out of a mapping, which copies before it returns; never by sendfile or
 * splice: those hand the page cache's pages to the socket, which may send them after the call has returned, when the
 * block holds something else.
 *
 * Threads: bodies_write, bodies_sync and bodies_resize from one thread (the disk thread), the rest from any. Functions
 * that return `int` return 0 or an errno. */
#ifndef CACHE_STORE_BODIES_H
#define CACHE_STORE_BODIES_H

#include "cache/store_blocks.h"
#include "http/buf.h"
#include "http/error.h"

enum {
    BODIES_BLOCK_BYTES = 4096,
    BODIES_PAYLOAD_BYTES = 4072, /* of a block; the last one of a body may hold fewer */
    BODIES_READ_BLOCKS = 64,     /* that one bodies_read gives at most */
};

struct bodies;

/* A run of a body's pieces. */
struct body_run {
    uint64_t body_id;
    uint64_t number; /* of the first piece; the body's pieces in the file are counted from 0 */
    struct extent extent;
};

struct bodies_size {
    uint64_t blocks;     /* that it gets */
    uint64_t max_blocks; /* that bodies_resize may ever give it: address space, and two bytes each where it is used */
};

/* Opens or makes the file and gives it its blocks: a longer one is cut off, without a look at what lies there.
 * `*out_had_blocks`: as many as it had. ERR_NO_SPACE (then it is as long as it was), ERR_IO, ERR_NO_MEMORY; `note` says
 * more. */
MUST_CHECK enum err bodies_open(const char *path, const struct bodies_size *size, uint64_t secret,
                                struct bodies **out_bodies, uint64_t *out_had_blocks, struct buf *note);

/* Cuts it, or makes it longer (reserved on the disk), between batches. Nothing that anyone may read lies in what is cut
 * off. Not 0: it is as long as it was, or will be after the first bodies_sync that can give back what was reserved in
 * vain. */
MUST_CHECK int bodies_resize(struct bodies *bodies, uint64_t block_count);

/* To be read only, by a look from another process: its owner may make it longer or shorter meanwhile. */
MUST_CHECK enum err bodies_open_readonly(const char *path, uint64_t secret, struct bodies **out_bodies);

void bodies_close(struct bodies *bodies); /* accepts NULL */

int bodies_descriptor(const struct bodies *bodies); /* the file's; -1 for NULL */

/* Writes `bytes`, which fill the run's blocks but for the rest of the last, by the next bodies_sync at the latest: they
 * stay as they are until that, or bodies_abort. An error may be that of an earlier call. */
MUST_CHECK int bodies_write(struct bodies *bodies, const struct body_run *run, struct span bytes);

/* What was written is on the disk, and can be read, when it returns 0. Nothing where nothing was written since the
 * last. */
MUST_CHECK int bodies_sync(struct bodies *bodies);

/* The batch is given up: what is not written yet will not be. */
void bodies_abort(struct bodies *bodies);

enum bodies_wait {
    BODIES_NOW,  /* only what is in memory */
    BODIES_WAIT, /* for the disk */
};

/* Reads into `buffer`, which has room for the run's blocks, BODIES_READ_BLOCKS at most. On ERR_OK `out_pieces` are the
 * payloads of the first `*out_count` (at least one) blocks, checked; they lie in `buffer`. ERR_COLD: the first is not
 * in memory (BODIES_NOW), or this file system cannot tell. ERR_DAMAGED: the first fails its check. ERR_IO. */
MUST_CHECK enum err bodies_read(const struct bodies *bodies, const struct body_run *run, enum bodies_wait wait,
                                char *buffer, struct span out_pieces[BODIES_READ_BLOCKS], size_t *out_count);

/* The payloads of as many of the run's first blocks as can be given without a copy: full ones, in memory, whose checks
 * were found right by bodies_read before, for this body. They lie in the mapped file and stay as they are as long as
 * the body is pinned; only the kernel should read them (a sector that went bad since is an error of its write(), but a
 * SIGBUS here). `probe`: whether they are in memory is asked; else it is taken for granted. */
size_t bodies_view(const struct bodies *bodies, const struct body_run *run, bool probe,
                   struct span out_pieces[BODIES_READ_BLOCKS]);

/* Has the kernel read the blocks into memory: behind (it may), or before it returns. Errors show in bodies_read. */
void bodies_prefetch(const struct bodies *bodies, struct extent extent);
void bodies_warm(const struct bodies *bodies, struct extent extent);

#endif
