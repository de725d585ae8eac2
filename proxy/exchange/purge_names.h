/* purge_names.h: from what people and programs say to the names that purges have (cache/purge.h).
 *
 * URLs are compared as they are stored: normalised, and after the rules of their site. Memory: the arena's. Threads:
 * any, with a reader of its own. */
#ifndef PROXY_PURGE_NAMES_H
#define PROXY_PURGE_NAMES_H

#include "cache/cache.h"
#include "http/message.h"
#include "proxy/config/config.h"

struct purge_list {
    struct purge items[CACHE_PURGES_MAX];
    size_t count;
    enum purge_mode mode; /* of all that are added */
    int64_t time_ms;
};

/* All: ERR_LIMIT: the list is full; ERR_BAD_TARGET: not the form that is expected; ERR_ARENA_FULL. Those with a
 * configuration: ERR_NOT_FOUND: no site serves the host, which is most often a slip: nothing would be purged. */

/* What is stored for the URI of a request whose site has rewritten it: under its own key, and under that which a
 * No-Vary-Search of its path leads to. `reader` may be NULL: the store is not asked. Here and below http and https
 * stand for each other: TLS ends in front of larder, and whether it knows of it depends on trust_forwarded. */
MUST_CHECK enum err purge_add_uri(struct purge_list *list, const struct config *config, struct cache *cache,
                                  struct cache_reader *reader, const struct uri *uri, struct arena *arena);

/* An absolute URL, as a client would ask for it. */
MUST_CHECK enum err purge_add_url(struct purge_list *list, const struct config *config, struct cache *cache,
                                  struct cache_reader *reader, struct span url, struct arena *arena);

/* Every URL that begins with this one. */
MUST_CHECK enum err purge_add_prefix(struct purge_list *list, const struct config *config, struct span prefix,
                                     struct arena *arena);

/* scheme://authority/path with * and ?; scheme and authority in any case. An authority with * or ? may be any. */
MUST_CHECK enum err purge_add_glob(struct purge_list *list, const struct config *config, struct span glob,
                                   struct arena *arena);

MUST_CHECK enum err purge_add_tag(struct purge_list *list, struct span tag);

/* The hosts of the site of that name; else a host, or "*.example.com". A site without hosts has none that could be
 * named: ERR_BAD_TARGET, unless it is the only site: then everything is purged. ERR_NOT_FOUND: no site is called so,
 * and none serves such a host. */
MUST_CHECK enum err purge_add_site(struct purge_list *list, const struct config *config, struct span name,
                                   struct arena *arena);

MUST_CHECK enum err purge_add_everything(struct purge_list *list);

#endif
