/* sentinel.c: see sentinel.h. */
#include "cache/sentinel.h"

#include "http/check.h"
#include "http/token.h"

enum {
    EXTENSION_MAX_BYTES = 6,
    ECHO_MIN_BYTES = 6,   /* shorter values are anywhere by chance */
    ECHO_MAX_BYTES = 512, /* … and longer ones are searched for in no time by nobody */
};

/* What is served as a file by its name, and never is a page. */
static const struct span static_extensions[] = {
    SPAN_INIT("css"),  SPAN_INIT("js"),   SPAN_INIT("mjs"),   SPAN_INIT("png"), SPAN_INIT("jpg"), SPAN_INIT("jpeg"),
    SPAN_INIT("gif"),  SPAN_INIT("webp"), SPAN_INIT("avif"),  SPAN_INIT("ico"), SPAN_INIT("svg"), SPAN_INIT("bmp"),
    SPAN_INIT("woff"), SPAN_INIT("ttf"),  SPAN_INIT("woff2"), SPAN_INIT("otf"), SPAN_INIT("eot"), SPAN_INIT("mp4"),
    SPAN_INIT("webm"), SPAN_INIT("mp3"),  SPAN_INIT("wasm"),  SPAN_INIT("pdf"), SPAN_INIT("zip"), SPAN_INIT("gz"),
};

static const struct span pages[] = {SPAN_INIT("text/html"), SPAN_INIT("application/xhtml+xml"),
                                    SPAN_INIT("application/json")};

/* Request fields whose values responses repeat for good reasons. */
static const struct span expected[] = {
    SPAN_INIT("Accept"),
    SPAN_INIT("Accept-Encoding"),
    SPAN_INIT("Accept-Language"),
    SPAN_INIT("Cache-Control"),
    SPAN_INIT("Pragma"),
    SPAN_INIT("Content-Type"),
    SPAN_INIT("Connection"),
    SPAN_INIT("Host"),
    SPAN_INIT("If-None-Match"),
    SPAN_INIT("Date"),
    SPAN_INIT("Range"),
    SPAN_INIT("If-Modified-Since"),
    SPAN_INIT("Via"),
    SPAN_INIT("If-Range"),
    SPAN_INIT("CDN-Loop"),
    SPAN_INIT("Accept-Charset"),
};

static bool is_in(struct span text, const struct span *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (span_equal_nocase(text, list[i])) {
            return true;
        }
    }
    return false;
}

bool sentinel_contradicts(struct span path, const struct headers *response_headers)
{
    struct span rest = headers_value(response_headers, SPAN("Content-Type"));
    struct span type;
    size_t dot = path.len;

    while (dot > 0 && path.len - dot <= EXTENSION_MAX_BYTES && path.data[dot - 1] != '.') {
        dot--;
    }
    return dot > 0 && path.data[dot - 1] == '.' &&
           is_in(span_skip(path, dot), static_extensions, ARRAY_LEN(static_extensions)) &&
           span_split(&rest, ';', &type) && is_in(span_trim(type), pages, ARRAY_LEN(pages));
}

static bool contains(struct span text, struct span value)
{
    for (size_t i = 0; i + value.len <= text.len; i++) {
        if (span_equal(span_take(span_skip(text, i), value.len), value)) {
            return true;
        }
    }
    return false;
}

/* Of X-Forwarded-* only -For tells of one client alone: what else is there selects, or is in the key
 * (forwarded_remove_untold). */
static bool selects(const struct headers *response_headers, struct span name)
{
    if (span_starts_with_nocase(name, SPAN("X-Forwarded-")) && !span_equal_nocase(name, SPAN("X-Forwarded-For"))) {
        return true;
    }
    return headers_list_has(response_headers, SPAN("Vary"), name);
}

bool sentinel_echoes(const struct headers *request_headers, const struct headers *response_headers)
{
    for (size_t i = 0; i < request_headers->count; i++) {
        const struct header *field = &request_headers->items[i];
        if (field->value.len < ECHO_MIN_BYTES || field->value.len > ECHO_MAX_BYTES ||
            is_in(field->name, expected, ARRAY_LEN(expected)) || selects(response_headers, field->name)) {
            continue;
        }
        for (size_t j = 0; j < response_headers->count; j++) {
            if (contains(response_headers->items[j].value, field->value)) {
                return true;
            }
        }
    }
    return false;
}
