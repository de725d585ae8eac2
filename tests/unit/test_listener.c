/* test_listener.c: which addresses can be listened on, and what is said about the others. */
#include "proxy/server/listener.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOCKETS = 3 };

static struct buf error;

static void setup(void)
{
    buf_init(&error, 1024);
}

static void open_all(struct address *address, int fds[SOCKETS])
{
    cr_assert_eq(listener_open(address, SOCKETS, fds, &error), ERR_OK, "%.*s", SPAN_ARG(buf_span(&error)));
    cr_assert_eq(listener_listen(address, SOCKETS, fds, &error), ERR_OK, "%.*s", SPAN_ARG(buf_span(&error)));
}

static void close_all(const int fds[SOCKETS])
{
    for (size_t i = 0; i < SOCKETS; i++) {
        close(fds[i]);
    }
    buf_finish(&error);
}

static int try_connect(uint16_t port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int result = connect(fd, (struct sockaddr *)&name, sizeof name);
    close(fd);
    return result;
}

Test(listener, port_0_becomes_one_port_for_all, .init = setup)
{
    struct address address = {.kind = ADDRESS_IP, .host = "127.0.0.1", .port = 0};
    int fds[SOCKETS];

    open_all(&address, fds);
    cr_expect_neq(address.port, 0);
    for (size_t i = 0; i < SOCKETS; i++) {
        struct sockaddr_in name;
        socklen_t len = sizeof name;
        cr_assert_eq(getsockname(fds[i], (struct sockaddr *)&name, &len), 0);
        cr_expect_eq(ntohs(name.sin_port), address.port, "socket %zu", i);
    }
    cr_expect_eq(try_connect(address.port), 0);
    close_all(fds); /* whoever comes first gets the port now */
}

Test(listener, a_port_in_use_is_refused_though_it_is_shared_there, .init = setup)
{
    struct address address = {.kind = ADDRESS_IP, .host = "127.0.0.1", .port = 0};
    int fds[SOCKETS];
    int more[SOCKETS];

    open_all(&address, fds);
    struct address same = address;
    cr_expect_eq(listener_open(&same, SOCKETS, more, &error), ERR_IN_USE);
    cr_expect_eq(span_find(buf_span(&error), '\n'), SIZE_MAX);
    cr_expect(span_starts_with(buf_span(&error), SPAN("cannot listen on 127.0.0.1:")), "%.*s",
              SPAN_ARG(buf_span(&error)));
    close_all(fds);
}

Test(listener, all_addresses_means_ipv4_as_well, .init = setup)
{
    struct address address = {.kind = ADDRESS_IP, .host = "::", .port = 0};
    int fds[SOCKETS];

    open_all(&address, fds);
    cr_expect_eq(try_connect(address.port), 0);
    close_all(fds);
}

Test(listener, a_foreign_address_is_refused, .init = setup)
{
    struct address address = {.kind = ADDRESS_IP, .host = "192.0.2.1", .port = 8080};
    int fds[SOCKETS];

    cr_expect_neq(listener_open(&address, SOCKETS, fds, &error), ERR_OK);
    cr_expect(span_starts_with(buf_span(&error), SPAN("cannot listen on 192.0.2.1:8080: ")));
    buf_finish(&error);
}

Test(listener, a_unix_socket_left_by_a_crash_is_taken_over_a_live_one_is_not, .init = setup)
{
    char dir[] = "/tmp/larder-listener-XXXXXX";
    char path[64];
    int fds[SOCKETS];
    int more[SOCKETS];

    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/socket", dir);
    struct address address = {.kind = ADDRESS_UNIX, .host = path};
    open_all(&address, fds);
    cr_expect_eq(listener_open(&address, SOCKETS, more, &error), ERR_IN_USE);
    close_all(fds); /* the file stays, as after a crash */
    open_all(&address, fds);
    close_all(fds);
    listener_remove_file(&address);
    cr_expect_lt(access(path, F_OK), 0);
    rmdir(dir);
}

Test(listener, another_kind_of_file_is_left_alone, .init = setup)
{
    char path[] = "/tmp/larder-listener-XXXXXX";
    int fd = mkstemp(path);
    struct address address = {.kind = ADDRESS_UNIX, .host = path};
    int fds[SOCKETS];

    cr_expect_neq(listener_open(&address, SOCKETS, fds, &error), ERR_OK);
    cr_expect_eq(access(path, F_OK), 0);
    close(fd);
    unlink(path);
    buf_finish(&error);
}

Test(listener, addresses_are_written_as_they_are_configured, .init = setup)
{
    static const struct {
        struct address address;
        const char *want;
    } cases[] = {
        {{ADDRESS_IP, "127.0.0.1", 8080}, "127.0.0.1:8080"},
        {{ADDRESS_IP, "::1", 80}, "[::1]:80"},
        {{ADDRESS_UNIX, "/run/larder", 0}, "unix:/run/larder"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buf_clear(&error);
        address_format(&cases[i].address, &error);
        cr_expect(span_equal(buf_span(&error), span_of(cases[i].want)), "%s", cases[i].want);
    }
    buf_finish(&error);
}

Test(listener, addresses_are_the_same_however_they_are_written)
{
    static const struct {
        struct address a;
        struct address b;
        bool want;
    } cases[] = {
        {{ADDRESS_IP, "127.0.0.1", 80}, {ADDRESS_IP, "127.0.0.1", 80}, true},
        {{ADDRESS_IP, "127.0.0.1", 80}, {ADDRESS_IP, "127.0.0.1", 81}, false},
        {{ADDRESS_IP, "127.0.0.1", 80}, {ADDRESS_IP, "127.0.0.2", 80}, false},
        {{ADDRESS_IP, "127.0.0.1", 80}, {ADDRESS_IP, "::ffff:127.0.0.1", 80}, true},
        {{ADDRESS_IP, "::1", 80}, {ADDRESS_IP, "0:0:0::0001", 80}, true},
        {{ADDRESS_IP, "fd00::a", 80}, {ADDRESS_IP, "FD00::A", 80}, true},
        {{ADDRESS_IP, "::1", 80}, {ADDRESS_IP, "::2", 80}, false},
        {{ADDRESS_IP, "::", 80}, {ADDRESS_IP, "0::0", 80}, true},
        {{ADDRESS_IP, "::", 80}, {ADDRESS_IP, "0.0.0.0", 80}, false},
        {{ADDRESS_UNIX, "a", 0}, {ADDRESS_UNIX, "./a", 0}, true},
        {{ADDRESS_UNIX, "a", 0}, {ADDRESS_UNIX, "./b", 0}, false},
        {{ADDRESS_UNIX, "/tmp/a", 0}, {ADDRESS_UNIX, "/tmp/../tmp//a", 0}, true},
        {{ADDRESS_UNIX, "/a", 0}, {ADDRESS_UNIX, "/../a", 0}, true},
        {{ADDRESS_UNIX, "/tmp/a", 0}, {ADDRESS_UNIX, "/a", 0}, false},
        {{ADDRESS_UNIX, "/no-such/a", 0}, {ADDRESS_UNIX, "/no-such/a", 0}, true},
        {{ADDRESS_UNIX, "/no-such/a", 0}, {ADDRESS_UNIX, "/nor-such/a", 0}, false},
        {{ADDRESS_UNIX, "::1", 0}, {ADDRESS_IP, "::1", 0}, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(address_equal(&cases[i].a, &cases[i].b), cases[i].want, "%s, %s", cases[i].a.host,
                     cases[i].b.host);
        cr_expect_eq(address_equal(&cases[i].b, &cases[i].a), cases[i].want, "%s, %s", cases[i].b.host,
                     cases[i].a.host);
    }
}
