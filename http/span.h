/* span.h: borrowed bytes.
 *
 * A span never owns: the comment where one is kept says from whom it borrows and until when. It is not zero-terminated
 * and may hold any byte. Threads: any. Errors: none but the bool results. What every request does dozens of times is
 * inline here.
 *
 * memcmp and memchr get no null pointers: an empty span may have one, so lengths are looked at first. */
#ifndef HTTP_SPAN_H
#define HTTP_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const char *data;
    size_t len;
};

/* A string literal as a span; SPAN_INIT where a constant initialiser is needed. */
#define SPAN(literal) ((struct span){(literal), sizeof(literal) - 1})
#define SPAN_INIT(literal)                                                                                             \
    {                                                                                                                  \
        (literal), sizeof(literal) - 1                                                                                 \
    }

/* printf's "%.*s". */
#define SPAN_ARG(span) (int)(span).len, (span).data

/* Of a zero-terminated string; NULL gives the empty span. */
static inline struct span span_of(const char *text)
{
    struct span span = {text, text == NULL ? 0 : strlen(text)};

    return span;
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* As span_equal_nocase, of spans that have the same length. */
bool span_equal_nocase_bytes(struct span a, struct span b);

/* ASCII only. Most that are compared differ in length or in their first letter: that is seen without a call. */
static inline bool span_equal_nocase(struct span a, struct span b)
{
    return a.len == b.len &&
           (a.len == 0 || (((unsigned char)(a.data[0] ^ b.data[0]) & 0xdfU) == 0 && span_equal_nocase_bytes(a, b)));
}

/* Position of `byte`, or SIZE_MAX. */
static inline size_t span_find(struct span text, char byte)
{
    const char *found = text.len == 0 ? NULL : (const char *)memchr(text.data, byte, text.len);

    return found == NULL ? SIZE_MAX : (size_t)(found - text.data);
}

/* How many bytes at the start are printable ASCII and neither quote nor backslash: what no quoted text escapes. */
size_t span_plain_len(struct span text);

/* `text` without its first `count` bytes; nothing is left of a shorter one. */
static inline struct span span_skip(struct span text, size_t count)
{
    if (count > text.len) {
        count = text.len;
    }
    if (count > 0) { /* a null pointer must not be added to, not even 0 */
        text.data += count;
        text.len -= count;
    }
    return text;
}

/* The first `count` bytes, or all of a shorter one. */
static inline struct span span_take(struct span text, size_t count)
{
    text.len = count < text.len ? count : text.len;
    return text;
}

static inline bool span_starts_with(struct span text, struct span prefix)
{
    return text.len >= prefix.len && span_equal(span_take(text, prefix.len), prefix);
}

/* As span_equal_nocase. */
static inline bool span_starts_with_nocase(struct span text, struct span prefix)
{
    return text.len >= prefix.len && span_equal_nocase(span_take(text, prefix.len), prefix);
}

static inline bool span_ends_with(struct span text, struct span suffix)
{
    return text.len >= suffix.len && span_equal(span_skip(text, text.len - suffix.len), suffix);
}

/* Without OWS (space, tab) at both ends, RFC 9110 §5.6.3. */
static inline struct span span_trim(struct span text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t')) {
        text.len--;
    }
    return text;
}

/* Splits at the first `separator`: what stands before it goes to `out_head`, what stands behind it stays in `*rest`.
 * Without a separator the whole goes to `out_head` and `*rest` becomes empty. False when `*rest` was empty already. */
bool span_split(struct span *rest, char separator, struct span *out_head);

/* Digits only, at least one, all of `text`. False on anything else and on overflow. */
bool span_to_u64(struct span text, uint64_t *out_value);

/* As span_to_u64, but values above `max` become `max`, however many digits there are. */
bool span_to_u64_clamped(struct span text, uint64_t max, uint64_t *out_value);

char ascii_lower(char byte);

/* `glob` where `*` stands for any run of bytes, `?` for one byte; all of `text` must match. At most
 * text times glob steps: no backtracking explosion. */
bool span_matches_glob(struct span text, struct span glob);

#endif
