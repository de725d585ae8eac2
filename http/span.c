/* span.c: comparing, cutting and reading borrowed bytes: what is not inline in span.h. */
#include "http/span.h"

/* ASCII upper case to lower case, every other byte to itself. A table, because names are compared on the hot path. */
#define ROW(n)  (n), (n) + 1, (n) + 2, (n) + 3, (n) + 4, (n) + 5, (n) + 6, (n) + 7
#define ROWS(n) ROW(n), ROW((n) + 8), ROW((n) + 16), ROW((n) + 24)
static const unsigned char lower[256] = {
    /* clang-format off */
    ROWS(0), ROWS(32),
    '@', 'a', 'b', 'c', 'd', 'e', 'f', 'g', ROW('h'), ROW('p'), 'x', 'y', 'z', '[', '\\', ']', '^', '_',
    ROWS(96), ROWS(128), ROWS(160), ROWS(192), ROWS(224),
    /* clang-format on */
};
#undef ROWS
#undef ROW

bool span_equal_nocase_bytes(struct span a, struct span b)
{
    if (memcmp(a.data, b.data, a.len) == 0) {
        return true; /* nearly everybody writes a name alike */
    }
    for (size_t i = 0; i < a.len; i++) {
        if (lower[(unsigned char)a.data[i]] != lower[(unsigned char)b.data[i]]) {
            return false;
        }
    }
    return true;
}

/* Eight bytes at once: all that are not plain have a value below a space, the highest bit, or one of three values. */
static bool all_plain(uint64_t bytes)
{
    const uint64_t ones = UINT64_MAX / 0xff;
    const uint64_t high = ones << 7;
    const uint64_t quote = bytes ^ (ones * '"');
    const uint64_t backslash = bytes ^ (ones * '\\');
    const uint64_t delete = bytes ^ (ones * 0x7f);

    return (((bytes - ones * ' ') | (quote - ones) | (backslash - ones) | (delete - ones) | bytes) & high) == 0;
}

size_t span_plain_len(struct span text)
{
    size_t at = 0;

    while (text.len - at >= sizeof(uint64_t)) {
        uint64_t bytes;
        memcpy(&bytes, text.data + at, sizeof bytes);
        if (!all_plain(bytes)) {
            break; /* or one that is plain stands behind one that is not */
        }
        at += sizeof bytes;
    }
    while (at < text.len && text.data[at] >= ' ' && text.data[at] != '"' && text.data[at] != '\\' &&
           text.data[at] != 0x7f) {
        at++;
    }
    return at;
}

bool span_split(struct span *rest, char separator, struct span *out_head)
{
    size_t at;

    if (rest->len == 0) {
        return false;
    }
    at = span_find(*rest, separator);
    if (at == SIZE_MAX) {
        *out_head = *rest;
        *rest = span_skip(*rest, rest->len);
        return true;
    }
    *out_head = span_take(*rest, at);
    *rest = span_skip(*rest, at + 1);
    return true;
}

bool span_to_u64(struct span text, uint64_t *out_value)
{
    uint64_t value = 0;

    if (text.len == 0) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)(unsigned char)text.data[i] - '0';

        if (digit > 9 || value > UINT64_MAX / 10 || value * 10 > UINT64_MAX - digit) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out_value = value;
    return true;
}

bool span_to_u64_clamped(struct span text, uint64_t max, uint64_t *out_value)
{
    uint64_t value = 0;

    if (text.len == 0) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)(unsigned char)text.data[i] - '0';

        if (digit > 9) {
            return false;
        }
        if (value > UINT64_MAX / 10 || value * 10 > UINT64_MAX - digit) {
            value = UINT64_MAX; /* stays there: the product overflows again at each further digit */
        } else {
            value = value * 10 + digit;
        }
    }
    *out_value = value < max ? value : max;
    return true;
}

char ascii_lower(char byte)
{
    return (char)lower[(unsigned char)byte];
}

bool span_matches_glob(struct span text, struct span glob)
{
    size_t t = 0, g = 0;
    size_t star = SIZE_MAX; /* the last `*` seen: only that one is ever retried, earlier ones need not be */
    size_t star_text = 0;   /* where the text behind that star's run begins */

    while (t < text.len) {
        if (g < glob.len && glob.data[g] == '*') {
            star = g++;
            star_text = t;
        } else if (g < glob.len && (glob.data[g] == '?' || glob.data[g] == text.data[t])) {
            g++;
            t++;
        } else if (star != SIZE_MAX) {
            g = star + 1;
            t = ++star_text; /* the star takes one byte more */
        } else {
            return false;
        }
    }
    while (g < glob.len && glob.data[g] == '*') {
        g++;
    }
    return g == glob.len;
}
