/* search.h: keys of responses that say which differences of a query do not matter (http/no_vary_search.h).
 *
 * Such a response lies under the key of its path and the query in one form, with a mark behind it, so that every URL it
 * may be used for leads to it. Which form, the responses of a path say: the latest value seen there is kept in the
 * store as a hint, an object without a body under a key of its own ("SEARCH http://host/path"). Without the hint what
 * lies under marked keys is not found; the mark names the hint, so that it stays so when a later one takes its place,
 * and an invalidation that did not know the old one is not forgotten.
 *
 * What is found under a marked key may be used only if its own field allows it for the URL asked for: search_serves.
 * Memory: the arena's; in the store one hint a path, evicted like anything else. Threads: any, with a reader of its
 * own.
 */
#ifndef CACHE_SEARCH_H
#define CACHE_SEARCH_H

#include "cache/cache.h"
#include "http/no_vary_search.h"

/* What a path's responses say. */
struct search {
    struct no_vary_search variance;
    struct span field; /* as it was sent */
    uint64_t number;   /* of the hint */
};

/* The key of a path's hint. False at the arena's limit. */
MUST_CHECK bool search_hint_key(const struct uri *uri, uint64_t secret, struct arena *arena, struct key *out_key);

/* What a hint says. False: nothing that can be read. */
MUST_CHECK bool search_of_hint(const struct stored *hint, struct arena *arena, struct search *out_search);

/* The hint of the URL's path. False: there is none. */
MUST_CHECK bool search_find(struct cache_reader *reader, const struct uri *uri, struct arena *arena,
                            struct search *out_search);

/* The marked key of a URL. False: only its own key will do. */
MUST_CHECK bool search_key(const struct search *search, const struct uri *uri, uint64_t secret, struct arena *arena,
                           struct key *out_key);

bool search_is_marked(struct span key);

/* Notes what a response says of its path, unless it is known. False: it says nothing, or it could not be noted. */
MUST_CHECK bool search_learn(struct cache *cache, struct cache_reader *reader, const struct uri *uri,
                             const struct headers *response, uint64_t monotonic_ms, struct arena *arena,
                             struct search *out_search);

/* Does a response with these headers, which lies under `key`, serve a request for `uri`? */
bool search_serves(struct span key, const struct headers *response, const struct uri *uri, struct arena *arena);

#endif
