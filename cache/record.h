/* record.h: what the store knows of one stored response without reading its body: the value of the table `objects`.
 *
 * Encoded in a fixed layout with a version and a checksum; decoding validates every byte and says no to whatever is not
 * exactly that. The head as stored lies in front of the body (store.h); a head that a 304 changed is kept here and
 * replaces it. Threads: any. */
#ifndef CACHE_RECORD_H
#define CACHE_RECORD_H

#include "cache/freshness.h"
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
    uint32_t key_len;  /* bytes of the key in front of the head */
    uint32_t head_len; /* bytes of the head as first stored, in front of the body */
    uint64_t body_len;
    uint64_t purge_sequence;      /* newest purge at birth: later purges that match make it dead or stale */
    uint8_t digest[DIGEST_BYTES]; /* XXH3-128 of the body, canonical byte order */
    struct span head_override;    /* the whole head after a 304; empty: as first stored. Borrowed */
};

/* Appends the encoded record to `out`. */
void record_encode(const struct record *record, struct buf *out);

/* `bytes` may be anything. ERR_DAMAGED unless it is exactly one record of this version with a good checksum.
 * `head_override` borrows from `bytes`. */
MUST_CHECK enum err record_decode(struct span bytes, struct record *out_record);

#endif
