/* reason.h: the one list of reasons for every verdict of the cache.
 *
 * What decides returns a reason from here; Cache-Status, the access log, metrics and `larder why` show it. A reason
 * that follows from a rule of the configuration travels with that rule's name beside it. Threads: any. */
#ifndef CACHE_REASON_H
#define CACHE_REASON_H

/* name, token shown everywhere, RFC section or "config", sentence */
#define REASONS(X)                                                                                                     \
    X(NONE, "none", "", "no decision was needed")                                                                      \
    /* served from the cache */                                                                                        \
    X(FRESH, "fresh", "RFC 9111 4.2", "the stored response is fresh")                                                  \
    X(FRESH_HEURISTIC, "fresh-heuristic", "RFC 9111 4.2.2", "fresh by a tenth of the time since Last-Modified")        \
    X(FRESH_BY_RULE, "fresh-by-rule", "config", "fresh by a rule's lifetime")                                          \
    X(STALE_WHILE_REVALIDATE, "stale-while-revalidate", "RFC 5861 3", "stale, served while it is revalidated behind")  \
    X(STALE_IF_ERROR, "stale-if-error", "RFC 5861 4", "stale, served because the origin failed and this is allowed")   \
    X(STALE_DISCONNECTED, "stale-disconnected", "RFC 9111 4.2.4",                                                      \
      "stale, served because the origin cannot be reached")                                                            \
    X(STALE_IF_SLOW, "stale-if-slow", "config",                                                                        \
      "stale, served because the origin takes longer than a rule's stale_if_slow; its answer is stored behind")        \
    X(STALE_SATURATED, "stale-saturated", "RFC 5861 4", "stale, served because requests wait in line for the origin")  \
    X(MAX_STALE, "max-stale", "RFC 9111 5.2.1.2", "stale, and the client accepts that")                                \
    X(OFFLINE, "offline", "config", "served although it would be validated first, because the site is offline")        \
    X(REPLAYED, "replayed", "config", "recorded although it is not for a cache, and replayed: the site is offline")    \
    X(REVALIDATED, "revalidated", "RFC 9111 4.3.3", "the origin confirmed the stored response")                        \
    X(FOLLOWED, "followed", "RFC 9111 4", "answered from a fetch that was already running for another client")         \
    /* not served from the cache: what was asked */                                                                    \
    X(METHOD, "method", "RFC 9111 4", "this method is not answered from a cache")                                      \
    X(HEAD_MISS, "head", "RFC 9111 4", "HEAD without a stored response that goes to the origin as it is")              \
    X(RANGE, "range", "RFC 9110 14.2", "a range of something that is not stored")                                      \
    X(ORIGIN_CONDITION, "origin-condition", "RFC 9110 13.1", "If-Match and If-Unmodified-Since are for the origin")    \
    X(UPGRADE, "upgrade", "RFC 9110 7.8", "the client asks for another protocol")                                      \
    X(BODY_ON_GET, "body-on-get", "RFC 9110 9.3.1", "a GET with content is not answered from a cache")                 \
    X(UNKEYED_FIELD, "unkeyed-field", "config",                                                                        \
      "a rule passes a request field on that is not in the key and that origins obey or repeat")                       \
    X(BYPASS_RULE, "bypass-rule", "config", "a rule bypasses the cache")                                               \
    X(REQUEST_NO_CACHE, "request-no-cache", "RFC 9111 5.2.1.4", "the client wants an answer validated now")            \
    X(REQUEST_MAX_AGE, "request-max-age", "RFC 9111 5.2.1.1", "older than the client accepts")                         \
    X(REQUEST_MIN_FRESH, "request-min-fresh", "RFC 9111 5.2.1.3", "not fresh for as long as the client wants")         \
    X(ONLY_IF_CACHED, "only-if-cached", "RFC 9111 5.2.1.7", "the client wants a stored response and there is none")    \
    X(COOKIE, "cookie", "config", "a request with Cookie gets only what was declared fresh explicitly")                \
    /* not served from the cache: what is stored */                                                                    \
    X(URI_MISS, "uri-miss", "RFC 9111 4", "nothing is stored for this URI")                                            \
    X(VARY_MISS, "vary-miss", "RFC 9111 4.1", "no stored variant was selected by such a request")                      \
    X(PARTIAL, "partial", "RFC 9111 3.3", "a part of what was asked for is stored; the rest is fetched")               \
    X(STALE, "stale", "RFC 9111 4.2", "the stored response is stale")                                                  \
    X(NO_CACHE, "no-cache", "RFC 9111 5.2.2.4", "the stored response must be validated each time")                     \
    X(MUST_REVALIDATE, "must-revalidate", "RFC 9111 5.2.2.2", "stale, and the origin forbids to use it so")            \
    X(PURGE, "purge", "config", "a PURGE request: what was stored for its URL is dead")                                \
    X(PURGE_REFUSED, "purge-refused", "config", "this address may not purge: purge_from does not have it")             \
    X(PURGED, "purged", "config", "what was stored was purged")                                                        \
    X(PURGED_SOFT, "purged-soft", "config", "what is stored was purged softly: it must be validated")                  \
    X(INVALIDATED, "invalidated", "RFC 9111 4.4", "an unsafe request has invalidated what was stored")                 \
    X(STORE_FAILED, "store-failed", "config",                                                                          \
      "the store is out of order, or the disk refuses writes; larder goes on as a proxy")                              \
    X(UNREADABLE, "unreadable", "config",                                                                              \
      "what is stored cannot be read any more: it fails its check, or the disk does")                                  \
    X(STORE_AWAY, "store-away", "config", "another larder has taken the store over; this one finishes what it began")  \
    /* stored */                                                                                                       \
    X(STORED, "stored", "RFC 9111 3", "stored")                                                                        \
    X(STORED_BY_RULE, "stored-by-rule", "config", "stored by a rule")                                                  \
    X(RECORDED, "recorded", "config", "not for a cache: recorded, to be replayed only while the site is offline")      \
    X(UPDATED, "updated", "RFC 9111 4.3.4", "the stored head was freshened")                                           \
    X(UNCHANGED, "unchanged", "RFC 9111 4.3.4",                                                                        \
      "the same body was fetched again: what is stored stays, with the new head")                                      \
    /* not stored: what was asked and answered */                                                                      \
    X(NOT_STORED_METHOD, "not-stored-method", "RFC 9111 3", "answers to this method are not stored")                   \
    X(NOT_STORED_STATUS, "not-stored-status", "RFC 9111 3", "this status is not stored without explicit freshness")    \
    X(NOT_STORED_PARTIAL, "not-stored-partial", "RFC 9111 3.3", "a partial response of this form is not stored")       \
    X(RANGE_MISMATCH, "range-mismatch", "RFC 9110 15.3.7", "the body is not what Content-Range says")                  \
    X(REQUEST_NO_STORE, "request-no-store", "RFC 9111 5.2.1.5", "the client forbids storing")                          \
    X(NO_STORE, "no-store", "RFC 9111 5.2.2.5", "the origin forbids storing")                                          \
    X(PRIVATE, "private", "RFC 9111 5.2.2.7", "private to one user")                                                   \
    X(AUTHORIZATION, "authorization", "RFC 9111 3.5", "answers to Authorization need an explicit permission")          \
    X(SET_COOKIE, "set-cookie", "config", "it sets a cookie, and no rule allows storing that")                         \
    X(COOKIE_HEURISTIC, "cookie-not-explicit", "config", "an answer to a Cookie without explicit freshness")           \
    X(VARY_STAR, "vary-star", "RFC 9111 4.1", "Vary: * never matches again")                                           \
    X(VARY_TOO_MUCH, "vary-limit", "config", "Vary names more than the limits allow")                                  \
    X(VARY_CLIENT, "vary-client", "RFC 9111 4.1", "Vary names the field in which larder tells the client's address")   \
    X(VARY_TWIN, "vary-twin", "RFC 9111 4.1",                                                                          \
      "the request has a field that applications may take for one that Vary names: _ in the place of -")               \
    X(NO_FRESHNESS, "no-freshness", "RFC 9111 3", "no freshness, no validator: it could never be reused")              \
    X(MUST_UNDERSTAND, "must-understand", "RFC 9111 5.2.2.3", "the status is not one larder understands")              \
    X(TAGS_TOO_MUCH, "tag-limit", "config", "more tags or groups than are kept: a purge would miss it")                \
    X(ODD_REQUEST, "odd-request", "config",                                                                            \
      "an error to a request with very large or odd fields: it may be theirs alone")                                   \
    X(TYPE_CONTRADICTS, "type-contradicts", "config",                                                                  \
      "the path ends like a static file and the type is that of a page")                                               \
    X(ECHO, "echo", "config", "a field repeats what the request said in a field that does not select it")              \
    X(UNKNOWN_CODING, "unknown-coding", "RFC 9112 6.1", "a transfer coding larder cannot take off")                    \
    X(TOO_LARGE, "too-large", "config", "larger than max_object_size")                                                 \
    X(FIRST_REQUEST, "first-request", "config", "a large body at its first request, and the store is full")            \
    X(MIN_USES, "min-uses", "config", "asked for less often than min_uses wants")                                      \
    X(TRUNCATED, "truncated", "RFC 9111 3.3", "the origin ended before the end of the body")                           \
    X(ERROR_KEEPS_STORED, "error-keeps-stored", "RFC 9111 4.3.3", "a server error never replaces a good response")     \
    X(OUTDATED, "outdated", "RFC 9111 4.3.5", "the origin has another now: what was stored is dropped")                \
    X(DISK_BEHIND, "disk-behind", "config", "the disk's queue is full")                                                \
    X(STREAM_MEMORY, "stream-memory", "config", "bodies that stream have all the memory that they may have")           \
    X(RACED, "raced", "RFC 9111 4.4", "invalidated or replaced while it was being fetched")                            \
    /* answered by larder itself */                                                                                    \
    X(BAD_REQUEST, "bad-request", "RFC 9112 2", "the request is malformed or beyond a limit")                          \
    X(LOOP, "loop", "RFC 8586 2", "the request has come through here before")                                          \
    X(TOO_MANY_CONNECTIONS, "too-many-connections", "config", "more connections than allowed")                         \
    X(CLIENT_CONNECTIONS, "client-connections", "config", "more connections of this client than allowed")              \
    X(TOO_MANY_REQUESTS, "too-many-requests", "config", "more requests at a time than allowed")                        \
    X(RATE_LIMIT, "rate-limit", "RFC 6585 4", "more requests of this client than a rule's rate_limit")                 \
    X(NO_MEMORY, "no-memory", "config", "the system had no memory for it")                                             \
    X(OWN_TAG, "own-tag", "RFC 9110 13.1.1",                                                                           \
      "If-Match names an entity tag that larder made, and it cannot be said to hold")                                  \
    X(MAX_FORWARDS, "max-forwards", "RFC 9110 7.6.2", "Max-Forwards says that the request ends here")                  \
    X(NO_SITE, "no-site", "config", "no site serves this host and path")                                               \
    X(OFFLINE_MISS, "offline-miss", "config", "the site is offline, and nothing stored answers this request")          \
    X(ORIGIN_FAILED, "origin-failed", "RFC 9110 15.6.3", "the origin did not answer, and nothing stored may be used")  \
    X(ORIGIN_TIMEOUT, "origin-timeout", "RFC 9110 15.6.5",                                                             \
      "the origin did not answer in time, and nothing stored may be used")                                             \
    X(ORIGIN_SATURATED, "origin-saturated", "RFC 9110 15.6.4", "the origin has as many requests as it may have")       \
    X(ORIGINS_DOWN, "origins-down", "RFC 9110 15.6.4", "every origin fails its health checks")

enum reason {
#define REASON_ENUM(name, token, source, text) REASON_##name,
    REASONS(REASON_ENUM)
#undef REASON_ENUM
        REASON_COUNT
};

const char *reason_token(enum reason reason);   /* "uri-miss" */
enum reason reason_of_token(const char *token); /* NONE for one that there is not */
const char *reason_source(enum reason reason);  /* "RFC 9111 4", "config" or "" */
const char *reason_text(enum reason reason);    /* one sentence without a full stop */

#endif
