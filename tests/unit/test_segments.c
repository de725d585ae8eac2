/* test_segments.c: whole segments are kept for the next body, not too many, and given back in the end. (What is read of
 * them: test_flight.c.) */
#include "cache/segments.h"

#include <criterion/criterion.h>
#include <string.h>

static struct stream_memory memory;
static struct segments segments;
static char body[SEGMENT_BYTES];

static void setup(void)
{
    stream_memory_init(&memory, SIZE_MAX);
    segments = (struct segments){.memory = &memory};
}

static void finish(void)
{
    segments_finish(&segments);
    cr_expect_eq(atomic_load(&memory.bytes), 0);
    stream_memory_finish(&memory);
}

static void append(size_t bytes, char byte)
{
    memset(body, byte, bytes);
    cr_assert_eq(segments_append(&segments, (struct span){body, bytes}, UINT64_MAX), ERR_OK);
}

TestSuite(segments, .init = setup, .fini = finish);

Test(segments, a_whole_one_is_used_again)
{
    struct segment *reader;

    append(SEGMENT_BYTES, 'a');
    append(SEGMENT_BYTES, 'b');
    struct span run = segments_read(&segments, 0, &reader);
    segments_release(&segments, 2 * SEGMENT_BYTES, false);
    cr_expect_eq(memory.spare_count, 1, "the other is being read");
    append(SEGMENT_BYTES, 'c');
    cr_expect_eq(memory.spare_count, 0);
    cr_expect_eq(atomic_load(&memory.bytes), 2 * SEGMENT_BYTES);
    cr_expect_eq(run.data[0], 'a');
    segment_unref(reader);
    cr_expect_eq(memory.spare_count, 1);
    cr_expect_eq(segments_read(&segments, 2 * SEGMENT_BYTES, &reader).data[SEGMENT_BYTES - 1], 'c');
    segment_unref(reader);
}

Test(segments, a_short_one_is_not_kept)
{
    append(1, 'a');
    segments_release(&segments, 1, false);
    cr_expect_eq(memory.spare_count, 0);
}

Test(segments, no_more_are_kept_than_that)
{
    for (size_t i = 0; i < SPARE_SEGMENTS + 2; i++) {
        append(SEGMENT_BYTES, 'a');
    }
    segments_release(&segments, UINT64_MAX, false);
    cr_expect_eq(memory.spare_count, SPARE_SEGMENTS);
    stream_memory_trim(&memory);
    cr_expect_eq(memory.spare_count, 0);
    append(SEGMENT_BYTES, 'b');
}
