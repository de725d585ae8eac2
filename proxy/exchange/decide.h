/* decide.h: decisions of an exchange that are functions of their arguments, shared with `larder why`.
 *
 * What the cache decides is in cache/policy.h; here is what the proxy makes of it. Threads: any. */
#ifndef PROXY_DECIDE_H
#define PROXY_DECIDE_H

#include "cache/purge.h"
#include "proxy/observe/access_log.h"

/* Is it a request that larder serves at all? Fills `request->uri`; its scheme is the connection's, or the one that a
 * trusted proxy says its client used, in the fields of the style that is `believed` (FORWARDED_NONE: it is not
 * trusted). What is not believed is removed (forwarded_remove_untold). Else the error it is answered with. */
MUST_CHECK enum err decide_request(const struct config *config, enum forwarded_style believed, struct span scheme,
                                   struct span host, struct http_request *request, struct arena *arena);

/* Why a request is refused that decide_request, or its reader, found wrong. */
enum reason decide_refusal(enum err error);

/* Only protocols that are configured are switched to: h2c for one would carry requests past us (RFC 9110 §7.8 lets us
 * ignore any). Drops Upgrade where it names another. */
void decide_upgrade(const struct config *config, struct headers *request_headers);

/* Drops the Range of a GET, and its If-Range, where it means nothing (range_is_void): then the whole is asked for, and
 * stored as any other. */
void decide_range(struct http_request *request);

/* Max-Forwards of an OPTIONS (RFC 9110 §7.6.2): true where larder is whom it asks, else one less goes on. */
bool decide_ends_here(struct http_request *request, struct arena *arena);

/* Is it a PURGE that larder carries out itself, instead of passing it on like any other method? */
bool decide_purges(const struct site *site, const struct http_request *request);

/* How Cache-Status words that a request goes past the cache, and that a stored response may not be served as it is. */
enum outcome decide_bypass_outcome(enum reason reason);
enum outcome decide_validation_outcome(enum reason reason);

/* Is the origin asked with GET for this HEAD, so that the answer can be stored and shared (RFC 9110 §9.3.2)? Not where
 * something `stored` may be confirmed without its body, nor where it is not for this request (OUTCOME_REQUEST). */
bool decide_head_as_get(const struct policy *policy, bool stored, enum outcome outcome);

/* Is the detail of Cache-Status why the origin's answer is or is not stored? That is what people ask of a miss; of
 * anything else they ask why the origin was asked. */
bool decide_shows_storing(enum outcome outcome, enum reason reason);

/* Is the origin's answer, or what it says of what is stored, kept? `store_reason`: why it is, or is not. */
bool decide_is_kept(enum reason store_reason);

/* Why there is no answer of an origin, when its fetch ended with this error. */
enum reason decide_failure(enum err error);

/* The statuses that say that the origin failed (RFC 5861 §4). */
bool decide_is_server_failure(unsigned status);

/* A strong entity tag from the body, for a response that came without a validator: equal bytes, equal tag (RFC 9110
 * §8.8.3). Nothing where the policy or the response does not want one. False at the arena's limit. */
MUST_CHECK bool decide_own_etag(const struct policy *policy, unsigned status, const uint8_t digest[DIGEST_BYTES],
                                struct headers *response_headers);
bool decide_wants_own_etag(const struct policy *policy, unsigned status, const struct headers *response_headers);

/* Conditions on such tags are larder's to evaluate: no origin knows them. Are all tags in these lines of larder's
 * making, and is there one? `name`: If-Match or If-None-Match. */
bool decide_names_own_tags(const struct headers *request_headers, struct span name);

/* What becomes of If-Match with such tags (RFC 9110 §13.1.1). */
enum own_match {
    OWN_MATCH_NONE,     /* there is none, or it is for the origin */
    OWN_MATCH_COMPARED, /* with what a GET or HEAD is answered with; the field is taken out of the request */
    OWN_MATCH_FAILED,   /* 412: whether it holds at the origin cannot be told, and it must not be dropped */
};
enum own_match decide_own_match(struct http_request *request, struct span *out_value);

/* Takes out what only caches read, where the policy says so. */
void decide_tags(const struct policy *policy, struct headers *response_headers);

/* Which purge it was, for Cache-Status and the log, in place of a rule: "tag, sequence 17". Its name may be any bytes:
 * `larder why` shows it. NULL at the arena's limit. */
const char *decide_purge_text(const struct purge *purge, struct arena *arena);

/* Does the client hold this response already (RFC 9110 §13.2.2)? Only a 200 to GET or HEAD is compared. */
bool decide_not_modified(const struct http_request *request, unsigned status, const struct headers *response_headers,
                         int64_t received_ms, int64_t now_ms);

/* The ranges that are asked for of a representation with these fields (RFC 9110 §14.2). */
enum range_verdict decide_ranges(const struct http_request *request, const struct headers *response_headers,
                                 uint64_t complete_length, int64_t now_ms, struct ranges *out_ranges);

/* Is it a request whose 206 could be kept: for one range? The answer to If-Range may lack fields that the origin thinks
 * are known (RFC 9110 §15.3.7). */
bool decide_single_range(const struct headers *request_headers, struct range_set *out_set);

/* The same with If-Range, which goes to the origin with it where nothing is stored: its 206 may be kept. */
bool decide_conditional_range(const struct headers *request_headers, struct range_set *out_set);

/* Several ranges, without If-Range: where nothing is stored they go to the origin as they are, for its 200 may be kept,
 * and a 206 that came down to one part. */
bool decide_several_ranges(const struct headers *request_headers);

enum { DECIDE_GAPS_MAX = 8 }; /* asked for one after the other */

/* How many gaps a partial response has in what this request wants of it, and the first. */
size_t decide_gaps(const struct http_request *request, const struct record *record,
                   const struct headers *stored_headers, const struct slices *slices, int64_t now_ms,
                   struct byte_range *out_first);

/* Is the origin asked for these gaps, and not as if nothing were stored? */
bool decide_completes(const struct http_request *request, const struct record *record, bool fresh, size_t gaps);

/* The validators of a stored head as conditions to its origin (RFC 9111 §4.3.1). False at the arena's limit. */
MUST_CHECK bool decide_validators(const struct headers *stored_headers, struct headers *conditions);

#endif
