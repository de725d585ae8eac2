/* store_command.h: `larder store`: looking at a store and after it, as a process of its own.
 *
 * Every command is one function: it gets what the command line says and the store's directory, prints to standard
 * output, and returns the exit status. What goes wrong becomes one line in `error`, which the caller prints. Threads:
 * one. */
#ifndef PROXY_STORE_COMMAND_H
#define PROXY_STORE_COMMAND_H

#include "cache/purge_journal.h"
#include "cache/store_tools.h"
#include "proxy/commands/store_options.h"
#include "proxy/config/config.h"

enum {
    STORE_EXIT_OK = 0,
    STORE_EXIT_DAMAGE = 1, /* found some; absent; a file that is not whole */
    STORE_EXIT_FAILED = 2,
};

/* What all of them work on. */
struct store_context {
    const struct store_arguments *arguments;
    const struct config *config;
    const char *dir;
    struct buf *error;
    enum err opened; /* what store_context_look or store_context_own came to */
};

int store_command_run(const struct store_arguments *arguments, struct buf *error);

int store_stat_run(struct store_context *context);
int store_check_run(struct store_context *context);
int store_compact_run(struct store_context *context);
int store_ls_run(struct store_context *context);
int store_get_run(struct store_context *context);
int store_export_run(struct store_context *context);
int store_import_run(struct store_context *context);

/* ---- what they share (store_command.c) ---- */

/* Opens for looking, whether larder runs or not. NULL with a line in `error`, and `opened`. The reader goes first. */
struct store *store_context_look(struct store_context *context, struct store_reader **out_reader);
void store_context_leave(struct store *store, struct store_reader *reader);

/* Opens a stopped store for changing, with the size it has; `make`: one is made where there is none, for the user that
 * larder becomes. What a start would set aside is left as it is. NULL with a line in `error`, and `opened`. */
struct store *store_context_own(struct store_context *context, bool make);

/* The exit status where that was NULL. */
int store_context_status(const struct store_context *context);

/* "store ls: cannot go on: input or output failed"; returns STORE_EXIT_FAILED. */
int store_context_fail(struct store_context *context, enum err error);

/* "3 s", "5 min", "2 h", "3 d"; "1.5 KiB", "12 MiB". */
void store_add_duration(struct buf *out, int64_t seconds);
void store_add_size(struct buf *out, uint64_t bytes);

/* Seconds of freshness left, or negative, how long it has been stale; by the response and the configuration's
 * max_heuristic, without its rules. What was purged is stale: softly since then, else 0. */
int64_t store_fresh_for(const struct store_context *context, const struct record *record,
                        const struct purge_verdict *purged, int64_t now_ms, int64_t *out_age_s);

/* The purges of its journal. False with a line in `error`. */
bool store_context_purges(struct store_context *context, struct store_reader *reader,
                          struct purge_journal **out_purges);

#endif
