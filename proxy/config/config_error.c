/* config_error.c: the one line that says what is wrong with a configuration. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "proxy/config/config_schema.h"
#include "proxy/io/log.h"

/* "larder.toml:12:8: "; for what no line stands for, "larder.toml: "; for flags and without a file, nothing. */
static void add_position(struct config_reader *reader, const struct toml_node *node)
{
    const char *file = reader->config->file;

    if (node != NULL && node->line > 0) {
        buf_format(reader->error, "%s:%" PRIu32 ":%" PRIu32 ": ", file != NULL ? file : "", node->line, node->column);
    } else if (node == NULL && file != NULL) {
        buf_format(reader->error, "%s: ", file);
    }
}

/* A key that TOML would not take without quotes is shown with them: it could hold anything. */
static bool is_plain(const char *name)
{
    for (const char *byte = name; *byte != '\0'; byte++) {
        char lower = ascii_lower(*byte);
        if (!((lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') || lower == '-' || lower == '_')) {
            return false;
        }
    }
    return *name != '\0';
}

/* "site[2].rule[1].ttl: " */
static void add_path(struct config_reader *reader, const struct config_place *place)
{
    if (place->section.len > 0) {
        buf_format(reader->error, "%.*s.", SPAN_ARG(place->section));
    }
    buf_add_text(reader->error, is_plain(place->name) ? place->name : log_quoted(span_of(place->name)).text);
    if (place->item > 0) {
        buf_format(reader->error, "[%zu]", place->item);
    }
    buf_add_text(reader->error, ": ");
}

/* Where it is, and what the message says. */
static void add_message(struct config_reader *reader, const struct config_place *place, const char *format,
                        va_list arguments)
{
    char text[1024];

    add_position(reader, place->node);
    add_path(reader, place);
    (void)vsnprintf(text, sizeof text, format, arguments);
    buf_add_text(reader->error, text);
}

bool config_fail(struct config_reader *reader, const struct config_place *place, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    add_message(reader, place, format, arguments);
    va_end(arguments);
    return false;
}

/* Text is shown where text was expected: elsewhere its being text is the mistake. */
static void add_found(struct buf *line, const struct toml_node *node, enum toml_kind fitting)
{
    switch (node->kind) {
    case TOML_TABLE:
        buf_add_text(line, "a table");
        return;
    case TOML_ARRAY:
        buf_add_text(line, "a list");
        return;
    case TOML_STRING:
        buf_add_text(line, fitting == TOML_STRING ? log_quoted(node->text).text : "a string");
        return;
    case TOML_WORD:
        buf_add_text(line, log_quoted(node->text).text);
        return;
    case TOML_INTEGER:
        buf_add_i64(line, node->integer);
        return;
    case TOML_FLOAT:
        buf_add_text(line, "a number with a fraction");
        return;
    case TOML_BOOLEAN:
        buf_add_text(line, node->boolean ? "true" : "false");
        return;
    case TOML_TIME:
        buf_add_text(line, "a date or time");
        return;
    }
    UNREACHABLE();
}

bool config_fail_expected(struct config_reader *reader, const struct config_place *place, enum toml_kind fitting,
                          const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    add_message(reader, place, format, arguments);
    va_end(arguments);
    buf_add_text(reader->error, ", found ");
    add_found(reader->error, place->node, fitting);
    return false;
}

bool config_fail_memory(struct config_reader *reader, const struct config_place *place)
{
    return config_fail(reader, place, "the configuration needs more memory than there is or than it may have");
}
