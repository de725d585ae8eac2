/* listener.h: listening sockets: opened once by the main thread, accepted from by the workers.
 *
 * Each worker has a TCP socket of its own with SO_REUSEPORT; a unix socket is shared. Whether a port is free is found
 * out first, without SO_REUSEPORT, so that a second larder is refused instead of sharing the port silently. */
#ifndef PROXY_LISTENER_H
#define PROXY_LISTENER_H

#include <uv.h>

#include "http/buf.h"
#include "http/error.h"
#include "proxy/config/config.h"
#include "proxy/io/mailbox.h"
#include "proxy/io/socket_handle.h"

struct worker;

enum listener_state {
    LISTENER_NONE,      /* zeroed */
    LISTENER_READY,     /* the handle is open, but accepts nothing yet */
    LISTENER_ACCEPTING, /* the handle listens */
    LISTENER_PAUSED,    /* connections wait in the kernel's queue until the timer fires */
    LISTENER_CLOSED,
};

struct listener {
    union socket_handle socket;
    uv_timer_t timer; /* accepting goes on after a pause, or in the next turn */
    struct worker *worker;
    enum address_kind kind;
    enum listener_state state;
    int fd;            /* the listening socket; the handle has a duplicate, so that it can be closed for a pause */
    int fd_limit;      /* accepting pauses at this descriptor */
    bool handle_open;  /* until its close callback ran */
    bool holds;        /* libuv has accepted a connection that is to be taken in the loop's next turn */
    uint64_t turn_ms;  /* the loop's time when it last accepted */
    unsigned accepted; /* at that time */
    bool complained;   /* that accepting fails, since it last worked */
};

/* What can be listened on for a configured address: itself, but 0.0.0.0 for "::", all, on a machine without IPv6. */
struct address listener_address(const struct address *configured);

/* Binds `count` sockets (one a worker) and fills `out_fds`; nothing listens yet. Port 0 is replaced in `address` by
 * what it became. On failure one line in `out_error` that names the address, and nothing is open. */
MUST_CHECK enum err listener_open(struct address *address, unsigned count, int *out_fds, struct buf *out_error);

/* Starts listening on what listener_open bound: when all addresses are. On failure one line in `out_error`. */
MUST_CHECK enum err listener_listen(const struct address *address, unsigned count, const int *fds,
                                    struct buf *out_error);

/* Removes the file of a unix socket; the sockets themselves are the listeners'. */
void listener_remove_file(const struct address *address);

/* Makes one for a socket from listener_listen; owns `fd`, also when it fails. It has what accepting needs then: where
 * there are too few descriptors for that it fails (ERR_LIMIT), before anybody counts on it. */
MUST_CHECK enum err listener_init(struct listener *listener, struct worker *worker, const struct address *address,
                                  int fd);

/* Starts accepting: new connections go to client_accept. Where that is not possible now it is tried again. */
void listener_start(struct listener *listener);

/* Accepts what waits in the kernel's queue, which would be reset by the close: also what a pause left there. Nothing
 * before listener_start: what is there is for others then. */
void listener_take_rest(struct listener *listener);

/* A second call, and one for a listener never made, changes nothing. The loop must go on until it is closed. */
void listener_close(struct listener *listener);

/* As the kernel wants it. False: a path that is too long. */
MUST_CHECK bool listener_sockaddr(const struct address *address, struct sockaddr_storage *out_address,
                                  socklen_t *out_len);

/* Would a socket be bound to the same for both, however they are written? "[::1]:80" and "[0:0::1]:80" are the same,
 * so are an IPv4 address and its form in IPv6, and two paths of one name in one directory ("unix:a", "unix:./a"). */
bool address_equal(const struct address *a, const struct address *b);

/* "127.0.0.1:8080", "[::1]:8080", "unix:/path". */
void address_format(const struct address *address, struct buf *out);

#endif
