/* top_sample.c: see top_sample.h. */
#include "proxy/commands/top_sample.h"

#include <stdio.h>
#include <stdlib.h>

enum { VALUE_BYTES = 64, LABEL_BYTES = 256 };

/* A line: name{label="value",…} number */
struct series {
    struct span name;
    struct span labels;
    double value;
};

static bool read_number(struct span text, double *out_value)
{
    char copy[VALUE_BYTES];
    char *end;

    if (text.len == 0 || text.len >= sizeof copy) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    *out_value = strtod(copy, &end);
    return *end == '\0';
}

static bool read_line(struct span line, struct series *out)
{
    size_t brace = span_find(line, '{');
    size_t space = line.len;

    while (space > 0 && line.data[space - 1] != ' ') {
        space--;
    }
    if (space == 0 || !read_number(span_skip(line, space), &out->value)) {
        return false;
    }
    struct span head = span_take(line, space - 1);
    out->name = span_take(head, brace);
    out->labels = brace < head.len ? span_skip(head, brace + 1) : SPAN("");
    return true;
}

/* A label's value without its escapes, as text; "" where there is none. */
static void read_label(const struct series *series, struct span name, char out[LABEL_BYTES])
{
    struct span rest = series->labels;
    size_t len = 0;

    out[0] = '\0';
    while (rest.len > name.len + 2) {
        bool wanted = span_starts_with(rest, name) && rest.data[name.len] == '=';
        size_t quote = span_find(rest, '"');
        rest = span_skip(rest, quote == SIZE_MAX ? rest.len : quote + 1);
        while (rest.len > 0 && rest.data[0] != '"') {
            rest = span_skip(rest, rest.data[0] == '\\' && rest.len > 1);
            if (wanted && len < LABEL_BYTES - 1) {
                out[len++] = rest.data[0];
            }
            rest = span_skip(rest, 1);
        }
        if (wanted) {
            out[len] = '\0';
            return;
        }
        rest = span_skip(rest, 2); /* quote and comma */
    }
}

const struct top_row *top_rows_find(const struct top_rows *rows, const char *name)
{
    for (size_t i = 0; i < rows->count; i++) {
        if (strcmp(rows->rows[i].name, name) == 0) {
            return &rows->rows[i];
        }
    }
    return NULL;
}

/* The row of that name, made if need be. NULL: there are too many. */
static struct top_row *row_of(struct top_rows *rows, const char *name)
{
    char cut[TOP_NAME_BYTES];

    (void)snprintf(cut, sizeof cut, "%s", name);
    const struct top_row *found = top_rows_find(rows, cut);
    if (found != NULL) {
        return &rows->rows[found - rows->rows];
    }
    if (rows->count == TOP_ROWS_MAX) {
        return NULL;
    }
    struct top_row *row = &rows->rows[rows->count++];
    memcpy(row->name, cut, sizeof cut);
    return row;
}

static void add_requests(struct top_row *row, double requests, bool hit)
{
    if (row != NULL) {
        row->requests += requests;
        row->hits += hit ? requests : 0;
    }
}

static void take_requests(const struct series *series, struct top_sample *sample)
{
    char site[LABEL_BYTES];
    char outcome[LABEL_BYTES];
    char reason[LABEL_BYTES];
    char words[LABEL_BYTES * 2 + 2];

    read_label(series, SPAN("site"), site);
    read_label(series, SPAN("outcome"), outcome);
    read_label(series, SPAN("reason"), reason);
    bool hit = strcmp(outcome, "hit") == 0;
    sample->requests += series->value;
    sample->hits += hit ? series->value : 0;
    add_requests(row_of(&sample->sites, site[0] != '\0' ? site : "(no site)"), series->value, hit);
    (void)snprintf(words, sizeof words, "%s %s", outcome, reason);
    add_requests(row_of(&sample->reasons, strcmp(outcome, reason) == 0 ? reason : words), series->value, hit);
}

static void take_received(const struct series *series, struct top_sample *sample)
{
    char site[LABEL_BYTES];

    read_label(series, SPAN("site"), site);
    struct top_row *row = row_of(&sample->sites, site);
    sample->received_bytes += series->value;
    if (row != NULL) {
        row->received_bytes += series->value;
    }
}

static void take_origin(const struct series *series, struct top_sample *sample)
{
    char origin[LABEL_BYTES];

    read_label(series, SPAN("origin"), origin);
    struct top_row *row = row_of(&sample->origins, origin);
    if (row != NULL) {
        row->in_service = series->value > 0;
    }
}

static void take_version(const struct series *series, struct top_sample *sample)
{
    char version[LABEL_BYTES];

    read_label(series, SPAN("version"), version);
    (void)snprintf(sample->version, sizeof sample->version, "%.31s", version);
}

/* Series that are shown as they are, or added up. */
static const struct {
    struct span name;
    size_t offset;
} sums[] = {
    {SPAN_INIT("larder_client_sent_bytes_total"), offsetof(struct top_sample, sent_bytes)},
    {SPAN_INIT("larder_origin_first_byte_seconds_sum"), offsetof(struct top_sample, origin_wait_s)},
    {SPAN_INIT("larder_origin_first_byte_seconds_count"), offsetof(struct top_sample, origin_answers)},
    {SPAN_INIT("larder_request_duration_seconds_sum"), offsetof(struct top_sample, duration_s)},
    {SPAN_INIT("larder_requests_in_flight"), offsetof(struct top_sample, in_flight)},
    {SPAN_INIT("larder_client_connections"), offsetof(struct top_sample, connections)},
    {SPAN_INIT("larder_store_used_bytes"), offsetof(struct top_sample, store_used_bytes)},
    {SPAN_INIT("larder_store_limit_bytes"), offsetof(struct top_sample, store_limit_bytes)},
    {SPAN_INIT("larder_start_time_seconds"), offsetof(struct top_sample, started_s)},
};

static const struct {
    struct span name;
    void (*take)(const struct series *series, struct top_sample *sample);
} others[] = {
    {SPAN_INIT("larder_requests_total"), take_requests},
    {SPAN_INIT("larder_origin_received_bytes_total"), take_received},
    {SPAN_INIT("larder_origin_in_service"), take_origin},
    {SPAN_INIT("larder_build_info"), take_version},
};

static void take(const struct series *series, struct top_sample *sample)
{
    for (size_t i = 0; i < ARRAY_LEN(sums); i++) {
        if (span_equal(series->name, sums[i].name)) {
            *(double *)(void *)((char *)sample + sums[i].offset) += series->value;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (span_equal(series->name, others[i].name)) {
            others[i].take(series, sample);
        }
    }
}

bool top_sample_read(struct span text, double time_s, struct top_sample *out_sample)
{
    struct span line;

    *out_sample = (struct top_sample){.time_s = time_s};
    while (span_split(&text, '\n', &line)) {
        struct series series;
        if (line.len == 0 || line.data[0] == '#') {
            continue;
        }
        if (!read_line(line, &series)) {
            return false;
        }
        take(&series, out_sample);
    }
    return out_sample->started_s > 0;
}
