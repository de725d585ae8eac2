/* client_id.h: who a client is where limits count by client: its address, of IPv6 only the network.
 *
 * Whoever has one IPv6 address usually has 2^64 of them. A unix socket has no address, nor has a connection that is
 * gone already: nobody counts those. Pure functions. Threads: any. */
#ifndef PROXY_CLIENT_ID_H
#define PROXY_CLIENT_ID_H

#include "http/check.h"
#include "http/span.h"

enum { CLIENT_ID_BYTES = 16 };

struct client_id {
    unsigned char bytes[CLIENT_ID_BYTES]; /* an IPv4 address as ::ffff:a.b.c.d */
};

/* Of an address as text, without port and brackets. `ipv6_prefix`: how many bits of an IPv6 address count. False where
 * it is not an address. */
MUST_CHECK bool client_id_of(struct span text, unsigned ipv6_prefix, struct client_id *out_id);

#endif
