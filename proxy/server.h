/* server.h: `larder serve`: opens sockets and store, starts the threads, waits for a signal, stops in order. */
#ifndef PROXY_SERVER_H
#define PROXY_SERVER_H

#include "proxy/config.h"

/* Exit status: 0 after an orderly stop (SIGTERM, SIGINT), 2 when it could not start (one line on standard error),
 * before anything listens. Listening addresses are announced one a line: `listening address=127.0.0.1:8080`. Fills in
 * ports the system picked. */
int server_run(struct config *config);

#endif
