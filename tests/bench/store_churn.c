/* store_churn.c: a full store that goes on storing: how fast, how much is written for it, how much of it is of use. */
#include <inttypes.h>
#include <stdio.h>

#include "store.h"

enum { MIB = 1024 * 1024 };

static void print(struct bench_writer *writer, const struct bench_options *options, bool small_objects, const char *dir,
                  double seconds, double cpu_s, uint64_t written)
{
    double size = (double)options->size_bytes;
    double payload = (double)writer->payload_bytes;
    struct store_stats stats;

    store_stats_of(writer->store, &stats);
    bench_row("stored", "", "%" PRIu64 " objects, %.0f MiB, mean %.1f KB", writer->objects, payload / MIB,
              payload / (double)writer->objects / 1000);
    bench_row("ingest, MB/s", small_objects ? "" : "≥ 300 (2 GiB)", "%.0f", payload / 1e6 / seconds);
    bench_row("ingest, objects/s", small_objects ? "≥ 14000" : "", "%.0f", (double)writer->objects / seconds);
    bench_row("CPU, s per GB", "", "%.2f", cpu_s / (payload / 1e9));
    bench_row("commit p50 / p99 / max, ms", "≤ 20 / ≤ 60", "%.1f / %.1f / %.1f", bench_commit_ms(writer, 0.5),
              bench_commit_ms(writer, 0.99), bench_commit_ms(writer, 1));
    bench_row("written / stored bytes", small_objects ? "≤ 2.2" : "≤ 1.15", "%.3f", (double)written / payload);
    bench_row("files on the disk / size", "≤ 1", "%.3f", (double)bench_disk_bytes(dir) / size);
    bench_row("pages and blocks in use / size", "", "%.3f", (double)(stats.used_bytes + stats.body_used_bytes) / size);
    bench_row("bodies / size", small_objects ? "≥ 0.60" : "≥ 0.80", "%.3f",
              (double)bench_live_bytes(writer->store) / size);
    bench_row("objects, evictions", "", "%" PRIu64 ", %" PRIu64, stats.objects, stats.evictions);
    bench_row("refused batches", "0", "%" PRIu64, writer->refused);
}

void bench_churn(const struct bench_options *options, bool small_objects)
{
    double median = small_objects ? 4000 : 12000;
    double sigma = small_objects ? 1.2 : 2;
    uint64_t state = 1;
    struct bench_writer writer;
    char dir[BENCH_PATH_BYTES];
    char title[96];

    bench_dir_make(dir);
    struct store *store = bench_open(dir, options->size_bytes);
    bench_writer_init(&writer, store);
    uint64_t start = bench_now_ns();
    uint64_t cpu = bench_cpu_ns();
    uint64_t written = bench_written_bytes();
    for (uint64_t number = 0; writer.payload_bytes < options->size_bytes * options->turnovers; number++) {
        bench_put(&writer, number, bench_lognormal(&state, median, sigma, 20000000));
    }
    bench_flush(&writer);
    double seconds = (double)(bench_now_ns() - start) / 1e9;
    double cpu_s = (double)(bench_cpu_ns() - cpu) / 1e9;
    (void)snprintf(title, sizeof title, "churn, %s, %" PRIu64 " MiB, %" PRIu64 " turnovers",
                   small_objects ? "small objects" : "lognormal", options->size_bytes / MIB, options->turnovers);
    bench_head(title);
    print(&writer, options, small_objects, dir, seconds, cpu_s, bench_written_bytes() - written);
    bench_writer_finish(&writer);
    store_close(store);
    bench_dir_remove(dir);
}
