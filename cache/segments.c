/* segments.c: see segments.h. */
#include "cache/segments.h"

#include <stdatomic.h>
#include <string.h>

enum { FIRST_SEGMENT_BYTES = 4096 }; /* where the length is not known */

struct segment {
    atomic_uint references;
    size_t capacity;
    struct stream_memory *memory;
    struct segment *next; /* of the spares */
    char data[];
};

static struct slot *slot_to_fill(struct segments *segments, size_t more, uint64_t total_bytes);

void stream_memory_init(struct stream_memory *memory, size_t limit_bytes)
{
    *memory = (struct stream_memory){.limit_bytes = limit_bytes};
    REQUIRE(pthread_mutex_init(&memory->mutex, NULL) == 0);
}

void stream_memory_finish(struct stream_memory *memory)
{
    stream_memory_trim(memory);
    pthread_mutex_destroy(&memory->mutex);
}

void stream_memory_trim(struct stream_memory *memory)
{
    pthread_mutex_lock(&memory->mutex);
    struct segment *spare = memory->spares;
    memory->spares = NULL;
    memory->spare_count = 0;
    pthread_mutex_unlock(&memory->mutex);
    while (spare != NULL) {
        struct segment *next = spare->next;
        free(spare);
        spare = next;
    }
}

/* False: there are enough, or it is not a whole one. */
static bool spare(struct stream_memory *memory, struct segment *segment)
{
    bool kept = false;

    if (segment->capacity == SEGMENT_BYTES) {
        pthread_mutex_lock(&memory->mutex);
        kept = memory->spare_count < SPARE_SEGMENTS;
        if (kept) {
            segment->next = memory->spares;
            memory->spares = segment;
            memory->spare_count++;
        }
        pthread_mutex_unlock(&memory->mutex);
    }
    return kept;
}

/* The one that was given back last: it may still be in the processor's cache. NULL: there is none of this capacity. */
static struct segment *take_spare(struct stream_memory *memory, size_t capacity)
{
    struct segment *segment = NULL;

    if (capacity == SEGMENT_BYTES) {
        pthread_mutex_lock(&memory->mutex);
        segment = memory->spares;
        if (segment != NULL) {
            memory->spares = segment->next;
            memory->spare_count--;
        }
        pthread_mutex_unlock(&memory->mutex);
    }
    return segment;
}

void segment_unref(struct segment *segment)
{
    if (segment == NULL || atomic_fetch_sub_explicit(&segment->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct stream_memory *memory = segment->memory;
    if (memory != NULL) {
        atomic_fetch_sub_explicit(&memory->bytes, segment->capacity, memory_order_relaxed);
    }
    if (memory == NULL || !spare(memory, segment)) {
        free(segment);
    }
}

void segments_finish(struct segments *segments)
{
    for (size_t i = 0; i < segments->slot_count; i++) {
        segment_unref(segments->slots[segments->first_slot + i].segment);
    }
    if (segments->slots != segments->own) {
        free(segments->slots);
    }
    *segments = (struct segments){.memory = segments->memory};
}

enum err segments_append(struct segments *segments, struct span bytes, uint64_t total_bytes)
{
    while (bytes.len > 0) {
        struct slot *slot = slot_to_fill(segments, bytes.len, total_bytes);
        if (slot == NULL) {
            return ERR_NO_MEMORY;
        }
        size_t room = slot->segment->capacity - slot->len;
        size_t count = bytes.len < room ? bytes.len : room;
        memcpy(slot->segment->data + slot->len, bytes.data, count);
        slot->len += count;
        segments->length += count;
        bytes = span_skip(bytes, count);
    }
    return ERR_OK;
}

struct span segments_read(const struct segments *segments, uint64_t offset, struct segment **out_segment)
{
    REQUIRE(offset >= segments->base && offset < segments->length);
    size_t index = (size_t)(offset / SEGMENT_BYTES - segments->base / SEGMENT_BYTES);
    const struct slot *slot = &segments->slots[segments->first_slot + index];
    size_t skip = (size_t)(offset % SEGMENT_BYTES);

    atomic_fetch_add_explicit(&slot->segment->references, 1, memory_order_relaxed);
    *out_segment = slot->segment;
    return (struct span){slot->segment->data + skip, slot->len - skip};
}

void segments_release(struct segments *segments, uint64_t until, bool growing)
{
    while (segments->slot_count > 0) {
        struct slot *slot = &segments->slots[segments->first_slot];
        if ((growing && slot->len < SEGMENT_BYTES) || segments->base + slot->len > until) {
            return;
        }
        segment_unref(slot->segment);
        segments->base += slot->len;
        segments->first_slot++;
        segments->slot_count--;
    }
}

static struct segment *segment_create(struct stream_memory *memory, size_t capacity)
{
    struct segment *segment = memory != NULL ? take_spare(memory, capacity) : NULL;

    if (segment == NULL) {
        segment = malloc(sizeof(*segment) + capacity);
    }
    if (segment != NULL) {
        atomic_init(&segment->references, 1);
        segment->capacity = capacity;
        segment->memory = memory;
        if (memory != NULL) {
            atomic_fetch_add_explicit(&memory->bytes, capacity, memory_order_relaxed);
        }
    }
    return segment;
}

/* Room for one more slot at the end of the run. */
static bool slots_reserve(struct segments *segments)
{
    if (segments->first_slot + segments->slot_count < segments->slot_capacity) {
        return true;
    }
    if (segments->first_slot > 0) {
        REQUIRE(segments->slots != NULL);
        memmove(segments->slots, segments->slots + segments->first_slot,
                segments->slot_count * sizeof(*segments->slots));
        segments->first_slot = 0;
        return true;
    }
    if (segments->slots == NULL) {
        segments->slots = segments->own;
        segments->slot_capacity = ARRAY_LEN(segments->own);
        return true;
    }
    bool grown = segments->slots != segments->own;
    size_t capacity = segments->slot_capacity * 2;
    struct slot *slots = realloc(grown ? segments->slots : NULL, capacity * sizeof(*slots));
    if (slots == NULL) {
        return false;
    }
    if (!grown) {
        memcpy(slots, segments->own, sizeof(segments->own));
    }
    segments->slots = slots;
    segments->slot_capacity = capacity;
    return true;
}

/* How large the segment of the last slot should be, which holds `len` bytes and gets `more`. */
static size_t segment_size(const struct segments *segments, size_t len, size_t more, uint64_t total_bytes)
{
    size_t wanted = FIRST_SEGMENT_BYTES;

    if (total_bytes != UINT64_MAX) {
        uint64_t slot_start = segments->length - len;
        uint64_t left = total_bytes > slot_start ? total_bytes - slot_start : 0;
        wanted = left < SEGMENT_BYTES ? (size_t)left : SEGMENT_BYTES;
    }
    while (wanted < len + more && wanted < SEGMENT_BYTES) {
        wanted = wanted == 0 ? FIRST_SEGMENT_BYTES : wanted * 4;
    }
    return wanted < SEGMENT_BYTES ? wanted : SEGMENT_BYTES;
}

/* The last slot with room for at least one byte; NULL without memory. */
static struct slot *slot_to_fill(struct segments *segments, size_t more, uint64_t total_bytes)
{
    struct slot *last =
        segments->slot_count == 0 ? NULL : &segments->slots[segments->first_slot + segments->slot_count - 1];

    if (last != NULL && last->len < last->segment->capacity) {
        return last;
    }
    if (last != NULL && last->len < SEGMENT_BYTES) {
        struct segment *larger = segment_create(segments->memory, segment_size(segments, last->len, more, total_bytes));
        if (larger == NULL) {
            return NULL;
        }
        memcpy(larger->data, last->segment->data, last->len);
        segment_unref(last->segment);
        last->segment = larger;
        return last;
    }
    struct segment *segment = segment_create(segments->memory, segment_size(segments, 0, more, total_bytes));
    if (segment == NULL || !slots_reserve(segments)) {
        segment_unref(segment);
        return NULL;
    }
    REQUIRE(segments->slots != NULL);
    last = &segments->slots[segments->first_slot + segments->slot_count];
    *last = (struct slot){.segment = segment};
    segments->slot_count++;
    return last;
}
