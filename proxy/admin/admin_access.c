/* admin_access.c: who may ask the administration what.
 *
 * Over the unix socket: who can open it. Over TCP: who has the token, or, where none is configured, who asks a local
 * address by a local name; pages of this machine's browsers only from the dashboard itself. */
#include "proxy/admin/admin_internal.h"
#include "proxy/admin/admin_page.h"

/* In time that does not depend on where they differ. */
static bool is_token(struct span given, struct span token)
{
    unsigned char difference = given.len != token.len;

    for (size_t i = 0; i < given.len; i++) {
        difference |= (unsigned char)(given.data[i] ^ token.data[i % token.len]);
    }
    return difference == 0;
}

static bool has_token(const struct admin_call *call)
{
    static const struct span scheme = SPAN_INIT("Bearer ");
    struct span token = call->admin->scope.config->admin.token;
    struct span value = headers_value(&call->request.headers, SPAN("Authorization"));

    return token.len > 0 && span_equal_nocase(span_take(value, scheme.len), scheme) &&
           is_token(span_trim(span_skip(value, scheme.len)), token);
}

/* 127.0.0.0/8, and no name that only begins so. */
static bool is_loopback_address(struct span name)
{
    bool digits = true;

    for (size_t i = 0; i < name.len; i++) {
        digits = digits && (name.data[i] == '.' || (name.data[i] >= '0' && name.data[i] <= '9'));
    }
    return digits && span_starts_with(name, SPAN("127."));
}

/* Not by a name that a page's own resolver made an address of this machine. */
static bool has_local_host(const struct admin_call *call)
{
    struct span host = headers_value(&call->request.headers, SPAN("Host"));
    size_t colon = span_find(host, ':');
    struct span name = span_starts_with(host, SPAN("[")) ? span_take(host, 5) : span_take(host, colon);

    return span_equal_nocase(name, SPAN("localhost")) || is_loopback_address(name) || span_equal(name, SPAN("[::1]"));
}

/* Browsers say which page a request comes from (RFC 6454 §7); of others than the dashboard nothing is taken. */
static bool has_foreign_origin(const struct admin_call *call)
{
    const struct headers *headers = &call->request.headers;
    struct span origin = headers_value(headers, SPAN("Origin"));
    size_t colon = span_find(origin, ':');
    struct span authority = colon == SIZE_MAX ? origin : span_skip(origin, colon + sizeof("://") - 1);

    return headers_has(headers, SPAN("Origin")) && !span_equal_nocase(authority, headers_value(headers, SPAN("Host")));
}

bool admin_may(struct admin_call *call, const struct address *address)
{
    /* An address that others reach was opened with a token: a reload that takes it away must not open the door. */
    bool wants_token = call->admin->scope.config->admin.token.len > 0 || !address_is_local(address);

    if (has_foreign_origin(call)) {
        (void)admin_fail(call, 403, "expected no request from a page of another origin");
        return false;
    }
    if (address->kind == ADDRESS_UNIX) {
        return true;
    }
    if (wants_token && admin_page_find(call->path) == NULL && !has_token(call)) {
        (void)admin_fail(call, 401, "expected \"Authorization: Bearer TOKEN\" with the token of [admin]");
        return false;
    }
    if (!wants_token && !has_local_host(call)) {
        (void)admin_fail(call, 403, "expected a Host of this machine, such as localhost, where no token is asked for");
        return false;
    }
    return true;
}
