/* model_steps.h: random scenarios for test_model.c: what clients ask, what the origin does, how the clock moves.
 *
 * A seed gives always the same scenario. Threads: any. */
#ifndef TESTS_UNIT_MODEL_STEPS_H
#define TESTS_UNIT_MODEL_STEPS_H

#include "tests/unit/model.h"

/* What the origin does if it is asked. */
enum origin_act { ORIGIN_ANSWERS, ORIGIN_CONFIRMS, ORIGIN_503, ORIGIN_GONE, ORIGIN_SLOW, ORIGIN_ACT_COUNT };

struct step {
    int32_t advance_ms; /* before the request */
    int32_t delay_ms;   /* until the origin's answer */
    uint8_t target;
    struct m_request request;
    uint8_t origin;           /* enum origin_act; ORIGIN_CONFIRMS answers in full where nothing is to be validated */
    struct m_response answer; /* the full response, or what the 304 says */
};

enum { STEPS_MAX = 12, TARGET_COUNT = 2 };

struct scenario {
    struct m_rules rules;
    int count;
    struct step steps[STEPS_MAX];
};

struct scenario scenario_of_seed(uint64_t seed);
void scenario_print(const struct scenario *scenario);

/* A number from 0 to `below` - 1, from a state that may start anywhere. */
uint32_t random_below(uint64_t *state, uint32_t below);

#endif
