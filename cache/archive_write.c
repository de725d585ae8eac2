/* archive_write.c: writing an export. See archive.h. */
#include "cache/archive.h"
#include "cache/archive_format.h"
#include "cache/little_endian.h"
#include "http/xxh3.h"

enum { SLACK_BYTES = 64 };

static void begin_frame(struct archive_writer *writer, enum archive_kind kind)
{
    const char header[ARCHIVE_FRAME_HEADER_BYTES] = {(char)kind};

    buf_clear(&writer->frame);
    buf_add(&writer->frame, (struct span){header, sizeof(header)});
}

static void add_number(struct archive_writer *writer, unsigned bytes, uint64_t value)
{
    char text[sizeof(value)];

    le_put(text, bytes, value);
    buf_add(&writer->frame, (struct span){text, bytes});
}

static bool end_frame(struct archive_writer *writer)
{
    struct buf *frame = &writer->frame;

    if (!frame->failed) {
        le_put(frame->data + 4, 4, frame->len - ARCHIVE_FRAME_HEADER_BYTES);
        add_number(writer, ARCHIVE_CHECK_BYTES, XXH3_64bits_withSeed(frame->data, frame->len, writer->frames));
    }
    writer->frames++;
    writer->failed = writer->failed || frame->failed || !writer->put(writer->arg, buf_span(frame));
    return !writer->failed;
}

bool archive_begin(struct archive_writer *writer, archive_put_fn put, void *arg, int64_t export_ms)
{
    *writer = (struct archive_writer){.put = put, .arg = arg};
    buf_init(&writer->frame, ARCHIVE_FRAME_MAX_BYTES + SLACK_BYTES);
    buf_add_text(&writer->frame, ARCHIVE_MAGIC);
    add_number(writer, 2, ARCHIVE_VERSION);
    writer->failed = writer->frame.failed || !put(arg, buf_span(&writer->frame));
    begin_frame(writer, ARCHIVE_KIND_HEADER);
    add_number(writer, 8, (uint64_t)export_ms);
    return end_frame(writer);
}

bool archive_write_response(struct archive_writer *writer, const struct archive_response *response)
{
    struct record record = response->record;
    struct buf encoded;

    record.object_id = 0;
    record.body_id = 0;
    record.purge_sequence = 0;
    record.head_override = (struct span){NULL, 0};
    record.slices = (struct span){NULL, 0};
    buf_init(&encoded, RECORD_MAX_HEAD_BYTES);
    record_encode(&record, &encoded);
    begin_frame(writer, ARCHIVE_KIND_RESPONSE);
    add_number(writer, 4, response->key.len);
    add_number(writer, 4, response->selection.len);
    add_number(writer, 4, response->head.len);
    add_number(writer, 4, encoded.len);
    buf_add(&writer->frame, response->key);
    buf_add(&writer->frame, response->selection);
    buf_add(&writer->frame, response->head);
    buf_add(&writer->frame, buf_span(&encoded));
    writer->failed = writer->failed || encoded.failed;
    buf_finish(&encoded);
    writer->body_begun = 0;
    return end_frame(writer);
}

bool archive_write_data(struct archive_writer *writer, struct span bytes)
{
    writer->body_begun += bytes.len;
    while (bytes.len > 0 && !writer->failed) {
        struct span part = span_take(bytes, ARCHIVE_DATA_MAX_BYTES);
        begin_frame(writer, ARCHIVE_KIND_DATA);
        buf_add(&writer->frame, part);
        (void)end_frame(writer); /* the loop sees it */
        bytes = span_skip(bytes, part.len);
    }
    return !writer->failed;
}

bool archive_write_whole(struct archive_writer *writer)
{
    writer->responses++;
    writer->body_bytes += writer->body_begun;
    begin_frame(writer, ARCHIVE_KIND_WHOLE);
    return end_frame(writer);
}

bool archive_write_abandoned(struct archive_writer *writer)
{
    begin_frame(writer, ARCHIVE_KIND_ABANDONED);
    return end_frame(writer);
}

bool archive_end(struct archive_writer *writer)
{
    begin_frame(writer, ARCHIVE_KIND_END);
    add_number(writer, 8, writer->responses);
    add_number(writer, 8, writer->body_bytes);
    return end_frame(writer);
}

void archive_writer_finish(struct archive_writer *writer)
{
    buf_finish(&writer->frame);
}
