/* log.h: the process log: one line an event on standard error.
 *
 * "2026-03-01T10:00:00.123Z warn  origin unreachable origin=127.0.0.1:3000 error=CONNECT". Messages are lower case
 * without full stop; outside text goes through log_quoted. A failure is logged once, where it is decided what to do
 * about it. A line is one write(2), cut at 2 KiB; controls in it become '?'. Threads: any. Errors: none; a log that
 * cannot be written has nobody to tell. */
#ifndef PROXY_LOG_H
#define PROXY_LOG_H

#include "http/check.h"
#include "http/span.h"
#include "proxy/config/config.h"

/* Lines above `level` are dropped; LOG_INFO until it is set. */
void log_set_level(enum log_level level);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

enum { LOG_TEXT_BYTES = 256 };

struct log_text {
    char text[LOG_TEXT_BYTES];
};

/* Outside text in double quotes; quotes, backslashes and everything but printable ASCII are escaped, what does not fit
 * is cut with
 * "...". As an argument: log_warn("bad target target=%s", log_quoted(target).text). */
struct log_text log_quoted(struct span text);

#endif
