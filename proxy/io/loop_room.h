/* loop_room.h: what libuv must have, it is sure to get: where it cannot, it ends the process.
 *
 * That is a table of what a loop watches, by the numbers of the descriptors, and the threads of its pool. Loops are
 * made with a table that is large enough for good, and memory for it is set aside before: a reload makes loops, and
 * must be able to fail. */
#ifndef PROXY_LOOP_ROOM_H
#define PROXY_LOOP_ROOM_H

#include <uv.h>

#include "http/check.h"

/* libuv allocates through here from now on, so that loop_init can give it what was set aside. Once, before anything
 * else is done with libuv. */
void loop_use_allocator(void);

/* uv_loop_init, and room for `count` descriptors (loop_make_room). A negative code, and nothing is left: among others
 * UV_ENOMEM, which it is instead of the end of the process after loop_use_allocator. Threads: any. */
MUST_CHECK int loop_init(uv_loop_t *loop, unsigned count);

/* Descriptors below `count` (at most LOOP_ROOM_MAX of them) can be watched without memory. Best effort: where the
 * process may not have so many, nothing happens. The loop must run, or be closed, afterwards. Threads: the loop's. */
void loop_make_room(uv_loop_t *loop, unsigned count);

enum { LOOP_ROOM_MAX = 64 * 1024 }; /* a MiB, as libuv rounds it */

/* Starts the threads of the pool, which libuv would do with the first work it is given. Once a process; `work` must
 * live until the loop has run. */
void loop_start_pool(uv_loop_t *loop, uv_work_t *work);

#endif
