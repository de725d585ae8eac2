/* warm.h: `larder warm`: asks a larder that runs for URLs, so that they are stored before anybody waits for them.
 *
 * It is a client of larder's listener like any other: what serves requests does the storing, by the same rules. URLs
 * come from the command line, lists, sitemaps (asked for through larder, too; compressed or not) and access logs; each
 * is asked for once with every combination of the fields that are given several times, which makes the variants.
 * Requests start at a bounded rate on a bounded number of connections, in order.
 *
 * Threads: one that is called, and its own. Errors: one line, or the summary and WARM_FAILED. */
#ifndef PROXY_WARM_H
#define PROXY_WARM_H

#include "proxy/commands/options.h"
#include "proxy/config/config.h"

enum warm_result {
    WARM_DONE,    /* every answer is stored, or was, or is not for a cache */
    WARM_FAILED,  /* some could not be had, or are errors that are not stored; the summary is written */
    WARM_REFUSED, /* nothing was asked, with one line in `error` */
};

/* Writes the summary to `out`. */
enum warm_result warm_run(const struct config *config, const struct options *options, struct buf *out,
                          struct buf *error);

#endif
