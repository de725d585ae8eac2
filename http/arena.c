/* arena.c: blocks of memory in a list, newest first; allocation moves a mark forward in the newest one.
 *
 * A request that does not fit what is left of the newest block gets a new block; what was left is not used any more.
 * Blocks double in size, so that their number stays small whatever the limit is. */
#include "http/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_BLOCK_BYTES = 16 * 1024, /* holds the whole of an ordinary exchange */
    LARGEST_STEP_BYTES = 256 * 1024,
#ifdef __SANITIZE_ADDRESS__
    SPARES_MAX = 0, /* what was given back is poisoned */
#else
    SPARES_MAX = 64,
#endif
};

struct arena_block {
    struct arena_block *older;
    size_t capacity; /* bytes behind this struct */
    size_t used;
    alignas(max_align_t) char bytes[];
};

enum { FIRST_CAPACITY = FIRST_BLOCK_BYTES - sizeof(struct arena_block) };

static char *take(struct arena *arena, size_t bytes, size_t alignment);
static void give_back(struct arena_spares *spares, struct arena_block *block);
static struct arena_block *add_block(struct arena *arena, size_t bytes);

void arena_init(struct arena *arena, size_t limit_bytes)
{
    arena_init_sharing(arena, limit_bytes, NULL);
}

void arena_init_sharing(struct arena *arena, size_t limit_bytes, struct arena_spares *spares)
{
    *arena = (struct arena){.limit_bytes = limit_bytes, .spares = spares};
}

void arena_finish(struct arena *arena)
{
    if (arena == NULL) {
        return;
    }
    while (arena->blocks != NULL) {
        struct arena_block *older = arena->blocks->older;

        give_back(arena->spares, arena->blocks);
        arena->blocks = older;
    }
    arena->used_bytes = 0;
}

void arena_spares_finish(struct arena_spares *spares)
{
    while (spares->blocks != NULL) {
        struct arena_block *next = spares->blocks->older;

        free(spares->blocks);
        spares->blocks = next;
    }
    spares->count = 0;
}

enum err arena_error(const struct arena *arena)
{
    return arena->starved ? ERR_NO_MEMORY : ERR_ARENA_FULL;
}

void arena_reset(struct arena *arena)
{
    arena->starved = false;
    while (arena->blocks != NULL && arena->blocks->older != NULL) {
        struct arena_block *older = arena->blocks->older;

        free(arena->blocks);
        arena->blocks = older;
    }
    if (arena->blocks != NULL) {
        arena->blocks->used = 0;
    }
    arena->used_bytes = 0;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    char *memory = take(arena, bytes, alignof(max_align_t));

    return memory == NULL ? NULL : memset(memory, 0, bytes);
}

void *arena_alloc_raw(struct arena *arena, size_t bytes)
{
    return take(arena, bytes, alignof(max_align_t));
}

char *arena_alloc_text(struct arena *arena, size_t bytes)
{
    return take(arena, bytes, 1);
}

bool arena_copy(struct arena *arena, struct span text, struct span *out_copy)
{
    char *copy = arena_alloc_text(arena, text.len);

    if (copy == NULL) {
        return false;
    }
    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    *out_copy = (struct span){copy, text.len};
    return true;
}

bool arena_copy_texts(struct arena *arena, struct span *const *texts, size_t count)
{
    size_t len = 0;

    for (size_t i = 0; i < count; i++) {
        len += texts[i]->len;
    }
    char *copy = arena_alloc_text(arena, len);
    if (copy == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (texts[i]->len > 0) {
            memcpy(copy, texts[i]->data, texts[i]->len);
        }
        texts[i]->data = copy;
        copy += texts[i]->len;
    }
    return true;
}

bool arena_join(struct arena *arena, const struct span *parts, size_t count, struct span *out_text)
{
    size_t len = 0;
    char *text;

    for (size_t i = 0; i < count; i++) {
        len += parts[i].len;
    }
    text = arena_alloc_text(arena, len);
    if (text == NULL) {
        return false;
    }
    len = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > 0) {
            memcpy(text + len, parts[i].data, parts[i].len);
            len += parts[i].len;
        }
    }
    *out_text = (struct span){text, len};
    return true;
}

bool arena_format(struct arena *arena, struct span *out_text, const char *format, ...)
{
    char short_text[128];
    va_list arguments;
    int len;
    char *text;

    va_start(arguments, format);
    len = vsnprintf(short_text, sizeof short_text, format, arguments);
    va_end(arguments);
    if (len < 0) {
        return false;
    }
    text = arena_alloc_text(arena, (size_t)len + 1);
    if (text == NULL) {
        return false;
    }
    if ((size_t)len < sizeof short_text) {
        memcpy(text, short_text, (size_t)len + 1);
    } else {
        va_start(arguments, format);
        (void)vsnprintf(text, (size_t)len + 1, format, arguments); /* fits: it was measured */
        va_end(arguments);
    }
    *out_text = (struct span){text, (size_t)len};
    return true;
}

static char *take(struct arena *arena, size_t bytes, size_t alignment)
{
    struct arena_block *block = arena->blocks;
    size_t start = block == NULL ? 0 : (block->used + alignment - 1) & ~(alignment - 1);

    if (arena->used_bytes > arena->limit_bytes || bytes > arena->limit_bytes - arena->used_bytes) {
        return NULL;
    }
    if (block == NULL || start > block->capacity || bytes > block->capacity - start) {
        block = add_block(arena, bytes);
        start = 0;
        if (block == NULL) {
            return NULL;
        }
    }
    block->used = start + bytes;
    arena->used_bytes += bytes;
    return block->bytes + start;
}

static void give_back(struct arena_spares *spares, struct arena_block *block)
{
    if (spares == NULL || block->capacity != FIRST_CAPACITY || spares->count + 1 > SPARES_MAX) {
        free(block);
        return;
    }
    block->older = spares->blocks;
    spares->blocks = block;
    spares->count++;
}

static struct arena_block *add_block(struct arena *arena, size_t bytes)
{
    size_t capacity = FIRST_CAPACITY;
    struct arena_block *block;

    if (arena->blocks == NULL && bytes <= capacity && arena->spares != NULL && arena->spares->blocks != NULL) {
        block = arena->spares->blocks;
        arena->spares->blocks = block->older;
        arena->spares->count--;
        block->older = NULL;
        block->used = 0;
        arena->blocks = block;
        return block;
    }
    if (arena->blocks != NULL) {
        capacity = arena->blocks->capacity < LARGEST_STEP_BYTES / 2 ? arena->blocks->capacity * 2 : LARGEST_STEP_BYTES;
    }
    if (capacity < bytes) {
        capacity = bytes;
    }
    if (capacity > SIZE_MAX - sizeof *block) {
        return NULL;
    }
    block = malloc(sizeof *block + capacity);
    if (block == NULL) {
        arena->starved = true;
        return NULL;
    }
    block->older = arena->blocks;
    block->capacity = capacity;
    block->used = 0;
    arena->blocks = block;
    return block;
}
