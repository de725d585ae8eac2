/* field_memo.h: what the fields of heads said that come again and again.
 *
 * A client sends nearly the same fields with every request of a connection, and many clients send the same: all but the
 * request line. The memo keeps such blocks, byte for byte, with the list that the parser made of them; bytes that are
 * the same say the same. A block is " HTTP/1.1\r\n", the field lines, and the empty line, as head_find and llhttp
 * passed them.
 *
 * Memory: FIELD_MEMO_SLOTS blocks of at most FIELD_MEMO_MAX_BYTES and their lists. Threads: one, its owner's. Errors:
 * none; without memory it keeps less. */
#ifndef HTTP_FIELD_MEMO_H
#define HTTP_FIELD_MEMO_H

#include "http/headers.h"

struct field_memo;

enum {
    FIELD_MEMO_SLOTS = 256,
    FIELD_MEMO_MAX_BYTES = 2048, /* longer ones (large cookies) are parsed each time */
    FIELD_MEMO_NONE = UINT16_MAX,
};

MUST_CHECK struct field_memo *field_memo_create(void); /* NULL: no memory */
void field_memo_destroy(struct field_memo *memo);      /* accepts NULL */

/* `block` is of a head that parse_request_head passed, and was parsed into `headers`, whose spans lie in it: keeps
 * both, if the block has come before lately. Which slot to ask when the next head of the connection comes, or
 * FIELD_MEMO_NONE. */
uint16_t field_memo_note(struct field_memo *memo, struct span block, const struct headers *headers);

/* How many bytes `data` has in common with the slot's block if that is all of the block; else 0. */
size_t field_memo_match(const struct field_memo *memo, uint16_t slot, struct span data);

/* The list of a block that matched, with spans into `block`, a copy of it. False at the arena's limit. */
MUST_CHECK bool field_memo_headers(const struct field_memo *memo, uint16_t slot, struct span block, struct arena *arena,
                                   struct headers *out_headers);

#endif
