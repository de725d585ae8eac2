/* validators.h: entity tags, Last-Modified and the conditions clients put on them (RFC 9110 §8.8, §13).
 *
 * Entity tags are compared byte for byte and sent as they came, quoted or not. Threads: any. */
#ifndef HTTP_VALIDATORS_H
#define HTTP_VALIDATORS_H

#include "http/message.h"

/* Weak comparison: equal but for a leading W/ (RFC 9110 §8.8.3.2). Strong: equal and neither weak. */
bool etag_equal_weak(struct span a, struct span b);
bool etag_equal_strong(struct span a, struct span b);
bool etag_is_weak(struct span etag);

/* Is `etag` matched by the value of one If-Match line: a list, strong comparison (RFC 9110 §13.1.1)? `*` is no tag. */
bool if_match_has(struct span value, struct span etag);

/* Cuts the next member off a list of entity tags. False: there is none. */
bool etag_list_next(struct span *rest, struct span *out_etag);

enum condition {
    CONDITION_NONE,        /* no condition that a cache evaluates */
    CONDITION_MATCHED,     /* the client's copy is current: answer 304 */
    CONDITION_NOT_MATCHED, /* answer in full */
};

/* Evaluates If-None-Match, else If-Modified-Since, of a GET or HEAD against a 200's header fields (RFC 9110 §13.2.2,
 * RFC 9111 §4.3.2). If-None-Match is a list of tags compared weakly, or `*`, which alone matches where there is no ETag
 * (RFC 9110 §13.1.2); members that are not well-formed entity tags match when they are byte for byte equal.
 * If-Modified-Since compares with Last-Modified, else Date, else `received_s`. A malformed date is no
 * condition. */
enum condition condition_evaluate(const struct headers *request_headers, const struct headers *response_headers,
                                  int64_t received_s, int64_t now_s);

/* If-Match or If-Unmodified-Since: the origin has to decide. */
bool has_origin_condition(const struct headers *request_headers);

/* Removes If-None-Match, If-Modified-Since, If-Match, If-Unmodified-Since, If-Range. */
void remove_conditions(struct headers *request_headers);

/* Of a response: does a 304 to a client carry this field (RFC 9110 §15.4.5)? Content-Location, Date, ETag, Vary,
 * Cache-Control, Expires, Last-Modified, Age and fields that are not representation metadata (Set-Cookie, CORS, …) yes;
 * Content-Length, Content-Type, Content-Encoding, Content-Language, Content-Range, Transfer-Encoding, Trailer no. */
bool field_belongs_in_304(struct span name);

#endif
