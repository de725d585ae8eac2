/* admin_mode_command.c: `larder mode`: lists how sites are run, and orders another mode for one. */
#include <stdlib.h>

#include "proxy/commands/admin_ask_json.h"
#include "proxy/commands/admin_commands.h"
#include "proxy/config/site_mode.h"
#include "proxy/io/log.h"

static json_t *ask(const struct config *config, const struct options *options, struct buf *error)
{
    enum mode mode;

    if (options->mode == NULL) {
        return admin_ask_json(config, "/v1/modes", SPAN(""), error);
    }
    if (!site_mode_of_text(span_of(options->mode), &mode)) {
        buf_format(error, "mode: expected normal, offline or record behind the site, found %s",
                   log_quoted(span_of(options->mode)).text);
        return NULL;
    }
    json_t *order = json_pack("{ss ss}", "site", options->site, "mode", options->mode);
    char *text = order != NULL ? json_dumps(order, JSON_COMPACT) : NULL;
    json_t *answer = NULL;
    if (text != NULL) {
        answer = admin_ask_json(config, "/v1/mode", span_of(text), error);
    } else {
        buf_add_text(error, "mode: expected a site and a mode in UTF-8");
    }
    json_decref(order);
    free(text);
    return answer;
}

/* "www.example.com/app  offline, by order; configured: normal" */
static void write_mode(const json_t *row, struct buf *out)
{
    struct span path = span_of(admin_text_of(row, "path"));
    struct span mode = span_of(admin_text_of(row, "mode"));
    struct span configured = span_of(admin_text_of(row, "configured"));

    buf_add_text(out, admin_text_of(row, "site"));
    buf_add(out, span_equal(path, SPAN("/")) ? SPAN("") : path);
    buf_format(out, "  %.*s", SPAN_ARG(mode));
    if (!span_equal(mode, configured)) {
        buf_format(out, ", by order; configured: %.*s", SPAN_ARG(configured));
    }
    buf_add_byte(out, '\n');
}

bool admin_command_mode(const struct config *config, const struct options *options, struct buf *out, struct buf *error)
{
    return admin_print_rows(ask(config, options, error), "modes", options->json, write_mode, out);
}

void admin_learn_modes(struct config *config)
{
    struct buf error;
    size_t index;
    json_t *row;

    buf_init(&error, 4096);
    json_t *answer = admin_ask_json(config, "/v1/modes", SPAN(""), &error); /* NULL: none runs, or none that tells */
    json_array_foreach(json_object_get(answer, "modes"), index, row)
    {
        for (size_t i = 0; i < config->site_count; i++) {
            struct site *site = &config->sites[i];
            enum mode mode;
            if (span_equal(span_of(site->name), span_of(admin_text_of(row, "site"))) &&
                span_equal(site->path_prefix, span_of(admin_text_of(row, "path"))) &&
                site_mode_of_text(span_of(admin_text_of(row, "mode")), &mode)) {
                site->mode = mode;
            }
        }
    }
    json_decref(answer);
    buf_finish(&error);
}
