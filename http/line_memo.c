/* line_memo.c: see line_memo.h. */
#include "http/line_memo.h"

#include <string.h>

/* RFC 9112 §6.3: two lengths, or a length and a coding, are an error of the whole head. */
static bool frames_message(struct span name)
{
    return span_equal_nocase(name, SPAN("Content-Length")) || span_equal_nocase(name, SPAN("Transfer-Encoding"));
}

void line_memo_keep(struct line_memo *memo, struct span text, const struct headers *headers)
{
    size_t count = headers->count < LINE_MEMO_LINES ? headers->count : LINE_MEMO_LINES;

    if (text.len > LINE_MEMO_BYTES || (text.len == memo->len && memcmp(text.data, memo->text, text.len) == 0)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct header *field = &headers->items[i];
        const char *end = i + 1 < headers->count ? headers->items[i + 1].name.data : text.data + text.len;
        size_t value = field->value.len > 0 ? (size_t)(field->value.data - field->name.data) : field->name.len;
        memo->lines[i] = (struct known_line){.at = (uint16_t)(field->name.data - text.data),
                                             .len = (uint16_t)(end - field->name.data),
                                             .name_len = (uint16_t)field->name.len,
                                             .value = (uint16_t)value,
                                             .value_len = (uint16_t)field->value.len,
                                             .frames = frames_message(field->name)};
    }
    memo->count = (uint16_t)count;
    memo->len = (uint16_t)text.len;
    if (text.len > 0) {
        memcpy(memo->text, text.data, text.len);
    }
}

size_t line_memo_find(const struct line_memo *memo, size_t number, struct span text, struct header *out_field)
{
    const struct known_line *line = &memo->lines[number < memo->count ? number : 0];

    if (number >= memo->count || line->frames || text.len < line->len ||
        memcmp(text.data, memo->text + line->at, line->len) != 0) {
        return 0;
    }
    *out_field =
        (struct header){.name = {text.data, line->name_len}, .value = {text.data + line->value, line->value_len}};
    return line->len;
}
