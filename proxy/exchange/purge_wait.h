/* purge_wait.h: orders a purge and tells on the caller's loop when it is durable.
 *
 * The purge is in force when purge_wait_begin returns; the answer waits for the disk thread's commit. Who does not want
 * to know any more forgets the wait: the purge goes on. Threads: both functions on the loop of `mailbox`. */
#ifndef PROXY_PURGE_WAIT_H
#define PROXY_PURGE_WAIT_H

#include "cache/cache.h"
#include "proxy/io/mailbox.h"

enum { PURGE_WAIT_MS = 30 * 1000 }; /* the longest anybody waits for the disk */

struct purge_wait;

/* ERR_OK: it is durable; else it is in force until this process ends. `sequence` is that of its last row. The wait is
 * gone. */
typedef void (*purge_wait_fn)(void *arg, uint64_t sequence, enum err error);

/* As cache_purge; on failure nothing is in force and `done` never runs, else it runs once, later, unless it is
 * forgotten. */
MUST_CHECK enum err purge_wait_begin(struct cache *cache, struct mailbox *mailbox, const struct purge *purges,
                                     size_t count, purge_wait_fn done, void *arg, struct purge_wait **out_wait);

void purge_wait_forget(struct purge_wait *wait); /* accepts NULL */

#endif
