/* client_id.c: see client_id.h. */
#include "proxy/client/client_id.h"

#include <arpa/inet.h>
#include <string.h>

static const unsigned char v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

bool client_id_of(struct span text, unsigned ipv6_prefix, struct client_id *out_id)
{
    char name[INET6_ADDRSTRLEN + 1];
    struct client_id id = {0};

    if (text.len == 0 || text.len >= sizeof(name)) {
        return false;
    }
    memcpy(name, text.data, text.len);
    name[text.len] = '\0';
    if (inet_pton(AF_INET, name, id.bytes + sizeof(v4_mapped)) == 1) {
        memcpy(id.bytes, v4_mapped, sizeof(v4_mapped));
    } else if (inet_pton(AF_INET6, name, id.bytes) == 1) {
        bool is_v4 = memcmp(id.bytes, v4_mapped, sizeof(v4_mapped)) == 0;
        for (unsigned bit = ipv6_prefix; !is_v4 && bit < 8 * CLIENT_ID_BYTES; bit++) {
            id.bytes[bit / 8] &= (unsigned char)~(0x80U >> (bit % 8));
        }
    } else {
        return false;
    }
    *out_id = id;
    return true;
}
