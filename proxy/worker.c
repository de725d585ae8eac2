/* worker.c: one thread's loop, from its first handle to its last.
 *
 * Happy path: made by the main thread, run by its own. The stop message closes the listeners and what is idle; when the
 *             last client and the last fetch have ended (worker_check_stopped) every other handle is closed, and the
 *             loop returns because nothing is left in it.
 * Failures:   - a part cannot be made: what was made is closed, and the loop run until it is.
 *             - clients or fetches outlive shutdown_timeout, or the abort message comes: they are closed.
 *             - handles are left at the end: a bug; logged, memory left as it is. */
#include "proxy/worker.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "http/check.h"
#include "http/field_memo.h"
#include "proxy/client.h"
#include "proxy/fetch.h"
#include "proxy/health_check.h"
#include "proxy/log.h"
#include "proxy/thread.h"

static enum err init_parts(struct worker *worker, struct origin_set *const *sets);
static enum err init_pools(struct worker *worker, struct origin_set *const *sets);
static enum err init_listeners(struct worker *worker, const int *fds);
static void begin_stop(struct worker *worker);
static void abort_all(struct worker *worker);
static void end(struct worker *worker);
static void finish(struct worker *worker);
static void *run(void *arg);
static void on_stop(struct message *message);
static void on_abort(struct message *message);
static void on_shutdown_timer(uv_timer_t *timer);

enum err worker_init(struct worker *worker, unsigned number, const struct worker_shared *shared, const int *fds)
{
    const struct config *config = shared->config;
    enum err error;

    *worker = (struct worker){
        .number = number,
        .config = config,
        .cache = shared->cache,
        .connection_count = shared->connection_count,
        .metrics = shared->metrics,
        .stop_message = {.run = on_stop},
        .abort_message = {.run = on_abort},
        .access_log = {.fd = -1},
    };
    error = err_from_uv(uv_loop_init(&worker->loop));
    if (error != ERR_OK) {
        goto err_close_fds;
    }
    worker->loop.data = worker;
    error = err_from_uv(mailbox_init(&worker->mailbox, &worker->loop));
    if (error != ERR_OK) {
        REQUIRE(uv_loop_close(&worker->loop) == 0);
        goto err_close_fds;
    }
    REQUIRE(uv_timer_init(&worker->loop, &worker->shutdown_timer) == 0);
    worker->shutdown_timer.data = worker;
    error = init_parts(worker, shared->origin_sets);
    if (error == ERR_OK) {
        error = init_listeners(worker, fds);
        if (error == ERR_OK) {
            return ERR_OK;
        }
        fds = NULL; /* the listeners have closed them */
    }
    worker->stopping = true;
    end(worker);
    (void)uv_run(&worker->loop, UV_RUN_DEFAULT); /* until all is closed */
    finish(worker);
err_close_fds:
    for (size_t i = 0; fds != NULL && i < config->server.listen_count; i++) {
        close(fds[i]);
    }
    return error;
}

enum err worker_start(struct worker *worker, struct mailbox *mailbox, void (*ended)(struct message *message))
{
    worker->ended_to = mailbox;
    worker->ended_message.run = ended;
    worker->started = thread_start(&worker->thread, run, worker);
    return worker->started ? ERR_OK : ERR_NO_MEMORY;
}

void worker_stop(struct worker *worker)
{
    mailbox_post(&worker->mailbox, &worker->stop_message);
}

void worker_abort(struct worker *worker)
{
    mailbox_post(&worker->mailbox, &worker->abort_message);
}

void worker_join(struct worker *worker)
{
    if (worker->started) {
        pthread_join(worker->thread, NULL);
    } else {
        (void)uv_run(&worker->loop, UV_RUN_DEFAULT); /* until the stop message has closed everything */
    }
    finish(worker);
}

struct pool *worker_pool(struct worker *worker, const struct site *site)
{
    size_t index = (size_t)(site - worker->config->sites);

    REQUIRE(index < worker->pool_count);
    return &worker->pools[index];
}

void worker_check_stopped(struct worker *worker)
{
    if (worker->stopping && !worker->ending && worker->clients == NULL && worker->fetches == NULL) {
        end(worker);
    }
}

int64_t worker_now_ms(void)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What needs no undoing but end() and finish(). */
static enum err init_parts(struct worker *worker, struct origin_set *const *sets)
{
    worker->read_buffer = malloc(WORKER_READ_BUFFER_BYTES);
    worker->field_memo = field_memo_create();
    if (worker->read_buffer == NULL || worker->field_memo == NULL) {
        return ERR_NO_MEMORY;
    }
    worker->cache_reader = cache_reader_create(worker->cache);
    if (worker->cache_reader == NULL) {
        log_warn("the store cannot be read, nothing is served from it worker=%u", worker->number);
    }
    worker->shard = metrics_shard_create(worker->metrics, worker->config);
    if (worker->shard == NULL) {
        return ERR_NO_MEMORY;
    }
    enum err error = access_log_open(&worker->access_log, &worker->loop, worker->config);
    return error == ERR_OK ? init_pools(worker, sets) : error;
}

static enum err init_pools(struct worker *worker, struct origin_set *const *sets)
{
    const struct config *config = worker->config;

    worker->pools = calloc(config->site_count, sizeof(struct pool));
    if (worker->pools == NULL) {
        return ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < config->site_count; i++) {
        worker->pool_count++;
        if (!pool_init(&worker->pools[i], worker, &config->sites[i], sets[i])) {
            return ERR_NO_MEMORY;
        }
    }
    if (worker->number == 0) {
        worker->checks = health_checks_start(worker, sets);
        return worker->checks != NULL ? ERR_OK : ERR_NO_MEMORY;
    }
    return ERR_OK;
}

/* Owns all of `fds` from its first line on. */
static enum err init_listeners(struct worker *worker, const int *fds)
{
    const struct config *config = worker->config;
    enum err error = ERR_OK;

    worker->listeners = calloc(config->server.listen_count + 1, sizeof *worker->listeners);
    if (worker->listeners == NULL) {
        error = ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < config->server.listen_count; i++) {
        if (error != ERR_OK) {
            close(fds[i]);
            continue;
        }
        worker->listener_count++;
        error = listener_start(&worker->listeners[i], worker, &config->server.listen[i], fds[i]);
    }
    return error;
}

static void begin_stop(struct worker *worker)
{
    if (worker->stopping) {
        return;
    }
    worker->stopping = true;
    for (size_t i = 0; i < worker->listener_count; i++) {
        listener_close(&worker->listeners[i]);
    }
    health_checks_stop(worker->checks);
    for (size_t i = 0; i < worker->pool_count; i++) {
        pool_close_idle(&worker->pools[i]);
    }
    REQUIRE(uv_timer_start(&worker->shutdown_timer, on_shutdown_timer, worker->config->server.shutdown_timeout_ms, 0) ==
            0);
    clients_stop(worker);
    worker_check_stopped(worker);
}

static void abort_all(struct worker *worker)
{
    if (!worker->ending) {
        clients_abort(worker);
        fetches_abort(worker);
        worker_check_stopped(worker);
    }
}

/* Closes every handle that is left, whatever of it was made. */
static void end(struct worker *worker)
{
    worker->ending = true;
    for (size_t i = 0; i < worker->listener_count; i++) {
        listener_close(&worker->listeners[i]);
    }
    health_checks_stop(worker->checks);
    for (size_t i = 0; i < worker->pool_count; i++) {
        pool_stop(&worker->pools[i]);
    }
    access_log_close(&worker->access_log);
    uv_close((uv_handle_t *)&worker->shutdown_timer, NULL);
    mailbox_close(&worker->mailbox);
}

/* After the loop has ended. */
static void finish(struct worker *worker)
{
    int error = uv_loop_close(&worker->loop);

    if (error < 0) {
        log_error("a worker ended with open handles worker=%u error=%s", worker->number, uv_err_name(error));
        return; /* their memory cannot go */
    }
    for (size_t i = 0; i < worker->pool_count; i++) {
        pool_finish(&worker->pools[i]);
    }
    free(worker->pools);
    metrics_retire(worker->metrics, worker->shard);
    health_checks_destroy(worker->checks);
    free(worker->listeners);
    free(worker->read_buffer);
    field_memo_destroy(worker->field_memo);
    cache_reader_destroy(worker->cache_reader);
    mailbox_finish(&worker->mailbox);
}

static void *run(void *arg) /* start routine of pthread_create */
{
    struct worker *worker = arg;

    mailbox_enter(&worker->mailbox);
    (void)uv_run(&worker->loop, UV_RUN_DEFAULT); /* returns when the last handle is closed */
    mailbox_post(worker->ended_to, &worker->ended_message);
    return NULL;
}

static void on_stop(struct message *message) /* message.run */
{
    begin_stop(CONTAINER_OF(message, struct worker, stop_message));
}

static void on_abort(struct message *message) /* message.run */
{
    struct worker *worker = CONTAINER_OF(message, struct worker, abort_message);

    begin_stop(worker);
    abort_all(worker);
}

static void on_shutdown_timer(uv_timer_t *timer) /* uv_timer_cb */
{
    struct worker *worker = timer->data;

    log_warn("shutdown_timeout is over, closing what still runs worker=%u", worker->number);
    abort_all(worker);
}
