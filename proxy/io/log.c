#include "proxy/io/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "http/date.h"

enum {
    LINE_MAX_BYTES = 2048,
    STAMP_BYTES = 32, /* "2026-03-01T10:00:00.123Z " */
};

static _Atomic enum log_level shown_level = LOG_INFO;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&shown_level, level, memory_order_relaxed);
}

/* Five letters each, so that messages start in one column. */
static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_ERROR:
        return "error";
    case LOG_WARN:
        return "warn ";
    case LOG_INFO:
        return "info ";
    case LOG_DEBUG:
        return "debug";
    }
    UNREACHABLE();
}

static size_t write_stamp(char *line, size_t room)
{
    struct timespec now = {0};

    REQUIRE(room > DATE_RFC3339_MS_LEN);
    clock_gettime(CLOCK_REALTIME, &now);
    date_format_rfc3339_ms((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000, line);
    line[DATE_RFC3339_MS_LEN] = ' ';
    return DATE_RFC3339_MS_LEN + 1;
}

void log_line(enum log_level level, const char *format, ...)
{
    char line[LINE_MAX_BYTES];

    if (level > atomic_load_explicit(&shown_level, memory_order_relaxed)) {
        return;
    }
    size_t len = write_stamp(line, sizeof line);
    len += (size_t)snprintf(line + len, sizeof line - len, "%s ", level_name(level));

    va_list arguments;
    va_start(arguments, format);
    int message = vsnprintf(line + len, sizeof line - len, format, arguments);
    va_end(arguments);
    if (message > 0) {
        len += (size_t)message;
    }
    if (len > sizeof line - 1) {
        len = sizeof line - 1; /* cut, with room for the line end */
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) {
            line[i] = '?'; /* whatever slipped in unquoted cannot forge a second line */
        }
    }
    line[len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written; /* a log that cannot be written has nobody to tell */
}

struct log_text log_quoted(struct span text)
{
    static const char hex[] = "0123456789abcdef";
    enum { TAIL_BYTES = sizeof "...\"" };
    struct log_text quoted;
    size_t len = 0;

    quoted.text[len++] = '"';
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (len + 4 + TAIL_BYTES > sizeof quoted.text) {
            len += (size_t)snprintf(quoted.text + len, sizeof quoted.text - len, "...");
            break;
        }
        if (byte == '"' || byte == '\\') {
            quoted.text[len++] = '\\';
            quoted.text[len++] = (char)byte;
        } else if (byte < 0x20 || byte > 0x7e) {
            quoted.text[len++] = '\\';
            quoted.text[len++] = 'x';
            quoted.text[len++] = hex[byte >> 4];
            quoted.text[len++] = hex[byte & 15];
        } else {
            quoted.text[len++] = (char)byte;
        }
    }
    quoted.text[len++] = '"';
    quoted.text[len] = '\0';
    return quoted;
}
