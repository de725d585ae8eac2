/* ghost.c: a set-associative table; each line is a queue, newest first.
 *
 * An entry is 24 bits of tag and 8 bits of state: how many uses were noted, or that it was evicted; 0 is a free entry.
 * The mutex is taken where something is fetched, stored or evicted, never on a hit. */
#include "cache/ghost.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    WAYS = 16,
    KEYS_AN_OBJECT = 4,
    STATE_BITS = 8,
    STATE_EVICTED = GHOST_MAX_USES + 1,
};

struct line {
    uint32_t entries[WAYS];
};

struct ghost {
    pthread_mutex_t mutex; /* guards the lines */
    struct line *lines;
    uint64_t mask; /* number of lines, a power of two, less one */
};

struct ghost *ghost_create(uint64_t expected_objects)
{
    uint64_t line_count = 1;

    while (line_count * WAYS < expected_objects * KEYS_AN_OBJECT) {
        line_count *= 2;
    }
    struct ghost *ghost = calloc(1, sizeof(*ghost));
    struct line *lines = calloc(line_count, sizeof(*lines));
    if (ghost == NULL || lines == NULL) {
        free(ghost);
        free(lines);
        return NULL;
    }
    ghost->lines = lines;
    ghost->mask = line_count - 1;
    REQUIRE(pthread_mutex_init(&ghost->mutex, NULL) == 0);
    return ghost;
}

void ghost_destroy(struct ghost *ghost)
{
    if (ghost != NULL) {
        pthread_mutex_destroy(&ghost->mutex);
        free(ghost->lines);
        free(ghost);
    }
}

static struct line *line_of(struct ghost *ghost, uint64_t key)
{
    return &ghost->lines[key & ghost->mask];
}

/* From other bits than the line's number. */
static uint32_t tag_of(uint64_t key)
{
    return (uint32_t)(key >> 40);
}

/* The entry's way; WAYS: there is none. */
static unsigned way_of(const struct line *line, uint64_t key)
{
    unsigned way = 0;

    while (way < WAYS && (line->entries[way] == 0 || line->entries[way] >> STATE_BITS != tag_of(key))) {
        way++;
    }
    return way;
}

static unsigned state_of(uint32_t entry)
{
    return entry & ((1u << STATE_BITS) - 1);
}

/* Puts the key in front, in place of what was at `way` or else of the oldest. */
static void put_first(struct line *line, unsigned way, uint64_t key, unsigned state)
{
    unsigned older = way < WAYS ? way : WAYS - 1;

    memmove(line->entries + 1, line->entries, older * sizeof(line->entries[0]));
    line->entries[0] = tag_of(key) << STATE_BITS | state;
}

unsigned ghost_uses(struct ghost *ghost, uint64_t key)
{
    pthread_mutex_lock(&ghost->mutex);
    const struct line *line = line_of(ghost, key);
    unsigned way = way_of(line, key);
    unsigned state = way < WAYS ? state_of(line->entries[way]) : 0;
    pthread_mutex_unlock(&ghost->mutex);
    return state == STATE_EVICTED ? GHOST_EVICTED : state;
}

void ghost_note_use(struct ghost *ghost, uint64_t key)
{
    pthread_mutex_lock(&ghost->mutex);
    struct line *line = line_of(ghost, key);
    unsigned way = way_of(line, key);
    unsigned state = way < WAYS ? state_of(line->entries[way]) : 0;
    put_first(line, way, key, state < GHOST_MAX_USES ? state + 1 : state);
    pthread_mutex_unlock(&ghost->mutex);
}

void ghost_note_eviction(struct ghost *ghost, uint64_t key)
{
    pthread_mutex_lock(&ghost->mutex);
    struct line *line = line_of(ghost, key);
    put_first(line, way_of(line, key), key, STATE_EVICTED);
    pthread_mutex_unlock(&ghost->mutex);
}
