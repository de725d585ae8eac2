/* assess.h: what a response of an origin is worth: the settings that hold for it, what it says of its freshness, and
 * whether it is stored.
 *
 * One judgement for the answer of an origin (fetch_response.c), for one that is only supposed (`larder why --status`)
 * and for those in the tests of a configuration. Pure functions. Threads: any. */
#ifndef PROXY_ASSESS_H
#define PROXY_ASSESS_H

#include "cache/policy.h"
#include "cache/store.h"
#include "http/cache_groups.h"
#include "http/range.h"
#include "proxy/config/config.h"

/* A response and what it answers. */
struct answered {
    const struct config *config;
    const struct site *site;
    const struct http_request *request;   /* after the site's rules (route_rewrite_request) */
    const struct http_response *response; /* final, completed by assess_complete */
    int64_t request_ms;                   /* when the request was sent */
    int64_t response_ms;                  /* when the response's head had come */
    bool has_key;                         /* the cache was asked about the request, or would freshen by its answer */
    bool holds_good;                      /* what is no server error is stored under the key, for whatever request */
};

/* A response as it is judged and stored: a single part of a known whole counts as the 200 it is a part of (RFC 9111
 * §3.3). */
struct part_of_whole {
    struct http_response whole; /* without Content-Range; not a part: the response as it is */
    bool partial;
    bool mismatch; /* its length is not what Content-Range says */
    bool unfit;    /* it was to complete what is stored, and is neither a part of that nor an answer in itself */
    struct byte_range range;
    uint64_t complete_length;
};

/* What the response is a part of. `asked`: one range was asked for. A 206 for If-Range may leave out whatever the
 * client has (RFC 9110 §15.3.7): such a one counts only with a strong validator and its Content-Type. False: no memory.
 */
MUST_CHECK bool assess_part(const struct http_request *request, const struct http_response *response, bool asked,
                            int64_t response_ms, struct arena *arena, struct part_of_whole *out_part);

/* The answer to a request for byte `missing` and more of a partial response, with If-Range: a part that shares its
 * strong validator and complete length takes the stored head, freshened by its own (RFC 9111 §3.4); any other is unfit.
 * Other answers than parts stay as they are. False: no memory. */
MUST_CHECK bool assess_combine(const struct stored *stored, uint64_t missing, int64_t response_ms, struct arena *arena,
                               struct part_of_whole *part);

struct assessment {
    struct policy policy;
    struct freshness_inputs inputs;
    struct store_verdict verdict; /* on the head alone: the end of the body is for the caller to watch */
    bool records;                 /* it is refused, and to be recorded (policy_may_record) */
};

/* Removes what concerns the connection and adds a missing Date, which a recipient with a clock does (RFC 9110 §6.6.1).
 * False at the arena's limit. */
MUST_CHECK bool assess_complete(struct http_response *response, int64_t response_ms, struct arena *arena);

/* `selection` (empty, VARY_MAX_BYTES at least) gets the values that select what is stored. */
struct assessment assess_response(const struct answered *answered, struct arena *arena, struct buf *selection);

/* What a response says of its freshness, to us: the configured targets count before Cache-Control. */
struct freshness_inputs assess_freshness(const struct config *config, const struct http_response *response,
                                         int64_t request_ms, int64_t response_ms, struct arena *arena);

/* Can requests be told apart as Vary demands, and by trust_forwarded_fields? REASON_NONE with the encoded values of
 * this one appended to `selection`, else why not. */
enum reason assess_selection(const struct config *config, const struct headers *response_headers,
                             const struct headers *request_headers, struct arena *arena, struct buf *selection);

/* What the answer to an unsafe request invalidates, however it is stored. */
struct invalidation {
    struct uri uris[3]; /* the target, then what Location and Content-Location name on its origin (RFC 9111 §4.4) */
    size_t uri_count;   /* 0: nothing */
    struct cache_groups groups; /* of the target's origin (RFC 9875 §3) */
};

/* Borrows from both messages and the arena; at its limit what did not fit is left out. */
struct invalidation assess_invalidation(const struct http_request *request, const struct http_response *response,
                                        struct arena *arena);

/* Does the 200 to HEAD speak of the stored response: the same validators and length (RFC 9111 §4.3.5)? */
bool assess_head_agrees(const struct headers *stored, uint64_t body_bytes, const struct http_response *response);

/* Does a 304 speak of the stored response with these headers? By the letter a strong tag must equal the stored one
 * strongly (RFC 9111 §4.3.4). But servers that compress as they send make the tag of a 200 weak and name it strong in
 * the 304 to our own If-None-Match: `safe` takes the two for one. */
bool assess_selects(const struct config *config, const struct headers *stored, const struct headers *not_modified);

/* May what a 304, or a 200 to HEAD, makes of a stored response stay stored, and is it still what requests like this one
 * select? `now` is the request, which counts as a GET, and the stored status with the fields as they are now;
 * `selection` that of what is stored. REASON_NONE, or why not. */
enum reason assess_stay(const struct answered *now, const struct freshness_inputs *inputs, struct span selection,
                        struct arena *arena);

#endif
