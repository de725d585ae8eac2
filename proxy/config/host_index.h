/* host_index.h: the sites of a configuration by the hosts they serve: thousands cost a request no more than a few.
 *
 * Three sorted lists (exact hosts, wildcards, sites without hosts), searched by halves. Made once, when the sites are
 * read; borrows their host names. Threads: any. */
#ifndef PROXY_HOST_INDEX_H
#define PROXY_HOST_INDEX_H

#include <stdbool.h>
#include <stddef.h>

#include "http/arena.h"
#include "http/check.h"
#include "http/span.h"

struct site;

/* A host that a site serves; of a wildcard ("*.example.com") what follows the star; empty: every host. */
struct host_entry {
    struct span host;
    const struct site *site;
};

struct host_list {
    struct host_entry *entries;
    size_t count;
};

struct host_index {
    struct host_list exact;
    struct host_list wildcards;
    struct host_list every;
};

/* Of `sites`, whose memory stays where it is. False: no memory. */
MUST_CHECK bool host_index_make(struct host_index *index, const struct site *sites, size_t count, struct arena *arena);

/* The site for a host (without port) and a path: route_find says which. NULL: none. */
const struct site *host_index_find(const struct host_index *index, struct span host, struct span path);

#endif
