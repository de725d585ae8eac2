/* admin_status.c: GET /metrics, /v1/status, /v1/sites and /v1/history: what larder counts, and how it is. */
#include <unistd.h>

#include "proxy/admin/admin_internal.h"
#include "proxy/config/site_mode.h"
#include "proxy/origin/origin_set.h"
#include "proxy/server/listener.h"
#include "proxy/server/worker.h"

enum { SITES_MAX = 1000 }; /* in one answer: people do not read more; programs have the metrics */

static json_t *number(uint64_t count)
{
    return json_integer((json_int_t)count);
}

/* ---- GET /metrics ---- */

enum admin_progress admin_run_metrics(struct admin_call *call)
{
    const struct admin *admin = call->admin;
    const struct metrics_gauges gauges = {.version = LARDER_VERSION,
                                          .started_ms = admin->started_ms,
                                          .workers = admin->scope.workers,
                                          .connections = atomic_load(admin->scope.connection_count),
                                          .cache = admin->scope.cache,
                                          .config = admin->scope.config,
                                          .origin_sets = admin->scope.origin_sets,
                                          .now_ms = uv_now(admin->scope.loop)};

    if (!metrics_write(admin->scope.metrics, &gauges, &call->answer)) {
        return admin_fail(call, 500, "no memory");
    }
    call->status = 200;
    call->content_type = "text/plain; version=0.0.4; charset=utf-8";
    return ADMIN_ANSWERED;
}

/* ---- GET /v1/status ---- */

static json_t *store_status(const struct admin *admin)
{
    struct store *store = cache_store(admin->scope.cache);
    const struct config *config = admin->scope.config;
    struct store_stats stats;

    store_stats_of(store, &stats);
    uint64_t used_bytes = stats.used_bytes + stats.body_used_bytes;
    return json_pack("{ss sb sb so so so so so so so so}", "dir", config->cache.dir, "failed", store_failed(store),
                     "deleted", store_is_deleted(store), "limit_bytes", number(config->cache.size_bytes), "used_bytes",
                     number(used_bytes), "objects", number(stats.objects), "evictions", number(stats.evictions),
                     "commits", number(stats.commits), "commit_errors", number(stats.commit_errors), "queued_bytes",
                     number(cache_queued_bytes(admin->scope.cache)), "queue_limit_bytes",
                     number(config->cache.write_queue_bytes));
}

/* The sites that are not run as usual. */
static json_t *modes_status(const struct config *config)
{
    json_t *modes = json_array();

    for (size_t i = 0; i < config->site_count && json_array_size(modes) < SITES_MAX; i++) {
        if (site_mode(&config->sites[i]) != MODE_NORMAL) {
            (void)json_array_append_new(modes, admin_mode_json(&config->sites[i]));
        }
    }
    return modes;
}

/* Ports that the system picked among them. */
static json_t *listen_status(const struct config *config)
{
    json_t *addresses = json_array();
    struct buf text;

    buf_init(&text, 4096);
    for (size_t i = 0; i < config->server.listen_count; i++) {
        buf_clear(&text);
        address_format(&config->server.listen[i], &text);
        (void)json_array_append_new(addresses, json_stringn(text.data, text.len)); /* no memory: it is missing */
    }
    buf_finish(&text);
    return addresses;
}

enum admin_progress admin_run_status(struct admin_call *call)
{
    const struct admin *admin = call->admin;
    const struct config *config = admin->scope.config;
    struct metrics_sums sums;

    metrics_sum(admin->scope.metrics, &sums);
    json_t *requests = json_pack("{so so so so so so}", "total", number(sums.requests), "hits", number(sums.hits),
                                 "failures", number(sums.failures), "in_flight", number(sums.in_flight), "sent_bytes",
                                 number(sums.sent_bytes), "received_bytes", number(sums.received_bytes));
    return admin_reply_json(
        call, 200,
        json_pack("{ss si sI so ss? sI si si so so so so so}", "version", LARDER_VERSION, "pid", (int)getpid(),
                  "uptime_s", (json_int_t)((worker_now_ms() - admin->started_ms) / 1000), "listen",
                  listen_status(config), "config_file", config->file, "config_ms", (json_int_t)admin->config_ms,
                  "workers", (int)admin->scope.workers, "connections", (int)atomic_load(admin->scope.connection_count),
                  "connection_limit", number(config->server.max_connections), "sites", number(config->site_count),
                  "modes", modes_status(config), "requests", requests, "store", store_status(admin)));
}

/* ---- GET /v1/sites ---- */

static bool add_site(void *arg, const struct metrics_site_sums *sums) /* metrics_site_fn */
{
    json_t *sites = arg;
    json_t *site = json_pack("{ss so so so so so so so}", "name", sums->name, "requests", number(sums->requests),
                             "hits", number(sums->hits), "failures", number(sums->failures), "sent_bytes",
                             number(sums->sent_bytes), "received_bytes", number(sums->received_bytes), "answers",
                             number(sums->answers), "wait_us", number(sums->wait_us));

    return json_array_append_new(sites, site) == 0 && json_array_size(sites) < SITES_MAX;
}

static json_t *origin_json(const struct admin *admin, size_t site_index, size_t index)
{
    const struct site *site = &admin->scope.config->sites[site_index];
    struct origin_report report =
        origin_set_report(admin->scope.origin_sets[site_index], index, uv_now(admin->scope.loop));

    return json_pack("{ss ss% ss sb si ss so si si}", "site", site->name, "path", site->path_prefix.data,
                     site->path_prefix.len, "url", site->origins[index].text, "backup", site->origins[index].backup,
                     "weight", (int)site->origins[index].weight, "state", origin_state_text(report.state), "out_ms",
                     number(report.out_ms), "failures", (int)report.failures, "requests", (int)report.requests);
}

enum admin_progress admin_run_sites(struct admin_call *call)
{
    const struct admin *admin = call->admin;
    const struct config *config = admin->scope.config;
    json_t *sites = json_array();
    json_t *origins = json_array();

    if (!metrics_each_site(admin->scope.metrics, add_site, sites)) {
        json_decref(sites);
        json_decref(origins);
        return admin_fail(call, 500, "no memory");
    }
    for (size_t i = 0; i < config->site_count; i++) {
        for (size_t j = 0; j < config->sites[i].origin_count && json_array_size(origins) < SITES_MAX; j++) {
            (void)json_array_append_new(origins, origin_json(admin, i, j));
        }
    }
    return admin_reply_json(call, 200, json_pack("{so so}", "sites", sites, "origins", origins));
}

/* ---- GET /v1/history ---- */

static json_t *sample_json(const struct history_sample *sample)
{
    json_t *waits = json_array();

    for (size_t i = 0; i <= METRICS_TIMES; i++) {
        (void)json_array_append_new(waits, number(sample->sums.waits[i]));
    }
    return json_pack("{sI so so so so so si so so so}", "time_ms", (json_int_t)sample->time_ms, "requests",
                     number(sample->sums.requests), "hits", number(sample->sums.hits), "failures",
                     number(sample->sums.failures), "sent_bytes", number(sample->sums.sent_bytes), "received_bytes",
                     number(sample->sums.received_bytes), "connections", (int)sample->connections, "store_used_bytes",
                     number(sample->store_used_bytes), "wait_us", number(sample->sums.wait_us), "waits", waits);
}

enum admin_progress admin_run_history(struct admin_call *call)
{
    const struct admin *admin = call->admin;
    struct span text = admin_parameter(call, SPAN("since"));
    uint64_t since_ms = 0;
    const struct history_sample *sample;

    if (text.len > 0 && !span_to_u64(text, &since_ms)) {
        return admin_fail(call, 400, "expected a time in milliseconds for since");
    }
    json_t *samples = json_array();
    json_t *bounds = json_array();
    for (size_t i = 0; i < METRICS_TIMES; i++) {
        (void)json_array_append_new(bounds, number(metrics_times_us[i]));
    }
    for (size_t i = 0; (sample = history_at(&admin->history, i)) != NULL; i++) {
        if (text.len == 0 || (uint64_t)sample->time_ms > since_ms) {
            (void)json_array_append_new(samples, sample_json(sample));
        }
    }
    return admin_reply_json(call, 200,
                            json_pack("{sI so so}", "started_ms", (json_int_t)admin->started_ms, "wait_bounds_us",
                                      bounds, "samples", samples));
}
