/* directives.c: Cache-Control, member by member.
 *
 * Where a member can be read in two ways the stricter one counts: an unreadable field list makes `private` and
 * `no-cache` unqualified, an unreadable number makes its directive invalid, white space around `=` (which the grammar
 * forbids) does both. A quote that is never closed hides no directive that forbids something. */
#include "http/directives_internal.h"
#include "http/token.h"

static const struct span cache_control = SPAN_INIT("Cache-Control");

/* One member of the list. */
struct member {
    struct span name;  /* trimmed */
    struct span value; /* as it stands behind `=` */
    bool has_value;
    bool spaced; /* white space between name and `=` */
    bool quoted; /* behind a quote that is never closed: an argument's text, or a directive like others */
};

/* The members of one line that are still to come. */
struct members {
    struct span rest;
    bool quoted; /* every comma separates from now on */
};

static bool next_member(struct members *members, struct member *out_member);
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
        struct members members = {.rest = line->value};
        struct member member;

        out.present = true;
        while (next_member(&members, &member)) {
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
        struct members members = {.rest = line->value};
        struct member member;

        out.present = true;
        while (next_member(&members, &member)) {
            read_request_member(&member, arena, &out);
        }
    }
    /* RFC 9111 §5.4: Pragma counts only where there is no Cache-Control */
    out.pragma_no_cache = !out.present && headers_list_has(headers, SPAN("Pragma"), SPAN("no-cache"));
    return out;
}

static bool next_member(struct members *members, struct member *out_member)
{
    struct span text, name;

    out_member->quoted = members->quoted;
    if (members->quoted ? !span_split(&members->rest, ',', &text) : !list_next(&members->rest, &text)) {
        return false;
    }
    if (members->rest.len == 0 && !members->quoted && has_open_quote(text)) {
        members->quoted = true;
        members->rest = text;
        (void)span_split(&members->rest, ',', &text); /* there is something */
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

#define AT(field) offsetof(struct response_directives, field)

/* RFC 9111 §5.2.2, RFC 5861 §3 and §4, RFC 8246 §2; the most frequent first */
static const struct directive_name response_directives[] = {
    {SPAN_INIT("max-age"), DIRECTIVE_SECONDS, AT(max_age)},
    {SPAN_INIT("s-maxage"), DIRECTIVE_SECONDS, AT(s_maxage)},
    {SPAN_INIT("stale-while-revalidate"), DIRECTIVE_SECONDS, AT(stale_while_revalidate)},
    {SPAN_INIT("stale-if-error"), DIRECTIVE_SECONDS, AT(stale_if_error)},
    {SPAN_INIT("no-store"), DIRECTIVE_FORBIDS, AT(no_store)},
    {SPAN_INIT("public"), DIRECTIVE_PERMITS, AT(is_public)},
    {SPAN_INIT("must-revalidate"), DIRECTIVE_FORBIDS, AT(must_revalidate)},
    {SPAN_INIT("proxy-revalidate"), DIRECTIVE_FORBIDS, AT(proxy_revalidate)},
    {SPAN_INIT("no-transform"), DIRECTIVE_FORBIDS, AT(no_transform)},
    {SPAN_INIT("must-understand"), DIRECTIVE_PERMITS, AT(must_understand)}, /* it can outweigh no-store */
    {SPAN_INIT("immutable"), DIRECTIVE_PERMITS, AT(immutable)},
};
#undef AT

const struct directive_name *directive_named(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(response_directives); i++) {
        if (span_equal_nocase(response_directives[i].name, name)) {
            return &response_directives[i];
        }
    }
    return NULL;
}

static void read_response_member(const struct member *member, struct arena *arena, struct response_directives *out)
{
    const struct directive_name *directive = directive_named(member->name);

    if (directive != NULL && directive->kind != DIRECTIVE_FORBIDS && member->quoted) {
        return;
    }
    if (directive != NULL && directive->kind == DIRECTIVE_SECONDS) {
        read_delta(member, arena, directive_delta(out, directive));
        return;
    }
    if (directive != NULL) {
        *directive_flag(out, directive) = true;
        return;
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

    if (member->quoted || !read_fields(member, arena, &fields)) {
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
