/* crew.c: see crew.h.
 *
 * Happy path: created, started, retired when another has taken its place, destroyed when its workers have ended.
 * Failures:   - something cannot be opened or made: the crew is not started, and destroyed.
 *             - a thread cannot be started: those that run have accepted nothing yet; they are stopped, and it is
 *             destroyed when they have ended. */
#include "proxy/server/crew.h"

#include <stdlib.h>
#include <string.h>

#include "http/check.h"
#include "proxy/client/client.h"
#include "proxy/io/log.h"

static enum err fail(struct buf *out_error, const char *what, enum err error)
{
    buf_format(out_error, "%s: %s", what, err_text(error));
    return error;
}

/* The set of the same site, NULL without one. */
static struct origin_set *find_set(const struct crew *former, const struct site *site)
{
    for (size_t i = 0; former != NULL && i < former->config->site_count; i++) {
        const struct site *other = &former->config->sites[i];
        if (strcmp(other->name, site->name) == 0 && span_equal(other->path_prefix, site->path_prefix)) {
            return former->origin_sets[i];
        }
    }
    return NULL;
}

static enum err make_origin_sets(struct crew *crew, const struct crew *former)
{
    const struct config *config = crew->config;

    crew->origin_sets = calloc(config->site_count + 1, sizeof(struct origin_set *));
    if (crew->origin_sets == NULL) {
        return ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < config->site_count; i++) {
        struct origin_set *known = find_set(former, &config->sites[i]);
        crew->origin_sets[i] = origin_set_create(&config->sites[i]);
        if (crew->origin_sets[i] == NULL) {
            return ERR_NO_MEMORY;
        }
        if (known != NULL) {
            origin_set_inherit(crew->origin_sets[i], known);
        }
    }
    return ERR_OK;
}

struct crew *crew_create(struct config *config, unsigned worker_count, const struct sockets *sockets,
                         const struct crew *former, struct buf *out_error)
{
    struct crew *crew = calloc(1, sizeof(*crew));

    if (crew == NULL) {
        config_destroy(config);
        (void)fail(out_error, "cannot start", ERR_NO_MEMORY);
        return NULL;
    }
    crew->config = config;
    crew->worker_count = worker_count;
    crew->workers = aligned_alloc(alignof(struct worker), worker_count * sizeof(*crew->workers));
    if (crew->workers != NULL) {
        memset(crew->workers, 0, worker_count * sizeof(*crew->workers));
    }
    if (crew->workers == NULL || make_origin_sets(crew, former) != ERR_OK) {
        (void)fail(out_error, "cannot start", ERR_NO_MEMORY);
    } else if (sockets_open(&crew->sockets, config, worker_count, sockets, out_error) == ERR_OK) {
        return crew;
    }
    crew_destroy(crew);
    return NULL;
}

static enum err make_workers(struct crew *crew, const struct worker_shared *shared)
{
    int *fds = malloc((crew->sockets.count + 1) * sizeof(*fds));
    enum err error = fds == NULL ? ERR_NO_MEMORY : ERR_OK;

    for (unsigned number = 0; number < crew->worker_count && error == ERR_OK; number++) {
        error = sockets_duplicate(&crew->sockets, number, fds);
        if (error == ERR_OK) {
            error = worker_init(&crew->workers[number], number, crew->config, crew->origin_sets, shared, fds);
        }
        if (error == ERR_OK) {
            crew->made++;
        }
    }
    free(fds);
    return error;
}

enum err crew_start(struct crew *crew, const struct worker_shared *shared, struct buf *out_error)
{
    enum err error = access_log_check(crew->config, out_error);

    if (error == ERR_OK) {
        error = sockets_listen(&crew->sockets, out_error);
    }
    if (error != ERR_OK) {
        return error;
    }
    error = make_workers(crew, shared);
    if (error != ERR_OK) {
        return fail(out_error, "cannot make a worker", error);
    }
    for (unsigned i = 0; i < crew->made && error == ERR_OK; i++) {
        error = worker_start(&crew->workers[i]);
        if (error == ERR_OK) {
            crew->started++;
        }
    }
    if (error != ERR_OK) {
        return fail(out_error, "cannot start a thread", error);
    }
    for (unsigned i = 0; i < crew->made; i++) {
        worker_serve(&crew->workers[i]);
    }
    return ERR_OK;
}

static void retire(struct crew *crew)
{
    sockets_close(&crew->sockets);
    for (unsigned i = 0; i < crew->made; i++) {
        worker_retire(&crew->workers[i]);
    }
}

void crew_retire(struct crew *former, struct crew *crew)
{
    sockets_take_over(&crew->sockets);
    former->replaced = true;
    retire(former);
}

void crew_leave(struct crew *crew)
{
    sockets_leave_files(&crew->sockets);
    retire(crew);
}

void crew_stop(struct crew *crew)
{
    if (crew->stopping) {
        return;
    }
    crew->stopping = true;
    sockets_close(&crew->sockets);
    for (unsigned i = 0; i < crew->made; i++) {
        worker_stop(&crew->workers[i]);
    }
}

void crew_abort(struct crew *crew)
{
    crew_stop(crew);
    for (unsigned i = 0; i < crew->made; i++) {
        worker_abort(&crew->workers[i]);
    }
}

void crew_reopen_log(struct crew *crew)
{
    for (unsigned i = 0; i < crew->made; i++) {
        worker_reopen_log(&crew->workers[i]);
    }
}

void crew_take_connection(struct crew *crew, struct handover *handover)
{
    worker_take_connection(&crew->workers[crew->turn++ % crew->made], handover);
}

bool crew_has_retired(const struct crew *crew)
{
    return crew->retired == crew->made;
}

bool crew_is_over(const struct crew *crew)
{
    return crew->ended == crew->started;
}

void crew_destroy(struct crew *crew)
{
    if (crew == NULL) {
        return;
    }
    crew_stop(crew); /* of workers that never ran nobody else has asked it */
    for (unsigned i = 0; i < crew->made; i++) {
        worker_join(&crew->workers[i]);
    }
    sockets_close(&crew->sockets);
    for (size_t i = 0; crew->origin_sets != NULL && i < crew->config->site_count; i++) {
        origin_set_destroy(crew->origin_sets[i]);
    }
    free(crew->origin_sets);
    free(crew->workers);
    config_destroy(crew->config);
    free(crew);
}
