/* serialize.h: heads, chunks and trailers going out, in one canonical form.
 *
 * Everything is written to a struct buf; look at buf->failed once at the end. Field values are written as they are:
 * they were validated when parsed. Threads: any. */
#ifndef HTTP_SERIALIZE_H
#define HTTP_SERIALIZE_H

#include "http/buf.h"
#include "http/message.h"

void write_request_line(struct buf *out, struct span method, struct span target); /* "GET /a HTTP/1.1\r\n" */
void write_status_line(struct buf *out, unsigned status);                         /* "HTTP/1.1 200 OK\r\n" */
void write_field(struct buf *out, struct span name, struct span value);           /* "Name: value\r\n" */
void write_fields(struct buf *out, const struct headers *headers);                /* all of them, in order */
size_t fields_bytes(const struct headers *headers);                               /* that these are */
void write_end(struct buf *out);                                                  /* "\r\n" */
void write_date_field(struct buf *out, struct span name, int64_t time_s);         /* "Date: …\r\n" */
void write_chunk_start(struct buf *out, uint64_t bytes);                          /* "1f\r\n", then the bytes, then */
void write_chunk_end(struct buf *out);                                            /* "\r\n" */
void write_last_chunk(struct buf *out, const struct headers *trailers); /* "0\r\n", trailers or NULL, "\r\n" */

#endif
