#include "proxy/io/unheard.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

uint64_t conn_unheard_ms(const struct conn *conn)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    uv_os_fd_t fd;

    if (uv_fileno(&conn->socket.handle, &fd) != 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0) {
        return 0;
    }
    return info.tcpi_last_ack_recv;
}
