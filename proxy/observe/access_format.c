/* access_format.c: one exchange as a line of text: a JSON object, or Apache's combined format.
 *
 * Bytes from outside are escaped in both, so that a request cannot forge a line. Pure: no clock, no file. */
#include <stdio.h>
#include <time.h>

#include "http/check.h"
#include "http/date.h"
#include "proxy/observe/access_log.h"

static void format_json(const struct access_entry *entry, struct buf *out);
static void format_combined(const struct access_entry *entry, struct buf *out);
static void add_key(struct buf *out, const char *key);
static void add_text(struct buf *out, const char *key, struct span text);
static void add_number(struct buf *out, const char *key, int64_t value);
static void add_time(struct buf *out, const char *key, int64_t time_ms);
static void add_quoted(struct buf *out, struct span text);

static const char *const end_reason_texts[] = {
#define END_TEXT(name, text) [END_##name] = (text),
    END_REASONS(END_TEXT)
#undef END_TEXT
};

static const char *const outcome_texts[] = {
#define OUTCOME_TEXT(name, text) [OUTCOME_##name] = (text),
    OUTCOMES(OUTCOME_TEXT)
#undef OUTCOME_TEXT
};

const char *outcome_text(enum outcome outcome)
{
    REQUIRE((size_t)outcome < ARRAY_LEN(outcome_texts));
    return outcome_texts[outcome];
}

const char *end_reason_text(enum end_reason reason)
{
    REQUIRE((size_t)reason < ARRAY_LEN(end_reason_texts));
    return end_reason_texts[reason];
}

void access_log_format(enum access_format format, const struct access_entry *entry, struct buf *out)
{
    switch (format) {
    case ACCESS_JSON:
        format_json(entry, out);
        break;
    case ACCESS_COMBINED:
        format_combined(entry, out);
        break;
    }
    buf_add_byte(out, '\n');
}

static void format_json(const struct access_entry *entry, struct buf *out)
{
    char version[] = {'1', '.', entry->minor == 0 ? '0' : '1', '\0'};

    buf_add_byte(out, '{');
    add_time(out, "time", entry->time_ms);
    add_text(out, "client", span_of(entry->client));
    if (entry->client_port != 0) {
        add_number(out, "client_port", entry->client_port);
    }
    add_text(out, "forwarded_for", entry->forwarded_for);
    add_text(out, "method", entry->method);
    add_text(out, "scheme", entry->scheme);
    add_text(out, "host", entry->host);
    add_text(out, "target", entry->target);
    add_text(out, "version", span_of(version));
    if (entry->status != 0) {
        add_number(out, "status", entry->status);
    }
    add_text(out, "outcome", span_of(outcome_text(entry->outcome)));
    add_text(out, "reason", span_of(reason_token(entry->reason)));
    if (entry->store_reason != REASON_NONE) {
        add_text(out, "store_reason", span_of(reason_token(entry->store_reason)));
    }
    add_text(out, "rule", span_of(entry->rule));
    add_text(out, "site", span_of(entry->site));
    add_text(out, "trace_id", entry->trace_id);
    add_text(out, "parent_id", entry->parent_id);
    add_text(out, "span_id", entry->span_id);
    if (entry->collapsed) {
        add_key(out, "collapsed");
        buf_add(out, SPAN("true"));
    }
    add_text(out, "origin", span_of(entry->origin));
    if (entry->attempts > 1) {
        add_number(out, "attempts", entry->attempts);
    }
    if (entry->origin_status != 0) {
        add_number(out, "origin_status", entry->origin_status);
    }
    if (entry->ttl_s != INT64_MIN) {
        add_number(out, "ttl_s", entry->ttl_s);
    }
    if (entry->age_s >= 0) {
        add_number(out, "age_s", entry->age_s);
    }
    add_number(out, "request_bytes", (int64_t)entry->request_bytes);
    add_number(out, "response_bytes", (int64_t)entry->response_bytes);
    add_number(out, "body_bytes", (int64_t)entry->body_bytes);
    if (entry->origin_us >= 0) {
        add_number(out, "origin_us", entry->origin_us);
    }
    if (entry->first_byte_us >= 0) {
        add_number(out, "first_byte_us", entry->first_byte_us);
    }
    if (entry->total_us >= 0) {
        add_number(out, "total_us", entry->total_us);
    }
    add_text(out, "user_agent", entry->user_agent);
    add_text(out, "referer", entry->referer);
    add_text(out, "end", span_of(end_reason_text(entry->end)));
    if (entry->error != ERR_OK) {
        add_text(out, "error", span_of(err_name(entry->error)));
    }
    buf_add_byte(out, '}');
}

/* Who asked, in one word: a name with a space in it would be several fields. */
static void add_client(struct buf *out, const struct access_entry *entry)
{
    struct span client = span_of(entry->client);

    if (entry->forwarded_for.len > 0 && span_find(entry->forwarded_for, ' ') == SIZE_MAX) {
        client = entry->forwarded_for;
    }
    add_quoted(out, client.len == 0 ? SPAN("-") : client);
}

/* host ident user [time] "request line" status bytes "referer" "user agent"; "-" for what there is none of */
static void format_combined(const struct access_entry *entry, struct buf *out)
{
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(entry->time_ms / 1000);
    struct tm utc = {0};

    gmtime_r(&seconds, &utc); /* month names not by strftime: a locale would change them */
    add_client(out, entry);
    buf_format(out, " - - [%02d/%s/%04d:%02d:%02d:%02d +0000] \"", utc.tm_mday, months[utc.tm_mon], utc.tm_year + 1900,
               utc.tm_hour, utc.tm_min, utc.tm_sec);
    if (entry->method.len == 0) {
        buf_add_byte(out, '-'); /* no request line could be read */
    } else {
        add_quoted(out, entry->method);
        buf_add_byte(out, ' ');
        add_quoted(out, entry->target);
        buf_format(out, " HTTP/1.%c", entry->minor == 0 ? '0' : '1');
    }
    buf_add(out, SPAN("\" "));
    if (entry->status != 0) {
        buf_add_u64(out, entry->status);
    } else {
        buf_add_byte(out, '-');
    }
    buf_add_byte(out, ' ');
    if (entry->body_bytes != 0) {
        buf_add_u64(out, entry->body_bytes);
    } else {
        buf_add_byte(out, '-');
    }
    buf_add(out, SPAN(" \""));
    add_quoted(out, entry->referer.len == 0 ? SPAN("-") : entry->referer);
    buf_add(out, SPAN("\" \""));
    add_quoted(out, entry->user_agent.len == 0 ? SPAN("-") : entry->user_agent);
    buf_add_byte(out, '"');
}

static void add_key(struct buf *out, const char *key)
{
    if (out->len > 0 && out->data[out->len - 1] != '{') {
        buf_add_byte(out, ',');
    }
    buf_format(out, "\"%s\":", key);
}

static void add_text(struct buf *out, const char *key, struct span text)
{
    if (text.len > 0) {
        add_key(out, key);
        buf_add_json_string(out, span_take(text, ACCESS_TEXT_MAX_BYTES));
    }
}

static void add_number(struct buf *out, const char *key, int64_t value)
{
    add_key(out, key);
    buf_add_i64(out, value);
}

/* RFC 3339, UTC, milliseconds. */
static void add_time(struct buf *out, const char *key, int64_t time_ms)
{
    char text[DATE_RFC3339_LEN];

    date_format_rfc3339(time_ms / 1000, text);
    add_key(out, key);
    buf_format(out, "\"%.19s.%03dZ\"", text, (int)(time_ms % 1000));
}

/* Quotes and backslashes with a backslash, all but printable ASCII as \xHH: what readers of the format expect. */
static void add_quoted(struct buf *out, struct span text)
{
    static const char hex[] = "0123456789abcdef";

    text = span_take(text, ACCESS_TEXT_MAX_BYTES);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];

        if (byte == '"' || byte == '\\') {
            buf_add_byte(out, '\\');
            buf_add_byte(out, (char)byte);
        } else if (byte < 0x20 || byte > 0x7e) {
            char escape[] = {'\\', 'x', hex[byte >> 4], hex[byte & 15]};

            buf_add(out, (struct span){escape, sizeof escape});
        } else {
            buf_add_byte(out, (char)byte);
        }
    }
}
