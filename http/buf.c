/* buf.c: bytes that grow by doubling up to their limit. */
#include "http/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_BYTES = 512,
    SPARE_MAX_BYTES = 16 * 1024,
};

static size_t utf8_len(struct span text);

void buf_init(struct buf *buf, size_t limit_bytes)
{
    *buf = (struct buf){.limit = limit_bytes};
}

void buf_init_in(struct buf *buf, char *memory, size_t size)
{
    REQUIRE(size > 0);
    *buf = (struct buf){.capacity = size - 1, .limit = size - 1, .borrowed = true};
    buf->data = memory;
}

void buf_finish(struct buf *buf)
{
    if (buf == NULL || buf->borrowed) {
        return;
    }
    free(buf->data);
    *buf = (struct buf){.limit = buf->limit};
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->failed = false;
}

void buf_lend(struct buf *from, struct buf *to)
{
    if (from->data == NULL || to->data != NULL) {
        return;
    }
    to->data = from->data;
    to->capacity = from->capacity;
    from->data = NULL;
    from->capacity = 0;
    from->len = 0;
}

void buf_give_back(struct buf *from, struct buf *spare)
{
    if (from->capacity <= SPARE_MAX_BYTES) {
        buf_lend(from, spare);
    }
    buf_finish(from);
}

static inline bool has_room(const struct buf *buf, size_t bytes)
{
    return buf->capacity - buf->len >= bytes && buf->data != NULL;
}

char *buf_reserve(struct buf *buf, size_t bytes)
{
    size_t capacity = buf->capacity == 0 ? FIRST_BYTES : buf->capacity;
    size_t wanted;
    char *data;

    if (has_room(buf, bytes)) {
        return buf->data + buf->len;
    }
    if (buf->len > buf->limit || bytes > buf->limit - buf->len) {
        return NULL;
    }
    wanted = buf->len + bytes;
    while (capacity < wanted) {
        capacity = capacity > SIZE_MAX / 2 ? wanted : capacity * 2;
    }
    if (capacity > buf->limit) {
        capacity = buf->limit;
    }
    if (capacity == SIZE_MAX) {
        return NULL;
    }
    data =
        realloc(buf->data, capacity + 1); /* one more, so that buf_format has a place for its zero even at the limit */
    if (data == NULL) {
        buf->starved = true;
        return NULL;
    }
    buf->data = data;
    buf->capacity = capacity;
    return buf->data + buf->len;
}

/* As buf_reserve, for appending: a failure is remembered, and nothing is appended behind a gap. */
static inline char *room(struct buf *buf, size_t bytes)
{
    if (!buf->failed && has_room(buf, bytes)) { /* as nearly always: without a call */
        return buf->data + buf->len;
    }
    char *room = buf->failed ? NULL : buf_reserve(buf, bytes);

    if (room == NULL) {
        buf->failed = true;
    }
    return room;
}

void buf_add_growing(struct buf *buf, struct span text)
{
    char *to;

    if (text.len == 0) {
        return;
    }
    to = room(buf, text.len);
    if (to != NULL) {
        memcpy(to, text.data, text.len);
        buf->len += text.len;
    }
}

void buf_add_text(struct buf *buf, const char *text)
{
    buf_add(buf, span_of(text));
}

void buf_add_byte(struct buf *buf, char byte)
{
    char *to = room(buf, 1);

    if (to != NULL) {
        *to = byte;
        buf->len++;
    }
}

void buf_add_u64(struct buf *buf, uint64_t value)
{
    char digits[20]; /* of UINT64_MAX */
    size_t start = sizeof digits;

    do {
        digits[--start] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buf_add(buf, (struct span){digits + start, sizeof digits - start});
}

void buf_add_i64(struct buf *buf, int64_t value)
{
    if (value < 0) {
        buf_add_byte(buf, '-');
        buf_add_u64(buf, 0 - (uint64_t)value); /* unsigned: INT64_MIN has no positive twin */
    } else {
        buf_add_u64(buf, (uint64_t)value);
    }
}

void buf_add_hex(struct buf *buf, uint64_t value)
{
    char digits[16];
    size_t start = sizeof digits;

    do {
        digits[--start] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value > 0);
    buf_add(buf, (struct span){digits + start, sizeof digits - start});
}

/* Straight behind the content where that has room, as nearly always; else again where it has. */
void buf_format(struct buf *buf, const char *format, ...)
{
    va_list arguments;
    size_t left = buf->data == NULL ? 0 : buf->capacity - buf->len + 1; /* one more for the zero */
    char *to = buf->data == NULL ? NULL : buf->data + buf->len;

    if (buf->failed) {
        return;
    }
    va_start(arguments, format);
    int len = vsnprintf(to, left, format, arguments);
    va_end(arguments);
    if (len >= 0 && (size_t)len < left) {
        buf->len += (size_t)len;
        return;
    }
    to = len < 0 ? NULL : room(buf, (size_t)len);
    if (to == NULL) {
        buf->failed = true;
        return;
    }
    va_start(arguments, format);
    (void)vsnprintf(to, (size_t)len + 1, format, arguments); /* fits: it was measured */
    va_end(arguments);
    buf->len += (size_t)len;
}

static void add_json_escape(struct buf *buf, unsigned char byte)
{
    static const char hex[] = "0123456789abcdef";
    char escape[] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};

    if (byte == '"' || byte == '\\') {
        buf_add_byte(buf, '\\');
        buf_add_byte(buf, (char)byte);
    } else if (byte == '\n') {
        buf_add(buf, SPAN("\\n"));
    } else if (byte == '\r') {
        buf_add(buf, SPAN("\\r"));
    } else if (byte == '\t') {
        buf_add(buf, SPAN("\\t"));
    } else {
        buf_add(buf, (struct span){escape, sizeof escape});
    }
}

/* U+0080 to U+009F, which terminals obey: "\xc2\x9b" is ESC [ to them. */
static bool is_c1_control(struct span text)
{
    return text.len >= 2 && (unsigned char)text.data[0] == 0xc2 && (unsigned char)text.data[1] < 0xa0;
}

void buf_add_json_string(struct buf *buf, struct span text)
{
    buf_add_byte(buf, '"');
    while (text.len > 0) {
        size_t run = span_plain_len(text);

        while (run < text.len) {
            unsigned char byte = (unsigned char)text.data[run];
            size_t len = utf8_len(span_skip(text, run));

            if (len == 0 || byte < 0x20 || byte == 0x7f || byte == '"' || byte == '\\' ||
                (len == 2 && is_c1_control(span_skip(text, run)))) {
                break;
            }
            run += len;
        }
        buf_add(buf, span_take(text, run));
        text = span_skip(text, run);
        if (text.len > 0) {
            bool two = utf8_len(text) == 2; /* a control's second byte is its number */
            add_json_escape(buf, (unsigned char)text.data[two ? 1 : 0]);
            text = span_skip(text, two ? 2 : 1);
        }
    }
    buf_add_byte(buf, '"');
}

void buf_consume(struct buf *buf, size_t count)
{
    REQUIRE(count <= buf->len);
    buf->len -= count;
    if (count > 0 && buf->len > 0) {
        memmove(buf->data, buf->data + count, buf->len);
    }
}

struct span buf_span(const struct buf *buf)
{
    return (struct span){buf->data, buf->len};
}

/* Length of the UTF-8 character `text` starts with, 0 if it is not one (RFC 3629 §4: no overlong forms, surrogates, or
 * above U+10FFFF). */
static size_t utf8_len(struct span text)
{
    const unsigned char *bytes = (const unsigned char *)text.data;
    unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte */
    size_t len;

    if (bytes[0] < 0x80) {
        return 1;
    }
    if (bytes[0] < 0xc2 || bytes[0] > 0xf4) {
        return 0;
    }
    len = bytes[0] < 0xe0 ? 2 : bytes[0] < 0xf0 ? 3 : 4;
    if (bytes[0] == 0xe0) {
        low = 0xa0;
    } else if (bytes[0] == 0xed) {
        high = 0x9f;
    } else if (bytes[0] == 0xf0) {
        low = 0x90;
    } else if (bytes[0] == 0xf4) {
        high = 0x8f;
    }
    if (text.len < len || bytes[1] < low || bytes[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if (bytes[i] < 0x80 || bytes[i] > 0xbf) {
            return 0;
        }
    }
    return len;
}
