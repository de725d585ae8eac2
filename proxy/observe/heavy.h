/* heavy.h: counts by key, for the keys that weigh most, in bounded memory.
 *
 * A table of rows in sets of HEAVY_WAYS. A key lies in the set of its hash; a new one takes the place of the lightest
 * there and begins with that one's weight, so that what comes often finds its place (Space-Saving, Metwally et al.
 * 2005, set by set: counting takes the same short time always). The counts of a row are exact since the key came in;
 * what the rows that made room had counted is in `rest`, so that nothing is missing from the sum.
 *
 * Ownership: the table copies keys, cut at their greatest length. Threads: one at a time. */
#ifndef PROXY_HEAVY_H
#define PROXY_HEAVY_H

#include "http/check.h"
#include "http/span.h"

enum { HEAVY_WAYS = 8 };

struct heavy_counts {
    uint64_t requests;
    uint64_t hits;           /* of them: answered from the store */
    uint64_t sent_bytes;     /* to clients, heads included */
    uint64_t received_bytes; /* from origins, heads included */
    uint64_t origin_us;      /* from asking an origin to its head, or to giving up */
};

struct heavy_row {
    struct heavy_counts counts;
    uint64_t inherited; /* of the weight: from those that made room */
    size_t key_len;
    char key[]; /* not zero-terminated */
};

struct heavy;

/* Room for `rows` keys (a multiple of HEAVY_WAYS). NULL: no memory. Rows that are never used cost address space only.
 */
MUST_CHECK struct heavy *heavy_create(size_t rows, size_t key_max_bytes);
void heavy_destroy(struct heavy *heavy); /* accepts NULL */
void heavy_clear(struct heavy *heavy);

/* The counts of `key`, to be added to. `hash` is its hash, the same in all tables that are merged; `weight`, 1 and up,
 * says how much this counts for keeping the key. Valid until the next call. */
struct heavy_counts *heavy_count(struct heavy *heavy, struct span key, uint64_t hash, uint64_t weight);

static inline void heavy_add(struct heavy_counts *to, const struct heavy_counts *counts)
{
    to->requests += counts->requests;
    to->hits += counts->hits;
    to->sent_bytes += counts->sent_bytes;
    to->received_bytes += counts->received_bytes;
    to->origin_us += counts->origin_us;
}

/* Adds all of `from`. */
void heavy_merge(struct heavy *to, const struct heavy *from);

/* Every row, in no order; false ends it. */
typedef bool (*heavy_fn)(void *arg, const struct heavy_row *row);
void heavy_each(const struct heavy *heavy, heavy_fn fn, void *arg);

struct heavy_counts heavy_rest(const struct heavy *heavy);
void heavy_add_rest(struct heavy *heavy, const struct heavy_counts *counts);

#endif
