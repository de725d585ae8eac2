/* access_log.h: one line an exchange, JSON or the combined format, to a file, standard output, or nowhere.
 *
 * Lines are collected per worker and written together: when the buffer is half full and at the latest after a second. A
 * full disk loses lines (said once in the process log), never requests. Texts in a line are cut at
 * ACCESS_TEXT_MAX_BYTES. Threads: one log per worker; the file is opened O_APPEND, so lines of several stay whole. In a
 * pipe lines up to PIPE_BUF (4 KiB) do; a reader of the pipe that stands still makes the workers stand still. */
#ifndef PROXY_ACCESS_LOG_H
#define PROXY_ACCESS_LOG_H

#include <uv.h>

#include "cache/reason.h"
#include "http/buf.h"
#include "proxy/config/config.h"

enum { ACCESS_TEXT_MAX_BYTES = 4096 };

/* How an exchange ended, for the log and the metrics. name, text */
#define END_REASONS(X)                                                                                                 \
    X(DONE, "done")                                                                                                    \
    X(CLIENT_GONE, "client-gone")                                                                                      \
    X(CLIENT_TIMEOUT, "client-timeout")     /* its request did not come, or it took nothing of the answer, in time */  \
    X(ORIGIN_BROKE_OFF, "origin-broke-off") /* the body is not whole */                                                \
    X(UNREADABLE, "unreadable")             /* the same: the rest of what is stored cannot be read */                  \
    X(SLOW_FOLLOWER, "slow-follower")                                                                                  \
    X(REFUSED, "refused") /* the request */                                                                            \
    X(TUNNEL, "tunnel-ended")                                                                                          \
    X(SHUTDOWN, "shutdown")

enum end_reason {
#define END_ENUM(name, text) END_##name,
    END_REASONS(END_ENUM)
#undef END_ENUM
};

/* How the request was answered: the words of Cache-Status (RFC 9211). name, text */
#define OUTCOMES(X)                                                                                                    \
    X(NONE, "none") /* answered without the cache being asked */                                                       \
    X(HIT, "hit")                                                                                                      \
    X(URI_MISS, "uri-miss")                                                                                            \
    X(VARY_MISS, "vary-miss")                                                                                          \
    X(MISS, "miss")                                                                                                    \
    X(STALE, "stale")                                                                                                  \
    X(PARTIAL, "partial")                                                                                              \
    X(REQUEST, "request")                                                                                              \
    X(METHOD, "method")                                                                                                \
    X(BYPASS, "bypass")

enum outcome {
#define OUTCOME_ENUM(name, text) OUTCOME_##name,
    OUTCOMES(OUTCOME_ENUM)
#undef OUTCOME_ENUM
};

const char *outcome_text(enum outcome outcome);
const char *end_reason_text(enum end_reason reason);

/* All that a line says. Spans borrow for the call. Times are microseconds; -1: did not happen.
 *
 * JSON keys are the fields' names but for: `time_ms` is "time", RFC 3339 with milliseconds; `minor` is "version",
 * "1.1"; `reason`, `store_reason` are tokens (cache/reason.h), `error` is a name (http/error.h). What is empty, NULL,
 * unknown, NONE, 0 where the comment says so, or false is left out; zero bytes are said. The combined format is
 * Apache's, byte for byte, and has none of the cache's words; its client is `forwarded_for` where there is one
 * without a space in it. */
struct access_entry {
    int64_t time_ms;    /* wall clock when the request's head was complete */
    const char *client; /* address of the other side */
    uint16_t client_port;
    struct span forwarded_for; /* whom it names as its client, if it is trusted (forwarded.h): what it sent */
    struct span method, scheme, host, target; /* as received; host: the Host field; scheme: decide_request */
    unsigned minor;
    struct span user_agent, referer;
    unsigned status;         /* sent to the client; 0: none */
    uint64_t request_bytes;  /* of the request's body */
    uint64_t response_bytes; /* to the client, head and framing included */
    uint64_t body_bytes;     /* of the response's body to the client */
    enum outcome outcome;
    enum reason reason;       /* why it was served or forwarded so */
    enum reason store_reason; /* why the answer was or was not stored; REASON_NONE when nothing was fetched */
    const char *rule;         /* the rule that decided, or NULL */
    const char *site;         /* or NULL */
    struct span trace_id, parent_id, span_id; /* of traceparent, of whoever asked, and what the origin is told */
    bool collapsed;
    unsigned origin_status; /* of the origin's answer to this exchange's fetch; 0: none */
    const char *origin;     /* URL of the origin asked (last), or NULL */
    unsigned attempts;      /* how often one was asked; said where it was more than once */
    int64_t ttl_s;          /* remaining freshness when sent; INT64_MIN: unknown */
    int64_t age_s;          /* of a stored response; -1: not one */
    int64_t origin_us;      /* from asking the origin to its head */
    int64_t first_byte_us;  /* from the request's head to the first byte of the answer */
    int64_t total_us;
    enum end_reason end;
    enum err error; /* what failed, ERR_OK if nothing */
};

struct access_log {
    int fd; /* -1: off */
    enum access_format format;
    struct buf buf;   /* whole lines */
    uv_timer_t timer; /* runs while lines wait */
    bool complained;  /* a failed write was reported */
    bool timer_open;
    bool is_file;  /* a regular file: any number of lines in one write stay whole */
    bool is_owned; /* not standard output: to be closed */
};

/* Can the file be opened for appending? (It is made.) For the start: one line in `out_error` if not. */
MUST_CHECK enum err access_log_check(const struct config *config, struct buf *out_error);

/* Opens the file for appending. `log` must be zeroed but for its `fd`, -1. */
MUST_CHECK enum err access_log_open(struct access_log *log, uv_loop_t *loop, const struct config *config);

/* Writes what waits, and goes on in the file that has the name now: after the former one was moved away. Where that
 * cannot be opened it says so and goes on in the former one. */
void access_log_reopen(struct access_log *log, const struct config *config);

/* Does anybody read the lines? */
static inline bool access_log_is_open(const struct access_log *log)
{
    return log->fd >= 0;
}

void access_log_write(struct access_log *log, const struct access_entry *entry);
void access_log_close(struct access_log *log); /* flushes; closes the timer; the loop must run once more; accepts one
                                                  that was not opened */

/* Formats one line with its newline; exposed for tests. */
void access_log_format(enum access_format format, const struct access_entry *entry, struct buf *out);

#endif
