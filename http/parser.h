/* parser.h: heads of HTTP/1 messages, parsed one strict way (RFC 9112); the one file that knows llhttp.
 *
 * A head is first found and scanned byte for byte (head_scan.h), then parsed in one piece. Limits are the caller's.
 * Threads: any. */
#ifndef HTTP_PARSER_H
#define HTTP_PARSER_H

#include "http/field_memo.h"
#include "http/head_scan.h"
#include "http/line_memo.h"
#include "http/message.h"

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
