/* store_threshold.c: where should a body of a given length lie? Stores full of bodies of one length, in LMDB and in the
 * body file: what each costs in room, in the time to store it and to serve it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store.h"

enum { KIB = 1024, TURNOVERS = 3, ARENA_BYTES = 256 * 1024 };

static const unsigned lengths_kib[] = {4, 8, 12, 16, 20, 24, 32, 48, 64};

struct cost {
    double room; /* bytes of pages and blocks for a byte of a body */
    double store_us;
    double hit_us;
};

static size_t take(void *arg, const struct span *runs, size_t count) /* store_read_fn */
{
    size_t len = 0;

    for (size_t i = 0; i < count; i++) {
        len += runs[i].len;
    }
    *(uint64_t *)arg += len;
    return len;
}

/* As larder does it for an event loop: a find, then reads that do not wait, as far as the find had not all of it. */
static bool hit(struct store *store, struct store_reader *reader, uint64_t number, uint64_t body_len,
                struct arena *arena)
{
    struct headers request;
    struct stored stored;

    arena_reset(arena);
    headers_init(&request, arena);
    struct key key = bench_key(store, number, arena);
    if (store_find(reader, &key, &request, arena, &stored) != STORE_FOUND) {
        return false;
    }
    uint64_t got = stored.body_start.len;
    while (got < body_len) {
        struct store_cold cold;
        size_t used;
        uint64_t offset = stored.record.key_len + stored.record.head_len + got;
        enum err error =
            store_read_now(reader, stored.record.body_id, offset, body_len - got, take, &got, &used, &cold);
        if (error == ERR_COLD) {
            store_warm(store, &cold);
        }
        REQUIRE(error == ERR_OK || error == ERR_COLD);
    }
    if (stored.pinned) {
        store_unpin_stored(store, &stored.record);
    }
    return true;
}

/* The newest are there, whatever was evicted. Twice: what is read for the first time is checked. */
static double hit_us(struct bench_writer *writer, uint64_t body_len, uint64_t lookups)
{
    struct store_reader *reader = store_reader_create(writer->store);
    struct store_stats stats;
    uint64_t found = 0;
    uint64_t start = 0;
    struct arena arena;

    REQUIRE(reader != NULL);
    store_stats_of(writer->store, &stats);
    uint64_t newest = stats.objects / 2;
    arena_init(&arena, ARENA_BYTES);
    for (unsigned round = 0; round < 2; round++) {
        uint64_t state = 11;
        start = bench_cpu_ns();
        for (uint64_t i = 0; i < lookups; i++) {
            uint64_t number = writer->objects - 1 - bench_random(&state) % newest;
            found += hit(writer->store, reader, number, body_len, &arena);
        }
    }
    double ns = (double)(bench_cpu_ns() - start);
    REQUIRE(found == 2 * lookups);
    arena_finish(&arena);
    store_reader_destroy(reader);
    return ns / 1000 / (double)lookups;
}

static struct cost measure(const struct bench_options *options, uint64_t size_bytes, uint64_t body_len,
                           enum bench_place place)
{
    struct bench_writer writer;
    struct store_stats stats;
    char dir[BENCH_PATH_BYTES];
    uint64_t objects = 0;
    uint64_t start = 0;

    bench_dir_make(dir);
    struct store *store = bench_open(dir, size_bytes, BENCH_MEMORY);
    bench_writer_init(&writer, store);
    writer.place = place;
    while (writer.payload_bytes < TURNOVERS * size_bytes) {
        bench_put(&writer, writer.objects, body_len);
        if (start == 0 && writer.payload_bytes >= (TURNOVERS - 1) * size_bytes) { /* the store is full by then */
            start = bench_cpu_ns();
            objects = writer.objects;
        }
    }
    bench_flush(&writer);
    double store_us = (double)(bench_cpu_ns() - start) / 1000 / (double)(writer.objects - objects);
    store_stats_of(store, &stats);
    struct cost cost = {.store_us = store_us,
                        .hit_us = hit_us(&writer, body_len, options->lookups / 10),
                        .room = (double)(stats.used_bytes + stats.body_used_bytes) / (double)bench_live_bytes(store)};
    REQUIRE(writer.refused == 0);
    bench_writer_finish(&writer);
    store_close(store);
    bench_dir_remove(dir);
    return cost;
}

void bench_threshold(const struct bench_options *options)
{
    uint64_t size_bytes =
        options->size_bytes / 4 < ((uint64_t)128 << 20) ? (uint64_t)128 << 20 : options->size_bytes / 4;

    if (!bench_disk_has_room(options, size_bytes, "threshold")) {
        return;
    }
    printf("\n| body | room in LMDB / in the file, bytes a byte | to store, µs of CPU | a hit, µs of CPU |\n"
           "| ---: | ---: | ---: | ---: |\n");
    for (size_t i = 0; i < ARRAY_LEN(lengths_kib); i++) {
        uint64_t body_len = (uint64_t)lengths_kib[i] * KIB;
        struct cost lmdb = measure(options, size_bytes, body_len, BENCH_PLACE_LMDB);
        struct cost file = measure(options, size_bytes, body_len, BENCH_PLACE_FILE);
        printf("| %u KiB | %.3f / %.3f | %.1f / %.1f | %.1f / %.1f |\n", lengths_kib[i], lmdb.room, file.room,
               lmdb.store_us, file.store_us, lmdb.hit_us, file.hit_us);
        (void)fflush(stdout);
    }
}
