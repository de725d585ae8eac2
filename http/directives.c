/* directives.c: Cache-Control, member by member.
 *
 * Where a member can be read in two ways the stricter one counts: an unreadable field list makes `private` and
 * `no-cache` unqualified, an unreadable number makes its directive invalid, white space around `=` (which the grammar
 * forbids) does both. */
#include "http/directives.h"

#include "http/token.h"

static const struct span cache_control = SPAN_INIT("Cache-Control");

/* One member of the list. */
struct member {
    struct span name;  /* trimmed */
    struct span value; /* as it stands behind `=` */
    bool has_value;
    bool spaced; /* white space between name and `=` */
};

static bool next_member(struct span *rest, struct member *out_member);
static void read_response_member(const struct member *member, struct arena *arena, struct response_directives *out);
static void read_request_member(const struct member *member, struct arena *arena, struct request_directives *out);
static void read_delta(const struct member *member, struct arena *arena, struct delta *out);
static bool read_fields(const struct member *member, struct arena *arena, struct span *out_fields);
static void read_qualifiable(const struct member *member, struct arena *arena, bool *out_flag, struct span *out_fields);

struct response_directives directives_of_response(const struct headers *headers, struct arena *arena)
{
    struct response_directives out = {0};

    for (const struct header *line = headers_find(headers, cache_control); line != NULL;
         line = headers_find_next(headers, line)) {
        struct span rest = line->value;
        struct member member;

        out.present = true;
        while (next_member(&rest, &member)) {
            read_response_member(&member, arena, &out);
        }
    }
    return out; /* both forms together both count: a rule may lift the unqualified one, never the list */
}

struct request_directives directives_of_request(const struct headers *headers, struct arena *arena)
{
    struct request_directives out = {0};

    for (const struct header *line = headers_find(headers, cache_control); line != NULL;
         line = headers_find_next(headers, line)) {
        struct span rest = line->value;
        struct member member;

        out.present = true;
        while (next_member(&rest, &member)) {
            read_request_member(&member, arena, &out);
        }
    }
    /* RFC 9111 §5.4: Pragma counts only where there is no Cache-Control */
    out.pragma_no_cache = !out.present && headers_list_has(headers, SPAN("Pragma"), SPAN("no-cache"));
    return out;
}

static bool next_member(struct span *rest, struct member *out_member)
{
    struct span text, name;

    if (!list_next(rest, &text)) {
        return false;
    }
    parameter_split(text, &name, &out_member->value, &out_member->has_value);
    out_member->name = span_trim(name);
    out_member->spaced = out_member->name.len != name.len;
    return true;
}

static bool is_named(const struct member *member, struct span name)
{
    return member->name.len == name.len && span_equal_nocase(member->name, name);
}

/* RFC 9111 §5.2.2, RFC 5861 §3 and §4, RFC 8246 §2 */
static void read_response_member(const struct member *member, struct arena *arena, struct response_directives *out)
{
    const struct {
        struct span name;
        bool *flag;
    } flags[] = {
        {SPAN("no-store"), &out->no_store},
        {SPAN("public"), &out->is_public},
        {SPAN("must-revalidate"), &out->must_revalidate},
        {SPAN("proxy-revalidate"), &out->proxy_revalidate},
        {SPAN("no-transform"), &out->no_transform},
        {SPAN("must-understand"), &out->must_understand},
        {SPAN("immutable"), &out->immutable},
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
        if (is_named(member, deltas[i].name)) {
            read_delta(member, arena, deltas[i].delta);
            return;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (is_named(member, flags[i].name)) {
            *flags[i].flag = true;
            return;
        }
    }
    if (is_named(member, SPAN("no-cache"))) {
        read_qualifiable(member, arena, &out->no_cache, &out->no_cache_fields);
    } else if (is_named(member, SPAN("private"))) {
        read_qualifiable(member, arena, &out->is_private, &out->private_fields);
    }
}

/* RFC 9111 §5.2.1, RFC 5861 §4 */
static void read_request_member(const struct member *member, struct arena *arena, struct request_directives *out)
{
    if (is_named(member, SPAN("no-cache"))) {
        out->no_cache = true;
    } else if (is_named(member, SPAN("no-store"))) {
        out->no_store = true;
    } else if (is_named(member, SPAN("no-transform"))) {
        out->no_transform = true;
    } else if (is_named(member, SPAN("only-if-cached"))) {
        out->only_if_cached = true;
    } else if (is_named(member, SPAN("max-age"))) {
        read_delta(member, arena, &out->max_age);
    } else if (is_named(member, SPAN("min-fresh"))) {
        read_delta(member, arena, &out->min_fresh);
    } else if (is_named(member, SPAN("stale-if-error"))) {
        read_delta(member, arena, &out->stale_if_error);
    } else if (is_named(member, SPAN("max-stale"))) {
        /* RFC 9111 §5.2.1.2: without an argument, stale responses of any age */
        if (member->has_value) {
            if (!out->max_stale_any) {
                read_delta(member, arena, &out->max_stale);
            }
        } else if (out->max_stale.state == DIRECTIVE_ABSENT) {
            out->max_stale_any = true;
        }
    }
}

static void read_delta(const struct member *member, struct arena *arena, struct delta *out)
{
    struct span digits;
    uint64_t seconds;

    if (out->state != DIRECTIVE_ABSENT) {
        return; /* RFC 9111 §4.2.1: the first occurrence is used */
    }
    out->state = DIRECTIVE_INVALID;
    if (!member->has_value || member->spaced || !unquote(member->value, arena, &digits)) {
        return;
    }
    /* RFC 9111 §1.2.2: what is too large is as good as the largest that can be represented */
    if (span_to_u64_clamped(digits, INT32_MAX, &seconds)) {
        *out = (struct delta){.state = DIRECTIVE_VALID, .seconds = (int32_t)seconds};
    }
}

static bool read_fields(const struct member *member, struct arena *arena, struct span *out_fields)
{
    struct span list, rest, name;
    bool any = false;

    if (!member->has_value || member->spaced || !unquote(member->value, arena, &list)) {
        return false;
    }
    rest = list;
    while (list_next(&rest, &name)) {
        if (!is_token(name)) {
            return false;
        }
        any = true;
    }
    *out_fields = list;
    return any;
}

/* RFC 9111 §5.2.2.4 and §5.2.2.7: with field names only those fields are meant. Several lists add up. */
static void read_qualifiable(const struct member *member, struct arena *arena, bool *out_flag, struct span *out_fields)
{
    struct span fields;

    if (!read_fields(member, arena, &fields)) {
        *out_flag = true;
    } else if (out_fields->len == 0) {
        *out_fields = fields;
    } else {
        struct span parts[] = {*out_fields, SPAN(", "), fields};

        if (!arena_join(arena, parts, ARRAY_LEN(parts), out_fields)) {
            *out_flag = true;
        }
    }
}
