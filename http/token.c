/* token.c: tokens, comma lists, quoted strings, parameters, quality values. */
#include "http/token.h"

#include "http/byte_class.h"

static size_t quoted_len(struct span text, bool *out_closed);

bool is_tchar(unsigned char byte)
{
    return (byte_classes[byte] & BYTE_NAME) != 0;
}

bool is_token(struct span text)
{
    return text.len > 0 && bytes_are(text, BYTE_NAME);
}

bool is_field_value(struct span v)
{
    return bytes_are(v, BYTE_VALUE);
}

/* Where the part of `text` in front of the first `separator` outside quoted strings ends. */
static size_t find_unquoted(struct span text, char separator)
{
    size_t i = 0;
    bool closed; /* whether it is does not matter here: what is not closed reaches to the end */

    while (i < text.len && text.data[i] != separator) {
        i += text.data[i] == '"' ? quoted_len(span_skip(text, i), &closed) : 1;
    }
    return i;
}

/* The next part that is not empty. */
static bool next_part(struct span *rest, char separator, struct span *out_part)
{
    while (rest->len > 0) {
        size_t end = find_unquoted(*rest, separator);
        struct span part = span_trim(span_take(*rest, end));

        *rest = span_skip(*rest, end + 1);
        if (part.len > 0) { /* RFC 9110 §5.6.1.2 and §5.6.6: empty members and parameters are ignored */
            *out_part = part;
            return true;
        }
    }
    return false;
}

bool list_next(struct span *rest, struct span *out_member)
{
    return next_part(rest, ',', out_member);
}

bool parameter_next(struct span *rest, struct span *out_parameter)
{
    return next_part(rest, ';', out_parameter);
}

bool has_open_quote(struct span text)
{
    bool closed = true;

    for (size_t i = span_find(text, '"'); i < text.len && closed;) {
        i += text.data[i] == '"' ? quoted_len(span_skip(text, i), &closed) : 1;
    }
    return !closed;
}

bool list_has_token(struct span value, struct span token)
{
    struct span member;

    if (span_find(value, ',') == SIZE_MAX) {
        return span_equal_nocase(span_trim(value), token); /* most lists have one member */
    }
    while (list_next(&value, &member)) {
        if (span_equal_nocase(member, token)) {
            return true;
        }
    }
    return false;
}

void parameter_split(struct span member, struct span *out_name, struct span *out_value, bool *out_has_value)
{
    size_t equals = span_find(member, '=');

    /* What stands behind `=` is not trimmed either: in `max-age= 5` the caller has to see the space. */
    *out_has_value = equals != SIZE_MAX;
    *out_name = span_take(member, equals);
    *out_value = *out_has_value ? span_skip(member, equals + 1) : (struct span){NULL, 0};
}

bool unquote(struct span text, struct arena *arena, struct span *out_text)
{
    struct span content;
    size_t len = 0;
    bool closed;
    char *plain;

    if (text.len == 0 || text.data[0] != '"') {
        *out_text = text;
        return true;
    }
    if (quoted_len(text, &closed) != text.len || !closed) {
        return false;
    }
    content = (struct span){text.data + 1, text.len - 2};
    if (span_find(content, '\\') == SIZE_MAX) {
        *out_text = content;
        return true;
    }
    plain = arena_alloc_text(arena, content.len);
    if (plain == NULL) {
        return false;
    }
    for (size_t i = 0; i < content.len; i++) {
        if (content.data[i] == '\\') {
            i++; /* RFC 9110 §5.6.4: the byte behind a backslash stands for itself */
        }
        plain[len++] = content.data[i];
    }
    *out_text = (struct span){plain, len};
    return true;
}

/* RFC 9110 §12.4.2: "0" with up to three decimals, or "1" with up to three zeros. */
static unsigned parse_quality(struct span text)
{
    unsigned thousandths = 0;
    unsigned place = 100;

    if (text.len == 0 || text.len > 5 || (text.data[0] != '0' && text.data[0] != '1')) {
        return 0;
    }
    if (text.len > 1 && text.data[1] != '.') {
        return 0;
    }
    for (size_t i = 2; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return 0;
        }
        thousandths += place * (unsigned)(text.data[i] - '0');
        place /= 10;
    }
    if (text.data[0] == '1') {
        return thousandths == 0 ? 1000 : 0;
    }
    return thousandths;
}

unsigned quality_of(struct span member, struct span *out_value)
{
    size_t end = find_unquoted(member, ';');
    struct span rest = span_skip(member, end + 1);
    struct span parameter;

    *out_value = span_trim(span_take(member, end));
    while (parameter_next(&rest, &parameter)) {
        struct span name, value;
        bool has_value;

        parameter_split(parameter, &name, &value, &has_value);
        if (span_equal_nocase(name, SPAN("q"))) {
            return has_value ? parse_quality(value) : 0;
        }
    }
    return 1000;
}

/* Bytes of the quoted string that `text` starts with, both quotes included; all of `text` if it is not closed. */
static size_t quoted_len(struct span text, bool *out_closed)
{
    for (size_t i = 1; i < text.len; i++) {
        if (text.data[i] == '\\') {
            i++;
        } else if (text.data[i] == '"') {
            *out_closed = true;
            return i + 1;
        }
    }
    *out_closed = false;
    return text.len;
}
