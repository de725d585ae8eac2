/* client_id.c: see client_id.h. */
#include "proxy/client/client_id.h"

#include <arpa/inet.h>
#include <string.h>

#include "http/token.h"

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

/* The last member of the last line of a list. */
static struct span last_member(const struct headers *headers, struct span name)
{
    struct span last = SPAN("");
    struct span member;

    for (const struct header *line = headers_find(headers, name); line != NULL;
         line = headers_find_next(headers, line)) {
        struct span rest = line->value;
        while (list_next(&rest, &member)) {
            last = member;
        }
    }
    return last;
}

/* "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80", "2001:db8::1": the address. */
static struct span without_port(struct span node)
{
    size_t colon = span_find(node, ':');

    if (node.len > 0 && node.data[0] == '[') {
        size_t end = span_find(node, ']');
        return end == SIZE_MAX ? SPAN("") : span_skip(span_take(node, end), 1);
    }
    if (colon == SIZE_MAX || span_find(span_skip(node, colon + 1), ':') != SIZE_MAX) {
        return node;
    }
    return span_take(node, colon);
}

struct span client_id_forwarded(const struct headers *request_headers)
{
    struct span last = last_member(request_headers, SPAN("X-Forwarded-For"));
    struct span pair;

    if (last.len > 0) {
        return without_port(last);
    }
    last = last_member(request_headers, SPAN("Forwarded"));
    while (span_split(&last, ';', &pair)) {
        pair = span_trim(pair);
        if (pair.len > 4 && span_equal_nocase(span_take(pair, 4), SPAN("for="))) {
            struct span node = span_skip(pair, 4);
            bool quoted = node.len >= 2 && node.data[0] == '"' && node.data[node.len - 1] == '"';
            return without_port(quoted ? span_skip(span_take(node, node.len - 1), 1) : node);
        }
    }
    return SPAN("");
}
