/* record.c: the encoded record.
 *
 * Little-endian, every field at a fixed place:
 *
 *     0  u16 version            2  u16 status           4  u32 length of the whole record
 *     8  u64 object_id         16  u64 body_id
 *    24  u64 body_len          32  u64 purge_sequence
 *    40  u8  digest[16]
 *    56  i64 request_ms        64  i64 response_ms
 *    72  i64 date_s            80  i64 expires_s       88  i64 last_modified_s
 *    96  u32 age_s            100  u32 flags
 *   104  u32 max-age          108  u32 s-maxage       112  u32 stale-while-revalidate   116  u32 stale-if-error
 *   120  u32 key_len          124  u32 head_len       128  u32 bytes of the override    132  u32 bytes of the slices
 *   136  the head override, then the slices (slices.h)
 *   136+n u64 XXH3-64 of all bytes before it
 *
 * flags: one bit for each entry of `flags` below, in its order; from bit 16 on two bits for the state of each of the
 * four directives with a number; bit 24 for what came by HTTP/1.0; the rest zero.
 *
 * There is exactly one encoding of a record: what means nothing (the number of an absent directive, the time of an
 * absent Expires) is written as zero, and decoding refuses anything else. Times outside the years 0 to 9999 are refused
 * too, so that arithmetic on a decoded record cannot overflow. */
#include "cache/record.h"

#include <string.h>

#include "cache/little_endian.h"
#include "http/xxh3.h"

enum {
    RECORD_VERSION = 2,
    AT_OVERRIDE = 136,
    CHECKSUM_BYTES = 8,
    FIXED_BYTES = AT_OVERRIDE + CHECKSUM_BYTES,
    STATE_SHIFT = 16,
    STATE_BITS = 2,
    STATE_MASK = 3,
    HTTP_1_0_SHIFT = 24,
};

_Static_assert(FIXED_BYTES <= 200, "a record without an override must stay small: STORE.md, lesson 8");

static const int64_t oldest_s = INT64_C(-62167219200); /* the first second of year 0 */
static const int64_t newest_s = INT64_C(253402300799); /* the last second of year 9999 */

/* Bit n of the flags, as a place in struct record. */
static const size_t flags[] = {
    offsetof(struct record, inputs.has_expires),
    offsetof(struct record, inputs.expires_invalid),
    offsetof(struct record, inputs.has_last_modified),
    offsetof(struct record, inputs.has_etag),
    offsetof(struct record, qualified_no_cache),
    offsetof(struct record, qualified_private),
    offsetof(struct record, inputs.directives.present),
    offsetof(struct record, inputs.directives.no_store),
    offsetof(struct record, inputs.directives.no_cache),
    offsetof(struct record, inputs.directives.is_private),
    offsetof(struct record, inputs.directives.is_public),
    offsetof(struct record, inputs.directives.must_revalidate),
    offsetof(struct record, inputs.directives.proxy_revalidate),
    offsetof(struct record, inputs.directives.no_transform),
    offsetof(struct record, inputs.directives.must_understand),
    offsetof(struct record, inputs.directives.immutable),
};

_Static_assert(ARRAY_LEN(flags) <= STATE_SHIFT, "the flags reach into the states");

/* The directives with a number, as places in struct record. */
static const size_t deltas[] = {
    offsetof(struct record, inputs.directives.max_age),
    offsetof(struct record, inputs.directives.s_maxage),
    offsetof(struct record, inputs.directives.stale_while_revalidate),
    offsetof(struct record, inputs.directives.stale_if_error),
};

_Static_assert(STATE_SHIFT + STATE_BITS * ARRAY_LEN(deltas) <= HTTP_1_0_SHIFT, "the states reach into the last flag");

enum { AT_DELTAS = 104, DELTA_BYTES = 4 };

static uint32_t flags_of(const struct record *record);
static void encode_fixed(const struct record *record, char *at);
static bool decode_frame(struct span bytes);
static bool decode_flags(const char *at, struct record *record);
static bool decode_times(const char *at, struct freshness_inputs *inputs);
static bool decode_numbers(struct span bytes, struct record *record);

void record_encode(const struct record *record, struct buf *out)
{
    size_t override_len = record->head_override.len;
    size_t slices_len = record->slices.len;
    size_t total = FIXED_BYTES + override_len + slices_len;

    if (override_len > RECORD_MAX_HEAD_BYTES || slices_len > SLICES_MAX * SLICE_BYTES) {
        out->failed = true;
        return;
    }
    char *at = buf_reserve(out, total);
    if (at == NULL) {
        out->failed = true;
        return;
    }
    encode_fixed(record, at);
    if (override_len > 0) {
        memcpy(at + AT_OVERRIDE, record->head_override.data, override_len);
    }
    if (slices_len > 0) {
        memcpy(at + AT_OVERRIDE + override_len, record->slices.data, slices_len);
    }
    le_put(at + total - CHECKSUM_BYTES, CHECKSUM_BYTES, XXH3_64bits(at, total - CHECKSUM_BYTES));
    out->len += total;
}

static void encode_fixed(const struct record *record, char *at)
{
    const struct freshness_inputs *inputs = &record->inputs;
    bool expires_known = inputs->has_expires && !inputs->expires_invalid;

    le_put(at + 0, 2, RECORD_VERSION);
    le_put(at + 2, 2, record->status);
    le_put(at + 4, 4, FIXED_BYTES + record->head_override.len + record->slices.len);
    le_put(at + 8, 8, record->object_id);
    le_put(at + 16, 8, record->body_id);
    le_put(at + 24, 8, record->body_len);
    le_put(at + 32, 8, record->purge_sequence);
    memcpy(at + 40, record->digest, DIGEST_BYTES);
    le_put(at + 56, 8, (uint64_t)inputs->request_ms);
    le_put(at + 64, 8, (uint64_t)inputs->response_ms);
    le_put(at + 72, 8, (uint64_t)inputs->date_s);
    le_put(at + 80, 8, expires_known ? (uint64_t)inputs->expires_s : 0);
    le_put(at + 88, 8, inputs->has_last_modified ? (uint64_t)inputs->last_modified_s : 0);
    le_put(at + 96, 4, (uint64_t)inputs->age_s);
    le_put(at + 100, 4, flags_of(record));
    for (size_t i = 0; i < ARRAY_LEN(deltas); i++) {
        const struct delta *delta = (const void *)((const char *)record + deltas[i]);
        le_put(at + AT_DELTAS + i * DELTA_BYTES, DELTA_BYTES,
               delta->state == DIRECTIVE_VALID ? (uint64_t)delta->seconds : 0);
    }
    le_put(at + 120, 4, record->key_len);
    le_put(at + 124, 4, record->head_len);
    le_put(at + 128, 4, record->head_override.len);
    le_put(at + 132, 4, record->slices.len);
}

static uint32_t flags_of(const struct record *record)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        const bool *flag = (const void *)((const char *)record + flags[i]);
        bits |= (uint32_t)*flag << i;
    }
    for (size_t i = 0; i < ARRAY_LEN(deltas); i++) {
        const struct delta *delta = (const void *)((const char *)record + deltas[i]);
        bits |= (uint32_t)delta->state << (STATE_SHIFT + STATE_BITS * i);
    }
    return bits | (uint32_t)record->http_1_0 << HTTP_1_0_SHIFT;
}

enum err record_decode(struct span bytes, struct record *out_record)
{
    struct record record = {0};

    if (!decode_frame(bytes) || !decode_flags(bytes.data, &record) || !decode_times(bytes.data, &record.inputs) ||
        !decode_numbers(bytes, &record)) {
        return ERR_DAMAGED;
    }
    *out_record = record;
    return ERR_OK;
}

/* Version, length and checksum; the lengths first, so that nothing is read outside. */
static bool decode_frame(struct span bytes)
{
    if (bytes.len < FIXED_BYTES || bytes.len > FIXED_BYTES + RECORD_MAX_HEAD_BYTES + SLICES_MAX * SLICE_BYTES) {
        return false;
    }
    const char *at = bytes.data;
    size_t hashed = bytes.len - CHECKSUM_BYTES;

    return le_get(at, 2) == RECORD_VERSION && le_get(at + 4, 4) == bytes.len &&
           le_get(at + 128, 4) <= RECORD_MAX_HEAD_BYTES &&
           le_get(at + 132, 4) == bytes.len - FIXED_BYTES - le_get(at + 128, 4) &&
           le_get(at + hashed, CHECKSUM_BYTES) == XXH3_64bits(at, hashed);
}

static bool decode_flags(const char *at, struct record *record)
{
    uint32_t bits = (uint32_t)le_get(at + 100, 4);

    if (bits >> (HTTP_1_0_SHIFT + 1) != 0) {
        return false;
    }
    record->http_1_0 = (bits >> HTTP_1_0_SHIFT & 1) != 0;
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        bool *flag = (void *)((char *)record + flags[i]);
        *flag = (bits >> i & 1) != 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(deltas); i++) {
        struct delta *delta = (void *)((char *)record + deltas[i]);
        uint32_t state = bits >> (STATE_SHIFT + STATE_BITS * i) & STATE_MASK;
        uint64_t seconds = le_get(at + AT_DELTAS + i * DELTA_BYTES, DELTA_BYTES);
        if (state > DIRECTIVE_INVALID || seconds > INT32_MAX || (state != DIRECTIVE_VALID && seconds != 0)) {
            return false;
        }
        *delta = (struct delta){.state = (enum directive_state)state, .seconds = (int32_t)seconds};
    }
    return true;
}

static bool in_years(int64_t time_s)
{
    return time_s >= oldest_s && time_s <= newest_s;
}

/* `inputs` has its flags already. */
static bool decode_times(const char *at, struct freshness_inputs *inputs)
{
    inputs->request_ms = (int64_t)le_get(at + 56, 8);
    inputs->response_ms = (int64_t)le_get(at + 64, 8);
    inputs->date_s = (int64_t)le_get(at + 72, 8);
    inputs->expires_s = (int64_t)le_get(at + 80, 8);
    inputs->last_modified_s = (int64_t)le_get(at + 88, 8);
    inputs->age_s = (int64_t)le_get(at + 96, 4);

    bool expires_known = inputs->has_expires && !inputs->expires_invalid;
    if (inputs->expires_invalid && !inputs->has_expires) {
        return false;
    }
    if ((!expires_known && inputs->expires_s != 0) || (!inputs->has_last_modified && inputs->last_modified_s != 0)) {
        return false;
    }
    return in_years(inputs->request_ms / 1000) && in_years(inputs->response_ms / 1000) && in_years(inputs->date_s) &&
           in_years(inputs->expires_s) && in_years(inputs->last_modified_s) && inputs->age_s <= INT32_MAX;
}

static bool decode_numbers(struct span bytes, struct record *record)
{
    const char *at = bytes.data;
    size_t override_len = le_get(at + 128, 4);
    size_t slices_len = le_get(at + 132, 4);
    struct slices slices;

    record->status = (unsigned)le_get(at + 2, 2);
    record->inputs.status = record->status;
    record->object_id = le_get(at + 8, 8);
    record->body_id = le_get(at + 16, 8);
    record->body_len = le_get(at + 24, 8);
    record->purge_sequence = le_get(at + 32, 8);
    memcpy(record->digest, at + 40, DIGEST_BYTES);
    record->key_len = (uint32_t)le_get(at + 120, 4);
    record->head_len = (uint32_t)le_get(at + 124, 4);
    if (override_len > 0) {
        record->head_override = (struct span){at + AT_OVERRIDE, override_len};
    }
    if (slices_len > 0) {
        record->slices = (struct span){at + AT_OVERRIDE + override_len, slices_len};
        if (!slices_read(record->slices, record->body_len, &slices)) {
            return false;
        }
    }
    return record->status >= 200 && record->status <= 599 && record->body_len <= INT64_MAX;
}

bool record_may_combine(const struct record *a, const struct record *b)
{
    return a->body_len == b->body_len && record_has_strong_validator(a) &&
           memcmp(a->digest, b->digest, DIGEST_BYTES) == 0;
}

void record_set_validator(struct record *record, struct span validator)
{
    XXH128_canonical_t hash = {{0}};

    if (validator.len > 0) {
        XXH128_canonicalFromHash(&hash, XXH3_128bits(validator.data, validator.len));
    }
    memcpy(record->digest, hash.digest, DIGEST_BYTES);
}

bool record_has_strong_validator(const struct record *record)
{
    static const uint8_t none[DIGEST_BYTES];

    return memcmp(record->digest, none, DIGEST_BYTES) != 0;
}
