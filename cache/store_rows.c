/* store_rows.c: the bytes of the rows.
 *
 * Numbers are in the machine's order: INTEGERKEY makes the file the machine's own anyway. Nothing in a row is aligned,
 * so everything goes through memcpy. Every row ends in, or begins with, a check seeded with what it belongs to: a row
 * that is found under another key fails it as a damaged one does. */
#include <string.h>

#include "cache/store_internal.h"
#include "http/xxh3.h"

uint64_t piece_key(uint64_t body_id, uint64_t number)
{
    return body_id << PIECE_NUMBER_BITS | number;
}

bool body_id_valid(uint64_t body_id)
{
    return body_id != 0 && body_id >> (64 - PIECE_NUMBER_BITS) == 0;
}

void index_key_write(struct key_hash hash, char out_key[INDEX_KEY_BYTES])
{
    memcpy(out_key, &hash.high, sizeof(hash.high));
    memcpy(out_key + sizeof(hash.high), &hash.low, sizeof(hash.low));
}

uint64_t check_of(struct span bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.len, seed);
}

bool check_strip(struct span value, uint64_t seed, struct span *out_bytes)
{
    uint64_t check;

    if (value.len < CHECK_BYTES) {
        return false;
    }
    struct span bytes = span_take(value, value.len - CHECK_BYTES);
    memcpy(&check, value.data + bytes.len, CHECK_BYTES);
    if (check != check_of(bytes, seed)) {
        return false;
    }
    *out_bytes = bytes;
    return true;
}

bool variant_next(struct span *rest, struct variant *out_variant)
{
    uint64_t object_id;
    uint16_t len;

    if (rest->len < VARIANT_HEADER_BYTES) {
        return false;
    }
    memcpy(&object_id, rest->data, sizeof(object_id));
    memcpy(&len, rest->data + sizeof(object_id), sizeof(len));
    if (rest->len - VARIANT_HEADER_BYTES < len) {
        return false;
    }
    *out_variant = (struct variant){
        .object_id = object_id,
        .selection = span_take(span_skip(*rest, VARIANT_HEADER_BYTES), len),
    };
    *rest = span_skip(*rest, VARIANT_HEADER_BYTES + (size_t)len);
    return true;
}

bool index_row_check(struct span value, struct key_hash hash, struct span *out_variants)
{
    struct span variants;
    struct variant variant;

    if (value.len > INDEX_ROW_MAX_BYTES + CHECK_BYTES || !check_strip(value, hash.high ^ hash.low, &variants)) {
        return false;
    }
    struct span rest = variants;
    while (rest.len > 0) {
        if (!variant_next(&rest, &variant)) {
            return false;
        }
    }
    *out_variants = variants;
    return true;
}

bool index_row_add(struct index_row *row, struct variant variant)
{
    uint16_t len = (uint16_t)variant.selection.len;

    if (variant.selection.len > UINT16_MAX ||
        VARIANT_HEADER_BYTES + variant.selection.len > INDEX_ROW_MAX_BYTES - row->len) {
        return false;
    }
    char *at = row->bytes + row->len;
    memcpy(at, &variant.object_id, sizeof(variant.object_id));
    memcpy(at + sizeof(variant.object_id), &len, sizeof(len));
    if (len > 0) {
        memcpy(at + VARIANT_HEADER_BYTES, variant.selection.data, len);
    }
    row->len += VARIANT_HEADER_BYTES + variant.selection.len;
    return true;
}

struct span index_row_seal(struct index_row *row, struct key_hash hash)
{
    uint64_t check = check_of((struct span){row->bytes, row->len}, hash.high ^ hash.low);

    memcpy(row->bytes + row->len, &check, CHECK_BYTES);
    return (struct span){row->bytes, row->len + CHECK_BYTES};
}

bool object_row_read(struct span value, uint64_t object_id, struct object_row *out_row)
{
    struct span prefix;
    struct object_row row;

    if (!check_strip(span_take(value, OBJECT_PREFIX_BYTES + CHECK_BYTES), object_id, &prefix) ||
        prefix.len != OBJECT_PREFIX_BYTES) {
        return false;
    }
    memcpy(&row.hash.high, prefix.data, sizeof(row.hash.high));
    memcpy(&row.hash.low, prefix.data + 8, sizeof(row.hash.low));
    memcpy(&row.body_id, prefix.data + 16, sizeof(row.body_id));
    row.record = span_skip(value, OBJECT_PREFIX_BYTES + CHECK_BYTES);
    if (!body_id_valid(row.body_id)) {
        return false;
    }
    *out_row = row;
    return true;
}

void object_row_write(struct buf *out, uint64_t object_id, struct key_hash hash, uint64_t body_id,
                      const struct record *record)
{
    char prefix[OBJECT_PREFIX_BYTES + CHECK_BYTES];

    memcpy(prefix, &hash.high, sizeof(hash.high));
    memcpy(prefix + 8, &hash.low, sizeof(hash.low));
    memcpy(prefix + 16, &body_id, sizeof(body_id));
    uint64_t check = check_of((struct span){prefix, OBJECT_PREFIX_BYTES}, object_id);
    memcpy(prefix + OBJECT_PREFIX_BYTES, &check, CHECK_BYTES);
    buf_add(out, (struct span){prefix, sizeof(prefix)});
    record_encode(record, out);
}

struct span span_of_value(MDB_val value)
{
    return (struct span){value.mv_data, value.mv_size};
}

struct span span_of_number(const uint64_t *number)
{
    return (struct span){(const char *)number, sizeof(*number)};
}

int number_of_key(MDB_val key, uint64_t *out_number)
{
    if (key.mv_size != sizeof(*out_number)) {
        return MDB_CORRUPTED;
    }
    memcpy(out_number, key.mv_data, sizeof(*out_number));
    return 0;
}
