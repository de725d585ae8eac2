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

/* Where a star that stands before `glob` may end, from `from` on: at the next byte that can be the first of what
 * follows it. SIZE_MAX: nowhere. */
static size_t next_start(struct span text, size_t from, struct span glob)
{
    if (glob.len == 0) {
        return text.len;
    }
    if (glob.data[0] == '?' || glob.data[0] == '*') {
        return from;
    }
    size_t found = span_find(span_skip(text, from), glob.data[0]);
    return found == SIZE_MAX ? SIZE_MAX : from + found;
}

bool span_matches_glob(struct span text, struct span glob)
{
    size_t t = 0, g = 0;
    size_t star = SIZE_MAX; /* the last `*` seen: only that one is ever retried, earlier ones need not be */
    size_t star_text = 0;   /* where the text behind that star's run begins */

    if (text.len > 0 && glob.len > 0) { /* "*.css": most that do not match differ in their last byte */
        char last = glob.data[glob.len - 1];
        if (last != '*' && last != '?' && last != text.data[text.len - 1]) {
            return false;
        }
    }
    while (t < text.len) {
        if (g < glob.len && glob.data[g] == '*') {
            star = g++;
            star_text = next_start(text, t, span_skip(glob, g));
        } else if (g < glob.len && (glob.data[g] == '?' || glob.data[g] == text.data[t])) {
            g++;
            t++;
            continue;
        } else if (star != SIZE_MAX) {
            g = star + 1; /* the star takes more */
            star_text = next_start(text, star_text + 1, span_skip(glob, g));
        } else {
            return false;
        }
        if (star_text == SIZE_MAX) {
            return false;
        }
        t = star_text;
    }
    while (g < glob.len && glob.data[g] == '*') {
        g++;
    }
    return g == glob.len;
}
