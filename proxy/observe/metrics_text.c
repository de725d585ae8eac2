/* metrics_text.c: the counters in Prometheus' text exposition format, version 0.0.4. Series that stand at zero are left
 * out where there may be very many of them: by outcome and reason. */
#include <stddef.h>

#include "proxy/config/site_mode.h"
#include "proxy/observe/metrics_internal.h"
#include "proxy/origin/origin_set.h"

#define LABEL_NAME_TEXT(name, text) text,
static const char *const outcome_names[METRICS_OUTCOMES] = {OUTCOMES(LABEL_NAME_TEXT)};
static const char *const end_names[METRICS_ENDS] = {END_REASONS(LABEL_NAME_TEXT)};
static const char *const status_names[METRICS_STATUSES] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};

/* ---- the syntax ---- */

static void write_family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and newline are escaped. */
static void write_value(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\\' || text.data[i] == '"') {
            buf_add_byte(out, '\\');
        }
        if (text.data[i] == '\n') {
            buf_add_text(out, "\\n");
        } else {
            buf_add_byte(out, text.data[i]);
        }
    }
}

static void write_site(struct buf *out, const char *name, const char *site)
{
    buf_format(out, "%s{site=\"", name);
    write_value(out, span_of(site));
    buf_add_byte(out, '"');
}

static void write_count(struct buf *out, uint64_t count)
{
    buf_add_byte(out, ' ');
    buf_add_u64(out, count);
    buf_add_byte(out, '\n');
}

static uint64_t read_counter(const metrics_counter *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void write_plain(struct buf *out, const char *name, const char *type, const char *help, uint64_t count)
{
    write_family(out, name, type, help);
    buf_add_text(out, name);
    write_count(out, count);
}

/* ---- by site ---- */

static void write_requests(const struct metrics_total *first, struct buf *out)
{
    static const char name[] = "larder_requests_total";

    write_family(out, name, "counter", "Requests of clients, by the words of Cache-Status.");
    for (const struct metrics_total *total = first; total != NULL; total = total->next) {
        for (size_t outcome = 0; outcome < METRICS_OUTCOMES; outcome++) {
            for (size_t reason = 0; reason < REASON_COUNT; reason++) {
                uint64_t count = read_counter(&total->sums.requests[outcome][reason]);
                if (count > 0) {
                    write_site(out, name, total->name);
                    buf_format(out, ",outcome=\"%s\",reason=\"%s\"}", outcome_names[outcome],
                               reason_token((enum reason)reason));
                    write_count(out, count);
                }
            }
        }
    }
}

/* One series a site and word. */
static void write_by_word(const struct metrics_total *first, const char *name, const char *help, const char *label,
                          const char *const *words, size_t count, size_t offset, struct buf *out)
{
    write_family(out, name, "counter", help);
    for (const struct metrics_total *total = first; total != NULL; total = total->next) {
        const metrics_counter *counters = (const void *)((const char *)&total->sums + offset);
        for (size_t i = 0; i < count; i++) {
            write_site(out, name, total->name);
            buf_format(out, ",%s=\"%s\"}", label, words[i]);
            write_count(out, read_counter(&counters[i]));
        }
    }
}

static void write_received(const struct metrics_total *first, struct buf *out)
{
    static const char name[] = "larder_origin_received_bytes_total";

    write_family(out, name, "counter", "Bytes received from origins, heads and framing included.");
    for (const struct metrics_total *total = first; total != NULL; total = total->next) {
        write_site(out, name, total->name);
        buf_add_byte(out, '}');
        write_count(out, read_counter(&total->sums.received_bytes));
    }
}

/* A histogram: `buckets` and `sum` are offsets in struct metrics_site; what is counted is divided by `scale`. */
struct histogram {
    const char *name;
    const char *help;
    size_t buckets;
    size_t sum;
    const uint64_t *bounds;
    size_t bound_count;
    double scale;
};

static void write_histogram_of(const struct histogram *histogram, const struct metrics_total *total, struct buf *out)
{
    const metrics_counter *buckets = (const void *)((const char *)&total->sums + histogram->buckets);
    const metrics_counter *sum = (const void *)((const char *)&total->sums + histogram->sum);
    uint64_t count = 0;

    for (size_t i = 0; i <= histogram->bound_count; i++) {
        count += read_counter(&buckets[i]);
        buf_add_text(out, histogram->name);
        write_site(out, "_bucket", total->name);
        if (i < histogram->bound_count) {
            buf_format(out, ",le=\"%.10g\"}", (double)histogram->bounds[i] / histogram->scale);
        } else {
            buf_add_text(out, ",le=\"+Inf\"}");
        }
        write_count(out, count);
    }
    buf_add_text(out, histogram->name);
    write_site(out, "_sum", total->name);
    buf_format(out, "} %.10g\n", (double)read_counter(sum) / histogram->scale);
    buf_add_text(out, histogram->name);
    write_site(out, "_count", total->name);
    buf_add_byte(out, '}');
    write_count(out, count);
}

static void write_histograms(const struct metrics_total *first, struct buf *out)
{
    static const struct histogram histograms[] = {
        {"larder_request_duration_seconds", "From a request's head to the end of its response.",
         offsetof(struct metrics_site, durations), offsetof(struct metrics_site, duration_us), metrics_times_us,
         METRICS_TIMES, 1e6},
        {"larder_response_size_bytes", "Bodies sent to clients.", offsetof(struct metrics_site, sizes),
         offsetof(struct metrics_site, size_bytes), metrics_sizes_bytes, METRICS_SIZES, 1},
        {"larder_origin_first_byte_seconds", "From a request to an origin to the head of its response.",
         offsetof(struct metrics_site, waits), offsetof(struct metrics_site, wait_us), metrics_times_us, METRICS_TIMES,
         1e6},
    };

    for (size_t i = 0; i < ARRAY_LEN(histograms); i++) {
        write_family(out, histograms[i].name, "histogram", histograms[i].help);
        for (const struct metrics_total *total = first; total != NULL; total = total->next) {
            write_histogram_of(&histograms[i], total, out);
        }
    }
}

/* ---- of the process ---- */

/* A site of the configuration: several may have one name. */
static void write_place(struct buf *out, const char *name, const struct site *site)
{
    write_site(out, name, site->name);
    buf_add_text(out, ",path=\"");
    write_value(out, site->path_prefix);
    buf_add_byte(out, '"');
}

static void write_origins(const struct metrics_gauges *gauges, struct buf *out)
{
    static const char name[] = "larder_origin_in_service";
    const struct config *config = gauges->config;

    write_family(out, name, "gauge", "1 while requests are sent to the origin, 0 while it is taken out.");
    for (size_t i = 0; i < config->site_count; i++) {
        for (size_t j = 0; j < config->sites[i].origin_count; j++) {
            bool serves = origin_set_in_service(gauges->origin_sets[i], j, gauges->now_ms);
            write_place(out, name, &config->sites[i]);
            buf_add_text(out, ",origin=\"");
            write_value(out, span_of(config->sites[i].origins[j].text));
            buf_add_text(out, "\"}");
            write_count(out, serves);
        }
    }
}

static void write_modes(const struct metrics_gauges *gauges, struct buf *out)
{
    static const char name[] = "larder_site_mode";
    const struct config *config = gauges->config;

    write_family(out, name, "gauge", "1 for the mode in which the site is run now, 0 for the others.");
    for (size_t i = 0; i < config->site_count; i++) {
        for (enum mode mode = MODE_NORMAL; mode <= MODE_RECORD; mode++) {
            write_place(out, name, &config->sites[i]);
            buf_format(out, ",mode=\"%s\"}", site_mode_text(mode));
            write_count(out, site_mode(&config->sites[i]) == mode);
        }
    }
}

static void write_store(const struct metrics_gauges *gauges, struct buf *out)
{
    struct store_stats stats;

    store_stats_of(cache_store(gauges->cache), &stats);
    write_plain(out, "larder_store_failed", "gauge", "1 when the store is out of order and nothing is stored.",
                store_failed(cache_store(gauges->cache)));
    write_plain(out, "larder_store_refused", "gauge", "1 while the disk refuses writes.",
                store_refusal(cache_store(gauges->cache)) != NULL);
    write_plain(out, "larder_store_unchecked", "gauge", "1 until its pages were looked at: nothing is stored.",
                !store_pages_checked(cache_store(gauges->cache)));
    write_plain(out, "larder_store_deleted", "gauge", "1 when its files were deleted under larder.",
                store_is_deleted(cache_store(gauges->cache)));
    write_plain(out, "larder_store_faults_total", "counter", "Faults while the store's file was read.", stats.faults);
    write_plain(out, "larder_store_set_aside_bytes", "gauge", "Of an unusable file that a start found; may be deleted.",
                stats.set_aside_bytes);
    write_plain(out, "larder_store_limit_bytes", "gauge", "What the store may grow to.",
                gauges->config->cache.size_bytes);
    write_plain(out, "larder_store_used_bytes", "gauge", "What the store holds.",
                stats.used_bytes + stats.body_used_bytes);
    write_plain(out, "larder_store_objects", "gauge", "Stored responses.", stats.objects);
    write_plain(out, "larder_store_evictions_total", "counter", "Responses evicted for room.", stats.evictions);
    write_plain(out, "larder_store_commits_total", "counter", "Transactions of the store.", stats.commits);
    write_plain(out, "larder_store_commit_errors_total", "counter", "Transactions that the disk refused.",
                stats.commit_errors);
    write_plain(out, "larder_store_damaged_reads_total", "counter", "Stored bodies that failed their check.",
                stats.damaged_reads);
    write_plain(out, "larder_store_cold_reads_total", "counter", "Reads that had to wait for the disk.",
                stats.cold_reads);
    write_plain(out, "larder_store_cold_look_ups_total", "counter", "Look-ups that had to wait for the disk.",
                stats.cold_finds);
    write_plain(out, "larder_store_written_bytes_total", "counter", "Bytes of responses written.", stats.bytes_written);
    write_plain(out, "larder_stream_memory_bytes", "gauge", "Memory of bodies that stream.",
                cache_stream_bytes(gauges->cache));
    write_plain(out, "larder_store_queue_bytes", "gauge", "Bytes that wait for the disk.",
                cache_queued_bytes(gauges->cache));
    write_plain(out, "larder_store_queue_limit_bytes", "gauge", "Beyond this, responses pass without being stored.",
                gauges->config->cache.write_queue_bytes);
}

/* What a request with it would have been answered with says so (cache/reason.h); a protocol is its own name. */
static const char *refusal_text(enum refusal cause)
{
    switch (cause) {
    case REFUSAL_CONNECTIONS:
        return reason_token(REASON_TOO_MANY_CONNECTIONS);
    case REFUSAL_CLIENT_CONNECTIONS:
        return reason_token(REASON_CLIENT_CONNECTIONS);
    case REFUSAL_REQUESTS:
        return reason_token(REASON_TOO_MANY_REQUESTS);
    case REFUSAL_RATE:
        return reason_token(REASON_RATE_LIMIT);
    case REFUSAL_TLS:
        return "tls";
    case REFUSAL_HTTP2:
        return "http2";
    case REFUSAL_COUNT:
        break;
    }
    UNREACHABLE();
}

static void write_refusals(const struct metrics_sums *sums, struct buf *out)
{
    write_family(out, "larder_refused_total", "counter", "Refused connections and requests, by cause.");
    for (enum refusal cause = 0; cause < REFUSAL_COUNT; cause++) {
        buf_format(out, "larder_refused_total{cause=\"%s\"}", refusal_text(cause));
        write_count(out, sums->refusals[cause]);
    }
}

static void write_process(const struct metrics *metrics, const struct metrics_gauges *gauges, struct buf *out)
{
    struct metrics_sums sums;

    metrics_sum(metrics, &sums);
    write_family(out, "larder_build_info", "gauge", "Always 1; the version is a label.");
    buf_format(out, "larder_build_info{version=\"%s\"} 1\n", gauges->version);
    write_family(out, "larder_start_time_seconds", "gauge", "When it was started, since 1970.");
    buf_format(out, "larder_start_time_seconds %.3f\n", (double)gauges->started_ms / 1e3);
    write_plain(out, "larder_workers", "gauge", "Threads that serve clients.", gauges->workers);
    write_plain(out, "larder_client_connections", "gauge", "Connections of clients.", gauges->connections);
    write_plain(out, "larder_client_connections_limit", "gauge", "As many as may be.",
                gauges->config->server.max_connections);
    write_plain(out, "larder_requests_in_flight", "gauge", "Requests that are being answered.", sums.in_flight);
    write_refusals(&sums, out);
    write_plain(out, "larder_accept_pauses_total", "counter",
                "How often a listener accepted nothing for a moment: descriptors or memory ran out.",
                sums.accept_pauses);
}

bool metrics_write(const struct metrics *metrics, const struct metrics_gauges *gauges, struct buf *out)
{
    struct metrics_totals totals;

    if (!metrics_totals_take(metrics, &totals)) {
        return false;
    }
    write_process(metrics, gauges, out);
    write_requests(totals.first, out);
    write_by_word(totals.first, "larder_responses_total", "Responses to clients, by class of status.", "status",
                  status_names, METRICS_STATUSES, offsetof(struct metrics_site, statuses), out);
    write_by_word(totals.first, "larder_requests_ended_total", "Requests of clients, by how they ended.", "end",
                  end_names, METRICS_ENDS, offsetof(struct metrics_site, ends), out);
    write_by_word(totals.first, "larder_client_sent_bytes_total", "Bytes sent to clients, heads and framing included.",
                  "outcome", outcome_names, METRICS_OUTCOMES, offsetof(struct metrics_site, sent_bytes), out);
    write_received(totals.first, out);
    write_histograms(totals.first, out);
    write_origins(gauges, out);
    write_modes(gauges, out);
    write_store(gauges, out);
    metrics_totals_finish(&totals);
    return !out->failed;
}
