/* tunnel.h: after a 101: bytes both ways between a client's connection and an origin's, until both ended or nothing
 * moved for tunnel_idle_timeout (RFC 9110 §7.8).
 *
 * One side is read only while nothing is queued to the other: one buffer per direction. Threads: the worker's. */
#ifndef PROXY_TUNNEL_H
#define PROXY_TUNNEL_H

#include "proxy/origin/origin.h"

struct tunnel;

/* Takes both connections over (sets their events and owners) until `ended` runs, once, later: then the origin's
 * connection is gone, and the client's is the caller's again, with nothing in flight, to be closed. `early_client` and
 * `early_origin` are bytes already read. NULL: no memory, nothing was taken. */
MUST_CHECK struct tunnel *tunnel_start(struct conn *client, struct origin_conn *origin, struct span early_client,
                                       struct span early_origin, uint64_t idle_timeout_ms,
                                       void (*ended)(void *arg, uint64_t to_client_bytes, uint64_t to_origin_bytes),
                                       void *arg);

/* The client's connection is being closed by its owner: ends without calling `ended`; the origin's connection is
 * discarded. */
void tunnel_abort(struct tunnel *tunnel);

#endif
