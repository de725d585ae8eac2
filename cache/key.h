/* key.h: the primary key of a stored response and its hash (RFC 9111 §2).
 *
 * The key is text: "GET " scheme "://" authority path ["?" query], all normalised by http/uri. The method is always
 * GET: only its responses are stored. The hash is XXH3-128 seeded with the store's secret; it only indexes: the whole
 * key is compared on every hit. Threads: any. */
#ifndef CACHE_KEY_H
#define CACHE_KEY_H

#include "http/arena.h"
#include "http/uri.h"

struct key_hash {
    uint64_t high;
    uint64_t low;
};

struct key {
    struct span text; /* in the arena it was made in */
    struct key_hash hash;
};

/* False at the arena's limit. */
MUST_CHECK bool key_of_uri(const struct uri *uri, uint64_t secret, struct arena *arena, struct key *out_key);

/* The key of what was recorded of the URI: "REC " in place of "GET ". Recordings are what policy_may_record keeps
 * although it is not for a cache. They are kept apart by their key, not by a mark in the record, because then a look-up
 * cannot find one by mistake: who does not form this key, and only a site that is offline does, never sees it; and a
 * recording never takes the place of what is stored for reuse. Purges name both by the same URL. */
MUST_CHECK bool key_of_recording(const struct uri *uri, uint64_t secret, struct arena *arena, struct key *out_key);
bool key_is_recording(struct span text);

/* Not every key in a store is a response's: what larder notes for itself (search.h) lies under keys of other words.
 * Whoever shows or counts responses asks this. */
bool key_is_response(struct span text);

/* The key that a URL itself has, of one with a mark behind the URL (search.h); else the key as it is. */
struct span key_without_mark(struct span text);

/* Is it one that key_of_uri could have made, as far as its bytes go? Others are never asked for by another larder. */
bool key_is_of_uri(struct span text);

struct key_hash key_hash_of(struct span text, uint64_t secret);
struct key_hash key_hash_of_url(struct span url, uint64_t secret); /* of the key whose text is "GET " and this */

uint64_t key_hash_short(struct span text, uint64_t secret); /* half the bits, cheaper: for tables in memory */

struct span key_url(struct span text); /* the URL in a key's text */

bool key_hash_equal(struct key_hash a, struct key_hash b);

#endif
