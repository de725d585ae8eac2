/* fuzz_archive.c: whatever a file claims to be, reading it as an export ends in an error or in responses that the store
 * could have made itself.
 *
 * A random input would never get past the checks, so the input is tried as it is and once more cut into frames, each
 * with the check made right: u8 kind, u16 length, bytes. A record's own checksum is made right, too. */
#include <string.h>
#include <xxhash.h>

#include "cache/archive.h"
#include "cache/archive_format.h"
#include "cache/head.h"
#include "cache/little_endian.h"
#include "cache/store.h"
#include "cache/vary.h"
#include "http/check.h"

enum { MAX_BYTES = 1024 * 1024, ARENA_BYTES = 16 * 1024 * 1024, RECORD_BYTES = 144, CHECKSUM_BYTES = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t on_get(void *arg, char *to, size_t max) /* archive_get_fn */
{
    struct span *rest = arg;
    struct span part = span_take(*rest, max);

    if (part.len > 0) {
        memcpy(to, part.data, part.len);
    }
    *rest = span_skip(*rest, part.len);
    return part.len;
}

static void check_response(const struct archive_response *response, struct arena *arena)
{
    struct headers headers;

    arena_reset(arena);
    REQUIRE(head_read(response->head, arena, &headers) == ERR_OK);
    REQUIRE(!headers_has(&headers, SPAN("Transfer-Encoding")));
    REQUIRE(!headers_has(&headers, SPAN("Content-Length")));
    REQUIRE(vary_valid(response->selection));
    REQUIRE(span_starts_with(response->key, SPAN("GET http")));
    REQUIRE(response->record.key_len == response->key.len);
    REQUIRE(response->record.head_len == response->head.len);
    REQUIRE(response->record.body_len <= STORE_MAX_STREAM_BYTES);
}

static void try(struct span bytes)
{
    struct archive_reader *reader;
    struct archive_response response;
    struct arena arena;
    struct span data;
    enum archive_event event = ARCHIVE_RESPONSE;
    uint64_t body_bytes = 0;
    uint64_t body_len = 0;
    bool open = false;

    if (archive_open(on_get, &bytes, &reader) != ERR_OK) {
        return;
    }
    arena_init(&arena, ARENA_BYTES);
    while (event != ARCHIVE_END && archive_next(reader, &event, &response, &data) == ERR_OK) {
        switch (event) {
        case ARCHIVE_RESPONSE:
            REQUIRE(!open);
            check_response(&response, &arena);
            open = true;
            body_bytes = 0;
            body_len = response.record.body_len;
            break;
        case ARCHIVE_DATA:
            body_bytes += data.len;
            REQUIRE(open && body_bytes <= body_len);
            break;
        case ARCHIVE_WHOLE:
            REQUIRE(open && body_bytes == body_len);
            open = false;
            break;
        case ARCHIVE_ABANDONED:
            REQUIRE(open);
            open = false;
            break;
        case ARCHIVE_END:
            REQUIRE(!open);
            break;
        }
    }
    arena_finish(&arena);
    archive_close(reader);
}

/* A record at the end of a response's frame: version, length and checksum as they should be. */
static void mend_record(char *payload, size_t len)
{
    if (len < ARCHIVE_RESPONSE_BYTES + RECORD_BYTES) {
        return;
    }
    char *record = payload + len - RECORD_BYTES;
    le_put(record, 2, 2);
    le_put(record + 4, 4, RECORD_BYTES);
    le_put(record + 128, 8, 0);
    le_put(record + RECORD_BYTES - CHECKSUM_BYTES, CHECKSUM_BYTES, XXH3_64bits(record, RECORD_BYTES - CHECKSUM_BYTES));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = {(const char *)data, size};
    struct buf file;

    try(input);
    buf_init(&file, MAX_BYTES);
    buf_add_text(&file, ARCHIVE_MAGIC);
    buf_add(&file, (struct span){"\1\0", 2});
    for (uint64_t frame = 0; input.len >= 3 && !file.failed; frame++) {
        char header[ARCHIVE_FRAME_HEADER_BYTES] = {input.data[0]};
        char check[ARCHIVE_CHECK_BYTES];
        size_t start = file.len;
        struct span payload = span_take(span_skip(input, 3), (size_t)le_get(input.data + 1, 2));

        le_put(header + 4, 4, payload.len);
        buf_add(&file, (struct span){header, sizeof(header)});
        buf_add(&file, payload);
        if (file.failed) {
            break;
        }
        if (header[0] == ARCHIVE_KIND_RESPONSE) {
            mend_record(file.data + start + sizeof(header), payload.len);
        }
        le_put(check, sizeof(check), XXH3_64bits_withSeed(file.data + start, file.len - start, frame));
        buf_add(&file, (struct span){check, sizeof(check)});
        input = span_skip(input, 3 + payload.len);
    }
    try(buf_span(&file));
    buf_finish(&file);
    return 0;
}
