/* byte_class.h: what a byte of a head may be part of: one table for all who read or write heads, and runs of such
 * bytes.
 *
 * Threads: any. Errors: none. */
#ifndef HTTP_BYTE_CLASS_H
#define HTTP_BYTE_CLASS_H

#include "http/span.h"

enum {
    BYTE_VALUE = 1,  /* a start line or a field value: VCHAR, obs-text, and the white space between (RFC 9110 §5.5) */
    BYTE_NAME = 2,   /* tchar: ALPHA, DIGIT and ! # $ % & ' * + - . ^ _ ` | ~ (RFC 9110 §5.6.2) */
    BYTE_TARGET = 4, /* a request target: visible ASCII but `\` and `#` */
};

extern const unsigned char byte_classes[256];

/* The first place from `at` on whose byte is not of the class in that table, or `end`. Four at a time: this loop sees
 * every byte of every head. */
static inline size_t bytes_run_end_by(const unsigned char classes[256], const char *bytes, size_t at, size_t end,
                                      unsigned class)
{
    const unsigned char *byte = (const unsigned char *)bytes;

    while (end - at >= 4 &&
           (classes[byte[at]] & classes[byte[at + 1]] & classes[byte[at + 2]] & classes[byte[at + 3]] & class) != 0) {
        at += 4;
    }
    while (at < end && (classes[byte[at]] & class) != 0) {
        at++;
    }
    return at;
}

static inline size_t bytes_run_end(const char *bytes, size_t at, size_t end, unsigned class)
{
    return bytes_run_end_by(byte_classes, bytes, at, end, class);
}

/* The same for BYTE_VALUE, more of them at a time: values are most of a head. */
size_t bytes_value_end(const char *bytes, size_t at, size_t end);

/* Are all of them of the class? */
static inline bool bytes_are(struct span text, unsigned class)
{
    return bytes_run_end(text.data, 0, text.len, class) == text.len;
}

#endif
