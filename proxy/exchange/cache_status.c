/* cache_status.c: see cache_status.h. */
#include "proxy/exchange/cache_status.h"

#include "http/token.h"

enum { CACHE_STATUS_MAX_BYTES = 1024 };

/* An sf-string (RFC 9651 §4.1.6): bytes it cannot hold become '?'. */
static void add_string(struct buf *out, struct span text)
{
    buf_add_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        if (byte == '"' || byte == '\\') {
            buf_add_byte(out, '\\');
        }
        buf_add_byte(out, byte < 0x20 || byte > 0x7e ? '?' : byte);
    }
    buf_add_byte(out, '"');
}

/* The cache's name as a token where it is one (RFC 9211 §2). */
static void add_name(struct buf *out, struct span name)
{
    bool letter = name.len > 0 && ((name.data[0] | 0x20) >= 'a' && (name.data[0] | 0x20) <= 'z');

    if (letter && is_token(name)) {
        buf_add(out, name);
    } else {
        add_string(out, name);
    }
}

static void add_detail(struct buf *out, const struct cache_status *status)
{
    buf_add(out, SPAN("; detail="));
    if (status->rule == NULL) {
        buf_add_text(out, reason_token(status->reason));
        return;
    }
    char memory[CACHE_STATUS_MAX_BYTES];
    struct buf text;
    buf_init_in(&text, memory, sizeof memory);
    buf_add_text(&text, reason_token(status->reason));
    buf_add_byte(&text, ' ');
    buf_add_text(&text, status->rule);
    add_string(out, buf_span(&text));
}

void cache_status_write(const struct cache_status *status, struct buf *out)
{
    add_name(out, span_of(status->name));
    if (status->outcome == OUTCOME_HIT) {
        buf_add(out, SPAN("; hit"));
    } else if (status->outcome != OUTCOME_NONE) {
        buf_add(out, SPAN("; fwd="));
        buf_add_text(out, outcome_text(status->outcome));
        if (status->fwd_status != 0) {
            buf_add(out, SPAN("; fwd-status="));
            buf_add_u64(out, status->fwd_status);
        }
        if (status->collapsed) {
            buf_add(out, SPAN("; collapsed"));
        }
        if (status->stored) {
            buf_add(out, SPAN("; stored"));
        }
    }
    if (status->has_ttl) {
        buf_add(out, SPAN("; ttl="));
        buf_add_i64(out, status->ttl_s);
    }
    if (status->reason != REASON_NONE) {
        add_detail(out, status);
    }
}

bool cache_status_format(const struct cache_status *status, struct arena *arena, struct span *out_value)
{
    char memory[CACHE_STATUS_MAX_BYTES];
    struct buf out;

    buf_init_in(&out, memory, sizeof memory);
    cache_status_write(status, &out);
    return !out.failed && arena_copy(arena, buf_span(&out), out_value);
}
