/* purge_table.c: the table of the purges in force: names in slots, patterns in a list. See purge_set_internal.h. */
#include "cache/purge_set_internal.h"

#include <stdlib.h>
#include <string.h>

#include "http/xxh3.h"

bool purge_is_pattern(enum purge_kind kind, struct span name)
{
    return kind == PURGE_PREFIX || kind == PURGE_GLOB || (kind == PURGE_HOST && span_starts_with(name, SPAN("*.")));
}

uint64_t purge_name_hash(uint64_t secret, enum purge_kind kind, struct span name)
{
    uint64_t hash = kind == PURGE_URL ? key_hash_of_url(name, secret).low
                                      : XXH3_64bits_withSeed(name.data, name.len, secret + (uint64_t)kind);

    return hash == 0 ? 1 : hash;
}

void purge_table_destroy(struct purge_table *table)
{
    if (table != NULL) {
        for (size_t i = 0; i < table->pattern_count; i++) {
            free(table->patterns[i]);
        }
        free(table->slots);
        free(table);
    }
}

struct purge_table *purge_table_create(size_t slot_count)
{
    struct purge_table *table = calloc(1, sizeof(*table));
    struct purge_slot *slots = calloc(slot_count, sizeof(*slots));

    if (table == NULL || slots == NULL) {
        free(table);
        free(slots);
        return NULL;
    }
    table->slots = slots;
    table->slot_count = slot_count;
    return table;
}

struct purge_slot *purge_table_slot(const struct purge_table *table, uint64_t name)
{
    size_t mask = table->slot_count - 1;
    size_t at = (size_t)name & mask;

    for (;;) { /* at most three quarters of them are taken */
        uint64_t there = atomic_load_explicit(&table->slots[at].name, memory_order_acquire);
        if (there == name || there == 0) {
            return &table->slots[at];
        }
        at = (at + 1) & mask;
    }
}

bool purge_table_add_pattern(struct purge_table *table, const struct purge *purge)
{
    size_t count = atomic_load_explicit(&table->pattern_count, memory_order_relaxed);
    struct purge_pattern *pattern = malloc(sizeof(*pattern) + purge->name.len);

    if (pattern == NULL) {
        return false;
    }
    char *text = (char *)(pattern + 1);
    memcpy(text, purge->name.data, purge->name.len);
    pattern->kind = purge->kind;
    pattern->mode = purge->mode;
    pattern->sequence = purge->sequence;
    pattern->time_ms = purge->time_ms;
    pattern->text = (struct span){text, purge->name.len};
    table->patterns[count] = pattern;
    atomic_store_explicit(&table->pattern_count, count + 1, memory_order_release);
    return true;
}

struct purge_table *purge_table_copy(const struct purge_table *old, size_t slot_count, uint64_t from)
{
    struct purge_table *table = purge_table_create(slot_count);

    if (table == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < old->slot_count; i++) {
        const struct purge_slot *slot = &old->slots[i];
        if (slot->name != 0 && (slot->hard >= from || slot->soft >= from)) {
            struct purge_slot *copy = purge_table_slot(table, slot->name);
            copy->hard = slot->hard >= from ? slot->hard : 0;
            copy->soft = slot->soft >= from ? slot->soft : 0;
            copy->soft_ms = slot->soft_ms;
            copy->name = slot->name;
            table->used++;
        }
    }
    for (size_t i = 0; i < old->pattern_count; i++) {
        const struct purge_pattern *pattern = old->patterns[i];
        struct purge purge = {.kind = pattern->kind,
                              .mode = pattern->mode,
                              .name = pattern->text,
                              .sequence = pattern->sequence,
                              .time_ms = pattern->time_ms};
        if (purge.sequence >= from && !purge_table_add_pattern(table, &purge)) {
            purge_table_destroy(table);
            return NULL;
        }
    }
    for (size_t i = 0; i < PURGE_KINDS; i++) {
        table->newest[i] = old->newest[i] >= from ? old->newest[i] : 0;
    }
    return table;
}
