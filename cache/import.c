/* import.c: from an archive to a store. See transfer.h.
 *
 * Bytes are collected as streams of the store ([key][head][body]) in one buffer, as large as a batch; when it is full
 * it is applied: what is whole is published, and of the response in hand whole pieces are written. It is published in
 * the batch that has its end, which is after its digest was checked, or its pieces are dropped again. */
#include <stdlib.h>
#include <string.h>

#include "cache/freshness.h"
#include "cache/purge.h"
#include "cache/transfer.h"

enum {
    BATCH_RESPONSES = 512,
    BATCH_OPS = 2 * BATCH_RESPONSES + 2,
    FIRST_MIN_BYTES = 64 * 1024, /* of a body that is not whole: store.h, STORE_OP_PIECES */
    SLACK_BYTES = ARCHIVE_FRAME_MAX_BYTES + STORE_PIECE_BYTES, /* what one frame may add to a batch that is not full */
    KEYS_BYTES = 64 * 1024 * 1024,                             /* of a batch: keys and selections */
    LOOK_BYTES = 64 * 1024 * 1024,                             /* variants of one key, while they are compared */
    MS_PER_S = 1000,
};

enum state { IDLE, TAKING, SKIPPING };

/* When a purge was asked for. */
struct purge_time {
    uint64_t sequence;
    int64_t time_ms;
};

/* The response in hand. */
struct current {
    enum state state;
    uint64_t body_id;
    uint32_t next_piece; /* those before it are written */
    size_t start;        /* of what is not, in the buffer */
    struct record record;
    struct key key;
    struct span selection;
};

struct import {
    struct store *store;
    int64_t now_ms;
    struct import_result *result;
    int64_t export_ms;
    struct current current;
    struct store_reader *reader;
    struct arena keys; /* of the batch */
    struct arena look;
    char *bytes;
    size_t len;
    size_t batch_bytes;
    struct store_op ops[BATCH_OPS];
    struct record records[BATCH_OPS];
    size_t op_count;
    uint64_t max_stream_bytes;
    struct purge_time *purges; /* of the journal, rising */
    size_t purge_count;
    size_t purge_capacity;
    enum err purge_error;
};

static enum err load_purges(struct import *import);
static uint64_t birth_of(const struct import *import, const struct record *record);
static enum err run(struct import *import, struct archive_reader *archive);
static enum err take_event(struct import *import, enum archive_event event, const struct archive_response *response,
                           struct span data);
static enum err begin(struct import *import, const struct archive_response *response);
static enum err add_bytes(struct import *import, struct span bytes);
static enum err end_whole(struct import *import);
static enum err end_abandoned(struct import *import);
static enum err flush(struct import *import);
static bool keep_current_key(struct import *import);
static bool has_newer(struct import *import, const struct key *key, struct span selection, int64_t response_ms);
static void carry_age(struct record *record, int64_t export_ms, int64_t now_ms);

enum err import_run(struct store *store, struct archive_reader *archive, int64_t now_ms,
                    struct import_result *out_result)
{
    struct import *import = calloc(1, sizeof(*import));
    struct store_stats stats;
    enum err error = ERR_NO_MEMORY;

    *out_result = (struct import_result){0};
    if (import == NULL) {
        return ERR_NO_MEMORY;
    }
    store_stats_of(store, &stats);
    import->store = store;
    import->now_ms = now_ms;
    import->export_ms = archive_export_ms(archive);
    import->result = out_result;
    import->batch_bytes = (size_t)(store_batch_bytes(store) / STORE_PIECE_BYTES * STORE_PIECE_BYTES);
    import->max_stream_bytes = stats.size_bytes / 2;
    import->bytes = malloc(import->batch_bytes + SLACK_BYTES);
    import->reader = store_reader_create(store);
    arena_init(&import->keys, KEYS_BYTES);
    arena_init(&import->look, LOOK_BYTES);
    if (import->bytes != NULL && import->reader != NULL) {
        error = load_purges(import);
    }
    if (error == ERR_OK) {
        error = run(import, archive);
    }
    uint64_t had_evicted = stats.evictions;
    store_stats_of(store, &stats);
    out_result->evicted = stats.evictions - had_evicted;
    store_reader_destroy(import->reader);
    arena_finish(&import->keys);
    arena_finish(&import->look);
    free(import->bytes);
    free(import->purges);
    free(import);
    return error;
}

static enum err run(struct import *import, struct archive_reader *archive)
{
    enum archive_event event = ARCHIVE_RESPONSE;
    struct archive_response response;
    struct span data;
    enum err error = ERR_OK;

    while (error == ERR_OK && event != ARCHIVE_END) {
        error = archive_next(archive, &event, &response, &data);
        if (error == ERR_OK) {
            error = take_event(import, event, &response, data);
        }
    }
    /* What is whole stays, whatever came behind it. */
    enum err last = import->current.state == TAKING ? end_abandoned(import) : ERR_OK;
    if (last == ERR_OK) {
        last = flush(import);
    }
    return error == ERR_OK ? last : error;
}

static enum err take_event(struct import *import, enum archive_event event, const struct archive_response *response,
                           struct span data)
{
    bool taking = import->current.state == TAKING;

    switch (event) {
    case ARCHIVE_RESPONSE:
        return begin(import, response);
    case ARCHIVE_DATA:
        return taking ? add_bytes(import, data) : ERR_OK;
    case ARCHIVE_WHOLE:
        import->current.state = IDLE;
        return taking ? end_whole(import) : ERR_OK;
    case ARCHIVE_ABANDONED:
        import->current.state = IDLE;
        import->result->abandoned++;
        return taking ? end_abandoned(import) : ERR_OK;
    case ARCHIVE_END:
        return ERR_OK;
    }
    UNREACHABLE();
}

static enum err begin(struct import *import, const struct archive_response *response)
{
    struct current *current = &import->current;
    uint64_t total = (uint64_t)response->key.len + response->head.len + response->record.body_len;

    *current = (struct current){.state = SKIPPING, .start = import->len, .record = response->record};
    if (total > import->max_stream_bytes) {
        import->result->too_large++;
        return ERR_OK;
    }
    current->key = (struct key){.text = response->key, .hash = key_hash_of(response->key, store_secret(import->store))};
    if (has_newer(import, &current->key, response->selection, response->record.inputs.response_ms)) {
        import->result->kept++;
        return ERR_OK;
    }
    if (!arena_copy(&import->keys, response->key, &current->key.text) ||
        !arena_copy(&import->keys, response->selection, &current->selection)) {
        return ERR_NO_MEMORY;
    }
    current->record.purge_sequence = birth_of(import, &response->record);
    carry_age(&current->record, import->export_ms, import->now_ms);
    current->state = TAKING;
    current->body_id = store_new_body_id(import->store);
    enum err error = add_bytes(import, response->key);
    return error == ERR_OK ? add_bytes(import, response->head) : error;
}

/* One frame at most. */
static enum err add_bytes(struct import *import, struct span bytes)
{
    if (bytes.len > 0) {
        memcpy(import->bytes + import->len, bytes.data, bytes.len);
        import->len += bytes.len;
    }
    return import->len >= import->batch_bytes ? flush(import) : ERR_OK;
}

/* The op's own room for what it refers to. */
static struct store_op *add_op(struct import *import, enum store_op_kind kind)
{
    struct store_op *op = &import->ops[import->op_count];

    REQUIRE(import->op_count < BATCH_OPS);
    *op = (struct store_op){.kind = kind, .body_id = import->current.body_id};
    import->op_count++;
    return op;
}

/* The bytes of the response in hand, as far as they go into this batch. */
static void add_pieces(struct import *import, size_t len)
{
    struct current *current = &import->current;
    struct store_op *op = add_op(import, STORE_OP_PIECES);

    op->first_piece = current->next_piece;
    op->prefix_len = current->record.key_len + current->record.head_len;
    op->bytes = (struct span){import->bytes + current->start, len};
    current->start += len;
    current->next_piece += (uint32_t)(len / STORE_PIECE_BYTES);
}

static enum err end_whole(struct import *import)
{
    struct current *current = &import->current;

    add_pieces(import, import->len - current->start);
    struct store_op *op = add_op(import, STORE_OP_PUBLISH);
    struct record *record = &import->records[import->op_count - 1];
    *record = current->record;
    op->key = current->key;
    op->selection = current->selection;
    op->record = record;
    return import->op_count + 2 >= BATCH_OPS ? flush(import) : ERR_OK;
}

static enum err end_abandoned(struct import *import)
{
    import->current.state = IDLE;
    import->len = import->current.start;
    if (import->current.next_piece == 0) {
        return ERR_OK; /* nothing of it was written */
    }
    (void)add_op(import, STORE_OP_DROP_BODY);
    return import->op_count + 2 >= BATCH_OPS ? flush(import) : ERR_OK;
}

/* Applies the batch; what is left of the response in hand moves to the front. */
static enum err flush(struct import *import)
{
    struct current *current = &import->current;
    bool taking = current->state == TAKING;
    size_t rest = 0;

    if (taking) {
        size_t whole = (import->len - current->start) / STORE_PIECE_BYTES * STORE_PIECE_BYTES;
        /* The store chooses a body's place by its first bytes: too few of them wait for the next batch. */
        if (whole >= FIRST_MIN_BYTES || (whole > 0 && current->next_piece > 0)) {
            add_pieces(import, whole);
        }
        rest = import->len - current->start;
    }
    enum err error = import->op_count > 0 ? store_apply(import->store, import->ops, import->op_count) : ERR_OK;
    for (size_t i = 0; i < import->op_count && error == ERR_OK; i++) {
        if (import->ops[i].kind == STORE_OP_PUBLISH && import->ops[i].done) {
            import->result->responses++;
            import->result->body_bytes += import->ops[i].record->body_len;
        }
    }
    memmove(import->bytes, import->bytes + current->start, rest);
    import->len = rest;
    import->op_count = 0;
    current->start = 0;
    return keep_current_key(import) ? error : ERR_NO_MEMORY;
}

/* The batch's keys go, but for that of the response in hand. */
static bool keep_current_key(struct import *import)
{
    struct current *current = &import->current;
    bool kept = true;
    struct arena keys;

    arena_init(&keys, KEYS_BYTES);
    if (current->state == TAKING) {
        kept = arena_copy(&keys, current->key.text, &current->key.text) &&
               arena_copy(&keys, current->selection, &current->selection);
    }
    arena_finish(&import->keys);
    import->keys = keys;
    return kept;
}

/* ---- purges ---- */

/* A row that cannot be read is of no known time: it names everything that was asked for before now. */
static bool on_purge(void *arg, uint64_t sequence, struct span row) /* store_purge_fn */
{
    enum { FIRST_CAPACITY = 64 };
    struct import *import = arg;
    struct purge purge;

    if (import->purge_count == import->purge_capacity) {
        size_t capacity = import->purge_capacity == 0 ? FIRST_CAPACITY : import->purge_capacity * 2;
        struct purge_time *grown = realloc(import->purges, capacity * sizeof(*grown));
        if (grown == NULL) {
            import->purge_error = ERR_NO_MEMORY;
            return false;
        }
        import->purges = grown;
        import->purge_capacity = capacity;
    }
    bool known = purge_decode(row, sequence, &purge);
    import->purges[import->purge_count++] =
        (struct purge_time){.sequence = sequence, .time_ms = known ? purge.time_ms : INT64_MAX};
    return true;
}

static enum err load_purges(struct import *import)
{
    enum err error = store_each_purge(import->reader, 0, on_purge, import);

    return error == ERR_OK ? import->purge_error : error;
}

/* As if it had been asked for here when it was asked for there: the purges of that moment and later ones name it. Where
 * the clocks disagree so much that nothing can be said, all of them do. */
static uint64_t birth_of(const struct import *import, const struct record *record)
{
    if (import->now_ms < import->export_ms && import->purge_count > 0) {
        return import->purges[0].sequence - 1;
    }
    for (size_t i = 0; i < import->purge_count; i++) {
        if (import->purges[i].time_ms >= record->inputs.request_ms) {
            return import->purges[i].sequence - 1;
        }
    }
    return store_newest_purge(import->store);
}

/* ---- what is there already ---- */

struct newer {
    struct span selection;
    int64_t response_ms;
    bool found;
};

static bool on_variant(void *arg, const struct stored *stored) /* store_variant_fn */
{
    struct newer *newer = arg;

    newer->found =
        span_equal(stored->selection, newer->selection) && stored->record.inputs.response_ms >= newer->response_ms;
    return !newer->found;
}

static bool has_newer(struct import *import, const struct key *key, struct span selection, int64_t response_ms)
{
    struct newer newer = {.selection = selection, .response_ms = response_ms};

    arena_reset(&import->look);
    (void)store_each_variant(import->reader, key, &import->look, on_variant, &newer);
    return newer.found;
}

/* RFC 9111 §4.2.3: with clocks that agree, nothing needs to be done: resident_time is the time since it was received,
 * wherever it was spent. A clock that is behind would make it younger than it is; then it was received now, with the
 * age it had when it was exported. */
static void carry_age(struct record *record, int64_t export_ms, int64_t now_ms)
{
    struct freshness_inputs *inputs = &record->inputs;

    if (now_ms >= export_ms) {
        return;
    }
    int64_t age_s = freshness_age_ms(inputs, export_ms) / MS_PER_S + 1;
    inputs->age_s = age_s < INT32_MAX ? age_s : INT32_MAX;
    inputs->request_ms = now_ms;
    inputs->response_ms = now_ms;
}
