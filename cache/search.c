/* search.c: see search.h. */
#include "cache/search.h"

#include "cache/head.h"

static const struct span mark = SPAN_INIT(" search="); /* no URL has a space in it */

bool search_hint_key(const struct uri *uri, uint64_t secret, struct arena *arena, struct key *out_key)
{
    const struct span parts[] = {SPAN_INIT("SEARCH "), uri->scheme, SPAN_INIT("://"), uri->authority, uri->path};

    if (!arena_join(arena, parts, ARRAY_LEN(parts), &out_key->text)) {
        return false;
    }
    out_key->hash = key_hash_of(out_key->text, secret);
    return true;
}

bool search_of_hint(const struct stored *hint, struct arena *arena, struct search *out_search)
{
    struct headers headers;

    if (head_read(hint->head, arena, &headers) != ERR_OK ||
        !no_vary_search_of(&headers, arena, &out_search->variance)) {
        return false;
    }
    out_search->field = headers_value(&headers, SPAN("No-Vary-Search"));
    out_search->number = hint->record.body_id;
    return true;
}

bool search_find(struct cache_reader *reader, const struct uri *uri, struct arena *arena, struct search *out_search)
{
    struct cache *cache = cache_reader_cache(reader);
    struct headers nothing;
    struct cached hint;
    uint64_t generation;
    struct key key;

    headers_init(&nothing, arena);
    if (!search_hint_key(uri, cache_secret(cache), arena, &key) ||
        cache_find(reader, &key, &nothing, arena, &hint, &generation) != STORE_FOUND) {
        return false;
    }
    bool good = search_of_hint(&hint.stored, arena, out_search);
    cached_finish(cache, &hint);
    return good;
}

/* "GET http://host/path?query", the query being the variance's form of it. */
static bool normal_text(const struct no_vary_search *variance, const struct uri *uri, struct arena *arena,
                        struct span *out_text)
{
    struct uri normal = *uri;
    struct key key;

    if (!no_vary_search_query(variance, uri, arena, &normal.query)) {
        return false;
    }
    normal.has_query = normal.query.len > 0;
    if (!key_of_uri(&normal, 0, arena, &key)) {
        return false;
    }
    *out_text = key.text;
    return true;
}

bool search_key(const struct search *search, const struct uri *uri, uint64_t secret, struct arena *arena,
                struct key *out_key)
{
    struct span text;

    if (!normal_text(&search->variance, uri, arena, &text) ||
        !arena_format(arena, &out_key->text, "%.*s%.*s%llx", SPAN_ARG(text), SPAN_ARG(mark),
                      (unsigned long long)search->number)) {
        return false;
    }
    out_key->hash = key_hash_of(out_key->text, secret);
    return true;
}

bool search_is_marked(struct span key)
{
    return key_without_mark(key).len < key.len;
}

/* All lines as one (RFC 9651 §4.2): what a hint keeps. False at the arena's limit. */
static bool joined_field(const struct headers *response, struct arena *arena, struct span *out_field)
{
    struct span value = {NULL, 0};

    for (const struct header *line = headers_find(response, SPAN("No-Vary-Search")); line != NULL;
         line = headers_find_next(response, line)) {
        const struct span parts[] = {value, SPAN_INIT(", "), line->value};
        size_t skip = value.len == 0 ? 2 : 0;
        if (!arena_join(arena, parts + skip, ARRAY_LEN(parts) - skip, &value)) {
            return false;
        }
    }
    *out_field = value;
    return true;
}

/* Stores the hint; look-ups find it from the return on. */
static void note(struct cache *cache, const struct key *key, struct span field, uint64_t monotonic_ms)
{
    struct join_request join = {.key = key, .wish = JOIN_WITHOUT_OTHERS, .monotonic_ms = monotonic_ms};
    struct flight *flight;
    struct fill *fill;
    struct buf head;

    if (cache_join(cache, &join, NULL, &flight, &fill) != JOIN_ALONE) {
        return;
    }
    buf_init(&head, RECORD_MAX_HEAD_BYTES);
    buf_format(&head, "No-Vary-Search: %.*s\r\n", SPAN_ARG(field));
    struct flight_head hint = {
        .status = 200, .fields = buf_span(&head), .record = {.status = 200}, .length_known = true};
    if (!head.failed && cache_fill_head(fill, &hint, true, UINT64_MAX, monotonic_ms) == ERR_OK) {
        cache_fill_complete(fill, (struct span){NULL, 0});
    } else {
        cache_fill_fail(fill, ERR_NO_MEMORY);
    }
    buf_finish(&head);
    flight_unref(flight);
}

bool search_learn(struct cache *cache, struct cache_reader *reader, const struct uri *uri,
                  const struct headers *response, uint64_t monotonic_ms, struct arena *arena, struct search *out_search)
{
    struct no_vary_search variance;
    struct span field;
    struct key key;

    if (!no_vary_search_of(response, arena, &variance) || !joined_field(response, arena, &field)) {
        return false;
    }
    if (search_find(reader, uri, arena, out_search) && span_equal(out_search->field, field)) {
        return true;
    }
    if (!search_hint_key(uri, cache_secret(cache), arena, &key)) {
        return false;
    }
    note(cache, &key, field, monotonic_ms);
    return search_find(reader, uri, arena, out_search) && span_equal(out_search->field, field);
}

bool search_serves(struct span key, const struct headers *response, const struct uri *uri, struct arena *arena)
{
    struct no_vary_search variance;
    struct span text;
    struct key own;

    if (search_is_marked(key)) {
        return no_vary_search_of(response, arena, &variance) && normal_text(&variance, uri, arena, &text) &&
               span_equal(text, key_without_mark(key));
    }
    return key_of_uri(uri, 0, arena, &own) && span_equal(own.text, key);
}
