/* sockets.c: see sockets.h.
 *
 * Happy path: an address that the former set has is taken over, as duplicates of its descriptors; another is bound.
 *             Listening begins when everything else of the configuration has worked.
 * Failures:   what was opened is closed; the former set goes on as it was. */
#include "proxy/server/sockets.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/server/listener.h"

static void close_fds(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
        fds[i] = -1;
    }
}

static enum err duplicate_all(const int *fds, unsigned count, int *out_fds)
{
    for (unsigned i = 0; i < count; i++) {
        out_fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        if (out_fds[i] < 0) {
            close_fds(out_fds, i);
            return ERR_LIMIT;
        }
    }
    return ERR_OK;
}

/* Has `sockets` taken this one from the former set? */
static bool has_taken(const struct sockets *sockets, const struct bound *former)
{
    for (size_t i = 0; i < sockets->count; i++) {
        if (sockets->bounds[i].former == former) {
            return true;
        }
    }
    return false;
}

static struct bound *find_former(const struct sockets *sockets, const struct sockets *former,
                                 const struct address *wanted)
{
    for (size_t i = 0; former != NULL && i < former->count; i++) {
        if (address_equal(&former->bounds[i].wanted, wanted) && !has_taken(sockets, &former->bounds[i])) {
            return &former->bounds[i];
        }
    }
    return NULL;
}

static enum err take_from(struct bound *bound, struct bound *former, unsigned workers, struct buf *out_error)
{
    enum err error = duplicate_all(former->fds, workers, bound->fds);

    if (error != ERR_OK) {
        buf_add_text(out_error, "no descriptor is left for a listening socket");
        return error;
    }
    bound->former = former;
    bound->address.port = former->address.port;
    return ERR_OK;
}

static enum err bind_new(struct bound *bound, unsigned workers, struct buf *out_error)
{
    enum err error = listener_open(&bound->address, workers, bound->fds, out_error);

    bound->has_file = error == ERR_OK && bound->address.kind == ADDRESS_UNIX;
    if (error != ERR_OK) {
        memset(bound->fds, -1, workers * sizeof(*bound->fds));
    }
    return error;
}

static enum err open_one(struct sockets *sockets, const struct address *configured, const struct sockets *former,
                         struct buf *out_error)
{
    struct address wanted = listener_address(configured);
    struct bound *same = find_former(sockets, former, &wanted);
    struct bound *bound = &sockets->bounds[sockets->count];

    *bound = (struct bound){.wanted = wanted, .address = wanted, .fds = malloc(sockets->workers * sizeof(int))};
    if (bound->fds == NULL) {
        buf_add_text(out_error, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    memset(bound->fds, -1, sockets->workers * sizeof(int));
    sockets->count++;
    return same != NULL ? take_from(bound, same, sockets->workers, out_error)
                        : bind_new(bound, sockets->workers, out_error);
}

enum err sockets_open(struct sockets *sockets, struct config *config, unsigned workers, const struct sockets *former,
                      struct buf *out_error)
{
    size_t count = config->server.listen_count;
    enum err error = ERR_OK;

    *sockets = (struct sockets){.workers = workers, .bounds = calloc(count + 1, sizeof(struct bound))};
    if (sockets->bounds == NULL) {
        buf_add_text(out_error, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < count && error == ERR_OK; i++) {
        error = open_one(sockets, &config->server.listen[i], former, out_error);
    }
    if (error != ERR_OK) {
        sockets_close(sockets);
        return error;
    }
    for (size_t i = 0; i < count; i++) {
        config->server.listen[i] = sockets->bounds[i].address;
    }
    return ERR_OK;
}

enum err sockets_listen(const struct sockets *sockets, struct buf *out_error)
{
    for (size_t i = 0; i < sockets->count; i++) {
        const struct bound *bound = &sockets->bounds[i];
        enum err error =
            bound->former == NULL ? listener_listen(&bound->address, sockets->workers, bound->fds, out_error) : ERR_OK;
        if (error != ERR_OK) {
            return error;
        }
    }
    return ERR_OK;
}

enum err sockets_duplicate(const struct sockets *sockets, unsigned number, int *out_fds)
{
    for (size_t i = 0; i < sockets->count; i++) {
        enum err error = duplicate_all(&sockets->bounds[i].fds[number], 1, &out_fds[i]);
        if (error != ERR_OK) {
            close_fds(out_fds, (unsigned)i);
            return error;
        }
    }
    return ERR_OK;
}

void sockets_take_over(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++) {
        struct bound *bound = &sockets->bounds[i];
        if (bound->former != NULL) {
            bound->has_file = bound->former->has_file;
            bound->former->has_file = false;
            bound->former->taken = true;
            bound->former = NULL;
        }
    }
}

void sockets_leave_files(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++) {
        sockets->bounds[i].has_file = false;
    }
}

void sockets_close(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++) {
        struct bound *bound = &sockets->bounds[i];
        close_fds(bound->fds, sockets->workers);
        free(bound->fds);
        if (bound->has_file) {
            listener_remove_file(&bound->address);
        }
        free(bound->own_host);
    }
    free(sockets->bounds);
    *sockets = (struct sockets){0};
}
