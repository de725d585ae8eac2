/* model_parts_cache.h: a scenario of partial requests run through larder's cache, every response that it makes compared
 * with the model, byte by byte. */
#ifndef TESTS_UNIT_MODEL_PARTS_CACHE_H
#define TESTS_UNIT_MODEL_PARTS_CACHE_H

#include "cache/cache.h"
#include "tests/unit/model_parts_steps.h"

/* What happened over all scenarios: a test in which nothing happens proves nothing. */
struct parts_tally {
    unsigned served, served_parts, unsatisfiable; /* without the origin */
    unsigned from_several;                        /* a response with bytes that several answers brought */
    unsigned completed, unfit, broken_off;        /* what was missing was fetched, did not fit, could not be had */
    unsigned confirmed, stored, not_stored, invalidated;
};

/* NULL where every response was one that the model allows; else what was wrong, first. `*out_step`: the step that ended
 * it, from 1. `arena` is reset. The keys are used in no other run with this cache. */
const char *parts_cache_run(const struct parts_scenario *scenario, struct cache_reader *reader, struct arena *arena,
                            struct parts_tally *tally, int *out_step);

#endif
