/* freshness.h: how old a stored response is and how long it may be used (RFC 9111 §4.2).
 *
 * Arithmetic on times and header values. Times of day are milliseconds since 1970 (`_ms`), durations seconds (`_s`).
 * Threads: any. Errors: none; absent or unreadable fields have defined meanings, given per function. */
#ifndef CACHE_FRESHNESS_H
#define CACHE_FRESHNESS_H

#include "http/directives.h"
#include "http/message.h"

/* What a response says about its freshness, read once when it arrives and kept in its record. */
struct freshness_inputs {
    int64_t request_ms;      /* when the request that brought it was sent */
    int64_t response_ms;     /* when its head had arrived */
    int64_t date_s;          /* Date, or response_ms where absent or unreadable */
    int64_t expires_s;       /* meaningful if has_expires and not expires_invalid */
    int64_t last_modified_s; /* meaningful if has_last_modified */
    int64_t age_s; /* Age: first member of the first line; ≥ 2^31 clamps to INT32_MAX; unreadable or absent: 0 */
    bool has_expires;
    bool expires_invalid; /* "0" and other nonsense: already expired (RFC 9111 §5.3) */
    bool has_last_modified;
    bool has_etag;
    int64_t purged_ms;                     /* when a soft purge made it stale, 0: none did. Not part of a record */
    struct response_directives directives; /* the spans in it are not part of a record */
    unsigned status;
};

struct freshness_inputs freshness_inputs_of(const struct http_response *response, int64_t request_ms,
                                            int64_t response_ms, struct arena *arena);

/* The first of the fields `targets` that the response has, valid and not empty, replaces Cache-Control and Expires for
 * us (RFC 9213 §2.2); Age and Date stay true. In a field that is not called …Cache-Control, no-cache and private count
 * without the names of fields that they have. */
void freshness_apply_targeted(struct freshness_inputs *inputs, const struct headers *headers,
                              const struct span *targets, size_t target_count, struct arena *arena);

/* Where a lifetime came from. */
enum lifetime_source {
    LIFETIME_NONE, /* nothing says how long: not reusable without validation */
    LIFETIME_S_MAXAGE,
    LIFETIME_MAX_AGE,
    LIFETIME_EXPIRES,
    LIFETIME_HEURISTIC, /* a tenth of Date - Last-Modified, at most max_heuristic_s */
    LIFETIME_RULE,
    LIFETIME_DEFAULT_RULE,
};

struct freshness {
    int64_t age_s;      /* current age (RFC 9111 §4.2.3), whole seconds, never negative */
    int64_t lifetime_s; /* 0 where nothing is known or what is said is invalid */
    enum lifetime_source source;
};

/* Overrides by rule; negative: none. Both are for responses that a heuristic would be allowed for: a rule for a path
 * does not keep its 500s. A rule that names the statuses it is for means them. And what bounds a guess. */
struct lifetime_override {
    int64_t ttl_s;
    int64_t default_ttl_s;
    int64_t max_heuristic_s;     /* no lifetime that is guessed is longer; 0: none is guessed */
    bool ttl_for_status;         /* the rule named this response's status */
    bool default_ttl_for_status; /* … and so did the other's */
};

/* At `now_ms`. Fresh means age_s < lifetime_s; sub-second resolution is used inside. */
struct freshness freshness_at(const struct freshness_inputs *inputs, const struct lifetime_override *override,
                              int64_t now_ms);

/* The current age in milliseconds, for a caller that needs the fraction. */
int64_t freshness_age_ms(const struct freshness_inputs *inputs, int64_t now_ms);

/* Did the origin say how long, in any valid or invalid form (max-age, s-maxage, Expires)? */
bool freshness_is_explicit(const struct freshness_inputs *inputs);

/* May a heuristic be used: status of the list in RFC 9110 §15.1, or `public` (RFC 9111 §4.2.2)? */
bool freshness_heuristic_allowed(const struct freshness_inputs *inputs);

#endif
