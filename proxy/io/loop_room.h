/* loop_room.h: what libuv must have later, it gets at the start: where it cannot, it ends the process, and at the start
 * nothing is lost.
 *
 * That is a table of what a loop watches, by the numbers of the descriptors, and the threads of its pool. */
#ifndef PROXY_LOOP_ROOM_H
#define PROXY_LOOP_ROOM_H

#include <uv.h>

/* Descriptors below `count` (at most LOOP_ROOM_MAX of them) can be watched without memory. Best effort: where the
 * process may not have so many, nothing happens. The loop must run, or be closed, afterwards. Threads: the loop's. */
void loop_make_room(uv_loop_t *loop, unsigned count);

enum { LOOP_ROOM_MAX = 64 * 1024 }; /* half a MiB */

/* Starts the threads of the pool, which libuv would do with the first work it is given. Once a process; `work` must
 * live until the loop has run. */
void loop_start_pool(uv_loop_t *loop, uv_work_t *work);

#endif
