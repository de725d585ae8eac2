/* thread_purge.c: threads look up and fill while others purge, and the disk thread writes and deletes behind. Nobody
 * who begins a look-up after a purge has returned gets a version from before it. A plain program: ThreadSanitizer does
 * not run under Criterion. Usage: thread_purge [rounds] */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache/cache.h"
#include "cache/head.h"
#include "store_support.h"

enum { STORE_SIZE = 24 * 1024 * 1024, WORKERS = 3, KEYS = 16, DEFAULT_ROUNDS = 300, ARENA_BYTES = 1024 * 1024 };

static struct cache *cache;
static atomic_bool stop;
static _Atomic uint64_t versions[KEYS]; /* the origin's: what it answers with now */
static _Atomic uint64_t oldest[KEYS];   /* that may be served: set when a purge has returned */
static _Atomic uint64_t found, filled, wrong, durable;

static void on_wake(struct party *party)
{
    (void)party;
}

static void store_it(const struct key *key, struct http_request *request, unsigned number, struct arena *arena)
{
    struct party party = {.wake = on_wake};
    struct flight *flight = NULL;
    struct fill *fill = NULL;
    struct span fields;
    struct join_request join = {.key = key, .request = request, .wish = JOIN_WITHOUT_OTHERS, .arena = arena};

    if (cache_join(cache, &join, &party, &flight, &fill) != JOIN_ALONE) {
        return;
    }
    cache_fill_sent(fill);
    uint64_t version = atomic_load(&versions[number]); /* the origin makes it now */
    REQUIRE(arena_format(arena, &fields, "xkey: t%u all\r\nVersion: %llu\r\n", number, (unsigned long long)version));
    struct flight_head head = {.status = 200, .fields = fields, .record = {.status = 200, .inputs = {.status = 200}}};
    flight_set_store_reason(flight, REASON_STORED);
    if (cache_fill_head(fill, &head, true, UINT64_MAX, 0) == ERR_OK &&
        cache_fill_append(fill, SPAN("hello")) == ERR_OK) {
        cache_fill_complete(fill, SPAN(""));
        atomic_fetch_add(&filled, 1);
    } else {
        cache_fill_fail(fill, ERR_NO_MEMORY);
    }
    flight_unref(flight);
}

static void look(struct cache_reader *reader, unsigned number, struct arena *arena)
{
    struct http_request request = {.method = METHOD_GET, .method_name = SPAN_INIT("GET"), .minor = 1};
    struct headers headers;
    struct cached cached;
    struct key key;
    uint64_t generation;
    uint64_t version = 0;

    headers_init(&request.headers, arena);
    REQUIRE(arena_format(arena, &key.text, "GET http://test.example/%u", number));
    key.hash = key_hash_of(key.text, cache_secret(cache));
    uint64_t minimum = atomic_load(&oldest[number]);
    if (cache_find(reader, &key, &request.headers, arena, &cached, &generation) != STORE_FOUND) {
        store_it(&key, &request, number, arena);
        return;
    }
    if (head_read(cached.stored.head, arena, &headers) != ERR_OK ||
        !span_to_u64(headers_value(&headers, SPAN("Version")), &version) || version < minimum) {
        if (atomic_fetch_add(&wrong, 1) < 10) {
            fprintf(stderr, "key %u: version %llu after a purge of all before %llu\n", number,
                    (unsigned long long)version, (unsigned long long)minimum);
        }
    }
    atomic_fetch_add(&found, 1);
    cached_finish(cache, &cached);
}

static void *run_worker(void *arg)
{
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    struct cache_reader *reader = cache_reader_create(cache);
    struct arena arena;

    REQUIRE(reader != NULL);
    arena_init(&arena, ARENA_BYTES);
    while (!atomic_load(&stop)) {
        look(reader, (unsigned)(support_random(&seed) % KEYS), &arena);
        arena_reset(&arena);
    }
    arena_finish(&arena);
    cache_reader_destroy(reader);
    return NULL;
}

static void *run_disk(void *arg)
{
    struct timespec until;

    (void)arg;
    do {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        (void)cache_write(cache);
    } while (cache_wait(cache, WAIT_FOR_WORK, &until));
    return NULL;
}

static void on_purged(void *arg, uint64_t sequence, enum err error) /* cache_purged_fn */
{
    (void)arg;
    (void)sequence;
    atomic_fetch_add(&durable, error == ERR_OK ? 1 : 0);
}

/* A new version of one key or of all, then the purge that says so. */
static void purge_some(uint64_t *seed)
{
    unsigned number = (unsigned)(support_random(seed) % KEYS);
    bool all = support_random(seed) % 16 == 0;
    char name[64];
    struct purge purge = {.mode = PURGE_HARD};

    switch (support_random(seed) % 4) {
    case 0:
        purge.kind = PURGE_URL;
        snprintf(name, sizeof(name), "http://test.example/%u", number);
        break;
    case 1:
        purge.kind = PURGE_GLOB;
        snprintf(name, sizeof(name), "*example/%u", number);
        break;
    default:
        purge.kind = PURGE_TAG;
        snprintf(name, sizeof(name), all ? "all" : "t%u", number);
        number = all && purge.kind == PURGE_TAG ? KEYS : number;
        break;
    }
    purge.name = span_of(name);
    for (unsigned i = 0; i < KEYS; i++) {
        if (i == number || number == KEYS) {
            atomic_fetch_add(&versions[i], 1);
        }
    }
    uint64_t now[KEYS];
    for (unsigned i = 0; i < KEYS; i++) {
        now[i] = atomic_load(&versions[i]);
    }
    REQUIRE(cache_purge(cache, &purge, 1, on_purged, NULL) == ERR_OK);
    for (unsigned i = 0; i < KEYS; i++) {
        if (i == number || number == KEYS) {
            atomic_store(&oldest[i], now[i]);
        }
    }
}

int main(int argc, char **argv)
{
    char dir[SUPPORT_PATH_BYTES];
    struct cache_options options = {
        .store = {.dir = dir, .size_bytes = STORE_SIZE, .max_variants = 4},
        .write_queue_bytes = 1024 * 1024,
        .window_bytes = 128 * 1024,
        .hot_bytes = 1024 * 1024,
    };
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : DEFAULT_ROUNDS;
    pthread_t workers[WORKERS];
    pthread_t disk;
    struct buf note;
    uint64_t seed = 42;

    support_dir_make(dir);
    buf_init(&note, 1024);
    REQUIRE(cache_open(&options, &cache, &note) == ERR_OK);
    buf_finish(&note);
    REQUIRE(pthread_create(&disk, NULL, run_disk, NULL) == 0);
    for (uintptr_t i = 0; i < WORKERS; i++) {
        REQUIRE(pthread_create(&workers[i], NULL, run_worker, (void *)(i + 1)) == 0);
    }
    for (unsigned i = 0; i < rounds; i++) {
        uint64_t before = atomic_load(&found);
        purge_some(&seed);
        while (atomic_load(&found) < before + KEYS) { /* something was found in between */
            sched_yield();
        }
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < WORKERS; i++) {
        pthread_join(workers[i], NULL);
    }
    cache_stop_writes(cache);
    pthread_join(disk, NULL);
    cache_close(cache);
    support_dir_remove(dir);
    printf("purges %u durable %llu found %llu filled %llu wrong %llu\n", rounds, (unsigned long long)durable,
           (unsigned long long)found, (unsigned long long)filled, (unsigned long long)wrong);
    return wrong == 0 && durable == rounds ? 0 : 1;
}
