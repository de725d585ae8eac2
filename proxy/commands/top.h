/* top.h: `larder top`: what a larder that runs is doing, on a terminal, until q.
 *
 * Threads: one. Errors: one line: no terminal, no larder that answers at the start, a build without ncurses. */
#ifndef PROXY_TOP_H
#define PROXY_TOP_H

#include "proxy/commands/options.h"

MUST_CHECK bool top_run(const struct config *config, const struct options *options, struct buf *out, struct buf *error);

#endif
