/* model_parts_steps.h: random scenarios of partial requests, and an origin that answers them, mostly well.
 *
 * A seed gives always the same scenario; zeroed, a step is a plain GET of an object that never changes. Threads: any.
 */
#ifndef TESTS_UNIT_MODEL_PARTS_STEPS_H
#define TESTS_UNIT_MODEL_PARTS_STEPS_H

#include "http/span.h"
#include "tests/unit/model_parts.h"

enum { PARTS_STEPS_MAX = 14, PARTS_TARGET_COUNT = 2, PARTS_VERSION_COUNT = 4 };

enum parts_act { PARTS_GET, PARTS_POST, PARTS_COMMIT /* the disk thread writes what is queued */ };

/* How an origin names its versions. */
enum parts_names { NAMES_TAG, NAMES_WEAK_TAG, NAMES_DATE, NAMES_WEAK_DATE, NAMES_NOTHING, NAMES_COUNT };

/* What an origin does wrong, or differently. */
enum parts_deed {
    DEED_RIGHT,
    DEED_WHOLE,            /* 200, whatever was asked for */
    DEED_IGNORES_IF_RANGE, /* 206 of what it has now */
    DEED_LESS,             /* half of what was asked for */
    DEED_OTHER,            /* not the bytes that were asked for */
    DEED_LENGTH,           /* Content-Length is not what Content-Range says */
    DEED_SHORT,            /* so is the body, which has no Content-Length */
    DEED_LONG,
    DEED_UNKNOWN_LENGTH, /* of the representation */
    DEED_OTHER_LENGTH,   /* of the representation: another than the last time */
    DEED_MALFORMED,      /* Content-Range */
    DEED_UNNAMED,        /* no validator, this time */
    DEED_UNASKED,        /* 206 to who asked for everything */
    DEED_BREAKS_OFF,
    DEED_CONFIRMS, /* 304 to every condition, with the validator of what it has */
    DEED_COUNT,
};

struct parts_step {
    int32_t advance_ms; /* before the request */
    int32_t delay_ms;   /* until the origin's answer */
    uint8_t act;        /* enum parts_act */
    uint8_t target;
    struct m_range range;
    struct m_if_range if_range;
    bool no_cache;   /* of the client */
    uint8_t version; /* that the origin has, for the first request in this step … */
    uint8_t later;   /* … how many versions further from the second on */
    uint8_t names;   /* enum parts_names */
    uint8_t deed;    /* enum parts_deed */
    uint8_t max_age; /* seconds */
    bool no_store, must_revalidate;
    bool meanwhile; /* the target is invalidated between head and body of the answer */
};

struct parts_scenario {
    struct m_rules rules; /* `letter` and `request_directives` */
    int count;
    struct parts_step steps[PARTS_STEPS_MAX];
};

struct parts_scenario parts_scenario_of_seed(uint64_t seed);
void parts_scenario_print(const struct parts_scenario *scenario);

/* What is asked of the origin. */
struct parts_asked {
    struct m_range range;
    struct m_if_range if_range;
    const struct m_response *if_none_match; /* the stored response that is to be confirmed, or NULL */
};

/* How it answers. */
struct parts_reply {
    unsigned status;
    struct m_response head;
    uint8_t version;
    uint8_t complete_length; /* as it says */
    struct m_bytes bytes;    /* in the body */
    bool has_content_range;
    bool sound;             /* what came is what it says, all of it */
    char content_range[40]; /* its value */
    int content_length;     /* -1: not said */
    bool breaks_off;
};

/* The `nth` answer in this step, from 0, at `now_s`. */
struct parts_reply parts_answer(const struct parts_step *step, const struct parts_asked *asked, unsigned nth,
                                int64_t now_s);

#endif
