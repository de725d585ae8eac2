/* hot.c: see hot.h. A hash table of entries that are also in one list by age, on which SIEVE's hand walks from the
 * oldest to the newest: what was visited since it last passed stays. */
#include "cache/hot.h"

#include <stdlib.h>
#include <string.h>

#include "cache/head.h"
#include "cache/vary.h"

enum {
    BYTES_PER_BUCKET = 2048, /* about what an entry takes */
    MIN_BUCKETS = 64,
    MIN_SEEN = 8192,
    HEAD_SCRATCH_BYTES = 64 * 1024,
    LINE_BYTES = 64,   /* of the processor's caches */
    EXPECT_LINES = 32, /* of an entry: all but most of a long body, which is read in one go */
};

struct entry {
    struct hot_response response;
    struct entry *bucket_next;
    struct entry *newer;
    struct entry *older;
    struct key_hash hash;
    struct span key; /* this and all spans of the response lie behind the struct */
    size_t bytes;
    uint32_t version;
    unsigned holders;
    bool linked; /* in the table */
    bool visited;
};

struct hot {
    size_t limit_bytes;
    size_t bytes;
    size_t bucket_count; /* a power of two */
    struct entry **buckets;
    struct entry *newest;
    struct entry *oldest;
    struct entry *hand; /* the next that SIEVE looks at; NULL: the oldest */
    size_t seen_count;  /* a power of two */
    uint16_t *seen;     /* tags of keys that were found in the store lately, for hot_wanted; 0: none */
};

static size_t power_of_two(size_t least, size_t wanted)
{
    size_t power = least;

    while (power < wanted) {
        power *= 2;
    }
    return power;
}

/* As many keys are remembered as there can be entries, however short: what all fits must not be forgotten between two
 * requests for it because the others were asked for meanwhile. */
struct hot *hot_create(size_t limit_bytes)
{
    struct hot *hot = limit_bytes == 0 ? NULL : calloc(1, sizeof *hot);

    if (hot == NULL) {
        return NULL;
    }
    hot->limit_bytes = limit_bytes;
    hot->bucket_count = power_of_two(MIN_BUCKETS, limit_bytes / BYTES_PER_BUCKET);
    hot->buckets = calloc(hot->bucket_count, sizeof(struct entry *));
    hot->seen_count = power_of_two(MIN_SEEN, limit_bytes / sizeof(struct entry));
    hot->seen = calloc(hot->seen_count, sizeof(*hot->seen));
    if (hot->buckets == NULL || hot->seen == NULL) {
        hot_destroy(hot);
        return NULL;
    }
    return hot;
}

static struct entry **bucket_of(struct hot *hot, struct key_hash hash)
{
    return &hot->buckets[hash.low & (hot->bucket_count - 1)];
}

/* Takes it out of the table; its memory goes with the last holder. */
static void leave(struct hot *hot, struct entry *entry)
{
    struct entry **link = bucket_of(hot, entry->hash);

    while (*link != entry) {
        link = &(*link)->bucket_next;
    }
    *link = entry->bucket_next;
    if (hot->hand == entry) {
        hot->hand = entry->newer;
    }
    *(hot->newest == entry ? &hot->newest : &entry->newer->older) = entry->older;
    *(hot->oldest == entry ? &hot->oldest : &entry->older->newer) = entry->newer;
    hot->bytes -= entry->bytes;
    entry->linked = false;
    if (entry->holders == 0) {
        free(entry);
    }
}

void hot_retire(struct hot *hot)
{
    if (hot == NULL) {
        return;
    }
    hot->limit_bytes = 0; /* nothing is so short */
    while (hot->oldest != NULL) {
        leave(hot, hot->oldest);
    }
}

void hot_destroy(struct hot *hot)
{
    if (hot == NULL) {
        return;
    }
    while (hot->oldest != NULL) {
        REQUIRE(hot->oldest->holders == 0);
        leave(hot, hot->oldest);
    }
    free(hot->buckets);
    free(hot->seen);
    free(hot);
}

struct hot_response *hot_find(struct hot *hot, const struct key *key, const struct headers *request, uint32_t version,
                              struct arena *arena)
{
    struct entry *next;

    for (struct entry *entry = *bucket_of(hot, key->hash); entry != NULL; entry = next) {
        next = entry->bucket_next;
        if (!key_hash_equal(entry->hash, key->hash) || !span_equal(entry->key, key->text)) {
            continue;
        }
        if (entry->version != version) {
            leave(hot, entry);
        } else if (vary_matches(entry->response.stored.selection, request, arena)) {
            entry->visited = true;
            entry->holders++;
            return &entry->response;
        }
    }
    return NULL;
}

/* Among many entries none is in the processor's caches when it is asked for: its lines are asked for at once. That some
 * lie behind a short one does no harm. */
static void expect(const struct entry *entry)
{
#pragma GCC unroll 32
    for (uintptr_t line = 0; line < EXPECT_LINES; line++) {
        __builtin_prefetch(
            (const void *)((uintptr_t)entry + line * LINE_BYTES)); /* NOLINT(performance-no-int-to-ptr) */
    }
}

bool hot_expect(struct hot *hot, const struct key *key)
{
    const struct entry *entry = *bucket_of(hot, key->hash);

    while (entry != NULL && !key_hash_equal(entry->hash, key->hash)) {
        entry = entry->bucket_next;
    }
    if (entry == NULL) {
        return false;
    }
    expect(entry);
    return true;
}

bool hot_wanted(struct hot *hot, const struct key *key)
{
    uint16_t *seen = &hot->seen[key->hash.low & (hot->seen_count - 1)];
    uint16_t tag = (uint16_t)(key->hash.high | 1);
    bool again = *seen == tag;

    *seen = tag;
    return again;
}

/* SIEVE: from the oldest to the newest, whatever was not visited since the last time goes. */
static void make_room(struct hot *hot, size_t bytes)
{
    while (hot->bytes + bytes > hot->limit_bytes && hot->oldest != NULL) {
        struct entry *entry = hot->hand == NULL ? hot->oldest : hot->hand;

        hot->hand = entry->newer;
        if (entry->visited) {
            entry->visited = false;
        } else {
            leave(hot, entry);
        }
    }
}

/* Copies `text` to `*to`, which moves behind it. */
static struct span put(char **to, struct span text)
{
    char *copy = *to;

    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    *to += text.len;
    return (struct span){copy, text.len};
}

/* The entry in one block: struct, field list, texts. NULL: no memory. */
static struct entry *entry_create(const struct key *key, const struct stored *stored, const struct headers *fields,
                                  struct span not_modified)
{
    size_t list_bytes = fields->count * sizeof(struct header);
    size_t bytes = sizeof(struct entry) + list_bytes + key->text.len + stored->head.len + not_modified.len +
                   stored->selection.len + stored->body_start.len;
    struct entry *entry = malloc(bytes);

    if (entry == NULL) {
        return NULL;
    }
    struct header *list = (struct header *)(entry + 1);
    char *to = (char *)(list + fields->count);
    *entry = (struct entry){.hash = key->hash, .bytes = bytes, .linked = true, .response.stored = *stored};
    entry->key = put(&to, key->text);
    entry->response.stored.head = put(&to, stored->head);
    entry->response.not_modified = put(&to, not_modified);
    entry->response.stored.selection = put(&to, stored->selection);
    entry->response.stored.body_start = put(&to, stored->body_start);
    entry->response.stored.record.head_override = (struct span){NULL, 0}; /* the head as it stands is in `head` */
    for (size_t i = 0; i < fields->count; i++) {                          /* the same places in the copy of the head */
        const char *base = entry->response.stored.head.data;
        const struct header *from = &fields->items[i];
        list[i].name = (struct span){base + (from->name.data - stored->head.data), from->name.len};
        list[i].value =
            (struct span){from->value.len == 0 ? base : base + (from->value.data - stored->head.data), from->value.len};
    }
    entry->response.headers =
        (struct headers){.items = list, .count = fields->count, .capacity = fields->count, .names = fields->names};
    return entry;
}

void hot_add(struct hot *hot, const struct key *key, const struct stored *stored, uint32_t version)
{
    struct arena scratch;
    struct headers fields;
    struct buf not_modified;
    struct entry *entry = NULL;

    if (stored->pinned || stored->body_start.len != stored->record.body_len ||
        stored->record.body_len > HOT_BODY_MAX_BYTES) {
        return;
    }
    arena_init(&scratch, HEAD_SCRATCH_BYTES);
    buf_init(&not_modified, HEAD_SCRATCH_BYTES);
    if (head_read(stored->head, &scratch, &fields) == ERR_OK) {
        head_write_not_modified(&fields, &not_modified);
        entry = not_modified.failed ? NULL : entry_create(key, stored, &fields, buf_span(&not_modified));
    }
    buf_finish(&not_modified);
    arena_finish(&scratch);
    if (entry == NULL) {
        return;
    }
    if (entry->bytes > hot->limit_bytes / 16) { /* one must not drive out everything else */
        free(entry);
        return;
    }
    make_room(hot, entry->bytes);
    struct entry **bucket = bucket_of(hot, key->hash);
    entry->version = version;
    entry->bucket_next = *bucket;
    *bucket = entry;
    entry->older = hot->newest;
    *(hot->newest == NULL ? &hot->oldest : &hot->newest->newer) = entry;
    hot->newest = entry;
    hot->bytes += entry->bytes;
}

void hot_release(struct hot_response *response)
{
    struct entry *entry = response == NULL ? NULL : CONTAINER_OF(response, struct entry, response);

    if (entry == NULL) {
        return;
    }
    REQUIRE(entry->holders > 0);
    entry->holders--;
    if (entry->holders == 0 && !entry->linked) {
        free(entry);
    }
}

size_t hot_bytes(const struct hot *hot)
{
    return hot->bytes;
}
