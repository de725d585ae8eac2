/* floor.c: the floor under every server: one epoll loop that reads a request and writes bytes that are ready.
 *
 *     floor PORT [PROCESSES]
 *
 * The path's first segment says how many: /1k/, /10k/, /1m/, /64m/. A request with If-None-Match gets a 304. Nothing is
 * parsed besides; no proxy can be cheaper. Several processes share nothing but the port. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, CONNECTIONS = 4096, REQUEST_BYTES = 8192, HEAD_BYTES = 512 };

/* What is still to be sent to one connection. */
struct connection {
    const char *next;
    size_t left;
};

struct answer {
    const char *path;
    size_t body_bytes;
    char *bytes;
    size_t len;
};

static struct answer answers[] = {
    {"/1k/", 1 << 10, NULL, 0}, {"/10k/", 10 << 10, NULL, 0}, {"/1m/", 1 << 20, NULL, 0}, {"/64m/", 64 << 20, NULL, 0}};
static struct answer not_modified;
static struct connection connections[CONNECTIONS];

static void make(struct answer *answer, const char *status_line)
{
    char length[64] = "";

    if (answer->body_bytes > 0) {
        (void)snprintf(length, sizeof length, "Content-Length: %zu\r\n", answer->body_bytes);
    }
    answer->bytes = malloc(HEAD_BYTES + answer->body_bytes);
    if (answer->bytes == NULL) {
        exit(1);
    }
    int head = snprintf(answer->bytes, HEAD_BYTES,
                        "%s\r\nServer: floor\r\nDate: Sun, 01 Mar 2026 10:00:00 GMT\r\nContent-Type: text/css\r\n"
                        "ETag: \"1\"\r\nCache-Control: public, max-age=3600\r\n%s\r\n",
                        status_line, length);
    memset(answer->bytes + head, 'x', answer->body_bytes);
    answer->len = (size_t)head + answer->body_bytes;
}

static const struct answer *answer_to(const char *request)
{
    if (strcasestr(request, "\r\nIf-None-Match:") != NULL) {
        return &not_modified;
    }
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        if (strncmp(request + 4, answers[i].path, strlen(answers[i].path)) == 0) {
            return &answers[i];
        }
    }
    return &answers[0];
}

/* False: the connection is over. */
static bool serve(int fd, uint32_t events)
{
    struct connection *connection = &connections[fd];
    char request[REQUEST_BYTES + 1];

    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
        return false;
    }
    if (connection->left == 0) {
        ssize_t got = read(fd, request, REQUEST_BYTES);
        if (got <= 0) {
            return got < 0 && errno == EAGAIN;
        }
        request[got] = '\0';
        const struct answer *answer = answer_to(request);
        *connection = (struct connection){answer->bytes, answer->len};
    }
    while (connection->left > 0) {
        ssize_t sent = write(fd, connection->next, connection->left);
        if (sent < 0) {
            return errno == EAGAIN;
        }
        connection->next += sent;
        connection->left -= (size_t)sent;
    }
    return true;
}

static void accept_all(int listener, int epoll)
{
    const int on = 1;

    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        if (fd >= CONNECTIONS) {
            close(fd);
            continue;
        }
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = fd};
        connections[fd] = (struct connection){NULL, 0};
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
            close(fd);
        }
    }
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0) {
        perror("floor");
        exit(1);
    }
    return fd;
}

/* So many processes in all; the others end with the first. */
static void start_others(unsigned long count)
{
    for (unsigned long i = 1; i < count; i++) {
        pid_t child = fork();
        if (child < 0) {
            perror("floor");
            exit(1);
        }
        if (child == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
            return;
        }
    }
}

int main(int argc, char **argv)
{
    start_others(argc > 2 ? strtoul(argv[2], NULL, 10) : 1);
    int listener = listen_on((uint16_t)(argc > 1 ? strtoul(argv[1], NULL, 10) : 8080));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    struct epoll_event events[EVENTS];

    make(&not_modified, "HTTP/1.1 304 Not Modified");
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        make(&answers[i], "HTTP/1.1 200 OK");
    }
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0) {
        return 1;
    }
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                accept_all(listener, epoll);
            } else if (!serve(fd, events[i].events)) {
                close(fd);
            }
        }
    }
}
