/* store.c: the store's benchmark: `./dev bench store [--full] [--size BYTES] … [churn|small|lookup|start|hits]...`
 *
 * README.md beside this says how to read it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/span.h"
#include "store.h"

#define MIB ((uint64_t)1024 * 1024)

static const struct bench_options quick = {
    .size_bytes = 128 * MIB, .turnovers = 10, .max_objects = 100000, .lookups = 200000, .requests = 60000};
static const struct bench_options full = {
    .size_bytes = 2048 * MIB, .turnovers = 10, .max_objects = 1000000, .lookups = 1000000, .requests = 600000};

static const struct {
    const char *name;
    size_t offset;
    uint64_t unit;
} numbers[] = {
    {"--size-mib", offsetof(struct bench_options, size_bytes), MIB},
    {"--turnovers", offsetof(struct bench_options, turnovers), 1},
    {"--objects", offsetof(struct bench_options, max_objects), 1},
    {"--lookups", offsetof(struct bench_options, lookups), 1},
    {"--requests", offsetof(struct bench_options, requests), 1},
};

static const char *const parts[] = {"churn", "small", "lookup", "start", "hits"};

static int usage(void)
{
    fputs("usage: bench_store [--full] [--size-mib N] [--turnovers N] [--objects N] [--lookups N] [--requests N] "
          "[churn|small|lookup|start|hits]...\n",
          stderr);
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
    struct bench_options options = quick;
    bool wanted[ARRAY_LEN(parts)] = {false};
    bool any = false;

    for (int i = 1; i < argc; i++) {
        bool known = strcmp(argv[i], "--full") == 0;
        options = known ? full : options;
        for (size_t part = 0; part < ARRAY_LEN(parts); part++) {
            if (strcmp(argv[i], parts[part]) == 0) {
                wanted[part] = any = known = true;
            }
        }
        if (!known && !read_number(&options, argv[i], argv[i + 1])) {
            return usage();
        }
        i += !known;
    }
    if (!any || wanted[0]) {
        bench_churn(&options, false);
    }
    if (!any || wanted[1]) {
        bench_churn(&options, true);
    }
    if (!any || wanted[2]) {
        bench_lookup(&options);
    }
    if (!any || wanted[3]) {
        bench_start(&options);
    }
    if (!any || wanted[4]) {
        bench_hits(&options);
    }
    return 0;
}
