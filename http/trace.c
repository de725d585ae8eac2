/* trace.c: see trace.h. */
#include "http/trace.h"

enum {
    VERSION_LEN = 2,
    FLAGS_LEN = 2,
    FIELD_LEN = VERSION_LEN + 1 + TRACE_ID_LEN + 1 + TRACE_SPAN_LEN + 1 + FLAGS_LEN,
};

static const struct span name = SPAN_INIT("traceparent");

static bool is_hex(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        if (!((byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f'))) {
            return false;
        }
    }
    return true;
}

static bool is_zero(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '0') {
            return false;
        }
    }
    return true;
}

/* Takes `len` digits, and the dash behind them if `*rest` goes on. */
static bool take(struct span *rest, size_t len, struct span *out_part)
{
    *out_part = span_take(*rest, len);
    *rest = span_skip(*rest, len);
    if (out_part->len < len || !is_hex(*out_part)) {
        return false;
    }
    if (rest->len > 0 && rest->data[0] != '-') {
        return false;
    }
    *rest = span_skip(*rest, 1);
    return true;
}

bool trace_read(const struct headers *headers, struct trace *out_trace)
{
    const struct header *field = headers_find(headers, name);
    struct span version;
    struct span flags;

    if (field == NULL || headers_find_next(headers, field) != NULL || field->value.len < FIELD_LEN) {
        return false;
    }
    struct span rest = field->value;
    if (!take(&rest, VERSION_LEN, &version) || !take(&rest, TRACE_ID_LEN, &out_trace->id) ||
        !take(&rest, TRACE_SPAN_LEN, &out_trace->parent) || !take(&rest, FLAGS_LEN, &flags)) {
        return false;
    }
    if (span_equal(version, SPAN("ff")) || (span_equal(version, SPAN("00")) && field->value.len != FIELD_LEN) ||
        is_zero(out_trace->id) || is_zero(out_trace->parent)) {
        return false;
    }
    char last = flags.data[FLAGS_LEN - 1];
    unsigned digit = (unsigned)(last <= '9' ? last - '0' : last - 'a' + 10);
    out_trace->flags = digit & TRACE_SAMPLED;
    return true;
}

bool trace_write(struct headers *headers, const struct trace *trace, struct span span, struct arena *arena)
{
    struct span parts[] = {SPAN_INIT("00-"), trace->id, SPAN_INIT("-"), span,
                           (trace->flags & TRACE_SAMPLED) != 0 ? SPAN("-01") : SPAN("-00")};
    struct span value;

    return arena_join(arena, parts, ARRAY_LEN(parts), &value) && headers_set(headers, name, value);
}
