/* store_file.h: the files of a store without LMDB: may it open them, how did the last process leave them, are LMDB's
 * own pages what they should be. Before the store is opened, and where it is not. Threads: whoever opens it. */
#ifndef CACHE_STORE_FILE_H
#define CACHE_STORE_FILE_H

#include <limits.h>
#include <stdatomic.h>
#include <time.h>

#include "http/buf.h"
#include "http/error.h"

/* ---- the data file (store_file.c) ---- */

/* Makes the directory if need be and takes its lock. ERR_IN_USE, ERR_IO, ERR_NO_SPACE; says why. */
enum err store_file_lock(const char *dir, int *out_lock_fd, struct buf *note);

/* Does a process have it now? Takes nothing, and writes nothing. */
bool store_file_is_locked(const char *dir);

/* May LMDB open the data file? ERR_NOT_FOUND: there is none. ERR_DAMAGED, ERR_FOREIGN, ERR_IO: says why.
 * `*out_pages`: the pages of the file that were ever used. */
enum err store_file_check(const char *dir, uint64_t *out_pages, struct buf *note);

/* There is none, or it is empty, and yet there are bodies; says so. */
bool store_file_is_missed(const char *dir, struct buf *note);

/* Renames the data file to data.mdb.damaged-<n>; older such files are removed. */
enum err store_file_set_aside(const char *dir, struct buf *note);

/* What the one that is kept takes on the disk. */
uint64_t store_file_set_aside_bytes(const char *dir);

/* When anything of the data file was last changed, as the kernel says (nobody can set that time); 0: not known. */
uint64_t store_file_stamp(const char *dir);

/* The same of any file of the directory. */
uint64_t store_file_changed_ns(const char *dir, const char *name);

#define STORE_DATA_FILE   "data.mdb"
#define STORE_BODIES_FILE "bodies"
#define STORE_LOCK_FILE   "lock" /* not LMDB's own, which is lock.mdb */
#define STORE_MARKER_FILE "marker"

bool store_file_path(const char *dir, const char *name, char out_path[PATH_MAX]); /* false: too long */

/* Whose a store is: its data file's owner, or where there is none its directory's. */
struct store_owner {
    uid_t user;
    gid_t group;
};
struct store_owner store_file_owner(const char *dir);

/* What root makes in another's store becomes his: the files of the store that are root's, where this process is.
 * Nothing else in the directory, and no file that has another name, too: that one may have been put there. */
void store_file_give(const char *dir, struct store_owner owner);

/* Without the data file; another one, made meanwhile, takes its place where `replacement` is not NULL. */
enum err store_file_replace(const char *dir, const char *replacement);

/* What a kill left of such another one (STORE_COMPACT_FILE). */
void store_file_remove_copy(const char *dir);

/* ---- how the last process ended (store_marker.c) ---- */

enum last_stop {
    LAST_STOP_CLEAN,   /* closed */
    LAST_STOP_UNCLEAN, /* killed, crashed, or nothing is known */
    LAST_STOP_DAMAGED, /* the store had failed */
    LAST_STOP_CRASHES, /* crashed soon after its start, and the one before, too */
};

enum { STORE_MARKER_BYTES = 64 };

/* The marker as an open finds it. */
struct store_marker {
    enum last_stop last;
    uint64_t stamp; /* of the data file when the last process ended; 0: not known */
    char line[STORE_MARKER_BYTES];
    size_t len;
    struct timespec written;
};

/* Says what was found, and notes that a process runs. -1: no marker can be written; then the next open finds nothing or
 * an old one, which costs a probe and a check of the pages. */
int store_marker_open(const char *dir, struct store_marker *out_found);

/* The file those crashes were about is gone. `found` is forgotten, too. */
void store_marker_forgive(int fd, struct store_marker *found);

/* The open has failed: the marker is as it was found. Closes it; accepts fd -1. */
void store_marker_restore(int fd, const struct store_marker *found);

/* How it ended, and nothing is noted. */
enum last_stop store_marker_peek(const char *dir);

/* Was that the data file's doing, so that no open trusts it? Says why. */
bool store_marker_blames(enum last_stop last, struct buf *note);

void store_marker_write_crashed(int fd); /* in a signal handler */

/* When a process last opened or closed the store, as store_file_stamp has it. */
uint64_t store_marker_stamp(const char *dir);

/* A process ends that found the store DAMAGED or left it in order (CLEAN): then `stamp` says of which moment. Accepts
 * fd -1. */
void store_marker_close(int fd, enum last_stop how, uint64_t stamp);

/* ---- waiting for the disk once, and not for every page (store_ahead.c) ---- */

/* Brings the pages into memory that an open goes to, of a data file that store_file_check has found good. */
void store_read_ahead(const char *dir);

/* ---- the first open after an unclean stop (store_probe.c) ---- */

/* Opens the file in a child and goes where an open and a first batch would. False: that does not end well; says why. */
bool store_probe(const char *dir, uint64_t map_bytes, struct buf *note);

/* ---- LMDB's own pages (store_check.c) ---- */

enum tree_check {
    TREES_GOOD,
    TREES_DAMAGED,
    TREES_UNCHECKED, /* the budget did not suffice; no memory; broken off */
};

struct tree_limits {
    uint64_t pages;             /* of trees that are looked at; UINT64_MAX: all */
    bool values;                /* also the first page of each value that has its own: as many as the bodies' */
    const atomic_bool *give_up; /* may be set meanwhile, to break it off. NULL: nobody does */
};

/* Looks at every page of every tree of the file, whose meta pages must have been found good. Nobody may write: where
 * somebody does all the same, the answer is any of them, and that is all. */
enum tree_check store_check_trees(const char *dir, uint64_t file_pages, const struct tree_limits *limits);

#endif
