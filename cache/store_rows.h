/* store_rows.h: the bytes of the rows (store_rows.c), and how they are told from damaged ones. See store.h for the
 * tables. Values: no transaction, no store. Threads: any. */
#ifndef CACHE_STORE_ROWS_H
#define CACHE_STORE_ROWS_H

#include <lmdb.h>

#include "cache/store.h"
#include "http/buf.h"

enum {
    CHECK_BYTES = 8,                                     /* XXH3-64 behind a piece and behind a row */
    PIECE_VALUE_BYTES = STORE_PIECE_BYTES + CHECK_BYTES, /* exactly one page with LMDB's 16-byte header */
    PIECE_NUMBER_BITS = 64 - BODY_ID_BITS,               /* of a key in `chunks` */
    INDEX_KEY_BYTES = 16,
    INDEX_ROW_MAX_BYTES = STORE_PIECE_BYTES, /* without its check: a row never takes two pages */
    VARIANT_HEADER_BYTES = 10,
    OBJECT_PREFIX_BYTES = 24, /* key hash, body id; then its check, then the record */
};

/* A row of `index`: for each variant u64 object id, u16 length, encoded selection; newest first; then the check. */
struct index_row {
    size_t len; /* without the check */
    char bytes[INDEX_ROW_MAX_BYTES + CHECK_BYTES];
};

struct variant {
    uint64_t object_id;
    struct span selection;
};

/* A row of `objects`: the key's hash and the body's id with a check of their own (so that an object whose record is
 * damaged can still be unlinked and its body deleted), then the record. */
struct object_row {
    struct key_hash hash;
    uint64_t body_id;
    struct span record; /* encoded; borrows */
};

/* The row `state` of `meta`, written with every batch. */
struct state_row {
    uint64_t next_object_id;
    uint64_t next_body_id;
    uint64_t hand;      /* SIEVE's: the object id to look at next */
    uint64_t body_hand; /* the same for the body file: a body id */
    uint64_t sequence;  /* grows with every batch */
};

/* The row `identity` of `meta`, written once. */
struct identity_row {
    uint64_t format;
    uint64_t piece_bytes;
    uint64_t secret;
};

/* Why a body is in `pending`: the row's value, of one byte. */
enum pending_kind {
    PENDING_UNFINISHED = 1, /* being written */
    PENDING_RECLAIM = 2,    /* unlinked; pieces to delete */
};

uint64_t piece_key(uint64_t body_id, uint64_t number);
bool body_id_valid(uint64_t body_id); /* as it can stand in a piece's key */
void index_key_write(struct key_hash hash, char out_key[INDEX_KEY_BYTES]);

/* The check of `bytes` as a piece or row that lies under `seed`. */
uint64_t check_of(struct span bytes, uint64_t seed);

/* `value` without the check at its end, if that is right. */
bool check_strip(struct span value, uint64_t seed, struct span *out_bytes);

/* The next variant; false at the end or where the bytes are malformed. */
bool variant_next(struct span *rest, struct variant *out_variant);

/* The variants of a row as it lies in the table; false if it is damaged in any way. */
bool index_row_check(struct span value, struct key_hash hash, struct span *out_variants);
bool index_row_add(struct index_row *row, struct variant variant); /* false: full */
struct span index_row_seal(struct index_row *row, struct key_hash hash);

/* False: the prefix is damaged. The record is not looked at. */
bool object_row_read(struct span value, uint64_t object_id, struct object_row *out_row);
void object_row_write(struct buf *out, uint64_t object_id, struct key_hash hash, uint64_t body_id,
                      const struct record *record);

struct span span_of_value(MDB_val value);
struct span span_of_number(const uint64_t *number); /* a key of an INTEGERKEY table; borrows */

/* The number that a key of an INTEGERKEY table is. MDB_CORRUPTED: it has another length. */
int number_of_key(MDB_val key, uint64_t *out_number);

#endif
