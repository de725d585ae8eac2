/* transfer.h: stored responses out of a store and into another: what `larder store export` and `import` do.
 *
 * Ages go on (RFC 9111 §4.2.3): the times of a response travel with it, so that the time in the file counts as time in
 * a cache. Where the clock of the importing machine is behind the moment of the export, each response is imported with
 * the age it had then, as if it had come from the exporting cache just now with that Age.
 *
 * Purges: what a purge of the exporting store names is not exported. An imported response counts as asked for when it
 * was, so that later purges in the importing store's journal name it; one that has left the journal cannot.
 *
 * What is stored for several URLs (search.h) travels under the plain one of them. What larder notes for itself stays.
 *
 * Threads: one at a time. The clock and the bytes' way in and out are the caller's. */
#ifndef CACHE_TRANSFER_H
#define CACHE_TRANSFER_H

#include "cache/archive.h"
#include "cache/store.h"
#include "cache/store_tools.h"

/* ---- out ---- */

struct export_pattern {
    struct span text; /* of URLs (uri_matches_pattern) */
    uint64_t matches; /* out: responses, also those that another one excludes */
};

struct export_options {
    struct export_pattern *exclude;
    size_t exclude_count;
    bool without_tagged;  /* responses with Cache-Tag, Surrogate-Key, xkey or Cache-Groups */
    bool without_private; /* responses with Set-Cookie, and those selected by Authorization or Cookie */
    int64_t now_ms;
    archive_put_fn put;
    bool (*progress)(void *arg, uint64_t objects_done); /* false ends it; may be NULL */
    void *arg;                                          /* of both */
};

struct export_result {
    uint64_t responses;
    uint64_t body_bytes;
    uint64_t excluded; /* by the options; heads too long for an import */
    uint64_t recorded; /* left out: recordings (key.h) are for this larder only */
    uint64_t partial;  /* left out: a part of a body is of use only where the rest is asked for */
    uint64_t purged;   /* left out: a purge in force names them, hard or soft */
    uint64_t damaged;  /* left out */
    uint64_t gone;     /* removed by the larder that runs while they were written */
};

/* Every response that is stored when it begins, each as it stands at one moment, whole and checked; those that are
 * removed before their turn are left out, those that are stored meanwhile, too. The store may be in use. ERR_IO: `put`
 * said no, or the store cannot be read; ERR_CANCELED: `progress` did; ERR_DAMAGED, ERR_NO_MEMORY: what was written is
 * no whole export. */
MUST_CHECK enum err export_run(struct store_reader *reader, const struct export_options *options,
                               struct export_result *out_result);

/* Would the options leave it out? Counts what each pattern matches. */
bool export_excludes(const struct export_options *options, struct span key, struct span selection,
                     const struct headers *head);

/* ---- in ---- */

struct import_result {
    uint64_t responses;  /* stored */
    uint64_t body_bytes; /* theirs */
    uint64_t kept;       /* not stored: the store had the same variant, as new or newer */
    uint64_t too_large;  /* not stored: more than half of the store */
    uint64_t abandoned;  /* by the export */
    uint64_t evicted;    /* to make room: some of those that it has stored, or others */
};

/* Stores what the archive still holds, each response once it is whole and every check has passed: what was stored
 * before an error is good and stays. An import evicts as traffic does. The store must be this process's own
 * (store_open). ERR_TRUNCATED, ERR_DAMAGED: of the archive (archive.h); ERR_NO_SPACE, ERR_IO: of the store;
 * ERR_NO_MEMORY. `out_result` counts in any case. */
MUST_CHECK enum err import_run(struct store *store, struct archive_reader *archive, int64_t now_ms,
                               struct import_result *out_result);

#endif
