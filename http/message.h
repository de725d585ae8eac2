/* message.h: requests and responses as values: start line, fields, framing.
 *
 * Spans borrow from the arena the message was parsed into. Threads: one at a time. */
#ifndef HTTP_MESSAGE_H
#define HTTP_MESSAGE_H

#include "http/headers.h"
#include "http/uri.h"

/* The methods that mean something to a cache; every other token is METHOD_OTHER and is passed on as it came. */
#define METHODS(X)                                                                                                     \
    /* name, safe, idempotent (RFC 9110 §9.2) */                                                                      \
    X(GET, true, true)                                                                                                 \
    X(HEAD, true, true)                                                                                                \
    X(POST, false, false)                                                                                              \
    X(PUT, false, true)                                                                                                \
    X(DELETE, false, true)                                                                                             \
    X(CONNECT, false, false)                                                                                           \
    X(OPTIONS, true, true)                                                                                             \
    X(TRACE, true, true)                                                                                               \
    X(PATCH, false, false)                                                                                             \
    X(QUERY, true, true)                                                                                               \
    X(OTHER, false, false)

enum method {
#define METHOD_ENUM(name, safe, idempotent) METHOD_##name,
    METHODS(METHOD_ENUM)
#undef METHOD_ENUM
};

enum method method_of(struct span token); /* case-sensitive, RFC 9110 §9.1 */
bool method_is_safe(enum method method);
bool method_is_idempotent(enum method method);

/* How a body is delimited (RFC 9112 §6.3). */
enum framing_kind {
    FRAMING_NONE,    /* no body */
    FRAMING_LENGTH,  /* `length` bytes */
    FRAMING_CHUNKED, /* the chunked coding */
    FRAMING_CLOSE,   /* until the connection closes; responses only */
};

struct framing {
    enum framing_kind kind;
    uint64_t length;     /* FRAMING_LENGTH: the bytes of the body */
    bool unknown_coding; /* FRAMING_CLOSE: a coding besides chunked was named: passed on decoded by nobody, never stored
                          */
};

struct http_request {
    enum method method;
    struct span method_name; /* as received */
    struct span target;      /* as received */
    struct span field_block; /* all that stood behind the target, as received: see field_memo.h */
    unsigned minor;          /* HTTP/1.minor: 0 or 1 */
    struct headers headers;
    struct framing framing;
    struct uri uri; /* the target URI, normalised; filled by uri_of_request */
};

struct http_response {
    unsigned status; /* 100 … 599; the reason phrase is dropped */
    unsigned minor;
    struct headers headers;
    struct framing framing;
};

/* The customary reason phrase, "" for codes without one. */
const char *status_phrase(unsigned status);

/* May a response to this method with this status carry a body at all (RFC 9112 §6.3)? */
bool response_may_have_body(enum method method, unsigned status);

#endif
