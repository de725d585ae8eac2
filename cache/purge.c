/* purge.c: purges as values.
 *
 * A row: u8 version, u8 kind, u8 mode, u8 zero, u32 length of the name, i64 time_ms, the name, then XXH3-64 of all of
 * it, seeded with the sequence it lies under. Little-endian, written byte by byte. */
#include "cache/purge.h"

#include <string.h>

#include "cache/little_endian.h"
#include "http/xxh3.h"

enum {
    ROW_VERSION = 1,
    AT_NAME = 16,
    ROW_CHECK_BYTES = 8,
};

static const char *const kind_texts[PURGE_KINDS] = {
    [PURGE_URL] = "url",     [PURGE_PREFIX] = "prefix", [PURGE_GLOB] = "glob", [PURGE_TAG] = "tag",
    [PURGE_GROUP] = "group", [PURGE_HOST] = "host",     [PURGE_ALL] = "all",
};

const char *purge_kind_text(enum purge_kind kind)
{
    REQUIRE(kind >= PURGE_URL && kind < PURGE_KINDS);
    return kind_texts[kind];
}

const char *purge_mode_text(enum purge_mode mode)
{
    return mode == PURGE_HARD ? "hard" : "soft";
}

bool purge_valid(const struct purge *purge)
{
    struct span name = purge->name;

    switch (purge->kind) {
    case PURGE_URL:
        return name.len <= PURGE_NAME_MAX_BYTES && purge_url_host(name).len > 0;
    case PURGE_PREFIX:
    case PURGE_GLOB:
    case PURGE_HOST:
        return name.len > 0 && name.len <= PURGE_PATTERN_MAX_BYTES;
    case PURGE_TAG:
        return name.len > 0 && name.len <= PURGE_NAME_MAX_BYTES;
    case PURGE_GROUP: /* the name of a group may be empty, its origin not */
        return name.len <= PURGE_NAME_MAX_BYTES && span_find(name, ' ') != SIZE_MAX;
    case PURGE_ALL:
        return name.len == 0;
    case PURGE_KINDS:
        break;
    }
    return false;
}

void purge_encode(const struct purge *purge, struct buf *out)
{
    size_t hashed = AT_NAME + purge->name.len;
    char *at = buf_reserve(out, hashed + ROW_CHECK_BYTES);

    if (at == NULL) {
        out->failed = true;
        return;
    }
    le_put(at + 0, 1, ROW_VERSION);
    le_put(at + 1, 1, (uint64_t)purge->kind);
    le_put(at + 2, 1, (uint64_t)purge->mode);
    le_put(at + 3, 1, 0);
    le_put(at + 4, 4, purge->name.len);
    le_put(at + 8, 8, (uint64_t)purge->time_ms);
    if (purge->name.len > 0) {
        memcpy(at + AT_NAME, purge->name.data, purge->name.len);
    }
    le_put(at + hashed, ROW_CHECK_BYTES, XXH3_64bits_withSeed(at, hashed, purge->sequence));
    out->len += hashed + ROW_CHECK_BYTES;
}

bool purge_decode(struct span bytes, uint64_t sequence, struct purge *out_purge)
{
    const char *at = bytes.data;

    if (bytes.len < AT_NAME + ROW_CHECK_BYTES || bytes.len > AT_NAME + PURGE_NAME_MAX_BYTES + ROW_CHECK_BYTES) {
        return false;
    }
    size_t hashed = bytes.len - ROW_CHECK_BYTES;
    struct purge purge = {
        .kind = (enum purge_kind)le_get(at + 1, 1),
        .mode = (enum purge_mode)le_get(at + 2, 1),
        .name = {at + AT_NAME, hashed - AT_NAME},
        .sequence = sequence,
        .time_ms = (int64_t)le_get(at + 8, 8),
    };
    if (le_get(at + hashed, ROW_CHECK_BYTES) != XXH3_64bits_withSeed(at, hashed, sequence) ||
        le_get(at, 1) != ROW_VERSION || le_get(at + 3, 1) != 0 || le_get(at + 4, 4) != purge.name.len ||
        (purge.mode != PURGE_HARD && purge.mode != PURGE_SOFT) || !purge_valid(&purge)) {
        return false;
    }
    *out_purge = purge;
    return true;
}

/* ---- URLs ---- */

static struct span authority_of(struct span url)
{
    size_t colon = span_find(url, ':');

    if (colon == SIZE_MAX || !span_starts_with(span_skip(url, colon), SPAN("://"))) {
        return (struct span){url.data, 0};
    }
    struct span rest = span_skip(url, colon + 3);
    size_t slash = span_find(rest, '/');
    return slash == SIZE_MAX ? rest : span_take(rest, slash);
}

struct span purge_url_origin(struct span url)
{
    struct span authority = authority_of(url);

    return authority.len == 0 ? authority : span_take(url, (size_t)(authority.data - url.data) + authority.len);
}

struct span purge_url_host(struct span url)
{
    struct span authority = authority_of(url);

    for (size_t i = authority.len; i > 0 && authority.data[i - 1] != ']'; i--) {
        if (authority.data[i - 1] == ':') {
            return span_take(authority, i - 1);
        }
    }
    return authority;
}
