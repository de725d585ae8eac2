/* notify.c: see notify.h. */
#include "proxy/server/notify.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "http/span.h"

enum { TEXT_MAX_BYTES = 512 };

/* $WATCHDOG_PID is not looked at: it names the process that was started, whose place another may have taken since. */
static uint64_t watchdog_of_environment(void)
{
    enum { USEC_A_MS = 1000 };
    const char *text = getenv("WATCHDOG_USEC");
    uint64_t usec;

    return text != NULL && span_to_u64(span_of(text), &usec) ? usec / USEC_A_MS : 0;
}

void notify_open(struct notify *notify)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = path != NULL ? strlen(path) : 0;

    *notify = (struct notify){.fd = -1};
    if (len < 2 || len >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@')) {
        return;
    }
    memcpy(address.sun_path, path, len);
    if (path[0] == '@') {
        address.sun_path[0] = '\0'; /* a name that is not in the file system */
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 &&
        connect(fd, (const struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0) {
        close(fd);
        return;
    }
    notify->fd = fd;
    notify->watchdog_ms = watchdog_of_environment();
}

void notify_close(struct notify *notify)
{
    if (notify->fd >= 0) {
        close(notify->fd);
    }
    notify->fd = -1;
}

static void send_text(const struct notify *notify, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void send_text(const struct notify *notify, const char *format, ...)
{
    char text[TEXT_MAX_BYTES];
    va_list arguments;

    if (notify->fd < 0) {
        return;
    }
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (len > 0 && (size_t)len < sizeof(text)) {
        (void)send(notify->fd, text, (size_t)len, MSG_NOSIGNAL);
    }
}

void notify_ready(const struct notify *notify, const char *status)
{
    send_text(notify, "READY=1\nSTATUS=%s", status);
}

void notify_reloading(const struct notify *notify)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_MONOTONIC, &now);
    send_text(notify, "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=reloading the configuration",
              (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void notify_main_pid(const struct notify *notify, int pid)
{
    send_text(notify, "MAINPID=%d\nSTATUS=serving, after an upgrade", pid);
}

void notify_watchdog(const struct notify *notify)
{
    if (notify->watchdog_ms > 0) {
        send_text(notify, "WATCHDOG=1");
    }
}

void notify_stopping(const struct notify *notify)
{
    send_text(notify, "STOPPING=1\nSTATUS=finishing what runs");
}
