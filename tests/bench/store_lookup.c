/* store_lookup.c: what a look-up costs in stores of different sizes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store.h"

enum { BODY_BYTES = 100, BYTES_AN_OBJECT = 1400 /* in LMDB's file, more than it takes */, ARENA_BYTES = 65536 };

/* Nanoseconds a look-up; every `found` of them must be there. */
static double look_up(struct store *store, uint64_t objects, uint64_t lookups, bool there)
{
    struct store_reader *reader = store_reader_create(store);
    uint64_t state = 7;
    uint64_t found = 0;
    struct headers request;
    struct stored stored;
    struct arena arena;

    REQUIRE(reader != NULL);
    arena_init(&arena, ARENA_BYTES);
    uint64_t start = bench_cpu_ns();
    for (uint64_t i = 0; i < lookups; i++) {
        uint64_t number = bench_random(&state) % objects + (there ? 0 : objects);
        arena_reset(&arena);
        headers_init(&request, &arena);
        struct key key = bench_key(store, number, &arena);
        found += store_find(reader, &key, &request, &arena, &stored) == STORE_FOUND;
    }
    uint64_t all = bench_cpu_ns() - start;
    start = bench_cpu_ns();
    for (uint64_t i = 0; i < lookups; i++) {
        arena_reset(&arena);
        (void)bench_key(store, bench_random(&state) % objects, &arena); /* what it costs without the look-up */
    }
    uint64_t key_ns = bench_cpu_ns() - start;
    REQUIRE(found == (there ? lookups : 0));
    arena_finish(&arena);
    store_reader_destroy(reader);
    return (double)(all > key_ns ? all - key_ns : 0) / (double)lookups;
}

/* LMDB's file gets as much of a store as it needs, up to seven eighths (store_border.c). */
static uint64_t size_for(uint64_t objects)
{
    return 2 * objects * BYTES_AN_OBJECT;
}

void bench_lookup(const struct bench_options *options)
{
    uint64_t size_bytes = size_for(options->max_objects);
    char dir[BENCH_PATH_BYTES];
    struct bench_writer writer;
    char label[64];
    uint64_t objects = 0;

    size_bytes = size_bytes < STORE_MIN_SIZE_BYTES ? STORE_MIN_SIZE_BYTES : size_bytes;
    if (!bench_disk_has_room(options, size_bytes, "lookup")) {
        return;
    }
    bench_dir_make(dir);
    struct store *store = bench_open(dir, size_bytes, BENCH_MEMORY);
    bench_writer_init(&writer, store);
    bench_head("look-up");
    for (uint64_t next = bench_next_count(0, options->max_objects); next <= options->max_objects;
         next = bench_next_count(next, options->max_objects)) {
        for (; objects < next; objects++) {
            bench_put(&writer, objects, BODY_BYTES);
        }
        bench_flush(&writer);
        (void)look_up(store, objects, options->lookups / 4, true); /* into memory */
        (void)snprintf(label, sizeof label, "%" PRIu64 " objects: hit / miss, µs of CPU", objects);
        bench_row(label, objects >= 1000000 ? "≤ 2.5 (without body)" : "", "%.2f / %.2f",
                  look_up(store, objects, options->lookups, true) / 1000,
                  look_up(store, objects, options->lookups, false) / 1000);
    }
    REQUIRE(writer.refused == 0);
    bench_writer_finish(&writer);
    store_close(store);
    bench_dir_remove(dir);
}
