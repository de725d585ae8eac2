/* model_shrink.c: see model_shrink.h. */
#include "tests/unit/model_shrink.h"

#include <stdlib.h>
#include <string.h>

#include "http/check.h"

static unsigned char *step_at(const struct shrinkable *it, int index)
{
    return (unsigned char *)it->steps + (size_t)index * it->step_bytes;
}

/* Tries without each step; a step that is needed comes back. */
static bool drop_a_step(const struct shrinkable *it)
{
    unsigned char *dropped = malloc(it->step_bytes);
    bool any = false;

    REQUIRE(dropped != NULL);
    for (int i = 0; i < *it->count && !any; i++) {
        size_t behind = (size_t)(*it->count - i - 1) * it->step_bytes;
        memcpy(dropped, step_at(it, i), it->step_bytes);
        memmove(step_at(it, i), step_at(it, i + 1), behind);
        --*it->count;
        any = it->fails(it->scenario);
        if (!any) {
            ++*it->count;
            memmove(step_at(it, i + 1), step_at(it, i), behind);
            memcpy(step_at(it, i), dropped, it->step_bytes);
        }
    }
    free(dropped);
    return any;
}

static bool zero_a_byte(const struct shrinkable *it, unsigned char *part, size_t size)
{
    bool any = false;

    for (size_t i = 0; i < size; i++) {
        unsigned char before = part[i];
        part[i] = 0;
        if (before != 0 && !it->fails(it->scenario)) {
            part[i] = before;
        }
        any = any || (before != 0 && part[i] == 0);
    }
    return any;
}

void model_shrink(const struct shrinkable *it)
{
    bool again = true;

    while (again) {
        again = drop_a_step(it) || zero_a_byte(it, it->rules, it->rules_bytes);
        for (int i = 0; i < *it->count; i++) {
            again = zero_a_byte(it, step_at(it, i), it->step_bytes) || again;
        }
    }
}
