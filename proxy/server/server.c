/* server.c: the main thread: everything is opened here, in an order in which what the configuration got wrong is told
 * before anything listens; then it waits for signals, and stops everything in the reverse order.
 *
 * Happy path: sockets bound, root given up, store, disk thread, the crew of workers; "ready". SIGTERM or SIGINT: the
 * workers stop accepting and finish; when the last has ended the disk thread writes what is queued, the store is
 * closed, status 0. SIGHUP: another configuration takes the place of this one (server_crews.c); SIGUSR2: another
 * process does (server_upgrade.c).
 * Failures:   - something cannot be opened: one line on standard error, what is open is closed, status 2.
 *             - a second signal: the workers close what still runs.
 * Threads:    signals come to this thread only (thread.h). Workers tell their end by a message to this loop. */
#include "proxy/server/server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/check.h"
#include "proxy/config/site_mode.h"
#include "proxy/io/log.h"
#include "proxy/io/loop_room.h"
#include "proxy/io/memory.h"
#include "proxy/server/process.h"
#include "proxy/server/server_internal.h"

enum {
    EXIT_STOPPED = 0,
    EXIT_CANNOT_START = 2,
};

static const int watched_signals[SERVER_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

static enum err init_loop(struct server *server);
static enum err start(struct server *server, struct config *config);
static enum err make_tables(struct server *server);
static enum err open_cache(struct server *server, const struct config *config);
static enum err open_admin(struct server *server);
static void stop(struct server *server);
static void finish(struct server *server);
static void on_signal(uv_signal_t *handle, int number);

int server_run(struct config *config, const struct config_flags *flags, const char *const *argv)
{
    struct server server = {.flags = flags, .argv = argv, .successor = {.fd = -1}};
    int status = EXIT_STOPPED;

    loop_use_allocator();
    (void)signal(SIGPIPE, SIG_IGN); /* libuv does not do it; cannot fail for a valid number */
    buf_init_in(&server.text, server.text_memory, sizeof(server.text_memory));
    notify_open(&server.notify);
    enum err error =
        err_from_uv(uv_random(NULL, NULL, &config->server.instance_id, sizeof(config->server.instance_id), 0, NULL));
    if (error == ERR_OK) {
        error = init_loop(&server);
    }
    if (error != ERR_OK) {
        config_destroy(config);
    } else {
        error = start(&server, config);
        if (error == ERR_OK) {
            server_announce(server.crews);
            watchdog_start(&server.watchdog, &server.loop, &server.crews, &server.notify);
            process_warn_of_root();
            log_info("ready");
            if (server.predecessor != NULL) {
                server_succeed(&server); /* which tells the service manager who serves now */
            } else {
                notify_ready(&server.notify, "serving");
            }
        } else {
            server_forsake(&server);
            stop(&server);
        }
        (void)uv_run(&server.loop, UV_RUN_DEFAULT); /* until the last worker has ended */
    }
    if (error != ERR_OK) {
        fprintf(stderr, "larder: %.*s\n", SPAN_ARG(buf_span(&server.text)));
        status = EXIT_CANNOT_START;
    }
    finish(&server);
    notify_close(&server.notify);
    if (status == EXIT_STOPPED) {
        log_info("stopped");
    }
    return status;
}

/* On failure nothing of the loop is left; the rest of the server needs none. */
static enum err init_loop(struct server *server)
{
    int error = loop_init(&server->loop, 0); /* how many descriptors there may be is not known yet */

    if (error < 0) {
        return server_explain(server, "cannot start", err_from_uv(error));
    }
    error = mailbox_init(&server->mailbox, &server->loop);
    if (error < 0) {
        (void)uv_loop_close(&server->loop); /* nothing is in it */
        return server_explain(server, "cannot start", err_from_uv(error));
    }
    REQUIRE(uv_timer_init(&server->loop, &server->leave_timer) == 0);
    server->leave_timer.data = server;
    for (size_t i = 0; i < ARRAY_LEN(watched_signals); i++) {
        REQUIRE(uv_signal_init(&server->loop, &server->signals[i]) == 0); /* the loop has its descriptors already */
        REQUIRE(uv_signal_start(&server->signals[i], on_signal, watched_signals[i]) == 0);
        server->signals[i].data = server;
    }
    return ERR_OK;
}

/* Makes the first crew, with the sockets that the process was started with where an address has one. Owns `config`. */
static enum err bind_first(struct server *server, struct config *config)
{
    const char *kinds = server->predecessor != NULL ? predecessor_socket_kinds(server->predecessor) : NULL;
    enum err error = sockets_inherit(&server->inherited, server->worker_count, kinds, &server->text);

    if (error != ERR_OK) {
        config_destroy(config);
        return error;
    }
    server->crews = crew_create(config, server->worker_count, &server->inherited, NULL, &server->text);
    if (server->crews == NULL) {
        return ERR_LIMIT;
    }
    sockets_take_over(&server->crews->sockets);
    return ERR_OK;
}

/* As many as configured, but for an upgrade: what waits at a socket must have a worker that takes it. */
static unsigned count_workers(const struct server *server, const struct config *config)
{
    unsigned wanted = config->server.workers > 0 ? config->server.workers : uv_available_parallelism();
    unsigned given = server->predecessor != NULL ? predecessor_workers(server->predecessor) : wanted;

    if (given != wanted) {
        log_warn("a restart is needed for this setting, it stays as it is setting=server.workers");
    }
    return given;
}

/* Everything but what needs the store. Owns `config`. */
static enum err prepare(struct server *server, struct config *config)
{
    if (!predecessor_find(&server->predecessor, &server->text)) {
        config_destroy(config);
        return ERR_FOREIGN;
    }
    server->worker_count = count_workers(server, config);
    server->metrics = metrics_create();
    server->follow = follow_create(&server->mailbox);
    enum err error = server->metrics == NULL || server->follow == NULL ? ERR_NO_MEMORY : make_tables(server);
    if (error != ERR_OK) {
        config_destroy(config);
        return server_explain(server, "cannot start", error);
    }
    process_raise_descriptor_limit(config, server->worker_count);
    loop_make_room(&server->loop, process_planned_descriptors(config, server->worker_count));
    error = bind_first(server, config);
    if (error != ERR_OK) {
        return error;
    }
    if (!process_drop_privileges(config, &server->text)) {
        return ERR_LIMIT;
    }
    return access_log_check(config, &server->text);
}

/* Owns `config`. */
static enum err start(struct server *server, struct config *config)
{
    enum err error = prepare(server, config);

    if (error == ERR_OK && server->predecessor != NULL) {
        if (predecessor_take_store(server->predecessor, server->modes, &server->text)) {
            site_modes_adopt(server->modes, server->crews->config);
        } else {
            error = ERR_IN_USE;
        }
    }
    if (error == ERR_OK) {
        error = open_cache(server, config);
    }
    if (error == ERR_OK) {
        error = open_admin(server);
    }
    if (error == ERR_OK) {
        sockets_close_inherited(&server->inherited);
        loop_start_pool(&server->loop, &server->pool_start);
        error = disk_start(&server->disk, server->cache);
        if (error != ERR_OK) {
            return server_explain(server, "cannot start a thread", error);
        }
        error = server_start_crew(server, server->crews);
    }
    return error;
}

static enum err open_admin(struct server *server)
{
    const struct admin_scope scope = {.loop = &server->loop,
                                      .mailbox = &server->mailbox,
                                      .cache = server->cache,
                                      .metrics = server->metrics,
                                      .traffic = server->traffic,
                                      .follow = server->follow,
                                      .facts = server->facts,
                                      .connection_count = &server->limits.connections,
                                      .workers = server->worker_count,
                                      .inherited = &server->inherited,
                                      .config = server->crews->config,
                                      .origin_sets = server->crews->origin_sets};

    return admin_open(&scope, &server->admin, &server->text);
}

/* Hashed with a secret, so that nobody outside can choose addresses and URLs that collide. */
static enum err make_tables(struct server *server)
{
    struct client_limits *limits = &server->limits;
    uint64_t secret;
    enum err error = err_from_uv(uv_random(NULL, NULL, &secret, sizeof(secret), 0, NULL));

    if (error != ERR_OK) {
        return error;
    }
    limits->clients = client_table_create(secret);
    limits->rates = rate_limit_create(secret);
    server->traffic = traffic_create(secret, worker_now_ms());
    server->facts = facts_create(secret);
    server->modes = site_modes_create();
    bool made = limits->clients != NULL && limits->rates != NULL && server->traffic != NULL && server->facts != NULL &&
                server->modes != NULL;
    return made ? ERR_OK : ERR_NO_MEMORY;
}

static enum err open_cache(struct server *server, const struct config *config)
{
    uint64_t memory_bytes = memory_limit_bytes();
    struct cache_options options = {
        .store =
            {
                .dir = config->cache.dir,
                .size_bytes = config->cache.size_bytes,
                .memory_bytes = memory_bytes,
                .max_variants = (unsigned)config->cache.max_variants,
            },
        .write_queue_bytes = config->cache.write_queue_bytes,
        .window_bytes = config->server.stream_buffer_bytes,
        .stream_memory_bytes = config->server.stream_memory_bytes,
        .hit_for_miss_ms = config->cache.hit_for_miss_ms,
        .hot_bytes = (size_t)(config_hot_bytes(config, memory_bytes) / server->worker_count),
    };
    struct buf note;

    buf_init(&note, SERVER_TEXT_MAX_BYTES);
    enum err error = cache_open(&options, &server->cache, &note);
    if (error != ERR_OK) {
        server->cache = NULL;
        buf_format(&server->text, "cache.dir: cannot open the cache in \"%s\": ", config->cache.dir);
        buf_add(&server->text, note.len > 0 ? buf_span(&note) : span_of(err_text(error)));
    } else if (note.len > 0) {
        log_warn("%.*s", SPAN_ARG(buf_span(&note)));
    }
    buf_finish(&note);
    if (error == ERR_OK && server->predecessor != NULL) {
        error = predecessor_pin(server->predecessor, server->cache);
        if (error != ERR_OK) {
            return server_explain(server, "cannot take the store over", error);
        }
    }
    return error;
}

static void stop(struct server *server)
{
    server->stopping = true;
    for (struct crew *crew = server->crews; crew != NULL; crew = crew->next) {
        crew_stop(crew);
    }
    server_remove_ended_crews(server);
}

void server_close_loop(struct server *server)
{
    admin_close(server->admin);
    watchdog_close(&server->watchdog);
    successor_close(&server->successor);
    predecessor_close(server->predecessor);
    uv_close((uv_handle_t *)&server->leave_timer, NULL);
    for (size_t i = 0; i < ARRAY_LEN(watched_signals); i++) {
        uv_close((uv_handle_t *)&server->signals[i], NULL);
    }
    mailbox_close(&server->mailbox);
}

/* The reverse of start, of whatever was reached. */
static void finish(struct server *server)
{
    admin_destroy(server->admin);
    crew_destroy(server->crews);
    disk_stop(&server->disk);
    sockets_leave_files(&server->inherited); /* who gave them goes on with them */
    sockets_close(&server->inherited);
    predecessor_destroy(server->predecessor);
    cache_close(server->cache);
    successor_finish(&server->successor); /* only then it hears that we have ended */
    if (server->mailbox.closed) {         /* the loop was made, and is over */
        REQUIRE(uv_loop_close(&server->loop) == 0);
        mailbox_finish(&server->mailbox);
    }
    metrics_destroy(server->metrics);
    traffic_destroy(server->traffic);
    follow_destroy(server->follow);
    facts_destroy(server->facts);
    site_modes_destroy(server->modes);
    client_table_destroy(server->limits.clients);
    rate_limit_destroy(server->limits.rates);
    buf_finish(&server->text);
}

enum err server_explain(struct server *server, const char *what, enum err error)
{
    buf_format(&server->text, "%s: %s", what, err_text(error));
    return error;
}

static const char *signal_name(int number)
{
    switch (number) {
    case SIGTERM:
        return "SIGTERM";
    case SIGINT:
        return "SIGINT";
    case SIGHUP:
        return "SIGHUP";
    case SIGUSR2:
        return "SIGUSR2";
    default:
        return "SIGUSR1";
    }
}

static void on_signal(uv_signal_t *handle, int number) /* uv_signal_cb */
{
    struct server *server = handle->data;

    if (server->stopping && (number == SIGTERM || number == SIGINT)) {
        log_info("a second signal, closing what still runs");
        for (struct crew *crew = server->crews; crew != NULL; crew = crew->next) {
            crew_abort(crew);
        }
    } else if (server->stopping) {
        log_info("stopping, signal ignored signal=%s", signal_name(number));
    } else if (server_is_upgrading(server) && number == SIGHUP) {
        log_warn("an upgrade is under way, signal ignored signal=SIGHUP");
    } else if (number == SIGHUP) {
        notify_reloading(&server->notify);
        if (!server_reload(server)) {
            notify_ready(&server->notify, "serving; the last reload was refused");
        }
    } else if (number == SIGUSR1) {
        log_info("opening the access log anew");
        for (struct crew *crew = server->crews; crew != NULL; crew = crew->next) {
            crew_reopen_log(crew);
        }
    } else if (number == SIGUSR2) {
        server_upgrade(server);
    } else {
        log_info("stopping signal=%s", signal_name(number));
        notify_stopping(&server->notify);
        successor_close(&server->successor); /* nobody is to take our place */
        stop(server);
    }
}
