/* admin_ask.h: asking the administration of a larder that runs: what larder's commands do.
 *
 * Blocking, for commands only. Threads: one. Errors: one line. */
#ifndef PROXY_ADMIN_ASK_H
#define PROXY_ADMIN_ASK_H

#include "http/buf.h"
#include "http/check.h"
#include "proxy/config.h"

struct admin_answer {
    unsigned status;
    struct buf body;
};

/* Asks over the socket of the configuration, or its first address. `body` empty: GET, else POST of JSON. The body is to
 * be given back with buf_finish. */
MUST_CHECK bool admin_ask(const struct config *config, const char *target, struct span body,
                          struct admin_answer *out_answer, struct buf *out_error);

#endif
