/* socket_handle.h: libuv's handle of a socket that is TCP's or a unix one, for what does not care which.
 *
 * The memory is the caller's, until the close callback of `handle` has run. Threads: the loop's. */
#ifndef PROXY_SOCKET_HANDLE_H
#define PROXY_SOCKET_HANDLE_H

#include <uv.h>

#include "http/check.h"

union socket_handle {
    uv_handle_t handle; /* its `type` is UV_TCP or UV_NAMED_PIPE */
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

/* From here on it is to be closed with uv_close. `type`: UV_TCP or UV_NAMED_PIPE. */
void socket_handle_init(union socket_handle *socket, uv_loop_t *loop, uv_handle_type type);

/* Gives it a socket of its type; a libuv code, which is negative only for what is no such socket: then `fd` is still
 * the caller's. */
MUST_CHECK int socket_handle_open(union socket_handle *socket, int fd);

/* Gives it a bound socket and listens; a libuv code. Owns `fd`, also when it fails; the handle is to be closed all the
 * same. */
MUST_CHECK int socket_handle_listen(union socket_handle *socket, int fd, int backlog, uv_connection_cb on_connection);

#endif
