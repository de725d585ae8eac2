/* facts.h: a bounded memory of recent requests and of what was answered, for `larder check --replay`.
 *
 * A fact is a line of JSON (exchange_facts.c writes it, openapi.json describes it). Each worker keeps as many bytes of
 * them as the configuration says, the newest. Where they would not last for FACTS_SPAN_MS, or come in a flood that
 * costs more than it says, only every second, fourth … path is kept, all requests for it: hit ratios of such a sample
 * are those of the whole. More are kept again once they last for twice as long. Which paths these are is decided by a
 * hash, so that a path that is not among them costs next to nothing.
 *
 * Threads: facts_wants and facts_add on the shard's thread; everything else on the main thread. A worker waits for the
 * main thread for as long as copying FACTS_PIECE_BYTES takes at most. */
#ifndef PROXY_FACTS_H
#define PROXY_FACTS_H

#include "http/buf.h"
#include "http/check.h"

enum {
    FACTS_SPAN_MS = 10 * 60 * 1000,
    FACTS_PIECE_BYTES = 64 * 1024,
    FACT_MAX_BYTES = 16 * 1024, /* longer ones are left out */
    FACTS_MIN_BYTES = 64 * 1024,
};

struct facts;
struct facts_shard;

MUST_CHECK struct facts *facts_create(uint64_t secret); /* NULL: no memory */
void facts_destroy(struct facts *facts);                /* after its shards; accepts NULL */

/* For one worker; `bytes` 0: it keeps none. NULL: no memory. */
MUST_CHECK struct facts_shard *facts_shard_create(struct facts *facts, size_t bytes);
/* Its thread has ended: its facts are kept as long as others do not need the room. Accepts NULL. */
void facts_retire(struct facts_shard *shard);

/* ---- the worker ---- */

/* Is this path kept? `*out_sample` goes into the fact. `shard` may be NULL (tests of parts): none is. */
bool facts_wants(const struct facts_shard *shard, struct span path, uint32_t *out_sample);

void facts_add(struct facts_shard *shard, struct span line, uint64_t monotonic_ms);

/* Values that must not be kept but compared: the same for the same, for as long as this process lives. */
uint64_t facts_hash(const struct facts_shard *shard, struct span value);

const struct facts *facts_of(const struct facts_shard *shard);

/* ---- either ---- */

/* A URL as facts have it: with hashes for the values of its query. */
void facts_write_url(const struct facts *facts, struct span scheme, struct span host, struct span target,
                     struct buf *out);

/* ---- the main thread ---- */

/* Appends all lines, each worker's oldest first. `*out_one_in`: of the paths, one in so many is kept; of lines whose
 * "sample" is not a multiple of it there are too few to say anything. False: no room in `out`. */
MUST_CHECK bool facts_read(struct facts *facts, struct buf *out, uint32_t *out_one_in);

/* Appends the newest line in which the origin answered such a request; `url` is facts_write_url's. False: there is
 * none, or no memory to look. */
MUST_CHECK bool facts_last(struct facts *facts, struct span method, struct span url, struct buf *out);

#endif
