/* uri.h: request targets and URLs: split, checked, normalised (RFC 3986, RFC 9112 §3.2, RFC 9110 §4.2).
 *
 * One form goes into the cache key and on to the origin: what was keyed is what is forwarded. Threads: any. */
#ifndef HTTP_URI_H
#define HTTP_URI_H

#include "http/arena.h"
#include "http/error.h"
#include "http/span.h"

/* Parts of a target URI; spans borrow from the text or the arena. */
struct uri {
    struct span scheme;    /* "http" or "https", lower case */
    struct span authority; /* host[:port], host in lower case, the scheme's default port and an empty port removed, no
                              userinfo */
    struct span path;      /* starts with '/', or is "*" for OPTIONS * */
    struct span query;     /* without '?'; meaningful if has_query */
    bool has_query;        /* "/a" and "/a?" are two URIs */
};

/* The target URI of a request: origin-form and `*` take the authority from Host; absolute-form must agree with Host
 * (RFC 9112 §3.2.2 lets the target win; a disagreement is refused here: ERR_BAD_HOST) and with `scheme`, that of the
 * connection (RFC 9110 §7.4: a request for an https resource over another connection must be refused: ERR_BAD_TARGET).
 * Without Host (HTTP/1.0) the authority is empty. Normalisation, done once: host to lower case, default port dropped,
 * %-escapes of unreserved characters decoded, others in upper case, `.` and `..` segments removed (RFC 3986 §6.2.2).
 * `%2F`, empty segments, and everything else stay as they are. ERR_BAD_TARGET: fragment, backslash, control, space,
 * non-ASCII, bad %-escape, authority-form, userinfo; ERR_BAD_HOST; ERR_ARENA_FULL. */
MUST_CHECK enum err uri_of_request(struct span scheme, struct span target, struct span host, struct arena *arena,
                                   struct uri *out_uri);

/* Does a request target in absolute-form end with its authority: no path, no query (RFC 9112 §3.2.4)? Ask only about
 * one that uri_of_request took. */
bool uri_target_is_bare(struct span target);

/* Is `host` a valid uri-host [":" port] (RFC 9110 §7.2)? Empty is not, nor are port 0, ports above 65535, IPvFuture and
 * zone ids. */
bool uri_host_valid(struct span host);

/* Splits authority into host (brackets of an IPv6 literal removed) and port (0 when absent). */
bool uri_split_authority(struct span authority, struct span *out_host, uint16_t *out_port);

/* The same host of an authority that is normalised (struct uri): nothing is checked again. */
struct span uri_host_of(struct span authority);

/* An absolute URL "http://host[:port][/path][?query]" as in configuration files and Location; ERR_BAD_TARGET otherwise.
 * Normalised. */
MUST_CHECK enum err uri_parse_absolute(struct span text, struct arena *arena, struct uri *out_uri);

/* Resolves `reference` (absolute, "//authority/…", "/path", or relative; RFC 3986 §5.2) against `base`. Normalised; a
 * fragment is dropped. */
MUST_CHECK enum err uri_resolve(const struct uri *base, struct span reference, struct arena *arena,
                                struct uri *out_uri);

/* Same scheme, host and port (RFC 9110 §4.3.1, needed by RFC 9111 §4.4). */
bool uri_same_origin(const struct uri *a, const struct uri *b);

/* path[?query], as sent to the origin. False at the arena's limit. */
MUST_CHECK bool uri_path_and_query(const struct uri *uri, struct arena *arena, struct span *out_text);

/* Does an absolute URL match a pattern as people give it to a command? `*` is any run of bytes, `?` any one byte. A
 * pattern that begins with "/" is of path and query, of any host; any other is of the whole URL. */
bool uri_matches_pattern(struct span url, struct span pattern);

/* Query parameters whose name matches one of `strip` (globs) removed, the others sorted by name then value when `sort`;
 * order of equal pairs kept. An empty result clears has_query only if something was stripped. */
MUST_CHECK bool uri_filter_query(struct uri *uri, const struct span *strip, size_t strip_count, bool sort,
                                 struct arena *arena);

#endif
