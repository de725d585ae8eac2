#include "proxy/config/suggest.h"

#include <stdlib.h>

enum {
    WORD_MAX_BYTES = 40, /* longer than any key or flag */
    SHORT_WORD_BYTES = 4,
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment, three rows at a time: `before` is the row two above, which a swap of neighbours goes back
 * to. */
size_t suggest_distance(struct span a, struct span b)
{
    size_t before[WORD_MAX_BYTES + 1] = {0};
    size_t above[WORD_MAX_BYTES + 1];
    size_t row[WORD_MAX_BYTES + 1];

    if (a.len > WORD_MAX_BYTES || b.len > WORD_MAX_BYTES) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= b.len; j++) {
        above[j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t replaced = above[j - 1] + (a.data[i - 1] == b.data[j - 1] ? 0 : 1);
            row[j] = least(replaced, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1]) {
                row[j] = least(row[j], before[j - 2] + 1);
            }
        }
        for (size_t j = 0; j <= b.len; j++) {
            before[j] = above[j];
            above[j] = row[j];
        }
    }
    return above[b.len];
}

bool suggest_is_near(struct span word, struct span known)
{
    size_t slips = known.len <= SHORT_WORD_BYTES ? 1 : 2;

    return suggest_distance(word, known) <= slips;
}
