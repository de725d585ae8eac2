/* directives.h: Cache-Control as a struct (RFC 9111 §5.2, RFC 5861, RFC 8246).
 *
 * Tokens and quoted forms of arguments are both read. Of a repeated directive the first counts. An argument that is not
 * a run of digits makes the directive present and invalid: for freshness that means stale (RFC 9111 §4.2.1). Numbers
 * above INT32_MAX are INT32_MAX. Threads: any. */
#ifndef HTTP_DIRECTIVES_H
#define HTTP_DIRECTIVES_H

#include "http/headers.h"

enum directive_state {
    DIRECTIVE_ABSENT,
    DIRECTIVE_VALID,
    DIRECTIVE_INVALID, /* present, argument missing or malformed */
};

struct delta {
    enum directive_state state;
    int32_t seconds; /* meaningful if DIRECTIVE_VALID */
};

/* Of a response. `private` and `no-cache` with field names are qualified: the names are in the list, and the flag is
 * true only where the unqualified form is there, too. */
struct response_directives {
    bool no_store, no_cache, is_private, is_public, must_revalidate, proxy_revalidate, no_transform, must_understand,
        immutable;
    struct delta max_age, s_maxage, stale_while_revalidate, stale_if_error;
    struct span no_cache_fields; /* comma list of field names, empty when unqualified or absent; borrows from the header
                                    or the arena */
    struct span private_fields;
    bool present; /* the field is there at all */
};

/* Of a request. */
struct request_directives {
    bool no_store, no_cache, no_transform, only_if_cached;
    bool max_stale_any; /* max-stale without an argument */
    struct delta max_age, max_stale, min_fresh, stale_if_error;
    bool pragma_no_cache; /* Pragma: no-cache and no Cache-Control (RFC 9111 §5.4) */
    bool present;
};

/* The arena is used for unescaping and joining only; at its limit the qualified lists come out empty and the directive
 * unqualified (the safe reading). */
struct response_directives directives_of_response(const struct headers *headers, struct arena *arena);
struct request_directives directives_of_request(const struct headers *headers, struct arena *arena);

#endif
