/* directives_internal.h: the response directives by name, one list for both ways to write them: Cache-Control
 * (directives.c) and targeted fields (targeted.c). `no-cache` and `private`, which may have field names, are not in it.
 */
#ifndef HTTP_DIRECTIVES_INTERNAL_H
#define HTTP_DIRECTIVES_INTERNAL_H

#include "http/directives.h"

enum directive_kind {
    DIRECTIVE_PERMITS, /* a flag that lets a cache do more */
    DIRECTIVE_FORBIDS, /* a flag that lets it do less: read where in doubt */
    DIRECTIVE_SECONDS, /* a delta */
};

struct directive_name {
    struct span name;
    enum directive_kind kind;
    size_t offset; /* of its bool or struct delta in struct response_directives */
};

/* In any case of letters. NULL: none of the list. */
const struct directive_name *directive_named(struct span name);

static inline bool *directive_flag(struct response_directives *directives, const struct directive_name *directive)
{
    return (void *)((char *)directives + directive->offset);
}

static inline struct delta *directive_delta(struct response_directives *directives,
                                            const struct directive_name *directive)
{
    return (void *)((char *)directives + directive->offset);
}

#endif
