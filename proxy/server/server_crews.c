/* server_crews.c: the crews of the process: the one that serves, and former ones that finish what they began (crew.h).
 *
 * Happy path: the first is started with the process. SIGHUP: the configuration is read anew, a crew of it starts on the
 *             same sockets and takes the place of the one that serves. When that begins nothing any more, the reload
 *             is said to be done; when it has finished, it ends.
 * Failures:   - the new configuration is refused, or its crew cannot start: the log says why, the former one goes on.
 *             - too many former ones have not finished yet: the oldest gets shutdown_timeout, the reload is refused.
 * Threads:    the main thread. Workers tell it of their end, and of connections for another crew, by messages. */
#include "http/check.h"
#include "proxy/config/site_mode.h"
#include "proxy/io/log.h"
#include "proxy/server/process.h"
#include "proxy/server/reload.h"
#include "proxy/server/server_internal.h"

static void on_worker_retired(struct message *message);
static void on_worker_ended(struct message *message);
static void on_handover(struct message *message);

enum err server_start_crew(struct server *server, struct crew *crew)
{
    struct worker_shared shared = {.cache = server->cache,
                                   .limits = &server->limits,
                                   .metrics = server->metrics,
                                   .traffic = server->traffic,
                                   .follow = server->follow,
                                   .facts = server->facts,
                                   .descriptors = process_planned_descriptors(crew->config, server->worker_count),
                                   .server = &server->mailbox,
                                   .on_retired = on_worker_retired,
                                   .on_ended = on_worker_ended,
                                   .on_handover = on_handover};

    if (!site_modes_bind(server->modes, crew->config)) {
        return server_explain(server, "cannot start", ERR_NO_MEMORY);
    }
    return crew_start(crew, &shared, &server->text);
}

void server_announce(const struct crew *crew)
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
    if (count < SERVER_FORMER_CREWS_MAX) {
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

    server_announce(crew);
    crew_retire(former, crew);
    crew->next = former;
    server->crews = crew;
    site_modes_adopt(server->modes, crew->config);
    admin_use(server->admin, crew->config, crew->origin_sets);
    log_set_level(crew->config->server.log_level);
}

bool server_reload(struct server *server)
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
    enum err error = crew != NULL ? server_start_crew(server, crew) : ERR_LIMIT;
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

void server_remove_ended_crews(struct server *server)
{
    struct crew *serving = server->crews; /* kept: the administration tells about it to the end */
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
        server_close_loop(server);
    }
}

static struct crew *crew_of(struct server *server, const struct worker *worker)
{
    struct crew *crew = server->crews;

    while (worker < crew->workers || worker >= crew->workers + crew->made) {
        crew = crew->next;
    }
    return crew;
}

static void on_worker_retired(struct message *message) /* message.run */
{
    struct worker *worker = CONTAINER_OF(message, struct worker, retired_message);
    struct server *server = CONTAINER_OF(worker->shared.server, struct server, mailbox);
    struct crew *crew = crew_of(server, worker);

    crew->retired++;
    if (server->successor.state == SUCCESSOR_SERVES) {
        server_check_left(server);
    } else if (crew->replaced && crew_has_retired(crew) && !server->stopping) {
        log_info("configuration reloaded sites=%zu", server->crews->config->site_count);
        notify_ready(&server->notify, "serving");
    }
}

static void on_worker_ended(struct message *message) /* message.run */
{
    struct worker *worker = CONTAINER_OF(message, struct worker, ended_message);
    struct server *server = CONTAINER_OF(worker->shared.server, struct server, mailbox);

    worker->watched.over = true;
    crew_of(server, worker)->ended++;
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
