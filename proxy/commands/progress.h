/* progress.h: a bar on standard error while something takes long: only where that is a terminal.
 *
 *     check  [=========>                    ]  31 %  312000 of 1000000
 *
 * Threads: one. */
#ifndef PROXY_PROGRESS_H
#define PROXY_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *label;
    uint64_t total;    /* 0: unknown, then only the count is shown */
    uint64_t shown_ms; /* when it was drawn last */
    bool on;
};

void progress_begin(struct progress *progress, const char *label, uint64_t total, bool quiet);
void progress_step(struct progress *progress,
                   uint64_t done);            /* as often as one likes: it is drawn ten times a second */
void progress_end(struct progress *progress); /* wipes it away; accepts a zeroed one */

#endif
