/* error.h: the one list of ways in which the world fails.
 *
 * A function that can fail in several ways returns an `enum err`. Codes of libraries (libuv, LMDB, llhttp) are
 * translated to it in the file that calls the library and go no further. Threads: any. */
#ifndef HTTP_ERROR_H
#define HTTP_ERROR_H

/* name, text for people, the status larder answers with when a request from a client fails this way (0: none of ours),
 * and the error type in Proxy-Status then (RFC 9209 §2.3) */
#define ERRORS(X)                                                                                                      \
    X(OK, "ok", 0, "")                                                                                                 \
    X(AGAIN, "more bytes are needed", 0, "")                                                                           \
    /* limits */                                                                                                       \
    X(NO_MEMORY, "out of memory", 503, "proxy_internal_error")                                                         \
    X(ARENA_FULL, "the request needs more memory than one request may have", 431, "http_request_error")                \
    X(HEAD_TOO_LARGE, "the head of the message is larger than allowed", 431, "http_request_error")                     \
    X(TARGET_TOO_LONG, "the request target is longer than allowed", 414, "http_request_error")                         \
    X(BODY_TOO_LARGE, "the body is larger than allowed", 413, "http_request_error")                                    \
    X(TOO_MANY_FIELDS, "more header fields than allowed", 431, "http_request_error")                                   \
    X(LIMIT, "a limit is reached", 503, "connection_limit_reached")                                                    \
    /* syntax */                                                                                                       \
    X(BAD_HEAD, "the head of the message is malformed", 400, "http_request_error")                                     \
    X(BAD_START_LINE, "the start line is malformed", 400, "http_request_error")                                        \
    X(BAD_METHOD, "the method is not a token", 400, "http_request_error")                                              \
    X(BAD_TARGET, "the request target is malformed", 400, "http_request_error")                                        \
    X(BAD_VERSION, "only HTTP/1.0 and HTTP/1.1 are spoken here", 505, "http_request_error")                            \
    X(HTTP2, "HTTP/2 is not spoken here", 505, "http_request_error")                                                   \
    X(TLS, "this is TLS, and no TLS is spoken here", 400, "http_request_error")                                        \
    X(BAD_STATUS, "the status code is malformed", 400, "http_request_error")                                           \
    X(BAD_FIELD, "a header field is malformed", 400, "http_request_error")                                             \
    X(BAD_LINE_END, "a line does not end in CR LF", 400, "http_request_error")                                         \
    X(BAD_HOST, "Host is missing, repeated or malformed", 400, "http_request_error")                                   \
    X(BAD_LENGTH, "Content-Length is malformed or contradicts itself", 400, "http_request_error")                      \
    X(LENGTH_AND_CODING, "Content-Length and Transfer-Encoding exclude each other", 400, "http_request_error")         \
    X(BAD_CODING, "a transfer coding other than chunked", 501, "http_request_error")                                   \
    X(BAD_CHUNK, "a chunk is malformed", 400, "http_request_error")                                                    \
    X(METHOD_REFUSED, "this method is refused here", 501, "http_request_denied")                                       \
    X(LOOP, "the request has come through here before", 508, "proxy_loop_detected")                                    \
    X(CLIENT_TIMEOUT, "the request did not arrive in time", 408, "http_request_error")                                 \
    X(BAD_EXPECTATION, "only 100-continue can be expected", 417, "http_request_error")                                 \
    /* the other side */                                                                                               \
    X(TRUNCATED, "the message ended before its end", 502, "http_response_incomplete")                                  \
    X(BAD_RESPONSE, "the response of the origin is malformed", 502, "http_protocol_error")                             \
    X(RESPONSE_HEAD_TOO_LARGE, "the head of the origin's response is larger than head in [server.limits] allows", 502, \
      "http_response_header_section_size")                                                                             \
    X(RESPONSE_TOO_MANY_FIELDS, "the origin's response has more header fields than fields in [server.limits] allows",  \
      502, "http_response_header_section_size")                                                                        \
    X(RESOLVE, "the name of the origin does not resolve", 502, "dns_error")                                            \
    X(CONNECT, "the origin cannot be reached", 502, "connection_refused")                                              \
    X(RESET, "the other side closed the connection", 502, "connection_terminated")                                     \
    X(RESOLVE_TIMEOUT, "the name of the origin was not resolved in time", 504, "dns_timeout")                          \
    X(CONNECT_TIMEOUT, "the origin did not accept a connection in time", 504, "connection_timeout")                    \
    X(SATURATED, "the origin has as many requests as it may have", 503, "connection_limit_reached")                    \
    X(ORIGINS_DOWN, "every origin fails its health checks", 503, "destination_unavailable")                            \
    X(TIMEOUT, "the other side took too long", 504, "http_response_timeout")                                           \
    X(OFFLINE, "the site is offline: its origin is not asked", 504, "destination_unavailable")                         \
    X(SLOW_FOLLOWER, "too slow for the other clients that get the same body", 0, "")                                   \
    X(CANCELED, "canceled", 0, "proxy_internal_error")                                                                 \
    /* the disk */                                                                                                     \
    X(NOT_FOUND, "absent", 0, "")                                                                                      \
    X(DAMAGED, "stored bytes fail their check", 0, "")                                                                 \
    X(NO_SPACE, "no space", 0, "")                                                                                     \
    X(FOREIGN, "a file of another program or of an unknown format", 0, "")                                             \
    X(NEWER, "a store of a newer larder", 0, "")                                                                       \
    X(IN_USE, "in use by another process", 0, "")                                                                      \
    X(COLD, "stored bytes are on the disk and not in memory", 0, "")                                                   \
    X(IO, "input or output failed", 0, "")

enum err {
#define ERR_ENUM(name, text, status, proxy_error) ERR_##name,
    ERRORS(ERR_ENUM)
#undef ERR_ENUM
};

/* "HEAD_TOO_LARGE", for logs. */
const char *err_name(enum err error);

/* One sentence without a full stop, for people. */
const char *err_text(enum err error);

/* The status to answer a client with, or 0 where no answer of ours fits. */
unsigned err_status(enum err error);

/* The error type for Proxy-Status, "" where none fits. */
const char *err_proxy_error(enum err error);

#endif
