/* model_parts_read.c: see model_parts_read.h. */
#include "tests/unit/model_parts_read.h"

static size_t on_runs(void *arg, const struct span *runs, size_t count) /* store_read_fn */
{
    uint8_t *byte = arg;

    if (count == 0 || runs[0].len == 0) {
        return 0;
    }
    *byte = (uint8_t)runs[0].data[0];
    return 1;
}

static bool read_store(struct cache_reader *reader, uint64_t body_id, uint64_t offset, uint8_t *out_byte)
{
    size_t used;

    return store_read(cache_reader_store(reader), body_id, offset, 1, on_runs, out_byte, &used) == ERR_OK && used == 1;
}

bool parts_read_flight(struct cache_reader *reader, struct flight *flight, uint64_t offset, uint8_t *out_byte)
{
    struct segment *segment;
    struct span bytes;

    switch (flight_read(flight, offset, &segment, &bytes)) {
    case FLIGHT_READ_DATA:
        *out_byte = (uint8_t)bytes.data[0];
        segment_unref(segment);
        return true;
    case FLIGHT_READ_IN_STORE:
        return read_store(reader, flight_head(flight)->record.body_id, offset, out_byte);
    case FLIGHT_READ_WAIT:
    case FLIGHT_READ_END:
    case FLIGHT_READ_FAILED:
    case FLIGHT_READ_SHED:
        return false;
    }
    UNREACHABLE();
}

bool parts_read_stored(struct cache_reader *reader, const struct cached *cached, uint64_t at, uint8_t *out_byte)
{
    const struct stored *stored = &cached->stored;
    struct stored_run run = {.flight = cached->flight,
                             .body_id = stored->record.body_id,
                             .offset = (uint64_t)stored->record.key_len + stored->record.head_len + at};

    if (cached->partial != NULL) {
        if (!partial_run(cached->partial, at, &run)) {
            return false;
        }
    } else if (at < stored->body_start.len) {
        *out_byte = (uint8_t)stored->body_start.data[at];
        return true;
    } else if (cached->flight != NULL) {
        run.offset = flight_body_offset(cached->flight) + at;
    }
    return run.flight != NULL ? parts_read_flight(reader, run.flight, run.offset, out_byte)
                              : read_store(reader, run.body_id, run.offset, out_byte);
}
