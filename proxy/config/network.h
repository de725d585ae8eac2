/* network.h: "10.0.0.0/8": addresses that are meant together. Threads: any. */
#ifndef PROXY_NETWORK_H
#define PROXY_NETWORK_H

#include <stdint.h>

#include "http/check.h"
#include "http/span.h"

struct network {
    bool is_unix;              /* clients of a unix socket */
    unsigned bits;             /* of the address that count */
    unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
};

/* An address, or one with "/" and the number of bits that count; "unix". False: something else, or bits beyond that
 * number are set. */
MUST_CHECK bool network_parse(struct span text, struct network *out_network);

/* `host`: as conn_peer says it. */
bool network_has(const struct network *network, const char *host);
bool networks_have(const struct network *networks, size_t count, const char *host); /* one of them */

#endif
