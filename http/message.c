/* message.c: methods and statuses. */
#include "http/message.h"

static const struct {
    struct span name;
    bool safe;
    bool idempotent;
} methods[] = {
#define METHOD_ROW(name, safe, idempotent) [METHOD_##name] = {SPAN_INIT(#name), safe, idempotent},
    METHODS(METHOD_ROW)
#undef METHOD_ROW
};

enum method method_of(struct span token)
{
    for (size_t i = 0; i < METHOD_OTHER; i++) {
        if (span_equal(methods[i].name, token)) {
            return (enum method)i;
        }
    }
    return METHOD_OTHER;
}

bool method_is_safe(enum method method)
{
    return methods[method].safe;
}

bool method_is_idempotent(enum method method)
{
    return methods[method].idempotent;
}

static const struct {
    unsigned status;
    const char *phrase;
} phrases[] = {
    {200, "OK"}, /* the commonest ones first, then by number: RFC 9110 §15 and the IANA registry */
    {304, "Not Modified"},
    {206, "Partial Content"},
    {404, "Not Found"},
    {100, "Continue"},
    {101, "Switching Protocols"},
    {102, "Processing"},
    {103, "Early Hints"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {207, "Multi-Status"},
    {208, "Already Reported"},
    {226, "IM Used"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {506, "Variant Also Negotiates"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {510, "Not Extended"},
    {511, "Network Authentication Required"},
};

const char *status_phrase(unsigned status)
{
    for (size_t i = 0; i < ARRAY_LEN(phrases); i++) {
        if (phrases[i].status == status) {
            return phrases[i].phrase;
        }
    }
    return "";
}

/* RFC 9112 §6.3, rules 1 and 2: a tunnel that CONNECT opened is not a body either. */
bool response_may_have_body(enum method method, unsigned status)
{
    if (method == METHOD_HEAD || status < 200 || status == 204 || status == 304) {
        return false;
    }
    return method != METHOD_CONNECT || status >= 300;
}
