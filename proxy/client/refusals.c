/* refusals.c: see refusals.h. */
#include "proxy/client/refusals.h"

#include "http/check.h"
#include "proxy/io/log.h"
#include "proxy/observe/metrics.h"

enum { PERIOD_MS = 10000 };

static const char *const names[REFUSAL_COUNT] = {
    [REFUSAL_CONNECTIONS] = "more connections than limits.connections",
    [REFUSAL_CLIENT_CONNECTIONS] = "more connections of one client than limits.connections_per_client",
    [REFUSAL_REQUESTS] = "more requests at a time than limits.requests",
    [REFUSAL_RATE] = "more requests of one client than a rule's rate_limit",
    [REFUSAL_TLS] = "TLS to a listener that speaks clear HTTP only: a proxy in front has to end it",
    [REFUSAL_HTTP2] = "HTTP/2 to a listener that speaks HTTP/1 only: a client or proxy that takes it for granted",
};

void refusals_init(struct refusals *refusals, uv_loop_t *loop, unsigned worker)
{
    *refusals = (struct refusals){.worker = worker};
    REQUIRE(uv_timer_init(loop, &refusals->timer) == 0);
    refusals->timer.data = refusals;
}

/* True where there was any. */
static bool say(struct refusals *refusals)
{
    bool any = false;

    for (size_t i = 0; i < REFUSAL_COUNT; i++) {
        uint64_t unsaid = refusals->counts[i].unsaid;
        if (unsaid > 0) {
            log_warn("refused: %s count=%llu total=%llu worker=%u", names[i], (unsigned long long)unsaid,
                     (unsigned long long)refusals->counts[i].total, refusals->worker);
        }
        refusals->counts[i].unsaid = 0;
        refusals->counts[i].lately = unsaid > 0;
        any = any || unsaid > 0;
    }
    return any;
}

static void on_period(uv_timer_t *timer) /* uv_timer_cb */
{
    if (!say(timer->data)) {
        (void)uv_timer_stop(timer); /* always succeeds */
    }
}

void refusals_close(struct refusals *refusals)
{
    if (!refusals->closed) {
        refusals->closed = true;
        (void)say(refusals);
        uv_close((uv_handle_t *)&refusals->timer, NULL);
    }
}

void refusals_note(struct refusals *refusals, enum refusal cause, struct span client)
{
    refusals->counts[cause].total++;
    metrics_count_refusal(refusals->shard, cause);
    if (refusals->counts[cause].lately) {
        refusals->counts[cause].unsaid++;
        return;
    }
    refusals->counts[cause].lately = true;
    log_warn("refused: %s client=%.*s worker=%u", names[cause], SPAN_ARG(client), refusals->worker);
    if (!refusals->closed && !uv_is_active((uv_handle_t *)&refusals->timer)) {
        REQUIRE(uv_timer_start(&refusals->timer, on_period, PERIOD_MS, PERIOD_MS) == 0);
    }
}
