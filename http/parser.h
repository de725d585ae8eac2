/* parser.h: heads of HTTP/1 messages, read one strict way (RFC 9112); the one file that knows llhttp.
 *
 * A head is first found and scanned byte for byte, then parsed in one piece. The scan refuses what llhttp lets through:
 * obs-fold, lines that end in a bare LF or hold a bare CR, NUL and other controls, empty names, HTTP/0.9 and 2.0
 * version tokens, two spaces, `\` and `#` in targets. Limits are the caller's. Threads: any. */
#ifndef HTTP_PARSER_H
#define HTTP_PARSER_H

#include "http/error.h"
#include "http/field_memo.h"
#include "http/line_memo.h"
#include "http/message.h"

struct head_limits {
    size_t head_bytes;   /* start line and fields together */
    size_t target_bytes; /* request target */
    size_t field_count;
};

/* What head_find reads next. */
enum head_scan_state {
    HEAD_SCAN_START,      /* the first line, or an empty one in front of it */
    HEAD_SCAN_START_LF,   /* CR of such an empty line seen */
    HEAD_SCAN_WORD_1,     /* method or version */
    HEAD_SCAN_WORD_2,     /* target or status */
    HEAD_SCAN_LINE_REST,  /* version or phrase */
    HEAD_SCAN_LINE_LF,    /* CR seen */
    HEAD_SCAN_LINE_START, /* a name, or the empty line */
    HEAD_SCAN_NAME,
    HEAD_SCAN_VALUE,
    HEAD_SCAN_END_LF, /* CR of the empty line seen */
    HEAD_SCAN_DONE,
};

/* Where the search for the head's end goes on when more bytes arrive: zero at the start of each message. */
struct head_scan {
    enum head_scan_state state;
    size_t skipped; /* empty lines in front of a request line (RFC 9112 §2.2), part of the head's bytes */
    size_t checked; /* bytes already scanned */
    size_t word_2;  /* where the second word of the first line starts, for the limit on targets */
};

/* Looks for the end of a head in `data`. ERR_AGAIN: not yet, call again with more bytes behind the same ones. ERR_OK:
 * `*out_len` bytes, skipped lines included, are the head. ERR_HEAD_TOO_LARGE, ERR_TARGET_TOO_LONG (the second word of
 * the first line is longer than `target_bytes`), ERR_BAD_LINE_END, ERR_BAD_FIELD, ERR_BAD_HEAD (a control byte): as
 * early as the bytes show it. Each byte is looked at once. After an error the scan is over. */
MUST_CHECK enum err head_find(struct head_scan *scan, struct span data, const struct head_limits *limits,
                              size_t *out_len);

/* Parses a head that head_find found. Copies it into `arena` first: `head` may go away. Fills method, target, minor,
 * headers and framing; checks Host (one, valid, needed in 1.1); leaves `uri` empty. On failure
 * `out_request->method_name` and `target` hold what was read of the first line, for the log. */
MUST_CHECK enum err parse_request_head(struct span head, const struct head_limits *limits, struct arena *arena,
                                       struct http_request *out_request);

/* As head_find and parse_request_head in one, where `data` begins with a whole head whose fields are those of the
 * memo's slot: only the request line is read. `*out_len` bytes are the head. False: it is no such head, or a wrong one;
 * nothing is decided, go the usual way. */
MUST_CHECK bool parse_repeated_head(struct span data, const struct head_limits *limits, const struct field_memo *memo,
                                    uint16_t slot, struct arena *arena, struct http_request *out_request,
                                    size_t *out_len);

/* `method` is that of the request, for the framing (HEAD has no body). ERR_TRUNCATED never comes from here. llhttp
 * judges every head by itself: two lengths, or length and coding together, are refused even where there is no body. */
MUST_CHECK enum err parse_response_head(struct span head, const struct head_limits *limits, enum method method,
                                        struct arena *arena, struct http_response *out_response);

/* The same; lines that the last head had, too, are not parsed again. `memo` is of heads that are likely to be alike:
 * those of one origin. */
MUST_CHECK enum err parse_response_head_with(struct span head, const struct head_limits *limits, enum method method,
                                             struct line_memo *memo, struct arena *arena,
                                             struct http_response *out_response);

#endif
