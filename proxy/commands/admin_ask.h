/* admin_ask.h: asking the administration of a larder that runs: what larder's commands do.
 *
 * Blocking, for commands only. Threads: one. Errors: one line. */
#ifndef PROXY_ADMIN_ASK_H
#define PROXY_ADMIN_ASK_H

#include <signal.h>

#include "http/buf.h"
#include "http/check.h"
#include "proxy/config/config.h"

struct admin_answer {
    unsigned status;
    struct buf body;
};

/* Asks over the socket of the configuration, or its first address. `body` empty: GET, else POST of JSON. The body is to
 * be given back with buf_finish. */
MUST_CHECK bool admin_ask(const struct config *config, const char *target, struct span body,
                          struct admin_answer *out_answer, struct buf *out_error);

/* Adds a parameter to a target, escaped; nothing for NULL. */
void admin_ask_parameter(struct buf *target, const char *name, const char *text);

enum admin_stream_end {
    ADMIN_STREAM_NOBODY,    /* nobody answers, with a line in `out_error` */
    ADMIN_STREAM_REFUSED,   /* another status than 200; the answer is in `out_refusal`, to be finished in any case */
    ADMIN_STREAM_BROKE_OFF, /* it answered, and is gone */
    ADMIN_STREAM_STOPPED,   /* by `take`, or by a signal, as `interrupted` tells */
};

/* Asks for an answer without an end: `take` gets the bytes of its body as they come, until it says false. */
struct admin_take {
    bool (*take)(struct admin_take *take, struct span bytes);
    const volatile sig_atomic_t *interrupted; /* not 0: a signal wants the end */
};
enum admin_stream_end admin_ask_stream(const struct config *config, const char *target, struct admin_take *take,
                                       struct admin_answer *out_refusal, struct buf *out_error);

#endif
