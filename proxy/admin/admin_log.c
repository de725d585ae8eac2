/* admin_log.c: GET /v1/log: requests as they end, a line of JSON each, until the client has enough.
 *
 * An empty line now and then shows that both sides are there. A client that reads too slowly loses lines; it is told
 * how many by a line {"lost": N}, and nothing waits for it. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/admin/admin_internal.h"

enum { WAITING_MAX_BYTES = 1024 * 1024 }; /* lines of one follower */

struct log_stream {
    struct admin_stream stream;
    struct follower follower;
    struct follow *follow;
    struct admin_call *call;
    struct buf waiting;
    bool sending;       /* on_drained follows */
    uint64_t told_lost; /* of follower.lost */
};

static void send_waiting(struct log_stream *log)
{
    uint64_t lost = log->follower.lost - log->told_lost;

    if (log->sending || (log->waiting.len == 0 && lost == 0)) {
        return;
    }
    if (lost > 0) {
        size_t before = log->waiting.len;
        buf_format(&log->waiting, "{\"lost\":%llu}\n", (unsigned long long)lost);
        log->told_lost += log->waiting.failed ? 0 : lost;
        log->waiting.len = log->waiting.failed ? before : log->waiting.len;
        log->waiting.failed = false;
    }
    log->sending = true;
    admin_stream_send(log->call, buf_span(&log->waiting));
    buf_clear(&log->waiting);
}

static void take(struct follower *follower, struct span line)
{
    struct log_stream *log = CONTAINER_OF(follower, struct log_stream, follower);
    size_t before = log->waiting.len;

    buf_add(&log->waiting, line);
    if (log->waiting.failed) {
        log->waiting.len = before;
        log->waiting.failed = false;
        follower->lost++;
    }
    send_waiting(log);
}

static void on_drained(struct admin_stream *stream)
{
    struct log_stream *log = CONTAINER_OF(stream, struct log_stream, stream);

    log->sending = false;
    send_waiting(log);
}

static void on_idle(struct admin_stream *stream)
{
    struct log_stream *log = CONTAINER_OF(stream, struct log_stream, stream);

    log->sending = true;
    admin_stream_send(log->call, SPAN("\n"));
}

static void on_closed(struct admin_stream *stream)
{
    struct log_stream *log = CONTAINER_OF(stream, struct log_stream, stream);

    follow_remove(log->follow, &log->follower);
    buf_finish(&log->waiting);
    free(log);
}

/* ---- the filter ---- */

/* "404", "5xx" */
static bool read_status(struct span text, struct follow_filter *filter)
{
    uint64_t status;

    if (text.len == 3 && span_equal_nocase(span_skip(text, 1), SPAN("xx")) && text.data[0] >= '1' &&
        text.data[0] <= '5') {
        filter->status_first = (unsigned)(text.data[0] - '0') * 100;
        filter->status_last = filter->status_first + 99;
        return true;
    }
    if (!span_to_u64(text, &status) || status < 100 || status > 599) {
        return false;
    }
    filter->status_first = (unsigned)status;
    filter->status_last = (unsigned)status;
    return true;
}

static bool read_url(struct span text, struct follow_filter *filter)
{
    return snprintf(filter->url_glob, sizeof filter->url_glob, "%.*s", SPAN_ARG(text)) <= FOLLOW_GLOB_MAX_BYTES;
}

static bool read_outcome(struct span text, struct follow_filter *filter)
{
    static const struct {
        const char *text;
        enum outcome outcome;
    } outcomes[] = {
#define OUTCOME_ROW(name, text) {text, OUTCOME_##name},
        OUTCOMES(OUTCOME_ROW)
#undef OUTCOME_ROW
    };

    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        if (span_equal(text, span_of(outcomes[i].text))) {
            filter->outcome = outcomes[i].outcome;
            filter->by_outcome = true;
        }
    }
    return filter->by_outcome;
}

static bool read_reason(struct span text, struct follow_filter *filter)
{
    for (enum reason reason = 0; reason < REASON_COUNT; reason++) {
        if (span_equal(text, span_of(reason_token(reason)))) {
            filter->reason = reason;
            filter->by_reason = true;
        }
    }
    return filter->by_reason;
}

static bool read_client(struct span text, struct follow_filter *filter)
{
    filter->by_client = network_parse(text, &filter->client);
    return filter->by_client;
}

static const struct {
    struct span name;
    bool (*read)(struct span text, struct follow_filter *filter);
    const char *expected;
} parameters[] = {
    {SPAN_INIT("url"), read_url, "a URL such as http://*/img/*, or a path such as /img/*, of 512 bytes at most"},
    {SPAN_INIT("status"), read_status, "a status such as 404, or 5xx"},
    {SPAN_INIT("outcome"), read_outcome, "a word of Cache-Status such as hit or uri-miss"},
    {SPAN_INIT("reason"), read_reason, "a reason such as set-cookie"},
    {SPAN_INIT("client"), read_client, "an address such as 127.0.0.1 or 10.0.0.0/8, or unix"},
};

/* False: answered with what is wrong. */
static bool read_filter(struct admin_call *call, struct follow_filter *filter)
{
    for (size_t i = 0; i < ARRAY_LEN(parameters); i++) {
        const char *text = NULL;
        size_t count = 0;
        bool good = admin_parameter_texts(call, parameters[i].name, &text, 1, &count);
        if (!good || (count == 1 && !parameters[i].read(span_of(text), filter))) {
            (void)admin_fail(call, 400, "%.*s: expected %s", SPAN_ARG(parameters[i].name), parameters[i].expected);
            return false;
        }
    }
    return true;
}

enum admin_progress admin_run_log(struct admin_call *call)
{
    struct log_stream *log = calloc(1, sizeof(*log));

    if (log == NULL) {
        return admin_fail(call, 500, "no memory");
    }
    if (!read_filter(call, &log->follower.filter)) {
        free(log);
        return ADMIN_ANSWERED;
    }
    if (call->request.minor == 0 || call->request.method == METHOD_HEAD) {
        free(log);
        return admin_fail(call, 400, "expected GET and HTTP/1.1 for an answer without an end");
    }
    *log = (struct log_stream){.stream = {.on_drained = on_drained, .on_idle = on_idle, .on_closed = on_closed},
                               .follower = {.filter = log->follower.filter, .take = take},
                               .follow = call->admin->scope.follow,
                               .call = call,
                               .sending = true}; /* the head */
    buf_init(&log->waiting, WAITING_MAX_BYTES);
    if (!follow_add(log->follow, &log->follower)) {
        free(log);
        return admin_fail(call, 503, "expected at most %d to follow at a time", FOLLOWERS_MAX);
    }
    buf_add_byte(&log->waiting, '\n'); /* it follows from now on */
    call->content_type = "application/x-ndjson";
    call->stream = &log->stream;
    return ADMIN_STREAM;
}
