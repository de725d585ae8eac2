/* sockets_inherit.c: listening sockets that the process was started with, and those it gives to another.
 *
 * A service manager's protocol is sd_listen_fds(3): $LISTEN_PID says that they are meant for us, $LISTEN_FDS how many
 * there are, from descriptor 3 on. Names ($LISTEN_FDNAMES) do not matter: each socket is known by its address, which
 * the configuration must have too. The variables are removed, so that no child takes them for its own. */
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
#include "proxy/io/log.h"
#include "proxy/server/listener.h"
#include "proxy/server/sockets.h"

enum {
    FIRST_FD = 3,
    GIVEN_MAX = 4096,
    ADDRESS_MAX_BYTES = 8192,
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

/* False: not one that we listen on. A relative path is as it was bound, and as the configuration has it: a process has
 * the working directory of who starts it. `*out_host` is malloc'd, NULL without memory. */
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
        return unix_name->sun_path[0] != '\0'; /* which neither an abstract name nor an unnamed one has */
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

/* NULL: it has none such. */
static struct bound *find_bound(const struct sockets *sockets, const struct address *address)
{
    for (size_t i = 0; i < sockets->count; i++) {
        if (address_equal(&sockets->bounds[i].address, address)) {
            return &sockets->bounds[i];
        }
    }
    return NULL;
}

/* Owns `fd` and `host`. */
static enum err add(struct sockets *sockets, int fd, const struct address *address, char *host, char kind)
{
    struct bound *bound = find_bound(sockets, address);
    unsigned used = 0;

    if (bound == NULL) {
        bound = &sockets->bounds[sockets->count];
        *bound = (struct bound){.wanted = *address,
                                .address = *address,
                                .fds = malloc(sockets->workers * sizeof(int)),
                                .has_file = kind == 'f'};
        bound->wanted.port = kind == 'p' ? 0 : address->port;
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

static enum err inherit_one(struct sockets *sockets, int fd, char kind)
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
    return add(sockets, fd, &address, host, kind);
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

enum err sockets_inherit(struct sockets *sockets, unsigned workers, const char *kinds, struct buf *out_error)
{
    unsigned count = kinds != NULL ? (unsigned)strlen(kinds) : take_count();
    enum err error = ERR_OK;

    *sockets = (struct sockets){.workers = workers, .bounds = calloc(count + 1, sizeof(struct bound))};
    if (sockets->bounds == NULL) {
        error = ERR_NO_MEMORY;
    }
    for (unsigned i = 0; i < count && error == ERR_OK; i++) {
        error = inherit_one(sockets, FIRST_FD + (int)i, kinds != NULL ? kinds[i] : '-');
    }
    for (size_t i = 0; i < sockets->count && error == ERR_OK; i++) {
        error = share(&sockets->bounds[i], workers);
    }
    if (error != ERR_OK) {
        buf_format(out_error, "cannot use the sockets that were given: %s", err_text(error));
        sockets_leave_files(sockets);
        sockets_close(sockets);
    }
    return error;
}

int sockets_take_one(struct sockets *inherited, struct address *address, bool *out_has_file)
{
    struct bound *bound = NULL;

    for (size_t i = 0; i < inherited->count && bound == NULL; i++) {
        if (!inherited->bounds[i].taken && address_equal(&inherited->bounds[i].wanted, address)) {
            bound = &inherited->bounds[i];
        }
    }
    int fd = bound != NULL ? fcntl(bound->fds[0], F_DUPFD_CLOEXEC, 0) : -1;
    if (fd >= 0) {
        address->port = bound->address.port;
        bound->taken = true;
        *out_has_file = bound->has_file;
        bound->has_file = false;
    }
    return fd;
}

void sockets_close_inherited(struct sockets *inherited)
{
    struct buf address;

    buf_init(&address, ADDRESS_MAX_BYTES);
    for (size_t i = 0; i < inherited->count; i++) {
        if (!inherited->bounds[i].taken) {
            buf_clear(&address);
            address_format(&inherited->bounds[i].address, &address);
            log_warn("a socket was given that server.listen does not name, it is closed address=%.*s",
                     SPAN_ARG(buf_span(&address)));
        }
    }
    buf_finish(&address);
    sockets_close(inherited);
}

/* ---- giving them to another process ---- */

bool legacy_add(struct legacy *legacy, int fd, const struct address *wanted, bool has_file)
{
    int *fds = realloc(legacy->fds, (legacy->count + 1) * sizeof(*fds));
    if (fds == NULL) {
        return false;
    }
    legacy->fds = fds;
    char *kinds = realloc(legacy->kinds, legacy->count + 2);
    if (kinds == NULL) {
        return false;
    }
    legacy->kinds = kinds;
    fds[legacy->count] = fd;
    kinds[legacy->count] = has_file ? 'f' : wanted->kind == ADDRESS_IP && wanted->port == 0 ? 'p' : '-';
    kinds[legacy->count + 1] = '\0';
    legacy->count++;
    return true;
}

bool sockets_bequeath(const struct sockets *sockets, struct legacy *legacy)
{
    for (size_t i = 0; i < sockets->count; i++) {
        const struct bound *bound = &sockets->bounds[i];
        for (unsigned number = 0; number < sockets->workers; number++) {
            if (!legacy_add(legacy, bound->fds[number], &bound->wanted, bound->has_file)) {
                return false;
            }
        }
    }
    return true;
}

void legacy_finish(struct legacy *legacy)
{
    free(legacy->fds);
    free(legacy->kinds);
    *legacy = (struct legacy){0};
}
