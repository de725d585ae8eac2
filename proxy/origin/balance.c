/* balance.c: round robin, least connections, and hashing with bounded load. See balance.h. */
#include "proxy/origin/balance.h"

#include <math.h>

#include "http/check.h"

/* Each choice pays every eligible candidate its weight and charges the chosen one the sum: who was passed over longest
 * has most. */
static int choose_in_turn(struct candidate *candidates, size_t count)
{
    int64_t paid = 0;
    int best = BALANCE_NONE;

    for (size_t i = 0; i < count; i++) {
        if (!candidates[i].eligible) {
            continue;
        }
        candidates[i].credit += candidates[i].weight;
        paid += candidates[i].weight;
        if (best == BALANCE_NONE || candidates[i].credit > candidates[best].credit) {
            best = (int)i;
        }
    }
    if (best != BALANCE_NONE) {
        candidates[best].credit -= paid;
    }
    return best;
}

/* How full `a` would be with one more, against `b`: negative, 0 or positive. */
static int compare_load(const struct candidate *a, const struct candidate *b)
{
    uint64_t left = (uint64_t)(a->requests + 1) * b->weight;
    uint64_t right = (uint64_t)(b->requests + 1) * a->weight;

    return left < right ? -1 : left > right;
}

static int choose_least_loaded(struct candidate *candidates, size_t count)
{
    const struct candidate *least = NULL;
    bool was_eligible[BALANCE_MAX_CANDIDATES];

    for (size_t i = 0; i < count; i++) {
        if (candidates[i].eligible && (least == NULL || compare_load(&candidates[i], least) < 0)) {
            least = &candidates[i];
        }
    }
    if (least == NULL) {
        return BALANCE_NONE;
    }
    for (size_t i = 0; i < count; i++) {
        was_eligible[i] = candidates[i].eligible;
        candidates[i].eligible = was_eligible[i] && compare_load(&candidates[i], least) == 0;
    }
    int best = choose_in_turn(candidates, count);
    for (size_t i = 0; i < count; i++) {
        candidates[i].eligible = was_eligible[i];
    }
    return best;
}

static uint64_t mix(uint64_t bits)
{
    bits ^= bits >> 33;
    bits *= UINT64_C(0xff51afd7ed558ccd);
    bits ^= bits >> 33;
    bits *= UINT64_C(0xc4ceb9fe1a85ec53);
    return bits ^ (bits >> 33);
}

/* An exponentially distributed number: with rates in proportion to the weights, each origin has the least for its share
 * of the keys. */
static double draw(const struct candidate *candidate, uint64_t key)
{
    double uniform = ((double)(mix(key ^ candidate->id) >> 11) + 0.5) * 0x1p-53; /* in (0, 1) */

    return -log(uniform) / candidate->weight;
}

/* May it have one more: at most 5/4 of its share of all requests, this one included, rounded up? Somebody always may.
 */
static bool is_within_bound(const struct candidate *candidate, uint64_t requests, uint64_t weights)
{
    return (uint64_t)candidate->requests * 4 * weights < (requests + 1) * 5 * candidate->weight;
}

static int choose_by_key(const struct candidate *candidates, size_t count, uint64_t key)
{
    uint64_t requests = 0;
    uint64_t weights = 0;
    double least = INFINITY;
    int best = BALANCE_NONE;

    for (size_t i = 0; i < count; i++) {
        if (candidates[i].eligible) {
            requests += candidates[i].requests;
            weights += candidates[i].weight;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (candidates[i].eligible && is_within_bound(&candidates[i], requests, weights)) {
            double drawn = draw(&candidates[i], key);
            if (drawn < least) {
                least = drawn;
                best = (int)i;
            }
        }
    }
    return best;
}

int balance_choose(enum balance how, struct candidate *candidates, size_t count, uint64_t key)
{
    REQUIRE(count <= BALANCE_MAX_CANDIDATES);
    switch (how) {
    case BALANCE_ROUND_ROBIN:
        return choose_in_turn(candidates, count);
    case BALANCE_LEAST_CONNECTIONS:
        return choose_least_loaded(candidates, count);
    case BALANCE_HASH:
        return choose_by_key(candidates, count, key);
    }
    UNREACHABLE();
}

const char *balance_name(enum balance how)
{
    switch (how) {
    case BALANCE_ROUND_ROBIN:
        return "round-robin";
    case BALANCE_LEAST_CONNECTIONS:
        return "least-connections";
    case BALANCE_HASH:
        return "hash";
    }
    UNREACHABLE();
}

/* FNV-1a: the bytes come from clients, but whoever looks for keys of one origin only meets the bounded load. */
uint64_t balance_hash(struct span text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < text.len; i++) {
        hash = (hash ^ (unsigned char)text.data[i]) * UINT64_C(0x100000001b3);
    }
    return mix(hash);
}
