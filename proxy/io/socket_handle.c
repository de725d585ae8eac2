/* socket_handle.c: see socket_handle.h. */
#include "proxy/io/socket_handle.h"

#include <unistd.h>

void socket_handle_init(union socket_handle *socket, uv_loop_t *loop, uv_handle_type type)
{
    REQUIRE(type == UV_TCP || type == UV_NAMED_PIPE);
    REQUIRE((type == UV_TCP ? uv_tcp_init(loop, &socket->tcp) : uv_pipe_init(loop, &socket->pipe, 0)) == 0);
}

int socket_handle_open(union socket_handle *socket, int fd)
{
    return socket->handle.type == UV_TCP ? uv_tcp_open(&socket->tcp, fd) : uv_pipe_open(&socket->pipe, fd);
}

int socket_handle_listen(union socket_handle *socket, int fd, int backlog, uv_connection_cb on_connection)
{
    int error = socket_handle_open(socket, fd);

    if (error < 0) {
        close(fd);
        return error;
    }
    return uv_listen(&socket->stream, backlog, on_connection);
}
