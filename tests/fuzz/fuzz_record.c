/* fuzz_record.c: whatever lies on the disk, decoding a record ends in yes or no, and what it says yes to is harmless.
 *
 * A random input would never get past the checksum, so the input is tried as it is and once more with length and
 * checksum made right. What decodes must encode to the same bytes (there is one encoding only), and arithmetic on it
 * must not overflow (build with UBSan). */
#include <string.h>
#include <xxhash.h>

#include "cache/policy.h"
#include "cache/record.h"
#include "http/check.h"

enum { MIN_BYTES = 144, MAX_BYTES = 4096, CHECKSUM_BYTES = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try(struct span bytes)
{
    static const struct lifetime_override no_override = {.ttl_s = -1, .default_ttl_s = -1};
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
    for (size_t i = 0; i < ARRAY_LEN(moments_ms); i++) {
        struct freshness freshness = freshness_at(&record.inputs, &no_override, moments_ms[i]);
        REQUIRE(freshness.age_s >= 0);
        REQUIRE(freshness.lifetime_s >= 0);

        struct http_request request = {.method = METHOD_GET};
        struct policy policy = {.ttl_s = -1, .default_ttl_s = -1, .max_stale_s = INT64_MAX};
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
    memcpy(bytes, data, size);
    put(bytes, 2, 1);
    put(bytes + 4, 4, size);
    put(bytes + 128, 4, size - MIN_BYTES);
    put(bytes + 132, 4, 0);
    put(bytes + size - CHECKSUM_BYTES, CHECKSUM_BYTES, XXH3_64bits(bytes, size - CHECKSUM_BYTES));
    try((struct span){bytes, size});
    return 0;
}
