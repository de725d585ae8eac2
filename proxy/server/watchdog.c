/* watchdog.c: see watchdog.h. */
#include "proxy/server/watchdog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "http/check.h"
#include "proxy/io/log.h"
#include "proxy/server/crew.h"
#include "proxy/server/notify.h"

enum {
    TICK_MAX_MS = 1000,
    TICK_MIN_MS = 20,
    TICKS = 4, /* at least, in the time that a worker may be silent, and in that of the service manager */
};

static void on_tick(uv_timer_t *timer);

static void on_question(struct message *message) /* message.run: on the worker's thread */
{
    struct watched *watched = CONTAINER_OF(message, struct watched, question);

    atomic_store_explicit(&watched->answered, true, memory_order_relaxed);
}

void watched_init(struct watched *watched)
{
    *watched = (struct watched){.question = {.run = on_question}};
    atomic_init(&watched->answered, true);
}

void watched_enter(struct watched *watched)
{
    atomic_store_explicit(&watched->thread_id, (int)syscall(SYS_gettid), memory_order_relaxed);
}

static uint64_t tick_ms(const struct watchdog *watchdog)
{
    uint64_t tick = TICK_MAX_MS;
    const uint64_t limits_ms[] = {(*watchdog->crews)->config->server.watchdog_ms, watchdog->notify->watchdog_ms};

    for (size_t i = 0; i < ARRAY_LEN(limits_ms); i++) {
        if (limits_ms[i] > 0 && limits_ms[i] / TICKS < tick) {
            tick = limits_ms[i] / TICKS;
        }
    }
    return tick < TICK_MIN_MS ? TICK_MIN_MS : tick;
}

/* What the kernel says of the thread: its state (R: it computes, D: it waits for a disk) and where it waits. */
static void describe(int thread_id, char *out, size_t bytes)
{
    static const char *const names[] = {"stat", "wchan"};
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[64];
        char line[256] = "";
        (void)snprintf(path, sizeof(path), "/proc/self/task/%d/%s", thread_id, names[i]);
        FILE *file = fopen(path, "re");
        if (file != NULL) {
            (void)!fgets(line, sizeof(line), file);
            (void)fclose(file);
        }
        const char *state = strrchr(line, ')'); /* "1 (name) S …" */
        if (i == 0 && state != NULL && strlen(state) > 2) {
            len += (size_t)snprintf(out, bytes, " state=%c", state[2]);
        } else if (i == 1 && line[0] != '\0' && line[0] != '0') {
            (void)snprintf(out + len, bytes - len, " in=%s", log_quoted(span_of(line)).text);
        }
    }
}

static void complain(const struct worker *worker, uint64_t silent_ms, uint64_t limit_ms)
{
    int thread_id = atomic_load_explicit(&worker->watched.thread_id, memory_order_relaxed);
    bool fatal = limit_ms > 0 && silent_ms >= limit_ms;
    char text[LOG_TEXT_BYTES + 64];

    describe(thread_id, text, sizeof(text));
    log_line(fatal ? LOG_ERROR : LOG_WARN, "a worker is stuck%s worker=%u thread=%d silent_ms=%llu%s",
             fatal ? ", ending the process" : "", worker->number, thread_id, (unsigned long long)silent_ms, text);
    if (fatal) {
        abort();
    }
}

/* False: it has not answered what it was asked at the last tick. */
static bool look_at(struct worker *worker, uint64_t tick, uint64_t limit_ms)
{
    struct watched *watched = &worker->watched;

    if (atomic_exchange_explicit(&watched->answered, false, memory_order_relaxed)) {
        if (watched->silent_ticks > 1) {
            log_info("the worker goes on worker=%u", worker->number);
        }
        watched->silent_ticks = 0;
        mailbox_post(&worker->mailbox, &watched->question);
        return true;
    }
    watched->silent_ticks++;
    uint64_t silent_ms = watched->silent_ticks * tick;
    bool half = limit_ms > 0 && silent_ms >= limit_ms / 2 && silent_ms - tick < limit_ms / 2;
    if (half || (limit_ms > 0 && silent_ms >= limit_ms)) {
        complain(worker, silent_ms, limit_ms);
    }
    return false;
}

static void on_tick(uv_timer_t *timer) /* uv_timer_cb */
{
    struct watchdog *watchdog = timer->data;
    uint64_t tick = tick_ms(watchdog);
    uint64_t limit_ms = (*watchdog->crews)->config->server.watchdog_ms;
    bool all_alive = true;

    for (const struct crew *crew = *watchdog->crews; crew != NULL; crew = crew->next) {
        for (unsigned i = 0; i < crew->started; i++) {
            if (!crew->workers[i].watched.over) {
                all_alive = look_at(&crew->workers[i], tick, limit_ms) && all_alive;
            }
        }
    }
    if (all_alive) {
        notify_watchdog(watchdog->notify);
    }
    REQUIRE(uv_timer_start(timer, on_tick, tick, 0) == 0); /* anew: a reload may have changed the settings */
}

void watchdog_start(struct watchdog *watchdog, uv_loop_t *loop, struct crew *const *crews, const struct notify *notify)
{
    *watchdog = (struct watchdog){.crews = crews, .notify = notify};
    REQUIRE(uv_timer_init(loop, &watchdog->timer) == 0);
    watchdog->timer.data = watchdog;
    REQUIRE(uv_timer_start(&watchdog->timer, on_tick, tick_ms(watchdog), 0) == 0);
}

void watchdog_close(struct watchdog *watchdog)
{
    if (watchdog->crews != NULL && !uv_is_closing((uv_handle_t *)&watchdog->timer)) {
        uv_close((uv_handle_t *)&watchdog->timer, NULL);
    }
}
