/* pins.c: sharded open-addressing tables with linear probing.
 *
 * An entry lives while its body is pinned or dying, so that the tables stay as small as the number of bodies being
 * sent.
 *
 * The order that makes a late reader safe: the disk thread marks a body dying, commits, advances the generation, and
 * only then clears the mark. A reader that read the generation before its snapshot and finds neither the mark nor a new
 * generation, under the shard's mutex, therefore pinned before the disk thread looked, or holds a snapshot in which the
 * body's deletion is visible. */
#include "cache/pins.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    SHARDS = 16,           /* a power of two */
    FIRST_CAPACITY = 16,   /* slots of a shard's first table; a power of two */
    FIRST_DYING_COUNT = 64 /* of the list of dying bodies */
};

struct pin {
    uint64_t body_id; /* 0: the slot is free */
    uint32_t count;
    bool dying;   /* a transaction that deletes it is running; count is 0 */
    bool refused; /* the disk thread wanted to delete it while it was pinned */
};

struct shard {
    pthread_mutex_t mutex; /* guards the three below */
    struct pin *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t used;
};

struct pins {
    _Atomic uint64_t generation;
    _Atomic uint64_t freed;
    struct shard shards[SHARDS];
    /* the disk thread's */
    uint64_t *dying; /* bodies marked since the last pins_end_deletions */
    size_t dying_count;
    size_t dying_capacity;
};

static uint64_t hash_of(uint64_t body_id);
static struct shard *shard_of(struct pins *pins, uint64_t body_id);
static struct pin *find_slot(const struct shard *shard, uint64_t body_id);
static struct pin *find_or_add(struct shard *shard, uint64_t body_id);
static bool grow(struct shard *shard);
static void remove_slot(struct shard *shard, struct pin *pin);
static bool remember_dying(struct pins *pins, uint64_t body_id);

struct pins *pins_create(void)
{
    struct pins *pins = calloc(1, sizeof(*pins));

    if (pins == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < SHARDS; i++) {
        REQUIRE(pthread_mutex_init(&pins->shards[i].mutex, NULL) == 0);
    }
    return pins;
}

void pins_destroy(struct pins *pins)
{
    if (pins == NULL) {
        return;
    }
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_destroy(&pins->shards[i].mutex);
        free(pins->shards[i].slots);
    }
    free(pins->dying);
    free(pins);
}

uint64_t pins_generation(struct pins *pins)
{
    return atomic_load_explicit(&pins->generation, memory_order_acquire);
}

uint64_t pins_freed(struct pins *pins)
{
    return atomic_load_explicit(&pins->freed, memory_order_acquire);
}

enum pin_result pins_acquire(struct pins *pins, uint64_t body_id, uint64_t generation)
{
    struct shard *shard = shard_of(pins, body_id);
    enum pin_result result = PIN_OK;

    pthread_mutex_lock(&shard->mutex);
    struct pin *pin = find_slot(shard, body_id);
    if (pin != NULL && pin->dying) {
        result = PIN_DYING;
    } else if (pins_generation(pins) != generation) {
        result = PIN_RETRY;
    } else {
        pin = find_or_add(shard, body_id);
        if (pin == NULL) {
            result = PIN_FAILED;
        } else {
            pin->count++;
        }
    }
    pthread_mutex_unlock(&shard->mutex);
    return result;
}

bool pins_add(struct pins *pins, uint64_t body_id)
{
    struct shard *shard = shard_of(pins, body_id);

    pthread_mutex_lock(&shard->mutex);
    struct pin *pin = find_or_add(shard, body_id);
    bool added = pin != NULL && !pin->dying;
    if (added) {
        pin->count++;
    }
    pthread_mutex_unlock(&shard->mutex);
    return added;
}

void pins_release(struct pins *pins, uint64_t body_id)
{
    struct shard *shard = shard_of(pins, body_id);

    pthread_mutex_lock(&shard->mutex);
    struct pin *pin = find_slot(shard, body_id);
    REQUIRE(pin != NULL);
    REQUIRE(pin->count > 0);
    pin->count--;
    if (pin->count == 0) {
        if (pin->refused) {
            atomic_fetch_add_explicit(&pins->freed, 1, memory_order_release);
        }
        remove_slot(shard, pin);
    }
    pthread_mutex_unlock(&shard->mutex);
}

bool pins_begin_deletion(struct pins *pins, uint64_t body_id)
{
    struct shard *shard = shard_of(pins, body_id);
    bool may_delete = false;

    pthread_mutex_lock(&shard->mutex);
    struct pin *pin = find_slot(shard, body_id);
    if (pin != NULL && pin->dying) {
        may_delete = true;
    } else if (pin != NULL) {
        pin->refused = true;
    } else if (remember_dying(pins, body_id)) {
        pin = find_or_add(shard, body_id);
        if (pin != NULL) {
            pin->dying = true;
            may_delete = true;
        } else {
            pins->dying_count--;
        }
    }
    pthread_mutex_unlock(&shard->mutex);
    return may_delete;
}

void pins_end_deletions(struct pins *pins)
{
    if (pins->dying_count == 0) {
        return;
    }
    /* First the generation, then the marks: see above. */
    atomic_fetch_add_explicit(&pins->generation, 1, memory_order_release);
    for (size_t i = 0; i < pins->dying_count; i++) {
        struct shard *shard = shard_of(pins, pins->dying[i]);

        pthread_mutex_lock(&shard->mutex);
        struct pin *pin = find_slot(shard, pins->dying[i]);
        REQUIRE(pin != NULL);
        remove_slot(shard, pin);
        pthread_mutex_unlock(&shard->mutex);
    }
    pins->dying_count = 0;
}

void pins_turn_away(struct pins *pins)
{
    atomic_fetch_add_explicit(&pins->generation, 1, memory_order_release);
}

bool pins_list(struct pins *pins, uint64_t **out_bodies, size_t *out_count)
{
    uint64_t *bodies = NULL;
    size_t count = 0;

    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &pins->shards[i];
        pthread_mutex_lock(&shard->mutex);
        uint64_t *grown = realloc(bodies, (count + shard->used + 1) * sizeof(*bodies));
        for (size_t at = 0; grown != NULL && at < shard->capacity; at++) {
            if (shard->slots[at].count > 0) {
                grown[count++] = shard->slots[at].body_id;
            }
        }
        pthread_mutex_unlock(&shard->mutex);
        if (grown == NULL) {
            free(bodies);
            return false;
        }
        bodies = grown;
    }
    *out_bodies = bodies;
    *out_count = count;
    return true;
}

static uint64_t hash_of(uint64_t body_id)
{
    uint64_t hash = body_id * UINT64_C(0x9E3779B97F4A7C15);

    return hash ^ (hash >> 29);
}

static struct shard *shard_of(struct pins *pins, uint64_t body_id)
{
    REQUIRE(body_id != 0);
    return &pins->shards[(hash_of(body_id) >> 40) & (SHARDS - 1)];
}

static struct pin *find_slot(const struct shard *shard, uint64_t body_id)
{
    if (shard->capacity == 0) {
        return NULL;
    }
    size_t mask = shard->capacity - 1;
    for (size_t i = hash_of(body_id) & mask; shard->slots[i].body_id != 0; i = (i + 1) & mask) {
        if (shard->slots[i].body_id == body_id) {
            return &shard->slots[i];
        }
    }
    return NULL;
}

static struct pin *find_or_add(struct shard *shard, uint64_t body_id)
{
    struct pin *pin = find_slot(shard, body_id);

    if (pin != NULL) {
        return pin;
    }
    /* At most half full, so that probing always ends and stays short. */
    if ((shard->used + 1) * 2 > shard->capacity && !grow(shard)) {
        return NULL;
    }
    size_t mask = shard->capacity - 1;
    size_t i = hash_of(body_id) & mask;
    while (shard->slots[i].body_id != 0) {
        i = (i + 1) & mask;
    }
    shard->slots[i] = (struct pin){.body_id = body_id};
    shard->used++;
    return &shard->slots[i];
}

static bool grow(struct shard *shard)
{
    size_t capacity = shard->capacity == 0 ? FIRST_CAPACITY : shard->capacity * 2;
    struct pin *slots = calloc(capacity, sizeof(*slots));

    if (slots == NULL) {
        return false;
    }
    for (size_t old = 0; old < shard->capacity; old++) {
        if (shard->slots[old].body_id == 0) {
            continue;
        }
        size_t i = hash_of(shard->slots[old].body_id) & (capacity - 1);
        while (slots[i].body_id != 0) {
            i = (i + 1) & (capacity - 1);
        }
        slots[i] = shard->slots[old];
    }
    free(shard->slots);
    shard->slots = slots;
    shard->capacity = capacity;
    return true;
}

/* Moves later entries of the run back, so that no look-up ends early at the hole. */
static void remove_slot(struct shard *shard, struct pin *pin)
{
    size_t mask = shard->capacity - 1;
    size_t hole = (size_t)(pin - shard->slots);

    for (size_t i = (hole + 1) & mask; shard->slots[i].body_id != 0; i = (i + 1) & mask) {
        size_t home = hash_of(shard->slots[i].body_id) & mask;
        /* It may fill the hole unless its home lies behind the hole, on the way to where it is. */
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            shard->slots[hole] = shard->slots[i];
            hole = i;
        }
    }
    shard->slots[hole] = (struct pin){0};
    shard->used--;
}

static bool remember_dying(struct pins *pins, uint64_t body_id)
{
    if (pins->dying_count == pins->dying_capacity) {
        size_t capacity = pins->dying_capacity == 0 ? FIRST_DYING_COUNT : pins->dying_capacity * 2;
        uint64_t *grown = realloc(pins->dying, capacity * sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        pins->dying = grown;
        pins->dying_capacity = capacity;
    }
    pins->dying[pins->dying_count] = body_id;
    pins->dying_count++;
    return true;
}
