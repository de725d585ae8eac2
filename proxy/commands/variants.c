/* variants.c: which fields make the variants of a URL, and for what. See variants.h.
 *
 * A field is needed if two variants that are equal in all other fields have different bodies. Fields are tried one
 * after the other, those with the most values first, and what was found unnecessary is left out from then on: where two
 * fields say the same, one of them stays. */
#include "proxy/commands/variants.h"

#include <stdlib.h>
#include <string.h>

#include "cache/vary.h"
#include "http/token.h"
#include "proxy/why/why.h"

enum {
    URL_ARENA_BYTES = 16 * 1024 * 1024,
    WHY_ARENA_BYTES = 256 * 1024 * 1024,
    FEW_VALUES = 3, /* of Accept-Encoding: br, gzip, neither */
};

static bool same_body(const struct stored_variant *a, const struct stored_variant *b)
{
    return a->record.body_len == b->record.body_len && a->record.status == b->record.status &&
           memcmp(a->record.digest, b->record.digest, DIGEST_BYTES) == 0;
}

static size_t count_bodies(const struct stored_variant *variants, size_t count)
{
    size_t bodies = 0;

    for (size_t i = 0; i < count; i++) {
        size_t j = 0;
        while (j < i && !same_body(&variants[i], &variants[j])) {
            j++;
        }
        bodies += j == i ? 1 : 0;
    }
    return bodies;
}

/* ---- fields ---- */

/* What a selection says of a field; one that does not name it counts as one without it. */
static struct variants_value value_in(struct span selection, struct span name)
{
    struct span found, text;
    bool present;

    while (vary_next(&selection, &found, &text, &present)) {
        if (span_equal(found, name)) {
            return (struct variants_value){.text = text, .present = present, .count = 1};
        }
    }
    return (struct variants_value){.count = 1};
}

static bool same_value(struct variants_value a, struct variants_value b)
{
    return a.present == b.present && span_equal(a.text, b.text);
}

/* The names of all fields of all selections, each once. */
static bool find_fields(struct variants_url *url)
{
    url->fields = arena_alloc(&url->arena, url->count * VARY_MAX_FIELDS * sizeof(*url->fields));
    for (size_t i = 0; url->fields != NULL && i < url->count; i++) {
        struct span rest = url->variants[i].selection;
        struct span name, text;
        bool present;
        while (vary_next(&rest, &name, &text, &present)) {
            size_t known = 0;
            while (known < url->field_count && !span_equal(url->fields[known].name, name)) {
                known++;
            }
            if (known == url->field_count) {
                url->fields[url->field_count++] = (struct variants_field){.name = name};
            }
        }
    }
    return url->fields != NULL;
}

static int by_count(const void *a, const void *b) /* of variants_value, most first */
{
    size_t left = ((const struct variants_value *)a)->count;
    size_t right = ((const struct variants_value *)b)->count;

    return left > right ? -1 : left < right;
}

static bool count_values(struct variants_url *url, struct variants_field *field)
{
    struct variants_value *values = arena_alloc(&url->arena, url->count * sizeof(*values));

    for (size_t i = 0; values != NULL && i < url->count; i++) {
        struct variants_value value = value_in(url->variants[i].selection, field->name);
        size_t known = 0;
        while (known < field->values && !same_value(values[known], value)) {
            known++;
        }
        if (known == field->values) {
            values[field->values++] = value;
        } else {
            values[known].count++;
        }
    }
    if (values == NULL) {
        return false;
    }
    qsort(values, field->values, sizeof(*values), by_count);
    field->top_count = field->values < VARIANTS_TOP_VALUES ? field->values : VARIANTS_TOP_VALUES;
    memcpy(field->top, values, field->top_count * sizeof(*values));
    return true;
}

static int by_values(const void *a, const void *b) /* of variants_field, most first */
{
    size_t left = ((const struct variants_field *)a)->values;
    size_t right = ((const struct variants_field *)b)->values;

    return left > right ? -1 : left < right;
}

/* Are two variants equal in all fields but `except` and those to strip? */
static bool same_otherwise(const struct variants_url *url, size_t i, size_t j, const struct variants_field *except)
{
    for (size_t f = 0; f < url->field_count; f++) {
        const struct variants_field *field = &url->fields[f];
        if (field != except && field->advice != ADVICE_STRIP &&
            !same_value(value_in(url->variants[i].selection, field->name),
                        value_in(url->variants[j].selection, field->name))) {
            return false;
        }
    }
    return true;
}

static bool changes_body(const struct variants_url *url, const struct variants_field *field)
{
    for (size_t i = 0; i < url->count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (!same_body(&url->variants[i], &url->variants[j]) && same_otherwise(url, i, j, field)) {
                return true;
            }
        }
    }
    return false;
}

/* Accept-Encoding is never to be stripped: the origin would not compress any more. */
static enum variants_advice advice_for(const struct variants_field *field)
{
    if (field->values < 2) {
        return ADVICE_NONE;
    }
    if (span_equal(field->name, SPAN("accept-encoding"))) {
        return field->values > FEW_VALUES ? ADVICE_ENCODINGS : ADVICE_NONE;
    }
    if (!field->changes_body) {
        return ADVICE_STRIP;
    }
    return span_equal(field->name, SPAN("accept-language")) ? ADVICE_LANGUAGES : ADVICE_NONE;
}

static size_t count_left(const struct variants_url *url)
{
    size_t left = 0;

    for (size_t i = 0; i < url->count; i++) {
        size_t j = 0;
        while (j < i && !same_otherwise(url, i, j, NULL)) {
            j++;
        }
        left += j == i ? 1 : 0;
    }
    return left;
}

static bool analyse(struct variants_url *url)
{
    if (!find_fields(url)) {
        return false;
    }
    for (size_t f = 0; f < url->field_count; f++) {
        if (!count_values(url, &url->fields[f])) {
            return false;
        }
    }
    qsort(url->fields, url->field_count, sizeof(*url->fields), by_values);
    for (size_t f = 0; f < url->field_count; f++) {
        struct variants_field *field = &url->fields[f];
        field->changes_body = changes_body(url, field);
        field->advice = advice_for(field);
    }
    url->left = count_left(url);
    return true;
}

/* ---- URLs ---- */

static void url_destroy(struct variants_url *url)
{
    if (url != NULL) {
        arena_finish(&url->arena);
        free(url);
    }
}

/* A copy of what is stored under a key; NULL: no memory. */
static struct variants_url *url_create(struct span key, const struct stored_variant *variants, size_t count)
{
    struct variants_url *url = calloc(1, sizeof(*url));

    if (url == NULL) {
        return NULL;
    }
    arena_init(&url->arena, URL_ARENA_BYTES);
    url->variants = arena_alloc(&url->arena, (count + 1) * sizeof(*url->variants));
    bool done = url->variants != NULL && arena_copy(&url->arena, key_url(key_without_mark(key)), &url->url);
    for (size_t i = 0; done && i < count; i++) {
        url->variants[i] = variants[i];
        url->bytes += variants[i].record.body_len;
        done = arena_copy(&url->arena, variants[i].selection, &url->variants[i].selection);
    }
    url->count = count;
    url->bodies = count_bodies(variants, count);
    if (!done) {
        url_destroy(url);
        return NULL;
    }
    return url;
}

/* Is a URL with so many variants and bodies worse than one in the list? */
static bool is_worse(size_t count, size_t bodies, const struct variants_url *than)
{
    size_t waste = count - bodies;
    size_t other = than->count - than->bodies;

    return waste > other || (waste == other && count > than->count);
}

static bool on_key(void *arg, const struct stored_key *key) /* store_key_fn */
{
    struct variants *variants = arg;
    size_t bodies = count_bodies(key->variants, key->count);
    size_t at = variants->count;

    variants->with_some++;
    variants->with_waste += bodies < key->count ? 1 : 0;
    while (at > 0 && is_worse(key->count, bodies, variants->urls[at - 1])) {
        at--;
    }
    if (at == variants->limit) {
        return true;
    }
    struct variants_url *url = url_create(key->text, key->variants, key->count);
    if (url == NULL) {
        return false;
    }
    if (variants->count == variants->limit) {
        url_destroy(variants->urls[--variants->count]);
    }
    memmove(&variants->urls[at + 1], &variants->urls[at], (variants->count - at) * sizeof(struct variants_url *));
    variants->urls[at] = url;
    variants->count++;
    return true;
}

static bool ask_store(const struct config *config, struct variants *variants, struct buf *error)
{
    struct store *store;
    struct buf note;

    buf_init(&note, 1024);
    enum err failed = store_open_readonly(config->cache.dir, &store, &note);
    if (failed != ERR_OK) {
        buf_format(error, "vary: no store can be read in %s: %s%.*s%s", config->cache.dir,
                   note.len > 0 ? "" : err_text(failed), SPAN_ARG(buf_span(&note)),
                   failed == ERR_NOT_FOUND ? ": see --config and --cache-dir" : "");
    }
    buf_finish(&note);
    if (failed != ERR_OK) {
        return false;
    }
    struct store_reader *reader = store_reader_create(store);
    bool done = reader != NULL && store_each_key(reader, 2, on_key, variants, &variants->keys);
    store_reader_destroy(reader);
    store_close(store);
    if (!done) {
        buf_format(error, "vary: the store in %s cannot be read", config->cache.dir);
    }
    return done;
}

/* The URL as a client would ask for it: its key is found as `larder why` finds it, rules and all. */
static bool ask_url(const struct config *config, const char *text, int64_t now_ms, struct variants *variants,
                    struct buf *error)
{
    struct why_options options = {.url = text};
    struct variants_url *url = NULL;
    struct arena arena;
    struct why why;

    arena_init(&arena, WHY_ARENA_BYTES);
    bool asked = why_ask(config, &options, now_ms, &arena, &why, error);
    if (asked && !why.looked_up) {
        buf_format(error, "vary: %s is not looked up in the store (larder why says more)", text);
        asked = false;
    }
    if (asked) {
        struct stored_variant *stored = arena_alloc(&arena, (why.variant_count + 1) * sizeof(*stored));
        for (size_t i = 0; stored != NULL && i < why.variant_count; i++) {
            stored[i] =
                (struct stored_variant){.record = why.variants[i].record, .selection = why.variants[i].selection};
        }
        url = stored == NULL ? NULL : url_create(why.key.text, stored, why.variant_count);
        variants->keys = why.variant_count > 0 ? 1 : 0;
        variants->with_some = why.variant_count > 1 ? 1 : 0;
    }
    arena_finish(&arena);
    if (url != NULL) {
        variants->with_waste = url->bodies < url->count ? 1 : 0;
        variants->urls[variants->count++] = url;
    } else if (asked) {
        buf_add_text(error, "vary: out of memory");
    }
    return url != NULL;
}

bool variants_ask(const struct config *config, const char *url, size_t limit, int64_t now_ms,
                  struct variants *out_variants, struct buf *out_error)
{
    struct variants variants = {.limit = limit, .urls = calloc(limit + 1, sizeof(struct variants_url *))};
    bool done = variants.urls != NULL;

    if (!done) {
        buf_add_text(out_error, "vary: out of memory");
    } else {
        done =
            url != NULL ? ask_url(config, url, now_ms, &variants, out_error) : ask_store(config, &variants, out_error);
    }
    for (size_t i = 0; done && i < variants.count; i++) {
        done = analyse(variants.urls[i]);
        if (!done) {
            buf_add_text(out_error, "vary: out of memory");
        }
    }
    *out_variants = variants;
    return done;
}

void variants_finish(struct variants *variants)
{
    for (size_t i = 0; i < variants->count; i++) {
        url_destroy(variants->urls[i]);
    }
    free(variants->urls);
    *variants = (struct variants){0};
}
