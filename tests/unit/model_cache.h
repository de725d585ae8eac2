/* model_cache.h: a scenario run through larder's decision functions and the model side by side. */
#ifndef TESTS_UNIT_MODEL_CACHE_H
#define TESTS_UNIT_MODEL_CACHE_H

#include "http/arena.h"
#include "tests/unit/model_steps.h"

/* What happened over all scenarios: a test in which nothing happens proves nothing. */
struct tally {
    unsigned served, behind, stale_after_failure, confirmed, refused_304, stored, not_stored, invalidated,
        client_has_it;
};

/* NULL where larder did what the model allows in every step; else what was wrong, first. `*out_step`: the step that
 * ended it, from 1. `arena` is reset. */
const char *model_cache_run(const struct scenario *scenario, struct arena *arena, struct tally *tally, int *out_step);

#endif
