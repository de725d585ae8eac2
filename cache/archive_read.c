/* archive_read.c: reading an export, every byte of it as if an enemy had written it. See archive.h.
 *
 * What the store makes itself has one form only: a head is what head_write would write again, a record what
 * record_encode would. So most checks are: would we have written that? */
#include <stdlib.h>
#include <string.h>

#include "cache/archive.h"
#include "cache/archive_format.h"
#include "cache/head.h"
#include "cache/key.h"
#include "cache/little_endian.h"
#include "cache/store.h"
#include "cache/vary.h"
#include "http/directives.h"
#include "http/xxh3.h"

enum {
    ARENA_BYTES = 8 * 1024 * 1024, /* a head as fields */
    HEADER_FRAME_BYTES = 8,
    END_FRAME_BYTES = 16,
};

struct archive_reader {
    archive_get_fn get;
    void *arg;
    uint64_t frames;
    int64_t export_ms;
    uint64_t responses;
    uint64_t body_bytes;
    bool in_response;
    uint64_t body_len; /* of the response being read */
    uint64_t body_read;
    uint8_t wanted_digest[DIGEST_BYTES];
    XXH3_state_t *digest;
    struct arena arena;
    struct buf frame; /* header, bytes, check */
    struct span payload;
    enum archive_kind kind;
};

static enum err read_begin(struct archive_reader *reader);
static enum err read_frame(struct archive_reader *reader);
static enum err read_bytes(struct archive_reader *reader, size_t count);
static bool at_end(struct archive_reader *reader);
static enum err take_response(struct archive_reader *reader, struct archive_response *out_response);
static enum err take_data(struct archive_reader *reader, struct span *out_data);
static enum err take_whole(struct archive_reader *reader);
static enum err take_end(struct archive_reader *reader);

enum err archive_open(archive_get_fn get, void *arg, struct archive_reader **out_reader)
{
    struct archive_reader *reader = calloc(1, sizeof(*reader));

    if (reader == NULL) {
        return ERR_NO_MEMORY;
    }
    reader->get = get;
    reader->arg = arg;
    buf_init(&reader->frame, ARCHIVE_FRAME_MAX_BYTES + ARCHIVE_FRAME_HEADER_BYTES + ARCHIVE_CHECK_BYTES);
    arena_init(&reader->arena, ARENA_BYTES);
    reader->digest = XXH3_createState();
    enum err error = reader->digest == NULL ? ERR_NO_MEMORY : read_begin(reader);
    if (error != ERR_OK) {
        archive_close(reader);
        return error;
    }
    *out_reader = reader;
    return ERR_OK;
}

void archive_close(struct archive_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    XXH3_freeState(reader->digest);
    arena_finish(&reader->arena);
    buf_finish(&reader->frame);
    free(reader);
}

int64_t archive_export_ms(const struct archive_reader *reader)
{
    return reader->export_ms;
}

static enum err read_begin(struct archive_reader *reader)
{
    enum err error = read_bytes(reader, ARCHIVE_BEGIN_BYTES);

    if (error == ERR_TRUNCATED ||
        (error == ERR_OK && memcmp(reader->frame.data, ARCHIVE_MAGIC, ARCHIVE_MAGIC_BYTES) != 0)) {
        return ERR_FOREIGN;
    }
    if (error == ERR_OK && le_get(reader->frame.data + ARCHIVE_MAGIC_BYTES, 2) != ARCHIVE_VERSION) {
        return ERR_FOREIGN;
    }
    if (error == ERR_OK) {
        error = read_frame(reader);
    }
    if (error != ERR_OK) {
        return error;
    }
    if (reader->kind != ARCHIVE_KIND_HEADER || reader->payload.len != HEADER_FRAME_BYTES) {
        return ERR_DAMAGED;
    }
    reader->export_ms = (int64_t)le_get(reader->payload.data, HEADER_FRAME_BYTES);
    return reader->export_ms >= 0 ? ERR_OK : ERR_DAMAGED;
}

enum err archive_next(struct archive_reader *reader, enum archive_event *out_event,
                      struct archive_response *out_response, struct span *out_data)
{
    enum err error = read_frame(reader);

    if (error != ERR_OK) {
        return error;
    }
    /* The letters that may come, within a response and outside one. */
    switch (reader->kind) {
    case ARCHIVE_KIND_RESPONSE:
        *out_event = ARCHIVE_RESPONSE;
        return take_response(reader, out_response);
    case ARCHIVE_KIND_DATA:
        *out_event = ARCHIVE_DATA;
        return take_data(reader, out_data);
    case ARCHIVE_KIND_WHOLE:
        *out_event = ARCHIVE_WHOLE;
        return take_whole(reader);
    case ARCHIVE_KIND_ABANDONED:
        *out_event = ARCHIVE_ABANDONED;
        error = reader->in_response && reader->payload.len == 0 ? ERR_OK : ERR_DAMAGED;
        reader->in_response = false;
        return error;
    case ARCHIVE_KIND_END:
        *out_event = ARCHIVE_END;
        return take_end(reader);
    case ARCHIVE_KIND_HEADER:
        return ERR_DAMAGED;
    }
    return ERR_DAMAGED; /* no letter of ours */
}

/* ---- bytes ---- */

/* Appends `count` bytes to the frame. */
static enum err read_bytes(struct archive_reader *reader, size_t count)
{
    char *to = buf_reserve(&reader->frame, count);

    if (to == NULL) {
        return ERR_NO_MEMORY;
    }
    for (size_t have = 0; have < count;) {
        size_t got = reader->get(reader->arg, to + have, count - have);
        if (got == 0) {
            return ERR_TRUNCATED;
        }
        have += got;
    }
    reader->frame.len += count;
    return ERR_OK;
}

static bool at_end(struct archive_reader *reader)
{
    char byte;

    return reader->get(reader->arg, &byte, 1) == 0;
}

static enum err read_frame(struct archive_reader *reader)
{
    struct buf *frame = &reader->frame;

    buf_clear(frame);
    enum err error = read_bytes(reader, ARCHIVE_FRAME_HEADER_BYTES);
    if (error != ERR_OK) {
        return error;
    }
    uint64_t len = le_get(frame->data + 4, 4);
    if (len > ARCHIVE_FRAME_MAX_BYTES || le_get(frame->data + 1, 3) != 0) {
        return ERR_DAMAGED;
    }
    error = read_bytes(reader, (size_t)len + ARCHIVE_CHECK_BYTES);
    if (error != ERR_OK) {
        return error;
    }
    size_t checked = frame->len - ARCHIVE_CHECK_BYTES;
    if (le_get(frame->data + checked, ARCHIVE_CHECK_BYTES) !=
        XXH3_64bits_withSeed(frame->data, checked, reader->frames)) {
        return ERR_DAMAGED;
    }
    reader->frames++;
    reader->kind = (enum archive_kind)(unsigned char)frame->data[0];
    reader->payload = span_take(span_skip(buf_span(frame), ARCHIVE_FRAME_HEADER_BYTES), (size_t)len);
    return ERR_OK;
}

/* ---- frames ---- */

static bool take(struct span *rest, uint64_t len, struct span *out_part)
{
    if (len > rest->len) {
        return false;
    }
    *out_part = span_take(*rest, (size_t)len);
    *rest = span_skip(*rest, (size_t)len);
    return true;
}

/* What larder would have kept itself: else Transfer-Encoding, say, would be sent as if it were ours. */
static bool head_good(struct archive_reader *reader, struct span head, const struct record *record)
{
    struct headers headers;
    struct buf again;

    arena_reset(&reader->arena);
    if (head.len > RECORD_MAX_HEAD_BYTES || head_read(head, &reader->arena, &headers) != ERR_OK) {
        return false;
    }
    buf_init(&again, head.len + 1);
    head_write(&headers, &again);
    bool same = !again.failed && span_equal(buf_span(&again), head);
    buf_finish(&again);
    return same && (record->status != 304 && record->status != 206);
}

static enum err take_response(struct archive_reader *reader, struct archive_response *out_response)
{
    struct archive_response response;
    struct span rest = span_skip(reader->payload, ARCHIVE_RESPONSE_BYTES);
    const char *lengths = reader->payload.data;
    struct span record;

    if (reader->in_response || reader->payload.len < ARCHIVE_RESPONSE_BYTES ||
        !take(&rest, le_get(lengths, 4), &response.key) || !take(&rest, le_get(lengths + 4, 4), &response.selection) ||
        !take(&rest, le_get(lengths + 8, 4), &response.head) || !take(&rest, le_get(lengths + 12, 4), &record) ||
        rest.len > 0) {
        return ERR_DAMAGED;
    }
    if (record_decode(record, &response.record) != ERR_OK) {
        return ERR_DAMAGED;
    }
    const struct record *known = &response.record;
    if (known->object_id != 0 || known->body_id != 0 || known->purge_sequence != 0 || known->head_override.len > 0 ||
        record_is_partial(known) || known->key_len != response.key.len || known->head_len != response.head.len ||
        known->body_len > STORE_MAX_STREAM_BYTES - known->key_len - known->head_len) {
        return ERR_DAMAGED;
    }
    if (!key_is_of_uri(response.key) || response.selection.len > VARY_MAX_BYTES || !vary_valid(response.selection) ||
        !head_good(reader, response.head, known)) {
        return ERR_DAMAGED;
    }
    reader->in_response = true;
    reader->body_len = known->body_len;
    reader->body_read = 0;
    memcpy(reader->wanted_digest, known->digest, DIGEST_BYTES);
    (void)XXH3_128bits_reset(reader->digest); /* fails only for NULL */
    *out_response = response;
    return ERR_OK;
}

static enum err take_data(struct archive_reader *reader, struct span *out_data)
{
    struct span data = reader->payload;

    if (!reader->in_response || data.len == 0 || data.len > ARCHIVE_DATA_MAX_BYTES ||
        data.len > reader->body_len - reader->body_read) {
        return ERR_DAMAGED;
    }
    reader->body_read += data.len;
    (void)XXH3_128bits_update(reader->digest, data.data, data.len); /* fails only for NULL */
    *out_data = data;
    return ERR_OK;
}

static enum err take_whole(struct archive_reader *reader)
{
    XXH128_canonical_t digest;

    if (!reader->in_response || reader->payload.len > 0 || reader->body_read != reader->body_len) {
        return ERR_DAMAGED;
    }
    XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(reader->digest));
    if (memcmp(digest.digest, reader->wanted_digest, DIGEST_BYTES) != 0) {
        return ERR_DAMAGED;
    }
    reader->in_response = false;
    reader->responses++;
    reader->body_bytes += reader->body_len;
    return ERR_OK;
}

static enum err take_end(struct archive_reader *reader)
{
    const char *at = reader->payload.data;

    if (reader->in_response || reader->payload.len != END_FRAME_BYTES || le_get(at, 8) != reader->responses ||
        le_get(at + 8, 8) != reader->body_bytes || !at_end(reader)) {
        return ERR_DAMAGED;
    }
    return ERR_OK;
}
