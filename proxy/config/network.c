/* network.c: see network.h. */
#include "proxy/config/network.h"

#include <arpa/inet.h>
#include <string.h>

enum { BITS = 128, V4_OFFSET_BITS = 96, TEXT_MAX_BYTES = 64 };

static bool parse_address(struct span text, unsigned char out_address[16], bool *out_v4)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char copy[TEXT_MAX_BYTES];

    if (text.len >= sizeof copy || text.len == 0) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    *out_v4 = strchr(copy, ':') == NULL;
    if (*out_v4) {
        memcpy(out_address, mapped, sizeof mapped);
        return inet_pton(AF_INET, copy, out_address + sizeof mapped) == 1;
    }
    return inet_pton(AF_INET6, copy, out_address) == 1;
}

static bool bit_of(const unsigned char *address, unsigned index)
{
    return (address[index / 8] >> (7 - index % 8) & 1) != 0;
}

bool network_parse(struct span text, struct network *out_network)
{
    size_t slash = span_find(text, '/');
    struct network network = {.bits = BITS};
    uint64_t bits = 0;
    bool v4;

    if (span_equal(text, SPAN("unix"))) {
        *out_network = (struct network){.is_unix = true};
        return true;
    }
    if (!parse_address(span_take(text, slash), network.address, &v4)) {
        return false;
    }
    if (slash != SIZE_MAX) {
        if (!span_to_u64(span_skip(text, slash + 1), &bits) || bits > (v4 ? BITS - V4_OFFSET_BITS : BITS)) {
            return false;
        }
        network.bits = (unsigned)bits + (v4 ? V4_OFFSET_BITS : 0);
    }
    for (unsigned i = network.bits; i < BITS; i++) {
        if (bit_of(network.address, i)) {
            return false;
        }
    }
    *out_network = network;
    return true;
}

bool network_has(const struct network *network, const char *host)
{
    unsigned char address[16];
    bool v4;

    if (network->is_unix) {
        return strcmp(host, "unix") == 0;
    }
    if (!parse_address(span_of(host), address, &v4)) {
        return false;
    }
    for (unsigned i = 0; i < network->bits; i++) {
        if (bit_of(address, i) != bit_of(network->address, i)) {
            return false;
        }
    }
    return true;
}

bool networks_have(const struct network *networks, size_t count, const char *host)
{
    for (size_t i = 0; i < count; i++) {
        if (network_has(&networks[i], host)) {
            return true;
        }
    }
    return false;
}
