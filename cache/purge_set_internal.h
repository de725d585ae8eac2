/* purge_set_internal.h: what purge_set.c, purge_table.c and purge_judge.c share; for no one else.
 *
 * A table is filled in place while it has room: a slot gets its name last, sequences only grow, so a reader sees a row
 * whole or not at all. A larger or a trimmed one is built beside it and takes its place by one store (purge_set.c); the
 * old one is freed when every reader has been seen outside, or inside a later epoch. Threads: what is _Atomic is
 * written by the one thread that changes the set and read by any; the rest of a table does not change while readers
 * may see it, or is the writer's. */
#ifndef CACHE_PURGE_SET_INTERNAL_H
#define CACHE_PURGE_SET_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache/purge_set.h"

/* The purges of a name that is compared whole. */
struct purge_slot {
    _Atomic uint64_t name; /* hash; 0: free. Written last */
    _Atomic uint64_t hard; /* sequences; 0: none */
    _Atomic uint64_t soft;
    _Atomic int64_t soft_ms; /* when the soft one was asked for */
};

/* A prefix, a glob or a host suffix. */
struct purge_pattern {
    enum purge_kind kind;
    enum purge_mode mode;
    _Atomic uint64_t sequence;
    _Atomic int64_t time_ms;
    struct span text; /* behind the struct */
};

struct purge_table {
    struct purge_table *retired_next;
    uint64_t retired_at; /* epoch: readers that entered before it may be inside */
    size_t slot_count;   /* a power of two */
    size_t used;         /* the writer's */
    struct purge_slot *slots;
    _Atomic size_t pattern_count;
    struct purge_pattern *patterns[PURGE_SET_MAX_PATTERNS];
    _Atomic uint64_t newest[PURGE_KINDS]; /* sequence of each kind; 0: none */
};

struct purge_reader {
    struct purge_set *set;
    struct purge_reader *next;
    _Atomic uint64_t epoch; /* 0: outside */
};

struct purge_set {
    uint64_t secret;
    _Atomic uint64_t newest;
    _Atomic uint64_t trimmed; /* written before the table that lacks the rows takes its place */
    _Atomic(struct purge_table *) table;
    _Atomic uint64_t epoch;
    pthread_mutex_t mutex; /* guards the list of readers */
    struct purge_reader *readers;
    struct purge_table *retired; /* the writer's */
};

/* Is a purge of this name in the list of patterns, and not among the slots? */
bool purge_is_pattern(enum purge_kind kind, struct span name);

/* What a slot has for the name: never 0. */
uint64_t purge_name_hash(uint64_t secret, enum purge_kind kind, struct span name);

MUST_CHECK struct purge_table *purge_table_create(size_t slot_count); /* NULL: no memory */
void purge_table_destroy(struct purge_table *table);                  /* accepts NULL */

/* The slot of the name, or the free one where it would be. */
struct purge_slot *purge_table_slot(const struct purge_table *table, uint64_t name);

/* Appends to a table with room. False: no memory. */
MUST_CHECK bool purge_table_add_pattern(struct purge_table *table, const struct purge *purge);

/* A copy with `slot_count` slots and without the rows below the sequence `from`. NULL: no memory. */
MUST_CHECK struct purge_table *purge_table_copy(const struct purge_table *old, size_t slot_count, uint64_t from);

#endif
