/* cold.h: what is on the disk and not in memory, bytes of a stored body or the pages that a look-up touches: they are
 * read into memory on libuv's thread pool, so that the loop, and all its clients, need not wait for the disk.
 *
 * Threads: the loop's. A body stays pinned until the read has ended. */
#ifndef PROXY_COLD_H
#define PROXY_COLD_H

#include <uv.h>

#include "cache/store.h"

struct cold_read;

typedef void (*cold_done_fn)(void *arg);

/* Begins to read what store_read_now found cold of a body that is pinned. `done` runs once, later, whatever came of it,
 * unless cold_read_forget was called: then read again. NULL: no memory, nothing was begun. */
MUST_CHECK struct cold_read *cold_read_start(uv_loop_t *loop, struct store *store, uint64_t body_id,
                                             const struct store_cold *cold, cold_done_fn done, void *arg);

/* The same for what a look-up of the key would wait for (cache_find_is_cold). */
MUST_CHECK struct cold_read *cold_find_start(uv_loop_t *loop, struct store *store, struct key_hash hash,
                                             cold_done_fn done, void *arg);

/* Nobody waits for it any more; it ends by itself. Accepts NULL. */
void cold_read_forget(struct cold_read *read);

#endif
