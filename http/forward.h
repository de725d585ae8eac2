/* forward.h: what an intermediary changes in a message it passes on (RFC 9110 §7.6).
 *
 * Works on headers in place; spans added are literals or in the headers' arena. Threads: any. All return false at the
 * arena's limit. */
#ifndef HTTP_FORWARD_H
#define HTTP_FORWARD_H

#include "http/buf.h"
#include "http/message.h"

/* Removes Connection, what it names, Keep-Alive, Proxy-Connection, Proxy-Authentication-Info, Proxy-Authorization
 * (requests) and Proxy-Authenticate (responses), TE, Transfer-Encoding, Upgrade; Trailer stays. Connection cannot
 * nominate framing (Content-Length, Transfer-Encoding), Host, Cookie, Set-Cookie, Authorization, Cache-Control, Date,
 * ETag, Vary, Age, Expires, Last-Modified, Location, Content-*, If-*, or Range away (CVE-2022-45059): those members are
 * ignored. */
MUST_CHECK bool forward_remove_hop_by_hop(struct headers *headers);

/* Appends to Via (RFC 9110 §7.6.3): "1.1 larder". `minor` is the version the message was received with. */
MUST_CHECK bool forward_add_via(struct headers *headers, unsigned minor, struct span pseudonym);

/* The whole line of a message that has no Via yet. */
void forward_write_via(struct buf *out, unsigned minor, struct span pseudonym);

/* Appends to CDN-Loop (RFC 8586): the pseudonym and which instance of it. */
MUST_CHECK bool forward_add_loop(struct headers *headers, struct span pseudonym, uint64_t instance_id);

/* Does CDN-Loop say that the request came through that instance? */
bool forward_is_loop(const struct headers *headers, struct span pseudonym, uint64_t instance_id);

enum forwarded_style {
    FORWARDED_X,    /* X-Forwarded-For (appended), -Proto and -Host (replaced) */
    FORWARDED_RFC,  /* Forwarded (RFC 7239), appended; X-Forwarded-* removed */
    FORWARDED_NONE, /* both removed, nothing added */
};

struct forwarded {
    enum forwarded_style style;
    bool trust; /* keep what the client says it came through, -Proto and -Host included; otherwise all of its fields
                   (X-Forwarded-* and Forwarded) are replaced */
    struct span
        client; /* address without port; an IPv6 address without brackets; empty or "unknown" for unix sockets */
    struct span scheme; /* of the client's connection */
    struct span host;   /* the Host the client sent */
};

MUST_CHECK bool forward_add_forwarded(struct headers *headers, const struct forwarded *forwarded);

/* The scheme that the client used, as a trusted proxy in front says with the fields that this style leaves in the
 * request: X-Forwarded-Proto, else the proto of Forwarded; of several the first, which is the client's own hop.
 * "http", "https", or `scheme`, that of the connection, where they say neither. Two resources that differ in nothing
 * else are different ones (RFC 9110 §4.2.2), and applications answer them differently: the key has this scheme. */
struct span forward_scheme(const struct headers *request_headers, enum forwarded_style style, struct span scheme);

#endif
