/* replay.h: what a configuration would have made of requests that were remembered (facts.h): `larder check --replay`.
 *
 * The requests are asked in their order, at their times, of a store that is only supposed and empty at first, by the
 * functions that serve requests (why_internal.h). What was answered from the store then, and is asked for the first
 * time here, counts as stored when it came, if this configuration would have stored it; what comes from the origin
 * counts as what it answered then, or what is known of it. What happened apart from configurations stays as it was: who
 * waited for another's fetch, bodies that broke off. Evictions, purges, and limits on load are not replayed.
 *
 * Threads: one. */
#ifndef PROXY_REPLAY_H
#define PROXY_REPLAY_H

#include "proxy/why/why.h"

struct replay_response {
    bool known;
    bool stored; /* it was in the store already */
    int64_t time_ms;
    unsigned status;
    uint64_t length;
    const char *const *fields; /* "Name: value" */
    size_t field_count;
};

struct replay_fact {
    int64_t time_ms;
    const char *method;
    const char *url;
    const char *const *fields;
    size_t field_count;
    bool collapsed;
    enum reason store_reason;
    uint64_t received_bytes;
    struct replay_response response;
};

struct replay_verdict {
    bool readable; /* false: nothing else is said */
    enum why_action action;
    enum reason reason; /* as in Cache-Status */
    const char *rule;   /* the configuration's, or NULL */
    const char *site;   /* "": none */
    bool hit;
    unsigned origin_requests; /* 0 or 1 */
    uint64_t origin_bytes;
};

/* `facts` in the order of their times; a verdict for each. False: no memory. */
MUST_CHECK bool replay_run(const struct config *config, const struct replay_fact *facts, size_t count,
                           struct replay_verdict *out_verdicts);

#endif
