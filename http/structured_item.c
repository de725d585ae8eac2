/* structured_item.c: bare items: checked as they are read (RFC 9651 §4.2.4 to §4.2.10), decoded when they are asked
 * for. */
#include "http/structured_internal.h"

#include "http/token.h"

enum {
    INTEGER_DIGITS = 15,  /* RFC 9651 §3.3.1 */
    DECIMAL_DIGITS = 12,  /* in front of the point, RFC 9651 §3.3.2 */
    FRACTION_DIGITS = 3,  /* behind it */
    BASE64_PADDING = '=', /* RFC 4648 §4 */
};

/* UTF-8 checked byte by byte: of a display string no decoded copy exists yet. All zero between characters. */
struct utf8 {
    unsigned left;           /* bytes that the character still needs */
    unsigned char low, high; /* what the next of them may be */
};

static bool take_number(struct span *text, struct structured_item *out);
static bool take_string(struct span *text, struct structured_item *out);
static bool take_token(struct span *text, struct structured_item *out);
static bool take_bytes(struct span *text, struct structured_item *out);
static bool take_boolean(struct span *text, struct structured_item *out);
static bool take_date(struct span *text, struct structured_item *out);
static bool take_display(struct span *text, struct structured_item *out);
static bool base64_valid(struct span text);
static int base64_value(char byte);
static int hex_value(char byte);
static bool utf8_feed(struct utf8 *state, unsigned char byte);

/* RFC 9651 §4.2.3.1: the first character tells the type */
bool structured_take_bare_item(struct span *text, struct structured_item *out)
{
    *out = (struct structured_item){0};
    if (text->len == 0) {
        return false;
    }
    switch (text->data[0]) {
    case '"':
        return take_string(text, out);
    case ':':
        return take_bytes(text, out);
    case '?':
        return take_boolean(text, out);
    case '@':
        return take_date(text, out);
    case '%':
        return take_display(text, out);
    default:
        return text->data[0] == '-' || ascii_is_digit(text->data[0]) ? take_number(text, out) : take_token(text, out);
    }
}

bool structured_take_byte(struct span *text, char byte)
{
    if (text->len == 0 || text->data[0] != byte) {
        return false;
    }
    *text = span_skip(*text, 1);
    return true;
}

static size_t unescape(struct span text, char *to)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\\') {
            i++; /* never the last byte: that was checked */
        }
        to[len++] = text.data[i];
    }
    return len;
}

static size_t decode_percent(struct span text, char *to)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '%') {
            to[len++] = (char)(hex_value(text.data[i + 1]) * 16 + hex_value(text.data[i + 2]));
            i += 2;
        } else {
            to[len++] = text.data[i];
        }
    }
    return len;
}

/* RFC 4648 §4. Pad bits that are not zero are dropped (RFC 9651 §4.2.7). */
static size_t decode_base64(struct span text, char *to)
{
    unsigned bits = 0;
    unsigned bit_count = 0;
    size_t len = 0;

    for (size_t i = 0; i < text.len && text.data[i] != BASE64_PADDING; i++) {
        bits = (bits << 6 | (unsigned)base64_value(text.data[i])) & 0xfff; /* 6 at most wait for the next byte */
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            to[len++] = (char)(bits >> bit_count & 0xff);
        }
    }
    return len;
}

bool structured_text(const struct structured_item *item, struct arena *arena, struct span *out_text)
{
    size_t (*decode)(struct span text, char *to) = NULL;
    struct span text = item->text;
    char *plain;

    switch (item->type) {
    case STRUCTURED_STRING:
        decode = span_find(text, '\\') == SIZE_MAX ? NULL : unescape;
        break;
    case STRUCTURED_DISPLAY:
        decode = span_find(text, '%') == SIZE_MAX ? NULL : decode_percent;
        break;
    case STRUCTURED_BYTES:
        decode = decode_base64;
        break;
    case STRUCTURED_TOKEN:
        break;
    case STRUCTURED_INTEGER:
    case STRUCTURED_DECIMAL:
    case STRUCTURED_BOOLEAN:
    case STRUCTURED_DATE:
    case STRUCTURED_INNER_LIST:
        text = (struct span){NULL, 0};
        break;
    }
    if (decode == NULL) {
        *out_text = text;
        return true;
    }
    plain = arena_alloc_text(arena, text.len); /* no decoding makes a text longer */
    if (plain == NULL) {
        return false;
    }
    *out_text = (struct span){plain, decode(text, plain)};
    return true;
}

/* Digits off the front; false if there are none or more than `max_count`. */
static bool take_digits(struct span *text, size_t max_count, int64_t *value, size_t *out_count)
{
    size_t count = 0;

    while (count < text->len && ascii_is_digit(text->data[count])) {
        if (count == max_count) {
            return false;
        }
        *value = *value * 10 + (text->data[count] - '0'); /* 15 digits at most: far from the end of 64 bits */
        count++;
    }
    *text = span_skip(*text, count);
    *out_count = count;
    return count > 0;
}

/* RFC 9651 §4.2.4 */
static bool take_number(struct span *text, struct structured_item *out)
{
    bool negative = structured_take_byte(text, '-');
    int64_t value = 0;
    size_t count;

    if (!take_digits(text, INTEGER_DIGITS, &value, &count)) {
        return false;
    }
    out->type = STRUCTURED_INTEGER;
    if (structured_take_byte(text, '.')) {
        if (count > DECIMAL_DIGITS || !take_digits(text, FRACTION_DIGITS, &value, &count)) {
            return false;
        }
        out->type = STRUCTURED_DECIMAL;
        for (; count < FRACTION_DIGITS; count++) {
            value *= 10;
        }
    }
    out->number = negative ? -value : value;
    return true;
}

static bool is_printable(char byte)
{
    return byte >= 0x20 && byte < 0x7f; /* VCHAR or SP; where char is signed, bytes from 0x80 are negative */
}

/* RFC 9651 §4.2.5: only the quote and the backslash can be escaped */
static bool take_string(struct span *text, struct structured_item *out)
{
    struct span content = span_skip(*text, 1);

    for (size_t i = 0; i < content.len; i++) {
        char byte = content.data[i];

        if (byte == '"') {
            out->type = STRUCTURED_STRING;
            out->text = span_take(content, i);
            *text = span_skip(content, i + 1);
            return true;
        }
        if (byte == '\\') {
            i++;
            if (i == content.len || (content.data[i] != '"' && content.data[i] != '\\')) {
                return false;
            }
        } else if (!is_printable(byte)) {
            return false;
        }
    }
    return false;
}

/* RFC 9651 §4.2.6 */
static bool take_token(struct span *text, struct structured_item *out)
{
    char first = ascii_lower(text->data[0]);
    size_t len = 1;

    if (!ascii_is_lower(first) && first != '*') {
        return false;
    }
    while (len < text->len &&
           (is_tchar((unsigned char)text->data[len]) || text->data[len] == ':' || text->data[len] == '/')) {
        len++;
    }
    out->type = STRUCTURED_TOKEN;
    out->text = span_take(*text, len);
    *text = span_skip(*text, len);
    return true;
}

/* RFC 9651 §4.2.7 */
static bool take_bytes(struct span *text, struct structured_item *out)
{
    struct span content = span_skip(*text, 1);
    size_t end = span_find(content, ':');

    if (end == SIZE_MAX || !base64_valid(span_take(content, end))) {
        return false;
    }
    out->type = STRUCTURED_BYTES;
    out->text = span_take(content, end);
    *text = span_skip(content, end + 1);
    return true;
}

/* RFC 9651 §4.2.8 */
static bool take_boolean(struct span *text, struct structured_item *out)
{
    *text = span_skip(*text, 1);
    out->type = STRUCTURED_BOOLEAN;
    if (structured_take_byte(text, '1')) {
        out->number = 1;
        return true;
    }
    return structured_take_byte(text, '0');
}

/* RFC 9651 §4.2.9 */
static bool take_date(struct span *text, struct structured_item *out)
{
    *text = span_skip(*text, 1);
    if (!take_number(text, out) || out->type != STRUCTURED_INTEGER) {
        return false;
    }
    out->type = STRUCTURED_DATE;
    return true;
}

/* RFC 9651 §4.2.10 */
static bool take_display(struct span *text, struct structured_item *out)
{
    struct span content = span_skip(*text, 2);
    struct utf8 utf8 = {0};

    if (!span_starts_with(*text, SPAN("%\""))) {
        return false;
    }
    for (size_t i = 0; i < content.len; i++) {
        unsigned char byte = (unsigned char)content.data[i];

        if (byte == '"') {
            out->type = STRUCTURED_DISPLAY;
            out->text = span_take(content, i);
            *text = span_skip(content, i + 1);
            return utf8.left == 0;
        }
        if (!is_printable(content.data[i])) {
            return false;
        }
        if (byte == '%') {
            if (content.len - i < 3 || hex_value(content.data[i + 1]) < 0 || hex_value(content.data[i + 2]) < 0) {
                return false;
            }
            byte = (unsigned char)(hex_value(content.data[i + 1]) * 16 + hex_value(content.data[i + 2]));
            i += 2;
        }
        if (!utf8_feed(&utf8, byte)) {
            return false;
        }
    }
    return false;
}

/* RFC 9651 §4.2.7: padding may be left out; where there is some it has to be the right one, at the end. */
static bool base64_valid(struct span text)
{
    size_t len = text.len;
    size_t padding = 0;

    while (len > 0 && text.data[len - 1] == BASE64_PADDING) {
        len--;
        padding++;
    }
    for (size_t i = 0; i < len; i++) {
        if (base64_value(text.data[i]) < 0) {
            return false;
        }
    }
    return len % 4 != 1 && (padding == 0 || (padding <= 2 && text.len % 4 == 0));
}

/* RFC 4648 §4; -1 for what is not in the alphabet. */
static int base64_value(char byte)
{
    if (byte >= 'A' && byte <= 'Z') {
        return byte - 'A';
    }
    if (ascii_is_lower(byte)) {
        return byte - 'a' + 26;
    }
    if (ascii_is_digit(byte)) {
        return byte - '0' + 52;
    }
    return byte == '+' ? 62 : byte == '/' ? 63 : -1;
}

/* RFC 9651 §4.2.10: lower case only; -1 for anything else. */
static int hex_value(char byte)
{
    if (ascii_is_digit(byte)) {
        return byte - '0';
    }
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* RFC 3629 §4: no overlong forms, no surrogates, nothing above U+10FFFF. */
static bool utf8_feed(struct utf8 *state, unsigned char byte)
{
    if (state->left > 0) {
        bool good = byte >= state->low && byte <= state->high;

        *state = (struct utf8){.left = state->left - 1, .low = 0x80, .high = 0xbf};
        return good;
    }
    *state = (struct utf8){.low = 0x80, .high = 0xbf};
    if (byte < 0x80) {
        return true;
    }
    if (byte < 0xc2 || byte > 0xf4) {
        return false;
    }
    state->left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    if (byte == 0xe0) {
        state->low = 0xa0;
    } else if (byte == 0xed) {
        state->high = 0x9f;
    } else if (byte == 0xf0) {
        state->low = 0x90;
    } else if (byte == 0xf4) {
        state->high = 0x8f;
    }
    return true;
}
