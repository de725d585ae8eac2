/* token.h: the small syntax that header fields share: tokens, comma lists, quoted strings, parameters (RFC 9110 §5.6).
 *
 * Everything borrows from the text it is given. Malformed members are handed out as they are: the caller decides.
 * Threads: any. */
#ifndef HTTP_TOKEN_H
#define HTTP_TOKEN_H

#include "http/arena.h"
#include "http/span.h"

bool is_tchar(unsigned char byte);  /* RFC 9110 §5.6.2 */
bool is_token(struct span text);    /* one tchar or more */
bool is_field_value(struct span v); /* RFC 9110 §5.5: no CR, LF, NUL or other control but HTAB */

/* The next member of a comma list, trimmed; commas inside quoted strings do not separate; empty members are skipped.
 * False at the end. `*rest` starts as the field value. */
bool list_next(struct span *rest, struct span *out_member);

/* Does a quoted string begin in `text` that does not end there? */
bool has_open_quote(struct span text);

/* Is `token` a member of the list `value`, ignoring case? */
bool list_has_token(struct span value, struct span token);

/* The next of the parameters that stand behind a value, trimmed and without its semicolon (RFC 9110 §5.6.6); semicolons
 * inside quoted strings do not separate; empty ones are skipped. False at the end. */
bool parameter_next(struct span *rest, struct span *out_parameter);

/* Splits `name=value` or `name = value`. `out_has_value` tells `name` from `name=`. Spaces around the name are not
 * removed from inside: `max-age =5` gives the name "max-age " so that the caller can refuse it. */
void parameter_split(struct span member, struct span *out_name, struct span *out_value, bool *out_has_value);

/* The content of a quoted string with its escapes resolved (in the arena only if there are any); a plain token is
 * returned as it is. False if `text` starts with a quote and is malformed, or at the arena's limit. */
bool unquote(struct span text, struct arena *arena, struct span *out_text);

/* The q parameter of an Accept-style member in thousandths (1000 when absent, 0 when malformed); `out_value` is the
 * member without its parameters (RFC 9110 §12.4.2). */
unsigned quality_of(struct span member, struct span *out_value);

#endif
