/* variants.h: `larder vary`: how many variants of a URL are stored, how many different bodies they have, which request
 * fields make them, and which rule would make them fewer.
 *
 * Looks at the store as `larder why` does: of a larder that runs or was stopped, read only. Threads: one. */
#ifndef PROXY_VARIANTS_H
#define PROXY_VARIANTS_H

#include "cache/store.h"
#include "proxy/config/config.h"

enum {
    VARIANTS_TOP_VALUES = 3,
    VARIANTS_LIMIT_DEFAULT = 10,
    VARIANTS_LIMIT_MAX = 1000,
};

/* A value that a field had in the requests that brought the variants. */
struct variants_value {
    struct span text;
    bool present; /* false: the field was absent */
    size_t count; /* of variants */
};

enum variants_advice {
    ADVICE_NONE,      /* bodies differ by it, or there is nothing to gain */
    ADVICE_STRIP,     /* strip_request_fields: no body differs by it */
    ADVICE_ENCODINGS, /* normalize_accept_encoding */
    ADVICE_LANGUAGES, /* normalize_accept_language */
};

/* A field that Vary names. */
struct variants_field {
    struct span name;
    size_t values;     /* different ones */
    bool changes_body; /* some bodies differ by it alone; of fields that say the same, only the last counts */
    enum variants_advice advice;
    struct variants_value top[VARIANTS_TOP_VALUES]; /* the most frequent first */
    size_t top_count;
};

/* One URL. */
struct variants_url {
    struct arena arena; /* owns the texts */
    struct span url;
    struct stored_variant *variants;
    size_t count;
    size_t bodies;                 /* different ones */
    uint64_t bytes;                /* of all bodies */
    struct variants_field *fields; /* those with the most values first */
    size_t field_count;
    size_t left; /* variants without the fields to strip */
};

struct variants {
    struct variants_url **urls; /* the worst first: most variants beyond the bodies they have */
    size_t count;
    size_t limit;
    uint64_t keys;       /* looked at */
    uint64_t with_some;  /* have two variants or more */
    uint64_t with_waste; /* have more variants than bodies */
};

/* `url` NULL: the worst `limit` of the whole store. False with one line in `out_error`. Give it back with
 * variants_finish in either case. */
MUST_CHECK bool variants_ask(const struct config *config, const char *url, size_t limit, int64_t now_ms,
                             struct variants *out_variants, struct buf *out_error);
void variants_finish(struct variants *variants);

void variants_write_text(const struct variants *variants, struct buf *out);
void variants_write_json(const struct variants *variants, struct buf *out); /* one object and a line end */

#endif
