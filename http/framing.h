/* framing.h: where a body ends, and the bytes between (RFC 9112 §6, §7).
 *
 * One reading only: conflicting lengths and codings are refused, never repaired. Threads: any; a decoder by one at a
 * time. */
#ifndef HTTP_FRAMING_H
#define HTTP_FRAMING_H

#include "http/error.h"
#include "http/message.h"

/* ERR_BAD_LENGTH (not one run of digits; a leading zero; two lines, even equal ones; a list; above INT64_MAX),
 * ERR_LENGTH_AND_CODING, ERR_BAD_CODING (anything but exactly one `chunked`; in HTTP/1.0 any at all). No length and no
 * coding: no body. */
MUST_CHECK enum err framing_of_request(const struct http_request *request, struct framing *out_framing);

/* As above, but another coding means until close with `unknown_coding`, and chunked together with another, or twice, is
 * ERR_BAD_CODING. HEAD, 1xx, 204 and 304 have no body whatever the fields say. */
MUST_CHECK enum err framing_of_response(enum method method, const struct http_response *response,
                                        struct framing *out_framing);

/* Do bytes of a body follow the head? After a length of 0 none do; after chunked, the last chunk at least. */
bool framing_has_body(const struct framing *framing);

enum body_state {
    BODY_DATA,          /* length or close: bytes of the body follow */
    BODY_CHUNK_SIZE,    /* in the hex digits */
    BODY_CHUNK_SPACE,   /* in white space behind them: `;` must follow */
    BODY_CHUNK_EXT,     /* behind the `;`, to the end of the line; ignored, bounded */
    BODY_CHUNK_SIZE_LF, /* CR seen */
    BODY_CHUNK_DATA,
    BODY_CHUNK_CR,
    BODY_CHUNK_LF,
    BODY_TRAILERS,    /* trailer lines are collected until the empty one */
    BODY_TRAILERS_LF, /* CR of the empty line seen */
    BODY_DONE,
};

enum {
    CHUNK_LINE_MAX_BYTES = 4096, /* size, extensions and line end */
    TRAILERS_MAX_BYTES = 16384,
};

/* Takes a body apart as it arrives, whatever its framing. */
struct body_decoder {
    enum body_state state;
    enum framing_kind kind;
    uint64_t left;       /* bytes to come of the body or of the chunk */
    uint64_t body_bytes; /* payload handed out so far */
    unsigned digits;     /* hex digits of the chunk size seen */
    size_t line_bytes;   /* bytes of the chunk line or the trailer section so far */
    char *trailers;      /* raw trailer section (heap), NULL when none; parsed by body_decoder_trailers */
    size_t trailers_len;
};

void body_decoder_init(struct body_decoder *decoder, const struct framing *framing);
void body_decoder_finish(struct body_decoder *decoder); /* frees; accepts a zeroed one */

/* Takes bytes from the front of `*data`: on return `*data` is what was not consumed and `*out_piece` is the next run of
 * payload (it borrows from `*data`; may be empty, and is on an error). Call until `*data` is empty or
 * body_decoder_done; bytes behind the end are never consumed. ERR_BAD_CHUNK, ERR_HEAD_TOO_LARGE (trailers),
 * ERR_NO_MEMORY. */
MUST_CHECK enum err body_decoder_feed(struct body_decoder *decoder, struct span *data, struct span *out_piece);

bool body_decoder_done(const struct body_decoder *decoder);

/* The connection ended: ERR_OK if that completes the body, else ERR_TRUNCATED. */
MUST_CHECK enum err body_decoder_eof(struct body_decoder *decoder);

/* Trailer fields, parsed strictly into `out_headers` (copied to its arena); fields that a trailer may not hold
 * (framing, routing, authentication, and whatever else RFC 9110 §6.5.1 names; what forwarded.h and unkeyed.h remove
 * from heads) are left out. ERR_BAD_FIELD, ERR_ARENA_FULL. */
MUST_CHECK enum err body_decoder_trailers(const struct body_decoder *decoder, struct headers *out_headers);

#endif
