/* server.c: the main thread: everything is opened here, in an order in which what the configuration got wrong is told
 * before anything listens; then it waits for signals, and stops everything in the reverse order.
 *
 * Happy path: sockets bound, root given up, store, disk thread, the crew of workers; "ready". SIGTERM or SIGINT: the
 * workers stop accepting and finish; when the last has ended the disk thread writes what is queued, the store is
 * closed, status 0. SIGHUP: a new crew takes the place of the former one, which ends when it has finished (crew.h).
 * SIGUSR2: another process does (server_upgrade.c).
 * Failures:   - something cannot be opened: one line on standard error, what is open is closed, status 2.
 *             - a configuration that is read anew is refused: the log says why, the former one goes on.
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
#include "proxy/server/reload.h"
#include "proxy/server/server_internal.h"

enum {
    EXIT_STOPPED = 0,
    EXIT_CANNOT_START = 2,
    FORMER_CREWS_MAX = 8, /* that finish what they began */
    SPARE_READERS = 4,    /* of the store, beyond one a worker */
};

static const int watched_signals[SERVER_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

static enum err init_loop(struct server *server);
static enum err start(struct server *server, struct config *config);
static enum err make_tables(struct server *server);
static enum err open_cache(struct server *server, const struct config *config);
static enum err start_crew(struct server *server, struct crew *crew);
static enum err open_admin(struct server *server);
static void announce(const struct crew *crew);
static bool reload(struct server *server);
static void stop(struct server *server);
static void close_loop(struct server *server);
static void finish(struct server *server);
static enum err explain(struct server *server, const char *what, enum err error);
static void on_signal(uv_signal_t *handle, int number);
static void on_worker_ended(struct message *message);
static void on_handover(struct message *message);

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
            announce(server.crews);
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
        return explain(server, "cannot start", err_from_uv(error));
    }
    error = mailbox_init(&server->mailbox, &server->loop);
    if (error < 0) {
        (void)uv_loop_close(&server->loop); /* nothing is in it */
        return explain(server, "cannot start", err_from_uv(error));
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
        return explain(server, "cannot start", error);
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
            return explain(server, "cannot start a thread", error);
        }
        error = start_crew(server, server->crews);
    }
    return error;
}

static enum err start_crew(struct server *server, struct crew *crew)
{
    struct worker_shared shared = {.cache = server->cache,
                                   .limits = &server->limits,
                                   .metrics = server->metrics,
                                   .traffic = server->traffic,
                                   .follow = server->follow,
                                   .facts = server->facts,
                                   .descriptors = process_planned_descriptors(crew->config, server->worker_count),
                                   .server = &server->mailbox,
                                   .on_ended = on_worker_ended,
                                   .on_handover = on_handover};

    if (!site_modes_bind(server->modes, crew->config)) {
        return explain(server, "cannot start", ERR_NO_MEMORY);
    }
    return crew_start(crew, &shared, &server->text);
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
    struct cache_options options = {
        .store =
            {
                .dir = config->cache.dir,
                .size_bytes = config->cache.size_bytes,
                .memory_bytes = memory_limit_bytes(),
                .max_variants = (unsigned)config->cache.max_variants,
                .max_readers = server->worker_count * (FORMER_CREWS_MAX + 2) + SPARE_READERS,
            },
        .admit_large = config->cache.admit_large,
        .write_queue_bytes = config->cache.write_queue_bytes,
        .window_bytes = config->server.stream_buffer_bytes,
        .stream_memory_bytes = config->server.stream_memory_bytes,
        .hit_for_miss_ms = config->cache.hit_for_miss_ms,
        .hot_bytes = (size_t)(config->cache.hot_bytes / server->worker_count),
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
            return explain(server, "cannot take the store over", error);
        }
    }
    return error;
}

/* What the crew has bound; what it has from a former one was said already. */
static void announce(const struct crew *crew)
{
    struct buf address;

    buf_init(&address, SERVER_TEXT_MAX_BYTES);
    for (size_t i = 0; i < crew->sockets.count; i++) {
        if (crew->sockets.bounds[i].former == NULL) {
            buf_clear(&address);
            address_format(&crew->sockets.bounds[i].address, &address);
            log_info("listening address=%.*s", SPAN_ARG(buf_span(&address)));
        }
    }
    buf_finish(&address);
}

/* So that neither threads nor readers of the store are without limit. False: a reload must wait. */
static bool has_room_for_crew(const struct server *server)
{
    struct crew *oldest = server->crews;
    unsigned count = 0;

    for (; oldest->next != NULL; oldest = oldest->next) {
        count++;
    }
    if (count < FORMER_CREWS_MAX) {
        return true;
    }
    log_error(
        "requests of %u former configurations still run: the oldest ones get shutdown_timeout to finish, try again "
        "then",
        count);
    crew_stop(oldest);
    return false;
}

/* The crew takes the place of the one that serves. */
static void replace_crew(struct server *server, struct crew *crew)
{
    struct crew *former = server->crews;

    announce(crew);
    crew_retire(former, crew);
    crew->next = former;
    server->crews = crew;
    site_modes_adopt(server->modes, crew->config);
    admin_use(server->admin, crew->config, crew->origin_sets);
    log_set_level(crew->config->server.log_level);
    log_info("configuration reloaded sites=%zu", crew->config->site_count);
}

/* False: the former configuration goes on. */
static bool reload(struct server *server)
{
    struct crew *former = server->crews;

    log_info("reloading the configuration");
    struct config *config = has_room_for_crew(server) ? reload_config(server->flags, former->config) : NULL;
    if (config == NULL) {
        return false;
    }
    buf_clear(&server->text);
    process_raise_descriptor_limit(config, server->worker_count);
    struct crew *crew = crew_create(config, server->worker_count, &former->sockets, former, &server->text);
    enum err error = crew != NULL ? start_crew(server, crew) : ERR_LIMIT;
    if (error == ERR_OK) {
        replace_crew(server, crew);
        return true;
    }
    log_error("the new configuration cannot be used, the former one goes on error=%s",
              log_quoted(buf_span(&server->text)).text);
    if (crew != NULL) { /* it ends like a former one */
        crew->next = former->next;
        former->next = crew;
        crew_abort(crew);
        server_remove_ended_crews(server);
    }
    return false;
}

static void stop(struct server *server)
{
    server->stopping = true;
    for (struct crew *crew = server->crews; crew != NULL; crew = crew->next) {
        crew_stop(crew);
    }
    server_remove_ended_crews(server);
}

/* The one that serves is kept: the administration tells about it to the end. */
void server_remove_ended_crews(struct server *server)
{
    struct crew *serving = server->crews;
    struct crew **link = serving != NULL ? &serving->next : &server->crews;

    while (*link != NULL) {
        struct crew *crew = *link;
        if (crew_is_over(crew)) {
            *link = crew->next;
            crew_destroy(crew);
        } else {
            link = &crew->next;
        }
    }
    if (server->stopping && (serving == NULL || (crew_is_over(serving) && serving->next == NULL))) {
        close_loop(server);
    }
}

/* No worker is left that could post to it. */
static void close_loop(struct server *server)
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

static enum err explain(struct server *server, const char *what, enum err error)
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
        bool accepted = reload(server);
        notify_ready(&server->notify, accepted ? "serving" : "serving; the last reload was refused");
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

static void on_worker_ended(struct message *message) /* message.run */
{
    struct worker *worker = CONTAINER_OF(message, struct worker, ended_message);
    struct server *server = CONTAINER_OF(worker->shared.server, struct server, mailbox);

    worker->watched.over = true;
    for (struct crew *crew = server->crews; crew != NULL; crew = crew->next) {
        if (worker >= crew->workers && worker < crew->workers + crew->made) {
            crew->ended++;
        }
    }
    server_remove_ended_crews(server);
}

static void on_handover(struct message *message) /* message.run */
{
    struct handover *handover = CONTAINER_OF(message, struct handover, message);
    struct server *server = CONTAINER_OF(handover->worker->shared.server, struct server, mailbox);

    if (server->stopping) {
        server_pass_on(server, handover);
    } else {
        crew_take_connection(server->crews, handover);
    }
}
