/* forward.c: hop-by-hop fields out, Via and Forwarded in. */
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
static bool starts_with_nocase(struct span text, struct span prefix);
static void remove_x_forwarded(struct headers *headers);
static bool add_x_forwarded(struct headers *headers, const struct forwarded *forwarded);
static bool add_rfc7239(struct headers *headers, const struct forwarded *forwarded);

bool forward_remove_hop_by_hop(struct headers *headers)
{
    struct span nominated, name;
    bool present;

    if (!headers_combine(headers, SPAN("Connection"), headers->arena, &nominated, &present)) {
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

/* RFC 9110 §7.6.1, and two that only intermediaries understand. Trailer stays: it speaks of fields that travel end to
 * end. One after another: most messages have Connection at most, and the set of their names tells that at once. How
 * many lines there were is of no interest. */
static void remove_hop_by_hop(struct headers *headers)
{
    (void)headers_remove(headers, SPAN("Connection"));
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

bool forward_add_forwarded(struct headers *headers, const struct forwarded *forwarded)
{
    if (!forwarded->trust || forwarded->style == FORWARDED_NONE) {
        remove_x_forwarded(headers);
        (void)headers_remove(headers, SPAN("Forwarded")); /* it may well be absent */
    }
    switch (forwarded->style) {
    case FORWARDED_X:
        return add_x_forwarded(headers, forwarded);
    case FORWARDED_RFC:
        return add_rfc7239(headers, forwarded);
    case FORWARDED_NONE:
        return true;
    }
    UNREACHABLE();
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
    return !is_one_of(name, kept, ARRAY_LEN(kept)) && !starts_with_nocase(name, SPAN("Content-")) &&
           !starts_with_nocase(name, SPAN("If-"));
}

static bool starts_with_nocase(struct span text, struct span prefix)
{
    return text.len >= prefix.len && span_equal_nocase(span_take(text, prefix.len), prefix);
}

static void remove_x_forwarded(struct headers *headers)
{
    size_t count = 0;

    for (size_t i = 0; i < headers->count; i++) {
        if (!starts_with_nocase(headers->items[i].name, SPAN("X-Forwarded-"))) {
            headers->items[count++] = headers->items[i];
        }
    }
    headers->count = count;
}

/* What a trusted client said stays; otherwise, or where it said nothing, ours. */
static bool set_unless_trusted(struct headers *headers, const struct forwarded *forwarded, struct span name,
                               struct span value)
{
    if (value.len == 0 || (forwarded->trust && headers_has(headers, name))) {
        return true;
    }
    return headers_set(headers, name, value);
}

static bool add_x_forwarded(struct headers *headers, const struct forwarded *forwarded)
{
    struct span client = forwarded->client.len > 0 ? forwarded->client : SPAN("unknown");
    struct span scheme = forwarded->scheme;
    struct span before, value;
    bool present;

    if (forwarded->trust) {
        scheme = forward_scheme(headers, FORWARDED_X, scheme); /* Forwarded may be all that was said */
    }
    if (!headers_combine(headers, SPAN("X-Forwarded-For"), headers->arena, &before, &present)) {
        return false;
    }
    struct span parts[] = {before, before.len > 0 ? SPAN(", ") : SPAN(""), client};

    return arena_join(headers->arena, parts, ARRAY_LEN(parts), &value) &&
           headers_set(headers, SPAN("X-Forwarded-For"), value) &&
           set_unless_trusted(headers, forwarded, SPAN("X-Forwarded-Proto"), scheme) &&
           set_unless_trusted(headers, forwarded, SPAN("X-Forwarded-Host"), forwarded->host);
}

/* RFC 7239 §4: a value that is not a token is quoted. Hosts hold neither quotes nor backslashes (uri_host_valid), so
 * nothing is escaped. */
static struct span quote_for(struct span value)
{
    return is_token(value) ? SPAN("") : SPAN("\"");
}

static bool add_rfc7239(struct headers *headers, const struct forwarded *forwarded)
{
    struct span client = forwarded->client.len > 0 ? forwarded->client : SPAN("unknown");
    bool is_v6 = span_find(client, ':') != SIZE_MAX; /* RFC 7239 §6: in brackets, and therefore in quotes */
    struct span host_quote = quote_for(forwarded->host);
    bool has_host = forwarded->host.len > 0;
    bool has_scheme = forwarded->scheme.len > 0;
    struct span none = SPAN("");
    struct span before, value;
    bool present;

    remove_x_forwarded(headers);
    if (!headers_combine(headers, SPAN("Forwarded"), headers->arena, &before, &present)) {
        return false;
    }
    struct span parts[] = {
        before,
        before.len > 0 ? SPAN(", ") : none,
        is_v6 ? SPAN("for=\"[") : SPAN("for="),
        client,
        is_v6 ? SPAN("]\"") : none,
        has_scheme ? SPAN(";proto=") : none,
        forwarded->scheme,
        has_host ? SPAN(";host=") : none,
        has_host ? host_quote : none,
        forwarded->host,
        has_host ? host_quote : none,
    };

    return arena_join(headers->arena, parts, ARRAY_LEN(parts), &value) &&
           headers_set(headers, SPAN("Forwarded"), value);
}

/* The first member of a list field; empty where there is none. */
static struct span first_member(const struct headers *headers, struct span name)
{
    const struct header *line = headers_find(headers, name);
    struct span member = SPAN("");
    struct span rest = line != NULL ? line->value : SPAN("");

    (void)list_next(&rest, &member); /* an empty list has none */
    return member;
}

/* RFC 7239 §5.4 */
static struct span forwarded_proto(struct span element)
{
    struct span pair, name, value;
    bool has_value;

    while (parameter_next(&element, &pair)) {
        parameter_split(pair, &name, &value, &has_value);
        if (span_equal_nocase(name, SPAN("proto"))) {
            bool quoted = value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"';
            return quoted ? span_skip(span_take(value, value.len - 1), 1) : value;
        }
    }
    return SPAN("");
}

struct span forward_scheme(const struct headers *request_headers, enum forwarded_style style, struct span scheme)
{
    struct span said = SPAN("");

    if (style == FORWARDED_X) {
        said = first_member(request_headers, SPAN("X-Forwarded-Proto"));
    }
    if (style != FORWARDED_NONE && said.len == 0) {
        said = forwarded_proto(first_member(request_headers, SPAN("Forwarded")));
    }
    if (span_equal_nocase(said, SPAN("https"))) {
        return SPAN("https");
    }
    return span_equal_nocase(said, SPAN("http")) ? SPAN("http") : scheme;
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
