/* unkeyed.c: see unkeyed.h. The list is here and nowhere else. */
#include "http/unkeyed.h"

enum { ODD_BYTES = 4096, ODD_FIELDS = 64 };

/* The target that frameworks and gateways take instead of the one in the request line, the host that applications build
 * links from, and the proxy that CGI programs would use (CVE-2016-5385). */
static const struct span fields[] = {
    SPAN_INIT("X-Original-URL"),
    SPAN_INIT("X-Original-URI"),
    SPAN_INIT("X-Rewrite-URL"),
    SPAN_INIT("X-Rewrite-URI"),
    SPAN_INIT("X-Original-Host"),
    SPAN_INIT("X-Host"),
    SPAN_INIT("X-HTTP-Host-Override"),
    SPAN_INIT("X-Backend-Host"),
    SPAN_INIT("X-Original-Proto"),
    SPAN_INIT("X-Url-Scheme"),
    SPAN_INIT("X-Original-Forwarded-Host"),
    SPAN_INIT("Front-End-Https"),
    SPAN_INIT("X-Middleware-Subrequest"), /* a framework's talk with itself (CVE-2025-29927, CVE-2024-46982) */
    SPAN_INIT("X-Now-Route-Matches"),
    SPAN_INIT("X-Invoke-Path"),
    SPAN_INIT("X-Invoke-Status"),
    SPAN_INIT("Proxy"),
};

/* How the fields begin by which larder, or Vary, selects a response, or which larder writes. Applications that see
 * fields as environment variables (RFC 3875 §4.1.18) cannot tell "Accept_Language" from "Accept-Language". */
static const struct span disguised[] = {
    SPAN_INIT("Accept-"),      SPAN_INIT("Access-Control-"), SPAN_INIT("Cache-Control"),
    SPAN_INIT("CDN-Loop"),     SPAN_INIT("Content-"),        SPAN_INIT("If-"),
    SPAN_INIT("Max-Forwards"), SPAN_INIT("Proxy-"),          SPAN_INIT("Sec-"),
    SPAN_INIT("Transfer-"),    SPAN_INIT("User-Agent"),      SPAN_INIT("X-Forwarded"),
    SPAN_INIT("X-Real-IP"),    SPAN_INIT("X-Requested-"),
};

static const struct span methods[] = {SPAN_INIT("X-HTTP-Method-Override"), SPAN_INIT("X-HTTP-Method"),
                                      SPAN_INIT("X-Method-Override")};

/* As an environment variable: in any case, and `_` for `-`. */
static bool begins_as_variable(struct span name, struct span prefix)
{
    if (name.len < prefix.len) {
        return false;
    }
    for (size_t i = 0; i < prefix.len; i++) {
        char of_name = name.data[i] == '_' ? '-' : ascii_lower(name.data[i]);
        char of_prefix = prefix.data[i] == '_' ? '-' : ascii_lower(prefix.data[i]);
        if (of_name != of_prefix) {
            return false;
        }
    }
    return true;
}

bool unkeyed_is_twin(struct span name, struct span other)
{
    return name.len == other.len && begins_as_variable(name, other) && !span_equal_nocase(name, other);
}

bool unkeyed_with_hyphens(struct span name, struct arena *arena, struct span *out_name)
{
    char *text = arena_alloc_text(arena, name.len);

    if (text == NULL) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        text[i] = name.data[i] == '_' ? '-' : name.data[i];
    }
    *out_name = (struct span){text, name.len};
    return true;
}

static bool is_in(struct span name, const struct span *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (name.len == names[i].len && begins_as_variable(name, names[i])) {
            return true;
        }
    }
    return false;
}

static bool is_disguised(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(disguised); i++) {
        if (begins_as_variable(name, disguised[i])) {
            return true;
        }
    }
    return false;
}

/* Does it begin as one of `fields` or `methods` does? Nearly every other field begins otherwise. */
static inline bool may_be_one(struct span name)
{
    char first = name.len == 0 ? '\0' : (char)(name.data[0] | 0x20);

    return first == 'x' || first == 'f' || first == 'p';
}

bool unkeyed_is_one(struct span name, enum method method)
{
    if (span_find(name, '_') != SIZE_MAX && is_disguised(name)) {
        return true;
    }
    return may_be_one(name) &&
           (is_in(name, fields, ARRAY_LEN(fields)) ||
            ((method == METHOD_GET || method == METHOD_HEAD) && is_in(name, methods, ARRAY_LEN(methods))));
}

bool unkeyed_has(const struct http_request *request)
{
    const struct header_names *names = &request->headers.names;
    const uint32_t initials = header_initial_bit('x') | header_initial_bit('f') | header_initial_bit('p');
    bool underscored = (names->present & HEADERS_UNDERSCORE) != 0;

    if (!underscored && (names->initials & initials) == 0) {
        return false; /* as nearly always */
    }
    for (size_t i = 0; i < request->headers.count; i++) {
        struct span name = request->headers.items[i].name;
        if ((underscored || may_be_one(name)) && unkeyed_is_one(name, request->method)) {
            return true;
        }
    }
    return false;
}

void unkeyed_remove(struct http_request *request, const struct span *passed, size_t passed_count)
{
    struct headers *headers = &request->headers;
    size_t kept = 0;

    if (!unkeyed_has(request)) {
        return; /* as nearly always */
    }
    for (size_t i = 0; i < headers->count; i++) {
        struct span name = headers->items[i].name;
        if (!unkeyed_is_one(name, request->method) || is_in(name, passed, passed_count)) {
            headers->items[kept++] = headers->items[i];
        }
    }
    headers->count = kept;
}

bool unkeyed_is_odd(const struct headers *request_headers)
{
    size_t bytes = 0;

    for (size_t i = 0; i < request_headers->count; i++) {
        const struct header *field = &request_headers->items[i];
        bytes += field->name.len + field->value.len;
        for (size_t j = 0; j < field->value.len; j++) {
            unsigned char byte = (unsigned char)field->value.data[j];
            if (byte < 0x20 || byte > 0x7e) {
                return true;
            }
        }
    }
    return bytes > ODD_BYTES || request_headers->count > ODD_FIELDS;
}
