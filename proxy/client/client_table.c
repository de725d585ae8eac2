/* client_table.c: see client_table.h. Chains in a fixed number of buckets; a client's entry goes with its last
 * connection. */
#include "proxy/client/client_table.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cache/key.h"

enum { BUCKET_COUNT = 16384 }; /* chains stay short for some ten thousand clients */

struct entry {
    struct entry *next;
    struct client_id id;
    uint64_t connections;
};

struct client_table {
    pthread_mutex_t mutex; /* guards the buckets */
    uint64_t secret;
    struct entry *buckets[BUCKET_COUNT];
};

struct client_table *client_table_create(uint64_t secret)
{
    struct client_table *table = calloc(1, sizeof(*table));

    if (table != NULL) {
        table->secret = secret;
        REQUIRE(pthread_mutex_init(&table->mutex, NULL) == 0);
    }
    return table;
}

void client_table_destroy(struct client_table *table)
{
    if (table == NULL) {
        return;
    }
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        REQUIRE(table->buckets[i] == NULL);
    }
    REQUIRE(pthread_mutex_destroy(&table->mutex) == 0);
    free(table);
}

/* Where the entry is linked, or would be. */
static struct entry **place_of(struct client_table *table, const struct client_id *id)
{
    struct span text = {(const char *)id->bytes, sizeof(id->bytes)};
    struct entry **place = &table->buckets[key_hash_of(text, table->secret).low % BUCKET_COUNT];

    while (*place != NULL && memcmp((*place)->id.bytes, id->bytes, sizeof(id->bytes)) != 0) {
        place = &(*place)->next;
    }
    return place;
}

bool client_table_enter(struct client_table *table, const struct client_id *id, uint64_t limit)
{
    bool entered = false;

    pthread_mutex_lock(&table->mutex);
    struct entry **place = place_of(table, id);
    if (*place == NULL) {
        *place = calloc(1, sizeof(**place));
        if (*place != NULL) {
            (*place)->id = *id;
        }
    }
    if (*place != NULL && (*place)->connections < limit) {
        (*place)->connections++;
        entered = true;
    }
    pthread_mutex_unlock(&table->mutex);
    return entered;
}

void client_table_leave(struct client_table *table, const struct client_id *id)
{
    pthread_mutex_lock(&table->mutex);
    struct entry **place = place_of(table, id);
    struct entry *entry = *place;
    REQUIRE(entry != NULL && entry->connections > 0);
    entry->connections--;
    if (entry->connections == 0) {
        *place = entry->next;
        free(entry);
    }
    pthread_mutex_unlock(&table->mutex);
}
