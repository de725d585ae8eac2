/* sieve.c: a set-associative table of tags.
 *
 * Why tags and not a bit per id: under SIEVE popular ids live for ever, so that the range of live ids grows without
 * bound while the number of objects does not. A tag table has a fixed size and costs one cache line a look-up.
 *
 * All accesses are relaxed: a mark that is lost or set twice in a race costs a little hit ratio, never correctness. */
#include "cache/sieve.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    WAYS = 16,
    CACHE_LINE_BYTES = 64,
    SLOTS_AN_OBJECT = 2, /* at load one half hardly any line overflows */
};

struct line {
    alignas(CACHE_LINE_BYTES) _Atomic uint32_t tags[WAYS]; /* 0: free */
};

struct sieve {
    void *memory;       /* that they lie in */
    struct line *lines; /* on cache lines' bounds */
    uint64_t mask;      /* number of lines, a power of two, less one */
};

struct place {
    struct line *line;
    uint32_t tag;
    unsigned fallback; /* the way that is overwritten when the line is full */
};

static struct place place_of(struct sieve *sieve, uint64_t object_id);

struct sieve *sieve_create(uint64_t expected_objects)
{
    uint64_t line_count = 1;

    while (line_count * WAYS < expected_objects * SLOTS_AN_OBJECT) {
        line_count *= 2;
    }
    struct sieve *sieve = calloc(1, sizeof(*sieve));
    if (sieve == NULL) {
        return NULL;
    }
    /* Zeroed by the kernel, page by page as they are needed: up to 128 MiB are not written to at every start. */
    sieve->memory = calloc(line_count + 1, sizeof(struct line));
    if (sieve->memory == NULL) {
        free(sieve);
        return NULL;
    }
    uintptr_t at = (uintptr_t)sieve->memory;
    sieve->lines = (struct line *)(void *)((char *)sieve->memory + (CACHE_LINE_BYTES - at % CACHE_LINE_BYTES));
    sieve->mask = line_count - 1;
    return sieve;
}

void sieve_destroy(struct sieve *sieve)
{
    if (sieve != NULL) {
        free(sieve->memory);
        free(sieve);
    }
}

void sieve_mark(struct sieve *sieve, uint64_t object_id)
{
    struct place place = place_of(sieve, object_id);
    unsigned way = place.fallback;

    for (unsigned i = 0; i < WAYS; i++) {
        uint32_t tag = atomic_load_explicit(&place.line->tags[i], memory_order_relaxed);
        if (tag == place.tag) {
            return; /* a hit on a marked object writes nothing: no cache line moves between cores */
        }
        if (tag == 0) {
            way = i;
        }
    }
    atomic_store_explicit(&place.line->tags[way], place.tag, memory_order_relaxed);
}

bool sieve_take_mark(struct sieve *sieve, uint64_t object_id)
{
    struct place place = place_of(sieve, object_id);
    bool marked = false;

    /* All ways: two threads may have stored the same tag at once. */
    for (unsigned i = 0; i < WAYS; i++) {
        if (atomic_load_explicit(&place.line->tags[i], memory_order_relaxed) == place.tag) {
            atomic_store_explicit(&place.line->tags[i], 0, memory_order_relaxed);
            marked = true;
        }
    }
    return marked;
}

bool sieve_is_marked(struct sieve *sieve, uint64_t object_id)
{
    struct place place = place_of(sieve, object_id);

    for (unsigned i = 0; i < WAYS; i++) {
        if (atomic_load_explicit(&place.line->tags[i], memory_order_relaxed) == place.tag) {
            return true;
        }
    }
    return false;
}

static struct place place_of(struct sieve *sieve, uint64_t object_id)
{
    /* Ids are consecutive: multiply and fold so that neighbours fall into unrelated lines. */
    uint64_t hash = object_id * UINT64_C(0x9E3779B97F4A7C15);

    hash ^= hash >> 32;
    hash *= UINT64_C(0xD6E8FEB86659FD93);
    hash ^= hash >> 32;

    uint32_t tag = (uint32_t)(hash >> 32);
    return (struct place){
        .line = &sieve->lines[hash & sieve->mask],
        .tag = tag == 0 ? 1 : tag,
        .fallback = (unsigned)(tag % WAYS),
    };
}
