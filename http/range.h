/* range.h: Range and If-Range, Content-Range in and out (RFC 9110 §13.1.5, §14).
 *
 * Only the unit `bytes` is known. Range means something for GET only: whoever asks looks at the method first. Positions
 * are inclusive, as they are written in the fields. Ownership: spans borrow as said; texts are made in the arena.
 * Threads: any. */
#ifndef HTTP_RANGE_H
#define HTTP_RANGE_H

#include "http/headers.h"

enum {
    RANGE_SPECS_MAX = 64,         /* ranges that a request may ask for; with more Range is ignored (RFC 9110 §17.15) */
    RANGES_MAX = 16,              /* ranges in one answer, after coalescing */
    RANGE_GAP_BYTES = 80,         /* a smaller gap costs less than another part (RFC 9110 §15.3.7.2) */
    STRONG_DATE_DISTANCE_S = 60,  /* Date − Last-Modified from which a Last-Modified is a strong validator */
    CONTENT_RANGE_MAX_BYTES = 68, /* "bytes ", three numbers of 20 digits, "-", "/" */
};

enum range_spec_kind {
    RANGE_SPEC_CLOSED, /* first-last */
    RANGE_SPEC_OPEN,   /* first- */
    RANGE_SPEC_SUFFIX, /* -last: the last bytes */
};

struct range_spec {
    enum range_spec_kind kind;
    uint64_t first; /* closed, open */
    uint64_t last;  /* closed: position, never below `first`; suffix: how many bytes */
};

/* What a request asks for, the length not being known yet. Numbers too large for 64 bits are UINT64_MAX. */
struct range_set {
    struct range_spec specs[RANGE_SPECS_MAX];
    size_t count; /* one at least */
};

/* Bytes first … last of a representation. */
struct byte_range {
    uint64_t first, last; /* first <= last < complete length */
};

struct ranges {
    struct byte_range items[RANGES_MAX]; /* disjoint; in the order asked for */
    size_t count;                        /* one at least; with one the answer is not multipart */
    uint64_t total_bytes;                /* of all of them */
};

enum range_verdict {
    RANGE_NONE,          /* no range: answer 200 */
    RANGE_SATISFIABLE,   /* answer 206 */
    RANGE_UNSATISFIABLE, /* answer 416 */
};

/* The value of Range. False if it is malformed, of another unit or asks for too many: it is to be ignored (RFC 9110
 * §14.2). */
MUST_CHECK bool range_parse(struct span value, struct range_set *out_set);

/* The value of Range that asks for it. False at the arena's limit. */
MUST_CHECK bool range_text(const struct range_spec *spec, struct arena *arena, struct span *out_text);

/* The Range of a request; false also if it is absent or there are several lines. */
MUST_CHECK bool range_of_request(const struct headers *request_headers, struct range_set *out_set);

/* Is there a Range that says nothing to anyone: malformed, repeated, or of our unit and too many (RFC 9110 §14.2)? Not
 * one of another unit: the origin may know it. */
bool range_is_void(const struct headers *request_headers);

/* What that means for a representation of that length. Ranges that overlap, touch or nearly do become one, which stands
 * where the first of them stood. RANGE_NONE if several are asked for and 200 is the better answer: together they are as
 * large as the representation, or too many are left; and for a representation without bytes. A single range is answered
 * with 206 even if it is the whole: players ask for `bytes=0-` to learn whether they can seek. `out_ranges` is written
 * for RANGE_SATISFIABLE only. */
enum range_verdict range_resolve(const struct range_set *set, uint64_t complete_length, struct ranges *out_ranges);

/* Does If-Range let Range count, given the header fields of the representation that would be sent? True without
 * If-Range. False if it is malformed or repeated, if the tags are not equal by strong comparison, if the date is not
 * Last-Modified's or that is weak. */
bool if_range_holds(const struct headers *request_headers, const struct headers *response_headers, int64_t now_s);

/* What If-Range may carry for these response fields, and what parts must share to be combined (RFC 9110 §13.1.5, RFC
 * 9111 §3.4): a strong entity tag; without any tag a strong Last-Modified. Empty: there is none. */
struct span strong_validator_of(const struct headers *response_headers, int64_t now_s);

/* Is Last-Modified there and so much older than Date that nothing can have changed in the same second unseen (RFC 9110
 * §8.8.2.2)? We do not know whether both come from one clock, hence STRONG_DATE_DISTANCE_S and not one second. */
bool last_modified_is_strong(const struct headers *response_headers, int64_t now_s);

/* The value of Content-Range. At least one of the two parts is there. */
struct content_range {
    bool has_range;           /* false: unsatisfied, of a 416 */
    struct byte_range range;  /* if has_range */
    bool has_length;          /* false: not known, an asterisk */
    uint64_t complete_length; /* if has_length */
};

/* False if it is malformed, of another unit, contradicts itself or does not fit into 64 bits: the body must not be
 * combined with anything. */
MUST_CHECK bool content_range_parse(struct span value, struct content_range *out);

/* The same of a response; false also if the field is absent or there are several lines. */
MUST_CHECK bool content_range_of_response(const struct headers *response_headers, struct content_range *out);

/* Writes the field value, without a zero; how many bytes. */
size_t content_range_write(const struct content_range *value, char out_text[CONTENT_RANGE_MAX_BYTES]);

/* The same in the arena. False at its limit. */
MUST_CHECK bool content_range_text(const struct content_range *value, struct arena *arena, struct span *out_text);

#endif
