/* top_view.c: see top_view.h. */
#include "proxy/commands/top_view.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/commands/store_command.h"

enum { SUMMARY_LINES = 6, CELL_BYTES = 32 };

struct cell {
    char text[CELL_BYTES];
};

/* A row with what happened to it. */
struct shown {
    const struct top_row *row;
    double rate; /* requests a second */
    double hit_rate;
    double received_rate;
    enum top_sort sort;
};

static struct top_line *add_line(struct top_view *view, const struct top_options *options, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Beyond the room there is, a line that is not shown. */
static struct top_line *add_line(struct top_view *view, const struct top_options *options, const char *format, ...)
{
    size_t room = options->lines < TOP_LINES_MAX ? options->lines : TOP_LINES_MAX;
    struct top_line *line = &view->lines[view->count < TOP_LINES_MAX ? view->count : TOP_LINES_MAX - 1];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(line->text, sizeof line->text, format, arguments);
    va_end(arguments);
    line->heading = false;
    view->count += view->count < room;
    return line;
}

static struct cell cell_of(const struct buf *text)
{
    struct cell cell = {""};

    (void)snprintf(cell.text, sizeof cell.text, "%.*s", SPAN_ARG(buf_span(text)));
    return cell;
}

static struct cell size_cell(double bytes)
{
    char memory[CELL_BYTES];
    struct buf text;

    buf_init_in(&text, memory, sizeof memory);
    store_add_size(&text, bytes > 0 ? (uint64_t)bytes : 0);
    return cell_of(&text);
}

static struct cell duration_cell(double seconds)
{
    char memory[CELL_BYTES];
    struct buf text;

    buf_init_in(&text, memory, sizeof memory);
    store_add_duration(&text, (int64_t)seconds);
    return cell_of(&text);
}

/* "12.3 %", "-" of nothing. */
static struct cell share_cell(double part, double whole)
{
    struct cell cell = {"-"};

    if (whole > 0) {
        (void)snprintf(cell.text, sizeof cell.text, "%.1f %%", part / whole * 100);
    }
    return cell;
}

static struct cell mean_cell(double seconds, double count)
{
    struct cell cell = {"-"};

    if (count > 0) {
        (void)snprintf(cell.text, sizeof cell.text, "%.1f ms", seconds / count * 1000);
    }
    return cell;
}

static void write_summary(const struct top_sample *before, const struct top_sample *after, double span_s,
                          const struct top_options *options, struct top_view *view)
{
    static const char *const sorts[TOP_SORTS] = {
        [TOP_BY_RATE] = "rate", [TOP_BY_TOTAL] = "total", [TOP_BY_NAME] = "name"};
    double requests = after->requests - before->requests;
    double sent = after->sent_bytes - before->sent_bytes;
    double received = after->received_bytes - before->received_bytes;

    struct top_line *line =
        add_line(view, options, "larder %s, up %s%s%s   q quit, p pause, s sort by %s", after->version,
                 duration_cell(options->now_s - after->started_s).text, options->paused ? ", PAUSED" : "",
                 options->notice != NULL ? options->notice : "", sorts[options->sort]);
    line->heading = true;
    add_line(view, options, "hit ratio   %8s   since the start %s",
             share_cell(after->hits - before->hits, requests).text, share_cell(after->hits, after->requests).text);
    add_line(view, options, "requests    %8.1f/s  in flight %.0f, connections %.0f, each takes %s", requests / span_s,
             after->in_flight, after->connections, mean_cell(after->duration_s - before->duration_s, requests).text);
    add_line(view, options, "bandwidth   %8s/s to clients, %s/s from origins, saved %s", size_cell(sent / span_s).text,
             size_cell(received / span_s).text, share_cell(sent > received ? sent - received : 0, sent).text);
    add_line(
        view, options, "origins     %8s to the head, %.1f/s",
        mean_cell(after->origin_wait_s - before->origin_wait_s, after->origin_answers - before->origin_answers).text,
        (after->origin_answers - before->origin_answers) / span_s);
    add_line(view, options, "store       %8s of %s, %s", size_cell(after->store_used_bytes).text,
             size_cell(after->store_limit_bytes).text,
             share_cell(after->store_used_bytes, after->store_limit_bytes).text);
}

static int by_choice(const void *a, const void *b)
{
    const struct shown *x = a;
    const struct shown *y = b;
    double difference = 0;

    if (x->sort == TOP_BY_RATE) {
        difference = y->rate - x->rate;
    }
    if (difference == 0 && x->sort != TOP_BY_NAME) {
        difference = y->row->requests - x->row->requests;
    }
    return difference > 0 ? 1 : difference < 0 ? -1 : strcmp(x->row->name, y->row->name);
}

static size_t make_shown(const struct top_rows *before, const struct top_rows *after, double span_s, enum top_sort sort,
                         struct shown out[TOP_ROWS_MAX])
{
    static const struct top_row none = {""};

    for (size_t i = 0; i < after->count; i++) {
        const struct top_row *row = &after->rows[i];
        const struct top_row *former = top_rows_find(before, row->name);
        former = former != NULL ? former : &none;
        out[i] = (struct shown){.row = row,
                                .rate = (row->requests - former->requests) / span_s,
                                .hit_rate = (row->hits - former->hits) / span_s,
                                .received_rate = (row->received_bytes - former->received_bytes) / span_s,
                                .sort = sort};
    }
    if (after->count > 0) {
        qsort(out, after->count, sizeof(*out), by_choice);
    }
    return after->count;
}

/* The three tables share the room: sites and origins get what they need up to a quarter each, reasons the rest. */
static size_t room_for(size_t rows, size_t most)
{
    return rows < most ? rows : most;
}

static void write_reasons(const struct top_sample *before, const struct top_sample *after, double span_s,
                          const struct top_options *options, size_t room, struct top_view *view)
{
    struct shown shown[TOP_ROWS_MAX];
    size_t count = make_shown(&before->reasons, &after->reasons, span_s, options->sort, shown);
    double all = (after->requests - before->requests) / span_s;

    add_line(view, options, "%10s %8s %12s  %s", "REQ/S", "SHARE", "TOTAL", "REASON")->heading = true;
    for (size_t i = 0; i < count && i < room; i++) {
        add_line(view, options, "%10.1f %8s %12.0f  %s", shown[i].rate, share_cell(shown[i].rate, all).text,
                 shown[i].row->requests, shown[i].row->name);
    }
}

static void write_sites(const struct top_sample *before, const struct top_sample *after, double span_s,
                        const struct top_options *options, size_t room, struct top_view *view)
{
    struct shown shown[TOP_ROWS_MAX];
    size_t count = make_shown(&before->sites, &after->sites, span_s, options->sort, shown);

    add_line(view, options, "%10s %8s %12s  %s", "REQ/S", "HITS", "ORIGIN B/S", "SITE")->heading = true;
    for (size_t i = 0; i < count && i < room; i++) {
        add_line(view, options, "%10.1f %8s %12s  %s", shown[i].rate, share_cell(shown[i].hit_rate, shown[i].rate).text,
                 size_cell(shown[i].received_rate).text, shown[i].row->name);
    }
}

static void write_origins(const struct top_sample *after, const struct top_options *options, size_t room,
                          struct top_view *view)
{
    add_line(view, options, "%10s  %s", "STATE", "ORIGIN")->heading = true;
    for (size_t i = 0; i < after->origins.count && i < room; i++) {
        add_line(view, options, "%10s  %s", after->origins.rows[i].in_service ? "in service" : "OUT",
                 after->origins.rows[i].name);
    }
}

void top_view_make(const struct top_sample *before, const struct top_sample *after, const struct top_options *options,
                   struct top_view *out_view)
{
    double span_s = after->time_s > before->time_s ? after->time_s - before->time_s : 1;
    size_t headings = 3 + 2; /* and the empty lines between */
    size_t room = options->lines > SUMMARY_LINES + 1 + headings ? options->lines - SUMMARY_LINES - 1 - headings : 0;
    size_t sites = room_for(after->sites.count, room / 4);
    size_t origins = room_for(after->origins.count, room / 4);

    out_view->count = 0;
    write_summary(before, after, span_s, options, out_view);
    add_line(out_view, options, "%s", "");
    write_reasons(before, after, span_s, options, room - sites - origins, out_view);
    add_line(out_view, options, "%s", "");
    write_sites(before, after, span_s, options, sites, out_view);
    add_line(out_view, options, "%s", "");
    write_origins(after, options, origins, out_view);
}
