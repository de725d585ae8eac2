/* no_vary_search.h: which differences between the queries of two URLs a response declares irrelevant (No-Vary-Search,
 * draft-ietf-httpbis-no-vary-search).
 *
 * The field is a dictionary: `key-order` (the order of parameters with different names is irrelevant), `params` (those
 * of these names are, or with ?1 all of them), `except` (but for these). Whatever is not understood in a known member
 * makes the whole field count as absent, which costs hits and nothing else; unknown members are ignored.
 *
 * Queries are read as application/x-www-form-urlencoded: `+` is a space, %-escapes are decoded, `a` is `a=`, and empty
 * parameters are none. Bytes are compared, not characters. Ownership: the arena's. Threads: any. */
#ifndef HTTP_NO_VARY_SEARCH_H
#define HTTP_NO_VARY_SEARCH_H

#include "http/headers.h"
#include "http/uri.h"

enum {
    NO_VARY_SEARCH_NAMES = 64,       /* in `params` or `except`; a field with more counts as absent */
    NO_VARY_SEARCH_PARAMETERS = 256, /* of a query; one with more is compared as it is written */
};

struct no_vary_search {
    bool any_order;     /* of parameters with different names */
    bool all_but;       /* everything but `names` is irrelevant; else only `names` is */
    struct span *names; /* decoded */
    size_t name_count;
};

/* False: the field is absent, invalid, or declares nothing irrelevant; also at the arena's limit. */
MUST_CHECK bool no_vary_search_of(const struct headers *response, struct arena *arena, struct no_vary_search *out);

/* The query with what is irrelevant taken out, in one form: two URLs that differ in nothing else have equal ones
 * exactly if the response that declares this for one may be used for the other. False: too many parameters, or at the
 * arena's limit; then only the very same URL will do. */
MUST_CHECK bool no_vary_search_query(const struct no_vary_search *variance, const struct uri *uri, struct arena *arena,
                                     struct span *out_query);

#endif
