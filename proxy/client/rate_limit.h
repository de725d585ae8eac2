/* rate_limit.h: how many requests a second a client may send, by rule, over all workers.
 *
 * Each client of each rule has one number: the time at which it has used up nothing (the virtual schedule of a leaky
 * bucket, GCRA). A request moves it on by the interval of the rate; one that would move it further than the burst ahead
 * of now is refused, and moves nothing.
 *
 * The table has a fixed size: 131 072 clients, each counted once a rule, in 2 MiB. Where it is full, a newcomer takes
 * the place of the client, of eight, that has used up least, and begins with nothing used up: nobody pays for what
 * another did. What that costs: the displaced one has its burst back. It is the one that would have had it back
 * soonest, and an offender goes last: to displace it, eight others that the secret puts beside it must have used up
 * more, for which as many addresses as the table has places must each use up theirs. Whoever has so many is not held by
 * a limit for each address. Time is an argument. Threads: any. */
#ifndef PROXY_RATE_LIMIT_H
#define PROXY_RATE_LIMIT_H

#include <stdint.h>

#include "proxy/client/client_id.h"

struct rate {
    uint64_t interval_us; /* from one request to the next; 0: no limit */
    uint64_t burst;       /* requests that may come at once; at least 1 */
};

struct rate_limit;

struct rate_limit *rate_limit_create(uint64_t secret); /* NULL: no memory. `secret` seeds the hash. */
void rate_limit_destroy(struct rate_limit *limit);     /* accepts NULL */

/* One request of this client; `site` and `rule` name what it is counted for. False: it is too early, and
 * `*out_wait_us` says by how much. `now_us` is monotonic. */
MUST_CHECK bool rate_limit_take(struct rate_limit *limit, const struct client_id *id, struct span site,
                                struct span rule, const struct rate *rate, uint64_t now_us, uint64_t *out_wait_us);

#endif
