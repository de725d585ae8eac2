/* store_pending.c: bodies that belong to no object: those being written, those whose pieces wait to be deleted. The
 * next open finds them in `pending`.
 *
 * Most bodies are begun and published in the same batch. They get no row: it would be the only one in the table, and a
 * table that becomes empty costs a page, written with the batch though nothing is in it. That was a fifth of all that
 * was written for small objects. So the ids of bodies that a batch begins are kept in memory, and those of them that
 * are not published when it ends get their rows then. */
#include <stdlib.h>
#include <string.h>

#include "cache/store_batch.h"

enum { FIRST_BEGUN_COUNT = 256 };

static int put_row(struct batch *batch, uint64_t body_id, char kind)
{
    MDB_val key = {.mv_size = sizeof(body_id), .mv_data = &body_id};
    MDB_val data = {.mv_size = sizeof(kind), .mv_data = &kind};

    return batch_put(batch, TABLE_PENDING, &key, &data);
}

/* Where the id is, or should be. They come in nearly rising order. */
static size_t place_of(const struct begun *begun, uint64_t body_id)
{
    size_t low = 0;
    size_t high = begun->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (begun->bodies[middle].id < body_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* NULL: the running batch has not begun it, or it has ended. */
static struct begun_body *find_begun(const struct begun *begun, uint64_t body_id)
{
    size_t place = place_of(begun, body_id);
    bool found = place < begun->count && begun->bodies[place].id == body_id && !begun->bodies[place].ended;

    return found ? &begun->bodies[place] : NULL;
}

/* False: no memory. */
static bool has_room(struct begun *begun)
{
    if (begun->count < begun->capacity) {
        return true;
    }
    size_t capacity = begun->capacity == 0 ? FIRST_BEGUN_COUNT : begun->capacity * 2;
    struct begun_body *grown = realloc(begun->bodies, capacity * sizeof(*grown));
    if (grown == NULL) {
        return false;
    }
    begun->bodies = grown;
    begun->capacity = capacity;
    return true;
}

int batch_begin_body(struct batch *batch, uint64_t body_id)
{
    struct begun *begun = &batch->store->begun;
    size_t place = place_of(begun, body_id);

    if (find_begun(begun, body_id) != NULL) {
        return 0;
    }
    if (!has_room(begun)) {
        return put_row(batch, body_id, PENDING_UNFINISHED);
    }
    memmove(begun->bodies + place + 1, begun->bodies + place, (begun->count - place) * sizeof(*begun->bodies));
    begun->bodies[place] = (struct begun_body){.id = body_id};
    begun->count++;
    return 0;
}

/* False: it was not there. */
static bool end_begun(const struct begun *begun, uint64_t body_id)
{
    struct begun_body *body = find_begun(begun, body_id);

    if (body != NULL) {
        body->ended = true;
    }
    return body != NULL;
}

int batch_pending_kind(struct batch *batch, uint64_t body_id, char *out_kind)
{
    const struct begun *begun = &batch->store->begun;
    MDB_val key = {.mv_size = sizeof(body_id), .mv_data = &body_id};
    MDB_val data;

    *out_kind = PENDING_UNFINISHED;
    if (find_begun(begun, body_id) != NULL) {
        return 0;
    }
    int code = batch_get(batch, TABLE_PENDING, &key, &data);
    *out_kind = 0;
    if (code == 0 && data.mv_size == 1) {
        memcpy(out_kind, data.mv_data, 1);
    }
    return code == MDB_NOTFOUND ? 0 : code;
}

int batch_end_body(struct batch *batch, uint64_t body_id)
{
    MDB_val key = {.mv_size = sizeof(body_id), .mv_data = &body_id};

    return end_begun(&batch->store->begun, body_id) ? 0 : batch_delete(batch, TABLE_PENDING, &key);
}

int batch_reclaim_body(struct batch *batch, uint64_t body_id)
{
    (void)end_begun(&batch->store->begun, body_id);
    return put_row(batch, body_id, PENDING_RECLAIM);
}

int batch_save_pending(struct batch *batch)
{
    const struct begun *begun = &batch->store->begun;
    int code = 0;

    for (size_t i = 0; i < begun->count && code == 0; i++) {
        code = begun->bodies[i].ended ? 0 : put_row(batch, begun->bodies[i].id, PENDING_UNFINISHED);
    }
    return code;
}
