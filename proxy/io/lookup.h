/* lookup.h: the addresses of a name, looked up in a thread of its own.
 *
 * The system's resolver cannot be broken off, and may take a minute. So nobody waits for it who does not want to: an
 * abandoned look-up ends by itself, whenever that is, and touches nothing of the one who asked. (libuv's thread pool
 * would hold up the end of the loop, and its few threads everybody else.) Threads: the loop's. */
#ifndef PROXY_LOOKUP_H
#define PROXY_LOOKUP_H

#include <netdb.h>

#include "http/check.h"

struct lookup;
struct mailbox;

/* `done` runs once, from the loop of `mailbox`, unless it was abandoned: with `error` 0 and the addresses, which live
 * as long as the call, or a code for gai_strerror. The look-up is gone then. NULL: no memory, or no thread; `done` will
 * not run. */
MUST_CHECK struct lookup *lookup_start(const char *name, struct mailbox *mailbox,
                                       void (*done)(void *arg, int error, const struct addrinfo *list), void *arg);

/* `done` will not run. The look-up is gone for the caller; accepts NULL. */
void lookup_abandon(struct lookup *lookup);

#endif
