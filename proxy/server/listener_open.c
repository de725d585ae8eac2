/* listener_open.c: binding the sockets that the workers accept from, before any thread runs.
 *
 * Happy path: a probe socket without SO_REUSEPORT binds the port and is closed again: nobody else has it. Then one
 *             socket a worker binds it with SO_REUSEPORT. Port 0: the first of these picks, the others follow.
 * Failures:   each is one line that names the address; what was opened is closed.
 *             - a unix socket's file is there and nobody answers on it: left by a crash, removed.
 * Plain sockets instead of libuv's: its uv_tcp_bind has no SO_REUSEPORT (1.44) and puts EADDRINUSE off until uv_listen.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/io/conn.h"
#include "proxy/server/listener.h"

enum { BACKLOG = 4096 }; /* the kernel caps it at net.core.somaxconn */

static int bind_all(struct address *address, unsigned count, int *out_fds);
static int bind_one(const struct address *address, bool share);
static int bound_port(int fd, uint16_t *out_port);
static int open_unix(const struct address *address, unsigned count, int *out_fds);
static int remove_stale(const struct address *address, const struct sockaddr_storage *name, socklen_t len);
static void close_all(const int *fds, unsigned count);
static enum err report(const struct address *address, const char *what, int error, struct buf *out_error);

struct address listener_address(const struct address *configured)
{
    struct address any = *configured;
    struct in6_addr ip;

    if (any.kind != ADDRESS_IP || inet_pton(AF_INET6, any.host, &ip) != 1 || !IN6_IS_ADDR_UNSPECIFIED(&ip)) {
        return any;
    }
    any.port = 0; /* which is never in use */
    int probe = bind_one(&any, false);
    if (probe >= 0) {
        close(probe);
    } else if (probe == -EAFNOSUPPORT || probe == -EADDRNOTAVAIL) {
        any.host = "0.0.0.0";
    }
    any.port = configured->port;
    return any;
}

enum err listener_open(struct address *address, unsigned count, int *out_fds, struct buf *out_error)
{
    int error = address->kind == ADDRESS_UNIX ? open_unix(address, count, out_fds) : bind_all(address, count, out_fds);

    return error == 0 ? ERR_OK : report(address, "listen on", error, out_error);
}

enum err listener_listen(const struct address *address, unsigned count, const int *fds, struct buf *out_error)
{
    for (unsigned i = 0; i < count; i++) {
        if (listen(fds[i], BACKLOG) < 0) {
            return report(address, "listen on", errno, out_error);
        }
    }
    return ERR_OK;
}

void listener_remove_file(const struct address *address)
{
    if (address->kind == ADDRESS_UNIX) {
        (void)unlink(address->host); /* may be gone already, and at the end there is nothing to do about a failure */
    }
}

/* All helpers: an errno value, 0 for success. */
static int bind_all(struct address *address, unsigned count, int *out_fds)
{
    bool picked = address->port != 0;

    if (picked) {
        int probe = bind_one(address, false);

        if (probe < 0) {
            return -probe;
        }
        close(probe);
    }
    for (unsigned i = 0; i < count; i++) {
        int fd = bind_one(address, true);
        int error = fd < 0 ? -fd : 0;

        if (error == 0 && address->port == 0) {
            error = bound_port(fd, &address->port);
            if (error != 0) {
                close(fd);
            }
        }
        if (error != 0) {
            close_all(out_fds, i);
            if (!picked) {
                address->port = 0;
            }
            return error;
        }
        out_fds[i] = fd;
    }
    return 0;
}

/* A socket bound to the address, or a negative errno value. */
static int bind_one(const struct address *address, bool share)
{
    struct sockaddr_storage name;
    socklen_t len;
    int on = 1;
    int off = 0;

    if (!listener_sockaddr(address, &name, &len)) {
        return -EINVAL;
    }
    int fd = socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    /* SO_REUSEADDR: connections of a former process in TIME_WAIT do not count. "::" is IPv4 as well. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        (share && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) ||
        (name.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) < 0) ||
        bind(fd, (struct sockaddr *)&name, len) < 0) {
        int error = errno;

        close(fd);
        return -error;
    }
    return fd;
}

static int bound_port(int fd, uint16_t *out_port)
{
    struct sockaddr_storage name = {0};
    socklen_t len = sizeof name;

    if (getsockname(fd, (struct sockaddr *)&name, &len) < 0) {
        return errno;
    }
    *out_port = ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                                 : ((struct sockaddr_in *)&name)->sin_port);
    return 0;
}

/* One socket, its descriptor duplicated for each worker. */
static int open_unix(const struct address *address, unsigned count, int *out_fds)
{
    struct sockaddr_storage name;
    socklen_t len;
    int error = 0;

    if (!listener_sockaddr(address, &name, &len)) {
        return ENAMETOOLONG;
    }
    error = remove_stale(address, &name, len);
    if (error != 0) {
        return error;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    if (bind(fd, (struct sockaddr *)&name, len) < 0) {
        error = errno;
        close(fd);
        return error;
    }
    out_fds[0] = fd;
    for (unsigned i = 1; i < count; i++) {
        out_fds[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (out_fds[i] < 0) {
            error = errno;
            close_all(out_fds, i);
            listener_remove_file(address);
            return error;
        }
    }
    return 0;
}

/* Removes a socket's file that nobody listens on. EADDRINUSE when someone does, or when it is another kind of file. */
static int remove_stale(const struct address *address, const struct sockaddr_storage *name, socklen_t len)
{
    struct stat status;

    if (lstat(address->host, &status) < 0) {
        return errno == ENOENT ? 0 : errno;
    }
    if (!S_ISSOCK(status.st_mode)) {
        return EEXIST;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    int error = connect(fd, (const struct sockaddr *)name, len) < 0 ? errno : 0;
    close(fd);
    if (error != ECONNREFUSED) {
        return EADDRINUSE; /* it answers, or has a full queue (EAGAIN) */
    }
    return unlink(address->host) < 0 ? errno : 0;
}

static void close_all(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        close(fds[i]);
    }
}

static enum err report(const struct address *address, const char *what, int error, struct buf *out_error)
{
    char text[128];

    buf_format(out_error, "cannot %s ", what);
    address_format(address, out_error);
    buf_add(out_error, SPAN(": "));
    buf_add_text(out_error, uv_strerror_r(uv_translate_sys_error(error), text, sizeof text));
    return err_from_uv(uv_translate_sys_error(error));
}
