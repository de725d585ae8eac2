/* admin_log_command.c: `larder log`: requests as they end.
 *
 * Happy path: ask for /v1/log, print each line as it comes, until Ctrl-C or until nobody reads the output.
 * Failures:   - no larder answers at the start: the error.
 *             - it goes (a restart, or larder ends): said on standard error; tried again until one answers. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "proxy/commands/admin_ask_json.h"
#include "proxy/commands/admin_commands.h"
#include "proxy/commands/store_command.h"
#include "proxy/io/log.h"

enum {
    TARGET_BYTES = 8192,
    LINE_MAX_BYTES = 256 * 1024,
    AGAIN_MS = 500,
};

enum printer_state { PRINTER_BEGINS, PRINTER_FOLLOWS, PRINTER_WAITS };

/* What prints what comes. */
struct printer {
    struct admin_take take;
    struct buf line; /* the beginning of the next one */
    bool json;
    enum printer_state state;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* On standard error: the output is for lines. */
static void tell(struct printer *printer, enum printer_state state)
{
    if (state == PRINTER_WAITS && printer->state != state) {
        fprintf(stderr, "larder: it is gone; waiting for it to come back\n");
    } else if (printer->state != state) {
        fprintf(stderr, "larder: %s\n", printer->state == PRINTER_BEGINS ? "following, Ctrl-C ends" : "it is back");
    }
    printer->state = state;
}

/* ---- a line ---- */

static void add_time(struct buf *out, int64_t us)
{
    if (us < 10 * 1000) {
        buf_format(out, "%" PRId64 ".%" PRId64 " ms", us / 1000, us / 100 % 10);
    } else if (us < 10 * 1000 * 1000) {
        buf_format(out, "%" PRId64 " ms", us / 1000);
    } else {
        store_add_duration(out, us / (1000 * 1000));
    }
}

/* Text in UTF-8 from outside, without what a terminal would obey: controls, also those of two bytes (U+0080 to U+009F).
 */
static void add_visible(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)text[0];
        bool two = byte == 0xc2 && (unsigned char)text[1] < 0xa0;

        buf_add_byte(out, two || byte < 0x20 || byte == 0x7f ? '?' : *text);
        text += two ? 1 : 0;
    }
}

/* "12:01:02.123  127.0.0.1  200  hit fresh  1.2 KiB  0.4 ms  GET http://host/path" */
static void write_text(const json_t *entry, struct buf *out)
{
    const char *stored = admin_text_of(entry, "store_reason");
    struct span time = span_skip(span_of(admin_text_of(entry, "time")), sizeof("2026-01-01T") - 1);

    buf_format(out, "%.*s  ", (int)(time.len > 0 ? time.len - 1 : 0), time.data);
    add_visible(out,
                admin_text_of(entry, json_object_get(entry, "forwarded_for") != NULL ? "forwarded_for" : "client"));
    buf_format(out, "  %" PRId64 "  %s %s", admin_number_of(entry, "status"), admin_text_of(entry, "outcome"),
               admin_text_of(entry, "reason"));
    if (stored[0] != '\0') {
        buf_format(out, " (%s)", stored);
    }
    buf_add_text(out, "  ");
    store_add_size(out, (uint64_t)admin_number_of(entry, "response_bytes"));
    buf_add_text(out, "  ");
    add_time(out, admin_number_of(entry, "total_us"));
    buf_add_text(out, "  ");
    add_visible(out, admin_text_of(entry, "method"));
    buf_format(out, " %s://", admin_text_of(entry, "scheme"));
    add_visible(out, admin_text_of(entry, "host"));
    add_visible(out, admin_text_of(entry, "target"));
    buf_add_byte(out, '\n');
}

static void write_line(const struct printer *printer, struct span line, struct buf *out)
{
    json_t *entry = json_loadb(line.data, line.len, 0, NULL);
    const json_t *lost = json_object_get(entry, "lost");

    if (printer->json) {
        buf_add(out, line);
        buf_add_byte(out, '\n');
    } else if (lost != NULL) {
        buf_format(out, "(%" JSON_INTEGER_FORMAT " lost: they came faster than they were read)\n",
                   json_integer_value(lost));
    } else {
        write_text(entry, out);
    }
    json_decref(entry);
}

static bool take(struct admin_take *take, struct span bytes)
{
    struct printer *printer = CONTAINER_OF(take, struct printer, take);
    struct buf out;
    size_t end;

    tell(printer, PRINTER_FOLLOWS);
    buf_init(&out, LINE_MAX_BYTES * 4);
    buf_add(&printer->line, bytes);
    while ((end = span_find(buf_span(&printer->line), '\n')) != SIZE_MAX) {
        if (end > 0) {
            write_line(printer, span_take(buf_span(&printer->line), end), &out);
        }
        buf_consume(&printer->line, end + 1);
    }
    bool written = out.len == 0 || (fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0);
    written = written && !printer->line.failed;
    buf_finish(&out);
    return written && interrupted == 0;
}

/* ---- the question ---- */

static void wait_a_little(void)
{
    const struct timespec again = {.tv_nsec = (long)AGAIN_MS * 1000 * 1000};

    (void)nanosleep(&again, NULL); /* a signal ends it */
}

/* Writes what larder says against it. */
static void add_refusal(const struct admin_answer *refusal, struct buf *error)
{
    json_t *object = json_loadb(refusal->body.data, refusal->body.len, 0, NULL);

    buf_add_text(error, admin_text_of(object, "error"));
    if (error->len == 0) {
        buf_format(error, "larder answers with status %u, and not as expected", refusal->status);
    }
    json_decref(object);
}

/* Until it is over. False with the error written. */
static bool follow(const struct config *config, const char *target, struct printer *printer, struct buf *error)
{
    bool answered = false; /* once */

    while (interrupted == 0) {
        struct admin_answer refusal = {0};
        enum admin_stream_end end = admin_ask_stream(config, target, &printer->take, &refusal, error);
        if (end == ADMIN_STREAM_REFUSED) {
            add_refusal(&refusal, error);
        }
        buf_finish(&refusal.body);
        answered = answered || end == ADMIN_STREAM_BROKE_OFF;
        if (end == ADMIN_STREAM_STOPPED) {
            return true;
        }
        if (end == ADMIN_STREAM_REFUSED || !answered) {
            return false;
        }
        tell(printer, PRINTER_WAITS);
        buf_clear(error);
        buf_clear(&printer->line);
        wait_a_little();
    }
    return true;
}

bool admin_command_log(const struct config *config, const struct options *options, struct buf *out, struct buf *error)
{
    const struct sigaction interrupt = {.sa_handler = on_interrupt}; /* without SA_RESTART: a read ends */
    struct printer printer = {.take = {take, &interrupted}, .json = options->json};
    char memory[TARGET_BYTES];
    struct buf target;

    (void)out; /* it is printed as it comes */
    buf_init_in(&target, memory, sizeof memory);
    buf_add_text(&target, "/v1/log");
    admin_ask_parameter(&target, "url", options->url);
    admin_ask_parameter(&target, "status", options->response_status);
    admin_ask_parameter(&target, "outcome", options->outcome);
    admin_ask_parameter(&target, "reason", options->reason);
    admin_ask_parameter(&target, "client", options->client);
    buf_add_byte(&target, '\0');
    if (target.failed) {
        buf_add_text(error, "log: expected shorter words");
        return false;
    }
    (void)sigaction(SIGINT, &interrupt, NULL); /* these fail only for signals that there are not */
    (void)sigaction(SIGTERM, &interrupt, NULL);
    buf_init(&printer.line, LINE_MAX_BYTES);
    bool good = follow(config, memory, &printer, error);
    buf_finish(&printer.line);
    return good;
}
