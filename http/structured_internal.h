/* structured_internal.h: what structured.c and structured_item.c share; for no one else.
 *
 * Functions named …_take_… cut what they read off the front of `*text` and say whether it was well-formed. Threads:
 * any. */
#ifndef HTTP_STRUCTURED_INTERNAL_H
#define HTTP_STRUCTURED_INTERNAL_H

#include "http/structured.h"

/* An item without its parameters (RFC 9651 §4.2.3.1). Writes all of `out`. */
bool structured_take_bare_item(struct span *text, struct structured_item *out);

/* This one byte; false leaves the text as it is. */
bool structured_take_byte(struct span *text, char byte);

static inline bool ascii_is_lower(char byte)
{
    return byte >= 'a' && byte <= 'z';
}

static inline bool ascii_is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

#endif
