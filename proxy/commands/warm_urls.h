/* warm_urls.h: the URLs that `larder warm` asks for, each once, in the order in which they were first named: from
 * lists, sitemaps and access logs.
 *
 * Memory: the set's; URLs, and bytes of them, have limits. Threads: one at a time. Errors: one line. */
#ifndef PROXY_WARM_URLS_H
#define PROXY_WARM_URLS_H

#include <stdio.h>

#include "http/arena.h"
#include "http/buf.h"
#include "http/error.h"

enum { WARM_URLS_MAX = 1000000 };

/* What larder is asked: it knows no fragment, and its listener no scheme: that can only be told, as by a proxy in front
 * (X-Forwarded-Proto, Forwarded), and counts where larder trusts it. */
struct warm_url {
    bool secure;        /* https */
    struct span host;   /* as for Host */
    struct span target; /* path and query */
};

struct warm_urls {
    struct arena arena;
    struct warm_url *items;
    size_t count, capacity;
    uint32_t *slots; /* hash table of positions + 1 */
    size_t slot_count;
    uint64_t skipped; /* lines that name no URL that could be asked for */
};

void warm_urls_init(struct warm_urls *urls);
void warm_urls_finish(struct warm_urls *urls);

/* Adds "http://host/path?query", or "https://". ERR_OK also for one that is there; ERR_BAD_TARGET; ERR_LIMIT. */
MUST_CHECK enum err warm_urls_add(struct warm_urls *urls, struct span url);

/* A URL a line; empty lines and those that begin with # are left out. ERR_LIMIT, ERR_IO. */
MUST_CHECK enum err warm_urls_read_list(struct warm_urls *urls, FILE *file);

/* An access log, of larder (JSON) or in the combined format, whose lines do not name the host: `host` (empty: such
 * lines are skipped). Only GET counts, and HEAD. ERR_LIMIT, ERR_IO. */
MUST_CHECK enum err warm_urls_read_log(struct warm_urls *urls, FILE *file, struct span host);

/* A sitemap (sitemaps.org, XML): its URLs, or, of an index, the sitemaps that it names, into `nested`.
 * ERR_BAD_RESPONSE: it is not XML, or neither; ERR_LIMIT. */
MUST_CHECK enum err warm_urls_read_sitemap(struct warm_urls *urls, struct span xml, struct warm_urls *nested);

#endif
