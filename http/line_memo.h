/* line_memo.h: the field lines of the head that came last, and what the parser made of them.
 *
 * An origin's responses differ in a few lines (ETag, Content-Length, the second of Date) and are the same, in the same
 * order, in the others: bytes that are the same say the same, and are not parsed again. Lines are as head_find and
 * llhttp passed them. Those that frame the message are always parsed, because what they mean depends on each other.
 *
 * Memory: the struct; zeroed it knows nothing. What does not fit is parsed each time. Threads: one. Errors: none. */
#ifndef HTTP_LINE_MEMO_H
#define HTTP_LINE_MEMO_H

#include "http/headers.h"

enum {
    LINE_MEMO_LINES = 32,
    LINE_MEMO_BYTES = 1024,
};

struct line_memo {
    struct known_line {
        uint16_t at;  /* in `text` */
        uint16_t len; /* CRLF included */
        uint16_t name_len;
        uint16_t value; /* from the line's beginning on */
        uint16_t value_len;
        bool frames; /* it must be parsed */
    } lines[LINE_MEMO_LINES];
    uint16_t count;
    uint16_t len;
    char text[LINE_MEMO_BYTES];
};

/* `text`, all of a head's lines but the first and the empty one, was parsed into `headers`, whose spans lie in it. */
void line_memo_keep(struct line_memo *memo, struct span text, const struct headers *headers);

/* Does `text` begin with the last head's line of that number, from 0 on? Then what it says, with spans in `text`, and
 * its length; else 0. */
size_t line_memo_find(const struct line_memo *memo, size_t number, struct span text, struct header *out_field);

#endif
