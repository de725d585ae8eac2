/* channel.c: see channel.h. A message is one byte of kind, then its bytes. */
#include "proxy/server/channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

bool channel_open(int out_fds[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, out_fds) == 0;
}

static bool is_ready(int fd, short what, int wait_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = what};
    int count;

    do {
        count = poll(&poll_fd, 1, wait_ms);
    } while (count < 0 && errno == EINTR);
    return count > 0;
}

bool channel_send(int fd, const struct channel_message *message, int wait_ms)
{
    char kind = (char)message->kind;
    struct iovec runs[] = {{&kind, 1}, {(void *)(uintptr_t)message->bytes.data, message->bytes.len}};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr header = {.msg_iov = runs, .msg_iovlen = message->bytes.len > 0 ? 2 : 1};
    ssize_t sent;

    if (message->bytes.len > CHANNEL_MESSAGE_MAX_BYTES) {
        return false;
    }
    if (message->fd >= 0) {
        header.msg_control = control;
        header.msg_controllen = sizeof(control);
        struct cmsghdr *part = CMSG_FIRSTHDR(&header);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(part), &message->fd, sizeof(int));
    }
    do {
        sent = sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && (errno == EINTR || (errno == EAGAIN && wait_ms > 0 && is_ready(fd, POLLOUT, wait_ms))));
    return sent >= 0;
}

/* The descriptor that came along, -1 without one. */
static int passed_fd(struct msghdr *header)
{
    struct cmsghdr *part = CMSG_FIRSTHDR(header);
    int fd = -1;

    if (part != NULL && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS &&
        part->cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(&fd, CMSG_DATA(part), sizeof(int));
    }
    return fd;
}

/* recvmsg writes into it: NOLINTNEXTLINE(readability-non-const-parameter) */
enum channel_got channel_receive(int fd, char *buffer, struct channel_message *out_message, int wait_ms)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec run = {buffer, CHANNEL_MESSAGE_MAX_BYTES + 1};
    struct msghdr header = {
        .msg_iov = &run, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t got;

    if (!is_ready(fd, POLLIN, wait_ms)) {
        return CHANNEL_NOTHING;
    }
    do {
        got = recvmsg(fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN) {
        return CHANNEL_NOTHING;
    }
    int passed = got > 0 ? passed_fd(&header) : -1;
    if (got <= 0 || (header.msg_flags & MSG_TRUNC) != 0 || buffer[0] < CHANNEL_STORE || buffer[0] > CHANNEL_PURGED) {
        if (passed >= 0) {
            close(passed);
        }
        return CHANNEL_ENDED;
    }
    *out_message = (struct channel_message){
        .kind = (enum channel_kind)buffer[0], .fd = passed, .bytes = {buffer + 1, (size_t)got - 1}};
    return CHANNEL_GOT;
}
