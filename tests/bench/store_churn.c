/* store_churn.c: a full store that goes on storing: how fast, how much is written for it, how much of it is of use. */
#include <inttypes.h>
#include <stdio.h>

#include "store.h"

enum { MIB = 1024 * 1024, LARGEST_BODY = 20000000, LOOK_EVERY = 1024 /* objects */ };

void bench_churn_begin(struct bench_churn *churn, const struct bench_options *options, uint64_t size_bytes,
                       uint64_t memory_bytes, bool small_objects)
{
    *churn =
        (struct bench_churn){.options = options, .size_bytes = size_bytes, .small_objects = small_objects, .state = 1};
    bench_dir_make(churn->dir);
    churn->store = bench_open(churn->dir, size_bytes, memory_bytes);
    bench_writer_init(&churn->writer, churn->store);
}

void bench_churn_end(struct bench_churn *churn)
{
    bench_writer_finish(&churn->writer);
    store_close(churn->store);
    bench_dir_remove(churn->dir);
}

/* The store has taken all its disk at its start, but for what LMDB's file grows by. */
static const char *reason_to_stop(const struct bench_churn *churn, uint64_t until_ns)
{
    if (bench_now_ns() >= until_ns) {
        return "the time is over (--seconds)";
    }
    return bench_disk_has_room(churn->options, 0, "the rest of this part") ? NULL : "the disk fills up";
}

double bench_churn_write(struct bench_churn *churn, uint64_t bytes, uint64_t until_ns)
{
    double median = churn->small_objects ? 4000 : 12000;
    double sigma = churn->small_objects ? 1.2 : 2;
    uint64_t before = churn->writer.payload_bytes;
    uint64_t start = bench_now_ns();

    churn->stopped = NULL;
    while (churn->writer.payload_bytes - before < bytes && churn->stopped == NULL) {
        bench_put(&churn->writer, churn->number, bench_lognormal(&churn->state, median, sigma, LARGEST_BODY));
        churn->number++;
        if (churn->number % LOOK_EVERY == 0) {
            churn->stopped = reason_to_stop(churn, until_ns);
        }
    }
    bench_flush(&churn->writer);
    return (double)(churn->writer.payload_bytes - before) / 1e6 / ((double)(bench_now_ns() - start) / 1e9);
}

static void report_space(struct bench_churn *churn)
{
    double size = (double)churn->size_bytes;
    struct store_stats stats;

    store_stats_of(churn->store, &stats);
    bench_row("files on the disk / size", "≤ 1", "%.3f", (double)bench_disk_bytes(churn->dir) / size);
    bench_row("pages and blocks in use / size", "", "%.3f", (double)(stats.used_bytes + stats.body_used_bytes) / size);
    bench_row("bodies / size", churn->small_objects ? "≥ 0.60" : "≥ 0.80", "%.3f",
              (double)bench_live_bytes(churn->store) / size);
    bench_row("objects, evictions", "", "%" PRIu64 ", %" PRIu64, stats.objects, stats.evictions);
    bench_row("refused batches", "0", "%" PRIu64, churn->writer.refused);
}

void bench_churn_report(struct bench_churn *churn, const char *title, const char *ingest_aim)
{
    const struct bench_options *options = churn->options;
    struct bench_writer *writer = &churn->writer;
    uint64_t start = bench_now_ns();
    uint64_t cpu = bench_cpu_ns();
    uint64_t written = bench_written_bytes();
    uint64_t read = bench_read_bytes();
    char label[160];

    double rate =
        bench_churn_write(churn, churn->size_bytes * options->turnovers, start + options->seconds * 1000000000);
    double cpu_s = (double)(bench_cpu_ns() - cpu) / 1e9;
    double payload = (double)writer->payload_bytes;
    (void)snprintf(label, sizeof label, "%s, %" PRIu64 " MiB, %.1f turnovers%s%s", title, churn->size_bytes / MIB,
                   payload / (double)churn->size_bytes, churn->stopped == NULL ? "" : ": ",
                   churn->stopped == NULL ? "" : churn->stopped);
    bench_head(label);
    bench_row("stored", "", "%" PRIu64 " objects, %.0f MiB, mean %.1f KB", writer->objects, payload / MIB,
              payload / (double)writer->objects / 1000);
    bench_row("ingest, MB/s", ingest_aim, "%.0f", rate);
    bench_row("ingest, objects/s", churn->small_objects ? "≥ 14000" : "", "%.0f",
              rate * 1e6 / (payload / (double)writer->objects));
    bench_row("CPU, s per GB", "", "%.2f", cpu_s / (payload / 1e9));
    bench_row("commit p50 / p99 / max, ms", "≤ 20 / ≤ 60", "%.1f / %.1f / %.1f", bench_commit_ms(writer, 0.5),
              bench_commit_ms(writer, 0.99), bench_commit_ms(writer, 1));
    bench_row("written / stored bytes", churn->small_objects ? "≤ 2.2" : "≤ 1.15", "%.3f",
              (double)(bench_written_bytes() - written) / payload);
    bench_row("read / stored bytes", "≤ 0.1", "%.3f", (double)(bench_read_bytes() - read) / payload);
    report_space(churn);
}

static void run(const struct bench_options *options, bool small_objects)
{
    struct bench_churn churn;

    if (bench_disk_has_room(options, options->size_bytes, small_objects ? "small" : "churn")) {
        bench_churn_begin(&churn, options, options->size_bytes, BENCH_MEMORY, small_objects);
        bench_churn_report(&churn, small_objects ? "churn, small objects" : "churn, lognormal",
                           small_objects ? "" : "≥ 450 (2 GiB)");
        bench_churn_end(&churn);
    }
}

void bench_churn(const struct bench_options *options)
{
    run(options, false);
}

void bench_small(const struct bench_options *options)
{
    run(options, true);
}
