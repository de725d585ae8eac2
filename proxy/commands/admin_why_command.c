/* admin_why_command.c: `larder why` without a configuration: what the larder that runs says of itself.
 *
 * It knows its sites and rules; asked is GET /v1/why. */
#include <stdio.h>

#include "proxy/commands/admin_ask_json.h"
#include "proxy/commands/admin_commands.h"

enum { TARGET_MAX_BYTES = 24 * 1024, STATUS_BYTES = 16 };

/* False: it is longer than what larder reads. */
static bool write_target(const struct why_options *options, bool json, struct buf *target)
{
    char status[STATUS_BYTES];

    buf_add_text(target, "/v1/why");
    admin_ask_parameter(target, "url", options->url);
    admin_ask_parameter(target, "method", options->method);
    for (size_t i = 0; i < options->field_count; i++) {
        admin_ask_parameter(target, "field", options->fields[i]);
    }
    if (options->response_status != 0) {
        (void)snprintf(status, sizeof status, "%u", options->response_status);
        admin_ask_parameter(target, "status", status);
    }
    for (size_t i = 0; i < options->response_field_count; i++) {
        admin_ask_parameter(target, "response_field", options->response_fields[i]);
    }
    admin_ask_parameter(target, "form", json ? NULL : "text");
    buf_add_byte(target, '\0');
    return !target->failed;
}

/* The verdict is the first line. */
static void write_answer(struct span text, bool bold, struct buf *out)
{
    size_t line = bold ? span_find(text, '\n') : SIZE_MAX;

    if (line != SIZE_MAX) {
        buf_format(out, "\033[1m%.*s\033[0m", SPAN_ARG(span_take(text, line)));
        text = span_skip(text, line);
    }
    buf_add(out, text);
}

static void write_error(const struct admin_answer *answer, struct buf *error)
{
    json_t *object = json_loadb(answer->body.len > 0 ? answer->body.data : "", answer->body.len, 0, NULL);
    const char *said = admin_text_of(object, "error");

    if (said[0] != '\0') {
        buf_add_text(error, said);
    } else {
        buf_format(error, "larder answers with status %u, and not as expected", answer->status);
    }
    json_decref(object);
}

static enum reason reason_in(const json_t *last, const char *name)
{
    return reason_of_token(admin_text_of(json_object_get(last, name), "reason"));
}

void admin_learn_last(const struct config *config, const struct why_options *options, struct why *why)
{
    json_t *answer = NULL;
    struct buf target, error;

    buf_init(&target, TARGET_MAX_BYTES);
    buf_init(&error, 4096);
    if (write_target(options, true, &target)) {
        answer = admin_ask_json(config, target.data, SPAN(""), &error); /* NULL: none runs, or none that tells */
    }
    const json_t *last = json_object_get(answer, "last");
    if (last != NULL) {
        why->last = (struct why_last){.known = true,
                                      .time_ms = why->now_ms - admin_number_of(last, "seconds_ago") * 1000,
                                      .status = (unsigned)admin_number_of(last, "status"),
                                      .reason = reason_in(last, "asked"),
                                      .store_reason = reason_in(last, "storing")};
    }
    json_decref(answer);
    buf_finish(&error);
    buf_finish(&target);
}

bool admin_command_why(const struct config *config, const struct why_options *options, bool json, bool bold,
                       struct buf *out, struct buf *error)
{
    struct admin_answer answer = {0};
    struct buf target;
    bool told = false;

    buf_init(&target, TARGET_MAX_BYTES);
    if (!write_target(options, json, &target)) {
        buf_add_text(error, "why: the request is longer than what larder reads");
    } else if (admin_ask(config, target.data, SPAN(""), &answer, error)) {
        told = answer.status == 200;
        if (told) {
            write_answer(buf_span(&answer.body), bold, out);
        } else {
            write_error(&answer, error);
        }
        buf_finish(&answer.body);
    }
    buf_finish(&target);
    return told;
}
