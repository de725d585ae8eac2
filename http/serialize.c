/* serialize.c: the wire form of what we send. */
#include "http/serialize.h"

#include <string.h>

#include "http/date.h"

/* Appends what fits, as buf_add does, from several parts with one reservation. */
static void add_parts(struct buf *out, const struct span *parts, size_t count)
{
    size_t len = 0;
    char *to;

    for (size_t i = 0; i < count; i++) {
        len += parts[i].len;
    }
    to = out->failed ? NULL : buf_reserve(out, len);
    if (to == NULL) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > 0) {
            memcpy(to, parts[i].data, parts[i].len);
            to += parts[i].len;
        }
    }
    out->len += len;
}

/* RFC 9112 §2.3: an intermediary sends its own version, whatever it received. */
void write_request_line(struct buf *out, struct span method, struct span target)
{
    struct span parts[] = {method, SPAN(" "), target, SPAN(" HTTP/1.1\r\n")};

    add_parts(out, parts, ARRAY_LEN(parts));
}

void write_status_line(struct buf *out, unsigned status)
{
    char digits[] = {(char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10), (char)('0' + status % 10)};
    /* RFC 9112 §4: the space stays where there is no phrase */
    struct span parts[] = {
        SPAN("HTTP/1.1 "), {digits, sizeof digits}, SPAN(" "), span_of(status_phrase(status)), SPAN("\r\n")};

    REQUIRE(status >= 100);
    REQUIRE(status <= 599);
    add_parts(out, parts, ARRAY_LEN(parts));
}

/* Where the line ends. There is room for it. */
static char *put_field(char *to, struct span name, struct span value)
{
    memcpy(to, name.data, name.len); /* never empty */
    to += name.len;
    *to++ = ':';
    *to++ = ' ';
    if (value.len > 0) {
        memcpy(to, value.data, value.len);
        to += value.len;
    }
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

static size_t field_bytes(const struct header *field)
{
    return field->name.len + field->value.len + 4;
}

void write_field(struct buf *out, struct span name, struct span value)
{
    struct header field = {name, value};
    size_t len = field_bytes(&field);
    char *to = out->failed ? NULL : buf_reserve(out, len);

    if (to == NULL) {
        out->failed = true;
        return;
    }
    (void)put_field(to, name, value);
    out->len += len;
}

size_t fields_bytes(const struct headers *headers)
{
    size_t len = 0;

    for (size_t i = 0; i < headers->count; i++) {
        len += field_bytes(&headers->items[i]);
    }
    return len;
}

void write_fields(struct buf *out, const struct headers *headers)
{
    size_t len = fields_bytes(headers);

    if (len == 0) {
        return;
    }
    char *to = out->failed ? NULL : buf_reserve(out, len);
    if (to == NULL) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < headers->count; i++) {
        to = put_field(to, headers->items[i].name, headers->items[i].value);
    }
    out->len += len;
}

void write_end(struct buf *out)
{
    buf_add(out, SPAN("\r\n"));
}

void write_date_field(struct buf *out, struct span name, int64_t time_s)
{
    char text[DATE_TEXT_LEN];

    date_format(time_s, text);
    write_field(out, name, (struct span){text, sizeof text});
}

void write_chunk_start(struct buf *out, uint64_t bytes)
{
    REQUIRE(bytes > 0); /* a chunk of no bytes would end the body */
    buf_add_hex(out, bytes);
    buf_add(out, SPAN("\r\n"));
}

void write_chunk_end(struct buf *out)
{
    buf_add(out, SPAN("\r\n"));
}

void write_last_chunk(struct buf *out, const struct headers *trailers)
{
    buf_add(out, SPAN("0\r\n"));
    if (trailers != NULL) {
        write_fields(out, trailers);
    }
    write_end(out);
}
