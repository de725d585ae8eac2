/* gunzip.h: bytes that gzip made smaller (RFC 1952), as they were.
 *
 * The limit of the buffer bounds what a small input may become. Threads: any, one at a time for a buffer. Errors: by
 * enum err. */
#ifndef PROXY_GUNZIP_H
#define PROXY_GUNZIP_H

#include "http/buf.h"
#include "http/error.h"

/* Do they begin as gzip's do? */
bool gunzip_knows(struct span bytes);

/* Adds all members, one behind the other; what follows them and is none is left out, as gzip does. ERR_DAMAGED: a check
 * fails, or they end too early; ERR_BODY_TOO_LARGE: beyond the buffer's limit; ERR_NO_MEMORY. */
MUST_CHECK enum err gunzip(struct span bytes, struct buf *out);

#endif
