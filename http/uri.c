/* uri.c: request targets and URLs.
 *
 * Each text is first cut at its delimiters, then each part is checked and normalised alone. A part that is normal
 * already, which is the rule, is borrowed, not copied. */
#include "http/uri.h"

#include <arpa/inet.h>
#include <string.h>

enum {
    UNRESERVED = 1,  /* RFC 3986 §2.3: ALPHA, DIGIT, - . _ ~ */
    HOST_CHAR = 2,   /* RFC 3986 §3.2.2: reg-name: unreserved, sub-delims; `%` is looked at apart */
    TARGET_CHAR = 4, /* what we take in path and query: visible ASCII but `\` and `#`; browsers send `|`, `"` and such
                        unescaped */
    HEX = 8,
    PLAIN = 16, /* in a host: needs no normalisation */
};

#define D (UNRESERVED | HOST_CHAR | TARGET_CHAR | HEX | PLAIN)
#define X (UNRESERVED | HOST_CHAR | TARGET_CHAR | HEX)
#define U (UNRESERVED | HOST_CHAR | TARGET_CHAR)
#define x (X | PLAIN)
#define u (U | PLAIN)
#define S (HOST_CHAR | TARGET_CHAR)
#define V TARGET_CHAR
static const unsigned char classes[256] = {
    /* clang-format off */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, S, V, 0, S, V, S, S, S, S, S, S, S, u, u, V, /*   ! " # $ % & ' ( ) * + , - . / */
    D, D, D, D, D, D, D, D, D, D, V, S, V, S, V, V, /* 0 … 9 : ; < = > ? */
    V, X, X, X, X, X, X, U, U, U, U, U, U, U, U, U, /* @ A … O */
    U, U, U, U, U, U, U, U, U, U, U, V, 0, V, V, u, /* P … Z [ \ ] ^ _ */
    V, x, x, x, x, x, x, u, u, u, u, u, u, u, u, u, /* ` a … o */
    u, u, u, u, u, u, u, u, u, u, u, V, V, V, u, 0, /* p … z { | } ~ DEL */
    /* clang-format on */
};
#undef V
#undef S
#undef u
#undef x
#undef U
#undef X
#undef D

/* An authority taken apart. */
struct authority {
    struct span host; /* an IPv6 literal with its brackets */
    struct span port; /* digits without leading zeros, or empty */
    uint16_t number;  /* of the port, 0 when empty */
};

static bool split_absolute(struct span text, struct uri *out_uri);
static void split_path_and_query(struct span text, struct uri *out_uri);
static enum err normalise(struct arena *arena, struct uri *uri);
static enum err normalise_path(struct span path, struct arena *arena, struct span *out_path);
static enum err normalise_query(struct span query, struct arena *arena, struct span *out_query);
static enum err normalise_authority(struct span text, struct span scheme, struct arena *arena,
                                    struct span *out_authority);
static bool split_authority(struct span text, struct authority *out_authority);
static bool host_valid(struct span host);
static bool check_chars(struct span text, bool *out_has_escapes, bool *out_has_dots);
static char unescape(const char *escape);
static size_t write_unescaped(struct span text, char *out);
static size_t remove_dot_segments(char *path, size_t len);
static bool has_class(char byte, unsigned class);

enum err uri_of_request(struct span scheme, struct span target, struct span host, struct arena *arena,
                        struct uri *out_uri)
{
    struct uri uri = {0};
    struct span host_authority = {NULL, 0};
    enum err error;

    if (host.len > 0) {
        error = normalise_authority(host, scheme, arena, &host_authority);
        if (error != ERR_OK) {
            return error == ERR_BAD_TARGET ? ERR_BAD_HOST : error;
        }
    }
    if (span_equal(target, SPAN("*"))) { /* RFC 9112 §3.2.4 */
        *out_uri = (struct uri){.scheme = scheme, .authority = host_authority, .path = SPAN("*")};
        return ERR_OK;
    }
    if (target.len > 0 && target.data[0] == '/') { /* RFC 9112 §3.2.1 */
        uri.scheme = scheme;
        split_path_and_query(target, &uri);
        error = normalise(arena, &uri);
        uri.authority = host_authority;
    } else { /* RFC 9112 §3.2.2; authority-form fails here for want of a scheme */
        /* RFC 9110 §7.4: a request for an https resource that did not come over a secured connection must be refused */
        if (!split_absolute(target, &uri) || !span_equal_nocase(uri.scheme, scheme)) {
            return ERR_BAD_TARGET;
        }
        error = normalise(arena, &uri);
        if (error == ERR_OK && host.len > 0 && !span_equal(uri.authority, host_authority)) {
            return ERR_BAD_HOST;
        }
    }
    if (error == ERR_OK) {
        *out_uri = uri;
    }
    return error;
}

bool uri_target_is_bare(struct span target)
{
    size_t slash = span_find(target, '/'); /* the first of "://" */

    if (slash == 0 || slash == SIZE_MAX) {
        return false;
    }
    target = span_skip(target, slash + 2);
    return span_find(target, '/') == SIZE_MAX && span_find(target, '?') == SIZE_MAX;
}

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

enum err uri_parse_absolute(struct span text, struct arena *arena, struct uri *out_uri)
{
    struct uri uri;
    enum err error;

    if (!split_absolute(text, &uri)) {
        return ERR_BAD_TARGET;
    }
    error = normalise(arena, &uri);
    if (error == ERR_OK) {
        *out_uri = uri;
    }
    return error;
}

/* Does `text` start with a scheme and a colon (RFC 3986 §3.1)? */
static bool has_scheme(struct span text)
{
    size_t i = 0;

    while (i < text.len && text.data[i] != ':' && text.data[i] != '/' && text.data[i] != '?') {
        i++;
    }
    return i > 0 && i < text.len && text.data[i] == ':';
}

/* The reference's path behind the directory of the base's (RFC 3986 §5.2.3). */
static bool merge_paths(struct span base, struct span reference, struct arena *arena, struct span *out_path)
{
    size_t directory = base.len;

    while (directory > 0 && base.data[directory - 1] != '/') {
        directory--;
    }
    struct span parts[] = {directory > 0 ? span_take(base, directory) : SPAN("/"), reference};

    return arena_join(arena, parts, ARRAY_LEN(parts), out_path);
}

/* RFC 3986 §5.2.2 */
enum err uri_resolve(const struct uri *base, struct span reference, struct arena *arena, struct uri *out_uri)
{
    struct uri uri = {.scheme = base->scheme, .authority = base->authority};
    struct span absolute;
    enum err error;

    reference = span_take(reference, span_find(reference, '#')); /* a fragment is nothing a server sees */
    if (has_scheme(reference)) {
        return uri_parse_absolute(reference, arena, out_uri);
    }
    if (span_starts_with(reference, SPAN("//"))) {
        struct span parts[] = {base->scheme, SPAN(":"), reference};

        if (!arena_join(arena, parts, ARRAY_LEN(parts), &absolute)) {
            return arena_error(arena);
        }
        return uri_parse_absolute(absolute, arena, out_uri);
    }
    split_path_and_query(reference, &uri);
    if (uri.path.len == 0) {
        uri.path = base->path;
        if (!uri.has_query) {
            uri.query = base->query;
            uri.has_query = base->has_query;
        }
    } else if (uri.path.data[0] != '/' && !merge_paths(base->path, uri.path, arena, &uri.path)) {
        return arena_error(arena);
    }
    if (span_equal(uri.path, SPAN("*"))) {
        uri.path = SPAN("/"); /* the base was `OPTIONS *` */
    }
    error = normalise(arena, &uri);
    if (error == ERR_OK) {
        *out_uri = uri;
    }
    return error;
}

bool uri_same_origin(const struct uri *a, const struct uri *b)
{
    /* Both are normalised: the default port is dropped from both. */
    return span_equal_nocase(a->scheme, b->scheme) && span_equal_nocase(a->authority, b->authority);
}

bool uri_path_and_query(const struct uri *uri, struct arena *arena, struct span *out_text)
{
    if (!uri->has_query) {
        *out_text = uri->path;
        return true;
    }
    struct span parts[] = {uri->path, SPAN("?"), uri->query};

    return arena_join(arena, parts, ARRAY_LEN(parts), out_text);
}

/* Cuts "http://authority/path?query"; nothing is checked but the scheme. */
static bool split_absolute(struct span text, struct uri *out_uri)
{
    size_t scheme_len = span_find(text, ':');
    struct span rest = span_skip(text, scheme_len);
    size_t end = 0;

    *out_uri = (struct uri){0};
    if (scheme_len == SIZE_MAX || !span_starts_with(rest, SPAN("://"))) {
        return false;
    }
    if (span_equal_nocase(span_take(text, scheme_len), SPAN("http"))) {
        out_uri->scheme = SPAN("http");
    } else if (span_equal_nocase(span_take(text, scheme_len), SPAN("https"))) {
        out_uri->scheme = SPAN("https");
    } else {
        return false;
    }
    rest = span_skip(rest, 3);
    while (end < rest.len && rest.data[end] != '/' && rest.data[end] != '?') {
        end++;
    }
    out_uri->authority = span_take(rest, end);
    split_path_and_query(span_skip(rest, end), out_uri);
    if (out_uri->path.len == 0) {
        out_uri->path = SPAN("/"); /* RFC 9110 §4.2.3 */
    }
    return out_uri->authority.len > 0; /* RFC 9110 §4.2.1: an http URI without a host is invalid */
}

static void split_path_and_query(struct span text, struct uri *out_uri)
{
    size_t mark = span_find(text, '?');

    out_uri->path = span_take(text, mark);
    out_uri->has_query = mark != SIZE_MAX;
    out_uri->query = out_uri->has_query ? span_skip(text, mark + 1) : (struct span){NULL, 0};
}

static enum err normalise(struct arena *arena, struct uri *uri)
{
    enum err error = normalise_path(uri->path, arena, &uri->path);

    if (error == ERR_OK && uri->has_query) {
        error = normalise_query(uri->query, arena, &uri->query);
    }
    if (error == ERR_OK && uri->authority.len > 0) {
        error = normalise_authority(uri->authority, uri->scheme, arena, &uri->authority);
    }
    return error;
}

/* RFC 3986 §6.2.2.2, then §6.2.2.3: an escaped dot is a dot */
static enum err normalise_path(struct span path, struct arena *arena, struct span *out_path)
{
    bool has_escapes, has_dots;
    char *text;
    size_t len;

    if (!check_chars(path, &has_escapes, &has_dots)) {
        return ERR_BAD_TARGET;
    }
    if (!has_escapes && !has_dots) {
        *out_path = path;
        return ERR_OK;
    }
    text = arena_alloc_text(arena, path.len);
    if (text == NULL) {
        return arena_error(arena);
    }
    len = write_unescaped(path, text);
    *out_path = (struct span){text, remove_dot_segments(text, len)};
    return ERR_OK;
}

static enum err normalise_query(struct span query, struct arena *arena, struct span *out_query)
{
    bool has_escapes, has_dots;
    char *text;

    if (!check_chars(query, &has_escapes, &has_dots)) {
        return ERR_BAD_TARGET;
    }
    if (!has_escapes) {
        *out_query = query;
        return ERR_OK;
    }
    text = arena_alloc_text(arena, query.len);
    if (text == NULL) {
        return arena_error(arena);
    }
    *out_query = (struct span){text, write_unescaped(query, text)};
    return ERR_OK;
}

/* RFC 9110 §4.2.3: an authority is normal with its host in lower case and without the scheme's default port. */
static enum err normalise_authority(struct span text, struct span scheme, struct arena *arena,
                                    struct span *out_authority)
{
    struct authority parts;
    bool is_default;
    bool plain = true;
    char *to;
    size_t len;

    if (!split_authority(text, &parts)) {
        return ERR_BAD_TARGET;
    }
    is_default = parts.number == 0 || parts.number == (span_equal_nocase(scheme, SPAN("https")) ? 443 : 80);
    for (size_t i = 0; i < parts.host.len && plain; i++) {
        plain = has_class(parts.host.data[i], PLAIN);
    }
    if (plain && is_default) {
        *out_authority = parts.host;
        return ERR_OK;
    }
    to = arena_alloc_text(arena, text.len);
    if (to == NULL) {
        return arena_error(arena);
    }
    len = write_unescaped(parts.host, to);
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
    *out_authority = (struct authority){.host = span_take(text, host_len), .port = port, .number = (uint16_t)number};
    return host_valid(out_authority->host);
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
            if (host.len - i < 3 || !has_class(host.data[i + 1], HEX) || !has_class(host.data[i + 2], HEX)) {
                return false;
            }
            byte = unescape(host.data + i);
            i += 2;
            if ((unsigned char)byte > 0x7f) {
                continue; /* part of a character beyond ASCII */
            }
        }
        /* Escaped or not: who decodes it must not find a delimiter or NUL, and so another host. */
        if (!has_class(byte, HOST_CHAR)) {
            return false;
        }
    }
    return true;
}

/* False for bytes that no target may hold and for broken escapes. `out_has_dots` is careful: it may be true without dot
 * segments. */
static bool check_chars(struct span text, bool *out_has_escapes, bool *out_has_dots)
{
    *out_has_escapes = false;
    *out_has_dots = false;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];

        if (!has_class(byte, TARGET_CHAR)) {
            return false;
        }
        if (byte == '%') {
            if (text.len - i < 3 || !has_class(text.data[i + 1], HEX) || !has_class(text.data[i + 2], HEX)) {
                return false;
            }
            *out_has_escapes = true;
        } else if (byte == '.' && i > 0 && text.data[i - 1] == '/') {
            *out_has_dots = true;
        }
    }
    return true;
}

static unsigned hex_value(char byte)
{
    return byte <= '9' ? (unsigned)(byte - '0') : (unsigned)(ascii_lower(byte) - 'a') + 10;
}

static char upper(char byte)
{
    return byte >= 'a' && byte <= 'f' ? (char)(byte - 'a' + 'A') : byte;
}

/* The byte that "%XX" means. */
static char unescape(const char *escape)
{
    return (char)(hex_value(escape[1]) << 4 | hex_value(escape[2]));
}

/* RFC 3986 §6.2.2.1 and §6.2.2.2: escapes of unreserved characters resolved, the others in upper case. Checked text
 * only. At most as long as `text`; returns the length. */
static size_t write_unescaped(struct span text, char *out)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];

        if (byte == '%') {
            char plain = unescape(text.data + i);

            if (has_class(plain, UNRESERVED)) {
                byte = plain;
            } else {
                out[len++] = byte;
                out[len++] = upper(text.data[i + 1]);
                byte = upper(text.data[i + 2]);
            }
            i += 2;
        }
        out[len++] = byte;
    }
    return len;
}

/* RFC 3986 §5.2.4, in place; the path starts with '/'. Returns the new length. */
static size_t remove_dot_segments(char *path, size_t len)
{
    size_t out = 0;
    size_t end;

    for (size_t in = 0; in < len; in = end) {
        struct span segment; /* without the slash in front */

        end = in + 1;
        while (end < len && path[end] != '/') {
            end++;
        }
        segment = (struct span){path + in + 1, end - in - 1};
        if (span_equal(segment, SPAN("..")) || span_equal(segment, SPAN("."))) {
            while (segment.len == 2 && out > 0 && path[--out] != '/') {
            }
            if (end == len) {
                path[out++] = '/'; /* what a dot segment ends is a directory */
            }
        } else {
            memmove(path + out, path + in, end - in);
            out += end - in;
        }
    }
    return out;
}

static bool has_class(char byte, unsigned class)
{
    return (classes[(unsigned char)byte] & class) != 0;
}
