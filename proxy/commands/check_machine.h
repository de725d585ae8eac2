/* check_machine.h: what a configuration that is right would lack on this machine: whom to become, where to log.
 *
 * Advice, for a configuration may be checked elsewhere than it is used. Threads: one (getpwnam). */
#ifndef PROXY_CHECK_MACHINE_H
#define PROXY_CHECK_MACHINE_H

#include "http/buf.h"
#include "proxy/config/config.h"

/* A line for each; nothing where all is there. */
void check_machine(const struct config *config, struct buf *out);

#endif
