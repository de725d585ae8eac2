/* vary.c: selections, made, matched and read back (RFC 9111 §4.1).
 *
 * A selection is one run of bytes for each field that Vary names, sorted by name, each name once:
 *
 *     u8 present (0, 1) | u8 length of name | u16 little-endian length of value | name in lower case | value
 *
 * An absent field has no value; it differs from one that is present and empty. A response without Vary has no bytes.
 *
 * Both sides of a comparison are brought into one form first. What may be changed depends on the field's own syntax
 * (§4.1), so:
 *
 *   Accept-Encoding, Accept-Charset    members sorted, in lower case, no white space around `,` and `;`, no empty
 *                                      members: the standard gives their order and case no meaning
 *   Accept-Language                    the same, order kept: many origins take the first of equal weight
 *   Accept                             order and case kept (parameters may be case-sensitive), white space and empty
 *                                      members as above
 *   Authorization, Cookie,             nothing: not lists, or not worth the risk that two people become one
 *   User-Agent, Referer
 *   every other                        no white space around commas outside quoted strings
 *
 * "Members in any order" holds for Vary itself: `Vary: A, B` and `Vary: b, a` make the same selection. */
#include "cache/vary.h"

#include <string.h>

#include "http/token.h"
#include "http/unkeyed.h"

enum form {
    FORM_VERBATIM,
    FORM_COMMAS,         /* no white space around commas */
    FORM_LIST,           /* a known list: none around semicolons either, no empty members */
    FORM_LIST_NOCASE,    /* and in lower case */
    FORM_LIST_ANY_ORDER, /* and sorted */
};

enum {
    FIELD_HEAD_BYTES = 4,
    NAME_MAX_BYTES = 255,
    SORT_MAX_MEMBERS = 32, /* a longer list keeps its order: sorting is quadratic, and the list is a client's */
};

static const struct {
    struct span name;
    enum form form;
} forms[] = {
    {SPAN_INIT("accept"), FORM_LIST},
    {SPAN_INIT("accept-charset"), FORM_LIST_ANY_ORDER},
    {SPAN_INIT("accept-encoding"), FORM_LIST_ANY_ORDER},
    {SPAN_INIT("accept-language"), FORM_LIST_NOCASE},
    {SPAN_INIT("authorization"), FORM_VERBATIM},
    {SPAN_INIT("cookie"), FORM_VERBATIM},
    {SPAN_INIT("referer"), FORM_VERBATIM},
    {SPAN_INIT("user-agent"), FORM_VERBATIM},
};

/* The names of one Vary, and what counts as named there, each once. */
struct names {
    struct span items[VARY_MAX_FIELDS]; /* borrowed */
    size_t count;
};

static enum vary_kind read_names(const struct headers *response, const struct field_names *also,
                                 struct names *out_names);
static bool names_add(struct names *names, struct span name);
static int compare_nocase(struct span a, struct span b);
static bool has_twin(const struct headers *request, struct span name);
static bool canonical_value(struct span name, const struct headers *request, struct arena *arena,
                            struct span *out_value, bool *out_present);
static enum form form_of(struct span name);
static size_t squeeze(struct span value, const char *separators, char *out);
static bool rejoin(struct span value, enum form form, struct arena *arena, struct span *out_value);
static void sort_members(struct span *members, size_t count);
static int compare(struct span a, struct span b);

enum vary_kind vary_kind_of(const struct headers *response)
{
    struct names names;

    return read_names(response, NULL, &names);
}

enum vary_kind vary_select(const struct headers *response, const struct field_names *also,
                           const struct headers *request, struct arena *arena, struct buf *out)
{
    struct names names;
    char selection[VARY_MAX_BYTES];
    size_t len = 0;

    enum vary_kind kind = read_names(response, also, &names);
    if (kind != VARY_SOME) {
        return kind;
    }
    for (size_t i = 0; i < names.count; i++) {
        struct span name = names.items[i];
        struct span value;
        bool present;
        if (has_twin(request, name)) {
            return VARY_TWIN;
        }
        if (!canonical_value(name, request, arena, &value, &present) ||
            FIELD_HEAD_BYTES + name.len + value.len > sizeof(selection) - len) {
            return VARY_LIMIT;
        }
        selection[len++] = present ? 1 : 0;
        selection[len++] = (char)(unsigned char)name.len;
        selection[len++] = (char)(unsigned char)(value.len & 0xff);
        selection[len++] = (char)(unsigned char)(value.len >> 8);
        for (size_t at = 0; at < name.len; at++) {
            selection[len++] = ascii_lower(name.data[at]);
        }
        if (value.len > 0) {
            memcpy(selection + len, value.data, value.len);
            len += value.len;
        }
    }
    buf_add(out, (struct span){selection, len});
    return out->failed ? VARY_LIMIT : VARY_SOME;
}

/* A `*` counts wherever it stands (§4.1). A member that is no field name can never be compared: it counts as one. */
static enum vary_kind read_names(const struct headers *response, const struct field_names *also,
                                 struct names *out_names)
{
    struct names names = {.count = 0};
    bool too_many = false;

    for (const struct header *line = headers_find(response, SPAN("Vary")); line != NULL;
         line = headers_find_next(response, line)) {
        struct span rest = line->value;
        struct span member;
        while (list_next(&rest, &member)) {
            if (span_equal(member, SPAN("*")) || !is_token(member)) {
                return VARY_STAR;
            }
            too_many = !names_add(&names, member) || too_many;
        }
    }
    for (size_t i = 0; also != NULL && i < also->count; i++) {
        too_many = !names_add(&names, also->items[i]) || too_many;
    }
    if (too_many) {
        return VARY_LIMIT;
    }
    *out_names = names;
    return names.count == 0 ? VARY_NONE : VARY_SOME;
}

/* Keeps the names sorted. False where there is no room for one more. */
static bool names_add(struct names *names, struct span name)
{
    size_t at = 0;

    while (at < names->count && compare_nocase(names->items[at], name) < 0) {
        at++;
    }
    if (at < names->count && compare_nocase(names->items[at], name) == 0) {
        return true;
    }
    if (names->count == VARY_MAX_FIELDS || name.len > NAME_MAX_BYTES) {
        return false;
    }
    memmove(&names->items[at + 1], &names->items[at], (names->count - at) * sizeof(names->items[0]));
    names->items[at] = name;
    names->count++;
    return true;
}

static int compare_nocase(struct span a, struct span b)
{
    size_t common = a.len < b.len ? a.len : b.len;

    for (size_t i = 0; i < common; i++) {
        int difference = (unsigned char)ascii_lower(a.data[i]) - (unsigned char)ascii_lower(b.data[i]);
        if (difference != 0) {
            return difference;
        }
    }
    return (a.len > b.len) - (a.len < b.len);
}

bool vary_matches(struct span selection, const struct headers *request, struct arena *arena)
{
    struct span name;
    struct span stored;
    bool stored_present;

    while (vary_next(&selection, &name, &stored, &stored_present)) {
        struct span value;
        bool present;
        if (has_twin(request, name) || !canonical_value(name, request, arena, &value, &present)) {
            return false;
        }
        /* RFC 9111 §4.1: an absent field matches only an absent one. */
        if (present != stored_present || !span_equal(value, stored)) {
            return false;
        }
    }
    return selection.len == 0;
}

/* A field of another name than this one that an application takes for it. Nearly no name has a `_`. */
static bool has_twin(const struct headers *request, struct span name)
{
    if ((request->names.present & HEADERS_UNDERSCORE) == 0 && span_find(name, '_') == SIZE_MAX) {
        return false;
    }
    for (size_t i = 0; i < request->count; i++) {
        if (unkeyed_is_twin(request->items[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* All lines of one field of the request in the form that is compared. An absent one has the empty value. False at the
 * arena's limit, and for a value that fits no selection. */
static bool canonical_value(struct span name, const struct headers *request, struct arena *arena,
                            struct span *out_value, bool *out_present)
{
    enum form form = form_of(name);
    struct span value;
    bool present;

    if (!headers_combine(request, name, arena, &value, &present)) {
        return false;
    }
    if (!present) {
        *out_value = (struct span){NULL, 0};
        *out_present = false;
        return true;
    }
    if (form != FORM_VERBATIM && value.len > 0) {
        char *squeezed = arena_alloc_text(arena, value.len);
        if (squeezed == NULL) {
            return false;
        }
        value = (struct span){squeezed, squeeze(value, form == FORM_COMMAS ? "," : ",;", squeezed)};
    }
    if (value.len > VARY_MAX_BYTES) {
        return false;
    }
    if ((form == FORM_LIST || form == FORM_LIST_NOCASE || form == FORM_LIST_ANY_ORDER) &&
        !rejoin(value, form, arena, &value)) {
        return false;
    }
    *out_value = value;
    *out_present = true;
    return true;
}

static enum form form_of(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (span_equal_nocase(forms[i].name, name)) {
            return forms[i].form;
        }
    }
    return FORM_COMMAS;
}

/* Copies `value` without the white space around the separators that stand outside quoted strings; how many bytes that
 * makes. */
static size_t squeeze(struct span value, const char *separators, char *out)
{
    bool quoted = false;
    size_t len = 0;

    for (size_t i = 0; i < value.len; i++) {
        char byte = value.data[i];
        if (quoted && byte == '\\' && i + 1 < value.len) {
            out[len++] = byte;
            out[len++] = value.data[++i];
            continue;
        }
        if (byte == '"') {
            quoted = !quoted;
        }
        if (quoted || byte == '\0' || strchr(separators, byte) == NULL) {
            out[len++] = byte;
            continue;
        }
        while (len > 0 && (out[len - 1] == ' ' || out[len - 1] == '\t')) {
            len--;
        }
        out[len++] = byte;
        while (i + 1 < value.len && (value.data[i + 1] == ' ' || value.data[i + 1] == '\t')) {
            i++;
        }
    }
    return len;
}

/* The members of a list without the empty ones (RFC 9110 §5.6.1.2), in lower case and sorted as the form says. */
static bool rejoin(struct span value, enum form form, struct arena *arena, struct span *out_value)
{
    struct span members[SORT_MAX_MEMBERS];
    size_t count = 0;
    struct span rest = value;
    struct span member;

    if (value.len == 0) {
        *out_value = value;
        return true;
    }
    char *lower = arena_alloc_text(arena, value.len);
    char *joined = arena_alloc_text(arena, value.len);
    if (lower == NULL || joined == NULL) {
        return false;
    }
    for (size_t i = 0; i < value.len; i++) {
        lower[i] = form == FORM_LIST ? value.data[i] : ascii_lower(value.data[i]);
    }
    rest.data = lower;
    while (count < SORT_MAX_MEMBERS && list_next(&rest, &member)) {
        members[count++] = member;
    }
    if (form == FORM_LIST_ANY_ORDER && rest.len == 0) {
        sort_members(members, count);
    }
    size_t len = 0;
    for (size_t i = 0; i < count || list_next(&rest, &member); i++) {
        struct span next = i < count ? members[i] : member;
        if (len > 0) {
            joined[len++] = ',';
        }
        memcpy(joined + len, next.data, next.len);
        len += next.len;
    }
    *out_value = (struct span){joined, len};
    return true;
}

static void sort_members(struct span *members, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct span member = members[i];
        size_t at = i;
        while (at > 0 && compare(members[at - 1], member) > 0) {
            members[at] = members[at - 1];
            at--;
        }
        members[at] = member;
    }
}

static int compare(struct span a, struct span b)
{
    int difference = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return difference != 0 ? difference : (a.len > b.len) - (a.len < b.len);
}

bool vary_same_fields(struct span a, struct span b)
{
    struct span name, other, value;
    bool present;

    while (vary_next(&a, &name, &value, &present)) {
        if (!vary_next(&b, &other, &value, &present) || !span_equal(name, other)) {
            return false;
        }
    }
    return a.len == 0 && b.len == 0;
}

bool vary_valid(struct span selection)
{
    struct span previous = {NULL, 0};
    struct span rest = selection;
    struct span name;
    struct span value;
    bool present;

    if (selection.len > VARY_MAX_BYTES) {
        return false;
    }
    for (size_t count = 0; vary_next(&rest, &name, &value, &present); count++) {
        if (count == VARY_MAX_FIELDS || (count > 0 && compare(previous, name) >= 0)) {
            return false;
        }
        previous = name;
    }
    return rest.len == 0;
}

bool vary_next(struct span *rest, struct span *out_name, struct span *out_value, bool *out_present)
{
    if (rest->len < FIELD_HEAD_BYTES) {
        return false;
    }
    const unsigned char *head = (const unsigned char *)rest->data;
    size_t name_len = head[1];
    size_t value_len = head[2] | (size_t)head[3] << 8;
    if (head[0] > 1 || (head[0] == 0 && value_len > 0) || rest->len - FIELD_HEAD_BYTES < name_len + value_len) {
        return false;
    }
    struct span name = span_take(span_skip(*rest, FIELD_HEAD_BYTES), name_len);
    if (!is_token(name)) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] != ascii_lower(name.data[i])) {
            return false;
        }
    }
    *out_name = name;
    *out_value = span_take(span_skip(*rest, FIELD_HEAD_BYTES + name_len), value_len);
    *out_present = head[0] == 1;
    *rest = span_skip(*rest, FIELD_HEAD_BYTES + name_len + value_len);
    return true;
}

void vary_add_json(struct buf *out, struct span selection)
{
    const char *separator = "";
    struct span name;
    struct span value;
    bool present;

    buf_add_byte(out, '{');
    while (vary_next(&selection, &name, &value, &present)) {
        buf_add_text(out, separator);
        buf_add_json_string(out, name);
        buf_add_byte(out, ':');
        if (present) {
            buf_add_json_string(out, value);
        } else {
            buf_add_text(out, "null");
        }
        separator = ",";
    }
    buf_add_byte(out, '}');
}
