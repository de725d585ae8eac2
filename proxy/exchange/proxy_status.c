/* proxy_status.c: see proxy_status.h. */
#include "proxy/exchange/proxy_status.h"

#include <stddef.h>

/* What is decided before an origin is asked; of the other reasons the error says more. */
static const char *const errors[REASON_COUNT] = {
    [REASON_NO_SITE] = "destination_not_found",
    [REASON_ONLY_IF_CACHED] = "proxy_internal_response",
    [REASON_TOO_MANY_CONNECTIONS] = "proxy_internal_response",
    [REASON_CLIENT_CONNECTIONS] = "proxy_internal_response",
    [REASON_TOO_MANY_REQUESTS] = "proxy_internal_response",
    [REASON_STORE_AWAY] = "proxy_internal_response",
    [REASON_OWN_TAG] = "http_request_error",
    [REASON_RATE_LIMIT] = "http_request_error",
    [REASON_PURGE_REFUSED] = "http_request_denied",
};

const char *proxy_status_error(unsigned status, enum err error, enum reason reason)
{
    const char *type = errors[reason];

    if (status < 400) {
        return NULL;
    }
    if (reason == REASON_PURGE) { /* its errors are not those of an origin */
        return status < 500 ? "http_request_error" : "proxy_internal_error";
    }
    if (type == NULL && error != ERR_OK) {
        type = err_proxy_error(error);
    }
    return type != NULL && type[0] != '\0' ? type : "proxy_internal_error";
}
