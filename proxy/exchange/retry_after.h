/* retry_after.h: when it makes sense to ask again after a 503 (RFC 9110 §10.2.3): by what has to change until then.
 *
 * A function of its arguments. A rate limit knows the very moment, and is not asked here. Threads: any. */
#ifndef PROXY_RETRY_AFTER_H
#define PROXY_RETRY_AFTER_H

#include "cache/reason.h"
#include "proxy/config/config.h"

/* Seconds, from 1 to 60. `site` may be NULL: none serves the request. */
uint64_t retry_after_s(const struct config *config, const struct site *site, enum reason reason);

#endif
