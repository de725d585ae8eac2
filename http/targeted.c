/* targeted.c: a dictionary's members as response directives.
 *
 * RFC 9213 §2.1 says not to consume values of the wrong type. We do so where that permits less: a `max-age` in quotes
 * is no max-age. Where ignoring would permit more (`private=set-cookie`, `no-store=1`) the directive counts, since a
 * cache that takes it for nothing shows one person's response to another. */
#include "http/targeted.h"

#include "http/directives_internal.h"
#include "http/structured.h"
#include "http/token.h"

static void read_member(const struct structured_member *member, struct arena *arena, struct response_directives *out);
static bool read_flag(const struct structured_item *item, enum directive_kind kind);
static struct delta read_delta(const struct structured_item *item);
static bool read_qualifiable(const struct structured_item *item, struct arena *arena, struct span *out_fields);

bool directives_of_targeted(const struct headers *headers, struct span field_name, struct arena *arena,
                            struct response_directives *out)
{
    struct response_directives directives = {.present = true};
    struct structured_member member;
    struct structured field;

    /* RFC 9213 §2.1: empty or malformed, the field is ignored */
    if (!structured_of_headers(STRUCTURED_DICTIONARY, headers, field_name, arena, &field) || field.rest.len == 0) {
        return false;
    }
    while (structured_next(&field, &member)) {
        read_member(&member, arena, &directives); /* RFC 9651 §3.2: a later one replaces what an earlier one said */
    }
    *out = directives;
    return true;
}

static void read_member(const struct structured_member *member, struct arena *arena, struct response_directives *out)
{
    const struct directive_name *directive = directive_named(member->key);

    if (directive != NULL && directive->kind == DIRECTIVE_SECONDS) {
        *directive_delta(out, directive) = read_delta(&member->item);
        return;
    }
    if (directive != NULL) {
        *directive_flag(out, directive) = read_flag(&member->item, directive->kind);
        return;
    }
    if (span_equal(member->key, SPAN("no-cache"))) {
        out->no_cache = read_qualifiable(&member->item, arena, &out->no_cache_fields);
    } else if (span_equal(member->key, SPAN("private"))) {
        out->is_private = read_qualifiable(&member->item, arena, &out->private_fields);
    }
}

/* One that permits needs Boolean true, one that forbids is true unless it is Boolean false. */
static bool read_flag(const struct structured_item *item, enum directive_kind kind)
{
    return item->type == STRUCTURED_BOOLEAN ? item->number == 1 : kind == DIRECTIVE_FORBIDS;
}

/* RFC 9213 §2.1, RFC 9111 §1.2.2 and §4.2.1 */
static struct delta read_delta(const struct structured_item *item)
{
    if (item->type != STRUCTURED_INTEGER) {
        return (struct delta){.state = DIRECTIVE_ABSENT};
    }
    if (item->number < 0) {
        return (struct delta){.state = DIRECTIVE_INVALID};
    }
    return (struct delta){
        .state = DIRECTIVE_VALID,
        .seconds = item->number > INT32_MAX ? INT32_MAX : (int32_t)item->number,
    };
}

/* RFC 9111 §5.2.2.4 and §5.2.2.7. True: the directive is unqualified. `out_fields` is empty unless it is qualified. */
static bool read_qualifiable(const struct structured_item *item, struct arena *arena, struct span *out_fields)
{
    struct span list, rest, name;

    *out_fields = (struct span){NULL, 0};
    if (item->type != STRUCTURED_STRING) {
        return read_flag(item, DIRECTIVE_FORBIDS);
    }
    if (!structured_text(item, arena, &list)) {
        return true;
    }
    rest = list;
    while (list_next(&rest, &name)) {
        if (!is_token(name)) {
            *out_fields = (struct span){NULL, 0};
            return true;
        }
        *out_fields = list;
    }
    return out_fields->len == 0;
}
