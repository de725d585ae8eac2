/* store_lookup.c: what a look-up costs in stores of different sizes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cache/store_internal.h"
#include "store.h"

enum {
    FIRST_OBJECTS = 1000,
    BODY_BYTES = 100,
    BYTES_AN_OBJECT = 1400 /* in LMDB's file, more than it takes */,
    ARENA_BYTES = 65536
};

/* What is looked for of an object. */
enum part { FIND_HIT, FIND_MISS, RECORD };

/* Index and record, as a find reads them, without what follows: the pieces of head and body. */
struct record_call {
    struct store_reader *reader;
    const struct key *key;
    bool found;
};

static void on_record(void *arg) /* guarded_fn */
{
    struct record_call *call = arg;
    struct variant variant;
    struct record record;
    struct span variants;

    if (reader_begin(call->reader) == 0) {
        call->found = find_read_index(call->reader, call->key->hash, &variants) && variant_next(&variants, &variant) &&
                      find_read_record(call->reader, call->key, variant.object_id, &record);
        reader_end(call->reader);
    }
}

static bool look_for(struct store_reader *reader, enum part part, const struct key *key, struct arena *arena)
{
    struct record_call call = {.reader = reader, .key = key};
    struct headers request;
    struct stored stored;

    if (part == RECORD) {
        return guard_run(reader->store, on_record, &call) && call.found;
    }
    headers_init(&request, arena);
    return store_find(reader, key, &request, arena, &stored) == STORE_FOUND;
}

/* Microseconds a look-up; what is looked for must be there, but for misses. */
static double look_up(struct store *store, uint64_t objects, uint64_t lookups, enum part part)
{
    struct store_reader *reader = store_reader_create(store);
    uint64_t state = 7;
    uint64_t found = 0;
    struct arena arena;

    REQUIRE(reader != NULL);
    arena_init(&arena, ARENA_BYTES);
    uint64_t start = bench_cpu_ns();
    for (uint64_t i = 0; i < lookups; i++) {
        uint64_t number = bench_random(&state) % objects + (part == FIND_MISS ? objects : 0);
        arena_reset(&arena);
        struct key key = bench_key(store, number, &arena);
        found += look_for(reader, part, &key, &arena);
    }
    uint64_t all = bench_cpu_ns() - start;
    start = bench_cpu_ns();
    for (uint64_t i = 0; i < lookups; i++) {
        arena_reset(&arena);
        (void)bench_key(store, bench_random(&state) % objects, &arena); /* what it costs without the look-up */
    }
    uint64_t key_ns = bench_cpu_ns() - start;
    REQUIRE(found == (part == FIND_MISS ? 0 : lookups));
    arena_finish(&arena);
    store_reader_destroy(reader);
    return (double)(all > key_ns ? all - key_ns : 0) / (double)lookups / 1000;
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
    char label[80];
    uint64_t objects = 0;

    size_bytes = size_bytes < STORE_MIN_SIZE_BYTES ? STORE_MIN_SIZE_BYTES : size_bytes;
    if (!bench_disk_has_room(options, size_bytes, "lookup")) {
        return;
    }
    bench_dir_make(dir);
    struct store *store = bench_open(dir, size_bytes, BENCH_MEMORY);
    bench_writer_init(&writer, store);
    bench_head("look-up");
    for (uint64_t next = FIRST_OBJECTS; next <= options->max_objects;
         next = next == FIRST_OBJECTS ? bench_next_count(0, options->max_objects)
                                      : bench_next_count(next, options->max_objects)) {
        for (; objects < next; objects++) {
            bench_put(&writer, objects, BODY_BYTES);
        }
        bench_flush(&writer);
        (void)look_up(store, objects, options->lookups / 4, FIND_HIT); /* into memory */
        (void)snprintf(label, sizeof label, "%" PRIu64 " objects: index and record / hit / miss, µs of CPU", objects);
        bench_row(label,
                  objects >= 1000000         ? "≤ 2.5 / /"
                  : objects == FIRST_OBJECTS ? "≤ 0.5 / /"
                                             : "",
                  "%.2f / %.2f / %.2f", look_up(store, objects, options->lookups, RECORD),
                  look_up(store, objects, options->lookups, FIND_HIT),
                  look_up(store, objects, options->lookups, FIND_MISS));
    }
    REQUIRE(writer.refused == 0);
    bench_writer_finish(&writer);
    store_close(store);
    bench_dir_remove(dir);
}
