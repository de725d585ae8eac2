/* error.h: the one list of ways in which the world fails.
 *
 * A function that can fail in several ways returns an `enum err`. Codes of libraries (libuv, LMDB, llhttp) are
 * translated to it in the file that calls the library and go no further. Threads: any. */
#ifndef HTTP_ERROR_H
#define HTTP_ERROR_H

/* name, text for people, the status larder answers with when a request from a client fails this way (0: none of ours)
 */
#define ERRORS(X)                                                                                                      \
    X(OK, "ok", 0)                                                                                                     \
    X(AGAIN, "more bytes are needed", 0)                                                                               \
    /* limits */                                                                                                       \
    X(NO_MEMORY, "out of memory", 503)                                                                                 \
    X(ARENA_FULL, "the request needs more memory than one request may have", 431)                                      \
    X(HEAD_TOO_LARGE, "the head of the message is larger than allowed", 431)                                           \
    X(TARGET_TOO_LONG, "the request target is longer than allowed", 414)                                               \
    X(BODY_TOO_LARGE, "the body is larger than allowed", 413)                                                          \
    X(TOO_MANY_FIELDS, "more header fields than allowed", 431)                                                         \
    X(LIMIT, "a limit is reached", 503)                                                                                \
    /* syntax */                                                                                                       \
    X(BAD_HEAD, "the head of the message is malformed", 400)                                                           \
    X(BAD_START_LINE, "the start line is malformed", 400)                                                              \
    X(BAD_METHOD, "the method is not a token", 400)                                                                    \
    X(BAD_TARGET, "the request target is malformed", 400)                                                              \
    X(BAD_VERSION, "only HTTP/1.0 and HTTP/1.1 are spoken here", 505)                                                  \
    X(BAD_STATUS, "the status code is malformed", 400)                                                                 \
    X(BAD_FIELD, "a header field is malformed", 400)                                                                   \
    X(BAD_LINE_END, "a line does not end in CR LF", 400)                                                               \
    X(BAD_HOST, "Host is missing, repeated or malformed", 400)                                                         \
    X(BAD_LENGTH, "Content-Length is malformed or contradicts itself", 400)                                            \
    X(LENGTH_AND_CODING, "Content-Length and Transfer-Encoding exclude each other", 400)                               \
    X(BAD_CODING, "a transfer coding other than chunked", 501)                                                         \
    X(BAD_CHUNK, "a chunk is malformed", 400)                                                                          \
    X(METHOD_REFUSED, "this method is refused here", 501)                                                              \
    X(CLIENT_TIMEOUT, "the request did not arrive in time", 408)                                                       \
    X(BAD_EXPECTATION, "only 100-continue can be expected", 417)                                                       \
    /* the other side */                                                                                               \
    X(TRUNCATED, "the message ended before its end", 502)                                                              \
    X(BAD_RESPONSE, "the response of the origin is malformed", 502)                                                    \
    X(RESOLVE, "the name of the origin does not resolve", 502)                                                         \
    X(CONNECT, "the origin cannot be reached", 502)                                                                    \
    X(RESET, "the other side closed the connection", 502)                                                              \
    X(TIMEOUT, "the other side took too long", 504)                                                                    \
    X(CANCELED, "canceled", 0)                                                                                         \
    /* the disk */                                                                                                     \
    X(NOT_FOUND, "absent", 0)                                                                                          \
    X(DAMAGED, "stored bytes fail their check", 0)                                                                     \
    X(NO_SPACE, "no space", 0)                                                                                         \
    X(FOREIGN, "a file of another program or of an unknown format", 0)                                                 \
    X(IN_USE, "in use by another process", 0)                                                                          \
    X(IO, "input or output failed", 0)

enum err {
#define ERR_ENUM(name, text, status) ERR_##name,
    ERRORS(ERR_ENUM)
#undef ERR_ENUM
};

/* "HEAD_TOO_LARGE", for logs. */
const char *err_name(enum err error);

/* One sentence without a full stop, for people. */
const char *err_text(enum err error);

/* The status to answer a client with, or 0 where no answer of ours fits. */
unsigned err_status(enum err error);

#endif
