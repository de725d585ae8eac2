/* key.c: the primary key of a stored response, as text and as hash.
 *
 * The text is readable on purpose: it lies in front of every stored head, and `larder why` shows it. Two URIs have the
 * same key exactly if http/uri gave them the same normal form: "/a" and "/a?" differ, host names in capitals do not. */
#include "cache/key.h"

#include "http/xxh3.h"

enum { MAX_BYTES = 256 * 1024 };

/* As long as "GET ": key_url knows one length. */
static const struct span recording = SPAN_INIT("REC ");

static bool make_key(struct span kind, const struct uri *uri, uint64_t secret, struct arena *arena, struct key *out_key)
{
    const struct span parts[] = {
        kind, uri->scheme, SPAN_INIT("://"), uri->authority, uri->path, SPAN_INIT("?"), uri->query,
    };
    size_t count = uri->has_query ? ARRAY_LEN(parts) : ARRAY_LEN(parts) - 2;
    struct span text;

    if (!arena_join(arena, parts, count, &text)) {
        return false;
    }
    *out_key = (struct key){.text = text, .hash = key_hash_of(text, secret)};
    return true;
}

bool key_of_uri(const struct uri *uri, uint64_t secret, struct arena *arena, struct key *out_key)
{
    /* RFC 9111 §2: the method and the target URI, at least. */
    return make_key(SPAN("GET "), uri, secret, arena, out_key);
}

bool key_of_recording(const struct uri *uri, uint64_t secret, struct arena *arena, struct key *out_key)
{
    return make_key(recording, uri, secret, arena, out_key);
}

bool key_is_recording(struct span text)
{
    return span_starts_with(text, recording);
}

bool key_is_response(struct span text)
{
    return span_starts_with(text, SPAN("GET ")) || key_is_recording(text);
}

/* No URL has a space in it. */
struct span key_without_mark(struct span text)
{
    size_t first = span_find(text, ' ');
    size_t second = first == SIZE_MAX ? SIZE_MAX : span_find(span_skip(text, first + 1), ' ');

    return second == SIZE_MAX ? text : span_take(text, first + 1 + second);
}

bool key_is_of_uri(struct span text)
{
    if (text.len > MAX_BYTES ||
        !(span_starts_with(text, SPAN("GET http://")) || span_starts_with(text, SPAN("GET https://")))) {
        return false;
    }
    for (size_t i = sizeof("GET ") - 1; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte <= ' ' || byte >= 0x7f) {
            return false;
        }
    }
    return true;
}

/* Seeded, so that nobody outside can choose URLs that collide in the index. */
struct key_hash key_hash_of(struct span text, uint64_t secret)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(text.data, text.len, secret);

    return (struct key_hash){.high = hash.high64, .low = hash.low64};
}

uint64_t key_hash_short(struct span text, uint64_t secret)
{
    return XXH3_64bits_withSeed(text.data, text.len, secret);
}

struct key_hash key_hash_of_url(struct span url, uint64_t secret)
{
    const struct span method = SPAN_INIT("GET ");
    XXH3_state_t state;

    XXH3_INITSTATE(&state);
    (void)XXH3_128bits_reset_withSeed(&state, secret); /* these fail only for NULL */
    (void)XXH3_128bits_update(&state, method.data, method.len);
    (void)XXH3_128bits_update(&state, url.data, url.len);
    XXH128_hash_t hash = XXH3_128bits_digest(&state);
    return (struct key_hash){.high = hash.high64, .low = hash.low64};
}

struct span key_url(struct span text)
{
    return span_skip(text, sizeof("GET ") - 1);
}

bool key_hash_equal(struct key_hash a, struct key_hash b)
{
    return a.high == b.high && a.low == b.low;
}
