/* unheard.h: since when the kernel has heard nothing of a connection's other side. A loop knows only when it was told:
 * what came while its thread or the machine stood still seems to have come just now.
 *
 * Threads: the connection's. Errors: none. */
#ifndef PROXY_UNHEARD_H
#define PROXY_UNHEARD_H

#include "proxy/io/conn.h"

/* Milliseconds since the last packet of it that acknowledged something, as every one does but a reset. 0 where nobody
 * knows: it is no TCP. */
uint64_t conn_unheard_ms(const struct conn *conn);

#endif
