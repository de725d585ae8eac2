/* forward.c: hop-by-hop fields out, Via and CDN-Loop in. */
#include "http/forward.h"

#include "http/token.h"

/* Fields that Connection cannot name away: without them the message would mean something else to the next hop
 * (CVE-2022-45059). */
static const struct span kept[] = {
    SPAN_INIT("Host"),          SPAN_INIT("Cookie"),
    SPAN_INIT("Set-Cookie"),    SPAN_INIT("Authorization"),
    SPAN_INIT("Cache-Control"), SPAN_INIT("Date"),
    SPAN_INIT("ETag"),          SPAN_INIT("Vary"),
    SPAN_INIT("Age"),           SPAN_INIT("Expires"),
    SPAN_INIT("Last-Modified"), SPAN_INIT("Location"),
    SPAN_INIT("Range"),         SPAN_INIT("Transfer-Encoding"),
    SPAN_INIT("CDN-Loop"), /* RFC 8586 §2 */
};

static void remove_hop_by_hop(struct headers *headers);
static bool is_one_of(struct span name, const struct span *names, size_t count);
static bool may_be_nominated(struct span name);

bool forward_remove_hop_by_hop(struct headers *headers)
{
    struct span nominated, name;
    bool present;

    if (!headers_take(headers, SPAN("Connection"), headers->arena, &nominated, &present)) {
        return false;
    }
    while (!span_equal_nocase(nominated, SPAN("keep-alive")) && list_next(&nominated, &name)) {
        if (may_be_nominated(name)) {
            (void)headers_remove(headers, name); /* it may well be absent */
        }
    }
    remove_hop_by_hop(headers);
    return true;
}

/* Those beside Connection: RFC 9110 §7.6.1, and two that only intermediaries understand. Trailer stays: it speaks of
 * fields that travel end to end. One after another: most messages have none of them, and the set of their names tells
 * that at once. How many lines there were is of no interest. */
static void remove_hop_by_hop(struct headers *headers)
{
    (void)headers_remove(headers, SPAN("Keep-Alive"));
    (void)headers_remove(headers, SPAN("Proxy-Connection"));
    (void)headers_remove(headers, SPAN("Proxy-Authentication-Info"));
    (void)headers_remove(headers, SPAN("Proxy-Authorization"));
    (void)headers_remove(headers, SPAN("Proxy-Authenticate"));
    (void)headers_remove(headers, SPAN("TE"));
    (void)headers_remove(headers, SPAN("Transfer-Encoding"));
    (void)headers_remove(headers, SPAN("Upgrade"));
}

static struct span via_version(unsigned minor)
{
    return minor == 0 ? SPAN("1.0 ") : SPAN("1.1 ");
}

void forward_write_via(struct buf *out, unsigned minor, struct span pseudonym)
{
    buf_add(out, SPAN("Via: "));
    buf_add(out, via_version(minor));
    buf_add(out, pseudonym);
    buf_add(out, SPAN("\r\n"));
}

/* RFC 9110 §7.6.3 */
bool forward_add_via(struct headers *headers, unsigned minor, struct span pseudonym)
{
    struct span before, value;
    bool present;

    if (!headers_combine(headers, SPAN("Via"), headers->arena, &before, &present)) {
        return false;
    }
    struct span parts[] = {before, before.len > 0 ? SPAN(", ") : SPAN(""), via_version(minor), pseudonym};

    return arena_join(headers->arena, parts, ARRAY_LEN(parts), &value) && headers_set(headers, SPAN("Via"), value);
}

static bool is_one_of(struct span name, const struct span *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (span_equal_nocase(names[i], name)) {
            return true;
        }
    }
    return false;
}

static bool may_be_nominated(struct span name)
{
    /* `close` and `keep-alive` are options, not fields; most lists hold nothing else */
    if (span_equal_nocase(name, SPAN("close")) || span_equal_nocase(name, SPAN("keep-alive"))) {
        return false;
    }
    return !is_one_of(name, kept, ARRAY_LEN(kept)) && !span_starts_with_nocase(name, SPAN("Content-")) &&
           !span_starts_with_nocase(name, SPAN("If-"));
}

enum { LOOP_ID_BYTES = 16 };

/* The value of the parameter `id`: which larder of that name. Written for every fetch, so without printf. */
static struct span loop_id(uint64_t instance_id, char buffer[LOOP_ID_BYTES])
{
    for (size_t i = LOOP_ID_BYTES; i > 0; i--) {
        buffer[i - 1] = "0123456789abcdef"[instance_id & 15];
        instance_id >>= 4;
    }
    return (struct span){buffer, LOOP_ID_BYTES};
}

bool forward_add_loop(struct headers *headers, struct span pseudonym, uint64_t instance_id)
{
    char buffer[LOOP_ID_BYTES];
    const struct span parts[] = {pseudonym, SPAN_INIT("; id="), loop_id(instance_id, buffer)};
    struct span member;

    /* A line of its own: lists may be cut over lines (RFC 9110 §5.3), and the others' stay untouched (RFC 8586 §2). */
    return arena_join(headers->arena, parts, ARRAY_LEN(parts), &member) &&
           headers_add(headers, SPAN("CDN-Loop"), member);
}

/* Is the member `cdn-id *( OWS ";" OWS parameter )` (RFC 8586 §2) that instance's? Whoever passed it on may have
 * written it anew: white space, quotes and other parameters change nothing. */
static bool is_own_member(struct span member, struct span pseudonym, struct span id, struct arena *arena)
{
    struct span rest = member;
    struct span part;

    if (!parameter_next(&rest, &part) || !span_equal_nocase(part, pseudonym)) {
        return false;
    }
    while (parameter_next(&rest, &part)) {
        struct span name, value, text;
        bool has_value;
        parameter_split(part, &name, &value, &has_value);
        if (has_value && span_equal_nocase(name, SPAN("id")) && unquote(value, arena, &text) &&
            span_equal_nocase(text, id)) {
            return true;
        }
    }
    return false;
}

bool forward_is_loop(const struct headers *headers, struct span pseudonym, uint64_t instance_id)
{
    char buffer[LOOP_ID_BYTES];

    if (!headers_has(headers, SPAN("CDN-Loop"))) {
        return false; /* as nearly always */
    }
    struct span id = loop_id(instance_id, buffer);
    for (const struct header *line = headers_find(headers, SPAN("CDN-Loop")); line != NULL;
         line = headers_find_next(headers, line)) {
        struct span rest = line->value;
        struct span member;
        while (list_next(&rest, &member)) {
            if (is_own_member(member, pseudonym, id, headers->arena)) {
                return true;
            }
        }
    }
    return false;
}
