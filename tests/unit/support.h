/* support.h: what unit tests share: text to values and back.
 *
 * Everything here ends the test program on failure: a test that cannot set its scene has nothing to say. */
#ifndef TESTS_UNIT_SUPPORT_H
#define TESTS_UNIT_SUPPORT_H

#include "http/message.h"

/* An arena with room for any test. The caller finishes it. */
struct arena test_arena(void);

/* The header fields in `text`: lines "Name: value\r\n". They borrow from `text`. */
struct headers test_headers(struct arena *arena, const char *text);

/* The fields as lines again, in the arena, zero-terminated. */
const char *test_headers_text(const struct headers *headers, struct arena *arena);

/* A zero-terminated copy in the arena, for comparing and printing. */
const char *test_text(struct span text, struct arena *arena);

/* A GET of a normalised URI with these header fields; version 1.1. */
struct http_request test_request(struct arena *arena, const char *url, const char *fields);

/* A response with these header fields; version 1.1. */
struct http_response test_response(struct arena *arena, unsigned status, const char *fields);

#endif
