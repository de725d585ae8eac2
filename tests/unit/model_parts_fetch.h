/* model_parts_fetch.h: what larder does with the origin's answers to one client at a time: numbered, written into the
 * model's history, joined with what is stored, stored. For model_parts_cache.c. */
#ifndef TESTS_UNIT_MODEL_PARTS_FETCH_H
#define TESTS_UNIT_MODEL_PARTS_FETCH_H

#include "tests/unit/model_parts.h"
#include "tests/unit/model_parts_cache.h"

enum { PARTS_ANSWERS_MAX = 12 }; /* to one request */

/* A scenario under way. */
struct parts_run {
    struct cache *cache;
    struct cache_reader *reader;
    struct arena *arena; /* of one step */
    struct policy policy;
    const struct m_rules *rules;
    struct key keys[PARTS_TARGET_COUNT];
    char key_texts[PARTS_TARGET_COUNT][64];
    struct m_history history;
    unsigned invalidated, invalidated_count; /* in this step: the target, and of how many answers to it */
    int64_t now_ms;                          /* since T0 */
    const char *failure;                     /* the first thing that was wrong, or NULL */
    struct parts_tally *tally;
};

/* One request. */
struct parts_client {
    const struct parts_step *step;
    struct http_request request;
    struct cached cached;
    struct headers stored; /* the head of what is cached, as it is served */
    uint64_t generation;
    struct party party;
    struct flight *flight;
    struct fill *fill;
    bool has_cached;
    bool validated;   /* the origin was asked about it in this step */
    bool ranged;      /* the origin is asked for a part */
    unsigned answers; /* of the origin, so far */
};

/* Notes the first thing that is wrong. */
void parts_fail_if(struct parts_run *run, bool wrong, const char *what);

/* Which answer this head came with. */
unsigned parts_number_of(const struct headers *headers);

/* A response that has begun goes on with what it found: for the model it happens when the step is over. */
void parts_invalidate(struct parts_run *run, unsigned target);

/* Begins a fetch of its own for it; `range`: of which part, or NULL. */
void parts_join(struct parts_run *run, struct parts_client *client, const struct range_spec *range);

/* Does without its flight, if it has one. */
void parts_leave(struct parts_client *client);

/* The answer gets the next number, and stands in the history. */
void parts_receive(struct parts_run *run, const struct parts_client *client, struct parts_reply *reply,
                   int64_t request_ms, unsigned confirms);

/* The origin's answer, not a 304. False: it was to complete what is stored, and does not fit. */
bool parts_take_answer(struct parts_run *run, struct parts_client *client, struct parts_reply *reply,
                       int64_t request_ms, const struct byte_range *gap);

/* A 304 for what is cached. False: it speaks of something else. */
bool parts_confirm(struct parts_run *run, struct parts_client *client, const struct parts_reply *reply,
                   int64_t request_ms);

/* Has it fetched byte `at` of what is cached? */
bool parts_flight_brings(const struct parts_client *client, uint64_t at);

/* Asks for what is missing. True: the flight has the beginning of it at least. */
bool parts_fetch_missing(struct parts_run *run, struct parts_client *client, const struct byte_range *gap);

#endif
