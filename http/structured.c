/* structured.c: lists, dictionaries, inner lists and parameters, by the parsing algorithms of RFC 9651 §4.2.
 *
 * Every take_ function cuts what it reads off the front of `*text` and says whether it was well-formed; after a false
 * the text is worth nothing. The same functions check a field and walk it, so both agree by construction. There is no
 * recursion: the grammar nests items in inner lists in lists, and no deeper. */
#include "http/structured.h"

#include "http/structured_internal.h"

static bool take_member(enum structured_kind kind, struct span *text, struct structured_member *out);
static bool take_separator(enum structured_kind kind, struct span *text);
static bool take_item_or_inner_list(struct span *text, struct structured_item *out);
static bool take_inner_list(struct span *text, struct structured_item *out);
static bool take_item(struct span *text, struct structured_item *out);
static bool take_parameters(struct span *text, struct span *out_parameters);
static bool take_parameter(struct span *text, struct structured_member *out);
static bool take_key(struct span *text, struct span *out_key);
static void skip_spaces(struct span *text);
static struct span taken(struct span before, struct span after);

bool structured_parse(enum structured_kind kind, struct span value, struct structured *out_field)
{
    struct structured field = {.kind = kind, .rest = value};
    struct structured_member member;
    struct span text;

    REQUIRE(kind == STRUCTURED_LIST || kind == STRUCTURED_DICTIONARY);
    skip_spaces(&field.rest); /* RFC 9651 §4.2 step 1 */
    text = field.rest;
    while (text.len > 0) {
        if (!take_member(kind, &text, &member) || !take_separator(kind, &text)) {
            return false;
        }
    }
    *out_field = field;
    return true;
}

bool structured_parse_item(struct span value, struct structured_item *out_item)
{
    struct structured_item item;

    skip_spaces(&value);
    if (!take_item(&value, &item)) {
        return false;
    }
    skip_spaces(&value);
    if (value.len > 0) {
        return false;
    }
    *out_item = item;
    return true;
}

bool structured_of_headers(enum structured_kind kind, const struct headers *headers, struct span name,
                           struct arena *arena, struct structured *out_field)
{
    struct span value;
    bool present;

    return headers_combine(headers, name, arena, &value, &present) && structured_parse(kind, value, out_field);
}

bool structured_next(struct structured *field, struct structured_member *out_member)
{
    struct structured_member member;
    bool good = field->rest.len > 0 && take_member(field->kind, &field->rest, &member) &&
                take_separator(field->kind, &field->rest);

    if (!good) {
        field->rest.len = 0;
        return false;
    }
    *out_member = member;
    return true;
}

bool structured_find(const struct structured *field, struct span key, struct structured_item *out_item)
{
    struct structured rest = *field;
    struct structured_member member;
    bool found = false;

    while (structured_next(&rest, &member)) {
        if (span_equal(member.key, key)) {
            *out_item = member.item;
            found = true;
        }
    }
    return found;
}

struct structured structured_inner_list(const struct structured_item *item)
{
    struct structured inner = {.kind = STRUCTURED_INNER};

    if (item->type == STRUCTURED_INNER_LIST) {
        inner.rest = item->text;
        skip_spaces(&inner.rest);
    }
    return inner;
}

struct structured structured_parameters(const struct structured_item *item)
{
    return (struct structured){.kind = STRUCTURED_PARAMETERS, .rest = item->parameters};
}

static bool take_member(enum structured_kind kind, struct span *text, struct structured_member *out)
{
    *out = (struct structured_member){0};
    switch (kind) {
    case STRUCTURED_LIST: /* RFC 9651 §4.2.1 */
        return take_item_or_inner_list(text, &out->item);
    case STRUCTURED_DICTIONARY: /* RFC 9651 §4.2.2 */
        if (!take_key(text, &out->key)) {
            return false;
        }
        if (structured_take_byte(text, '=')) {
            return take_item_or_inner_list(text, &out->item);
        }
        out->item = (struct structured_item){.type = STRUCTURED_BOOLEAN, .number = 1};
        return take_parameters(text, &out->item.parameters);
    case STRUCTURED_INNER: /* RFC 9651 §4.2.1.2 */
        return take_item(text, &out->item);
    case STRUCTURED_PARAMETERS: /* RFC 9651 §4.2.3.2 */
        return take_parameter(text, out);
    }
    UNREACHABLE();
}

static bool take_separator(enum structured_kind kind, struct span *text)
{
    switch (kind) {
    case STRUCTURED_LIST:
    case STRUCTURED_DICTIONARY:
        /* RFC 9651 §4.2.1 and §4.2.2: a comma with spaces or tabs around it, and a member behind it */
        *text = span_trim(*text);
        if (text->len == 0) {
            return true;
        }
        if (!structured_take_byte(text, ',')) {
            return false;
        }
        *text = span_trim(*text);
        return text->len > 0;
    case STRUCTURED_INNER: /* RFC 9651 §4.2.1.2: spaces only, one at least */
        if (text->len == 0) {
            return true;
        }
        if (text->data[0] != ' ') {
            return false;
        }
        skip_spaces(text);
        return true;
    case STRUCTURED_PARAMETERS:
        return true;
    }
    UNREACHABLE();
}

/* RFC 9651 §4.2.1.1 */
static bool take_item_or_inner_list(struct span *text, struct structured_item *out)
{
    return text->len > 0 && text->data[0] == '(' ? take_inner_list(text, out) : take_item(text, out);
}

/* RFC 9651 §4.2.1.2 */
static bool take_inner_list(struct span *text, struct structured_item *out)
{
    struct structured_item item;
    struct span start;

    if (!structured_take_byte(text, '(')) {
        return false;
    }
    start = *text;
    skip_spaces(text);
    while (text->len > 0 && text->data[0] != ')') {
        if (!take_item(text, &item) || text->len == 0 || (text->data[0] != ' ' && text->data[0] != ')')) {
            return false;
        }
        skip_spaces(text);
    }
    *out = (struct structured_item){.type = STRUCTURED_INNER_LIST, .text = taken(start, *text)};
    return structured_take_byte(text, ')') && take_parameters(text, &out->parameters);
}

/* RFC 9651 §4.2.3 */
static bool take_item(struct span *text, struct structured_item *out)
{
    return structured_take_bare_item(text, out) && take_parameters(text, &out->parameters);
}

/* RFC 9651 §4.2.3.2 */
static bool take_parameters(struct span *text, struct span *out_parameters)
{
    struct structured_member parameter;
    struct span start = *text;

    while (text->len > 0 && text->data[0] == ';') {
        if (!take_parameter(text, &parameter)) {
            return false;
        }
    }
    *out_parameters = taken(start, *text);
    return true;
}

static bool take_parameter(struct span *text, struct structured_member *out)
{
    if (!structured_take_byte(text, ';')) {
        return false;
    }
    skip_spaces(text);
    if (!take_key(text, &out->key)) {
        return false;
    }
    if (structured_take_byte(text, '=')) {
        return structured_take_bare_item(text, &out->item);
    }
    out->item = (struct structured_item){.type = STRUCTURED_BOOLEAN, .number = 1};
    return true;
}

/* RFC 9651 §4.2.3.3: lower case only */
static bool take_key(struct span *text, struct span *out_key)
{
    size_t len = 0;

    if (text->len == 0 || (!ascii_is_lower(text->data[0]) && text->data[0] != '*')) {
        return false;
    }
    while (len < text->len) {
        char byte = text->data[len];

        if (!ascii_is_lower(byte) && !ascii_is_digit(byte) && byte != '_' && byte != '-' && byte != '.' &&
            byte != '*') {
            break;
        }
        len++;
    }
    *out_key = span_take(*text, len);
    *text = span_skip(*text, len);
    return true;
}

static void skip_spaces(struct span *text)
{
    while (text->len > 0 && text->data[0] == ' ') {
        *text = span_skip(*text, 1);
    }
}

/* What was cut off the front of `before` to leave `after`. */
static struct span taken(struct span before, struct span after)
{
    return span_take(before, before.len - after.len);
}
