/* reload.h: a configuration that is to follow another without a restart. Threads: the main thread. */
#ifndef PROXY_RELOAD_H
#define PROXY_RELOAD_H

#include "proxy/config/config.h"

/* Reads and checks the configuration anew. Settings that only a restart can change are kept as `current` has them, and
 * named in the log where they differ. NULL, with the reasons in the log, when it cannot be used. */
struct config *reload_config(const struct config_flags *flags, const struct config *current);

#endif
