/* cache_tasks.h: what a worker of thread_cache.c does at one time, and what both files share: the cache under
 * test and its origin. */
#ifndef TESTS_THREADS_CACHE_TASKS_H
#define TESTS_THREADS_CACHE_TASKS_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache/cache.h"
#include "store_support.h"

enum {
    STORE_SIZE = 24 * 1024 * 1024, /* so small that it overflows */
    QUEUE = 1024 * 1024,
    WINDOW = 128 * 1024,
    WORKERS = 4,
    TASKS = 12, /* of a worker at one time */
    KEYS = 20,
    PERIOD = 65521, /* of a body's bytes: no multiple of anything the store knows */
    PIECE_MAX = 50000,
    ARENA_BYTES = 256 * 1024,
    DEFAULT_SECONDS = 4,
    PATIENCE = 2000, /* steps that a fetch waits for room */
};

/* What happened, of each kind how often. */
struct counts {
    _Atomic uint64_t found, found_in_flight, copied, followed, from_store, stored, broken_off, confirmed, invalidated,
        not_stored, look_again, alone, refused, failed_writes, wrong;
};

extern struct cache *cache;
extern struct counts counts;
extern _Atomic unsigned versions[KEYS]; /* the origin's */
extern _Atomic unsigned oldest[KEYS];   /* that may be served: set when an invalidation has returned */
extern char bytes_of_all[2 * PERIOD];   /* every body is a run of it, again and again */

enum task_kind { TASK_NONE, TASK_FETCH, TASK_FOLLOW, TASK_HELD };
enum plan { PLAN_STORE, PLAN_NOT_STORED, PLAN_BREAK_OFF, PLAN_TOO_LARGE, PLAN_REFUSE, PLAN_CONFIRM };

/* Something a worker does besides other things, a step at a time. */
struct task {
    enum task_kind kind;
    struct arena arena;
    unsigned number; /* of the key */
    unsigned version;
    unsigned minimum; /* versions before this one are gone for it */
    uint64_t at;      /* of the body */
    uint64_t len;
    struct party party;
    atomic_uint wakes;
    struct flight *flight;
    struct fill *fill;
    enum plan plan;
    bool leads; /* TASK_FOLLOW: gets whatever comes */
    bool begun; /* TASK_FETCH: the head was given */
    bool counted;
    unsigned waited;
    struct cached cached;
};

struct worker {
    pthread_t thread;
    uint64_t seed;
    struct cache_reader *reader;
    struct task tasks[TASKS];
};

/* What must not be, said and counted. */
void task_wrong(const struct task *task, const char *what);

unsigned random_below(struct worker *worker, unsigned limit);

/* Of the body of this version. */
uint64_t length_of(unsigned number, unsigned version);

/* party.wake */
void task_on_wake(struct party *party);

/* The version that a head names: "V: 12\r\n…". False: it is wrong. */
bool task_take_head(struct task *task, struct span head);

/* One that does nothing; NULL: all are busy. */
struct task *task_free(struct worker *worker);

/* Goes on with it, as far as it goes without waiting. */
void task_step(struct worker *worker, struct task *task);

/* Gives back what it holds; then it does nothing. */
void task_end(struct task *task);

#endif
