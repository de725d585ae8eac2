/* store.c: the store's benchmark: `./dev bench store [--full] [--size-mib N] … [PART]...`
 *
 * README.md beside this says how to read it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/span.h"
#include "store.h"

#define MIB ((uint64_t)1024 * 1024)
#define GIB (1024 * MIB)

static const struct bench_options quick = {.size_bytes = 128 * MIB,
                                           .turnovers = 10,
                                           .large_bytes = 512 * MIB,
                                           .memory_bytes = 128 * MIB,
                                           .max_objects = 100000,
                                           .lookups = 200000,
                                           .requests = 60000,
                                           .seconds = 540,
                                           .keep_bytes = 20 * GIB};
static const struct bench_options full = {.size_bytes = 2 * GIB,
                                          .turnovers = 10,
                                          .large_bytes = 16 * GIB,
                                          .memory_bytes = 1 * GIB,
                                          .max_objects = 1000000,
                                          .lookups = 1000000,
                                          .requests = 600000,
                                          .seconds = 540,
                                          .keep_bytes = 20 * GIB};

static const struct {
    const char *name;
    size_t offset;
    uint64_t unit;
} numbers[] = {
    {"--size-mib", offsetof(struct bench_options, size_bytes), MIB},
    {"--turnovers", offsetof(struct bench_options, turnovers), 1},
    {"--large-mib", offsetof(struct bench_options, large_bytes), MIB},
    {"--memory-mib", offsetof(struct bench_options, memory_bytes), MIB},
    {"--objects", offsetof(struct bench_options, max_objects), 1},
    {"--lookups", offsetof(struct bench_options, lookups), 1},
    {"--requests", offsetof(struct bench_options, requests), 1},
    {"--seconds", offsetof(struct bench_options, seconds), 1},
    {"--keep-free-mib", offsetof(struct bench_options, keep_bytes), MIB},
};

static const struct {
    const char *name;
    void (*run)(const struct bench_options *options);
    bool only_full; /* or by its name */
} parts[] = {
    {"churn", bench_churn, false},  {"small", bench_small, false}, {"lookup", bench_lookup, false},
    {"start", bench_start, false},  {"hits", bench_hits, false},   {"threshold", bench_threshold, true},
    {"memory", bench_memory, true}, {"large", bench_large, true},
};

static int usage(void)
{
    fputs("usage: bench_store [--full]", stderr);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        fprintf(stderr, " [%s N]", numbers[i].name);
    }
    fputs(" [PART]...\nparts:", stderr);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        fprintf(stderr, " %s", parts[i].name);
    }
    fputs("\n", stderr);
    return 2;
}

/* "--name value"; false where it is none of them. */
static bool read_number(struct bench_options *options, const char *name, const char *value)
{
    uint64_t number;

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (strcmp(name, numbers[i].name) == 0 && value != NULL && span_to_u64(span_of(value), &number) && number > 0) {
            *(uint64_t *)(void *)((char *)options + numbers[i].offset) = number * numbers[i].unit;
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    struct bench_options options;
    bool wanted[ARRAY_LEN(parts)] = {false};
    bool any = false;
    bool all = false;

    for (int i = 1; i < argc; i++) { /* first: what follows it changes its numbers */
        all = all || strcmp(argv[i], "--full") == 0;
    }
    options = all ? full : quick;
    for (int i = 1; i < argc; i++) {
        bool known = strcmp(argv[i], "--full") == 0;
        for (size_t part = 0; part < ARRAY_LEN(parts); part++) {
            if (strcmp(argv[i], parts[part].name) == 0) {
                wanted[part] = any = known = true;
            }
        }
        if (!known && !read_number(&options, argv[i], argv[i + 1])) {
            return usage();
        }
        i += !known;
    }
    for (size_t part = 0; part < ARRAY_LEN(parts); part++) {
        if (any ? wanted[part] : all || !parts[part].only_full) {
            parts[part].run(&options);
        }
    }
    return 0;
}
