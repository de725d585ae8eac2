/* thread_store.c: readers hammer the store while one thread stores, replaces, freshens, removes and evicts. Every byte
 * read must be one that was stored under that key, in one version. With "large" most bodies lie in the body file, with
 * "border" the border between it and LMDB's file moves meanwhile. A plain program: ThreadSanitizer does not run under
 * Criterion. Usage: thread_store [seconds [large|border]] */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store_support.h"

enum {
    SIZE = 24 * 1024 * 1024,
    LARGE_SIZE = 128 * 1024 * 1024, /* the smallest store with a body file */
    LARGE_FACTOR = 8,               /* bodies are so much longer there */
    READERS = 3,
    NUMBERS = 200, /* fewer than fit: so that objects are replaced while they are read; sizes make the store overflow */
    HELD_PINS = 8, /* a reader */
    DEFAULT_SECONDS = 1,    /* at least */
    MOST_SECONDS = 1000,    /* a slow disk under sanitizers gets there all the same */
    ENOUGH_EVICTIONS = 100, /* the test is about readers under a writer that evicts */
    ENOUGH_MOVES = 3,       /* of the border */
    FLOOD_OBJECTS = 100,    /* a batch, of FLOOD_BYTES */
    FLOOD_BYTES = 6000,
    OTHER_BATCHES = 60, /* of what the readers ask for, then floods for the rest of a round */
    ROUND_BATCHES = 200,
};

struct shared {
    struct store *store;
    size_t factor;
    atomic_bool stop;
    _Atomic uint64_t good;
    _Atomic uint64_t pinned;
    _Atomic uint64_t absent;
    _Atomic uint64_t wrong;
};

struct reader_thread {
    struct shared *shared;
    uint64_t seed;
    pthread_t thread;
};

/* A pinned response that is read later: what happens to it meanwhile must not be seen. */
struct held {
    struct arena arena;
    struct stored stored;
    unsigned number;
    bool used;
};

static void verify_held(struct shared *shared, struct store_reader *reader, struct held *held)
{
    unsigned version;
    enum err error;

    if (!held->used) {
        return;
    }
    if (!support_verify(reader, &held->stored, held->number, &version, &error) || error != ERR_OK) {
        fprintf(stderr, "object %u: wrong bytes, or a pinned body that ends: %s\n", held->number, err_name(error));
        atomic_fetch_add(&shared->wrong, 1);
    }
    atomic_fetch_add(&shared->good, 1);
    if (held->stored.pinned) {
        atomic_fetch_add(&shared->pinned, 1);
        store_unpin(shared->store, held->stored.record.body_id);
    }
    arena_reset(&held->arena);
    held->used = false;
}

static void *run_reader(void *arg)
{
    struct reader_thread *self = arg;
    struct shared *shared = self->shared;
    struct store_reader *reader = store_reader_create(shared->store);
    struct held held[HELD_PINS] = {0};

    REQUIRE(reader != NULL);
    for (size_t i = 0; i < HELD_PINS; i++) {
        arena_init(&held[i].arena, SUPPORT_ARENA_BYTES);
    }
    while (!atomic_load(&shared->stop)) {
        struct held *slot = &held[support_random(&self->seed) % HELD_PINS];

        verify_held(shared, reader, slot);
        slot->number = (unsigned)(support_random(&self->seed) % NUMBERS);
        slot->used =
            support_find(reader, shared->store, slot->number, NULL, &slot->arena, &slot->stored) == STORE_FOUND;
        if (!slot->used) {
            atomic_fetch_add(&shared->absent, 1);
            arena_reset(&slot->arena);
        }
    }
    for (size_t i = 0; i < HELD_PINS; i++) {
        verify_held(shared, reader, &held[i]);
        arena_finish(&held[i].arena);
    }
    store_reader_destroy(reader);
    return NULL;
}

/* Some of the writer's objects are large, so that deletion in slices is met too. */
static void write_some(struct shared *shared, uint64_t *seed)
{
    struct support_object object = {.number = (unsigned)(support_random(seed) % NUMBERS),
                                    .version = (unsigned)(support_random(seed) & 0xffff),
                                    .body_len = support_random(seed) % 40000};
    uint64_t choice = support_random(seed) % 40;

    if (choice == 0) {
        object.body_len += 3000000;
    } else if (choice < 8) {
        object.body_len += 200000;
    }
    object.body_len *= shared->factor;
    enum err error = support_put(shared->store, &object, NULL, NULL);
    if (choice == 39) {
        error = error == ERR_OK ? support_remove(shared->store, (unsigned)(support_random(seed) % NUMBERS)) : error;
    }
    if (store_wants_apply(shared->store) && choice % 2 == 0) {
        error = error == ERR_OK ? store_apply(shared->store, NULL, 0) : error;
    }
    /* A store full of bodies that are being sent may refuse; nothing else may go wrong. */
    if (error != ERR_OK && error != ERR_NO_SPACE) {
        fprintf(stderr, "the writer: %s\n", err_name(error));
        atomic_fetch_add(&shared->wrong, 1);
    }
}

/* Small objects that nobody asks for: LMDB's file needs more room than it has. */
static void flood(struct shared *shared, unsigned *number)
{
    struct support_object objects[FLOOD_OBJECTS];

    for (unsigned i = 0; i < FLOOD_OBJECTS; i++) {
        objects[i] = (struct support_object){.number = NUMBERS + *number, .version = 1, .body_len = FLOOD_BYTES};
        *number += 1;
    }
    enum err error = support_put_many(shared->store, objects, FLOOD_OBJECTS);
    if (error != ERR_OK && error != ERR_NO_SPACE) {
        fprintf(stderr, "the flood: %s\n", err_name(error));
        atomic_fetch_add(&shared->wrong, 1);
    }
}

/* Returns how often the border was moved. */
static unsigned write_until(struct shared *shared, bool border, time_t end)
{
    struct store_stats stats;
    uint64_t seed = 42;
    unsigned number = 0;
    unsigned moves = 0;

    store_stats_of(shared->store, &stats);
    for (unsigned i = 0;; i++) {
        bool enough = stats.evictions >= ENOUGH_EVICTIONS && (!border || (moves >= ENOUGH_MOVES && i > ROUND_BATCHES));
        if (time(NULL) >= end && (enough || time(NULL) >= end + MOST_SECONDS)) {
            return moves;
        }
        uint64_t length = stats.body_size_bytes;
        if (border && i % ROUND_BATCHES >= OTHER_BATCHES) {
            flood(shared, &number);
        } else {
            write_some(shared, &seed);
        }
        store_stats_of(shared->store, &stats);
        moves += stats.body_size_bytes != length;
    }
}

int main(int count, char **arguments)
{
    char dir[SUPPORT_PATH_BYTES];
    struct shared shared = {0};
    struct reader_thread readers[READERS];
    struct store_stats stats;
    time_t end = time(NULL) + (count > 1 ? atoi(arguments[1]) : DEFAULT_SECONDS);

    bool large = count > 2;
    bool border = large && strcmp(arguments[2], "border") == 0;
    support_dir_make(dir);
    shared.factor = large ? LARGE_FACTOR : 1;
    shared.store = support_open(dir, large ? LARGE_SIZE : SIZE);
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader_thread){.shared = &shared, .seed = i};
        REQUIRE(pthread_create(&readers[i].thread, NULL, run_reader, &readers[i]) == 0);
    }
    unsigned moves = write_until(&shared, border, end);
    atomic_store(&shared.stop, true);
    for (unsigned i = 0; i < READERS; i++) {
        REQUIRE(pthread_join(readers[i].thread, NULL) == 0);
    }
    bool settled = support_settle(shared.store) == ERR_OK;
    store_stats_of(shared.store, &stats);
    store_close(shared.store);
    support_dir_remove(dir);
    printf("good=%llu pinned=%llu absent=%llu wrong=%llu commits=%llu evictions=%llu errors=%llu left=%llu moves=%u\n",
           (unsigned long long)shared.good, (unsigned long long)shared.pinned, (unsigned long long)shared.absent,
           (unsigned long long)shared.wrong, (unsigned long long)stats.commits, (unsigned long long)stats.evictions,
           (unsigned long long)stats.commit_errors, (unsigned long long)stats.reclaim_bodies, moves);
    bool worked = shared.good > 0 && shared.pinned > 0 && stats.evictions > 0 && large == (stats.body_used_bytes > 0) &&
                  (!border || moves > 0);
    return settled && worked && shared.wrong == 0 && stats.reclaim_bodies == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
