/* link.c: see link.h. */
#include "http/link.h"

#include "http/token.h"

static struct span skip_blanks(struct span text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = span_skip(text, 1);
    }
    return text;
}

/* Bytes of the quoted string at the start of `text`, both quotes included; 0: it does not end. */
static size_t quoted_len(struct span text)
{
    for (size_t i = 1; i < text.len; i++) {
        if (text.data[i] == '\\') {
            i++;
        } else if (text.data[i] == '"') {
            return i + 1;
        }
    }
    return 0;
}

/* Bytes up to the first `stop` or `other` outside quoted strings, all of `text` where there is none. False: a quoted
 * string does not end. */
static bool run_until(struct span text, char stop, char other, size_t *out_len)
{
    size_t at = 0;

    while (at < text.len && text.data[at] != stop && text.data[at] != other) {
        size_t step = text.data[at] == '"' ? quoted_len(span_skip(text, at)) : 1;
        if (step == 0) {
            return false;
        }
        at += step;
    }
    *out_len = at;
    return true;
}

bool link_next(struct span *rest, struct span *out_value)
{
    struct span text = skip_blanks(*rest);
    size_t target_len;
    size_t parameters_len;

    while (text.len > 0 && text.data[0] == ',') {
        text = skip_blanks(span_skip(text, 1));
    }
    if (text.len == 0 || text.data[0] != '<') {
        return false;
    }
    target_len = span_find(text, '>');
    if (target_len == SIZE_MAX || !run_until(span_skip(text, target_len), ',', ',', &parameters_len)) {
        return false;
    }
    *out_value = span_trim(span_take(text, target_len + parameters_len));
    *rest = span_skip(text, target_len + parameters_len);
    return true;
}

static bool names_hint(struct span relations)
{
    static const struct span hints[] = {SPAN_INIT("preload"), SPAN_INIT("modulepreload"), SPAN_INIT("preconnect"),
                                        SPAN_INIT("dns-prefetch")};
    struct span relation;

    while (span_split(&relations, ' ', &relation)) {
        for (size_t i = 0; i < ARRAY_LEN(hints); i++) {
            if (span_equal_nocase(relation, hints[i])) {
                return true;
            }
        }
    }
    return false;
}

/* `"a b"` → `a b`. What a relation is made of needs no escapes. */
static struct span without_quotes(struct span text)
{
    bool quoted = text.len >= 2 && text.data[0] == '"';

    return quoted ? span_take(span_skip(text, 1), text.len - 2) : text;
}

bool link_is_hint(struct span value)
{
    size_t target_len = span_find(value, '>');
    struct span rest = target_len == SIZE_MAX ? (struct span){NULL, 0} : span_skip(value, target_len + 1);
    bool hint = false;
    bool has_rel = false;
    size_t len;

    while (run_until(rest, ';', ';', &len)) {
        struct span name, text;
        bool has_value;
        parameter_split(span_trim(span_take(rest, len)), &name, &text, &has_value);
        name = span_trim(name);
        if (span_equal_nocase(name, SPAN("anchor"))) {
            return false;
        }
        if (span_equal_nocase(name, SPAN("rel")) && !has_rel) { /* RFC 8288 §3.3: the first counts */
            has_rel = true;
            hint = names_hint(without_quotes(span_trim(text)));
        }
        if (len == rest.len) {
            return hint;
        }
        rest = span_skip(rest, len + 1);
    }
    return false;
}
