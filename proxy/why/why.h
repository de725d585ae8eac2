/* why.h: `larder why`: what larder would do for a request, and why, told by the functions that serve requests.
 *
 * Looks at the store of a larder that runs or was stopped; asks no origin, changes nothing. What only the running
 * process knows is not seen: what is not committed yet, fetches under way, keys whose last answer could not be shared;
 * but for what the administration of a running larder adds: `last`.
 *
 * why_ask fills a struct why, why_write_text and why_write_json show it. Everything in it borrows from the
 * configuration, the options and the arena. Threads: one. */
#ifndef PROXY_WHY_H
#define PROXY_WHY_H

#include "cache/purge_set.h"
#include "cache/store.h"
#include "proxy/exchange/assess.h"
#include "proxy/observe/access_log.h"

struct why_options {
    const char *url;    /* absolute, http */
    const char *method; /* NULL: GET */
    const char *const *fields;
    size_t field_count; /* "Name: value" */

    /* what the origin is supposed to answer */
    unsigned response_status; /* 0: nothing is supposed */
    const char *const *response_fields;
    size_t response_field_count;
    bool has_response_length; /* of the body, where no field says it */
    uint64_t response_length;
};

enum why_action {
    WHY_HIT,            /* from the store, the origin is not asked */
    WHY_HIT_REVALIDATE, /* from the store, and revalidated behind */
    WHY_REVALIDATE,     /* after the origin confirmed it, or with what it sends instead */
    WHY_FETCH,          /* from the origin, and stored if it may be */
    WHY_PASS,           /* from the origin, past the cache */
    WHY_REPLY,          /* an answer of larder's own */
};

/* A stored response, and what it is worth under the rules that match it. */
struct why_variant {
    struct record record;
    struct headers headers;
    struct span selection; /* the request-header values that its Vary names, encoded (vary.h) */
    struct span wanted;    /* the same fields in this request */
    bool selected;
    struct policy policy;
    struct freshness freshness;
};

/* A rule of the site. */
struct why_rule {
    const struct rule *rule;
    bool matches;
    bool waits; /* its conditions on the response decide, and nothing is stored to ask */
};

/* What would be answered if the origin failed, or were slower than a rule's stale_if_slow. */
struct why_failure {
    bool stale; /* the stored response */
    enum reason reason;
    const char *rule;
    enum reason against; /* why not the stored response; NONE where it is, and where nothing is stored */
};
enum { WHY_FAILURES = 4 }; /* one for each enum origin_failure */

/* What a response would be worth that the origin is supposed to send. */
struct why_supposed {
    struct http_response response;
    struct part_of_whole part; /* what is stored of it */
    struct assessment assessment;
    struct freshness freshness; /* as it comes */
    struct span selection;      /* the request-header values that its Vary names, encoded */
    bool stored;
    bool confirms;          /* a 304 that speaks of what is stored; whether that stays so says `store_reason` */
    bool serves_stale;      /* a server error: the client gets what is stored instead */
    unsigned client_status; /* what the client's conditions and ranges make of the answer */
    struct span invalidated[ARRAY_LEN(((struct invalidation *)NULL)->uris)]; /* URLs, the target's first */
    size_t invalidated_count;
    struct cache_groups invalidated_groups; /* of the target's origin */
    enum reason store_reason;
    enum reason reason; /* `detail` in Cache-Status */
    const char *rule;
};

/* What the origin last answered to such a request, as the larder that runs remembers it (facts.h). */
struct why_last {
    bool known;
    int64_t time_ms; /* of the request */
    unsigned status;
    enum reason reason;       /* why it was asked */
    enum reason store_reason; /* why its answer was stored, or was not */
};

struct why {
    const struct config *config;
    struct arena *arena;
    int64_t now_ms;

    /* the request */
    struct http_request request;  /* rewritten by rules */
    struct headers asked_headers; /* as asked */
    struct uri asked_uri;
    struct span host;
    enum err error;         /* why it is refused */
    bool ends_here;         /* Max-Forwards */
    bool not_matched;       /* If-Match with a tag of larder's making, and a method that changes something */
    struct span own_match;  /* the same of a GET or HEAD: it is compared; empty: it is not there */
    enum reason past_cache; /* why it is not looked up, or NONE */
    const struct site *site;
    struct why_rule *rules; /* the site's */
    size_t rule_count;
    struct policy policy; /* for request and, where one is selected, response */
    struct key key;

    /* what is stored */
    bool looked_up;
    enum store_found found;
    struct why_variant *variants; /* newest first */
    size_t variant_count;
    bool holds_good;   /* what is no server error is stored, for whatever request (cache_holds_good) */
    bool has_selected; /* and it may be used, or validated */
    struct why_variant selected;
    struct purge_verdict purged; /* what a purge made of the one that was found; hard: then it is not selected */

    /* the verdict */
    enum why_action action;
    enum outcome outcome;
    enum reason reason;
    const char *rule;
    bool reason_is_final; /* Cache-Status will have it as `detail`; else that comes with the origin's answer */

    /* the answer */
    unsigned status; /* 0: the origin's */
    bool not_modified;
    bool has_ttl;
    int64_t ttl_s;
    struct span etag; /* of a hit: with it a client gets 304; empty: none */
    struct span cache_status;
    bool completes;            /* a fetch asks only for what is missing of the stored response */
    bool validates;            /* the stored response may be confirmed by a 304 */
    struct headers conditions; /* sent to the origin with it */
    struct headers hints;      /* of the 103 that is sent while the origin is asked; none: it is not */
    struct why_failure failures[WHY_FAILURES];
    bool has_failures;       /* the origin is asked */
    struct span invalidates; /* URL of the target, which its answer invalidates unless it is an error; empty: not */
    bool bridges;            /* what is stored may stand in for a failing origin, as `failures` say */

    struct why_last last;

    bool has_supposed;
    struct why_supposed supposed;
};

/* Do the options make a request, and a response where one is supposed? False with one line in `out_error`. */
MUST_CHECK bool why_check_options(const struct why_options *options, struct buf *out_error);

/* False with one line in `out_error`: a URL or field that makes no request, a store that cannot be looked at. */
MUST_CHECK bool why_ask(const struct config *config, const struct why_options *options, int64_t now_ms,
                        struct arena *arena, struct why *out_why, struct buf *out_error);

/* As why_ask, of the store of a larder that runs in this process. */
struct why_store {
    struct store *store;
    struct store_reader *reader;
};
MUST_CHECK bool why_ask_store(const struct config *config, const struct why_store *store,
                              const struct why_options *options, int64_t now_ms, struct arena *arena,
                              struct why *out_why, struct buf *out_error);

/* For people; `bold`: the terminal's codes for it around the verdict. */
void why_write_text(const struct why *why, bool bold, struct buf *out);
void why_write_json(const struct why *why, struct buf *out); /* one object and a line end */

/* What a reason means, without a request. False: there is no such token. */
bool why_write_reason(struct span token, bool json, struct buf *out);

/* ---- shared by the two forms ---- */

const char *why_hint(enum reason reason);            /* what to change to get another answer; never empty */
const char *why_action_text(enum why_action action); /* "hit", "hit-revalidate", … */

/* A setting of a policy, as the configuration names it. NULL for one that has no name here. */
const char *why_setting_name(enum setting setting);

struct why_lifetime {
    const char *source; /* "max-age", "s-maxage", "expires", "heuristic", "rule", "default-rule", "none" */
    struct span field;  /* the response field that says so; empty: none */
    const char *rule;
    const char *section; /* of the standard, or "config" */
};
struct why_lifetime why_lifetime_of(const struct why *why, const struct why_variant *variant);

/* What a partial response holds from byte `at` on, bytes that touch as one. False: nothing more. */
bool why_next_held(const struct record *record, uint64_t at, struct byte_range *out_held);

#endif
