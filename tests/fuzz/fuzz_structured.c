/* fuzz_structured.c: any bytes as structured fields and what is read from them. The first byte chooses the reader. */
#include <string.h>

#include "http/cache_groups.h"
#include "http/structured.h"
#include "http/targeted.h"

enum { FINDS = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Every item lies within `text`, and its text is no longer than it. Ends: members, items in inner lists, parameters. */
static void walk(struct structured field, struct span text, struct arena *arena)
{
    struct structured_member member;
    size_t count = 0;

    while (structured_next(&field, &member)) {
        struct span value;

        REQUIRE(field.rest.len < text.len);
        REQUIRE(member.item.text.len < text.len || member.item.type == STRUCTURED_TOKEN);
        REQUIRE(member.item.number < 1000000000000000 && member.item.number > -1000000000000000);
        REQUIRE((member.key.len > 0) == (field.kind == STRUCTURED_DICTIONARY || field.kind == STRUCTURED_PARAMETERS));
        REQUIRE(structured_text(&member.item, arena, &value));
        REQUIRE(value.len <= text.len);
        walk(structured_inner_list(&member.item), member.item.text, arena);
        walk(structured_parameters(&member.item), member.item.parameters, arena);
        count++;
        if (member.key.len > 0 && count <= FINDS) { /* all would be quadratic */
            struct structured_item found;

            (void)structured_find(&field, member.key, &found); /* a later one, if there is one */
        }
    }
    REQUIRE(field.rest.len == 0);
}

/* What was accepted is walked to its end, and so is what is left behind each member. */
static void try_field(enum structured_kind kind, struct span text, struct arena *arena)
{
    struct structured field, rest;
    struct structured_member member;
    size_t count = 0;

    if (!structured_parse(kind, text, &field)) {
        return;
    }
    walk(field, text, arena);
    rest = field;
    while (structured_next(&rest, &member)) {
        struct structured again;

        REQUIRE(structured_parse(kind, rest.rest, &again));
        count++;
        if (count > FINDS) {
            break; /* quadratic */
        }
    }
    REQUIRE((count == 0) == (field.rest.len == 0));
}

static void try_targeted(struct span text, struct arena *arena)
{
    struct headers headers;
    struct response_directives got;
    struct structured field;

    headers_init(&headers, arena);
    REQUIRE(headers_add(&headers, SPAN("A"), text));
    if (!directives_of_targeted(&headers, SPAN("A"), arena, &got)) {
        REQUIRE(!structured_parse(STRUCTURED_DICTIONARY, text, &field) || field.rest.len == 0);
        return;
    }
    REQUIRE(got.present);
    REQUIRE(got.max_age.seconds >= 0);
    REQUIRE(!got.no_cache || got.no_cache_fields.len == 0);
    REQUIRE(!got.is_private || got.private_fields.len == 0);
}

static void try_groups(struct span text, struct arena *arena)
{
    struct headers headers;
    struct cache_groups groups;
    struct span name;
    size_t count = 0;

    headers_init(&headers, arena);
    REQUIRE(headers_add(&headers, SPAN("Cache-Groups"), text));
    REQUIRE(cache_groups_of_response(&headers, arena, &groups));
    while (cache_groups_next(&groups, &name)) {
        REQUIRE(name.len <= CACHE_GROUP_MAX_BYTES);
        count++;
    }
    REQUIRE(count <= CACHE_GROUPS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct structured_item item;
    struct span text;
    struct arena arena;

    if (size == 0) {
        return 0;
    }
    text = (struct span){(const char *)bytes + 1, size - 1};
    arena_init(&arena, 4 * 1024 * 1024);
    switch (bytes[0] % 5) {
    case 0:
        try_field(STRUCTURED_LIST, text, &arena);
        break;
    case 1:
        try_field(STRUCTURED_DICTIONARY, text, &arena);
        break;
    case 2:
        try_targeted(text, &arena);
        break;
    case 3:
        try_groups(text, &arena);
        break;
    default:
        (void)structured_parse_item(text, &item); /* either is fine */
        break;
    }
    arena_finish(&arena);
    return 0;
}
