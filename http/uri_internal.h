/* uri_internal.h: what uri.c and uri_authority.c share; for no one else. Threads: any. */
#ifndef HTTP_URI_INTERNAL_H
#define HTTP_URI_INTERNAL_H

#include "http/byte_class.h"
#include "http/uri.h"

/* Classes of bytes; one may be of several. */
enum {
    URI_UNRESERVED = 1,  /* RFC 3986 §2.3: ALPHA, DIGIT, - . _ ~ */
    URI_HOST_CHAR = 2,   /* RFC 3986 §3.2.2: reg-name: unreserved, sub-delims; `%` is looked at apart */
    URI_TARGET_CHAR = 4, /* what we take in path and query: visible ASCII but `\` and `#`; browsers send `|`, `"` and
                            such unescaped */
    URI_HEX = 8,
    URI_PLAIN = 16, /* in a host: needs no normalisation */
    URI_QUIET = 32, /* in path and query: means nothing but itself: neither `%` nor a dot */
};

/* The classes of each byte. */
extern const unsigned char uri_classes[256];

static inline bool uri_has_class(char byte, unsigned class)
{
    return (uri_classes[(unsigned char)byte] & class) != 0;
}

/* The first place from `at` on whose byte is not of the class, or the end. */
static inline size_t uri_run_end(struct span text, size_t at, unsigned class)
{
    return bytes_run_end_by(uri_classes, text.data, at, text.len, class);
}

/* The byte that "%XX" means. */
char uri_unescape(const char *escape);

/* RFC 3986 §6.2.2.1 and §6.2.2.2: escapes of unreserved characters resolved, the others in upper case. Checked text
 * only. At most as long as `text`; returns the length. */
size_t uri_write_unescaped(struct span text, char *out);

/* RFC 9110 §4.2.3: an authority is normal with its host in lower case and without the scheme's default port. Borrows
 * one that is normal already. ERR_BAD_TARGET: it is none; the arena's errors. */
MUST_CHECK enum err uri_normalise_authority(struct span text, struct span scheme, struct arena *arena,
                                            struct span *out_authority);

#endif
