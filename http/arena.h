/* arena.h: a bump allocator with a hard limit, for everything that lives as long as one exchange.
 *
 * Nothing is freed one by one: arena_reset gives all of it back and keeps one block for the next exchange. Exhaustion
 * is an ordinary result (NULL), never an abort. Threads: one at a time. */
#ifndef HTTP_ARENA_H
#define HTTP_ARENA_H

#include <stddef.h>

#include "http/check.h"
#include "http/error.h"
#include "http/span.h"

struct arena_block;

/* First blocks that no arena needs at the moment. Of many arenas few are in use at a time (connections wait most of
 * their life), and the block used last is the one the processor still has at hand. Zeroed: empty. */
struct arena_spares {
    struct arena_block *blocks;
    unsigned count; /* 64 at most: a MiB */
};

struct arena {
    struct arena_block *blocks;  /* newest first; the memory itself */
    size_t used_bytes;           /* handed out since the last reset */
    size_t limit_bytes;          /* arena_alloc fails beyond this */
    bool starved;                /* the system had no memory, since the last reset */
    struct arena_spares *spares; /* where the first block comes from and goes to; NULL: the heap */
};

/* An arena that allocates nothing until it is used. `spares` may be NULL; else it must outlive the arena, on the same
 * thread. */
void arena_init(struct arena *arena, size_t limit_bytes);
void arena_init_sharing(struct arena *arena, size_t limit_bytes, struct arena_spares *spares);

/* Gives all memory back; the arena may be used again. Accepts a zeroed arena. */
void arena_finish(struct arena *arena);

/* Everything handed out is gone; the first block is kept for reuse. */
void arena_reset(struct arena *arena);

void arena_spares_finish(struct arena_spares *spares); /* frees them */

/* Why something did not get its memory: ERR_ARENA_FULL (it wanted too much: 431) or ERR_NO_MEMORY (there is none: 503).
 */
enum err arena_error(const struct arena *arena);

/* Aligned for any type, zeroed. NULL at the limit or without memory. */
MUST_CHECK void *arena_alloc(struct arena *arena, size_t bytes);

/* As arena_alloc, not zeroed: for what is filled at once. */
MUST_CHECK void *arena_alloc_raw(struct arena *arena, size_t bytes);

/* As arena_alloc, unaligned and not zeroed, for text. */
MUST_CHECK char *arena_alloc_text(struct arena *arena, size_t bytes);

/* A copy of `text` in the arena. False at the limit. */
MUST_CHECK bool arena_copy(struct arena *arena, struct span text, struct span *out_copy);

/* Each of the texts becomes a copy of itself, all in one piece of memory. False at the limit: they are as they were. */
MUST_CHECK bool arena_copy_texts(struct arena *arena, struct span *const *texts, size_t count);

/* The parts one after another. False at the limit. */
MUST_CHECK bool arena_join(struct arena *arena, const struct span *parts, size_t count, struct span *out_text);

/* printf into the arena; a zero, not counted, stands behind the text. False at the limit. */
MUST_CHECK bool arena_format(struct arena *arena, struct span *out_text, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
