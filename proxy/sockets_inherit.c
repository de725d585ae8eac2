/* sockets_inherit.c: listening sockets that the process was started with.
 *
 * The protocol is sd_listen_fds(3): $LISTEN_PID says that they are meant for us, $LISTEN_FDS how many there are, from
 * descriptor 3 on. Names ($LISTEN_FDNAMES) do not matter: each socket is known by its address, which server.listen must
 * have too. The variables are removed, so that no child takes them for its own. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/check.h"
#include "http/span.h"
#include "proxy/log.h"
#include "proxy/sockets.h"

enum {
    FIRST_FD = 3,
    GIVEN_MAX = 4096,
};

/* How many descriptors there are for this process. */
static unsigned take_count(void)
{
    const char *pid_text = getenv("LISTEN_PID");
    const char *count_text = getenv("LISTEN_FDS");
    uint64_t pid = 0;
    uint64_t count = 0;

    if (pid_text == NULL || count_text == NULL || !span_to_u64(span_of(pid_text), &pid) ||
        !span_to_u64(span_of(count_text), &count) || pid != (uint64_t)getpid() || count > GIVEN_MAX) {
        count = 0;
    }
    (void)unsetenv("LISTEN_PID"); /* fails only for an invalid name */
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    return (unsigned)count;
}

static int option_of(int fd, int option)
{
    int value = 0;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

/* False: not one that we listen on. `*out_host` is malloc'd, NULL without memory. */
static bool address_of(int fd, struct address *out_address, char **out_host)
{
    struct sockaddr_storage name = {0};
    socklen_t len = sizeof(name);
    char text[INET6_ADDRSTRLEN];

    if (getsockname(fd, (struct sockaddr *)&name, &len) < 0) {
        return false;
    }
    if (name.ss_family == AF_UNIX) {
        const struct sockaddr_un *unix_name = (const struct sockaddr_un *)&name;
        *out_host = strndup(unix_name->sun_path, sizeof(unix_name->sun_path));
        *out_address = (struct address){.kind = ADDRESS_UNIX, .host = *out_host};
        return unix_name->sun_path[0] == '/';
    }
    if (name.ss_family == AF_INET) {
        const struct sockaddr_in *ip4 = (const struct sockaddr_in *)&name;
        *out_host = strdup(inet_ntop(AF_INET, &ip4->sin_addr, text, sizeof(text)));
        *out_address = (struct address){.kind = ADDRESS_IP, .host = *out_host, .port = ntohs(ip4->sin_port)};
        return true;
    }
    if (name.ss_family == AF_INET6) {
        const struct sockaddr_in6 *ip6 = (const struct sockaddr_in6 *)&name;
        *out_host = strdup(inet_ntop(AF_INET6, &ip6->sin6_addr, text, sizeof(text)));
        *out_address = (struct address){.kind = ADDRESS_IP, .host = *out_host, .port = ntohs(ip6->sin6_port)};
        return true;
    }
    return false;
}

/* Where the address is, or will be. */
static struct bound *bound_for(struct sockets *sockets, const struct address *address)
{
    for (size_t i = 0; i < sockets->count; i++) {
        const struct address *other = &sockets->bounds[i].wanted;
        if (other->kind == address->kind && other->port == address->port && strcmp(other->host, address->host) == 0) {
            return &sockets->bounds[i];
        }
    }
    return &sockets->bounds[sockets->count];
}

/* Owns `fd` and `host`. */
static enum err add(struct sockets *sockets, int fd, const struct address *address, char *host)
{
    struct bound *bound = bound_for(sockets, address);
    unsigned used = 0;

    if (bound == &sockets->bounds[sockets->count]) {
        *bound = (struct bound){.wanted = *address, .address = *address, .fds = malloc(sockets->workers * sizeof(int))};
        if (bound->fds == NULL) {
            close(fd);
            free(host);
            return ERR_NO_MEMORY;
        }
        memset(bound->fds, -1, sockets->workers * sizeof(int));
        bound->own_host = host;
        sockets->count++;
    } else {
        free(host);
    }
    while (used < sockets->workers && bound->fds[used] >= 0) {
        used++;
    }
    if (used == sockets->workers) {
        log_warn("more sockets of one address were given than there are workers, one is closed fd=%d", fd);
        close(fd);
    } else {
        bound->fds[used] = fd;
    }
    return ERR_OK;
}

static enum err inherit_one(struct sockets *sockets, int fd)
{
    struct address address;
    char *host = NULL;

    if (option_of(fd, SO_TYPE) != SOCK_STREAM || option_of(fd, SO_ACCEPTCONN) != 1 ||
        !address_of(fd, &address, &host)) {
        log_warn("a descriptor was given that is no listening stream socket, it is closed fd=%d", fd);
        free(host);
        close(fd);
        return ERR_OK;
    }
    if (host == NULL) {
        close(fd);
        return ERR_NO_MEMORY;
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        free(host);
        close(fd);
        return ERR_IO;
    }
    return add(sockets, fd, &address, host);
}

/* Workers beyond the sockets share them. */
static enum err share(struct bound *bound, unsigned workers)
{
    unsigned given = 0;

    while (given < workers && bound->fds[given] >= 0) {
        given++;
    }
    REQUIRE(given > 0); /* an address is noted with its first socket */
    for (unsigned i = given; i < workers; i++) {
        bound->fds[i] = fcntl(bound->fds[i % given], F_DUPFD_CLOEXEC, 0);
        if (bound->fds[i] < 0) {
            return ERR_LIMIT;
        }
    }
    return ERR_OK;
}

enum err sockets_inherit(struct sockets *sockets, unsigned workers, struct buf *out_error)
{
    unsigned count = take_count();
    enum err error = ERR_OK;

    *sockets = (struct sockets){.workers = workers, .bounds = calloc(count + 1, sizeof(struct bound))};
    if (sockets->bounds == NULL) {
        error = ERR_NO_MEMORY;
    }
    for (unsigned i = 0; i < count && error == ERR_OK; i++) {
        error = inherit_one(sockets, FIRST_FD + (int)i);
    }
    for (size_t i = 0; i < sockets->count && error == ERR_OK; i++) {
        error = share(&sockets->bounds[i], workers);
    }
    if (error != ERR_OK) {
        buf_format(out_error, "cannot use the sockets of the service manager: %s", err_text(error));
        sockets_close(sockets);
    }
    return error;
}
