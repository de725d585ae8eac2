/* top_sample.h: what `larder top` shows, taken out of the metrics of a larder that runs (metrics_text.c).
 *
 * Pure: text in, numbers out. Threads: any. */
#ifndef PROXY_TOP_SAMPLE_H
#define PROXY_TOP_SAMPLE_H

#include <stddef.h>

#include "http/check.h"
#include "http/span.h"

enum { TOP_ROWS_MAX = 256, TOP_NAME_BYTES = 96 };

/* A site, a reason with its outcome, or an origin. Counters since the start. */
struct top_row {
    char name[TOP_NAME_BYTES]; /* cut */
    double requests;
    double hits;
    double received_bytes;
    bool in_service; /* of an origin */
};

struct top_rows {
    struct top_row rows[TOP_ROWS_MAX]; /* what is beyond is not shown; sums have it */
    size_t count;
};

struct top_sample {
    double time_s; /* when it was taken, by whatever clock */
    double requests, hits;
    double sent_bytes, received_bytes;
    double origin_wait_s, origin_answers; /* time to origins' heads, and how many */
    double duration_s;                    /* of all requests together */
    double in_flight, connections;
    double store_used_bytes, store_limit_bytes;
    double started_s; /* since 1970 */
    char version[32];
    struct top_rows sites, reasons, origins;
};

/* False: it is not what metrics look like. */
MUST_CHECK bool top_sample_read(struct span text, double time_s, struct top_sample *out_sample);

/* The row of that name, or NULL. */
const struct top_row *top_rows_find(const struct top_rows *rows, const char *name);

#endif
