/* notify.h: what the service manager is told, by the protocol of sd_notify(3): a datagram for each event to the socket
 * that $NOTIFY_SOCKET names.
 *
 * Without that variable nothing is sent. libsystemd would be a dependency for one sendto. Threads: the main thread.
 * Errors: none; a manager that cannot be told does what it does without. */
#ifndef PROXY_NOTIFY_H
#define PROXY_NOTIFY_H

#include <stdint.h>

struct notify {
    int fd;               /* connected; -1: nobody listens */
    uint64_t watchdog_ms; /* in which it wants to hear of us again and again; 0: it does not */
};

void notify_open(struct notify *notify);
void notify_close(struct notify *notify);

void notify_ready(const struct notify *notify, const char *status);
void notify_reloading(const struct notify *notify);         /* notify_ready follows, whatever came of it */
void notify_main_pid(const struct notify *notify, int pid); /* another process is the service from now on */
void notify_watchdog(const struct notify *notify);          /* all is well; nothing where nobody asked to hear it */
void notify_stopping(const struct notify *notify);

#endif
