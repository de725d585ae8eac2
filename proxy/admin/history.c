/* history.c: the ring and its timer. See history.h. */
#include "proxy/admin/history.h"

#include "proxy/server/worker.h"

static void take(struct history *history)
{
    struct history_sample *sample = &history->samples[history->next];
    struct store_stats stats;

    store_stats_of(cache_store(history->scope.cache), &stats);
    sample->time_ms = worker_now_ms();
    sample->connections = atomic_load(history->scope.connection_count);
    sample->store_used_bytes = stats.used_bytes + stats.body_used_bytes;
    metrics_sum(history->scope.metrics, &sample->sums);
    history->next = (history->next + 1) % HISTORY_SAMPLES;
    history->count += history->count < HISTORY_SAMPLES;
}

static void on_timer(uv_timer_t *timer) /* uv_timer_cb */
{
    take(timer->data);
}

void history_start(struct history *history, uv_loop_t *loop, const struct history_scope *scope)
{
    history->scope = *scope;
    history->next = 0;
    history->count = 0;
    REQUIRE(uv_timer_init(loop, &history->timer) == 0);
    history->timer.data = history;
    history->open = true;
    REQUIRE(uv_timer_start(&history->timer, on_timer, HISTORY_INTERVAL_MS, HISTORY_INTERVAL_MS) == 0);
    take(history);
}

void history_stop(struct history *history)
{
    if (history->open) {
        history->open = false;
        uv_close((uv_handle_t *)&history->timer, NULL);
    }
}

const struct history_sample *history_at(const struct history *history, size_t index)
{
    if (index >= history->count) {
        return NULL;
    }
    return &history->samples[(history->next + HISTORY_SAMPLES - history->count + index) % HISTORY_SAMPLES];
}
