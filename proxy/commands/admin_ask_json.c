/* admin_ask_json.c: see admin_ask_json.h. */
#include "proxy/commands/admin_ask_json.h"

#include <stdlib.h>

json_t *admin_ask_json(const struct config *config, const char *target, struct span body, struct buf *error)
{
    struct admin_answer answer = {0};

    if (!admin_ask(config, target, body, &answer, error)) {
        return NULL;
    }
    json_t *object = answer.body.len > 0 ? json_loadb(answer.body.data, answer.body.len, 0, NULL) : NULL;
    const char *said = json_string_value(json_object_get(object, "error"));
    if (said != NULL) {
        buf_add_text(error, said);
    } else if (answer.status != 200 || object == NULL) {
        buf_format(error, "larder answers with status %u, and not as expected", answer.status);
    }
    buf_finish(&answer.body);
    if (error->len > 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

const char *admin_text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

int64_t admin_number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

void admin_print_json(const json_t *object, struct buf *out)
{
    char *text = json_dumps(object, JSON_COMPACT);

    buf_format(out, "%s\n", text != NULL ? text : "{}");
    free(text);
}

bool admin_print_rows(json_t *answer, const char *name, bool json,
                      void (*write_row)(const json_t *row, struct buf *out), struct buf *out)
{
    size_t index;
    json_t *row;

    if (answer == NULL) {
        return false;
    }
    if (json) {
        admin_print_json(answer, out);
    } else {
        json_array_foreach(json_object_get(answer, name), index, row)
        {
            write_row(row, out);
        }
    }
    json_decref(answer);
    return true;
}
