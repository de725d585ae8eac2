/* process.h: what the process may do: as whom it runs, how many descriptors it has, how long it may still be there.
 *
 * But for the last one for the start, on the main thread, before another thread runs. */
#ifndef PROXY_PROCESS_H
#define PROXY_PROCESS_H

#include "http/buf.h"
#include "http/check.h"
#include "proxy/config/config.h"

/* Raises the limit of descriptors: to the hard one, and as root beyond it, to what the configured connections can need.
 * Warns where not even all clients have room. Best effort. */
void process_raise_descriptor_limit(const struct config *config, unsigned worker_count);

/* How many descriptors there can be at a time: what the configured connections can need, or the limit where that is
 * lower. */
unsigned process_planned_descriptors(const struct config *config, unsigned worker_count);

/* Becomes server.user and server.group for good, when root was needed to bind only: the cache's directory is made for
 * that user where it is missing. Without a user it stays who it is. False: one line in `out_error`. */
MUST_CHECK bool process_drop_privileges(const struct config *config, struct buf *out_error);

/* For who looks after the cache without being larder: makes its directory for server.user where root does it and it is
 * missing. What is there already keeps its owner. False: one line in `out_error`. */
MUST_CHECK bool process_make_cache_dir(const struct config *config, struct buf *out_error);

/* When everything else has worked. */
void process_warn_of_root(void);

/* The kernel ends this process in so many milliseconds (SIGALRM) if it has not ended by then: also when no thread of it
 * comes to anything any more, and nobody is there to end it. From the main thread. */
void process_end_in(uint64_t delay_ms);

#endif
