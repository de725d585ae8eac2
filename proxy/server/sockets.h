/* sockets.h: the listening sockets of one configuration.
 *
 * Each address of the configuration has one socket a worker. A configuration that follows another has the same sockets
 * where it has the same address, however it is written (address_equal): both hold a descriptor of their own, so that
 * neither a waiting connection nor the port is lost when the former one goes. Ownership: the descriptors are the set's;
 * workers get duplicates. Addresses point into the configuration, which outlives the set. Threads: the main thread. */
#ifndef PROXY_SOCKETS_H
#define PROXY_SOCKETS_H

#include "http/buf.h"
#include "http/error.h"
#include "proxy/config/config.h"

struct bound {
    struct address wanted;  /* as configured, but for what this machine lacks (listener_address) */
    struct address address; /* as it became: with the port that the system picked */
    char *own_host;         /* text of both, when no configuration has it */
    int *fds;               /* one a worker */
    struct bound *former;   /* of which it has duplicates, until sockets_take_over; NULL: newly bound */
    bool taken;             /* of a set that was inherited: somebody has duplicates */
    bool has_file;          /* a unix socket's file is removed with it */
};

struct sockets {
    struct bound *bounds; /* in the order of server.listen */
    size_t count;
    unsigned workers;
};

/* Listening sockets on their way to another process, in the order of its descriptors from 3 on. */
struct legacy {
    int *fds;
    char *kinds; /* text, a letter each: 'f' a unix socket whose file goes with it, 'p' its port was picked by the
                    system (configured as 0), '-' neither */
    size_t count;
};

/* Adds the sockets of a set; borrows them. legacy_add: a single one. False: no memory. */
MUST_CHECK bool sockets_bequeath(const struct sockets *sockets, struct legacy *legacy);
MUST_CHECK bool legacy_add(struct legacy *legacy, int fd, const struct address *wanted, bool has_file);
void legacy_finish(struct legacy *legacy); /* accepts a zeroed one */

/* A set of the listening sockets that this process was started with, from descriptor 3 on, by the address each is bound
 * to: by another larder that `kinds` is from (struct legacy), or where it is NULL by the service manager
 * (sd_listen_fds(3): $LISTEN_FDS of them). Where there are fewer than workers these share them. What is no listening
 * socket is closed, and named in the log. Empty where none were given. */
MUST_CHECK enum err sockets_inherit(struct sockets *sockets, unsigned workers, const char *kinds,
                                    struct buf *out_error);

/* The socket of a set that was inherited for `address`, for one listener: a duplicate of its descriptor. Who takes it
 * has its file, too, if `*out_has_file`; a port that the system picked is filled in. -1: there is none. */
int sockets_take_one(struct sockets *inherited, struct address *address, bool *out_has_file);

/* Names in the log what of a set that was inherited nobody took, and closes the set. */
void sockets_close_inherited(struct sockets *inherited);

/* Binds all addresses of `config`, or takes them from `former` (NULL: none), and fills in what became of them in
 * `config`. What is new does not listen yet. On failure one line in `out_error`, and nothing is open. */
MUST_CHECK enum err sockets_open(struct sockets *sockets, struct config *config, unsigned workers,
                                 const struct sockets *former, struct buf *out_error);

/* Starts listening on what is new. */
MUST_CHECK enum err sockets_listen(const struct sockets *sockets, struct buf *out_error);

/* Duplicates for the worker `number`, in the order of server.listen. On failure none is open. */
MUST_CHECK enum err sockets_duplicate(const struct sockets *sockets, unsigned number, int *out_fds);

/* The configuration is accepted: what came from the former set is this one's, with the files of unix sockets. */
void sockets_take_over(struct sockets *sockets);

/* Another process has the sockets now: their files are its. */
void sockets_leave_files(struct sockets *sockets);

/* Closes everything and removes the files of unix sockets that are its own. A second call, and one for a zeroed set,
 * changes nothing. */
void sockets_close(struct sockets *sockets);

#endif
