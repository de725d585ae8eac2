/* flight.c: see flight.h: its life, what the producer and the disk thread do with it. Who follows: flight_followers.c;
 * the bytes: segments.c. */
#include "cache/flight_internal.h"

#include <string.h>

static void set_phase(struct flight *flight, enum flight_phase phase, enum err error);
static enum err append_locked(struct flight *flight, struct span bytes);

struct flight *flight_create(struct span key, size_t window_bytes, struct stream_memory *memory)
{
    struct flight *flight = calloc(1, sizeof(*flight));
    char *copy = malloc(key.len + 1);

    if (flight == NULL || copy == NULL) {
        free(flight);
        free(copy);
        return NULL;
    }
    memcpy(copy, key.data, key.len);
    flight->key = (struct span){copy, key.len};
    flight->window_bytes = window_bytes;
    flight->bytes.memory = memory;
    atomic_init(&flight->references, 1);
    REQUIRE(pthread_mutex_init(&flight->mutex, NULL) == 0);
    return flight;
}

struct flight *flight_ref(struct flight *flight)
{
    atomic_fetch_add_explicit(&flight->references, 1, memory_order_relaxed);
    return flight;
}

void flight_unref(struct flight *flight)
{
    if (flight == NULL || atomic_fetch_sub_explicit(&flight->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    REQUIRE(flight->followers == NULL);
    segments_finish(&flight->bytes);
    if (flight->store != NULL) {
        store_unpin(flight->store, flight->head.record.body_id);
    }
    REQUIRE(pthread_mutex_destroy(&flight->mutex) == 0);
    free(flight->trailers);
    free(flight->head_memory);
    free((char *)(uintptr_t)flight->key.data);
    free(flight);
}

void flight_share(struct flight *flight)
{
    if (!flight->shared) { /* else others look at it already */
        flight->shared = true;
    }
}

struct span flight_key(const struct flight *flight)
{
    return flight->key;
}

bool flight_rekey(struct flight *flight, struct span key)
{
    char *copy = malloc(key.len + 1);

    if (copy == NULL) {
        return false;
    }
    memcpy(copy, key.data, key.len);
    flight_enter(flight);
    REQUIRE(flight->phase == FLIGHT_PENDING);
    free((char *)(uintptr_t)flight->key.data);
    flight->key = (struct span){copy, key.len};
    flight_leave(flight);
    return true;
}

void flight_set_begun(struct flight *flight, uint64_t monotonic_ms)
{
    flight->begun_ms = monotonic_ms;
}

uint64_t flight_begun_ms(const struct flight *flight)
{
    return flight->begun_ms;
}

/* ---- the producer ---- */

void flight_set_producer(struct flight *flight, struct party *producer)
{
    flight_enter(flight);
    flight->producer = producer;
    flight_leave(flight);
}

/* The list of `head`, in `items`, over a copy of its fields that will lie at `fields`. */
static void keep_lines(struct headers *lines, const struct flight_head *head, struct header *items, const char *fields)
{
    *lines = (struct headers){.count = head->lines.count, .capacity = head->lines.count, .names = head->lines.names};
    lines->items = items;
    for (size_t i = 0; i < lines->count; i++) {
        const struct header *line = &head->lines.items[i];
        items[i] = (struct header){.name = {fields + (line->name.data - head->fields.data), line->name.len},
                                   .value = {fields + (line->value.data - head->fields.data), line->value.len}};
    }
}

/* Copies the head's texts, which the caller's arena will take away. */
static bool keep_head(struct flight *flight, const struct flight_head *head)
{
    size_t list_bytes = head->lines.count * sizeof(struct header);
    char *memory = malloc(list_bytes + head->fields.len + head->passed.len + head->selection.len + 1);

    if (memory == NULL) {
        return false;
    }
    flight->head = *head;
    flight->head_memory = memory;
    keep_lines(&flight->head.lines, head, (struct header *)(void *)memory, memory + list_bytes);
    memory += list_bytes;
    struct span *texts[] = {&flight->head.fields, &flight->head.passed, &flight->head.selection};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (texts[i]->len > 0) {
            memcpy(memory, texts[i]->data, texts[i]->len);
        }
        texts[i]->data = memory;
        memory += texts[i]->len;
    }
    flight->head.record.head_override = (struct span){NULL, 0};
    flight->head.record.slices = (struct span){NULL, 0};
    return true;
}

enum err flight_set_head(struct flight *flight, const struct flight_head *head, struct store *store,
                         size_t window_bytes)
{
    enum err error = ERR_OK;

    if (store != NULL) {
        flight_share(flight); /* with the thread that writes it */
    }
    flight_enter(flight);
    REQUIRE(flight->phase == FLIGHT_PENDING);
    if (!keep_head(flight, head)) {
        error = ERR_NO_MEMORY;
    } else if (store != NULL) {
        flight->head.record.key_len = (uint32_t)flight->key.len;
        flight->head.record.head_len = (uint32_t)flight->head.fields.len;
        flight->body_offset = flight->key.len + flight->head.fields.len;
        flight->window_bytes = window_bytes;
        error = append_locked(flight, flight->key);
        if (error == ERR_OK) {
            error = append_locked(flight, flight->head.fields);
        }
        if (error == ERR_OK && !store_pin(store, flight->head.record.body_id)) {
            error = ERR_NO_MEMORY;
        }
        if (error == ERR_OK) {
            flight->storing = true;
            flight->store = store;
        }
    }
    if (error == ERR_OK) {
        set_phase(flight, FLIGHT_STREAMING, ERR_OK);
    }
    flight_leave(flight);
    return error;
}

size_t flight_room(struct flight *flight)
{
    size_t room = 0;

    flight_enter(flight);
    uint64_t held = flight->bytes.length - flight->bytes.base;
    size_t window_bytes = flight_window(flight);
    if (held < window_bytes) {
        room = window_bytes - (size_t)held;
    } else {
        flight->starved = true;
    }
    flight_leave(flight);
    return room;
}

enum err flight_append(struct flight *flight, struct span bytes)
{
    flight_enter(flight);
    REQUIRE(flight->phase == FLIGHT_STREAMING);
    enum err error = append_locked(flight, bytes);
    if (error == ERR_OK) {
        flight_wake_followers(flight);
    }
    flight_leave(flight);
    return error;
}

void flight_complete(struct flight *flight, struct span trailers)
{
    flight_enter(flight);
    REQUIRE(flight->phase == FLIGHT_STREAMING);
    if (trailers.len > 0) {
        flight->trailers = malloc(trailers.len);
        if (flight->trailers != NULL) { /* without memory they are dropped, as any recipient may (RFC 9110 §6.5.1) */
            memcpy(flight->trailers, trailers.data, trailers.len);
            flight->trailers_len = trailers.len;
        }
    }
    set_phase(flight, FLIGHT_COMPLETE, ERR_OK);
    flight_leave(flight);
}

void flight_fail(struct flight *flight, enum err error)
{
    flight_enter(flight);
    set_phase(flight, FLIGHT_FAILED, error);
    flight_leave(flight);
}

void flight_set_validated(struct flight *flight)
{
    flight_enter(flight);
    REQUIRE(flight->phase == FLIGHT_PENDING);
    set_phase(flight, FLIGHT_VALIDATED, ERR_OK);
    flight_leave(flight);
}

void flight_set_refused(struct flight *flight)
{
    flight_enter(flight);
    REQUIRE(flight->phase == FLIGHT_PENDING);
    set_phase(flight, FLIGHT_REFUSED, ERR_OK);
    flight_leave(flight);
}

void flight_set_store_reason(struct flight *flight, enum reason reason)
{
    atomic_store_explicit(&flight->store_reason, (int)reason, memory_order_relaxed);
}

enum reason flight_store_reason(const struct flight *flight)
{
    return (enum reason)atomic_load_explicit(&flight->store_reason, memory_order_relaxed);
}

void flight_set_digest(struct flight *flight, const uint8_t digest[DIGEST_BYTES])
{
    flight_enter(flight);
    memcpy(flight->digest, digest, DIGEST_BYTES);
    flight->has_digest = true;
    flight_leave(flight);
}

bool flight_digest(struct flight *flight, uint8_t out_digest[DIGEST_BYTES])
{
    flight_enter(flight);
    bool has = flight->has_digest;
    if (has) {
        memcpy(out_digest, flight->digest, DIGEST_BYTES);
    }
    flight_leave(flight);
    return has;
}

bool flight_wanted(struct flight *flight)
{
    flight_enter(flight);
    bool wanted = flight->storing || flight->followers != NULL;
    flight_leave(flight);
    return wanted;
}

enum flight_phase flight_phase(struct flight *flight)
{
    flight_enter(flight);
    enum flight_phase phase = flight->phase;
    flight_leave(flight);
    return phase;
}

enum err flight_error(struct flight *flight)
{
    flight_enter(flight);
    enum err error = flight->error;
    flight_leave(flight);
    return error;
}

const struct flight_head *flight_head(const struct flight *flight)
{
    return &flight->head;
}

struct span flight_trailers(const struct flight *flight)
{
    return (struct span){flight->trailers, flight->trailers_len};
}

uint64_t flight_body_offset(const struct flight *flight)
{
    return flight->body_offset;
}

uint64_t flight_length(struct flight *flight)
{
    flight_enter(flight);
    uint64_t length = flight->bytes.length;
    flight_leave(flight);
    return length;
}

/* ---- the store's side ---- */

bool flight_next_write(struct flight *flight, uint64_t *out_offset, struct segment **out_segment,
                       struct span *out_bytes)
{
    bool found = false;

    flight_enter(flight);
    uint64_t end = flight->written + SEGMENT_BYTES;
    if (end > flight->bytes.length && flight->phase == FLIGHT_COMPLETE) {
        end = flight->bytes.length;
    }
    if (flight->storing && flight->written < end && end <= flight->bytes.length) {
        struct span run = segments_read(&flight->bytes, flight->written, out_segment);
        *out_offset = flight->written;
        *out_bytes = span_take(run, (size_t)(end - flight->written));
        flight->written = end;
        found = true;
    }
    flight_leave(flight);
    return found;
}

void flight_set_object_id(struct flight *flight, uint64_t object_id)
{
    atomic_store_explicit(&flight->object_id, object_id, memory_order_release);
}

uint64_t flight_object_id(const struct flight *flight)
{
    return atomic_load_explicit(&flight->object_id, memory_order_acquire);
}

void flight_committed(struct flight *flight, uint64_t offset)
{
    flight_enter(flight);
    if (offset > flight->committed) {
        flight->committed = offset;
        flight_release_bytes(flight);
    }
    flight_leave(flight);
}

bool flight_keep(struct flight *flight)
{
    flight_enter(flight);
    bool keep = flight->storing;
    flight->kept = keep;
    flight_leave(flight);
    return keep;
}

uint64_t flight_written(struct flight *flight)
{
    flight_enter(flight);
    uint64_t written = flight->written;
    flight_leave(flight);
    return written;
}

void flight_stop_storing(struct flight *flight)
{
    flight_enter(flight);
    if (flight->storing) {
        flight->storing = false;
        flight_release_bytes(flight);
        flight_wake_followers(flight);
        party_wake(flight->producer);
    }
    flight_leave(flight);
}

bool flight_is_storing(struct flight *flight)
{
    flight_enter(flight);
    bool storing = flight->storing;
    flight_leave(flight);
    return storing;
}

/* ---- helpers; between flight_enter and flight_leave ---- */

static void set_phase(struct flight *flight, enum flight_phase phase, enum err error)
{
    flight->phase = phase;
    flight->error = error;
    flight_wake_followers(flight);
}

static enum err append_locked(struct flight *flight, struct span bytes)
{
    const struct flight_head *head = &flight->head;
    uint64_t total = head->length_known ? flight->body_offset + head->body_len : UINT64_MAX;

    return segments_append(&flight->bytes, bytes, total);
}
