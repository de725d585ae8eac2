/* access_format.c: one exchange as a line of text: a JSON object, or Apache's combined format.
 *
 * Bytes from outside are escaped in both, so that a request cannot forge a line. Pure: no clock, no file. */
#include <string.h>

#include "http/check.h"
#include "http/date.h"
#include "proxy/observe/access_log.h"

/* What goes before a value that is not an object's first. */
#define KEY(name) SPAN(",\"" name "\":")

static void format_json(const struct access_entry *entry, struct buf *out);
static void format_combined(const struct access_entry *entry, struct buf *out);
static void add_text(struct buf *out, struct span key, struct span text);
static void add_token(struct buf *out, struct span key, const char *token);
static void add_number(struct buf *out, struct span key, int64_t value);
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
    char time[DATE_RFC3339_MS_LEN];

    buf_add(out, SPAN("{\"time\":\""));
    date_format_rfc3339_ms(entry->time_ms, time);
    buf_add(out, (struct span){time, DATE_RFC3339_MS_LEN});
    buf_add_byte(out, '"');
    add_text(out, KEY("client"), span_of(entry->client));
    if (entry->client_port != 0) {
        add_number(out, KEY("client_port"), entry->client_port);
    }
    add_text(out, KEY("forwarded_for"), entry->forwarded_for);
    add_text(out, KEY("method"), entry->method);
    add_text(out, KEY("scheme"), entry->scheme);
    add_text(out, KEY("host"), entry->host);
    add_text(out, KEY("target"), entry->target);
    buf_add(out, entry->minor == 0 ? SPAN(",\"version\":\"1.0\"") : SPAN(",\"version\":\"1.1\""));
    if (entry->status != 0) {
        add_number(out, KEY("status"), entry->status);
    }
    add_token(out, KEY("outcome"), outcome_text(entry->outcome));
    add_token(out, KEY("reason"), reason_token(entry->reason));
    if (entry->store_reason != REASON_NONE) {
        add_token(out, KEY("store_reason"), reason_token(entry->store_reason));
    }
    add_text(out, KEY("rule"), span_of(entry->rule));
    add_text(out, KEY("site"), span_of(entry->site));
    add_text(out, KEY("trace_id"), entry->trace_id);
    add_text(out, KEY("parent_id"), entry->parent_id);
    add_text(out, KEY("span_id"), entry->span_id);
    if (entry->collapsed) {
        buf_add(out, SPAN(",\"collapsed\":true"));
    }
    add_text(out, KEY("origin"), span_of(entry->origin));
    if (entry->attempts > 1) {
        add_number(out, KEY("attempts"), entry->attempts);
    }
    if (entry->origin_status != 0) {
        add_number(out, KEY("origin_status"), entry->origin_status);
    }
    if (entry->ttl_s != INT64_MIN) {
        add_number(out, KEY("ttl_s"), entry->ttl_s);
    }
    if (entry->age_s >= 0) {
        add_number(out, KEY("age_s"), entry->age_s);
    }
    add_number(out, KEY("request_bytes"), (int64_t)entry->request_bytes);
    add_number(out, KEY("response_bytes"), (int64_t)entry->response_bytes);
    add_number(out, KEY("body_bytes"), (int64_t)entry->body_bytes);
    if (entry->origin_us >= 0) {
        add_number(out, KEY("origin_us"), entry->origin_us);
    }
    if (entry->first_byte_us >= 0) {
        add_number(out, KEY("first_byte_us"), entry->first_byte_us);
    }
    if (entry->total_us >= 0) {
        add_number(out, KEY("total_us"), entry->total_us);
    }
    add_text(out, KEY("user_agent"), entry->user_agent);
    add_text(out, KEY("referer"), entry->referer);
    add_token(out, KEY("end"), end_reason_text(entry->end));
    if (entry->error != ERR_OK) {
        add_token(out, KEY("error"), err_name(entry->error));
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

/* "[06/Nov/1994:08:49:37 +0000]" */
static void add_combined_time(struct buf *out, int64_t time_ms)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec"; /* whatever the locale */
    char date[DATE_RFC3339_MS_LEN];                                      /* "1994-11-06T08:49:37.000Z" */
    char text[] = "[06/Nov/1994:08:49:37 +0000]";

    date_format_rfc3339_ms(time_ms, date);
    memcpy(text + 1, date + 8, 2);
    memcpy(text + 4, months + (ptrdiff_t)3 * ((date[5] - '0') * 10 + date[6] - '1'), 3);
    memcpy(text + 8, date, 4);
    memcpy(text + 13, date + 11, 8);
    buf_add(out, SPAN(text));
}

/* host ident user [time] "request line" status bytes "referer" "user agent"; "-" for what there is none of */
static void format_combined(const struct access_entry *entry, struct buf *out)
{
    add_client(out, entry);
    buf_add(out, SPAN(" - - "));
    add_combined_time(out, entry->time_ms);
    buf_add(out, SPAN(" \""));
    if (entry->method.len == 0) {
        buf_add_byte(out, '-'); /* no request line could be read */
    } else {
        add_quoted(out, entry->method);
        buf_add_byte(out, ' ');
        add_quoted(out, entry->target);
        buf_add(out, entry->minor == 0 ? SPAN(" HTTP/1.0") : SPAN(" HTTP/1.1"));
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

static void add_text(struct buf *out, struct span key, struct span text)
{
    if (text.len > 0) {
        buf_add(out, key);
        buf_add_json_string(out, span_take(text, ACCESS_TEXT_MAX_BYTES));
    }
}

/* One of our words: nothing in it is escaped. */
static void add_token(struct buf *out, struct span key, const char *token)
{
    buf_add(out, key);
    buf_add_byte(out, '"');
    buf_add_text(out, token);
    buf_add_byte(out, '"');
}

static void add_number(struct buf *out, struct span key, int64_t value)
{
    buf_add(out, key);
    buf_add_i64(out, value);
}

/* Quotes and backslashes with a backslash, all but printable ASCII as \xHH: what readers of the format expect. */
static void add_quoted(struct buf *out, struct span text)
{
    static const char hex[] = "0123456789abcdef";

    text = span_take(text, ACCESS_TEXT_MAX_BYTES);
    while (text.len > 0) {
        struct span plain = span_take(text, span_plain_len(text));

        buf_add(out, plain);
        text = span_skip(text, plain.len);
        if (text.len > 0) {
            unsigned char byte = (unsigned char)text.data[0];
            char escape[] = {'\\', 'x', hex[byte >> 4], hex[byte & 15]};

            if (byte == '"' || byte == '\\') {
                escape[1] = (char)byte;
                buf_add(out, (struct span){escape, 2});
            } else {
                buf_add(out, (struct span){escape, sizeof escape});
            }
            text = span_skip(text, 1);
        }
    }
}
