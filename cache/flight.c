/* flight.c: see flight.h. The bytes are segments.c's; here is who may read them, who waits, and when they may go. */
#include "cache/flight.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { SCARCE_WINDOW_BYTES = 64 * 1024 }; /* a slot, and the one that is being filled */

struct flight {
    atomic_uint references;
    struct span key;
    uint64_t begun_ms;       /* does not change once others see the flight */
    atomic_int store_reason; /* enum reason */
    atomic_uint_least64_t object_id;
    struct store *store;     /* set with the head of a stored flight; the body stays pinned there until destruction */
    struct flight_head head; /* written once, before `phase` leaves FLIGHT_PENDING */
    char *head_memory;       /* its texts */
    uint64_t body_offset;    /* written with the head */

    bool shared;           /* others may see it; before that it is its one thread's, and nothing is locked */
    pthread_mutex_t mutex; /* guards everything below, once it is shared */
    enum flight_phase phase;
    enum err error;
    bool storing;
    bool kept;    /* look-ups may find it: see flight_keep */
    bool starved; /* the producer was told that there is no room */
    size_t window_bytes;
    struct party *producer;
    struct party *followers;
    struct segments bytes;
    uint64_t written;
    uint64_t committed;
    uint64_t shed; /* followers that need what is before it were too slow */
    uint8_t digest[DIGEST_BYTES];
    bool has_digest;
    char *trailers;
    size_t trailers_len;
};

static void enter(struct flight *flight);
static void leave(struct flight *flight);
static void release_bytes(struct flight *flight);
static void link_follower(struct flight *flight, struct party *party);
static void wake(struct party *party);
static void wake_all(struct flight *flight);
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
    enter(flight);
    REQUIRE(flight->phase == FLIGHT_PENDING);
    free((char *)(uintptr_t)flight->key.data);
    flight->key = (struct span){copy, key.len};
    leave(flight);
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
    enter(flight);
    flight->producer = producer;
    leave(flight);
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
    enter(flight);
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
    leave(flight);
    return error;
}

/* Where all streams together have what they may, one has a slot, so that each still gets on. */
static size_t window_now(const struct flight *flight)
{
    const struct stream_memory *memory = flight->bytes.memory;
    bool scarce = memory != NULL && atomic_load_explicit(&memory->bytes, memory_order_relaxed) >= memory->limit_bytes;

    return scarce && flight->window_bytes > SCARCE_WINDOW_BYTES ? SCARCE_WINDOW_BYTES : flight->window_bytes;
}

size_t flight_room(struct flight *flight)
{
    size_t room = 0;

    enter(flight);
    uint64_t held = flight->bytes.length - flight->bytes.base;
    size_t window_bytes = window_now(flight);
    if (held < window_bytes) {
        room = window_bytes - (size_t)held;
    } else {
        flight->starved = true;
    }
    leave(flight);
    return room;
}

enum err flight_append(struct flight *flight, struct span bytes)
{
    enter(flight);
    REQUIRE(flight->phase == FLIGHT_STREAMING);
    enum err error = append_locked(flight, bytes);
    if (error == ERR_OK) {
        wake_all(flight);
    }
    leave(flight);
    return error;
}

void flight_complete(struct flight *flight, struct span trailers)
{
    enter(flight);
    REQUIRE(flight->phase == FLIGHT_STREAMING);
    if (trailers.len > 0) {
        flight->trailers = malloc(trailers.len);
        if (flight->trailers != NULL) { /* without memory they are dropped, as any recipient may (RFC 9110 §6.5.1) */
            memcpy(flight->trailers, trailers.data, trailers.len);
            flight->trailers_len = trailers.len;
        }
    }
    set_phase(flight, FLIGHT_COMPLETE, ERR_OK);
    leave(flight);
}

void flight_fail(struct flight *flight, enum err error)
{
    enter(flight);
    set_phase(flight, FLIGHT_FAILED, error);
    leave(flight);
}

void flight_set_validated(struct flight *flight)
{
    enter(flight);
    REQUIRE(flight->phase == FLIGHT_PENDING);
    set_phase(flight, FLIGHT_VALIDATED, ERR_OK);
    leave(flight);
}

void flight_set_refused(struct flight *flight)
{
    enter(flight);
    REQUIRE(flight->phase == FLIGHT_PENDING);
    set_phase(flight, FLIGHT_REFUSED, ERR_OK);
    leave(flight);
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
    enter(flight);
    memcpy(flight->digest, digest, DIGEST_BYTES);
    flight->has_digest = true;
    leave(flight);
}

bool flight_digest(struct flight *flight, uint8_t out_digest[DIGEST_BYTES])
{
    enter(flight);
    bool has = flight->has_digest;
    if (has) {
        memcpy(out_digest, flight->digest, DIGEST_BYTES);
    }
    leave(flight);
    return has;
}

void flight_shed_slow(struct flight *flight)
{
    uint64_t fastest = 0;

    enter(flight);
    for (const struct party *party = flight->followers; party != NULL; party = party->next) {
        fastest = party->consumed > fastest ? party->consumed : fastest;
    }
    if (!flight->storing && fastest > flight->window_bytes / 2) {
        flight->shed = fastest - flight->window_bytes / 2;
        release_bytes(flight);
        wake_all(flight);
    }
    leave(flight);
}

bool flight_wanted(struct flight *flight)
{
    enter(flight);
    bool wanted = flight->storing || flight->followers != NULL;
    leave(flight);
    return wanted;
}

/* ---- followers ---- */

void flight_follow(struct flight *flight, struct party *party)
{
    enter(flight);
    link_follower(flight, party);
    leave(flight);
}

bool flight_join(struct flight *flight, struct party *party)
{
    enter(flight);
    bool whole = flight->phase == FLIGHT_PENDING || flight->storing;
    if (whole) {
        link_follower(flight, party);
    }
    leave(flight);
    return whole;
}

void flight_unfollow(struct flight *flight, struct party *party)
{
    enter(flight);
    if (party->linked) {
        if (party->previous != NULL) {
            party->previous->next = party->next;
        } else {
            flight->followers = party->next;
        }
        if (party->next != NULL) {
            party->next->previous = party->previous;
        }
        party->linked = false;
        party->next = NULL;
        party->previous = NULL;
        release_bytes(flight);
        wake(flight->producer); /* it may not be wanted any more */
    }
    leave(flight);
}

bool flight_has_followers(struct flight *flight)
{
    enter(flight);
    bool has = flight->followers != NULL;
    leave(flight);
    return has;
}

unsigned flight_follower_count(struct flight *flight, unsigned max)
{
    unsigned count = 0;

    enter(flight);
    for (const struct party *party = flight->followers; party != NULL && count < max; party = party->next) {
        count++;
    }
    leave(flight);
    return count;
}

enum flight_phase flight_phase(struct flight *flight)
{
    enter(flight);
    enum flight_phase phase = flight->phase;
    leave(flight);
    return phase;
}

enum err flight_error(struct flight *flight)
{
    enter(flight);
    enum err error = flight->error;
    leave(flight);
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
    enter(flight);
    uint64_t length = flight->bytes.length;
    leave(flight);
    return length;
}

enum flight_read flight_read(struct flight *flight, uint64_t offset, struct segment **out_segment, struct span *out_run)
{
    enum flight_read result = FLIGHT_READ_WAIT;

    enter(flight);
    if (offset < flight->bytes.base) {
        result = offset < flight->committed || flight->kept ? FLIGHT_READ_IN_STORE : FLIGHT_READ_FAILED;
    } else if (offset < flight->bytes.length) {
        *out_run = segments_read(&flight->bytes, offset, out_segment);
        result = FLIGHT_READ_DATA;
    } else if (flight->phase == FLIGHT_COMPLETE) {
        result = FLIGHT_READ_END;
    } else if (flight->phase == FLIGHT_FAILED) {
        result = FLIGHT_READ_FAILED;
    }
    leave(flight);
    return result;
}

void flight_consumed(struct flight *flight, struct party *party, uint64_t offset)
{
    enter(flight);
    party->consumed = offset;
    if (!flight->storing) {
        release_bytes(flight);
    }
    leave(flight);
}

/* ---- the store's side ---- */

bool flight_next_write(struct flight *flight, uint64_t *out_offset, struct segment **out_segment,
                       struct span *out_bytes)
{
    bool found = false;

    enter(flight);
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
    leave(flight);
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
    enter(flight);
    if (offset > flight->committed) {
        flight->committed = offset;
        release_bytes(flight);
    }
    leave(flight);
}

bool flight_keep(struct flight *flight)
{
    enter(flight);
    bool keep = flight->storing;
    flight->kept = keep;
    leave(flight);
    return keep;
}

uint64_t flight_written(struct flight *flight)
{
    enter(flight);
    uint64_t written = flight->written;
    leave(flight);
    return written;
}

void flight_stop_storing(struct flight *flight)
{
    enter(flight);
    if (flight->storing) {
        flight->storing = false;
        release_bytes(flight);
        wake_all(flight);
        wake(flight->producer);
    }
    leave(flight);
}

bool flight_is_storing(struct flight *flight)
{
    enter(flight);
    bool storing = flight->storing;
    leave(flight);
    return storing;
}

void flight_wake_all(struct flight *flight)
{
    enter(flight);
    wake_all(flight);
    wake(flight->producer);
    leave(flight);
}

static void enter(struct flight *flight)
{
    if (flight->shared) {
        pthread_mutex_lock(&flight->mutex);
    }
}

static void leave(struct flight *flight)
{
    if (flight->shared) {
        pthread_mutex_unlock(&flight->mutex);
    }
}

/* ---- helpers; between enter and leave ---- */

static void wake(struct party *party)
{
    if (party != NULL) {
        party->wake(party);
    }
}

static void wake_all(struct flight *flight)
{
    for (struct party *party = flight->followers; party != NULL; party = party->next) {
        wake(party);
    }
}

static void set_phase(struct flight *flight, enum flight_phase phase, enum err error)
{
    flight->phase = phase;
    flight->error = error;
    wake_all(flight);
}

static void link_follower(struct flight *flight, struct party *party)
{
    REQUIRE(!party->linked);
    party->previous = NULL;
    party->next = flight->followers;
    if (party->next != NULL) {
        party->next->previous = party;
    }
    flight->followers = party;
    party->linked = true;
    party->consumed = 0;
}

/* What may leave memory: when stored, or found by look-ups, what is committed; else what every follower has consumed
 * (and what was committed before). */
static uint64_t releasable_offset(const struct flight *flight)
{
    uint64_t consumed = flight->bytes.length;

    if (flight->storing || flight->kept || flight->followers == NULL) {
        return flight->committed;
    }
    for (const struct party *party = flight->followers; party != NULL; party = party->next) {
        consumed = party->consumed < consumed ? party->consumed : consumed;
    }
    consumed = consumed > flight->shed ? consumed : flight->shed;
    return consumed > flight->committed ? consumed : flight->committed;
}

static void release_bytes(struct flight *flight)
{
    segments_release(&flight->bytes, releasable_offset(flight), flight->phase == FLIGHT_STREAMING);
    if (flight->starved && flight->bytes.length - flight->bytes.base < window_now(flight)) {
        flight->starved = false;
        wake(flight->producer);
    }
}

static enum err append_locked(struct flight *flight, struct span bytes)
{
    const struct flight_head *head = &flight->head;
    uint64_t total = head->length_known ? flight->body_offset + head->body_len : UINT64_MAX;

    return segments_append(&flight->bytes, bytes, total);
}
