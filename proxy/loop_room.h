/* loop_room.h: room in a loop for the descriptors to come.
 *
 * libuv keeps a table of what it watches, by the numbers of the descriptors, and ends the process when there is no
 * memory for a longer one. So it gets its length at the start, when nothing is lost yet. */
#ifndef PROXY_LOOP_ROOM_H
#define PROXY_LOOP_ROOM_H

#include <uv.h>

/* Descriptors below `count` (at most LOOP_ROOM_MAX of them) can be watched without memory. Best effort: where the
 * process may not have so many, nothing happens. The loop must run, or be closed, afterwards. Threads: the loop's. */
void loop_make_room(uv_loop_t *loop, unsigned count);

enum { LOOP_ROOM_MAX = 64 * 1024 }; /* half a MiB */

#endif
