/* store_file.h: the files of a store without LMDB: may it open them, how did the last process leave them, are LMDB's
 * own pages what they should be. Before the store is opened, and where it is not. Threads: whoever opens it. */
#ifndef CACHE_STORE_FILE_H
#define CACHE_STORE_FILE_H

#include <limits.h>
#include <stdatomic.h>

#include "http/buf.h"
#include "http/error.h"

/* ---- the data file (store_file.c) ---- */

/* Makes the directory if need be and takes its lock. ERR_IN_USE, ERR_IO, ERR_NO_SPACE; says why. */
enum err store_file_lock(const char *dir, int *out_lock_fd, struct buf *note);

/* May LMDB open the data file? ERR_NOT_FOUND: there is none. ERR_DAMAGED, ERR_FOREIGN, ERR_IO: says why.
 * `*out_pages`: the pages of the file that were ever used. */
enum err store_file_check(const char *dir, uint64_t *out_pages, struct buf *note);

/* Renames the data file to data.mdb.damaged-<n>; older such files are removed. */
enum err store_file_set_aside(const char *dir, struct buf *note);

/* What the one that is kept takes on the disk. */
uint64_t store_file_set_aside_bytes(const char *dir);

/* When anything of the data file was last changed, as the kernel says (nobody can set that time); 0: not known. */
uint64_t store_file_stamp(const char *dir);

#define STORE_DATA_FILE   "data.mdb"
#define STORE_BODIES_FILE "bodies"

bool store_file_path(const char *dir, const char *name, char out_path[PATH_MAX]); /* false: too long */

/* Without the data file; another one, made meanwhile, takes its place where `replacement` is not NULL. */
enum err store_file_replace(const char *dir, const char *replacement);

/* ---- how the last process ended (store_marker.c) ---- */

enum last_stop {
    LAST_STOP_CLEAN,   /* closed */
    LAST_STOP_UNCLEAN, /* killed, crashed, or nothing is known */
    LAST_STOP_DAMAGED, /* the store had failed */
    LAST_STOP_CRASHES, /* crashed soon after its start, and the one before, too */
};

/* Says how it ended, and which stamp the data file had then (0: not known), and notes that a process runs. -1: no
 * marker can be written; then the next open finds nothing or an old one, which costs a probe and a check of the pages.
 */
int store_marker_open(const char *dir, enum last_stop *out_last, uint64_t *out_stamp);
void store_marker_forgive(int fd);       /* the file those crashes were about is gone */
void store_marker_write_crashed(int fd); /* in a signal handler */

/* A process ends that found the store DAMAGED or left it in order (CLEAN): then `stamp` says of which moment. Accepts
 * fd -1. */
void store_marker_close(int fd, enum last_stop how, uint64_t stamp);

/* ---- the first open after an unclean stop (store_probe.c) ---- */

/* Opens the file in a child and goes where an open and a first batch would. False: that does not end well; says why. */
bool store_probe(const char *dir, uint64_t map_bytes, struct buf *note);

/* ---- LMDB's own pages (store_check.c) ---- */

enum tree_check {
    TREES_GOOD,
    TREES_DAMAGED,
    TREES_UNCHECKED, /* the budget did not suffice; no memory; broken off */
};

/* Looks at every page of every tree of the file, whose meta pages must have been found good. Nobody may write.
 * `*give_up` (NULL: none) may be set meanwhile, to break it off. */
enum tree_check store_check_trees(const char *dir, uint64_t file_pages, uint64_t budget_pages,
                                  const atomic_bool *give_up);

#endif
