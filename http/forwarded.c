/* forwarded.c: see forwarded.h. */
#include "http/forwarded.h"

#include "http/buf.h"
#include "http/token.h"
#include "http/uri.h"

/* The first member of the first line of a list field; empty where there is none. */
static struct span first_member(const struct headers *headers, struct span name)
{
    struct span member = SPAN("");
    struct span rest = headers_value(headers, name);

    (void)list_next(&rest, &member); /* an empty list has none */
    return member;
}

/* What stands behind the last comma in X-Forwarded-For. It knows no quotes: with one a client could make its own
 * beginning and what the proxy appends to it one member. */
static struct span last_address(const struct headers *headers)
{
    struct span last = SPAN("");
    size_t comma;

    for (const struct header *line = headers_find(headers, SPAN("X-Forwarded-For")); line != NULL;
         line = headers_find_next(headers, line)) {
        last = line->value;
    }
    while ((comma = span_find(last, ',')) != SIZE_MAX) {
        last = span_skip(last, comma + 1);
    }
    return span_trim(last);
}

/* ---- Forwarded: what of it is read is what is passed on, nothing else ---- */

static const struct span says_nothing = SPAN_INIT("for=unknown"); /* RFC 7239 §6.2 */

/* The elements of all lines. */
struct elements {
    const struct headers *headers;
    const struct header *line; /* NULL: the end */
    struct span rest;          /* of that line */
};

static void enter_line(struct elements *elements, const struct header *line)
{
    elements->line = line;
    if (line != NULL) { /* where a quote stays open nobody knows what it was to hold, the proxy's own element, too */
        elements->rest = has_open_quote(line->value) ? says_nothing : line->value;
    }
}

static struct elements elements_of(const struct headers *headers)
{
    struct elements elements = {.headers = headers};

    enter_line(&elements, headers_find(headers, SPAN("Forwarded")));
    return elements;
}

static bool element_next(struct elements *elements, struct span *out_element)
{
    while (elements->line != NULL) {
        if (list_next(&elements->rest, out_element)) {
            return true;
        }
        enter_line(elements, headers_find_next(elements->headers, elements->line));
    }
    return false;
}

/* RFC 7239 §5. Others (§5.5) go no further: origins search the field for `host=` and `proto=` anywhere, and would find
 * them in a longer name. */
static const struct span names[] = {SPAN_INIT("for"), SPAN_INIT("by"), SPAN_INIT("host"), SPAN_INIT("proto")};

/* The pairs of an element that no two readers take differently. */
struct pairs {
    struct span rest;
    bool seen[ARRAY_LEN(names)]; /* in front */
};

struct pair {
    struct span text; /* as it lies there */
    struct span name;
    struct span value; /* without quotes */
};

static bool is_scheme(struct span text)
{
    return span_equal_nocase(text, SPAN("http")) || span_equal_nocase(text, SPAN("https")) ||
           span_equal_nocase(text, SPAN("ws")) || span_equal_nocase(text, SPAN("wss"));
}

/* RFC 7239 §4: a token or a quoted string. There is nothing in it at which a reader who knows no quotes would split or
 * begin a pair, nor an escape: no address, host or scheme needs them. Proxies leave out the quotes that §6 wants around
 * a port or an IPv6 address: an address or host is read without, for no reader ends it elsewhere. An IPv6 address
 * without brackets is not one: its last group may be a port. */
static bool read_value(struct span text, struct span *out_value)
{
    bool quoted = text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"';

    *out_value = quoted ? span_skip(span_take(text, text.len - 1), 1) : text;
    for (size_t i = 0; i < out_value->len; i++) {
        if (span_find(SPAN("\"\\,;= \t"), out_value->data[i]) != SIZE_MAX) {
            return false;
        }
    }
    return quoted || is_token(text) || uri_host_valid(text);
}

/* RFC 7239 §4: no name is there twice in an element. False also for names that do not count. */
static bool is_first_of_name(struct pairs *pairs, struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (span_equal_nocase(names[i], name)) {
            bool first = !pairs->seen[i];
            pairs->seen[i] = true;
            return first;
        }
    }
    return false;
}

static bool pair_next(struct pairs *pairs, struct pair *out_pair)
{
    bool has_value;

    while (parameter_next(&pairs->rest, &out_pair->text)) {
        struct span value;
        parameter_split(out_pair->text, &out_pair->name, &value, &has_value);
        if (read_value(value, &out_pair->value) && is_first_of_name(pairs, out_pair->name) &&
            (!span_equal_nocase(out_pair->name, SPAN("proto")) || is_scheme(out_pair->value))) {
            return true;
        }
    }
    return false;
}

/* What an element says by that name (RFC 7239 §4); empty: nothing. */
static struct span parameter_of(struct span element, struct span wanted)
{
    struct pairs pairs = {.rest = element};
    struct pair pair;

    while (pair_next(&pairs, &pair)) {
        if (span_equal_nocase(pair.name, wanted)) {
            return pair.value;
        }
    }
    return SPAN("");
}

static struct span first_element(const struct headers *headers)
{
    struct elements elements = elements_of(headers);
    struct span element = SPAN("");

    (void)element_next(&elements, &element); /* an empty list has none */
    return element;
}

static struct span last_element(const struct headers *headers)
{
    struct elements elements = elements_of(headers);
    struct span last = SPAN("");
    struct span element;

    while (element_next(&elements, &element)) {
        last = element;
    }
    return last;
}

/* Not the hosts that are not the request's: applications build links from them, and no key holds them. Nor a scheme
 * where the first element says none and the key has the connection's: readers who take the first proto that they find
 * would find another's. */
static bool passes(const struct pair *pair, struct span host, bool says_scheme)
{
    if (span_equal_nocase(pair->name, SPAN("host"))) {
        return span_equal_nocase(pair->value, host);
    }
    return says_scheme || !span_equal_nocase(pair->name, SPAN("proto"));
}

/* With the quotes that it should have had. */
static void write_pair(const struct pair *pair, struct buf *out)
{
    bool quoted = span_ends_with(pair->text, SPAN("\""));

    if (quoted || is_token(pair->value)) {
        buf_add(out, pair->text);
        return;
    }
    buf_add(out, pair->name);
    buf_add(out, SPAN("=\""));
    buf_add(out, pair->value);
    buf_add(out, SPAN("\""));
}

/* The elements, without the pairs that do not pass. One of which nothing is left stays as one that says nothing, so
 * that the first and the last are for the origin what they are here. */
static void write_elements(const struct headers *headers, struct span host, struct buf *out)
{
    struct elements elements = elements_of(headers);
    bool says_scheme = parameter_of(first_element(headers), SPAN("proto")).len > 0;
    struct span element;
    struct pair pair;

    while (element_next(&elements, &element)) {
        struct pairs pairs = {.rest = element};
        struct span separator = out->len > 0 ? SPAN(", ") : SPAN("");
        bool any = false;
        while (pair_next(&pairs, &pair)) {
            if (passes(&pair, host, says_scheme)) {
                buf_add(out, any ? SPAN(";") : separator);
                write_pair(&pair, out);
                any = true;
            }
        }
        if (!any) {
            buf_add(out, separator);
            buf_add(out, says_nothing);
        }
    }
}

/* What is passed on of the lines there are. False at the arena's limit. */
static bool combine_elements(const struct headers *headers, struct span host, struct arena *arena,
                             struct span *out_value)
{
    size_t room = 0;
    struct buf out;

    for (const struct header *line = headers_find(headers, SPAN("Forwarded")); line != NULL;
         line = headers_find_next(headers, line)) {
        /* a member of one byte and its comma may become ", for=unknown"; two quotes are less, to "by=b:" */
        room += 7 * (line->value.len + 1);
    }
    *out_value = SPAN("");
    if (room == 0) {
        return true;
    }
    char *memory = arena_alloc_text(arena, room);
    if (memory == NULL) {
        return false;
    }
    buf_init_in(&out, memory, room);
    write_elements(headers, host, &out);
    *out_value = buf_span(&out);
    return !out.failed;
}

/* ---- read ---- */

struct span forwarded_scheme(const struct headers *request_headers, enum forwarded_style style, struct span scheme)
{
    struct span said = SPAN("");

    if (style == FORWARDED_X) {
        said = first_member(request_headers, SPAN("X-Forwarded-Proto"));
    } else if (style == FORWARDED_RFC) { /* RFC 7239 §5.4 */
        said = parameter_of(first_element(request_headers), SPAN("proto"));
    }
    if (span_equal_nocase(said, SPAN("https")) || span_equal_nocase(said, SPAN("wss"))) {
        return SPAN("https");
    }
    return span_equal_nocase(said, SPAN("http")) || span_equal_nocase(said, SPAN("ws")) ? SPAN("http") : scheme;
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

struct span forwarded_client(const struct headers *request_headers, enum forwarded_style style)
{
    bool is_x = style == FORWARDED_X;
    struct span field = is_x ? SPAN("X-Forwarded-For") : SPAN("Forwarded");

    if (style == FORWARDED_NONE || !headers_has(request_headers, field)) {
        return SPAN("");
    }
    struct span last = is_x ? last_address(request_headers) : last_element(request_headers);
    struct span node = without_port(is_x ? last : parameter_of(last, SPAN("for"))); /* RFC 7239 §5.2 */
    return node.len > 0 ? node : SPAN("unknown");
}

/* Is it a field that only a proxy in front may set, of the X- kind? */
static bool is_x(struct span name)
{
    return span_starts_with_nocase(name, SPAN("X-Forwarded-")) || span_equal_nocase(name, SPAN("X-Forwarded")) ||
           span_equal_nocase(name, SPAN("X-Real-IP"));
}

bool forwarded_is_one(struct span name)
{
    return is_x(name) || span_equal_nocase(name, SPAN("Forwarded"));
}

/* Does such a field of a trusted proxy count, or agree with one that does? `client` is whom the proxy names. */
static bool counts(const struct header *field, struct span client, const struct field_names *told)
{
    if (span_equal_nocase(field->name, SPAN("X-Real-IP"))) {
        return client.len > 0 && span_equal_nocase(field->value, client);
    }
    for (size_t i = 0; told != NULL && i < told->count; i++) {
        if (span_equal_nocase(field->name, told->items[i])) {
            return true;
        }
    }
    return span_equal_nocase(field->name, SPAN("X-Forwarded-For")) ||
           span_equal_nocase(field->name, SPAN("X-Forwarded-Proto"));
}

bool forwarded_may_be_told(struct span name)
{
    return span_starts_with_nocase(name, SPAN("X-Forwarded-")) && is_token(name) &&
           name.len <= FORWARDED_TOLD_NAME_MAX_BYTES && span_find(name, '_') == SIZE_MAX &&
           !span_equal_nocase(name, SPAN("X-Forwarded-For")) && !span_equal_nocase(name, SPAN("X-Forwarded-Proto")) &&
           !span_equal_nocase(name, SPAN("X-Forwarded-Host"));
}

void forwarded_remove_untold(struct headers *request_headers, enum forwarded_style believed,
                             const struct field_names *told)
{
    struct span client = SPAN("");
    size_t kept = 0;

    if (believed != FORWARDED_RFC) {
        (void)headers_remove(request_headers, SPAN("Forwarded")); /* it may well be absent */
    }
    if ((request_headers->names.initials & header_initial_bit('x')) == 0) {
        return; /* as nearly always */
    }
    if (believed == FORWARDED_X) {
        client = forwarded_client(request_headers, believed);
    }
    for (size_t i = 0; i < request_headers->count; i++) {
        const struct header *field = &request_headers->items[i];
        if (!is_x(field->name) || (believed == FORWARDED_X && counts(field, client, told))) {
            request_headers->items[kept++] = *field;
        }
    }
    request_headers->count = kept;
}

/* ---- written ---- */

HEADERS_FOLDED static inline bool set_if_any(struct headers *headers, struct span name, struct span value)
{
    return value.len == 0 || headers_set(headers, name, value);
}

static bool add_x_forwarded(struct headers *headers, const struct forwarded *forwarded)
{
    struct span client = forwarded->client.len > 0 ? forwarded->client : SPAN("unknown");
    struct span before, value;
    bool present;

    if (!headers_combine(headers, SPAN("X-Forwarded-For"), headers->arena, &before, &present)) {
        return false;
    }
    struct span parts[] = {before, before.len > 0 ? SPAN(", ") : SPAN(""), client};

    return arena_join(headers->arena, parts, ARRAY_LEN(parts), &value) &&
           headers_set(headers, SPAN("X-Forwarded-For"), value) &&
           set_if_any(headers, SPAN("X-Forwarded-Proto"), forwarded->request_scheme) &&
           set_if_any(headers, SPAN("X-Forwarded-Host"), forwarded->host);
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

    if (!combine_elements(headers, forwarded->host, headers->arena, &before)) {
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

bool forwarded_add(struct headers *headers, const struct forwarded *forwarded)
{
    switch (forwarded->style) {
    case FORWARDED_X:
        return add_x_forwarded(headers, forwarded);
    case FORWARDED_RFC:
        return add_rfc7239(headers, forwarded); /* an element is about one hop: this one has the connection's scheme */
    case FORWARDED_NONE:
        return true;
    }
    UNREACHABLE();
}
