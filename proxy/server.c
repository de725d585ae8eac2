/* server.c: the main thread: everything is opened here, in an order in which what the configuration got wrong is told
 * before anything listens; then it waits for a signal, and stops everything in the reverse order.
 *
 * Happy path: access log, store, sockets, workers, disk thread; "ready". SIGTERM or SIGINT: the workers stop accepting
 *             and finish; when the last has ended the disk thread writes what is queued, the store is closed, status 0.
 * Failures:   - something cannot be opened: one line on standard error, what is open is closed, status 2.
 *             - a second signal: the workers close what still runs.
 * Threads:    signals come to this thread only (thread.h). Workers tell their end by a message to this loop. */
#include "proxy/server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "http/check.h"
#include "proxy/admin.h"
#include "proxy/disk.h"
#include "proxy/log.h"
#include "proxy/memory.h"
#include "proxy/worker.h"

enum {
    EXIT_STOPPED = 0,
    EXIT_CANNOT_START = 2,
    TEXT_MAX_BYTES = 8192,
    SPARE_READERS = 4,      /* of the store, beyond one a worker */
    SPARE_DESCRIPTORS = 64, /* files, loops, libuv's own */
};

static const int watched_signals[] = {SIGTERM, SIGINT, SIGHUP};

struct server {
    struct config *config;
    struct buf text; /* the line that says what failed */
    struct cache *cache;
    struct origin_set **origin_sets; /* one a site */
    struct disk disk;
    struct metrics *metrics;
    struct admin *admin;
    struct worker *workers;
    unsigned worker_count;
    unsigned made;    /* workers that worker_init made */
    unsigned started; /* workers whose thread was started */
    unsigned ended;   /* workers whose loop is over */
    int *fds;         /* [listen address][worker]; -1: not open, or a worker's by now */
    size_t bound;     /* listen addresses that are open */
    atomic_uint connection_count;
    uv_loop_t loop;
    struct mailbox mailbox;
    uv_signal_t signals[ARRAY_LEN(watched_signals)];
    bool stopping;
};

static enum err init_loop(struct server *server);
static enum err start(struct server *server);
static enum err open_cache(struct server *server);
static enum err make_origin_sets(struct server *server);
static enum err open_sockets(struct server *server);
static enum err make_workers(struct server *server);
static enum err start_threads(struct server *server);
static enum err open_admin(struct server *server);
static void raise_descriptor_limit(const struct server *server);
static void announce(const struct server *server);
static void stop_workers(struct server *server);
static void close_loop_if_done(struct server *server);
static void finish(struct server *server);
static enum err explain(struct server *server, const char *what, enum err error);
static void on_signal(uv_signal_t *handle, int number);
static void on_worker_ended(struct message *message);

int server_run(struct config *config)
{
    struct server server = {.config = config};
    int status = EXIT_STOPPED;

    (void)signal(SIGPIPE, SIG_IGN); /* libuv does not do it; cannot fail for a valid number */
    buf_init(&server.text, TEXT_MAX_BYTES);
    enum err error =
        err_from_uv(uv_random(NULL, NULL, &config->server.instance_id, sizeof(config->server.instance_id), 0, NULL));
    if (error == ERR_OK) {
        error = init_loop(&server);
    }
    if (error == ERR_OK) {
        error = start(&server);
        if (error == ERR_OK) {
            announce(&server);
        } else {
            stop_workers(&server);
        }
        (void)uv_run(&server.loop, UV_RUN_DEFAULT); /* until the last worker has ended */
    }
    if (error != ERR_OK) {
        fprintf(stderr, "larder: %.*s\n", SPAN_ARG(buf_span(&server.text)));
        status = EXIT_CANNOT_START;
    }
    finish(&server);
    if (status == EXIT_STOPPED) {
        log_info("stopped");
    }
    return status;
}

/* On failure nothing of the loop is left; the rest of the server needs none. */
static enum err init_loop(struct server *server)
{
    int error = uv_loop_init(&server->loop);

    if (error < 0) {
        return explain(server, "cannot start", err_from_uv(error));
    }
    error = mailbox_init(&server->mailbox, &server->loop);
    if (error < 0) {
        (void)uv_loop_close(&server->loop); /* nothing is in it */
        return explain(server, "cannot start", err_from_uv(error));
    }
    for (size_t i = 0; i < ARRAY_LEN(watched_signals); i++) {
        REQUIRE(uv_signal_init(&server->loop, &server->signals[i]) == 0); /* the loop has its descriptors already */
        REQUIRE(uv_signal_start(&server->signals[i], on_signal, watched_signals[i]) == 0);
        server->signals[i].data = server;
    }
    return ERR_OK;
}

static enum err start(struct server *server)
{
    const struct config *config = server->config;
    enum err error = ERR_OK;

    server->worker_count = config->server.workers > 0 ? config->server.workers : uv_available_parallelism();
    server->workers = calloc(server->worker_count, sizeof *server->workers);
    server->fds = malloc((config->server.listen_count * server->worker_count + 1) * sizeof(int));
    server->metrics = metrics_create();
    if (server->workers == NULL || server->fds == NULL || server->metrics == NULL) {
        return explain(server, "cannot start", ERR_NO_MEMORY);
    }
    raise_descriptor_limit(server);
    error = access_log_check(config, &server->text);
    if (error == ERR_OK) {
        error = open_cache(server);
    }
    if (error == ERR_OK) {
        error = make_origin_sets(server);
    }
    if (error == ERR_OK) {
        error = open_sockets(server);
    }
    if (error == ERR_OK) {
        error = make_workers(server);
    }
    if (error == ERR_OK) {
        error = open_admin(server);
    }
    if (error == ERR_OK) {
        error = start_threads(server);
    }
    return error;
}

static enum err open_cache(struct server *server)
{
    const struct config *config = server->config;
    struct cache_options options = {
        .store =
            {
                .dir = config->cache.dir,
                .size_bytes = config->cache.size_bytes,
                .memory_bytes = memory_limit_bytes(),
                .max_variants = (unsigned)config->cache.max_variants,
                .max_readers = server->worker_count + SPARE_READERS,
            },
        .admit_large = config->cache.admit_large,
        .write_queue_bytes = config->cache.write_queue_bytes,
        .window_bytes = config->server.stream_buffer_bytes,
        .hit_for_miss_ms = config->cache.hit_for_miss_ms,
        .hot_bytes = (size_t)(config->cache.hot_bytes / server->worker_count),
    };
    struct buf note;

    buf_init(&note, TEXT_MAX_BYTES);
    enum err error = cache_open(&options, &server->cache, &note);
    if (error != ERR_OK) {
        server->cache = NULL;
        buf_format(&server->text, "cache.dir: cannot open the cache in \"%s\": ", config->cache.dir);
        buf_add(&server->text, note.len > 0 ? buf_span(&note) : span_of(err_text(error)));
    } else if (note.len > 0) {
        log_warn("%.*s", SPAN_ARG(buf_span(&note)));
    }
    buf_finish(&note);
    return error;
}

static enum err make_origin_sets(struct server *server)
{
    const struct config *config = server->config;

    server->origin_sets = calloc(config->site_count, sizeof(*server->origin_sets));
    if (server->origin_sets == NULL) {
        return explain(server, "cannot start", ERR_NO_MEMORY);
    }
    for (size_t i = 0; i < config->site_count; i++) {
        server->origin_sets[i] = origin_set_create(&config->sites[i]);
        if (server->origin_sets[i] == NULL) {
            return explain(server, "cannot start", ERR_NO_MEMORY);
        }
    }
    return ERR_OK;
}

/* Binds everything before anything listens. */
static enum err open_sockets(struct server *server)
{
    struct config *config = server->config;
    unsigned workers = server->worker_count;

    for (size_t i = 0; i < config->server.listen_count; i++) {
        enum err error = listener_open(&config->server.listen[i], workers, &server->fds[i * workers], &server->text);

        if (error != ERR_OK) {
            return error;
        }
        server->bound++;
    }
    for (size_t i = 0; i < config->server.listen_count; i++) {
        enum err error = listener_listen(&config->server.listen[i], workers, &server->fds[i * workers], &server->text);

        if (error != ERR_OK) {
            return error;
        }
    }
    return ERR_OK;
}

static enum err make_workers(struct server *server)
{
    size_t listen_count = server->config->server.listen_count;
    struct worker_shared shared = {.config = server->config,
                                   .cache = server->cache,
                                   .origin_sets = server->origin_sets,
                                   .connection_count = &server->connection_count,
                                   .metrics = server->metrics};
    int *fds = malloc((listen_count + 1) * sizeof *fds);
    enum err error = fds == NULL ? ERR_NO_MEMORY : ERR_OK;

    for (unsigned number = 0; number < server->worker_count && error == ERR_OK; number++) {
        for (size_t i = 0; i < listen_count; i++) {
            int *fd = &server->fds[i * server->worker_count + number];

            fds[i] = *fd;
            *fd = -1;
        }
        error = worker_init(&server->workers[number], number, &shared, fds);
        if (error == ERR_OK) {
            server->made++;
        }
    }
    free(fds);
    return error == ERR_OK ? ERR_OK : explain(server, "cannot make a worker", error);
}

static enum err open_admin(struct server *server)
{
    const struct admin_scope scope = {.loop = &server->loop,
                                      .mailbox = &server->mailbox,
                                      .cache = server->cache,
                                      .metrics = server->metrics,
                                      .connection_count = &server->connection_count,
                                      .workers = server->worker_count,
                                      .config = server->config,
                                      .origin_sets = server->origin_sets};

    return admin_open(&scope, &server->admin, &server->text);
}

static enum err start_threads(struct server *server)
{
    enum err error = disk_start(&server->disk, server->cache);

    for (unsigned i = 0; i < server->made && error == ERR_OK; i++) {
        error = worker_start(&server->workers[i], &server->mailbox, on_worker_ended);
        if (error == ERR_OK) {
            server->started++;
        }
    }
    return error == ERR_OK ? ERR_OK : explain(server, "cannot start a thread", error);
}

/* A proxy needs a descriptor or two for each client: the usual soft limit of 1024 is for programs that use select. */
static void raise_descriptor_limit(const struct server *server)
{
    struct rlimit limit = {0};

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return; /* then it stays what it is */
    }
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};

        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
            limit = raised;
        }
    }
    if (limit.rlim_cur < server->config->server.max_connections + SPARE_DESCRIPTORS) {
        log_warn("fewer descriptors than max_connections needs max_connections=%llu limit=%llu",
                 (unsigned long long)server->config->server.max_connections, (unsigned long long)limit.rlim_cur);
    }
}

static void announce(const struct server *server)
{
    struct buf address;

    buf_init(&address, TEXT_MAX_BYTES);
    for (size_t i = 0; i < server->config->server.listen_count; i++) {
        buf_clear(&address);
        address_format(&server->config->server.listen[i], &address);
        log_info("listening address=%.*s", SPAN_ARG(buf_span(&address)));
    }
    buf_finish(&address);
    log_info("ready");
}

static void stop_workers(struct server *server)
{
    server->stopping = true;
    for (unsigned i = 0; i < server->made; i++) {
        worker_stop(&server->workers[i]);
    }
    close_loop_if_done(server);
}

/* When no worker's thread has still to end. */
static void close_loop_if_done(struct server *server)
{
    if (!server->stopping || server->ended < server->started) {
        return;
    }
    admin_close(server->admin);
    for (size_t i = 0; i < ARRAY_LEN(watched_signals); i++) {
        uv_close((uv_handle_t *)&server->signals[i], NULL);
    }
    mailbox_close(&server->mailbox);
}

/* The reverse of start, of whatever was reached. */
static void finish(struct server *server)
{
    struct config *config = server->config;

    for (unsigned i = 0; i < server->made; i++) {
        worker_join(&server->workers[i]);
    }
    for (size_t i = 0; i < server->bound; i++) {
        for (unsigned j = 0; j < server->worker_count; j++) {
            int fd = server->fds[i * server->worker_count + j];

            if (fd >= 0) {
                close(fd);
            }
        }
        listener_remove_file(&config->server.listen[i]);
    }
    disk_stop(&server->disk);
    admin_destroy(server->admin);
    cache_close(server->cache);
    if (server->mailbox.closed) { /* the loop was made, and is over */
        REQUIRE(uv_loop_close(&server->loop) == 0);
        mailbox_finish(&server->mailbox);
    }
    for (size_t i = 0; server->origin_sets != NULL && i < config->site_count; i++) {
        origin_set_destroy(server->origin_sets[i]);
    }
    free(server->origin_sets);
    metrics_destroy(server->metrics);
    free(server->workers);
    free(server->fds);
    buf_finish(&server->text);
}

static enum err explain(struct server *server, const char *what, enum err error)
{
    buf_format(&server->text, "%s: %s", what, err_text(error));
    return error;
}

static void on_signal(uv_signal_t *handle, int number) /* uv_signal_cb */
{
    struct server *server = handle->data;

    if (number == SIGHUP) {
        log_info("SIGHUP ignored");
    } else if (!server->stopping) {
        log_info("stopping signal=%s", number == SIGTERM ? "SIGTERM" : "SIGINT");
        stop_workers(server);
    } else {
        log_info("a second signal, closing what still runs");
        for (unsigned i = 0; i < server->made; i++) {
            worker_abort(&server->workers[i]);
        }
    }
}

static void on_worker_ended(struct message *message) /* message.run */
{
    struct worker *worker = CONTAINER_OF(message, struct worker, ended_message);
    struct server *server = CONTAINER_OF(worker->ended_to, struct server, mailbox);

    server->ended++;
    close_loop_if_done(server);
}
