/* forwarded.h: the fields in which proxies say for whom they ask: X-Forwarded-*, X-Real-IP and Forwarded (RFC 7239).
 *
 * Works on headers in place; spans added are literals, in the headers' arena, or the caller's: X-Forwarded-Host
 * is `host` itself, which lives as long as the headers. Threads: any. */
#ifndef HTTP_FORWARDED_H
#define HTTP_FORWARDED_H

#include "http/message.h"

enum forwarded_style {
    FORWARDED_X,    /* X-Forwarded-For, -Proto and -Host */
    FORWARDED_RFC,  /* Forwarded (RFC 7239) */
    FORWARDED_NONE, /* nothing */
};

enum {
    FORWARDED_TOLD_MAX = 8, /* every request is selected by them all */
    FORWARDED_TOLD_NAME_MAX_BYTES = 64,
};

struct forwarded {
    enum forwarded_style style;
    struct span
        client; /* address without port; an IPv6 address without brackets; empty or "unknown" for unix sockets */
    struct span scheme;         /* of the client's connection */
    struct span request_scheme; /* by which whoever asked first did, as the key has it (forwarded_scheme) */
    struct span host;           /* the Host the client sent */
};

/* Writes the fields of the style behind what forwarded_remove_untold left of them.
 *
 * A trusted client's Forwarded is rebuilt (RFC 7239 §4). Left out are pairs whose name is not one of §5 (for, by, host,
 * proto) or is there already, whose value is neither a token nor a quoted string, or has a quote, backslash, comma,
 * semicolon, `=` or white space in it, a proto that is not http, https, ws or wss, every proto where the first element
 * has none, and a host that is not the request's. An address or host with a port gets the quotes that it lacks (§6). An
 * element of which nothing is left, or a line with a quote that stays open, becomes `for=unknown`. False at the arena's
 * limit.
 */
MUST_CHECK bool forwarded_add(struct headers *headers, const struct forwarded *forwarded);

/* What a trusted proxy in front says. Only the field of the style counts: that proxy writes it, and any other may be
 * its client's own. Of Forwarded only what forwarded_add passes on. */

/* The scheme that the client used: X-Forwarded-Proto, or the proto of Forwarded (RFC 7239 §5.4); of several the first,
 * which is the client's own hop. "http" (or "ws"), "https" (or "wss"), or `scheme`, that of the connection, where it
 * says neither: another's hop says nothing of the client's, and is not passed on then (forwarded_add). Two resources
 * that differ in nothing else are different ones (RFC 9110 §4.2.2), and applications answer them differently: the key
 * has this scheme. */
struct span forwarded_scheme(const struct headers *request_headers, enum forwarded_style style, struct span scheme);

/* The address whose request it is, as that proxy saw it, without port and brackets: the last one in X-Forwarded-For, or
 * the `for` of the last element of Forwarded (RFC 7239 §4). Empty where there is no such field: then it asks for
 * itself. "unknown" (RFC 7239 §6.2) where there is one without an address. */
struct span forwarded_client(const struct headers *request_headers, enum forwarded_style style);

/* Removes every X-Forwarded-*, X-Forwarded, X-Real-IP and Forwarded but what is `believed` (FORWARDED_NONE: nothing):
 * of the other style, and of a trusted proxy what it may only have let through of its client's. Origins obey and repeat
 * X-Forwarded-Prefix, -Port and their kind, and no key holds them; X-Real-IP stays where it says what X-Forwarded-For
 * says (forwarded_client), for by it an origin that believes it could be lied to. `told` (NULL: none) names others of
 * X-Forwarded-* that a trusted proxy sets: they stay, and responses are to be told apart by them (vary_select). To be
 * called when the functions above were, and before anything is selected by the request's fields: a field that no origin
 * gets selects nothing. */
void forwarded_remove_untold(struct headers *request_headers, enum forwarded_style believed,
                             const struct field_names *told);

/* Is it a field that only a proxy may set: X-Forwarded-*, X-Forwarded, X-Real-IP or Forwarded? */
bool forwarded_is_one(struct span name);

/* `told` is to name FORWARDED_TOLD_MAX at most. Could it name this one: an X-Forwarded-* that larder does not write?
 * Not with `_` in it: unkeyed.h removes such a one. */
bool forwarded_may_be_told(struct span name);

#endif
