/* negotiate.c: see negotiate.h. */
#include "http/negotiate.h"

#include "http/token.h"

/* What a client thinks of the codings that matter. */
struct coding_qualities {
    int br, gzip, any; /* thousandths; -1: not named */
};

static struct coding_qualities read_accept_encoding(const struct headers *headers)
{
    struct coding_qualities found = {-1, -1, -1};
    const struct header *line = headers_find(headers, SPAN("Accept-Encoding"));

    for (; line != NULL; line = headers_find_next(headers, line)) {
        struct span rest = line->value;
        struct span member;
        while (list_next(&rest, &member)) {
            struct span coding;
            int quality = (int)quality_of(member, &coding);
            if (span_equal_nocase(coding, SPAN("br"))) {
                found.br = quality;
            } else if (span_equal_nocase(coding, SPAN("gzip")) || span_equal_nocase(coding, SPAN("x-gzip"))) {
                found.gzip = quality;
            } else if (span_equal(coding, SPAN("*"))) {
                found.any = quality;
            }
        }
    }
    return found;
}

struct span negotiate_encoding(const struct headers *request_headers)
{
    struct coding_qualities found = read_accept_encoding(request_headers);
    int br = found.br >= 0 ? found.br : found.any;
    int gzip = found.gzip >= 0 ? found.gzip : found.any;

    if (br > 0 && br >= gzip) {
        return SPAN("br");
    }
    return gzip > 0 ? SPAN("gzip") : SPAN("");
}

/* Is `longer` equal to `shorter`, or does it go on behind it with a new subtag? */
static bool begins_with_tag(struct span longer, struct span shorter)
{
    return longer.len >= shorter.len && span_equal_nocase(span_take(longer, shorter.len), shorter) &&
           (longer.len == shorter.len || longer.data[shorter.len] == '-');
}

/* How the client weighs one language: by the longest range that matches it, `*` only where none does (RFC 9110
 * §12.5.4). */
static unsigned weight_of(const struct headers *headers, struct span language)
{
    const struct header *line = headers_find(headers, SPAN("Accept-Language"));
    size_t longest = 0;
    unsigned weight = 0;

    for (; line != NULL; line = headers_find_next(headers, line)) {
        struct span rest = line->value;
        struct span member;
        while (list_next(&rest, &member)) {
            struct span range;
            unsigned quality = quality_of(member, &range);
            bool any = span_equal(range, SPAN("*"));
            size_t fit = any ? 0 : range.len;
            bool matches =
                any || (range.len > 0 && (begins_with_tag(language, range) || begins_with_tag(range, language)));
            if (matches && (fit > longest || (fit == longest && quality > weight))) {
                longest = fit;
                weight = quality;
            }
        }
    }
    return weight;
}

struct span negotiate_language(const struct headers *request_headers, const struct span *languages, size_t count)
{
    struct span best = languages[0];
    unsigned best_weight = 0;

    for (size_t i = 0; i < count; i++) {
        unsigned weight = weight_of(request_headers, languages[i]);
        if (weight > best_weight) {
            best = languages[i];
            best_weight = weight;
        }
    }
    return best;
}
