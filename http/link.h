/* link.h: the Link field (RFC 8288), as far as an intermediary has to read it: its values one by one, and which of them
 * are hints for a client that waits (RFC 8297).
 *
 * Everything borrows from the text it is given. Threads: any. */
#ifndef HTTP_LINK_H
#define HTTP_LINK_H

#include "http/span.h"

/* The next link-value (`<target>; parameters`) of a field value, trimmed. Commas inside <> and quoted strings do not
 * separate. False at the end, and at what is no link-value: nothing behind it is read. `*rest` starts as the field
 * value. */
bool link_next(struct span *rest, struct span *out_value);

/* Does the link-value tell the client what the page will need: rel has preload, modulepreload, preconnect or
 * dns-prefetch? Not with an anchor, which makes it speak of something else (RFC 8288 §3.2). */
bool link_is_hint(struct span value);

#endif
