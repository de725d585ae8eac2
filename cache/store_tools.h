/* store_tools.h: going through everything that is stored, and looking after a store from outside: what `larder store`
 * is made of.
 *
 * A walk never holds a snapshot for longer than it takes to copy a few rows: a reader that stays keeps every page freed
 * meanwhile from being used again, and the store of the larder that writes would fill up. So the store may change
 * between two steps. What is removed meanwhile is passed over; what is stored meanwhile is not met. Objects come in the
 * order in which they were stored.
 *
 * Memory: bounded, whatever the store's size. Threads: as readers (store.h). For a store that store_open_readonly or
 * store_open has opened. */
#ifndef CACHE_STORE_TOOLS_H
#define CACHE_STORE_TOOLS_H

#include "cache/store.h"

/* What is wrong with a stored response: the first thing that was found. */
enum store_fault {
    STORE_FAULT_NONE,
    STORE_FAULT_ROW,       /* its row, or the record in it, fails its check */
    STORE_FAULT_INDEX,     /* no row of the index leads to it: it can never be found */
    STORE_FAULT_HEAD,      /* key or head cannot be read */
    STORE_FAULT_KEY,       /* its key is not the one it lies under */
    STORE_FAULT_BODY,      /* a piece of the body is missing or fails its check */
    STORE_FAULT_DIGEST,    /* every piece is good, the whole is not */
    STORE_FAULT_GONE,      /* nothing: it was removed while it was looked at */
    STORE_FAULT_UNREADABLE /* the disk */
};
const char *store_fault_text(enum store_fault fault);

/* One stored response. Everything borrows until the visit returns. */
struct store_item {
    uint64_t object_id;
    enum store_fault fault; /* not NONE, then what follows may be empty: ROW, INDEX (all the same there), HEAD, KEY */
    struct span key;        /* "GET http://…" */
    struct stored stored;   /* record, head, selection; no body_start, never pinned */
    unsigned variant;       /* its place among the variants of its key, 1 is the newest */
    unsigned variants;      /* of its key */
    bool note;              /* no response, but larder's own (key_is_response) */
};

/* False ends the walk. */
typedef bool (*store_item_fn)(void *arg, const struct store_item *item);

struct store_tour {
    bool records_only;     /* neither key nor head are there: no page of a body is touched */
    uint64_t heads_before; /* with records_only: they are, of what was born before this purge */
    bool with_notes;       /* those are visited, too */
    store_item_fn visit;
    void *arg;
};

/* Visits every object that was there when it began, but for those removed meanwhile. ERR_IO, ERR_DAMAGED: the tables
 * cannot be read further; ERR_NO_MEMORY. */
MUST_CHECK enum err store_walk_objects(struct store_reader *reader, const struct store_tour *walk);

/* Hands over the body in runs that are valid during the call only; false from `take` ends it. Checks every piece, and
 * the digest of the whole; of a partial response (slices.h) the slices that are there, one after another. NONE, BODY,
 * DIGEST, GONE, UNREADABLE; NONE, too, where `take` ended it. `take` may be NULL.
 */
typedef bool (*store_take_fn)(void *arg, struct span bytes);
enum store_fault store_read_body(struct store_reader *reader, const struct record *record, store_take_fn take,
                                 void *arg);

/* How many bytes of the body are stored: of a partial response not all. */
uint64_t store_body_bytes(const struct record *record);

/* ---- figures of the file (store_survey.c) ---- */

struct store_survey {
    uint64_t format;      /* of the tables */
    uint64_t limit_bytes; /* the store's size: both files together are never longer */
    uint64_t used_bytes;  /* pages and blocks in use, exact */
    uint64_t disk_bytes;  /* that the file system gave for them */
    uint64_t objects;
    uint64_t keys;
    uint64_t pieces;         /* of bodies, in LMDB's file */
    uint64_t pending_bodies; /* begun and not finished, or waiting for deletion */
    uint64_t purges;
    uint64_t commits;       /* of the file's life */
    unsigned reader_slots;  /* there are */
    unsigned readers;       /* that hold one; ours among them */
    unsigned stale_readers; /* of processes that are gone: cleared when the store was opened */
    uint64_t oldest_reader; /* commits since the snapshot of the reader that lags most; 0: nobody reads */
};
MUST_CHECK enum err store_survey_of(struct store *store, struct store_survey *out_survey);

/* ---- the whole file (store_verify.c) ---- */

struct store_recount {
    uint64_t index_rows;
    uint64_t damaged_index_rows;
    uint64_t dangling_variants; /* that lead to no object */
    uint64_t bodies;            /* that have pieces */
    uint64_t orphan_bodies;     /* that belong to no object and do not wait for deletion either */
    uint64_t free_pages;        /* as listed */
    uint64_t lost_pages;        /* neither in use nor listed as free */
};

/* Called now and then with what part of it is done, 0 to 100. */
typedef void (*store_progress_fn)(void *arg, unsigned percent);

/* Counts what a walk over the objects does not see. `alone`: nobody else has the store open; else the bodies are not
 * counted, because what is stored between two steps would look lost (so it does where somebody opens it meanwhile).
 * ERR_DAMAGED, ERR_IO: a table cannot be read to its end. */
MUST_CHECK enum err store_recount(struct store_reader *reader, bool alone, store_progress_fn progress, void *arg,
                                  struct store_recount *out_recount);

/* Are LMDB's own pages what they should be? It tells nothing of a file that somebody wrote to meanwhile. False, too,
 * where memory is missing. */
bool store_trees_good(const char *dir);

/* Would a start keep what is stored? For a look at a stopped store (store_hold) whose pages are good. False: it would
 * set the data file aside and begin empty; says why. */
bool store_would_keep(struct store *store, struct buf *out_note);

/* The store that it reads. */
struct store *store_reader_store(struct store_reader *reader);

/* ---- is it at rest? (store_survey.c) ---- */

/* How a store lay that nobody had open. */
struct store_rest {
    uint64_t data_stamp;
    uint64_t marker_stamp;
};

/* Has nobody the store open? Nobody is kept out: whoever looks at it asks again behind that (store_rest_lasts).
 * ERR_NOT_FOUND: there is no store; ERR_IN_USE. */
MUST_CHECK enum err store_rest_begin(const char *dir, struct store_rest *out_rest);

/* Has nobody opened it since? Then nothing changed while it was looked at. */
bool store_rest_lasts(const char *dir, const struct store_rest *rest);

/* Is a file of this name in `dir` one of a store that lies there? */
bool store_owns_file(const char *dir, const char *name);

/* The size that the store in `dir` was made with, 0 if there is none: what store_open wants in order to change nothing.
 */
uint64_t store_size_in(const char *dir);

/* ---- compaction (store_shrink.c) ---- */

/* Writes LMDB's file anew without holes, and closes the store: what was deleted in the past no longer takes room on the
 * disk. Nobody else may have it open. The new file takes the old one's place at the end or not at all, and belongs
 * to the same user. ERR_DAMAGED: a page that would be copied is not what it should be; ERR_NO_SPACE: the disk cannot
 * hold both for a moment. */
MUST_CHECK enum err store_compact(struct store *store, struct buf *out_note);

#define STORE_COMPACT_FILE "data.mdb.smaller" /* grows while it runs */

#endif
