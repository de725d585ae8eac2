/* heavy.c: see heavy.h. */
#include "proxy/observe/heavy.h"

#include <stdlib.h>

/* Hashes and weights of a set lie together: finding a key touches two cache lines and its row. Weight 0: no row. */
struct set {
    uint64_t hashes[HEAVY_WAYS];
    uint64_t weights[HEAVY_WAYS];
};

struct heavy {
    size_t set_count;
    size_t key_max_bytes;
    size_t stride; /* bytes from row to row */
    struct set *sets;
    char *rows;
    struct heavy_counts rest;
};

struct heavy *heavy_create(size_t rows, size_t key_max_bytes)
{
    struct heavy *heavy = calloc(1, sizeof(*heavy));

    REQUIRE(rows > 0 && rows % HEAVY_WAYS == 0);
    if (heavy == NULL) {
        return NULL;
    }
    heavy->set_count = rows / HEAVY_WAYS;
    heavy->key_max_bytes = key_max_bytes;
    heavy->stride = (sizeof(struct heavy_row) + key_max_bytes + 7) / 8 * 8;
    heavy->sets = calloc(heavy->set_count, sizeof(struct set));
    heavy->rows = calloc(rows, heavy->stride);
    if (heavy->sets == NULL || heavy->rows == NULL) {
        heavy_destroy(heavy);
        return NULL;
    }
    return heavy;
}

void heavy_destroy(struct heavy *heavy)
{
    if (heavy != NULL) {
        free(heavy->sets);
        free(heavy->rows);
        free(heavy);
    }
}

void heavy_clear(struct heavy *heavy)
{
    memset(heavy->sets, 0, heavy->set_count * sizeof(struct set));
    heavy->rest = (struct heavy_counts){0};
}

static struct heavy_row *row_at(const struct heavy *heavy, size_t set, size_t way)
{
    return (struct heavy_row *)(void *)(heavy->rows + (set * HEAVY_WAYS + way) * heavy->stride);
}

struct heavy_counts *heavy_count(struct heavy *heavy, struct span key, uint64_t hash, uint64_t weight)
{
    size_t index = hash % heavy->set_count;
    struct set *set = &heavy->sets[index];
    struct heavy_row *row;
    size_t lightest = 0;

    key = span_take(key, heavy->key_max_bytes);
    for (size_t way = 0; way < HEAVY_WAYS; way++) {
        if (set->hashes[way] == hash && set->weights[way] > 0) {
            row = row_at(heavy, index, way);
            if (span_equal(key, (struct span){row->key, row->key_len})) {
                set->weights[way] += weight;
                return &row->counts;
            }
        }
        lightest = set->weights[way] < set->weights[lightest] ? way : lightest;
    }
    row = row_at(heavy, index, lightest);
    if (set->weights[lightest] > 0) {
        heavy_add(&heavy->rest, &row->counts);
    }
    row->counts = (struct heavy_counts){0};
    row->inherited = set->weights[lightest];
    row->key_len = key.len;
    if (key.len > 0) {
        memcpy(row->key, key.data, key.len);
    }
    set->hashes[lightest] = hash;
    set->weights[lightest] += weight;
    return &row->counts;
}

void heavy_merge(struct heavy *to, const struct heavy *from)
{
    for (size_t index = 0; index < from->set_count; index++) {
        const struct set *set = &from->sets[index];
        for (size_t way = 0; way < HEAVY_WAYS; way++) {
            const struct heavy_row *row = row_at(from, index, way);
            if (set->weights[way] > 0) {
                struct span key = {row->key, row->key_len};
                heavy_add(heavy_count(to, key, set->hashes[way], set->weights[way] - row->inherited), &row->counts);
            }
        }
    }
    heavy_add(&to->rest, &from->rest);
}

void heavy_each(const struct heavy *heavy, heavy_fn fn, void *arg)
{
    for (size_t index = 0; index < heavy->set_count; index++) {
        for (size_t way = 0; way < HEAVY_WAYS; way++) {
            if (heavy->sets[index].weights[way] > 0 && !fn(arg, row_at(heavy, index, way))) {
                return;
            }
        }
    }
}

struct heavy_counts heavy_rest(const struct heavy *heavy)
{
    return heavy->rest;
}

void heavy_add_rest(struct heavy *heavy, const struct heavy_counts *counts)
{
    heavy_add(&heavy->rest, counts);
}
