/* traffic.h: what the traffic is made of: by site, reason, rule and route, and by URL; for /v1/report and /v1/urls.
 *
 * Each worker counts in tables of its own, under a mutex that nobody else holds for longer than it takes to exchange
 * two pointers: whoever reads takes the worker's tables away and leaves it empty ones (traffic_collect). What was taken
 * is kept by time: five minutes for an hour, an hour for a day, and all since the start; URLs for one to two hours. All
 * of it is bounded: the rows that weigh least make room (heavy.h).
 *
 * Threads: traffic_count on the shard's thread; everything else on the main thread. Times: wall clock, milliseconds. */
#ifndef PROXY_TRAFFIC_H
#define PROXY_TRAFFIC_H

#include "cache/reason.h"
#include "http/uri.h"
#include "proxy/config/config.h"
#include "proxy/observe/heavy.h"

struct traffic;
struct traffic_shard;

/* `secret` makes the hashes: nobody outside can choose URLs that push each other out. NULL: no memory. */
MUST_CHECK struct traffic *traffic_create(uint64_t secret, int64_t now_ms);
void traffic_destroy(struct traffic *traffic); /* after its shards; accepts NULL */

/* For one worker of this configuration, which must live until the shard is retired. NULL: no memory. */
MUST_CHECK struct traffic_shard *traffic_shard_create(struct traffic *traffic, const struct config *config);

/* Its thread has ended: what it counted is kept. Accepts NULL. */
void traffic_retire(struct traffic_shard *shard, int64_t now_ms);

/* A request that is over, or what its fetch brought after it was. */
struct traffic_event {
    const struct site *site; /* NULL: none served it */
    const struct uri *uri;   /* path empty: it could not be read */
    struct span url;         /* the same as text, where there is one already; else empty */
    enum reason reason;      /* what it cost, or saved, its bytes for */
    const char *rule;        /* that decided, of the configuration; or NULL */
    struct heavy_counts counts;
};

void traffic_count(struct traffic_shard *shard, const struct traffic_event *event); /* `shard` may be NULL */

/* Takes what the workers have counted since the last time; call it once a minute at least. */
void traffic_collect(struct traffic *traffic, int64_t now_ms);

/* What a row of the report is about; borrows from the row. */
struct traffic_key {
    enum reason reason;
    struct span site;
    struct span rule;  /* empty: none decided */
    struct span route; /* "/", or "/static/" and a star, or "/" and a star for what lies at the top; empty: no path */
};
struct traffic_key traffic_key_of(const struct heavy_row *row);

/* All since `since_ms`, or a little before: `*out_from_ms` says when exactly it begins. To be destroyed. NULL: no
 * memory. */
struct heavy *traffic_report(const struct traffic *traffic, int64_t since_ms, int64_t now_ms, int64_t *out_from_ms);
struct heavy *traffic_urls(const struct traffic *traffic, int64_t now_ms, int64_t *out_from_ms);

#endif
