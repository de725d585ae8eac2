/* span.h: borrowed bytes.
 *
 * A span never owns: the comment where one is kept says from whom it borrows and until when. It is not zero-terminated
 * and may hold any byte. Threads: any. Errors: none but the bool results. */
#ifndef HTTP_SPAN_H
#define HTTP_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

struct span span_of(const char *text); /* of a zero-terminated string; NULL gives the empty span */
bool span_equal(struct span a, struct span b);
bool span_equal_nocase(struct span a, struct span b); /* ASCII only */
bool span_starts_with(struct span text, struct span prefix);
bool span_ends_with(struct span text, struct span suffix);

/* Position of `byte`, or SIZE_MAX. */
size_t span_find(struct span text, char byte);

/* `text` without its first `count` bytes (all of them if it is shorter); the first `count` bytes. */
struct span span_skip(struct span text, size_t count);
struct span span_take(struct span text, size_t count);

/* Without OWS (space, tab) at both ends, RFC 9110 §5.6.3. */
struct span span_trim(struct span text);

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
