/* why_request.c: the request that `larder why` is asked about, written as a client would send it and read as larder
 * reads it. */
#include <string.h>

#include "http/parser.h"
#include "http/token.h"
#include "proxy/config/suggest.h"
#include "proxy/exchange/decide.h"
#include "proxy/io/log.h"
#include "proxy/why/why_internal.h"

enum { REQUEST_MAX_BYTES = 20 * 1024 * 1024 };

/* "http://host/path?query#part" → host, and the target as a client would send it. */
static bool split_url(const char *url, bool *out_secure, struct span *out_host, struct span *out_target,
                      struct arena *arena)
{
    struct span rest = span_of(url);
    size_t scheme_len = span_find(rest, ':');
    struct span scheme = span_take(rest, scheme_len);
    size_t host_len = 0;
    size_t len = 0;

    rest = span_skip(rest, scheme_len);
    if (!span_starts_with(rest, SPAN("://")) ||
        (!span_equal_nocase(scheme, SPAN("http")) && !span_equal_nocase(scheme, SPAN("https")))) {
        return false;
    }
    *out_secure = span_equal_nocase(scheme, SPAN("https"));
    rest = span_skip(rest, sizeof("://") - 1);
    while (host_len < rest.len && strchr("/?#", rest.data[host_len]) == NULL) {
        host_len++;
    }
    *out_host = span_take(rest, host_len);
    rest = span_skip(rest, host_len);
    while (len < rest.len && rest.data[len] != '#') {
        len++;
    }
    rest = span_take(rest, len);
    struct span parts[] = {rest.len > 0 && rest.data[0] == '/' ? SPAN("") : SPAN("/"), rest};
    return uri_host_valid(*out_host) && arena_join(arena, parts, ARRAY_LEN(parts), out_target);
}

/* Fields of the request that something is added for where they are not given. */
struct given {
    bool host, scheme;
};

static bool add_field(const char *text, struct buf *head, struct given *given, struct buf *error)
{
    const char *colon = strchr(text, ':');
    struct span name = {text, colon != NULL ? (size_t)(colon - text) : 0};

    if (colon == NULL || !is_token(name) || strpbrk(text, "\r\n") != NULL) {
        buf_format(error, "-H: expected a field such as 'Accept-Encoding: gzip', found %s",
                   log_quoted(span_of(text)).text);
        return false;
    }
    given->host = given->host || span_equal_nocase(name, SPAN("Host"));
    given->scheme = given->scheme || span_equal_nocase(name, SPAN("X-Forwarded-Proto")) ||
                    span_equal_nocase(name, SPAN("Forwarded"));
    buf_format(head, "%s\r\n", text);
    return true;
}

/* The reason that somebody probably meant, or NULL. */
static const char *near_reason(struct span word)
{
    for (int i = 0; i < REASON_COUNT; i++) {
        const char *token = reason_token((enum reason)i);
        if (suggest_is_near(word, span_of(token))) {
            return token;
        }
    }
    return NULL;
}

/* The request is one as it comes from a proxy in front that is trusted, if there is one. */
static enum forwarded_style believed(const struct config *config)
{
    return config->server.trust_forwarded_count > 0 ? config->server.forwarded : FORWARDED_NONE;
}

/* TLS ends in front of larder: of an https URL it knows only what a proxy says that is trusted. */
static void add_scheme(const struct config *config, struct buf *head)
{
    if (believed(config) != FORWARDED_NONE) {
        buf_add_text(head, config->server.forwarded == FORWARDED_RFC ? "Forwarded: proto=https\r\n"
                                                                     : "X-Forwarded-Proto: https\r\n");
    }
}

/* The head as a client would send it, or the proxy in front for it. `config` is NULL: it is only looked at. */
static bool write_head(const struct config *config, const struct why_options *options, struct buf *head,
                       struct arena *arena, struct buf *error)
{
    const char *method = options->method != NULL ? options->method : "GET";
    struct span host;
    struct span target;
    struct given given = {.host = false};
    bool secure = false;

    if (!is_token(span_of(method))) {
        buf_format(error, "--method: expected a method such as HEAD, found %s", log_quoted(span_of(method)).text);
        return false;
    }
    if (!split_url(options->url, &secure, &host, &target, arena)) {
        const char *near = near_reason(span_of(options->url));
        buf_format(error,
                   "why: expected a URL such as http://127.0.0.1:8080/page, or a reason such as vary-miss, found %s",
                   log_quoted(span_of(options->url)).text);
        if (near != NULL) {
            buf_format(error, " (did you mean %s?)", near);
        }
        return false;
    }
    buf_format(head, "%s %.*s HTTP/1.1\r\n", method, SPAN_ARG(target));
    for (size_t i = 0; i < options->field_count; i++) {
        if (!add_field(options->fields[i], head, &given, error)) {
            return false;
        }
    }
    if (secure && !given.scheme && config != NULL) {
        add_scheme(config, head);
    }
    if (!given.host) { /* -H Host names the site where the URL is only the way to larder */
        buf_format(head, "Host: %.*s\r\n", SPAN_ARG(host));
    }
    buf_add_text(head, "\r\n");
    return true;
}

bool why_check_request(const struct why_options *options, struct arena *arena, struct buf *error)
{
    struct buf head;

    buf_init(&head, REQUEST_MAX_BYTES);
    bool good = write_head(NULL, options, &head, arena, error);
    buf_finish(&head);
    return good;
}

bool why_read_request(struct why *why, const struct why_options *options, struct buf *error)
{
    const struct config *config = why->config;
    struct head_limits limits = {.head_bytes = config->server.max_head_bytes,
                                 .target_bytes = config->server.max_target_bytes,
                                 .field_count = config->server.max_fields};
    struct head_scan scan = {0};
    struct buf head;
    size_t head_len;

    headers_init(&why->request.headers, why->arena);
    headers_init(&why->asked_headers, why->arena);
    buf_init(&head, REQUEST_MAX_BYTES);
    bool good = write_head(config, options, &head, why->arena, error);
    if (good) {
        why->error = head_find(&scan, buf_span(&head), &limits, &head_len);
        if (why->error == ERR_OK) {
            why->error = parse_request_head(span_take(buf_span(&head), head_len), &limits, why->arena, &why->request);
        }
    }
    buf_finish(&head);
    if (!good) {
        return false;
    }
    if (why->request.headers.arena == NULL) { /* as in client.c: nothing could be read */
        headers_init(&why->request.headers, why->arena);
    }
    why->host = headers_value(&why->request.headers, SPAN("Host"));
    if (!headers_copy(&why->asked_headers, &why->request.headers, why->arena)) {
        return why_no_memory(error);
    }
    if (why->error == ERR_OK) {
        why->error = decide_request(config, believed(config), SPAN("http"), why->host, &why->request, why->arena);
    }
    why->asked_uri = why->request.uri;
    if (why->error == ERR_OK) {
        decide_upgrade(config, &why->request.headers);
        decide_range(&why->request);
        why->ends_here = decide_ends_here(&why->request, why->arena);
    }
    return true;
}
