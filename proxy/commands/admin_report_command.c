/* admin_report_command.c: `larder report`: what is not answered from the cache, why, and what it costs. */
#include <inttypes.h>
#include <stdio.h>

#include "proxy/commands/admin_ask_json.h"
#include "proxy/commands/admin_commands.h"
#include "proxy/commands/store_command.h"
#include "proxy/io/log.h"

enum {
    ROWS_USUAL = 20,
    ROWS_MAX = 4096,
    TARGET_BYTES = 256,
};

/* "12.3 s", "40 ms" */
static void add_time(struct buf *out, int64_t us)
{
    if (us < 1000 * 1000) {
        buf_format(out, "%" PRId64 " ms", us / 1000);
    } else if (us < INT64_C(1000) * 1000 * 1000) {
        buf_format(out, "%" PRId64 ".%" PRId64 " s", us / (1000 * 1000), us / (100 * 1000) % 10);
    } else {
        store_add_duration(out, us / (1000 * 1000));
    }
}

static void add_share(struct buf *out, int64_t part, int64_t whole)
{
    int64_t tenths = whole > 0 ? part * 1000 / whole : 0;

    buf_format(out, "%" PRId64 ".%" PRId64 " %%", tenths / 10, tenths % 10);
}

/* In a column of that width, to its right side. */
static void add_right(struct buf *out, const struct buf *cell, size_t width)
{
    buf_format(out, "%*s%.*s", (int)(cell->len < width ? width - cell->len : 0), "", SPAN_ARG(buf_span(cell)));
}

static void write_summary(const json_t *answer, struct buf *out)
{
    const json_t *total = json_object_get(answer, "total");
    int64_t requests = admin_number_of(total, "requests");

    buf_format(out, "since %s: %" PRId64 " request%s, ", admin_text_of(answer, "since"), requests,
               requests == 1 ? "" : "s");
    add_share(out, admin_number_of(total, "hits"), requests);
    buf_add_text(out, " answered from the store\n");
    store_add_size(out, (uint64_t)admin_number_of(total, "sent_bytes"));
    buf_add_text(out, " to clients, ");
    store_add_size(out, (uint64_t)admin_number_of(total, "received_bytes"));
    buf_add_text(out, " from origins, which took ");
    add_time(out, admin_number_of(total, "origin_us"));
    buf_add_byte(out, '\n');
}

static void write_row(const json_t *row, bool hint, struct buf *out)
{
    const char *rule = admin_text_of(row, "rule");
    char memory[64];
    struct buf cell;

    buf_init_in(&cell, memory, sizeof memory);
    store_add_size(&cell, (uint64_t)admin_number_of(row, "received_bytes"));
    add_right(out, &cell, 10);
    buf_clear(&cell);
    add_time(&cell, admin_number_of(row, "origin_us"));
    add_right(out, &cell, 10);
    buf_format(out, "  %8" PRId64 "  %-20s  %s %s", admin_number_of(row, "requests"), admin_text_of(row, "reason"),
               admin_text_of(row, "site"), admin_text_of(row, "route"));
    if (rule[0] != '\0') {
        buf_format(out, ", rule %s", log_quoted(span_of(rule)).text);
    }
    buf_add_byte(out, '\n');
    if (hint) {
        buf_format(out, "%32s%s\n", "", admin_text_of(row, "hint"));
    }
}

/* Has an earlier row the same reason, and its advice? */
static bool is_told(const json_t *rows, size_t index)
{
    const char *reason = admin_text_of(json_array_get(rows, index), "reason");

    for (size_t i = 0; i < index; i++) {
        const json_t *row = json_array_get(rows, i);
        if (span_equal(span_of(admin_text_of(row, "reason")), span_of(reason)) &&
            admin_number_of(row, "hits") < admin_number_of(row, "requests")) {
            return true;
        }
    }
    return false;
}

static void write_rows(const json_t *answer, uint64_t limit, struct buf *out)
{
    const json_t *rows = json_object_get(answer, "rows");
    const json_t *rest = json_object_get(answer, "rest");
    uint64_t written = 0;
    size_t index;
    json_t *row;

    buf_add_text(out, "\n    origin      took  requests  because               of, and what to change\n");
    json_array_foreach(rows, index, row)
    {
        bool lost = admin_number_of(row, "hits") < admin_number_of(row, "requests") ||
                    admin_number_of(row, "received_bytes") > 0;
        if (lost && written < limit) {
            write_row(row, !is_told(rows, index), out);
            written++;
        }
    }
    if (admin_number_of(rest, "requests") > 0) {
        buf_format(out, "%" PRId64 " requests, ", admin_number_of(rest, "requests"));
        store_add_size(out, (uint64_t)admin_number_of(rest, "received_bytes"));
        buf_add_text(out, " from origins: of routes that made room for others\n");
    }
}

bool admin_command_report(const struct config *config, const struct options *options, struct buf *out,
                          struct buf *error)
{
    const char *since = options->since != NULL ? options->since : "1d";
    char target[TARGET_BYTES];
    uint64_t limit = ROWS_USUAL;
    uint64_t since_ms;

    if (!config_parse_duration(span_of(since), &since_ms)) {
        buf_format(error, "--since: expected a duration such as 15m, 1h or 1d, found %s",
                   log_quoted(span_of(since)).text);
        return false;
    }
    if (options->limit != NULL && (!span_to_u64(span_of(options->limit), &limit) || limit < 1 || limit > ROWS_MAX)) {
        buf_format(error, "--limit: expected a number from 1 to %d, found %s", ROWS_MAX,
                   log_quoted(span_of(options->limit)).text);
        return false;
    }
    (void)snprintf(target, sizeof target, "/v1/report?since=%" PRIu64 "ms&limit=%d", since_ms, ROWS_MAX);
    json_t *answer = admin_ask_json(config, target, SPAN(""), error);
    if (answer == NULL) {
        return false;
    }
    if (options->json) {
        admin_print_json(answer, out);
    } else {
        write_summary(answer, out);
        write_rows(answer, limit, out);
    }
    json_decref(answer);
    return true;
}
