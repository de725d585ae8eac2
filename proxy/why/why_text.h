/* why_text.h: what the files that write `larder why` for people share. One line is a label and what is to be said.
 *
 * Threads: one. Errors: those of the buffer. */
#ifndef PROXY_WHY_TEXT_H
#define PROXY_WHY_TEXT_H

#include "proxy/why/why.h"

/* "  label         " */
void why_label(struct buf *out, const char *text);

/* "90 s", "5400 s (1 h 30 min)" */
void why_add_seconds(struct buf *out, int64_t seconds);

void why_add_quoted(struct buf *out, struct span text);

/* why_text_stored.c: the variants under the key, and the freshness of the one that is selected. */
void why_text_stored(const struct why *why, struct buf *out);
void why_text_freshness(const struct why *why, struct buf *out);

#endif
