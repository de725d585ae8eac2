/* model_parts.h: partial responses in the model of model.h: which bytes belong to which response, and which responses
 * may be put together (RFC 9111 §3.3, §3.4; RFC 9110 §13.1.5, §14.1.2, §15.3.7).
 *
 * Nothing of larder is used here. The model stores nothing itself: it remembers everything that origins ever sent, as a
 * list, and says of a response that a cache makes whether each byte of it may come from that list. */
#ifndef TESTS_UNIT_MODEL_PARTS_H
#define TESTS_UNIT_MODEL_PARTS_H

#include "tests/unit/model.h"

enum { RECEIVED_MAX = 200 };

enum m_range_form { M_RANGE_NONE, M_RANGE_CLOSED, M_RANGE_OPEN, M_RANGE_SUFFIX };

/* One range, as it is asked for. */
struct m_range {
    uint8_t form;
    uint8_t first; /* closed, open */
    uint8_t more;  /* closed: how many after the first; suffix: how many at the end */
};

/* Bytes first … end-1. */
struct m_bytes {
    uint8_t first, end;
};

/* What If-Range may name: the zeroed one is absent. At most one of the two. */
struct m_if_range {
    uint8_t etag;
    bool etag_weak;
    struct opt date;
};

/* A response as it came: 200, 206 or 304. */
struct m_received {
    struct m_stored head; /* of a 206 as if it were the 200 that it is a part of (RFC 9111 §3.3), of a 304 what it made
                             of the one that it confirmed */
    struct m_response not_modified; /* a 304: itself */
    uint8_t target;                 /* for which it came */
    uint8_t version;                /* of the representation: what its bytes really are */
    struct m_bytes bytes;           /* what it brought; a 304 none */
    uint8_t complete_length;        /* as it says; of a 304 that of what it confirmed */
    uint8_t confirms;               /* a 304: the number of what it was asked about; else 0 */
    bool may_store;                 /* RFC 9111 §3, and it came whole: as many bytes as it announced, and which ones */
    bool invalidated;               /* since it came (RFC 9111 §4.4) */
};

/* Everything received so far. A number is an index and one. */
struct m_history {
    struct m_received items[RECEIVED_MAX];
    unsigned count;
};

enum m_selected { M_WHOLE, M_PART, M_UNSATISFIABLE };

/* RFC 9110 §14.1.2, §14.2: which bytes of a representation of that length (not 0) a request for `range` gets. */
enum m_selected model_range(const struct m_range *range, unsigned complete_length, struct m_bytes *out_bytes);

/* RFC 9110 §13.1.5: does Range count, for a representation with this head? */
bool model_if_range_holds(const struct m_if_range *if_range, const struct m_response *head);

/* RFC 9110 §8.8.1, §8.8.2.2 */
bool model_has_strong_validator(const struct m_response *head);

/* RFC 9111 §3.4: may bytes of the two be put together? */
bool model_may_combine(const struct m_received *a, const struct m_received *b);

/* Byte `at` of that version: no two bytes that differ in version or place are the same. */
uint8_t model_byte(unsigned version, unsigned at);

/* May the response with this number still be what a cache answers with? */
bool model_may_hold(const struct m_history *history, unsigned number);

/* May `byte` stand at `at` in a response with the head of this number? What came after the first `before` answers came
 * for this very response: it need not be stored to be part of it. */
bool model_byte_belongs(const struct m_history *history, unsigned number, unsigned before, unsigned at, uint8_t byte);

/* RFC 9111 §4.4, for the first `count` responses. */
void model_invalidate(struct m_history *history, unsigned target, unsigned count);

#endif
