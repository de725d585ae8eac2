/* record.h: what the store knows of one stored response without reading its body: the value of the table `objects`.
 *
 * Encoded in a fixed layout with a version and a checksum; decoding validates every byte and says no to whatever is not
 * exactly that. The head as stored lies in front of the body (store.h); a head that a 304 changed is kept here and
 * replaces it. Threads: any. */
#ifndef CACHE_RECORD_H
#define CACHE_RECORD_H

#include "cache/freshness.h"
#include "cache/slices.h"
#include "http/buf.h"
#include "http/error.h"

enum {
    RECORD_MAX_HEAD_BYTES = 128 * 1024, /* of a head override */
    DIGEST_BYTES = 16,
};

struct record {
    uint64_t object_id; /* order of storing; 0 until the store gave one */
    uint64_t body_id;   /* where key, head and body lie */
    unsigned status;
    struct freshness_inputs inputs; /* without spans; the qualified lists are read from the head again */
    bool qualified_no_cache;        /* no-cache="field, …" */
    bool qualified_private;
    bool http_1_0;                /* how it was received, for Via (RFC 9110 §7.6.3) */
    uint32_t key_len;             /* bytes of the key in front of the head */
    uint32_t head_len;            /* bytes of the head as first stored, in front of the body */
    uint64_t body_len;            /* of a partial response: the complete length, whatever of it is stored */
    uint64_t purge_sequence;      /* newest purge at birth: later purges that match make it dead or stale */
    uint8_t digest[DIGEST_BYTES]; /* XXH3-128 of the body, canonical byte order. Of a partial response: of its strong
                                     validator, zero without one; only what is equal in it may be combined */
    struct span head_override;    /* the whole head after a 304; empty: as first stored. Borrowed */
    struct span slices;           /* of a partial response: its interval map as slices_write makes it, and `body_id` is
                                     the one key and head lie in; empty: the whole body lies there. Borrowed */
};

/* Appends the encoded record to `out`. */
void record_encode(const struct record *record, struct buf *out);

/* `bytes` may be anything. ERR_DAMAGED unless it is exactly one record of this version with a good checksum.
 * `head_override` and `slices` borrow from `bytes`. */
MUST_CHECK enum err record_decode(struct span bytes, struct record *out_record);

/* Sets the digest of a partial response from its strong validator; empty: it has none. */
void record_set_validator(struct record *record, struct span validator);

/* May slices of the two be combined (RFC 9111 §3.4)? They share a strong validator and the complete length. */
bool record_may_combine(const struct record *a, const struct record *b);

/* Does a partial response have a strong validator at all? */
bool record_has_strong_validator(const struct record *record);

/* Is it stored as slices (RFC 9111 §3.3)? They may cover the whole of it by now. */
static inline bool record_is_partial(const struct record *record)
{
    return record->slices.len > 0;
}

#endif
