/* demo.h: `larder demo`: a small slow site to put larder in front of; an origin of its own, with its own loop. */
#ifndef PROXY_DEMO_H
#define PROXY_DEMO_H

#include "proxy/config/config.h"

struct demo_options {
    struct address listen;
    uint64_t delay_ms;     /* before each response */
    const char *hints_url; /* where larder listens, for the curl lines to print; NULL: print none */
};

/* Serves until SIGTERM or SIGINT. Exit status: 0, or 2 when it cannot listen (one line on standard error). */
int demo_run(const struct demo_options *options);

#endif
