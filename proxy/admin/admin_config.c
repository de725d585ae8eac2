/* admin_config.c: GET /v1/config: the configuration in force, as it was loaded.
 *
 * It is for screens: a token in it is covered. Who replays requests by it gets it from GET /v1/facts as it is. */
#include <string.h>

#include "proxy/admin/admin_internal.h"

/* Puts stars where `word` stands. False: it stands nowhere. */
static bool cover(char *text, const char *word)
{
    size_t len = strlen(word);
    bool found = false;

    for (char *at = strstr(text, word); at != NULL; at = strstr(at + len, word)) {
        memset(at, '*', len);
        found = true;
    }
    return found;
}

/* Is it the token itself, not the name of a file that has it? */
static bool is_token(const char *text)
{
    return text != NULL && strncmp(text, "file:", 5) != 0;
}

/* The file's text without its token; to be taken. Null where there is no file, or where the token is written with
 * escapes and so cannot be found. */
static json_t *text_json(const struct config *config, struct arena *arena)
{
    char *text = config->file != NULL ? arena_alloc_text(arena, config->text.len + 1) : NULL;

    if (text == NULL) {
        return json_null();
    }
    if (config->text.len > 0) {
        memcpy(text, config->text.data, config->text.len);
    }
    text[config->text.len] = '\0';
    if (is_token(config->admin.token_text) && !cover(text, config->admin.token_text)) {
        return json_null();
    }
    return json_string(text);
}

static json_t *kept_json(const struct config *config)
{
    json_t *names = json_array();

    for (size_t i = 0; i < config->kept_count; i++) {
        (void)json_array_append_new(names, json_string(config->kept[i])); /* no memory: it is missing */
    }
    return names;
}

enum admin_progress admin_run_config(struct admin_call *call)
{
    const struct admin *admin = call->admin;
    const struct config *config = admin->scope.config;
    size_t rules = 0;

    for (size_t i = 0; i < config->site_count; i++) {
        rules += config->sites[i].rule_count;
    }
    return admin_reply_json(call, 200,
                            json_pack("{ss? so sI sI sI so? so so?}", "file", config->file, "since",
                                      admin_time_json(admin->config_ms), "sites", (json_int_t)config->site_count,
                                      "rules", (json_int_t)rules, "tests", (json_int_t)config->test_count, "flags",
                                      json_stringn(config->flags.data, config->flags.len), "kept", kept_json(config),
                                      "text", text_json(config, call->arena)));
}
