/* export_file.h: what `larder store export` writes to.
 *
 * A regular file, or one that is not there yet, is written beside its place under a name of its own, and takes the
 * place once it is whole and on the disk: a file that is there can be believed, and whoever reads the one before it
 * goes on with that. It is 0600, as the store is, for it may hold cookies; in place of another file it has that one's
 * mode, and its owner where this process may give it. A symbolic link is followed to what it names.
 *
 * Whatever else there is (a pipe, a device, "-" or any other name of standard output) is written straight through.
 * Refused: a terminal, a directory, and what belongs to a store.
 *
 * Errors: each function that can fail says why in a line. Threads: one. */
#ifndef PROXY_EXPORT_FILE_H
#define PROXY_EXPORT_FILE_H

#include <limits.h>
#include <stdio.h>

#include "http/buf.h"
#include "http/check.h"

struct export_file {
    const char *name; /* as it was given */
    FILE *stream;
    char target[PATH_MAX];  /* its place; empty where it is written straight through */
    char partial[PATH_MAX]; /* until it is whole */
};

/* `name` is borrowed. After true: one of the other two, once. */
MUST_CHECK bool export_file_open(struct export_file *file, const char *name, struct buf *error);

/* All of it was written: it is flushed and takes its place. */
MUST_CHECK bool export_file_finish(struct export_file *file, struct buf *error);

/* It is not whole: what is at its place stays. */
void export_file_abandon(struct export_file *file);

/* What was written straight through cannot be taken back. */
bool export_file_is_straight(const struct export_file *file);

void export_file_fail(const struct export_file *file, int code,
                      struct buf *error); /* "cannot write FILE: …"; an errno */

#endif
