/* proxy_status.h: the error type in the Proxy-Status that larder adds to errors of its own (RFC 9209).
 *
 * `Proxy-Status: larder; error=destination_not_found`. What an origin answers never has one of ours. Threads: any. */
#ifndef PROXY_PROXY_STATUS_H
#define PROXY_PROXY_STATUS_H

#include "cache/reason.h"
#include "http/error.h"

/* The error type (RFC 9209 §2.3) of an answer that larder made itself; NULL where it is no error. `error` is ERR_OK
 * where nothing failed and the request was refused for `reason`. */
const char *proxy_status_error(unsigned status, enum err error, enum reason reason);

#endif
