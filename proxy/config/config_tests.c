/* config_tests.c: [[test]] tables: what the owner of a configuration expects of it. Read here, run by check_tests.c. */
#include <string.h>

#include "cache/reason.h"
#include "http/token.h"
#include "proxy/config/config_schema.h"
#include "proxy/config/suggest.h"
#include "proxy/io/log.h"

/* ---- setters ---- */

/* Printable ASCII: goes into requests, and into error lines as it is. */
static bool is_printable(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] > 0x7e) {
            return false;
        }
    }
    return text.len > 0;
}

static bool store_text(struct config_reader *reader, const struct config_key *key, void *base,
                       const struct config_place *place)
{
    const char *copy = config_copy_text(reader, place, place->node->text);

    if (copy != NULL) {
        memcpy((char *)base + key->offset, &copy, sizeof copy);
    }
    return copy != NULL;
}

bool config_set_text(struct config_reader *reader, const struct config_key *key, void *base,
                     const struct config_place *place)
{
    if (!config_is_text(place->node) || !is_printable(place->node->text)) {
        return config_fail_expected(reader, place, TOML_STRING, "expected a text of printable ASCII");
    }
    return store_text(reader, key, base, place);
}

/* Whether it makes a request is seen when the test is run. */
bool config_set_request_line(struct config_reader *reader, const struct config_key *key, void *base,
                             const struct config_place *place)
{
    struct span text = place->node->text;
    size_t space = config_is_text(place->node) ? span_find(text, ' ') : SIZE_MAX;
    struct span url = space == SIZE_MAX ? text : span_skip(text, space + 1);

    if (!config_is_text(place->node) || !is_printable(text) || span_find(url, ' ') != SIZE_MAX ||
        !span_starts_with(url, SPAN("http://")) || (space != SIZE_MAX && !is_token(span_take(text, space)))) {
        return config_fail_expected(reader, place, TOML_STRING,
                                    "expected a request such as \"GET http://www.example.com/\"");
    }
    return store_text(reader, key, base, place);
}

bool config_set_reason(struct config_reader *reader, const struct config_key *key, void *base,
                       const struct config_place *place)
{
    struct span text = place->node->text;
    const char *near = NULL;

    for (int i = 0; config_is_text(place->node) && i < REASON_COUNT; i++) {
        const char *token = reason_token((enum reason)i);
        if (span_equal(text, span_of(token))) {
            return store_text(reader, key, base, place);
        }
        near = near == NULL && suggest_is_near(text, span_of(token)) ? token : near;
    }
    return near != NULL ? config_fail(reader, place, "unknown reason, did you mean \"%s\"?", near)
                        : config_fail_expected(reader, place, TOML_STRING,
                                               "expected a reason such as \"stored\" (cache/reason.h lists them)");
}

bool config_set_answer(struct config_reader *reader, const struct config_key *key, void *base,
                       const struct config_place *place)
{
    static const char *const answers[] = {"hit", "hit-revalidate", "revalidate", "fetch", "pass", "reply"};

    for (size_t i = 0; config_is_text(place->node) && i < ARRAY_LEN(answers); i++) {
        if (span_equal(place->node->text, span_of(answers[i]))) {
            return store_text(reader, key, base, place);
        }
    }
    return config_fail_expected(
        reader, place, TOML_STRING,
        "expected \"hit\", \"hit-revalidate\", \"revalidate\", \"fetch\", \"pass\" or \"reply\"");
}

bool config_member_field(struct span text, struct arena *arena, struct span *out_text)
{
    size_t colon = span_find(text, ':');

    return is_printable(text) && colon != SIZE_MAX && is_token(span_take(text, colon)) &&
           arena_format(arena, out_text, "%.*s", SPAN_ARG(text));
}

/* ---- tables ---- */

/* The table `name` in `table`, read as section `id` into `base`; `*out_line` is its line. Fine where it is absent. */
static bool read_inner(struct config_reader *reader, enum config_section_id id, const struct toml_node *table,
                       struct span path, const char *name, void *base, uint32_t *out_line)
{
    const struct toml_node *inner = toml_member(table, span_of(name));
    struct config_place place = {.section = path, .name = name, .node = inner};
    struct span inner_path;

    *out_line = inner != NULL ? inner->line : table->line;
    if (inner == NULL) {
        return true;
    }
    if (inner->kind != TOML_TABLE) {
        return config_fail_expected(reader, &place, TOML_TABLE, "expected a table");
    }
    if (!arena_format(&reader->config->arena, &inner_path, "%.*s.%s", SPAN_ARG(path), name)) {
        return config_fail_memory(reader, &place);
    }
    return config_read_section(reader, id, inner_path, inner, base);
}

/* What is expected, and where each of it stands. */
static bool read_expect(struct config_reader *reader, enum config_section_id id, const struct toml_node *table,
                        struct span path, struct test_expect *expect)
{
    const struct toml_node *inner = toml_member(table, SPAN("expect"));
    struct arena *arena = &reader->config->arena;

    if (!read_inner(reader, id, table, path, "expect", expect, &expect->line)) {
        return false;
    }
    size_t count = inner != NULL ? inner->child_count : 0;
    expect->lines = arena_alloc(arena, (count + 1) * sizeof *expect->lines);
    for (size_t i = 0; i < count && expect->lines != NULL; i++) {
        struct key_line *line = &expect->lines[expect->line_count];
        line->line = inner->children[i].line;
        if (arena_copy(arena, inner->children[i].key, &line->key)) {
            expect->line_count++;
        }
    }
    struct config_place place = {.section = path, .name = "expect", .node = inner};
    return expect->line_count == count || config_fail_memory(reader, &place);
}

static bool read_laters(struct config_reader *reader, struct test *test, const struct toml_node *test_table,
                        struct span test_path)
{
    struct arena *arena = &reader->config->arena;
    const struct toml_node *tables = config_tables_of(reader, test_table, test_path, "later", "[[test.later]] tables");
    struct config_place place = {.section = test_path, .name = "later", .node = tables};

    if (tables == NULL) {
        return false;
    }
    test->laters = arena_alloc(arena, (tables->child_count + 1) * sizeof *test->laters);
    if (test->laters == NULL) {
        return config_fail_memory(reader, &place);
    }
    for (size_t i = 0; i < tables->child_count; i++) {
        const struct toml_node *table = &tables->children[i];
        struct test_later *later = &test->laters[i];
        struct span path;
        if (!arena_format(arena, &path, "%.*s.later[%zu]", SPAN_ARG(test_path), i + 1)) {
            return config_fail_memory(reader, &place);
        }
        if (!config_read_section(reader, SECTION_TEST_LATER, path, table, later) ||
            !read_expect(reader, SECTION_TEST_LATER_EXPECT, table, path, &later->expect)) {
            return false;
        }
        test->later_count++;
    }
    return true;
}

static bool read_test(struct config_reader *reader, struct test *test, const struct toml_node *table, struct span path)
{
    struct config_place place = {.section = path, .name = "name", .node = table};
    uint32_t line;

    if (!config_read_section(reader, SECTION_TEST, path, table, test) ||
        !read_inner(reader, SECTION_TEST_RESPONSE, table, path, "response", test, &line) ||
        !read_expect(reader, SECTION_TEST_EXPECT, table, path, &test->expect) ||
        !read_laters(reader, test, table, path)) {
        return false;
    }
    if (test->name == NULL) {
        return config_fail(reader, &place, "missing, expected a name for what this test is about");
    }
    place.name = "request";
    if (test->request.line == NULL) {
        return config_fail(reader, &place, "missing, expected a request such as \"GET http://www.example.com/\"");
    }
    if (test->response_status == 0 &&
        (test->response_field_count > 0 || toml_member(table, SPAN("response")) != NULL)) {
        test->response_status = 200;
    }
    return true;
}

bool config_read_tests(struct config_reader *reader)
{
    struct config *config = reader->config;
    const struct toml_node *tables = config_tables_of(reader, reader->root, SPAN(""), "test", "[[test]] tables");
    struct config_place place = {.name = "test", .node = tables};

    if (tables == NULL) {
        return false;
    }
    config->tests = arena_alloc(&config->arena, (tables->child_count + 1) * sizeof *config->tests);
    if (config->tests == NULL) {
        return config_fail_memory(reader, &place);
    }
    for (size_t i = 0; i < tables->child_count; i++) {
        struct span path;
        if (!arena_format(&config->arena, &path, "test[%zu]", i + 1)) {
            return config_fail_memory(reader, &place);
        }
        if (!read_test(reader, &config->tests[i], &tables->children[i], path)) {
            return false;
        }
        config->test_count++;
    }
    return true;
}
