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
    SPAN_INIT("Proxy"),
};

static const struct span methods[] = {SPAN_INIT("X-HTTP-Method-Override"), SPAN_INIT("X-HTTP-Method"),
                                      SPAN_INIT("X-Method-Override")};

static bool is_in(struct span name, const struct span *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (span_equal_nocase(name, names[i])) {
            return true;
        }
    }
    return false;
}

bool unkeyed_is_one(struct span name, enum method method)
{
    /* Nearly every other field begins otherwise. */
    bool may_be = name.len > 2 && (((name.data[0] | 0x20) == 'x' && name.data[1] == '-') || name.len == 5);

    return may_be && (is_in(name, fields, ARRAY_LEN(fields)) ||
                      ((method == METHOD_GET || method == METHOD_HEAD) && is_in(name, methods, ARRAY_LEN(methods))));
}

bool unkeyed_has(const struct http_request *request)
{
    for (size_t i = 0; i < request->headers.count; i++) {
        if (unkeyed_is_one(request->headers.items[i].name, request->method)) {
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
