/* fuzz_caching.c: any text as the fields by which caches are told what to keep, for whom, and what came before them.
 * The first byte chooses the reader, the second cuts the text into field lines. */
#include <string.h>

#include "cache/freshness.h"
#include "cache/head.h"
#include "cache/vary.h"
#include "http/cache_groups.h"
#include "http/date.h"
#include "http/forward.h"
#include "http/forwarded.h"
#include "http/negotiate.h"
#include "http/tags.h"
#include "http/targeted.h"
#include "http/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { NOW_MS = 1700000000 };

/* Field lines as a parser leaves them: trimmed, without controls; the text is cut at `cut`. */
static struct headers lines_of(struct span text, char cut, const struct span *names, size_t name_count,
                               struct arena *arena)
{
    struct headers headers;
    struct span rest = text;
    struct span line;
    size_t i = 0;

    headers_init(&headers, arena);
    while (span_split(&rest, cut, &line)) {
        char *copy = arena_alloc_text(arena, line.len + 1);
        REQUIRE(copy != NULL);
        for (size_t k = 0; k < line.len; k++) {
            unsigned char byte = (unsigned char)line.data[k];
            copy[k] = byte < 0x20 || byte == 0x7f ? ' ' : (char)byte;
        }
        REQUIRE(headers_add(&headers, names[i++ % name_count], span_trim((struct span){copy, line.len})));
    }
    return headers;
}

static void try_targeted(struct span text, char cut, struct arena *arena)
{
    static const struct span names[] = {SPAN_INIT("CDN-Cache-Control")};
    struct headers headers = lines_of(text, cut, names, 1, arena);
    struct response_directives directives;

    if (directives_of_targeted(&headers, names[0], arena, &directives)) {
        REQUIRE(directives.present);
        REQUIRE(directives.max_age.seconds >= 0 && directives.s_maxage.seconds >= 0);
        REQUIRE(directives.stale_while_revalidate.seconds >= 0 && directives.stale_if_error.seconds >= 0);
    }
}

static void try_groups(struct span text, char cut, struct arena *arena)
{
    static const struct span names[] = {SPAN_INIT("Cache-Groups"), SPAN_INIT("Cache-Group-Invalidation")};
    struct headers headers = lines_of(text, cut, names, ARRAY_LEN(names), arena);
    struct cache_groups groups;
    struct span name;
    size_t count = 0;

    if (!cache_groups_of_response(&headers, arena, &groups)) {
        return;
    }
    while (cache_groups_next(&groups, &name)) {
        count++;
        REQUIRE(name.len <= CACHE_GROUP_MAX_BYTES);
    }
    REQUIRE(count <= CACHE_GROUPS_MAX);
    REQUIRE(cache_groups_invalidated(METHOD_GET, &headers, arena, &groups));
    REQUIRE(!cache_groups_next(&groups, &name)); /* a safe method invalidates nothing (RFC 9875 §3) */
    (void)cache_groups_invalidated(METHOD_POST, &headers, arena, &groups);
}

static void try_tags(struct span text, char cut, struct arena *arena)
{
    static const struct span names[] = {SPAN_INIT("Surrogate-Key"), SPAN_INIT("Cache-Tag"), SPAN_INIT("xkey")};
    struct headers headers = lines_of(text, cut, names, ARRAY_LEN(names), arena);
    struct tags tags = tags_of(&headers);
    struct span name;
    size_t count = 0;
    size_t longest = 0;

    while (tags_next(&tags, &name)) {
        count++;
        REQUIRE(name.len > 0);
        longest = name.len > longest ? name.len : longest;
    }
    REQUIRE(!tags_within_limits(&headers) || (count <= TAGS_MAX && longest <= TAG_MAX_BYTES));
    size_t lines = headers.count;
    REQUIRE(tags_remove(&headers) == lines && headers.count == 0);
}

static void try_negotiation(struct span text, char cut, struct arena *arena)
{
    static const struct span names[] = {SPAN_INIT("Accept-Encoding"), SPAN_INIT("Accept-Language")};
    static const struct span languages[] = {SPAN_INIT("en"), SPAN_INIT("pt-BR"), SPAN_INIT("de")};
    struct headers headers = lines_of(text, cut, names, ARRAY_LEN(names), arena);
    struct span coding = negotiate_encoding(&headers);
    struct span language = negotiate_language(&headers, languages, ARRAY_LEN(languages));

    REQUIRE(coding.len == 0 || span_equal(coding, SPAN("br")) || span_equal(coding, SPAN("gzip")));
    REQUIRE(span_equal(language, languages[0]) || span_equal(language, languages[1]) ||
            span_equal(language, languages[2]));
    /* What it comes down to comes down to itself. */
    REQUIRE(headers_set(&headers, SPAN("Accept-Encoding"), coding));
    REQUIRE(span_equal(negotiate_encoding(&headers), coding));
    REQUIRE(headers_set(&headers, SPAN("Accept-Language"), language));
    REQUIRE(span_equal(negotiate_language(&headers, languages, ARRAY_LEN(languages)), language));
}

static struct span told_names[] = {SPAN_INIT("X-Forwarded-Port"), SPAN_INIT("a")};
static const struct field_names told = {told_names, ARRAY_LEN(told_names)};

static void try_path(struct span text, char cut, struct arena *arena)
{
    static const struct span names[] = {SPAN_INIT("CDN-Loop"),         SPAN_INIT("Via"),
                                        SPAN_INIT("Forwarded"),        SPAN_INIT("X-Forwarded-For"),
                                        SPAN_INIT("X-Forwarded-Port"), SPAN_INIT("X-Forwarded-Prefix")};
    static const enum forwarded_style styles[] = {FORWARDED_X, FORWARDED_RFC, FORWARDED_NONE};

    for (size_t i = 0; i < ARRAY_LEN(styles); i++) {
        struct headers headers = lines_of(text, cut, names, ARRAY_LEN(names), arena);
        enum forwarded_style believed = cut == ';' ? styles[i] : FORWARDED_NONE;
        struct span said = forwarded_scheme(&headers, believed, SPAN("http"));
        struct forwarded forwarded = {.style = styles[i],
                                      .client = SPAN("::1"),
                                      .scheme = SPAN("http"),
                                      .request_scheme = said,
                                      .host = SPAN("h:1")};
        size_t told_lines = headers_count_of(&headers, told.items[0]);
        forwarded_remove_untold(&headers, believed, &told);
        REQUIRE(headers_count_of(&headers, told.items[0]) == (believed == FORWARDED_X ? told_lines : 0));
        REQUIRE(!headers_has(&headers, SPAN("X-Forwarded-Prefix")));
        (void)forward_is_loop(&headers, SPAN("larder"), 7);
        REQUIRE(forward_add_via(&headers, 1, SPAN("larder")) && headers_has(&headers, SPAN("Via")));
        REQUIRE(forwarded_add(&headers, &forwarded));
        /* The origin reads what the key has. */
        REQUIRE(span_equal(forwarded_scheme(&headers, styles[i], SPAN("http")), said));
        REQUIRE(styles[i] != FORWARDED_NONE || !headers_has(&headers, SPAN("Forwarded")));
        REQUIRE(forward_add_loop(&headers, SPAN("larder"), 7));
        REQUIRE(forward_is_loop(&headers, SPAN("larder"), 7)); /* whatever stands in front of it */
    }
}

static void try_vary(struct span text, char cut, struct arena *arena)
{
    static const struct span vary[] = {SPAN_INIT("Vary")};
    static const struct span asked[] = {SPAN_INIT("Accept-Encoding"), SPAN_INIT("Accept-Language"), SPAN_INIT("a"),
                                        SPAN_INIT("Accept"), SPAN_INIT("Cookie")};
    struct headers response = lines_of(text, cut, vary, 1, arena);
    struct headers request = lines_of(text, ' ', asked, ARRAY_LEN(asked), arena);
    struct span name;
    struct span value;
    struct buf selection;
    bool present;

    buf_init(&selection, (size_t)4 * VARY_MAX_BYTES);
    const struct field_names *also = cut == ';' ? &told : NULL;
    enum vary_kind kind = vary_select(&response, also, &request, arena, &selection);
    REQUIRE(kind == VARY_SOME || selection.len == 0);
    REQUIRE(kind != VARY_NONE || also == NULL);
    REQUIRE(kind != VARY_SOME || (selection.len <= VARY_MAX_BYTES && vary_valid(buf_span(&selection))));
    REQUIRE(kind != VARY_SOME || vary_matches(buf_span(&selection), &request, arena));
    struct span rest = buf_span(&selection);
    while (kind == VARY_SOME && vary_next(&rest, &name, &value, &present)) {
        REQUIRE(is_token(name));
    }
    REQUIRE(vary_kind_of(&response) != VARY_STAR || kind == VARY_STAR || kind == VARY_LIMIT);
    buf_finish(&selection);
    (void)vary_valid(text); /* as read from the disk */
    (void)vary_matches(text, &request, arena);
}

static void try_freshness(struct span text, char cut, struct arena *arena)
{
    static const struct span names[] = {SPAN_INIT("Age"), SPAN_INIT("Date"), SPAN_INIT("Expires"),
                                        SPAN_INIT("Last-Modified"), SPAN_INIT("Cache-Control")};
    static const struct lifetime_override none = {.ttl_s = -1, .default_ttl_s = -1, .max_heuristic_s = INT64_MAX};
    struct http_response response = {.status = 200};
    struct headers read;
    struct buf head;

    response.headers = lines_of(text, cut, names, ARRAY_LEN(names), arena);
    struct freshness_inputs inputs = freshness_inputs_of(&response, NOW_MS, NOW_MS, arena);
    struct freshness freshness = freshness_at(&inputs, &none, NOW_MS + 5000);
    REQUIRE(inputs.age_s >= 0 && inputs.age_s <= INT32_MAX);
    REQUIRE(freshness.age_s >= 5 && freshness.lifetime_s >= 0);
    /* As it would be stored, and read again. */
    buf_init(&head, 1 << 20);
    head_write(&response.headers, &head);
    REQUIRE(!head.failed && head_read(buf_span(&head), arena, &read) == ERR_OK);
    REQUIRE(!headers_has(&read, SPAN("Age")));
    buf_finish(&head);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static void (*const readers[])(struct span, char, struct arena *) = {
        try_targeted, try_groups, try_tags, try_negotiation, try_path, try_vary, try_freshness};
    struct arena arena;

    if (size < 2) {
        return 0;
    }
    arena_init(&arena, 64 * 1024 * 1024);
    readers[bytes[0] % ARRAY_LEN(readers)]((struct span){(const char *)bytes + 2, size - 2}, (char)bytes[1], &arena);
    arena_finish(&arena);
    return 0;
}
