/* store_large.c: is a store that is many times as large as slow? Two stores, both turned over before anything is
 * measured; then they take turns, so that both meet the same machine. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "store.h"

enum { MIB = 1024 * 1024, ROUNDS = 5 };

static int compare(const void *a, const void *b)
{
    const double *left = a;
    const double *right = b;

    return (*left > *right) - (*left < *right);
}

/* False: the disk is fuller than it was. */
static bool fill(struct bench_churn *churn, const struct bench_options *options)
{
    uint64_t until = bench_now_ns() + options->seconds * 1000000000;
    (void)bench_churn_write(churn, churn->size_bytes * options->turnovers, until);

    if (churn->stopped != NULL) {
        printf("\n%" PRIu64 " MiB: %.1f turnovers of %" PRIu64 ": %s\n", churn->size_bytes / MIB,
               (double)churn->writer.payload_bytes / (double)churn->size_bytes, options->turnovers, churn->stopped);
    }
    return bench_disk_has_room(options, 0, "the rest of large");
}

static void end(struct bench_churn churns[2])
{
    for (unsigned i = 0; i < 2; i++) {
        bench_churn_end(&churns[i]);
    }
}

static void report(struct bench_churn churns[2], double rates[2][ROUNDS])
{
    char label[96];

    for (unsigned i = 0; i < 2; i++) {
        qsort(rates[i], ROUNDS, sizeof(rates[i][0]), compare);
        (void)snprintf(label, sizeof label, "%" PRIu64 " MiB after %.1f turnovers: ingest, MB/s, median (least, most)",
                       churns[i].size_bytes / MIB,
                       (double)churns[i].writer.payload_bytes / (double)churns[i].size_bytes);
        bench_row(label, i == 0 ? "≥ 450" : "", "%.0f (%.0f, %.0f)", rates[i][ROUNDS / 2], rates[i][0],
                  rates[i][ROUNDS - 1]);
        bench_row("its commits, p50 / p99 / max, ms", "≤ 20 / ≤ 60", "%.1f / %.1f / %.1f",
                  bench_commit_ms(&churns[i].writer, 0.5), bench_commit_ms(&churns[i].writer, 0.99),
                  bench_commit_ms(&churns[i].writer, 1));
        bench_row("its files on the disk / size", "≤ 1", "%.3f",
                  (double)bench_disk_bytes(churns[i].dir) / (double)churns[i].size_bytes);
        bench_row("its bodies / size", "≥ 0.80", "%.3f",
                  (double)bench_live_bytes(churns[i].store) / (double)churns[i].size_bytes);
        bench_row("its refused batches", "0", "%" PRIu64, churns[i].writer.refused);
    }
    bench_row("the large one's ingest beside the other's", "≥ 0.80", "%.2f",
              rates[1][ROUNDS / 2] / rates[0][ROUNDS / 2]);
}

void bench_large(const struct bench_options *options)
{
    uint64_t sizes[2] = {options->size_bytes, options->large_bytes};
    struct bench_churn churns[2];
    double rates[2][ROUNDS];

    if (!bench_disk_has_room(options, sizes[0] + sizes[1], "large")) {
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        bench_churn_begin(&churns[i], options, sizes[i], BENCH_MEMORY, false);
    }
    if (!fill(&churns[0], options) || !fill(&churns[1], options)) {
        end(churns);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        churns[i].writer.commit_count = 0; /* those of the rounds count */
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < 2; i++) {
            rates[i][round] = bench_churn_write(&churns[i], options->size_bytes, UINT64_MAX);
        }
    }
    bench_head("a large store beside a small one, in turns");
    report(churns, rates);
    end(churns);
}
