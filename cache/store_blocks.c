/* store_blocks.c: two bitmaps: `used` is what goes to LMDB; `busy` has the bits of blocks that wait, too. Taking looks
 * at `busy` only, and not behind the bound. What a batch takes and gives back is remembered, to be undone. */
#include "cache/store_blocks.h"

#include <stdlib.h>
#include <string.h>

enum { WORD_BITS = 64, FIRST_EXTENTS = 64 };

struct extent_list {
    struct extent *items;
    size_t count;
    size_t capacity;
};

/* How many blocks are in a state. */
struct tally {
    uint64_t all;
    uint64_t within; /* the bound */
};

struct blocks {
    uint64_t capacity;
    uint64_t bound; /* those from it on are not taken */
    uint64_t segments;
    uint64_t words; /* of a bitmap: whole segments */
    uint64_t *used;
    uint64_t *busy;
    bool *dirty; /* a segment each */
    struct tally used_count;
    struct tally busy_count;
    uint64_t next;              /* where the search goes on */
    struct extent_list taken;   /* by the running batch */
    struct extent_list given;   /* back, by it */
    struct extent_list waiting; /* given back by the last committed batch: free when the next is committed */
};

static bool list_add(struct extent_list *list, struct extent extent);
static uint64_t find_free(const struct blocks *blocks, uint64_t from, uint64_t until);
static uint64_t run_length(const struct blocks *blocks, uint64_t first, uint64_t wanted);
static void set_bits(uint64_t *bitmap, struct extent extent);
static void clear_bits(uint64_t *bitmap, struct extent extent);
static bool all_set(const uint64_t *bitmap, struct extent extent);
static void tally_add(const struct blocks *blocks, struct tally *tally, struct extent extent);
static void tally_take(const struct blocks *blocks, struct tally *tally, struct extent extent);
static uint64_t bitmap_end(const struct blocks *blocks, const uint64_t *bitmap);
static void mark_dirty(struct blocks *blocks, struct extent extent);

struct blocks *blocks_create(uint64_t capacity)
{
    struct blocks *blocks = calloc(1, sizeof(*blocks));

    if (blocks == NULL) {
        return NULL;
    }
    blocks->capacity = capacity;
    blocks->bound = capacity;
    blocks->segments = (capacity + BLOCKS_PER_SEGMENT - 1) / BLOCKS_PER_SEGMENT;
    blocks->words = blocks->segments * BLOCKS_SEGMENT_WORDS;
    blocks->used = calloc((size_t)blocks->words + 1, sizeof(uint64_t));
    blocks->busy = calloc((size_t)blocks->words + 1, sizeof(uint64_t));
    blocks->dirty = calloc((size_t)blocks->segments + 1, sizeof(bool));
    if (blocks->used == NULL || blocks->busy == NULL || blocks->dirty == NULL) {
        blocks_destroy(blocks);
        return NULL;
    }
    return blocks;
}

void blocks_destroy(struct blocks *blocks)
{
    if (blocks == NULL) {
        return;
    }
    free(blocks->taken.items);
    free(blocks->given.items);
    free(blocks->waiting.items);
    free(blocks->used);
    free(blocks->busy);
    free(blocks->dirty);
    free(blocks);
}

/* The bits of a segment's word that stand for blocks there are. */
static uint64_t bits_within(uint64_t capacity, uint64_t word)
{
    uint64_t begin = word * WORD_BITS;

    return capacity >= begin + WORD_BITS ? ~UINT64_C(0)
           : capacity <= begin           ? 0
                                         : (UINT64_C(1) << (capacity - begin)) - 1;
}

bool blocks_load(struct blocks *blocks, uint64_t segment, const uint64_t words[BLOCKS_SEGMENT_WORDS])
{
    uint64_t at = segment * BLOCKS_SEGMENT_WORDS;
    struct tally set = {0};

    for (uint64_t i = 0; i < BLOCKS_SEGMENT_WORDS; i++) {
        uint64_t loaded = segment < blocks->segments ? blocks->busy[at + i] : 0;
        if ((words[i] & (loaded | ~bits_within(blocks->capacity, at + i))) != 0) {
            return false; /* behind the end, or loaded twice */
        }
    }
    for (uint64_t i = 0; segment < blocks->segments && i < BLOCKS_SEGMENT_WORDS; i++) {
        blocks->used[at + i] |= words[i];
        blocks->busy[at + i] |= words[i];
        uint64_t within = words[i] & bits_within(blocks->bound, at + i);
        set.all += (uint64_t)__builtin_popcountll(words[i]);
        set.within += (uint64_t)__builtin_popcountll(within);
    }
    blocks->used_count = (struct tally){blocks->used_count.all + set.all, blocks->used_count.within + set.within};
    blocks->busy_count = (struct tally){blocks->busy_count.all + set.all, blocks->busy_count.within + set.within};
    return true;
}

void blocks_set_bound(struct blocks *blocks, uint64_t bound)
{
    REQUIRE(bound <= blocks->capacity);
    blocks->bound = bound;
    blocks->next = blocks->next < bound ? blocks->next : 0;
    blocks->used_count = (struct tally){0};
    blocks->busy_count = (struct tally){0};
    for (uint64_t word = 0; word < blocks->words; word++) {
        uint64_t within = bits_within(bound, word);
        blocks->used_count.all += (uint64_t)__builtin_popcountll(blocks->used[word]);
        blocks->used_count.within += (uint64_t)__builtin_popcountll(blocks->used[word] & within);
        blocks->busy_count.all += (uint64_t)__builtin_popcountll(blocks->busy[word]);
        blocks->busy_count.within += (uint64_t)__builtin_popcountll(blocks->busy[word] & within);
    }
}

bool blocks_take(struct blocks *blocks, uint64_t wanted, struct extent *out_extent)
{
    uint64_t first = find_free(blocks, blocks->next, blocks->bound);

    if (first == blocks->bound) {
        first = find_free(blocks, 0, blocks->next);
        if (first == blocks->next) {
            return false;
        }
    }
    struct extent extent = {first, run_length(blocks, first, wanted)};
    if (wanted == 0 || !list_add(&blocks->taken, extent)) {
        return false;
    }
    set_bits(blocks->used, extent);
    set_bits(blocks->busy, extent);
    tally_add(blocks, &blocks->used_count, extent);
    tally_add(blocks, &blocks->busy_count, extent);
    mark_dirty(blocks, extent);
    blocks->next = (first + extent.count) % blocks->bound;
    *out_extent = extent;
    return true;
}

enum err blocks_give_back(struct blocks *blocks, struct extent extent)
{
    if (extent.count == 0 || extent.first >= blocks->capacity || extent.count > blocks->capacity - extent.first ||
        !all_set(blocks->used, extent)) {
        return ERR_DAMAGED;
    }
    if (!list_add(&blocks->given, extent)) {
        return ERR_NO_MEMORY;
    }
    clear_bits(blocks->used, extent);
    tally_take(blocks, &blocks->used_count, extent);
    mark_dirty(blocks, extent);
    return ERR_OK;
}

bool blocks_next_dirty(const struct blocks *blocks, uint64_t *segment, const uint64_t **out_words)
{
    while (*segment < blocks->segments && !blocks->dirty[*segment]) {
        *segment += 1;
    }
    if (*segment == blocks->segments) {
        return false;
    }
    *out_words = blocks->used + *segment * BLOCKS_SEGMENT_WORDS;
    return true;
}

static void end_batch(struct blocks *blocks)
{
    blocks->taken.count = 0;
    blocks->given.count = 0;
    memset(blocks->dirty, 0, (size_t)blocks->segments * sizeof(bool));
}

void blocks_commit(struct blocks *blocks)
{
    for (size_t i = 0; i < blocks->waiting.count; i++) {
        clear_bits(blocks->busy, blocks->waiting.items[i]);
        tally_take(blocks, &blocks->busy_count, blocks->waiting.items[i]);
    }
    blocks->waiting.count = 0;
    struct extent_list spare = blocks->waiting;
    blocks->waiting = blocks->given;
    blocks->given = spare;
    end_batch(blocks);
}

/* In reverse: what was taken may have been given back in the same batch. */
void blocks_abort(struct blocks *blocks)
{
    for (size_t i = 0; i < blocks->given.count; i++) {
        set_bits(blocks->used, blocks->given.items[i]);
        tally_add(blocks, &blocks->used_count, blocks->given.items[i]);
    }
    for (size_t i = 0; i < blocks->taken.count; i++) {
        clear_bits(blocks->used, blocks->taken.items[i]);
        clear_bits(blocks->busy, blocks->taken.items[i]);
        tally_take(blocks, &blocks->used_count, blocks->taken.items[i]);
        tally_take(blocks, &blocks->busy_count, blocks->taken.items[i]);
    }
    end_batch(blocks);
}

uint64_t blocks_used(const struct blocks *blocks)
{
    return blocks->used_count.all;
}

uint64_t blocks_used_within(const struct blocks *blocks)
{
    return blocks->used_count.within;
}

uint64_t blocks_end(const struct blocks *blocks)
{
    return bitmap_end(blocks, blocks->used);
}

uint64_t blocks_busy_end(const struct blocks *blocks)
{
    return bitmap_end(blocks, blocks->busy);
}

uint64_t blocks_available(const struct blocks *blocks)
{
    return blocks->bound - blocks->busy_count.within;
}

/* ---- helpers ---- */

static bool list_add(struct extent_list *list, struct extent extent)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? FIRST_EXTENTS : list->capacity * 2;
        struct extent *grown = realloc(list->items, capacity * sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        list->items = grown;
        list->capacity = capacity;
    }
    list->items[list->count] = extent;
    list->count++;
    return true;
}

/* The first block from `from` on that is not busy; `until` if there is none before it. */
static uint64_t find_free(const struct blocks *blocks, uint64_t from, uint64_t until)
{
    uint64_t at = from;

    while (at < until) {
        uint64_t clear = ~blocks->busy[at / WORD_BITS] >> at % WORD_BITS;
        if (clear != 0) {
            at += (uint64_t)__builtin_ctzll(clear);
            return at < until ? at : until;
        }
        at += WORD_BITS - at % WORD_BITS;
    }
    return until;
}

/* How many blocks from `first` on, up to the bound, are not busy, `wanted` at most. */
static uint64_t run_length(const struct blocks *blocks, uint64_t first, uint64_t wanted)
{
    uint64_t length = 0;

    wanted = wanted < blocks->bound - first ? wanted : blocks->bound - first;
    while (length < wanted) {
        uint64_t at = first + length;
        uint64_t busy = blocks->busy[at / WORD_BITS] >> at % WORD_BITS;
        uint64_t in_word = WORD_BITS - at % WORD_BITS;
        uint64_t run = busy == 0 ? in_word : (uint64_t)__builtin_ctzll(busy);
        length += run;
        if (run < in_word) {
            break;
        }
    }
    return length < wanted ? length : wanted;
}

/* The bits of word `word` that belong to the extent. */
static uint64_t mask_of(struct extent extent, uint64_t word)
{
    uint64_t begin = word * WORD_BITS;
    uint64_t end = extent.first + extent.count;
    uint64_t from = extent.first > begin ? extent.first - begin : 0;
    uint64_t until = end < begin + WORD_BITS ? end - begin : WORD_BITS;

    return (until == WORD_BITS ? ~UINT64_C(0) : (UINT64_C(1) << until) - 1) & ~UINT64_C(0) << from;
}

static void set_bits(uint64_t *bitmap, struct extent extent)
{
    for (uint64_t word = extent.first / WORD_BITS; word * WORD_BITS < extent.first + extent.count; word++) {
        bitmap[word] |= mask_of(extent, word);
    }
}

static void clear_bits(uint64_t *bitmap, struct extent extent)
{
    for (uint64_t word = extent.first / WORD_BITS; word * WORD_BITS < extent.first + extent.count; word++) {
        bitmap[word] &= ~mask_of(extent, word);
    }
}

static bool all_set(const uint64_t *bitmap, struct extent extent)
{
    for (uint64_t word = extent.first / WORD_BITS; word * WORD_BITS < extent.first + extent.count; word++) {
        uint64_t mask = mask_of(extent, word);
        if ((bitmap[word] & mask) != mask) {
            return false;
        }
    }
    return true;
}

static uint64_t within_bound(const struct blocks *blocks, struct extent extent)
{
    uint64_t until = extent.first + extent.count < blocks->bound ? extent.first + extent.count : blocks->bound;

    return until > extent.first ? until - extent.first : 0;
}

static void tally_add(const struct blocks *blocks, struct tally *tally, struct extent extent)
{
    tally->all += extent.count;
    tally->within += within_bound(blocks, extent);
}

static void tally_take(const struct blocks *blocks, struct tally *tally, struct extent extent)
{
    tally->all -= extent.count;
    tally->within -= within_bound(blocks, extent);
}

/* Behind the last bit that is set. */
static uint64_t bitmap_end(const struct blocks *blocks, const uint64_t *bitmap)
{
    for (uint64_t word = blocks->words; word > 0; word--) {
        if (bitmap[word - 1] != 0) {
            return word * WORD_BITS - (uint64_t)__builtin_clzll(bitmap[word - 1]);
        }
    }
    return 0;
}

static void mark_dirty(struct blocks *blocks, struct extent extent)
{
    uint64_t last = (extent.first + extent.count - 1) / BLOCKS_PER_SEGMENT;

    for (uint64_t segment = extent.first / BLOCKS_PER_SEGMENT; segment <= last; segment++) {
        blocks->dirty[segment] = true;
    }
}
