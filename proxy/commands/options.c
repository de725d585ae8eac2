/* options.c: the command line, read by the table of options_table.c. */
#include "proxy/commands/options.h"

#include <string.h>

#include "proxy/commands/options_table.h"
#include "proxy/config/suggest.h"
#include "proxy/io/log.h"

/* Flags of purge that name something; the members of the order in the same order. */
static const struct purge_name {
    const char *flag;
    const char *member;
} purge_names[] = {{"--prefix", "prefixes"}, {"--glob", "globs"}, {"--tag", "tags"}, {"--site", "sites"}},
  warm_names[] = {{"--urls", "list"}, {"--sitemap", "sitemap"}, {"--access-log", "log"}};

static const char url_member[] = "urls";

static bool is_command(const char *word, enum command *out_command)
{
    for (enum command command = 0; command < COMMAND_COUNT; command++) {
        if (strcmp(word, option_command_name(command)) == 0) {
            *out_command = command;
            return true;
        }
    }
    return false;
}

/* "larder: unknown command "srve", did you mean serve? (larder help)" */
static bool fail_unknown_command(const char *word, struct buf *error)
{
    buf_format(error, "unknown command %s, ", log_quoted(span_of(word)).text);
    for (enum command command = 0; command < COMMAND_COUNT; command++) {
        if (suggest_is_near(span_of(word), span_of(option_command_name(command)))) {
            buf_format(error, "did you mean %s? (larder help)", option_command_name(command));
            return false;
        }
    }
    buf_add_text(
        error, "expected serve, why, vary, store, purge, purges, report, log, top, mode, warm, demo, check, version or "
               "help (larder help)");
    return false;
}

static bool fail_unknown_flag(enum command command, struct span name, struct buf *error)
{
    struct flag_words flag;

    buf_format(error, "%s: unknown flag %s", option_command_name(command), log_quoted(name).text);
    for (size_t i = 0; options_flag_words(command, i, &flag); i++) {
        if (suggest_is_near(name, span_of(flag.name))) {
            buf_format(error, ", did you mean %s?", flag.name);
            break;
        }
    }
    buf_format(error, " (larder help %s)", option_command_name(command));
    return false;
}

static bool append(const char **list, size_t *count, size_t max, const struct option_flag *flag, const char *value,
                   struct buf *error)
{
    if (*count == max) {
        buf_format(error, "%s: expected at most %zu of them", flag->name, max);
        return false;
    }
    list[(*count)++] = value;
    return true;
}

static bool append_name(struct options *options, const char *member, const char *text, struct buf *error)
{
    if (options->name_count == OPTIONS_NAMES_MAX) {
        buf_format(error, "%s: expected at most %d names", option_command_name(options->command), OPTIONS_NAMES_MAX);
        return false;
    }
    options->names[options->name_count++] = (struct purge_option){.member = member, .text = text};
    return true;
}

/* The last of a repeated flag counts; each --listen, -H and --response-header adds one. */
static bool store_value(struct options *options, const struct option_flag *flag, const char *value, struct buf *error)
{
    if (strcmp(flag->name, "--listen") == 0) {
        return append(options->listen, &options->listen_count, OPTIONS_LISTEN_MAX, flag, value, error);
    }
    if (strcmp(flag->name, "-H") == 0) {
        return append(options->fields, &options->field_count, OPTIONS_FIELDS_MAX, flag, value, error);
    }
    if (strcmp(flag->name, "--response-header") == 0) {
        return append(options->response_fields, &options->response_field_count, OPTIONS_FIELDS_MAX, flag, value, error);
    }
    for (size_t i = 0; i < ARRAY_LEN(purge_names); i++) {
        if (flag->command == COMMAND_PURGE && strcmp(flag->name, purge_names[i].flag) == 0) {
            return append_name(options, purge_names[i].member, value, error);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(warm_names); i++) {
        if (flag->command == COMMAND_WARM && strcmp(flag->name, warm_names[i].flag) == 0) {
            return append_name(options, warm_names[i].member, value, error);
        }
    }
    *(const char **)(void *)((char *)options + flag->offset) = value;
    return true;
}

/* Reads one flag at `*index` and moves to the last word it took. */
static bool parse_flag(struct options *options, int argc, const char *const *argv, int *index, struct buf *error)
{
    const char *word = argv[*index];
    const char *equals = strchr(word, '=');
    struct span name = {word, equals != NULL ? (size_t)(equals - word) : strlen(word)};
    const struct option_flag *flag = option_flag_find(options->command, name);

    if (flag == NULL) {
        return fail_unknown_flag(options->command, name, error);
    }
    if (flag->value[0] == '\0') {
        if (equals != NULL) {
            buf_format(error, "%s: expected nothing behind it (larder help %s)", flag->name,
                       option_command_name(options->command));
            return false;
        }
        *((bool *)(void *)((char *)options + flag->offset)) = true;
        return true;
    }
    if (equals == NULL && *index + 1 >= argc) {
        buf_format(error, "%s: expected %s behind it (larder help %s)", flag->name, flag->value,
                   option_command_name(options->command));
        return false;
    }
    return store_value(options, flag, equals != NULL ? equals + 1 : argv[++*index], error);
}

/* A word that is no flag: the file to check, the URL or the command to explain. */
static bool parse_word(struct options *options, const char *word, struct buf *error)
{
    if (options->command == COMMAND_CHECK && options->config.file == NULL) {
        options->config.file = word;
        return true;
    }
    if ((options->command == COMMAND_WHY || options->command == COMMAND_VARY) && options->url == NULL) {
        options->url = word;
        return true;
    }
    if (options->command == COMMAND_PURGE || options->command == COMMAND_WARM) {
        return append_name(options, url_member, word, error);
    }
    if (options->command == COMMAND_MODE && options->mode == NULL) {
        *(options->site == NULL ? &options->site : &options->mode) = word;
        return true;
    }
    if (options->command == COMMAND_HELP && options->help_about == COMMAND_HELP) {
        return is_command(word, &options->help_about) || fail_unknown_command(word, error);
    }
    buf_format(error, "%s: unexpected %s (larder help %s)", option_command_name(options->command),
               log_quoted(span_of(word)).text, option_command_name(options->command));
    return false;
}

static bool is_help_flag(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static bool parse_arguments(struct options *options, int argc, const char *const *argv, struct buf *error)
{
    for (int i = 2; i < argc; i++) {
        if (is_help_flag(argv[i])) {
            options->help_about = options->command;
            options->command = COMMAND_HELP;
            return true;
        }
        bool is_flag = argv[i][0] == '-' && argv[i][1] != '\0';
        if (is_flag ? !parse_flag(options, argc, argv, &i, error) : !parse_word(options, argv[i], error)) {
            return false;
        }
    }
    if (options->command == COMMAND_CHECK && options->config.file == NULL && options->replay == NULL) {
        buf_add_text(error, "check: expected a file (larder help check)");
        return false;
    }
    if (options->command == COMMAND_WHY && options->url == NULL) {
        buf_add_text(error, "why: expected a URL, or a reason such as vary-miss (larder help why)");
        return false;
    }
    if (options->command == COMMAND_MODE && options->site != NULL && options->mode == NULL) {
        buf_add_text(error, "mode: expected normal, offline or record behind the site (larder help mode)");
        return false;
    }
    if (options->command == COMMAND_WARM && options->name_count == 0) {
        buf_add_text(error, "warm: expected a URL, --urls, --sitemap or --access-log (larder help warm)");
        return false;
    }
    if (options->command == COMMAND_PURGE && options->name_count == 0 && !options->everything) {
        buf_add_text(error, "purge: expected a URL, --prefix, --glob, --tag, --site or --all (larder help purge)");
        return false;
    }
    return true;
}

bool options_parse(int argc, const char *const *argv, struct options *out_options, struct buf *out_error)
{
    struct options options = {.argv = argv, .help_about = COMMAND_HELP};

    if (argc < 2) {
        buf_add_text(
            out_error,
            "expected a command: serve, why, vary, store, purge, purges, report, log, top, mode, warm, demo, check, "
            "version or help (larder help)");
        return false;
    }
    if (is_help_flag(argv[1])) {
        options.command = COMMAND_HELP;
    } else if (strcmp(argv[1], "--version") == 0) {
        options.command = COMMAND_VERSION;
    } else if (!is_command(argv[1], &options.command)) {
        return fail_unknown_command(argv[1], out_error);
    }
    if (options.command == COMMAND_STORE) {
        if (!store_options_parse(argc - 2, argv + 2, &options.store, out_error)) {
            return false;
        }
        options.help_about = COMMAND_STORE;
        options.command = options.store.help ? COMMAND_HELP : COMMAND_STORE;
    } else if (!parse_arguments(&options, argc, argv, out_error)) {
        return false;
    }
    *out_options = options;
    return true;
}

struct config_flags options_config_flags(const struct options *options)
{
    struct config_flags flags_given = options->config;

    flags_given.listen = options->listen;
    flags_given.listen_count = options->listen_count;
    return flags_given;
}

const char *options_purge_flag(struct span member)
{
    for (size_t i = 0; i < ARRAY_LEN(purge_names); i++) {
        if (span_equal(member, span_of(purge_names[i].member))) {
            return purge_names[i].flag;
        }
    }
    return span_equal(member, span_of(url_member)) ? "URL" : NULL;
}
