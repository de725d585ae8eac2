/* channel.h: what two larders say to each other while the newer takes the older one's place: messages over a pair of
 * unix sockets (SOCK_SEQPACKET, which keeps messages apart and carries descriptors).
 *
 * The order: STORE (the new one: all but the store is ready) → MODE…, PINNED… and GO (the old one has let the store go)
 * → SERVING (the new one) → CONNECTION, REMOVED and PURGED, as they come, from the old one, until it ends and the
 * channel with it. Whoever changes this changes CHANNEL_VERSION: larders of different versions leave each other alone.
 *
 * Threads: channel_send from any, the rest from the owner of the end. */
#ifndef PROXY_CHANNEL_H
#define PROXY_CHANNEL_H

#include "http/check.h"
#include "http/span.h"

#define CHANNEL_VERSION "4"

enum { CHANNEL_MESSAGE_MAX_BYTES = 96 * 1024 }; /* well below what the kernel queues for such a socket by default */

enum channel_kind {
    CHANNEL_STORE = 1,
    CHANNEL_MODE,   /* struct channel_mode, then the site's name and its path: an order that is in force */
    CHANNEL_PINNED, /* u64 ids of bodies */
    CHANNEL_GO,     /* struct channel_go */
    CHANNEL_SERVING,
    CHANNEL_CONNECTION, /* a descriptor; one byte: 1 for a unix socket, 0 for TCP; then what was received on it */
    CHANNEL_REMOVED,    /* text of a key: what is stored under it was invalidated */
    CHANNEL_PURGED,     /* u64 sequence of the old one's, then the row of a purge */
};

/* Of the old one. Both are the same program for the same machine, or CHANNEL_VERSION differs. */
struct channel_go {
    uint64_t leaves_ms; /* for how long it finishes what it began, once the new one serves */
    int64_t pid;
};

struct channel_mode {
    uint32_t configured; /* enum mode */
    uint32_t ordered;
    uint64_t name_len;
};

struct channel_message {
    enum channel_kind kind;
    int fd; /* its owner is who receives it; -1: none */
    struct span bytes;
};

enum channel_got {
    CHANNEL_GOT,
    CHANNEL_NOTHING, /* in the time given */
    CHANNEL_ENDED,   /* the other is gone, or says what nobody understands */
};

MUST_CHECK bool channel_open(int out_fds[2]);

/* False: the other end takes nothing within `wait_ms`, is gone, or the message is too long. The descriptor stays the
 * caller's. */
bool channel_send(int fd, const struct channel_message *message, int wait_ms);

/* `buffer` has CHANNEL_MESSAGE_MAX_BYTES + 1; the message's bytes lie in it. */
enum channel_got channel_receive(int fd, char *buffer, struct channel_message *out_message, int wait_ms);

#endif
