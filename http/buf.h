/* buf.h: growable bytes with a hard limit, for heads, log lines and read buffers.
 *
 * Appending beyond the limit or without memory sets `failed`, which stays: build a whole message, then look once.
 * Threads: one at a time. */
#ifndef HTTP_BUF_H
#define HTTP_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "http/check.h"
#include "http/span.h"

struct buf {
    char *data;
    size_t len;
    size_t capacity;
    size_t limit;
    bool failed;   /* an append did not fit; the content is incomplete */
    bool starved;  /* … because the system had no memory, not for the limit */
    bool borrowed; /* `data` is the caller's, of `limit` bytes */
};

void buf_init(struct buf *buf, size_t limit_bytes);
/* In memory of the caller's, of `size` bytes: nothing is allocated, and buf_finish is not needed. */
void buf_init_in(struct buf *buf, char *memory, size_t size);
void buf_finish(struct buf *buf); /* frees; accepts a zeroed buffer; the buffer may be used again with the same limit */
void buf_clear(struct buf *buf);  /* empty, not failed; keeps the memory */

/* The memory of `from`, whose content goes, becomes that of `to`, if `to` has none: what an idle buffer does not need
 * serves a busy one. Neither is borrowed; `to` may hold as much as `from` has. */
void buf_lend(struct buf *from, struct buf *to);

/* The reverse: `from` is not needed any more, and ends. What `spare` does not need, or is too much to be kept, is
 * freed. */
void buf_give_back(struct buf *from, struct buf *spare);

void buf_add_growing(struct buf *buf, struct span text); /* buf_add, whether there is room or not */

/* Inline: a head is made of dozens of these, and of most the length is known to the compiler. */
static inline void buf_add(struct buf *buf, struct span text)
{
    if (buf->failed || buf->data == NULL || buf->capacity - buf->len < text.len) {
        buf_add_growing(buf, text);
    } else if (text.len > 0) {
        memcpy(buf->data + buf->len, text.data, text.len);
        buf->len += text.len;
    }
}

void buf_add_text(struct buf *buf, const char *text);
void buf_add_byte(struct buf *buf, char byte);
void buf_add_u64(struct buf *buf, uint64_t value);
void buf_add_i64(struct buf *buf, int64_t value);
void buf_add_hex(struct buf *buf, uint64_t value); /* lower case, no leading zeros */
void buf_format(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As a JSON string with its quotes: controls (also U+0080 to U+009F), quote, backslash and bytes that are not UTF-8 are
 * escaped (the last as \u00XX). */
void buf_add_json_string(struct buf *buf, struct span text);

/* Room for at least `bytes` behind the content; write there, then add to `len`. NULL when that is beyond the limit. */
MUST_CHECK char *buf_reserve(struct buf *buf, size_t bytes);

/* Drops the first `count` bytes. */
void buf_consume(struct buf *buf, size_t count);

struct span buf_span(const struct buf *buf);

#endif
