/* listener_address.c: addresses to listen on: as the kernel wants them, as text, and which of them are the same. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "proxy/server/listener.h"

bool listener_sockaddr(const struct address *address, struct sockaddr_storage *out_address, socklen_t *out_len)
{
    *out_address = (struct sockaddr_storage){0};
    if (address->kind == ADDRESS_UNIX) {
        struct sockaddr_un *name = (struct sockaddr_un *)out_address;
        size_t len = strlen(address->host);

        if (len >= sizeof name->sun_path) {
            return false;
        }
        name->sun_family = AF_UNIX;
        memcpy(name->sun_path, address->host, len);
        *out_len = sizeof *name;
        return true;
    }
    if (uv_ip4_addr(address->host, address->port, (struct sockaddr_in *)out_address) == 0) {
        *out_len = sizeof(struct sockaddr_in);
        return true;
    }
    *out_len = sizeof(struct sockaddr_in6);
    return uv_ip6_addr(address->host, address->port, (struct sockaddr_in6 *)out_address) == 0;
}

static struct span last_part(struct span path)
{
    size_t start = path.len;

    while (start > 0 && path.data[start - 1] != '/') {
        start--;
    }
    return span_skip(path, start);
}

/* The directory of a path of at most what a sockaddr_un holds. False: it cannot be looked at. */
static bool directory_of(struct span path, struct stat *out_status)
{
    char text[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1] = ".";
    size_t len = path.len - last_part(path).len;

    if (len >= sizeof(text)) {
        return false;
    }
    if (len > 0) {
        memcpy(text, path.data, len);
        text[len] = '\0';
    }
    return stat(text, out_status) == 0;
}

static bool is_same_path(struct span a, struct span b)
{
    struct stat of_a;
    struct stat of_b;

    if (span_equal(a, b)) {
        return true;
    }
    return span_equal(last_part(a), last_part(b)) && directory_of(a, &of_a) && directory_of(b, &of_b) &&
           of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

/* In the one form that all addresses have. */
static bool ip6_of(const struct address *address, struct in6_addr *out_ip)
{
    struct in_addr ip4;

    if (inet_pton(AF_INET, address->host, &ip4) != 1) {
        return inet_pton(AF_INET6, address->host, out_ip) == 1;
    }
    *out_ip = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(&out_ip->s6_addr[12], &ip4, sizeof(ip4));
    return true;
}

bool address_equal(const struct address *a, const struct address *b)
{
    struct in6_addr ip_of_a;
    struct in6_addr ip_of_b;

    if (a->kind != b->kind) {
        return false;
    }
    if (a->kind == ADDRESS_UNIX) {
        return is_same_path(span_of(a->host), span_of(b->host));
    }
    return a->port == b->port && ip6_of(a, &ip_of_a) && ip6_of(b, &ip_of_b) &&
           memcmp(&ip_of_a, &ip_of_b, sizeof(ip_of_a)) == 0;
}

void address_format(const struct address *address, struct buf *out)
{
    bool is_v6 = strchr(address->host, ':') != NULL;

    if (address->kind == ADDRESS_UNIX) {
        buf_add(out, SPAN("unix:"));
        buf_add_text(out, address->host);
    } else {
        buf_format(out, is_v6 ? "[%s]:%u" : "%s:%u", address->host, (unsigned)address->port);
    }
}
