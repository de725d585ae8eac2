/* uri.c: request targets and URLs; authorities: uri_authority.c, parameters of queries: uri_query.c.
 *
 * Each text is first cut at its delimiters, then each part is checked and normalised alone. A part that is normal
 * already, which is the rule, is borrowed, not copied. */
#include "http/uri_internal.h"

#include <string.h>

#define D (URI_UNRESERVED | URI_HOST_CHAR | URI_TARGET_CHAR | URI_HEX | URI_PLAIN | URI_QUIET)
#define X (URI_UNRESERVED | URI_HOST_CHAR | URI_TARGET_CHAR | URI_HEX | URI_QUIET)
#define U (URI_UNRESERVED | URI_HOST_CHAR | URI_TARGET_CHAR | URI_QUIET)
#define x (X | URI_PLAIN)
#define u (U | URI_PLAIN)
#define S (URI_HOST_CHAR | URI_TARGET_CHAR | URI_QUIET)
#define V (URI_TARGET_CHAR | URI_QUIET)
#define P URI_TARGET_CHAR                                                /* % */
#define O (URI_UNRESERVED | URI_HOST_CHAR | URI_TARGET_CHAR | URI_PLAIN) /* . */
const unsigned char uri_classes[256] = {
    /* clang-format off */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, S, V, 0, S, P, S, S, S, S, S, S, S, u, O, V, /*   ! " # $ % & ' ( ) * + , - . / */
    D, D, D, D, D, D, D, D, D, D, V, S, V, S, V, V, /* 0 … 9 : ; < = > ? */
    V, X, X, X, X, X, X, U, U, U, U, U, U, U, U, U, /* @ A … O */
    U, U, U, U, U, U, U, U, U, U, U, V, 0, V, V, u, /* P … Z [ \ ] ^ _ */
    V, x, x, x, x, x, x, u, u, u, u, u, u, u, u, u, /* ` a … o */
    u, u, u, u, u, u, u, u, u, u, u, V, V, V, u, 0, /* p … z { | } ~ DEL */
    /* clang-format on */
};
#undef O
#undef P
#undef V
#undef S
#undef u
#undef x
#undef U
#undef X
#undef D

static bool split_absolute(struct span text, struct uri *out_uri);
static void split_path_and_query(struct span text, struct uri *out_uri);
static enum err normalise(struct arena *arena, struct uri *uri);
static enum err normalise_path(struct span path, struct arena *arena, struct span *out_path);
static enum err normalise_query(struct span query, struct arena *arena, struct span *out_query);
static bool check_chars(struct span text, bool *out_has_escapes, bool *out_has_dots);
static size_t remove_dot_segments(char *path, size_t len);

enum err uri_of_request(struct span scheme, struct span target, struct span host, struct arena *arena,
                        struct uri *out_uri)
{
    struct uri uri = {0};
    struct span host_authority = {NULL, 0};
    enum err error;

    if (host.len > 0) {
        error = uri_normalise_authority(host, scheme, arena, &host_authority);
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

/* What stands behind the authority, which may be empty: of a request without Host it is. */
static struct span behind_authority(struct span url)
{
    size_t colon = span_find(url, ':');
    struct span rest = span_skip(url, colon);

    rest = span_skip(rest, span_starts_with(rest, SPAN("://")) ? 3 : rest.len);
    return span_skip(rest, span_find(rest, '/'));
}

bool uri_matches_pattern(struct span url, struct span pattern)
{
    bool of_path = span_starts_with(pattern, SPAN("/"));

    return span_matches_glob(of_path ? behind_authority(url) : url, pattern);
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
        error = uri_normalise_authority(uri->authority, uri->scheme, arena, &uri->authority);
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
    len = uri_write_unescaped(path, text);
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
    *out_query = (struct span){text, uri_write_unescaped(query, text)};
    return ERR_OK;
}

/* False for bytes that no target may hold and for broken escapes. `out_has_dots` is careful: it may be true without dot
 * segments. */
static bool check_chars(struct span text, bool *out_has_escapes, bool *out_has_dots)
{
    *out_has_escapes = false;
    *out_has_dots = false;
    for (size_t i = uri_run_end(text, 0, URI_QUIET); i < text.len; i = uri_run_end(text, i + 1, URI_QUIET)) {
        char byte = text.data[i];

        if (!uri_has_class(byte, URI_TARGET_CHAR)) {
            return false;
        }
        if (byte == '%') {
            if (text.len - i < 3 || !uri_has_class(text.data[i + 1], URI_HEX) ||
                !uri_has_class(text.data[i + 2], URI_HEX)) {
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

char uri_unescape(const char *escape)
{
    return (char)(hex_value(escape[1]) << 4 | hex_value(escape[2]));
}

size_t uri_write_unescaped(struct span text, char *out)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];

        if (byte == '%') {
            char plain = uri_unescape(text.data + i);

            if (uri_has_class(plain, URI_UNRESERVED)) {
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
