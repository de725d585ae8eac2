/* policy.h: what a shared cache may store, reuse and serve stale (RFC 9111), decided as functions of their arguments.
 *
 * Every verdict carries its reason. Nothing here knows a store, a clock or a connection. Threads: any. Errors: none;
 * whatever cannot be read in a message has a defined, cautious meaning. */
#ifndef CACHE_POLICY_H
#define CACHE_POLICY_H

#include "cache/freshness.h"
#include "cache/reason.h"
#include "cache/record.h"
#include "http/message.h"

enum profile {
    PROFILE_SAFE, /* the default: RFC 9111, but cautious where its letter hurts people; the README lists where */
    PROFILE_RFC,  /* the letter of RFC 9111 */
};

/* Which bodies of more than LARGE_BODY_BYTES a full store takes. Most are asked for once only, and each takes the room
 * of many small ones. */
enum admit_large {
    ADMIT_LARGE_SECOND, /* at the second request for the key, while it is remembered */
    ADMIT_LARGE_ALWAYS,
};
#define LARGE_BODY_BYTES ((uint64_t)64 * 1024)

/* How a site is run. */
enum mode {
    MODE_NORMAL,
    MODE_OFFLINE, /* the origin is not asked: what is stored serves, whatever its age and what it says of that */
    MODE_RECORD,  /* what passes is kept to be replayed offline, if not for reuse then apart (key_of_recording) */
};

/* A setting that a rule may give. Of each the first rule that matches and gives it counts. */
enum setting {
    SETTING_TTL,         /* lifetime that replaces what the origin says */
    SETTING_DEFAULT_TTL, /* lifetime where the origin says nothing */
    SETTING_STALE_WHILE_REVALIDATE,
    SETTING_STALE_IF_ERROR,
    SETTING_STALE_IF_SLOW,
    SETTING_BYPASS,
    SETTING_IGNORE_COOKIES,     /* Cookie does not make `safe` cautious */
    SETTING_STORE_SET_COOKIE,   /* store responses with Set-Cookie, and replay it */
    SETTING_REQUEST_DIRECTIVES, /* clients' Cache-Control reaches through */
    SETTING_OWN_ETAG,           /* an entity tag from the body where the origin sends no validator */
    SETTING_HOLD_BACK,          /* how long a head waits for what the end of its body says */
    SETTING_STRIP_TAGS,         /* clients do not see the tags of http/tags.h */
    SETTING_SENTINEL,           /* look for the signs of sentinel.h in whatever would be stored, or in nothing */
    SETTING_EARLY_HINTS,        /* a 103 from the stored Link for who has to wait */
    SETTING_NO_VARY_SEARCH,     /* what a response says of its query counts */
    SETTING_MIN_USES,           /* requests until it is stored */
    SETTING_HEAD_AS_GET,        /* the origin is asked with GET for a HEAD that finds nothing stored */
    SETTING_COUNT
};

/* What the configuration says for one exchange: the site's rules that matched, put together. Built by
 * proxy/config/route.c. `rule[s]` is the name of the rule that gave setting `s`, NULL where none did (then the
 * profile's default holds). Names belong to the configuration. A negative number of seconds means that no rule says
 * anything: of a window (stale_while_revalidate_s, stale_if_error_s) then the origin's counts. */
struct policy {
    enum profile profile;
    enum mode mode;
    const char *rule[SETTING_COUNT];
    int64_t ttl_s;
    int64_t default_ttl_s;
    int64_t max_heuristic_s;                     /* as in freshness.h */
    bool ttl_for_status, default_ttl_for_status; /* their rules name the response's status (freshness.h) */
    int64_t stale_while_revalidate_s;
    int64_t stale_if_error_s;
    int64_t stale_if_slow_ms; /* how long the origin may take while something stale may be used; 0: without end */
    bool bypass;
    bool ignore_cookies;
    bool store_set_cookie;
    bool request_directives;
    bool own_etag;        /* on in PROFILE_SAFE */
    int64_t hold_back_ms; /* a small response's head waits for the end of its body at most; 0: not at all */
    bool strip_tags;
    bool sentinel; /* what sentinel.h looks for; without a rule PROFILE_SAFE judges types where the origin gave no
                      lifetime */
    bool early_hints;
    bool no_vary_search;
    bool head_as_get;
    unsigned min_uses;   /* stored at this request for its key, counted while it is remembered; 0 and 1: at the first */
    int64_t max_stale_s; /* nothing is served that has been stale for this long, whatever allows it; 0: nothing stale */
    uint64_t max_object_bytes; /* a longer Content-Length is not stored; 0: no limit */
    enum admit_large admit_large;
};

/* The lifetimes of its rules, for freshness_at. */
struct lifetime_override policy_lifetimes(const struct policy *policy);

/* May a stored response be looked for at all? `false` with the reason where the request goes past the cache;
 * REASON_NONE with `true`. Of a site that is offline also where a rule bypasses. Ask before hop-by-hop fields are
 * removed: Upgrade is one. Conditions that the client put on its own copy and Range do not matter here. */
bool policy_may_lookup(const struct http_request *request, const struct policy *policy, enum reason *out_reason);

/* What to do with a stored response that was selected (key and Vary match). */
enum reuse {
    REUSE_SERVE,            /* serve it: fresh, or stale and accepted */
    REUSE_SERVE_REVALIDATE, /* serve it now, revalidate behind (stale-while-revalidate) */
    REUSE_VALIDATE,         /* only after the origin confirmed it */
    REUSE_FETCH,            /* not usable for this request: fetch as if nothing were stored */
};

struct reuse_verdict {
    enum reuse reuse;
    enum reason reason;
    const char *rule;           /* the rule that decided, or NULL */
    struct freshness freshness; /* at now_ms */
};

/* In MODE_OFFLINE always REUSE_SERVE: with REASON_OFFLINE where it would not be served else. */
struct reuse_verdict policy_may_reuse(const struct http_request *request, const struct record *record,
                                      const struct policy *policy, int64_t now_ms);

/* Does the client want nothing from the origin (RFC 9111 §5.2.1.7)? Honoured always: a 504 costs nothing. */
bool policy_only_if_cached(const struct http_request *request);

/* The origin failed, or keeps us waiting, while a stored response was to be validated or refetched. */
enum origin_failure {
    FAILURE_STATUS,       /* it answered 500, 502, 503 or 504 */
    FAILURE_DISCONNECTED, /* no connection, no answer, broken answer, name not resolved */
    FAILURE_TIMEOUT,
    FAILURE_SLOW, /* it has not answered within stale_if_slow, and still may */
};

/* May the stale response be served instead? `*out_reason` is set either way: STALE_IF_ERROR, STALE_DISCONNECTED or
 * STALE_IF_SLOW; else NO_CACHE, MUST_REVALIDATE, COOKIE, or STALE where nothing permits it (any more). `*out_rule` is
 * the rule that permitted it, or NULL. */
bool policy_may_serve_stale(const struct http_request *request, const struct record *record,
                            const struct policy *policy, enum origin_failure failure, int64_t now_ms,
                            enum reason *out_reason, const char **out_rule);

/* Directives that forbid every stale use (RFC 9111 §4.2.4), whatever a rule or a client says; the name of one, or NULL.
 */
const char *policy_stale_forbidden(const struct response_directives *directives);

/* How long stale use is allowed behind the lifetime: by a rule, by the response, or not at all (negative). */
struct stale_window {
    int64_t length_s;
    const char *rule; /* the rule that gave it, or NULL */
};

/* `setting`: SETTING_STALE_WHILE_REVALIDATE or SETTING_STALE_IF_ERROR. A rule's window replaces the response's. */
struct stale_window policy_stale_window(const struct policy *policy, const struct response_directives *directives,
                                        enum setting setting);

/* How long this response may really be used stale: for its window, within max_stale. Negative: no window is given. 0,
 * of one that is given, where nothing ever permits it: stale use is forbidden (policy_stale_forbidden), or it is to be
 * revalidated behind and has no lifetime. For who tells people, and tests of configurations; serving asks the two
 * functions above. */
struct stale_window policy_stale_use(const struct policy *policy, const struct freshness_inputs *inputs,
                                     enum setting setting);

struct store_verdict {
    bool store;
    enum reason reason;
    const char *rule;
};

/* May this response to this request be stored (RFC 9111 §3)? `inputs` were read from the response by
 * freshness_inputs_of; `request` is as the client sent it (Cookie, Authorization). A verdict on the head alone: the
 * bytes of a selection (VARY_TOO_MUCH) and the end of the body (TRUNCATED, TOO_LARGE) are the caller's to watch. The
 * rule is the one that decided, or NULL. */
struct store_verdict policy_may_store(const struct http_request *request, const struct http_response *response,
                                      const struct freshness_inputs *inputs, const struct policy *policy);

/* May this response, which policy_may_store refuses, be recorded? True in MODE_RECORD for a whole, final answer to GET
 * that a look-up could find again: whatever it and the request say of storing, cookies and Authorization included, for
 * a recording is only replayed in MODE_OFFLINE. Of Vary only what cannot be selected by is not recorded; after Vary: *
 * one serves all. HEAD is answered from the recording of a GET. */
bool policy_may_record(const struct http_request *request, const struct http_response *response,
                       const struct policy *policy);

/* Does this exchange invalidate what is stored for its target (RFC 9111 §4.4)? */
bool policy_invalidates(enum method method, unsigned status);

#endif
