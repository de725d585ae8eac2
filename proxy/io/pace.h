/* pace.h: is the other side too slow, over a window of the time that we waited for it?
 *
 * A time limit for each read or write does not bound a transfer: a byte now and then keeps it going. Here the time
 * spent waiting is added up (the time in which we had nothing to ask for is not the other side's), and whenever a
 * window of it is full, the bytes that came meanwhile must have been enough. Time is an argument. Threads: the owner's.
 */
#ifndef PROXY_PACE_H
#define PROXY_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "http/check.h"

struct pace {
    uint64_t since_ms;    /* waiting since; 0: not waiting */
    uint64_t waited_ms;   /* of the window */
    uint64_t first_bytes; /* the total when the window began */
};

/* A new transfer, whose total of bytes is 0. */
void pace_begin(struct pace *pace);

/* It is the other side's turn; a second call in a row changes nothing. */
void pace_wait(struct pace *pace, uint64_t now_ms);

/* It moved, and now `total_bytes` have come or gone since pace_begin. False: a window of waiting is full, and it was
 * less than `min_bytes_s` a second. */
MUST_CHECK bool pace_moved(struct pace *pace, uint64_t now_ms, uint64_t total_bytes, uint64_t min_bytes_s,
                           uint64_t window_ms);

#endif
