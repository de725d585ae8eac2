/* purge.h: a purge as a value: what it names, how hard it is, its row in the store's journal.
 *
 * A purge is a row, not a scan. Rows have a sequence number that only grows; a stored response carries the sequence
 * that was the newest when the request that brought it was *sent* (its birth). A row with a higher sequence that names
 * the response makes it dead (hard) or stale (soft) at its next look-up, however many it names. The birth is taken at
 * the sending and not at the arrival, because the origin may have made the response any time after it got the request:
 * what it made before the purge must not come in behind it.
 *
 * URLs are compared as the primary key has them: scheme://authority/path?query, normalised by http/uri and by the
 * site's rules. Threads: any. */
#ifndef CACHE_PURGE_H
#define CACHE_PURGE_H

#include "http/buf.h"
#include "http/check.h"
#include "http/span.h"

enum purge_kind {
    PURGE_URL = 1, /* one URL, all its variants */
    PURGE_PREFIX,  /* every URL that begins so */
    PURGE_GLOB,    /* every URL that matches: `*` is any run of bytes, `?` any one byte, nothing else is special */
    PURGE_TAG,     /* every response with this tag (http/tags.h), of any site */
    PURGE_GROUP,   /* RFC 9875: a group of one origin; the name is origin, space, group */
    PURGE_HOST,    /* every URL of this host, whatever port: a name, or "*.example.org" for all below it */
    PURGE_ALL,     /* everything; the name is empty */
    PURGE_KINDS,
};

enum purge_mode {
    PURGE_HARD = 1, /* dead at once */
    PURGE_SOFT,     /* stale at once: must be validated; may be served stale where stale rules allow it */
};

enum {
    PURGE_NAME_MAX_BYTES = 32 * 1024,   /* of a URL */
    PURGE_PATTERN_MAX_BYTES = 2 * 1024, /* of a prefix, a glob, a host */
};

struct purge {
    enum purge_kind kind;
    enum purge_mode mode;
    struct span name;
    uint64_t sequence; /* its place in the journal; 0: none yet */
    int64_t time_ms;   /* when it was asked for */
};

/* May it be asked for: is the name of a form that its kind has? */
bool purge_valid(const struct purge *purge);

/* The row in the journal that lies under purge->sequence. */
void purge_encode(const struct purge *purge, struct buf *out);

/* `bytes` may be anything; the name borrows from it. False: it is no row that lies under `sequence`. */
MUST_CHECK bool purge_decode(struct span bytes, uint64_t sequence, struct purge *out_purge);

const char *purge_kind_text(enum purge_kind kind); /* "url" … */
const char *purge_mode_text(enum purge_mode mode); /* "hard", "soft" */

/* Parts of a URL as the primary key has it. */
struct span purge_url_origin(struct span url); /* scheme://authority */
struct span purge_url_host(struct span url);   /* without the port */

#endif
