/* field_memo.c: see field_memo.h. One slot per hash of a block; what came last, twice in a row, has it. */
#include "http/field_memo.h"

#include <stdlib.h>
#include <string.h>

#include "http/xxh3.h"

struct slot {
    uint64_t seen;         /* hash of the block that came last */
    char *block;           /* NULL: empty; the fields lie in front of it, in the same memory */
    struct header *fields; /* in `block` */
    struct header_names names;
    uint16_t block_len;
    uint16_t count;
};

struct field_memo {
    struct slot slots[FIELD_MEMO_SLOTS];
};

struct field_memo *field_memo_create(void)
{
    return calloc(1, sizeof(struct field_memo));
}

void field_memo_destroy(struct field_memo *memo)
{
    for (size_t i = 0; memo != NULL && i < FIELD_MEMO_SLOTS; i++) {
        free(memo->slots[i].fields);
    }
    free(memo);
}

/* Does the slot hold exactly these bytes? */
static bool holds(const struct slot *slot, struct span bytes)
{
    return slot->block != NULL && slot->block_len == bytes.len && memcmp(slot->block, bytes.data, bytes.len) == 0;
}

/* Copies the fields of the block `from`; the copies lie in `to`, a copy of the block. */
static void copy_fields(struct header *copies, const struct header *fields, size_t count, const char *from,
                        const char *to)
{
    if (count > 0) {
        memcpy(copies, fields, count * sizeof *fields);
    }
    for (size_t i = 0; i < count; i++) {
        copies[i].name.data = to + (copies[i].name.data - from);
        copies[i].value.data = to + (copies[i].value.data - from);
    }
}

static void keep(struct slot *slot, struct span block, const struct headers *headers)
{
    struct header *fields = malloc(headers->count * sizeof *fields + block.len);

    if (fields == NULL) {
        return;
    }
    free(slot->fields);
    slot->fields = fields;
    slot->block = (char *)(fields + headers->count);
    slot->block_len = (uint16_t)block.len;
    slot->count = (uint16_t)headers->count;
    slot->names = headers->names;
    memcpy(slot->block, block.data, block.len);
    copy_fields(fields, headers->items, headers->count, block.data, slot->block);
}

uint16_t field_memo_note(struct field_memo *memo, struct span block, const struct headers *headers)
{
    if (block.len > FIELD_MEMO_MAX_BYTES) {
        return FIELD_MEMO_NONE;
    }
    uint64_t hash = XXH3_64bits(block.data, block.len);
    uint16_t number = (uint16_t)(hash % FIELD_MEMO_SLOTS);
    struct slot *slot = &memo->slots[number];
    bool again = slot->seen == hash;

    slot->seen = hash;
    if (again && !holds(slot, block)) {
        keep(slot, block, headers);
    }
    return number;
}

size_t field_memo_match(const struct field_memo *memo, uint16_t slot_number, struct span data)
{
    const struct slot *slot = &memo->slots[slot_number % FIELD_MEMO_SLOTS];

    return slot_number != FIELD_MEMO_NONE && holds(slot, span_take(data, slot->block_len)) ? slot->block_len : 0;
}

bool field_memo_headers(const struct field_memo *memo, uint16_t slot_number, struct span block, struct arena *arena,
                        struct headers *out_headers)
{
    const struct slot *slot = &memo->slots[slot_number % FIELD_MEMO_SLOTS];

    headers_init(out_headers, arena);
    if (!headers_reserve(out_headers, slot->count)) {
        return false;
    }
    copy_fields(out_headers->items, slot->fields, slot->count, slot->block, block.data);
    out_headers->count = slot->count;
    out_headers->names = slot->names;
    return true;
}
