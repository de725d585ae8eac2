/* uri_authority.c: host[:port] of a URI: taken apart, checked, normalised (RFC 3986 §3.2, RFC 9110 §4.2). */
#include "http/uri_internal.h"

#include <arpa/inet.h>
#include <string.h>

/* An authority taken apart. */
struct authority {
    struct span host; /* an IPv6 literal with its brackets */
    struct span port; /* digits without leading zeros, or empty */
    uint16_t number;  /* of the port, 0 when empty */
    bool plain;       /* the host needs no normalisation */
};

static bool split_authority(struct span text, struct authority *out_authority);
static bool is_plain(struct span host);
static bool host_valid(struct span host);

bool uri_host_valid(struct span host)
{
    struct authority authority;

    return split_authority(host, &authority);
}

bool uri_split_authority(struct span authority, struct span *out_host, uint16_t *out_port)
{
    struct authority parts;

    if (!split_authority(authority, &parts)) {
        return false;
    }
    *out_host = parts.host.data[0] == '[' ? (struct span){parts.host.data + 1, parts.host.len - 2} : parts.host;
    *out_port = parts.number;
    return true;
}

struct span uri_host_of(struct span authority)
{
    size_t end = authority.len;

    if (end > 0 && authority.data[0] == '[') {
        return span_take(span_skip(authority, 1), span_find(authority, ']') - 1);
    }
    while (end > 0 && authority.data[end - 1] >= '0' && authority.data[end - 1] <= '9') {
        end--;
    }
    return end > 0 && authority.data[end - 1] == ':' ? span_take(authority, end - 1) : authority;
}

enum err uri_normalise_authority(struct span text, struct span scheme, struct arena *arena, struct span *out_authority)
{
    struct authority parts;
    bool is_default;
    char *to;
    size_t len;

    if (!split_authority(text, &parts)) {
        return ERR_BAD_TARGET;
    }
    is_default = parts.number == 0 || parts.number == (span_equal_nocase(scheme, SPAN("https")) ? 443 : 80);
    if (parts.plain && is_default) {
        *out_authority = parts.host;
        return ERR_OK;
    }
    to = arena_alloc_text(arena, text.len);
    if (to == NULL) {
        return arena_error(arena);
    }
    len = uri_write_unescaped(parts.host, to);
    for (size_t i = 0; i < len; i++) {
        to[i] = ascii_lower(to[i]); /* the digits of an escape too: a host has no other form to agree with */
    }
    if (!is_default) {
        to[len++] = ':';
        memcpy(to + len, parts.port.data, parts.port.len);
        len += parts.port.len;
    }
    *out_authority = (struct span){to, len};
    return ERR_OK;
}

/* RFC 3986 §3.2 without userinfo. A port that no connection can have is refused. */
static bool split_authority(struct span text, struct authority *out_authority)
{
    size_t host_len = span_find(text, text.len > 0 && text.data[0] == '[' ? ']' : ':');
    struct span port;
    uint64_t number = 0;

    if (text.len > 0 && text.data[0] == '[') {
        if (host_len == SIZE_MAX) {
            return false;
        }
        host_len++;
        if (host_len < text.len && text.data[host_len] != ':') {
            return false;
        }
    }
    port = host_len < text.len ? span_skip(text, host_len + 1) : (struct span){NULL, 0};
    if (port.len > 0 && (!span_to_u64_clamped(port, UINT16_MAX + 1, &number) || number < 1 || number > UINT16_MAX)) {
        return false;
    }
    while (port.len > 0 && port.data[0] == '0') {
        port = span_skip(port, 1);
    }
    struct span host = span_take(text, host_len);
    *out_authority =
        (struct authority){.host = host, .port = port, .number = (uint16_t)number, .plain = is_plain(host)};
    return out_authority->plain || host_valid(host);
}

/* Such a host is valid, too. */
static bool is_plain(struct span host)
{
    return host.len > 0 && uri_run_end(host, 0, URI_PLAIN) == host.len;
}

static bool host_valid(struct span host)
{
    if (host.len == 0) {
        return false;
    }
    if (host.data[0] == '[') { /* RFC 3986 §3.2.2: IP-literal; of its two kinds only IPv6 exists */
        char text[INET6_ADDRSTRLEN] = "";
        struct in6_addr address;

        if (host.len - 2 >= sizeof text) {
            return false;
        }
        memcpy(text, host.data + 1, host.len - 2);
        return strlen(text) == host.len - 2 && inet_pton(AF_INET6, text, &address) == 1;
    }
    for (size_t i = 0; i < host.len; i++) {
        char byte = host.data[i];

        if (byte == '%') {
            if (host.len - i < 3 || !uri_has_class(host.data[i + 1], URI_HEX) ||
                !uri_has_class(host.data[i + 2], URI_HEX)) {
                return false;
            }
            byte = uri_unescape(host.data + i);
            i += 2;
            if ((unsigned char)byte > 0x7f) {
                continue; /* part of a character beyond ASCII */
            }
        }
        /* Escaped or not: who decodes it must not find a delimiter or NUL, and so another host. */
        if (!uri_has_class(byte, URI_HOST_CHAR)) {
            return false;
        }
    }
    return true;
}
