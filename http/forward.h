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

/* The same as a line of its own, to stand behind those that a message has (RFC 9110 §5.3). */
void forward_write_via(struct buf *out, unsigned minor, struct span pseudonym);

/* Appends to CDN-Loop (RFC 8586): the pseudonym and which instance of it. */
MUST_CHECK bool forward_add_loop(struct headers *headers, struct span pseudonym, uint64_t instance_id);

/* Does CDN-Loop say that the request came through that instance? */
bool forward_is_loop(const struct headers *headers, struct span pseudonym, uint64_t instance_id);

#endif
