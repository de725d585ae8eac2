/* metrics.h: what is counted, by site, and how it is told to Prometheus.
 *
 * Each worker counts in a shard of its own: single writer, relaxed stores, no line shared with another worker. Whoever
 * scrapes adds the shards up. Counters never go back while the process lives: what a worker counted is kept when it
 * ends (metrics_retire).
 *
 * Threads: metrics_count_* on the shard's thread; everything else on the main thread. Times are microseconds. */
#ifndef PROXY_METRICS_H
#define PROXY_METRICS_H

#include <stdatomic.h>

#include "cache/cache.h"
#include "http/buf.h"
#include "proxy/client/refusals.h"
#include "proxy/observe/access_log.h"

struct metrics;
struct metrics_shard;

MUST_CHECK struct metrics *metrics_create(void); /* NULL: no memory */
void metrics_destroy(struct metrics *metrics);   /* after its shards; accepts NULL */

/* For one worker of this configuration, which must live until the shard is retired. NULL: no memory. */
MUST_CHECK struct metrics_shard *metrics_shard_create(struct metrics *metrics, const struct config *config);

/* Its thread has ended: what it counted goes into the totals. Accepts NULL. */
void metrics_retire(struct metrics *metrics, struct metrics_shard *shard);

/* ---- counting ---- */

/* A request is over. */
struct metrics_request {
    enum outcome outcome;
    enum reason reason;
    enum end_reason end;
    unsigned status;      /* 0: nothing was sent */
    uint64_t sent_bytes;  /* to the client, head and framing included */
    uint64_t body_bytes;  /* of the response's body */
    uint64_t duration_us; /* from the request's head to the end */
};

/* `shard` may be NULL (tests of parts), `site` too: no site served it. */
void metrics_count_begin(struct metrics_shard *shard);
void metrics_count_request(struct metrics_shard *shard, const struct site *site, const struct metrics_request *request);

/* Bytes came from an origin of the site. */
void metrics_count_received(struct metrics_shard *shard, const struct site *site, size_t bytes);

/* An origin's head came, so long after the request went out. */
void metrics_count_answer(struct metrics_shard *shard, const struct site *site, uint64_t wait_us);

/* Of refusals.h: a connection, which has no request that would be counted, or a request, which has. */
void metrics_count_refusal(struct metrics_shard *shard, enum refusal cause);

/* A listener accepts nothing for a moment: descriptors run out, or memory (listener.c). */
void metrics_count_accept_pause(struct metrics_shard *shard);

/* ---- telling ---- */

/* What is not counted in shards. */
struct metrics_gauges {
    const char *version;
    int64_t started_ms; /* wall clock */
    unsigned workers;
    unsigned connections;
    struct cache *cache;
    const struct config *config;
    struct origin_set *const *origin_sets; /* one a site of `config` */
    uint64_t now_ms;                       /* loop time */
};

enum { METRICS_TIMES = 15 };
extern const uint64_t metrics_times_us[METRICS_TIMES]; /* upper bounds; a last bucket has none */

/* Sums over all sites, as cheap as there are workers: for what looks often. */
struct metrics_sums {
    uint64_t requests;       /* that ended */
    uint64_t hits;           /* of them, answered without the origin */
    uint64_t failures;       /* of them, answered with 5xx */
    uint64_t in_flight;      /* begun and not ended */
    uint64_t sent_bytes;     /* to clients */
    uint64_t received_bytes; /* from origins */
    uint64_t wait_us;        /* until origins' heads came */
    uint64_t waits[METRICS_TIMES + 1];
    uint64_t refusals[REFUSAL_COUNT];
    uint64_t accept_pauses;
};

void metrics_sum(const struct metrics *metrics, struct metrics_sums *out_sums);

/* What one site counted. */
struct metrics_site_sums {
    const char *name; /* empty: requests that no site served */
    uint64_t requests;
    uint64_t hits;
    uint64_t failures;
    uint64_t sent_bytes;
    uint64_t received_bytes;
    uint64_t answers; /* heads that came from its origins */
    uint64_t wait_us; /* until they came */
};

/* Sites of one name are one; those of former configurations are still told. `visit` returns false to stop. False: no
 * memory. */
typedef bool (*metrics_site_fn)(void *arg, const struct metrics_site_sums *sums);
MUST_CHECK bool metrics_each_site(const struct metrics *metrics, metrics_site_fn visit, void *arg);

/* The text exposition format. False: no memory. */
MUST_CHECK bool metrics_write(const struct metrics *metrics, const struct metrics_gauges *gauges, struct buf *out);

#endif
