/* variants_text.c: what `larder vary` prints, for people and for scripts. */
#include "proxy/commands/variants.h"
#include "proxy/io/log.h"

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static bool is_of_language(char byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') || byte == '-';
}

/* The language that a value asks for first: "de" of "de;q=0.9, en". Empty: none that could be one. */
static struct span language_of(const struct variants_value *value)
{
    size_t len = 0;

    while (value->present && len < value->text.len && is_of_language(value->text.data[len])) {
        len++;
    }
    return span_take(value->text, len);
}

/* Those that were asked for most; who writes the rule knows which the site has. */
static void write_languages(const struct variants_field *field, struct buf *out)
{
    bool any = false;

    buf_add_byte(out, '[');
    for (size_t i = 0; i < field->top_count; i++) {
        struct span language = language_of(&field->top[i]);
        bool told = language.len == 0;
        for (size_t j = 0; j < i; j++) {
            told = told || span_equal(language, language_of(&field->top[j]));
        }
        if (!told) {
            buf_format(out, "%s\"%.*s\"", any ? ", " : "", SPAN_ARG(language));
            any = true;
        }
    }
    buf_add_text(out, any ? "]" : "\"en\"]");
}

/* The line of a rule that follows the advice. */
static void write_rule(const struct variants_field *field, struct buf *out)
{
    switch (field->advice) {
    case ADVICE_NONE:
        break;
    case ADVICE_STRIP:
        buf_format(out, "strip_request_fields = [\"%.*s\"]", SPAN_ARG(field->name));
        break;
    case ADVICE_ENCODINGS:
        buf_add_text(out, "normalize_accept_encoding = true");
        break;
    case ADVICE_LANGUAGES:
        buf_add_text(out, "normalize_accept_language = ");
        write_languages(field, out);
        break;
    }
}

/* ---- for people ---- */

static void write_field_text(const struct variants_field *field, struct buf *out)
{
    buf_format(out, "  %-17.*s %zu value%s, %s:", SPAN_ARG(field->name), field->values, plural(field->values),
               field->changes_body ? "bodies differ by it" : "no body differs by it");
    for (size_t i = 0; i < field->top_count; i++) {
        const struct variants_value *value = &field->top[i];
        buf_format(out, "%s %s (%zu)", i == 0 ? "" : ",", value->present ? log_quoted(value->text).text : "absent",
                   value->count);
    }
    buf_add_text(out, field->values > field->top_count ? ", …\n" : "\n");
}

/* One line names all fields to strip: a rule has each setting once. */
static void write_stripped(const struct variants_url *url, struct buf *out)
{
    size_t count = 0;

    for (size_t i = 0; i < url->field_count; i++) {
        if (url->fields[i].advice == ADVICE_STRIP) {
            buf_format(out, "%s\"%.*s\"", count == 0 ? "    strip_request_fields = [" : ", ",
                       SPAN_ARG(url->fields[i].name));
            count++;
        }
    }
    buf_add_text(out, count > 0 ? "]\n" : "");
}

/* The rule that follows all of the advice, as it can stand behind the site in the configuration. */
static void write_whole_rule(const struct variants_url *url, size_t number, struct buf *out)
{
    struct span path = span_skip(url->url, span_find(url->url, ':'));
    size_t advised = 0;

    for (size_t i = 0; i < url->field_count; i++) {
        advised += url->fields[i].advice != ADVICE_NONE ? 1 : 0;
    }
    if (advised == 0) {
        return;
    }
    path = span_skip(path, sizeof("://") - 1);
    path = span_skip(path, span_find(path, '/'));
    buf_format(out, "  a rule for it\n    [[site.rule]]\n    name = \"fewer-variants-%zu\"\n    path = ", number);
    buf_add_json_string(out, span_take(path, span_find(path, '?')));
    buf_add_byte(out, '\n');
    write_stripped(url, out);
    for (size_t i = 0; i < url->field_count; i++) {
        const struct variants_field *field = &url->fields[i];
        if (field->advice == ADVICE_ENCODINGS || field->advice == ADVICE_LANGUAGES) {
            buf_add_text(out, "    ");
            write_rule(field, out);
            buf_add_byte(out, '\n');
        }
    }
}

static void write_url_text(const struct variants_url *url, size_t number, struct buf *out)
{
    buf_format(out, "\n%.*s\n  %zu variant%s, %zu distinct bod%s, %llu bytes\n", SPAN_ARG(url->url), url->count,
               plural(url->count), url->bodies, url->bodies == 1 ? "y" : "ies", (unsigned long long)url->bytes);
    for (size_t i = 0; i < url->field_count; i++) {
        write_field_text(&url->fields[i], out);
    }
    if (url->left < url->count) {
        buf_format(out, "  without what no body differs by: %zu variant%s\n", url->left, plural(url->left));
    }
    write_whole_rule(url, number, out);
}

void variants_write_text(const struct variants *variants, struct buf *out)
{
    buf_format(out, "%llu URL%s, %llu with several variants, %llu with more variants than bodies\n",
               (unsigned long long)variants->keys, plural(variants->keys), (unsigned long long)variants->with_some,
               (unsigned long long)variants->with_waste);
    for (size_t i = 0; i < variants->count; i++) {
        write_url_text(variants->urls[i], i + 1, out);
    }
}

/* ---- for scripts ---- */

static void write_field_json(const struct variants_field *field, struct buf *out)
{
    buf_add_text(out, "{\"name\":");
    buf_add_json_string(out, field->name);
    buf_format(out, ",\"values\":%zu,\"changes_body\":%s,\"top\":[", field->values,
               field->changes_body ? "true" : "false");
    for (size_t i = 0; i < field->top_count; i++) {
        buf_add_text(out, i == 0 ? "{\"value\":" : ",{\"value\":");
        if (field->top[i].present) {
            buf_add_json_string(out, field->top[i].text);
        } else {
            buf_add_text(out, "null");
        }
        buf_format(out, ",\"variants\":%zu}", field->top[i].count);
    }
    buf_add_byte(out, ']');
    if (field->advice != ADVICE_NONE) {
        struct buf rule;
        buf_init(&rule, 4096);
        write_rule(field, &rule);
        buf_add_text(out, ",\"rule\":");
        buf_add_json_string(out, buf_span(&rule));
        buf_finish(&rule);
    }
    buf_add_byte(out, '}');
}

static void write_url_json(const struct variants_url *url, struct buf *out)
{
    buf_add_text(out, "{\"url\":");
    buf_add_json_string(out, url->url);
    buf_format(out, ",\"variants\":%zu,\"distinct_bodies\":%zu,\"bytes\":%llu,\"variants_needed\":%zu,\"fields\":[",
               url->count, url->bodies, (unsigned long long)url->bytes, url->left);
    for (size_t i = 0; i < url->field_count; i++) {
        buf_add_text(out, i == 0 ? "" : ",");
        write_field_json(&url->fields[i], out);
    }
    buf_add_text(out, "]}");
}

void variants_write_json(const struct variants *variants, struct buf *out)
{
    buf_format(out, "{\"urls_stored\":%llu,\"with_variants\":%llu,\"with_more_variants_than_bodies\":%llu,\"urls\":[",
               (unsigned long long)variants->keys, (unsigned long long)variants->with_some,
               (unsigned long long)variants->with_waste);
    for (size_t i = 0; i < variants->count; i++) {
        buf_add_text(out, i == 0 ? "" : ",");
        write_url_json(variants->urls[i], out);
    }
    buf_add_text(out, "]}\n");
}
