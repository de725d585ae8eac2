/* head_scan.h: the end of a head, found as its bytes arrive, and every byte of it looked at.
 *
 * The scan knows lines, names and values, and refuses what different readers read differently and llhttp lets through:
 * obs-fold, lines that end in a bare LF or hold a bare CR, NUL and other controls, white space in front of a colon,
 * empty names (RFC 9112 §2.2, §5). What the words mean is for parser.h to say. Limits are the caller's. Threads: any.
 */
#ifndef HTTP_HEAD_SCAN_H
#define HTTP_HEAD_SCAN_H

#include "http/check.h"
#include "http/error.h"
#include "http/span.h"

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
 * the first line is longer than `target_bytes`), ERR_TLS (the first byte is that of a TLS handshake or alert),
 * ERR_BAD_LINE_END, ERR_BAD_FIELD, ERR_BAD_HEAD (a control byte): as early as the bytes show it. Each byte is looked at
 * once. After an error the scan is over. */
MUST_CHECK enum err head_find(struct head_scan *scan, struct span data, const struct head_limits *limits,
                              size_t *out_len);

#endif
