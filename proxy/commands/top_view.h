/* top_view.h: the lines of `larder top`: what happened between two samples.
 *
 * Pure: numbers in, lines out. Threads: any. */
#ifndef PROXY_TOP_VIEW_H
#define PROXY_TOP_VIEW_H

#include "proxy/commands/top_sample.h"

enum {
    TOP_LINES_MAX = 128,
    TOP_LINE_BYTES = 256,
};

enum top_sort { TOP_BY_RATE, TOP_BY_TOTAL, TOP_BY_NAME, TOP_SORTS };

struct top_options {
    enum top_sort sort;
    bool paused;
    double now_s;       /* since 1970 */
    size_t lines;       /* room for so many */
    const char *notice; /* shown instead of the time, or NULL */
};

struct top_line {
    char text[TOP_LINE_BYTES];
    bool heading;
};

struct top_view {
    struct top_line lines[TOP_LINES_MAX];
    size_t count;
};

/* `before` and `after` may be the same: then all rates are zero. */
void top_view_make(const struct top_sample *before, const struct top_sample *after, const struct top_options *options,
                   struct top_view *out_view);

#endif
