/* worker.c: one thread's loop, from its first handle to its last.
 *
 * Happy path: made by the main thread, run by its own. The stop message closes the listeners and what is idle (the
 *             retire message hands what is idle over to other workers); when the last client and the last fetch have
 *             ended (worker_check_stopped) every other handle is closed, and the loop returns because nothing is left
 *             in it.
 * Failures:   - a part cannot be made: what was made is closed, and the loop run until it is.
 *             - clients or fetches outlive shutdown_timeout, or the abort message comes: they are closed.
 *             - handles are left at the end: a bug; logged, memory left as it is. */
#include "proxy/server/worker.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "http/check.h"
#include "http/field_memo.h"
#include "proxy/client/client.h"
#include "proxy/client/http1_stream.h"
#include "proxy/io/conn.h"
#include "proxy/io/log.h"
#include "proxy/io/loop_room.h"
#include "proxy/io/thread.h"
#include "proxy/origin/fetch.h"
#include "proxy/origin/health_check.h"

static enum err init_parts(struct worker *worker, struct origin_set *const *sets);
static enum err init_pools(struct worker *worker, struct origin_set *const *sets);
static enum err init_listeners(struct worker *worker, const int *fds);
static void close_entrance(struct worker *worker);
static void begin_stop(struct worker *worker);
static void abort_all(struct worker *worker);
static void end(struct worker *worker);
static void finish(struct worker *worker);
static void *run(void *arg);
static void on_serve(struct message *message);
static void on_retire(struct message *message);
static void on_stop(struct message *message);
static void on_abort(struct message *message);
static void on_reopen(struct message *message);
static void on_connection(struct message *message);
static void on_shutdown_timer(uv_timer_t *timer);

enum err worker_init(struct worker *worker, unsigned number, const struct config *config,
                     struct origin_set *const *sets, const struct worker_shared *shared, const int *fds)
{
    enum err error;

    *worker = (struct worker){
        .number = number,
        .config = config,
        .shared = *shared,
        .cache = shared->cache,
        .serve_message = {.run = on_serve},
        .retire_message = {.run = on_retire},
        .stop_message = {.run = on_stop},
        .abort_message = {.run = on_abort},
        .reopen_message = {.run = on_reopen},
        .retired_message = {.run = shared->on_retired},
        .ended_message = {.run = shared->on_ended},
        .access_log = {.fd = -1},
    };
    watched_init(&worker->watched);
    error = err_from_uv(loop_init(&worker->loop, shared->descriptors));
    if (error != ERR_OK) {
        goto err_close_fds;
    }
    worker->loop.data = worker;
    error = err_from_uv(mailbox_init(&worker->mailbox, &worker->loop));
    if (error != ERR_OK) {
        (void)uv_run(&worker->loop, UV_RUN_NOWAIT); /* what loop_init closed leaves the loop */
        REQUIRE(uv_loop_close(&worker->loop) == 0);
        goto err_close_fds;
    }
    REQUIRE(uv_timer_init(&worker->loop, &worker->shutdown_timer) == 0);
    worker->shutdown_timer.data = worker;
    refusals_init(&worker->refusals, &worker->loop, number);
    error = init_parts(worker, sets);
    if (error == ERR_OK) {
        error = init_listeners(worker, fds);
        if (error == ERR_OK) {
            return ERR_OK;
        }
        fds = NULL; /* init_listeners has closed them, or the listeners do */
    }
    end(worker);
    (void)uv_run(&worker->loop, UV_RUN_DEFAULT); /* until all is closed */
    finish(worker);
err_close_fds:
    for (size_t i = 0; fds != NULL && i < config->server.listen_count; i++) {
        close(fds[i]);
    }
    return error;
}

enum err worker_start(struct worker *worker)
{
    worker->started = thread_start(&worker->thread, run, worker);
    return worker->started ? ERR_OK : ERR_NO_MEMORY;
}

void worker_serve(struct worker *worker)
{
    mailbox_post(&worker->mailbox, &worker->serve_message);
}

void worker_retire(struct worker *worker)
{
    mailbox_post(&worker->mailbox, &worker->retire_message);
}

void worker_stop(struct worker *worker)
{
    mailbox_post(&worker->mailbox, &worker->stop_message);
}

void worker_abort(struct worker *worker)
{
    mailbox_post(&worker->mailbox, &worker->abort_message);
}

void worker_reopen_log(struct worker *worker)
{
    mailbox_post(&worker->mailbox, &worker->reopen_message);
}

void worker_take_connection(struct worker *worker, struct handover *handover)
{
    handover->worker = worker;
    handover->message.run = on_connection;
    mailbox_post(&worker->mailbox, &handover->message);
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
    bool leaves = worker->state == WORKER_RETIRED || worker->state == WORKER_STOPPING;

    if (leaves && worker->clients == NULL && worker->fetches == NULL) {
        end(worker);
    }
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
uint64_t worker_random(struct worker *worker)
{
    worker->random_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t mixed = worker->random_state;
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
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
    int failed = uv_random(NULL, NULL, &worker->random_state, sizeof(worker->random_state), 0, NULL);
    if (failed < 0) {
        return err_from_uv(failed);
    }
    worker->shard = metrics_shard_create(worker->shared.metrics, worker->config);
    worker->refusals.shard = worker->shard;
    worker->traffic = traffic_shard_create(worker->shared.traffic, worker->config);
    worker->follow = follow_shard_create(worker->shared.follow);
    worker->facts = facts_shard_create(worker->shared.facts, (size_t)worker->config->server.facts_bytes);
    if (worker->shard == NULL || worker->traffic == NULL || worker->follow == NULL || worker->facts == NULL) {
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
        error = listener_init(&worker->listeners[i], worker, &config->server.listen[i], fds[i]);
    }
    return error;
}

/* What a worker does not need that takes no new connections. */
static void close_entrance(struct worker *worker)
{
    for (size_t i = 0; i < worker->listener_count; i++) {
        listener_take_rest(&worker->listeners[i]);
        listener_close(&worker->listeners[i]);
    }
    health_checks_stop(worker->checks);
    for (size_t i = 0; i < worker->pool_count; i++) {
        pool_close_idle(&worker->pools[i]);
    }
}

static void begin_stop(struct worker *worker)
{
    if (worker->state >= WORKER_STOPPING) {
        return;
    }
    worker->state = WORKER_STOPPING;
    clients_stop(worker); /* first: it makes room for those who still wait to be accepted */
    close_entrance(worker);
    REQUIRE(uv_timer_start(&worker->shutdown_timer, on_shutdown_timer, worker->config->server.shutdown_timeout_ms, 0) ==
            0);
    worker_check_stopped(worker);
}

static void abort_all(struct worker *worker)
{
    if (worker->state < WORKER_ENDING) {
        clients_abort(worker);
        fetches_abort(worker);
        worker_check_stopped(worker);
    }
}

/* Closes every handle that is left, whatever of it was made. */
static void end(struct worker *worker)
{
    worker->state = WORKER_ENDING;
    for (size_t i = 0; i < worker->listener_count; i++) {
        listener_close(&worker->listeners[i]);
    }
    health_checks_stop(worker->checks);
    for (size_t i = 0; i < worker->pool_count; i++) {
        pool_stop(&worker->pools[i]);
    }
    access_log_close(&worker->access_log);
    refusals_close(&worker->refusals);
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
    metrics_retire(worker->shared.metrics, worker->shard);
    traffic_retire(worker->traffic, worker_now_ms());
    follow_retire(worker->follow);
    facts_retire(worker->facts);
    health_checks_destroy(worker->checks);
    free(worker->listeners);
    free(worker->read_buffer);
    field_memo_destroy(worker->field_memo);
    arena_spares_finish(&worker->arena_spares);
    http1_stream_spares_finish(&worker->stream_spares);
    buf_finish(&worker->spare_in);
    buf_finish(&worker->spare_out);
    buf_finish(&worker->spare_head);
    cache_reader_destroy(worker->cache_reader);
    mailbox_finish(&worker->mailbox);
}

static void *run(void *arg) /* start routine of pthread_create */
{
    struct worker *worker = arg;

    mailbox_enter(&worker->mailbox);
    watched_enter(&worker->watched);
    (void)uv_run(&worker->loop, UV_RUN_DEFAULT); /* returns when the last handle is closed */
    mailbox_post(worker->shared.server, &worker->ended_message);
    return NULL;
}

static void on_serve(struct message *message) /* message.run */
{
    struct worker *worker = CONTAINER_OF(message, struct worker, serve_message);

    for (size_t i = 0; i < worker->listener_count; i++) {
        listener_start(&worker->listeners[i]);
    }
}

static void on_retire(struct message *message) /* message.run */
{
    struct worker *worker = CONTAINER_OF(message, struct worker, retire_message);

    if (worker->state == WORKER_RUNNING) {
        worker->state = WORKER_RETIRED;
        close_entrance(worker);
        cache_reader_retire(worker->cache_reader);
        clients_retire(worker);
        mailbox_post(worker->shared.server, &worker->retired_message);
        worker_check_stopped(worker);
    }
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

static void on_reopen(struct message *message) /* message.run */
{
    struct worker *worker = CONTAINER_OF(message, struct worker, reopen_message);

    access_log_reopen(&worker->access_log, worker->config);
}

static void on_connection(struct message *message) /* message.run */
{
    struct handover *handover = CONTAINER_OF(message, struct handover, message);

    client_take_over(handover->worker, handover);
}

static void on_shutdown_timer(uv_timer_t *timer) /* uv_timer_cb */
{
    struct worker *worker = timer->data;

    log_warn("shutdown_timeout is over, closing what still runs worker=%u", worker->number);
    abort_all(worker);
}
