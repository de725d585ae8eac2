/* fuzz_record.c: whatever lies on the disk, decoding a record ends in yes or no, and what it says yes to is harmless.
 *
 * A random input would never get past the checksum, so the input is tried as it is and once more with lengths and
 * checksum made right, the bytes behind the fixed ones being a head, or slices, or both. What decodes must encode to
 * the same bytes (there is one encoding only), and arithmetic on it must not overflow (build with UBSan). */
#include <string.h>
#include <xxhash.h>

#include "cache/policy.h"
#include "cache/record.h"
#include "http/check.h"

enum { MIN_BYTES = 144, MAX_BYTES = 4096, CHECKSUM_BYTES = 8, VERSION = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every byte is in one slice or in one gap. */
static void try_slices(const struct record *record)
{
    struct slices slices;
    struct byte_range gap;
    uint64_t bytes = 0;

    REQUIRE(slices_read(record->slices, record->body_len, &slices));
    for (uint64_t at = 0; slices_gap(&slices, at, record->body_len, &gap); at = gap.last + 1) {
        REQUIRE(gap.first >= at);
        REQUIRE(gap.last < record->body_len);
        REQUIRE(slices_at(&slices, gap.first) == NULL);
        bytes += gap.last - gap.first + 1;
    }
    for (size_t i = 0; i < slices.count; i++) {
        bytes += slices.items[i].end - slices.items[i].first;
    }
    REQUIRE(bytes == record->body_len);
}

static void try(struct span bytes)
{
    static const struct lifetime_override no_override = {
        .ttl_s = -1, .default_ttl_s = -1, .max_heuristic_s = INT64_MAX};
    static const int64_t moments_ms[] = {0, INT64_C(1700000000000), INT64_C(253402300799999)};
    struct record record;
    struct buf again;

    if (record_decode(bytes, &record) != ERR_OK) {
        return;
    }
    buf_init(&again, bytes.len);
    record_encode(&record, &again);
    REQUIRE(!again.failed);
    REQUIRE(span_equal(buf_span(&again), bytes));
    buf_finish(&again);
    if (record_is_partial(&record)) {
        try_slices(&record);
    }
    for (size_t i = 0; i < ARRAY_LEN(moments_ms); i++) {
        struct freshness freshness = freshness_at(&record.inputs, &no_override, moments_ms[i]);
        REQUIRE(freshness.age_s >= 0);
        REQUIRE(freshness.lifetime_s >= 0);

        struct http_request request = {.method = METHOD_GET};
        struct policy policy = {
            .ttl_s = -1, .default_ttl_s = -1, .max_heuristic_s = INT64_MAX, .max_stale_s = INT64_MAX};
        enum reason reason;
        const char *rule;
        struct reuse_verdict verdict = policy_may_reuse(&request, &record, &policy, moments_ms[i]);
        REQUIRE(reason_token(verdict.reason) != NULL);
        (void)policy_may_serve_stale(&request, &record, &policy, FAILURE_TIMEOUT, moments_ms[i], &reason, &rule);
        REQUIRE(reason_token(reason) != NULL);
    }
}

static void put(char *at, size_t bytes, uint64_t value)
{
    for (size_t i = 0; i < bytes; i++) {
        at[i] = (char)(unsigned char)(value >> (8 * i) & 0xff);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char bytes[MAX_BYTES];

    try((struct span){(const char *)data, size});
    if (size < MIN_BYTES || size > MAX_BYTES) {
        return 0;
    }
    size_t rest = size - MIN_BYTES;
    size_t wanted = data[132] % (SLICES_MAX + 1) * SLICE_BYTES;
    size_t slices = wanted < rest ? wanted : rest / SLICE_BYTES * SLICE_BYTES;
    memcpy(bytes, data, size);
    put(bytes, 2, VERSION);
    put(bytes + 4, 4, size);
    put(bytes + 128, 4, rest - slices);
    put(bytes + 132, 4, slices);
    put(bytes + size - CHECKSUM_BYTES, CHECKSUM_BYTES, XXH3_64bits(bytes, size - CHECKSUM_BYTES));
    try((struct span){bytes, size});
    return 0;
}
