/* rate_limit.c: see rate_limit.h. */
#include "proxy/client/rate_limit.h"

#include <pthread.h>
#include <stdlib.h>

#include "cache/key.h"

enum {
    SET_COUNT = 16384,
    WAYS = 8, /* clients in a set: one or two cache lines */
};

struct entry {
    uint64_t name;  /* hash of client, site and rule; 0: free */
    uint64_t at_us; /* when it has used up nothing */
};

struct rate_limit {
    pthread_mutex_t mutex; /* guards the sets */
    uint64_t secret;
    struct entry sets[SET_COUNT][WAYS];
};

struct rate_limit *rate_limit_create(uint64_t secret)
{
    struct rate_limit *limit = calloc(1, sizeof(*limit)); /* pages that nobody counts in are never touched */

    if (limit != NULL) {
        limit->secret = secret;
        REQUIRE(pthread_mutex_init(&limit->mutex, NULL) == 0);
    }
    return limit;
}

void rate_limit_destroy(struct rate_limit *limit)
{
    if (limit != NULL) {
        REQUIRE(pthread_mutex_destroy(&limit->mutex) == 0);
        free(limit);
    }
}

/* Names, not pointers: they outlive a configuration. Never 0. */
static uint64_t name_of(const struct rate_limit *limit, const struct client_id *id, struct span site, struct span rule)
{
    uint64_t hash = key_hash_of((struct span){(const char *)id->bytes, sizeof(id->bytes)}, limit->secret).low;

    hash = key_hash_of(site, hash).low;
    hash = key_hash_of(rule, hash).low;
    return hash | 1;
}

/* The client's entry, or a new one in the place of whoever has used up least. */
static struct entry *entry_of(struct rate_limit *limit, uint64_t name)
{
    struct entry *set = limit->sets[(name >> 32) % SET_COUNT];
    struct entry *least = &set[0];

    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].name == name) {
            return &set[i];
        }
        if (set[i].at_us < least->at_us) {
            least = &set[i];
        }
    }
    *least = (struct entry){.name = name};
    return least;
}

bool rate_limit_take(struct rate_limit *limit, const struct client_id *id, struct span site, struct span rule,
                     const struct rate *rate, uint64_t now_us, uint64_t *out_wait_us)
{
    uint64_t latest_us = now_us + rate->interval_us * (rate->burst - 1); /* a request must not come further ahead */
    uint64_t name = name_of(limit, id, site, rule);

    pthread_mutex_lock(&limit->mutex);
    struct entry *entry = entry_of(limit, name);
    uint64_t at_us = entry->at_us > now_us ? entry->at_us : now_us;
    bool taken = at_us <= latest_us;
    if (taken) {
        entry->at_us = at_us + rate->interval_us;
    }
    pthread_mutex_unlock(&limit->mutex);
    if (!taken) {
        *out_wait_us = at_us - latest_us;
    }
    return taken;
}
