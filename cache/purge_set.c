/* purge_set.c: the purges in force: their life, and every change. See purge_set.h. */
#include "cache/purge_set_internal.h"

#include <stdlib.h>

enum {
    FIRST_SLOTS = 64,
    SPARE_NAMES = 1024, /* beyond the limit: for hosts */
};

/* ---- life ---- */

struct purge_set *purge_set_create(uint64_t secret)
{
    struct purge_set *set = calloc(1, sizeof(*set));

    if (set == NULL) {
        return NULL;
    }
    set->secret = secret;
    set->epoch = 1;
    set->table = purge_table_create(FIRST_SLOTS);
    if (set->table == NULL) {
        free(set);
        return NULL;
    }
    REQUIRE(pthread_mutex_init(&set->mutex, NULL) == 0);
    return set;
}

void purge_set_destroy(struct purge_set *set)
{
    if (set == NULL) {
        return;
    }
    REQUIRE(set->readers == NULL);
    while (set->retired != NULL) {
        struct purge_table *table = set->retired;
        set->retired = table->retired_next;
        purge_table_destroy(table);
    }
    purge_table_destroy(set->table);
    pthread_mutex_destroy(&set->mutex);
    free(set);
}

struct purge_reader *purge_reader_create(struct purge_set *set)
{
    struct purge_reader *reader = calloc(1, sizeof(*reader));

    if (reader != NULL) {
        reader->set = set;
        pthread_mutex_lock(&set->mutex);
        reader->next = set->readers;
        set->readers = reader;
        pthread_mutex_unlock(&set->mutex);
    }
    return reader;
}

void purge_reader_destroy(struct purge_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    pthread_mutex_lock(&reader->set->mutex);
    struct purge_reader **link = &reader->set->readers;
    while (*link != reader) {
        link = &(*link)->next;
    }
    *link = reader->next;
    pthread_mutex_unlock(&reader->set->mutex);
    free(reader);
}

/* ---- asking ---- */

uint64_t purge_set_newest(const struct purge_set *set)
{
    return atomic_load_explicit(&set->newest, memory_order_acquire);
}

uint64_t purge_set_trimmed(const struct purge_set *set)
{
    return atomic_load(&set->trimmed);
}

/* ---- changing ---- */

/* Frees what no reader can be inside of any more. */
static void free_retired(struct purge_set *set)
{
    uint64_t oldest = UINT64_MAX;

    pthread_mutex_lock(&set->mutex);
    for (struct purge_reader *reader = set->readers; reader != NULL; reader = reader->next) {
        uint64_t epoch = atomic_load(&reader->epoch);
        oldest = epoch != 0 && epoch < oldest ? epoch : oldest;
    }
    pthread_mutex_unlock(&set->mutex);
    for (struct purge_table **link = &set->retired; *link != NULL;) {
        struct purge_table *table = *link;
        if (oldest < table->retired_at) {
            link = &table->retired_next;
        } else {
            *link = table->retired_next;
            purge_table_destroy(table);
        }
    }
}

static void replace(struct purge_set *set, struct purge_table *table)
{
    struct purge_table *old = atomic_load(&set->table);

    atomic_store(&set->table, table);
    old->retired_at = atomic_fetch_add(&set->epoch, 1) + 1;
    old->retired_next = set->retired;
    set->retired = old;
    free_retired(set);
}

static void note_newest(struct purge_table *table, enum purge_kind kind, uint64_t sequence)
{
    if (sequence > atomic_load_explicit(&table->newest[kind], memory_order_relaxed)) {
        atomic_store_explicit(&table->newest[kind], sequence, memory_order_release);
    }
}

/* What purges much has room when nothing else has; everything has it always. */
static size_t names_limit(enum purge_kind kind)
{
    return PURGE_SET_MAX_NAMES + (kind == PURGE_ALL ? SPARE_NAMES + 1 : kind == PURGE_HOST ? SPARE_NAMES : 0);
}

bool purge_set_has_room(const struct purge_set *set, const struct purge *purge, size_t count)
{
    const struct purge_table *table = set->table;

    return purge_is_pattern(purge->kind, purge->name) ? count + table->pattern_count <= PURGE_SET_MAX_PATTERNS
                                                      : count + table->used <= names_limit(purge->kind);
}

unsigned purge_set_fill_percent(const struct purge_set *set)
{
    const struct purge_table *table = set->table;
    size_t names = 100 * table->used / PURGE_SET_MAX_NAMES;
    size_t patterns = 100 * table->pattern_count / PURGE_SET_MAX_PATTERNS;

    return (unsigned)(names > patterns ? names : patterns);
}

static enum err put_pattern(struct purge_set *set, const struct purge *purge, uint64_t *out_replaced)
{
    struct purge_table *table = set->table;

    for (size_t i = 0; i < table->pattern_count; i++) {
        struct purge_pattern *pattern = table->patterns[i];
        if (pattern->kind == purge->kind && pattern->mode == purge->mode && span_equal(pattern->text, purge->name)) {
            *out_replaced = pattern->sequence;
            atomic_store_explicit(&pattern->time_ms, purge->time_ms, memory_order_relaxed);
            atomic_store_explicit(&pattern->sequence, purge->sequence, memory_order_release);
            return ERR_OK;
        }
    }
    if (table->pattern_count == PURGE_SET_MAX_PATTERNS) {
        return ERR_LIMIT;
    }
    return purge_table_add_pattern(table, purge) ? ERR_OK : ERR_NO_MEMORY;
}

static enum err put_name(struct purge_set *set, const struct purge *purge, uint64_t *out_replaced)
{
    uint64_t name = purge_name_hash(set->secret, purge->kind, purge->name);
    struct purge_table *table = set->table;
    struct purge_slot *slot = purge_table_slot(table, name);

    if (slot->name == 0) {
        if (table->used >= names_limit(purge->kind)) {
            return ERR_LIMIT;
        }
        if (table->used + 1 > table->slot_count / 4 * 3) {
            table = purge_table_copy(table, table->slot_count * 2, 0);
            if (table == NULL) {
                return ERR_NO_MEMORY;
            }
            replace(set, table);
            slot = purge_table_slot(table, name);
        }
        table->used++;
    }
    if (purge->mode == PURGE_HARD) {
        *out_replaced = atomic_exchange_explicit(&slot->hard, purge->sequence, memory_order_release);
    } else {
        atomic_store_explicit(&slot->soft_ms, purge->time_ms, memory_order_relaxed);
        *out_replaced = atomic_exchange_explicit(&slot->soft, purge->sequence, memory_order_release);
    }
    atomic_store_explicit(&slot->name, name, memory_order_release);
    return ERR_OK;
}

enum err purge_set_add(struct purge_set *set, const struct purge *purge, uint64_t *out_replaced)
{
    REQUIRE(purge_valid(purge) && purge->sequence > purge_set_newest(set));
    *out_replaced = 0;
    enum err error = purge_is_pattern(purge->kind, purge->name) ? put_pattern(set, purge, out_replaced)
                                                                : put_name(set, purge, out_replaced);
    if (error == ERR_OK) {
        note_newest(set->table, purge->kind, purge->sequence);
    }
    return error;
}

enum err purge_set_load(struct purge_set *set, uint64_t sequence, struct span row)
{
    const struct purge all = {.kind = PURGE_ALL, .mode = PURGE_HARD, .name = SPAN(""), .sequence = sequence};
    struct purge purge;
    uint64_t replaced;

    if (sequence == 0) {
        return ERR_OK; /* no birth is older */
    }
    enum err error = purge_set_add(set, purge_decode(row, sequence, &purge) ? &purge : &all, &replaced);
    return error == ERR_LIMIT ? purge_set_add(set, &all, &replaced) : error;
}

void purge_set_publish(struct purge_set *set, uint64_t sequence)
{
    atomic_store_explicit(&set->newest, sequence, memory_order_release);
}

void purge_set_trim(struct purge_set *set, uint64_t sequence)
{
    struct purge_table *table = purge_table_copy(set->table, ((struct purge_table *)set->table)->slot_count, sequence);

    if (table != NULL) {
        atomic_store(&set->trimmed, sequence);
        replace(set, table);
    }
}
