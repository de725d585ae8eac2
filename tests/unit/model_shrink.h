/* model_shrink.h: a random scenario that fails made as small as it can be: steps dropped, then bytes zeroed, for zero
 * is the plainest value of everything in one. */
#ifndef TESTS_UNIT_MODEL_SHRINK_H
#define TESTS_UNIT_MODEL_SHRINK_H

#include <stdbool.h>
#include <stddef.h>

/* Where the parts of a scenario lie; all are the caller's. */
struct shrinkable {
    const void *scenario; /* is given to `fails` */
    void *rules;
    size_t rules_bytes;
    void *steps;
    size_t step_bytes;
    int *count; /* of steps */
    bool (*fails)(const void *scenario);
};

/* It fails before and after. */
void model_shrink(const struct shrinkable *it);

#endif
