/* targeted.c: a dictionary's members as response directives.
 *
 * RFC 9213 §2.1 says not to consume values of the wrong type. We do so where that permits less: a `max-age` in quotes
 * is no max-age. Where ignoring would permit more (`private=set-cookie`, `no-store=1`) the directive counts, since a
 * cache that takes it for nothing shows one person's response to another. */
#include "http/targeted.h"

#include "http/structured.h"
#include "http/token.h"

/* Which values make a flag true. */
enum flag_kind {
    FLAG_PERMITS, /* Boolean true */
    FLAG_FORBIDS, /* anything but Boolean false */
};

static void read_member(const struct structured_member *member, struct arena *arena, struct response_directives *out);
static bool read_flag(const struct structured_item *item, enum flag_kind kind);
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
    const struct {
        struct span name;
        bool *flag;
        enum flag_kind kind;
    } flags[] = {
        {SPAN("no-store"), &out->no_store, FLAG_FORBIDS},
        {SPAN("public"), &out->is_public, FLAG_PERMITS},
        {SPAN("must-revalidate"), &out->must_revalidate, FLAG_FORBIDS},
        {SPAN("proxy-revalidate"), &out->proxy_revalidate, FLAG_FORBIDS},
        {SPAN("no-transform"), &out->no_transform, FLAG_FORBIDS},
        {SPAN("must-understand"), &out->must_understand, FLAG_PERMITS}, /* it can outweigh no-store */
        {SPAN("immutable"), &out->immutable, FLAG_PERMITS},
    };
    const struct {
        struct span name;
        struct delta *delta;
    } deltas[] = {
        {SPAN("max-age"), &out->max_age},
        {SPAN("s-maxage"), &out->s_maxage},
        {SPAN("stale-while-revalidate"), &out->stale_while_revalidate},
        {SPAN("stale-if-error"), &out->stale_if_error},
    };

    for (size_t i = 0; i < ARRAY_LEN(deltas); i++) {
        if (span_equal(member->key, deltas[i].name)) {
            *deltas[i].delta = read_delta(&member->item);
            return;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (span_equal(member->key, flags[i].name)) {
            *flags[i].flag = read_flag(&member->item, flags[i].kind);
            return;
        }
    }
    if (span_equal(member->key, SPAN("no-cache"))) {
        out->no_cache = read_qualifiable(&member->item, arena, &out->no_cache_fields);
    } else if (span_equal(member->key, SPAN("private"))) {
        out->is_private = read_qualifiable(&member->item, arena, &out->private_fields);
    }
}

static bool read_flag(const struct structured_item *item, enum flag_kind kind)
{
    return item->type == STRUCTURED_BOOLEAN ? item->number == 1 : kind == FLAG_FORBIDS;
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
        return read_flag(item, FLAG_FORBIDS);
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
