/* cache_status.h: the member of Cache-Status that larder adds to every response (RFC 9211).
 *
 * `larder; hit; ttl=59; detail=fresh`, `larder; fwd=uri-miss; fwd-status=200; stored; ttl=60; detail=stored`. `detail`
 * is the reason's token, with the rule that decided as a string: `detail="bypass-rule static"`. Threads: any. */
#ifndef PROXY_CACHE_STATUS_H
#define PROXY_CACHE_STATUS_H

#include "proxy/observe/access_log.h"

struct cache_status {
    const char *name; /* of this cache */
    enum outcome outcome;
    enum reason reason;  /* shown as detail */
    const char *rule;    /* or NULL */
    unsigned fwd_status; /* 0: not known */
    bool stored;
    bool collapsed;
    bool has_ttl;
    int64_t ttl_s; /* may be negative */
};

/* Appends the member. */
void cache_status_write(const struct cache_status *status, struct buf *out);

/* The same in the arena. False at its limit. */
MUST_CHECK bool cache_status_format(const struct cache_status *status, struct arena *arena, struct span *out_value);

#endif
