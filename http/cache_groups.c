/* cache_groups.c: Cache-Groups and Cache-Group-Invalidation.
 *
 * Names are unescaped when the field is read, so that walking them later cannot fail. */
#include "http/cache_groups.h"

#include "http/structured.h"

static bool is_list_of_strings(struct structured field, size_t *out_count);
static bool read_groups(const struct headers *headers, struct span field_name, struct arena *arena,
                        struct cache_groups *out_groups);

bool cache_groups_of_response(const struct headers *response_headers, struct arena *arena,
                              struct cache_groups *out_groups)
{
    return read_groups(response_headers, SPAN("Cache-Groups"), arena, out_groups);
}

bool cache_groups_invalidated(enum method method, const struct headers *response_headers, struct arena *arena,
                              struct cache_groups *out_groups)
{
    /* RFC 9875 §3 */
    if (method_is_safe(method)) {
        *out_groups = (struct cache_groups){0};
        return true;
    }
    return read_groups(response_headers, SPAN("Cache-Group-Invalidation"), arena, out_groups);
}

bool cache_groups_next(struct cache_groups *groups, struct span *out_name)
{
    if (groups->count == 0) {
        return false;
    }
    *out_name = *groups->next++;
    groups->count--;
    return true;
}

static bool read_groups(const struct headers *headers, struct span field_name, struct arena *arena,
                        struct cache_groups *out_groups)
{
    struct cache_groups groups = {0};
    struct structured_member member;
    struct structured field;
    struct span value, *names;
    size_t member_count;
    bool present;

    if (!headers_combine(headers, field_name, arena, &value, &present)) {
        return false;
    }
    if (!structured_parse(STRUCTURED_LIST, value, &field) || !is_list_of_strings(field, &member_count) ||
        member_count == 0) {
        *out_groups = groups;
        return true;
    }
    names = arena_alloc(arena, (member_count < CACHE_GROUPS_MAX ? member_count : CACHE_GROUPS_MAX) * sizeof *names);
    if (names == NULL) {
        return false;
    }
    while (groups.count < CACHE_GROUPS_MAX && structured_next(&field, &member)) {
        if (!structured_text(&member.item, arena, &names[groups.count])) {
            return false;
        }
        groups.count += names[groups.count].len <= CACHE_GROUP_MAX_BYTES; /* a name too long is written over */
    }
    groups.next = names;
    groups.dropped_count = member_count - groups.count;
    *out_groups = groups;
    return true;
}

/* RFC 9651 §2.2: where a member is of another type, the whole field is ignored. */
static bool is_list_of_strings(struct structured field, size_t *out_count)
{
    struct structured_member member;
    size_t count = 0;

    while (structured_next(&field, &member)) {
        if (member.item.type != STRUCTURED_STRING) {
            return false;
        }
        count++;
    }
    *out_count = count;
    return true;
}
