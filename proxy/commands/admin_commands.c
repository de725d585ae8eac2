/* admin_commands.c: see admin_commands.h. */
#include "proxy/commands/admin_commands.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/commands/admin_ask_json.h"
#include "proxy/io/log.h"

enum { TARGET_BYTES = 64 };

/* The order as JSON; NULL: no memory, or a name that is not UTF-8. */
static char *order_text(const struct options *options)
{
    json_t *order = json_object();
    bool good = order != NULL;

    for (size_t i = 0; i < options->name_count && good; i++) {
        const struct purge_option *name = &options->names[i];
        json_t *texts = json_object_get(order, name->member);
        if (texts == NULL) {
            texts = json_array();
            good = json_object_set_new(order, name->member, texts) == 0;
        }
        good = good && json_array_append_new(texts, json_string(name->text)) == 0;
    }
    if (options->everything) {
        good = good && json_object_set_new(order, "everything", json_true()) == 0;
    }
    if (options->soft) {
        good = good && json_object_set_new(order, "soft", json_true()) == 0;
    }
    char *text = good ? json_dumps(order, JSON_COMPACT) : NULL;
    json_decref(order);
    return text;
}

/* "purged, sequences 1 to 2" */
static void write_purged(const json_t *answer, bool soft, struct buf *out)
{
    int64_t first = admin_number_of(answer, "first_sequence");
    int64_t last = admin_number_of(answer, "sequence");

    buf_format(out, "purged%s, sequence", soft ? " softly" : "");
    if (first < last) { /* each name has its own */
        buf_format(out, "s %lld to", (long long)first);
    }
    buf_format(out, " %lld\n", (long long)last);
}

/* What is wrong with an order is said with the members of its JSON: "tags: expected …" gets the flag's name. */
static void name_flag(struct buf *error)
{
    struct span line = buf_span(error);
    const char *flag = options_purge_flag(span_take(line, span_find(line, ':')));
    struct buf named;

    if (flag == NULL) {
        return;
    }
    buf_init(&named, error->limit);
    buf_add_text(&named, flag);
    buf_add(&named, span_skip(line, span_find(line, ':')));
    buf_clear(error);
    buf_add(error, buf_span(&named));
    buf_finish(&named);
}

bool admin_command_purge(const struct config *config, const struct options *options, struct buf *out, struct buf *error)
{
    char *order = order_text(options);

    if (order == NULL) {
        buf_add_text(error, "purge: expected names in UTF-8");
        return false;
    }
    json_t *answer = admin_ask_json(config, "/v1/purge", span_of(order), error);
    free(order);
    if (answer == NULL) {
        name_flag(error);
        return false;
    }
    if (options->json) {
        admin_print_json(answer, out);
    } else {
        write_purged(answer, options->soft, out);
    }
    json_decref(answer);
    return true;
}

static void write_row(const json_t *row, struct buf *out)
{
    const json_t *name = json_object_get(row, "name");
    struct span text = {json_string_value(name), json_string_length(name)};

    buf_format(out, "%-8lld  %s  %-6s  %-4s", (long long)json_integer_value(json_object_get(row, "sequence")),
               admin_text_of(row, "time"), admin_text_of(row, "kind"), admin_text_of(row, "mode"));
    if (text.len > 0) {
        buf_format(out, "  %s", log_quoted(text).text);
    }
    buf_add_byte(out, '\n');
}

bool admin_command_purges(const struct config *config, const struct options *options, struct buf *out,
                          struct buf *error)
{
    char target[TARGET_BYTES] = "/v1/purges";
    uint64_t limit;

    if (options->limit != NULL) {
        if (!span_to_u64(span_of(options->limit), &limit)) {
            buf_format(error, "--limit: expected a number, found %s", log_quoted(span_of(options->limit)).text);
            return false;
        }
        (void)snprintf(target, sizeof target, "/v1/purges?limit=%llu", (unsigned long long)limit);
    }
    return admin_print_rows(admin_ask_json(config, target, SPAN(""), error), "purges", options->json, write_row, out);
}
