/* suggest.h: which known word somebody probably meant. Threads: any. */
#ifndef PROXY_SUGGEST_H
#define PROXY_SUGGEST_H

#include "http/span.h"

/* How many letters must be inserted, left out, replaced or swapped with their neighbour to make `a` of `b`; a large
 * number for words longer than any of ours. */
size_t suggest_distance(struct span a, struct span b);

/* Is `word` near enough to `known` to be a slip of it? One slip in short words, two in longer ones. */
bool suggest_is_near(struct span word, struct span known);

#endif
