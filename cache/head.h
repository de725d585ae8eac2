/* head.h: the head of a stored response: which fields are kept, how they are written, read back, and freshened by a
 * 304.
 *
 * Stored form: field lines "Name: value\r\n" in the order received, nothing else; the status is in the record. Threads:
 * any. */
#ifndef CACHE_HEAD_H
#define CACHE_HEAD_H

#include "http/buf.h"
#include "http/error.h"
#include "http/message.h"

/* Writes the fields that are stored: hop-by-hop fields are gone already (forward_remove_hop_by_hop); Age (kept as a
 * number), Content-Length and Transfer-Encoding (framing is rebuilt), Cache-Status (it speaks of another exchange),
 * Proxy-Authenticate and its kin (RFC 9111 §3.1) and the fields named by private="…" (§5.2.2.7) are left out. */
void head_write(const struct headers *headers, struct buf *out);

/* The same, and what it wrote as a list, too: its spans lie in what was written, which must not move any more. What it
 * leaves out because of private="…" goes to `out_private`, unless that is NULL: it is for the one who asked. False at
 * the limit of `arena` or `out`. */
MUST_CHECK bool head_write_listed(const struct headers *headers, struct buf *out, struct buf *out_private,
                                  struct arena *arena, struct headers *out_written);

/* Writes the stored lines that a 304 carries, too (RFC 9110 §15.4.5), as they are sent. */
void head_write_not_modified(const struct headers *stored, struct buf *out);

/* Writes the lines of `fields`, those of a 304, that no-cache="…" or private="…" of `control` name: they are for the
 * one whose request was validated (RFC 9111 §5.2.2.4, §5.2.2.7). `control` is the head that the 304 made. */
void head_write_qualified(const struct headers *control, const struct headers *fields, struct buf *out);

/* Is a field of that name one in which no-cache="…" and private="…" are looked for: Cache-Control, or called like it
 * (RFC 9213 §2.4)? */
bool head_names_control(struct span name);

/* Reads a stored head; spans borrow from `bytes`. ERR_DAMAGED, ERR_ARENA_FULL. */
MUST_CHECK enum err head_read(struct span bytes, struct arena *arena, struct headers *out_headers);

/* The stored head after a 304 (RFC 9111 §3.2, §4.3.4): each field that the 304 has replaces all lines of that name,
 * except Content-Range and what head_write leaves out; fields it omits stay. New lines stand behind those that stayed.
 * False at the arena's limit. */
MUST_CHECK bool head_freshen(const struct headers *stored, const struct headers *not_modified, struct arena *arena,
                             struct headers *out_headers);

/* Does the 304 speak of this stored response (RFC 9111 §4.3.4)? A strong ETag in it must equal the stored one strongly;
 * a weak one weakly. Without an ETag, Last-Modified must be the stored one, the same bytes. Without any validator it
 * does, because the stored response was the only one asked about. */
bool head_not_modified_selects(const struct headers *stored, const struct headers *not_modified);

/* Adds the lines of `other` by which a purge could name it (tags, Cache-Groups) that `headers` does not have: both are
 * of parts of one response, and what names a part names the whole. False: more than may be kept, or the arena's limit.
 */
MUST_CHECK bool head_unite_names(struct headers *headers, const struct headers *other);

/* The same of stored heads. `*out_head` is `head` where nothing is missing in it, else lies in the arena. */
MUST_CHECK bool head_unite_stored_names(struct span head, struct span other, struct arena *arena,
                                        struct span *out_head);

/* Drops from a response that is reused without validation the fields named by no-cache="…" and private="…" (RFC 9111
 * §5.2.2.4, §5.2.2.7). Needs no memory: it cannot fail. Call it where record.qualified_no_cache or qualified_private is
 * set. */
void head_drop_qualified(struct headers *headers);

#endif
