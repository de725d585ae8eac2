/* server.h: `larder serve`: opens sockets and store, starts the threads, waits for signals, stops in order.
 *
 * SIGTERM, SIGINT: an orderly stop; a second one cuts short what still runs. SIGHUP: reads the configuration again, and
 * goes on with the former one where anything is wrong with it. SIGUSR1: opens the access log anew. SIGUSR2: starts the
 * program anew, which takes this one's place when it is ready (server_upgrade.c). */
#ifndef PROXY_SERVER_H
#define PROXY_SERVER_H

#include "proxy/config/config.h"

/* Owns `config`, which was loaded with `flags` from the command `argv`. Exit status: 0 after an orderly stop (SIGTERM,
 * SIGINT), 2 when it could not start (one line on standard error), before anything listens. Listening addresses are
 * announced one a line: `listening address=127.0.0.1:8080`. */
int server_run(struct config *config, const struct config_flags *flags, const char *const *argv);

#endif
