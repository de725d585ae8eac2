/* store_hits.c: the hit ratio of the store's own eviction beside LRU and FIFO, on a trace with Zipf's popularity, in
 * which a part of the requests is for something that is never asked for again.
 *
 * The store runs for real; the other two are simulated with as many bytes of bodies as the store turned out to hold. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "store.h"

enum {
    OBJECTS = 40000,  /* of the catalogue; about 5 % of its bytes fit */
    WAITING_MAX = 64, /* misses in a batch */
    ARENA_BYTES = 1024 * 1024,
};
#define ALPHA      0.9
#define ONCE_SHARE 0.2
#define NOBODY     UINT32_MAX

struct request {
    uint32_t number;
    uint32_t bytes;
};

struct ratio {
    double objects;
    double bytes;
};

struct trace {
    struct request *requests;
    size_t count;
    uint32_t numbers; /* of the catalogue and the ones asked for once */
};

static struct trace make_trace(uint64_t count)
{
    struct trace trace = {.requests = malloc(count * sizeof(struct request)), .count = count, .numbers = OBJECTS};
    double *until = malloc(OBJECTS * sizeof(*until));
    double sum = 0;
    uint64_t state = 3;

    REQUIRE(trace.requests != NULL && until != NULL);
    for (size_t i = 0; i < OBJECTS; i++) {
        sum += 1 / pow((double)i + 1, ALPHA);
        until[i] = sum;
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t number = trace.numbers;
        if (bench_uniform(&state) < ONCE_SHARE) {
            trace.numbers++;
        } else {
            double at = bench_uniform(&state) * sum;
            size_t low = 0;
            size_t high = OBJECTS - 1;
            while (low < high) {
                size_t middle = (low + high) / 2;
                if (until[middle] < at) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            number = (uint32_t)low;
        }
        uint64_t size_state = number; /* an object has one size */
        trace.requests[i] =
            (struct request){.number = number, .bytes = (uint32_t)bench_lognormal(&size_state, 4000, 1.2, 1000000)};
    }
    free(until);
    return trace;
}

/* The first third warms. */
static void count(struct ratio *ratio, double totals[2], const struct trace *trace, size_t i, bool hit)
{
    if (i < trace->count / 3) {
        return;
    }
    totals[0]++;
    totals[1] += trace->requests[i].bytes;
    ratio->objects += hit;
    ratio->bytes += hit ? trace->requests[i].bytes : 0;
}

static struct ratio ratio_of(struct ratio sums, const double totals[2])
{
    return (struct ratio){.objects = sums.objects / totals[0], .bytes = sums.bytes / totals[1]};
}

/* ---- the store ---- */

static struct ratio run_store(const struct trace *trace, uint64_t *out_live)
{
    struct ratio sums = {0};
    double totals[2] = {0};
    uint32_t waiting[WAITING_MAX];
    size_t waiting_count = 0;
    struct bench_writer writer;
    char dir[BENCH_PATH_BYTES];
    struct headers request;
    struct stored stored;
    struct arena arena;

    bench_dir_make(dir);
    struct store *store = bench_open(dir, STORE_MIN_SIZE_BYTES, BENCH_MEMORY);
    struct store_reader *reader = store_reader_create(store);
    REQUIRE(reader != NULL);
    bench_writer_init(&writer, store);
    arena_init(&arena, ARENA_BYTES);
    for (size_t i = 0; i < trace->count; i++) {
        uint32_t number = trace->requests[i].number;
        bool hit = false;
        for (size_t j = 0; j < waiting_count && !hit; j++) {
            hit = waiting[j] == number; /* as in larder, served from memory until it is committed */
        }
        if (!hit) {
            arena_reset(&arena);
            headers_init(&request, &arena);
            struct key key = bench_key(store, number, &arena);
            hit = store_find(reader, &key, &request, &arena, &stored) == STORE_FOUND;
            if (hit && stored.pinned) {
                store_unpin(store, stored.record.body_id);
            }
            if (!hit) {
                bench_put(&writer, number, trace->requests[i].bytes);
                waiting[waiting_count++] = number;
            }
        }
        if (waiting_count == WAITING_MAX) {
            bench_flush(&writer);
            waiting_count = 0;
        }
        count(&sums, totals, trace, i, hit);
    }
    bench_flush(&writer);
    *out_live = bench_live_bytes(store);
    arena_finish(&arena);
    bench_writer_finish(&writer);
    store_reader_destroy(reader);
    store_close(store);
    bench_dir_remove(dir);
    return ratio_of(sums, totals);
}

/* ---- the others ---- */

struct entry {
    uint32_t newer;
    uint32_t older;
    uint32_t bytes; /* 0: not cached */
};

struct queue {
    struct entry *entries;
    uint32_t newest;
    uint32_t oldest;
    uint64_t bytes;
};

static void take_out(struct queue *queue, uint32_t number)
{
    struct entry *entry = &queue->entries[number];

    *(entry->newer == NOBODY ? &queue->newest : &queue->entries[entry->newer].older) = entry->older;
    *(entry->older == NOBODY ? &queue->oldest : &queue->entries[entry->older].newer) = entry->newer;
    queue->bytes -= entry->bytes;
    entry->bytes = 0;
}

static void put_first(struct queue *queue, uint32_t number, uint32_t bytes)
{
    queue->entries[number] = (struct entry){.newer = NOBODY, .older = queue->newest, .bytes = bytes};
    *(queue->newest == NOBODY ? &queue->oldest : &queue->entries[queue->newest].newer) = number;
    queue->newest = number;
    queue->bytes += bytes;
}

static struct ratio run_queue(const struct trace *trace, uint64_t capacity_bytes, bool lru)
{
    struct ratio sums = {0};
    double totals[2] = {0};
    struct queue queue = {.entries = calloc(trace->numbers, sizeof(struct entry)), .newest = NOBODY, .oldest = NOBODY};

    REQUIRE(queue.entries != NULL);
    for (size_t i = 0; i < trace->count; i++) {
        struct request request = trace->requests[i];
        bool hit = queue.entries[request.number].bytes > 0;

        if (hit && lru) {
            take_out(&queue, request.number);
        }
        if (!hit || lru) {
            put_first(&queue, request.number, request.bytes + 1);
        }
        while (queue.bytes > capacity_bytes) {
            take_out(&queue, queue.oldest);
        }
        count(&sums, totals, trace, i, hit);
    }
    free(queue.entries);
    return ratio_of(sums, totals);
}

void bench_hits(const struct bench_options *options)
{
    struct trace trace = make_trace(options->requests);
    uint64_t live;
    char title[128];

    struct ratio store = run_store(&trace, &live);
    struct ratio lru = run_queue(&trace, live, true);
    struct ratio fifo = run_queue(&trace, live, false);
    (void)snprintf(title, sizeof title,
                   "hits of objects / of bytes, %zu requests, Zipf %.1f, %.0f %% asked for once, %.0f MB of bodies",
                   trace.count, ALPHA, ONCE_SHARE * 100, (double)live / 1e6);
    bench_head(title);
    bench_row("the store (SIEVE)", "above LRU", "%.3f / %.3f", store.objects, store.bytes);
    bench_row("LRU", "", "%.3f / %.3f", lru.objects, lru.bytes);
    bench_row("FIFO", "", "%.3f / %.3f", fifo.objects, fifo.bytes);
    free(trace.requests);
}
