/* describe.c: writes what the program knows of its own command line and configuration as JSON, for the scripts beside
 * it that make manual pages, completions and the schema of the configuration. A build-time program.
 *
 *   {"version": "…",
 *    "commands": [{"name", "arguments", "summary", "details", "flags": [{"name", "value", "text"}], "verbs": […]}],
 *    "sections": [{"path": "server.limits", "keys": [{"name", "kind", "default", "min", "max", "words"}]}]}
 *
 * Errors: a setter of the configuration that has no kind here, or no memory, ends it with status 1. */
#include <jansson.h>
#include <stdio.h>

#include "cache/reason.h"
#include "proxy/commands/options.h"
#include "proxy/config/config_schema.h"

/* What a setter takes. Bounds are in the unit of the field: a duration's in ms or in s. */
static const struct {
    config_set_fn *set;
    const char *kind;
} kinds[] = {
    {config_set_bool, "bool"},
    {config_set_count, "count"},
    {config_set_size, "size"},
    {config_set_duration_ms, "duration_ms"},
    {config_set_duration_s, "duration_s"},
    {config_set_choice, "word"},
    {config_set_reason, "reason"},
    {config_set_statuses, "counts"},
    {config_set_rate, "rate"},
    {config_set_list, "texts"},
    {config_set_listen, "texts"},
    {config_set_networks, "networks"},
    {config_set_trust, "bool_or_networks"},
    {config_set_origins, "texts"},
    {config_set_access_log, "text"},
    {config_set_account, "text"},
    {config_set_answer, "text"},
    {config_set_check_path, "text"},
    {config_set_glob, "text"},
    {config_set_host_header, "text"},
    {config_set_origin_url, "text"},
    {config_set_path_text, "text"},
    {config_set_pseudonym, "text"},
    {config_set_request_line, "text"},
    {config_set_rule_name, "text"},
    {config_set_site_path, "text"},
    {config_set_text, "text"},
};

static const char *kind_of(const struct config_key *key)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (kinds[i].set == key->set) {
            return kinds[i].kind;
        }
    }
    return NULL;
}

static json_t *describe_flag(const struct flag_words *flag)
{
    return json_pack("{s:s, s:s, s:s}", "name", flag->name, "value", flag->value, "text", flag->text);
}

static json_t *describe_verb(enum store_verb verb)
{
    json_t *list = json_array();
    struct flag_words words;

    for (size_t i = 0; store_options_flag_words(verb, i, &words); i++) {
        (void)json_array_append_new(list, describe_flag(&words));
    }
    store_options_verb_words(verb, &words);
    return json_pack("{s:s, s:s, s:s, s:o}", "name", words.name, "word", words.value, "text", words.text, "flags",
                     list);
}

static json_t *describe_command(enum command command)
{
    json_t *list = json_array();
    json_t *verbs = json_array();
    struct command_words words;
    struct flag_words flag;

    for (size_t i = 0; options_flag_words(command, i, &flag); i++) {
        (void)json_array_append_new(list, describe_flag(&flag));
    }
    for (enum store_verb verb = 0; command == COMMAND_STORE && verb < STORE_VERB_COUNT; verb++) {
        (void)json_array_append_new(verbs, describe_verb(verb));
    }
    options_command_words(command, &words);
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "name", words.name, "arguments", words.arguments, "summary",
                     words.summary, "details", words.details, "flags", list, "verbs", verbs);
}

/* The words that may stand for the value; empty: it is none of few words. */
static json_t *describe_words(const struct config_key *key)
{
    json_t *words = json_array();

    for (const struct config_choice *choice = key->choices; choice != NULL && choice->name != NULL; choice++) {
        (void)json_array_append_new(words, json_string(choice->name));
    }
    for (unsigned reason = 0; key->set == config_set_reason && reason < REASON_COUNT; reason++) {
        (void)json_array_append_new(words, json_string(reason_token((enum reason)reason)));
    }
    return words;
}

static json_t *describe_section(const struct config_section *section)
{
    json_t *keys = json_array();

    for (size_t i = 0; i < section->key_count; i++) {
        const struct config_key *key = &section->keys[i];
        const char *kind = kind_of(key);
        if (kind == NULL) {
            fprintf(stderr, "describe: %s.%s: its setter has no kind here\n", section->path, key->name);
            json_decref(keys);
            return NULL;
        }
        (void)json_array_append_new(keys, json_pack("{s:s, s:s, s:s?, s:I, s:I, s:o}", "name", key->name, "kind", kind,
                                                    "default", key->standard, "min", (json_int_t)key->min, "max",
                                                    (json_int_t)key->max, "words", describe_words(key)));
    }
    return json_pack("{s:s, s:o}", "path", section->path, "keys", keys);
}

int main(void)
{
    json_t *commands = json_array();
    json_t *sections = json_array();
    int status = 0;

    for (enum command command = 0; command < COMMAND_COUNT; command++) {
        (void)json_array_append_new(commands, describe_command(command));
    }
    for (size_t i = 0; i < SECTION_COUNT && status == 0; i++) {
        status = json_array_append_new(sections, describe_section(&config_sections[i])) == 0 ? 0 : 1;
    }
    json_t *all = json_pack("{s:s, s:o, s:o}", "version", LARDER_VERSION, "commands", commands, "sections", sections);
    if (status == 0 && (all == NULL || json_dumpf(all, stdout, JSON_INDENT(1)) != 0)) {
        status = 1;
    }
    json_decref(all);
    return status;
}
