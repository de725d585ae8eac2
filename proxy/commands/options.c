#include "proxy/commands/options.h"

#include <string.h>

#include "proxy/config/suggest.h"
#include "proxy/io/log.h"

struct flag {
    const char *name;
    enum command command;
    size_t offset;     /* of a const char * in struct options; unused for flags that repeat or stand alone */
    const char *value; /* what follows, for the help; empty: nothing does */
    const char *text;
};

static const char listen_name[] = "--listen";
static const char field_name[] = "-H";
static const char response_field_name[] = "--response-header";
static const char json_name[] = "--json";

/* Flags of purge that name something; the members of the order in the same order. */
static const struct purge_name {
    const char *flag;
    const char *member;
} purge_names[] = {{"--prefix", "prefixes"}, {"--glob", "globs"}, {"--tag", "tags"}, {"--site", "sites"}},
  warm_names[] = {{"--urls", "list"}, {"--sitemap", "sitemap"}, {"--access-log", "log"}};

static const char url_member[] = "urls";

static const struct flag flags[] = {
    {"--config", COMMAND_SERVE, offsetof(struct options, config.file), "FILE",
     "read settings from a TOML file; flags override it"},
    {listen_name, COMMAND_SERVE, 0, "ADDR", "where to listen, may be repeated (127.0.0.1:8080)"},
    {"--origin", COMMAND_SERVE, offsetof(struct options, config.origin), "URL",
     "the origin, http://HOST[:PORT], of every host not in the file"},
    {"--cache-dir", COMMAND_SERVE, offsetof(struct options, config.cache_dir), "DIR",
     "where the cache lies (larder-cache)"},
    {"--cache-size", COMMAND_SERVE, offsetof(struct options, config.cache_size), "SIZE",
     "how large it may become, such as 512MiB (1GiB)"},
    {"--workers", COMMAND_SERVE, offsetof(struct options, config.workers), "N",
     "threads that serve clients (one a core)"},
    {"--profile", COMMAND_SERVE, offsetof(struct options, config.profile), "safe|rfc",
     "how far to trust the letter of RFC 9111 (safe)"},
    {"--admin", COMMAND_SERVE, offsetof(struct options, config.admin), "ADDR",
     "where the administration listens, and its dashboard, besides its socket"},
    {"--access-log", COMMAND_SERVE, offsetof(struct options, config.access_log), "PATH|-|off",
     "one line a request, - is standard output (off)"},
    {"--log-level", COMMAND_SERVE, offsetof(struct options, config.log_level), "LEVEL",
     "error, warn, info or debug (info)"},
    {field_name, COMMAND_WHY, 0, "'NAME: VALUE'", "a field of the request, may be repeated"},
    {"--method", COMMAND_WHY, offsetof(struct options, method), "METHOD", "what would be asked with (GET)"},
    {"--status", COMMAND_WHY, offsetof(struct options, response_status), "CODE",
     "suppose that the origin answers so: would it be stored? (200)"},
    {response_field_name, COMMAND_WHY, 0, "'NAME: VALUE'", "a field of that answer, may be repeated"},
    {json_name, COMMAND_WHY, offsetof(struct options, json), "", "one JSON object instead of text"},
    {"--config", COMMAND_WHY, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_WHY, offsetof(struct options, config.cache_dir), "DIR", "as given to serve (larder-cache)"},
    {"--origin", COMMAND_WHY, offsetof(struct options, config.origin), "URL", "as given to serve"},
    {"--profile", COMMAND_WHY, offsetof(struct options, config.profile), "safe|rfc", "as given to serve (safe)"},
    {"--limit", COMMAND_VARY, offsetof(struct options, limit), "N", "URLs to show (10)"},
    {json_name, COMMAND_VARY, offsetof(struct options, json), "", "one JSON object instead of text"},
    {"--config", COMMAND_VARY, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_VARY, offsetof(struct options, config.cache_dir), "DIR",
     "as given to serve (larder-cache)"},
    {"--origin", COMMAND_VARY, offsetof(struct options, config.origin), "URL", "as given to serve"},
    {"--profile", COMMAND_VARY, offsetof(struct options, config.profile), "safe|rfc", "as given to serve (safe)"},
    {"--prefix", COMMAND_PURGE, 0, "URL", "every URL that begins so; each of these may be repeated"},
    {"--glob", COMMAND_PURGE, 0, "URL", "every URL that matches, with * and ?"},
    {"--tag", COMMAND_PURGE, 0, "TAG", "every response with this tag"},
    {"--site", COMMAND_PURGE, 0, "SITE", "every URL of a site of the configuration, or of a host"},
    {"--all", COMMAND_PURGE, offsetof(struct options, everything), "", "everything"},
    {"--soft", COMMAND_PURGE, offsetof(struct options, soft), "", "it gets stale, not dead"},
    {"--wait", COMMAND_PURGE, offsetof(struct options, wait), "",
     "until it is durable and in force: as it does without"},
    {json_name, COMMAND_PURGE, offsetof(struct options, json), "", "the sequences as one JSON object instead of text"},
    {"--config", COMMAND_PURGE, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_PURGE, offsetof(struct options, config.cache_dir), "DIR",
     "as given to serve (larder-cache)"},
    {"--limit", COMMAND_PURGES, offsetof(struct options, limit), "N", "the newest so many (100)"},
    {json_name, COMMAND_PURGES, offsetof(struct options, json), "", "one JSON object instead of text"},
    {"--config", COMMAND_PURGES, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_PURGES, offsetof(struct options, config.cache_dir), "DIR",
     "as given to serve (larder-cache)"},
    {"--since", COMMAND_REPORT, offsetof(struct options, since), "DURATION",
     "how far back, such as 15m, 1h or 1d; longer: since the start (1d)"},
    {"--limit", COMMAND_REPORT, offsetof(struct options, limit), "N", "the costliest so many (20)"},
    {json_name, COMMAND_REPORT, offsetof(struct options, json), "", "one JSON object instead of text"},
    {"--config", COMMAND_REPORT, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_REPORT, offsetof(struct options, config.cache_dir), "DIR",
     "as given to serve (larder-cache)"},
    {"--url", COMMAND_LOG, offsetof(struct options, url), "GLOB", "such as 'http://*/img/*', or '/img/*' of any host"},
    {"--status", COMMAND_LOG, offsetof(struct options, response_status), "STATUS", "such as 404, or 5xx"},
    {"--outcome", COMMAND_LOG, offsetof(struct options, outcome), "WORD", "of Cache-Status, such as hit or uri-miss"},
    {"--reason", COMMAND_LOG, offsetof(struct options, reason), "WORD",
     "why it was answered so, or not stored, such as set-cookie"},
    {"--client", COMMAND_LOG, offsetof(struct options, client), "ADDR", "such as 127.0.0.1, or 10.0.0.0/8"},
    {json_name, COMMAND_LOG, offsetof(struct options, json), "", "lines as in the access log, instead of text"},
    {"--config", COMMAND_LOG, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_LOG, offsetof(struct options, config.cache_dir), "DIR", "as given to serve (larder-cache)"},
    {"--replay", COMMAND_CHECK, offsetof(struct options, replay), "NEW",
     "try the file NEW on requests that the larder that runs remembers"},
    {json_name, COMMAND_CHECK, offsetof(struct options, json), "", "with --replay: one JSON object instead of text"},
    {"-c", COMMAND_CHECK, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--config", COMMAND_CHECK, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_CHECK, offsetof(struct options, config.cache_dir), "DIR",
     "as given to serve (larder-cache)"},
    {"--config", COMMAND_TOP, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_TOP, offsetof(struct options, config.cache_dir), "DIR", "as given to serve (larder-cache)"},
    {json_name, COMMAND_MODE, offsetof(struct options, json), "", "one JSON object instead of text"},
    {"--config", COMMAND_MODE, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_MODE, offsetof(struct options, config.cache_dir), "DIR",
     "as given to serve (larder-cache)"},
    {"--urls", COMMAND_WARM, 0, "FILE|-", "a URL a line; - is standard input; each of these may be repeated"},
    {"--sitemap", COMMAND_WARM, 0, "URL", "asked for through larder, as are the sitemaps that it names"},
    {"--access-log", COMMAND_WARM, 0, "FILE|-", "larder's, or in the combined format"},
    {"--host", COMMAND_WARM, offsetof(struct options, site), "HOST", "of a combined log, which does not name any"},
    {field_name, COMMAND_WARM, 0, "'NAME: VALUE'",
     "a field of each request; several values of one name: a request for each"},
    {"--rate", COMMAND_WARM, offsetof(struct options, rate), "RATE", "at most so many, such as 300/m, or off (20/s)"},
    {"--concurrency", COMMAND_WARM, offsetof(struct options, concurrency), "N", "at most so many at a time (4)"},
    {"--quiet", COMMAND_WARM, offsetof(struct options, quiet), "", "no bar, and failures are only counted"},
    {listen_name, COMMAND_WARM, 0, "ADDR", "where larder listens, if not as configured"},
    {"--config", COMMAND_WARM, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {listen_name, COMMAND_DEMO, 0, "ADDR", "where to listen (127.0.0.1:8081)"},
    {"--delay", COMMAND_DEMO, offsetof(struct options, delay), "DURATION",
     "wait this long before each response (400ms)"},
    {"--hints", COMMAND_DEMO, offsetof(struct options, hints), "URL",
     "print what to try at the larder that listens there"},
};

static const struct {
    const char *name;
    const char *arguments;
    const char *summary;
    const char *details;
} commands[COMMAND_COUNT] = {
    [COMMAND_SERVE] =
        {"serve", "[FLAG VALUE]...", "start the proxy",
         "Without a file, --origin is all it needs:\n"
         "  larder serve --origin http://127.0.0.1:3000\n"
         "\n"
         "ADDR is 127.0.0.1:8080, :8080 (every address), [::1]:8080 or unix:/path; port 0 picks a free "
         "one and says which.\n"
         "SIZE is a number of bytes or one with KiB, MiB, GiB, TiB, KB, MB, GB or TB.\n"
         "Every other setting is in the file; config.example.toml lists all of them.\n"
         "SIGTERM and SIGINT: stops accepting, finishes what runs, exits with 0.\n"
         "SIGHUP: reads the configuration again. SIGUSR1: opens the access log anew. SIGUSR2: starts the program\n"
         "anew, to take the place of the one that runs (an upgrade).\n"},
    [COMMAND_WHY] =
        {"why", "URL [FLAG]...", "explain what a request would get, and why",
         "Looks at the store of a larder that runs or was stopped, asks no origin and changes nothing. Give "
         "it the\n"
         "configuration that serve was given, and the URL that a client would ask for; without --config and --origin "
         "the\n"
         "larder that runs on the cache directory is asked:\n"
         "  larder why http://127.0.0.1:8080/style.css --origin http://127.0.0.1:3000\n"
         "  larder why http://www.example.com/ --config larder.toml -H 'Accept-Encoding: gzip'\n"
         "With --status or --response-header it says also what such an answer of the origin would be worth:\n"
         "  larder why http://127.0.0.1:8080/ --response-header 'Cache-Control: private'\n"
         "With a word from Cache-Status or the access log in place of the URL, explains that:\n"
         "  larder why vary-miss\n"
         "What was stored in the last moments may not be on the disk yet. Exits with 0 or 2.\n"},
    [COMMAND_VARY] =
        {"vary", "[URL] [FLAG]...", "say which variants are stored, and what makes them",
         "Of one URL, or of those in the store that have the most variants beyond the bodies they have: how many of "
         "each,\n"
         "the request fields that make them with their most frequent values, and the rule that would make them fewer.\n"
         "Looks at the store as why does, and changes nothing.\n"
         "  larder vary --cache-dir larder-cache\n"
         "  larder vary http://www.example.com/ --config larder.toml\n"},
    [COMMAND_STORE] = {"store", "COMMAND [FLAG]...", "look at what is stored, and after it",
                       ""}, /* the rest of its help is store_options.c's */
    [COMMAND_PURGE] =
        {"purge", "[URL]... [FLAG]...", "purge what is stored",
         "Tells the larder that runs with this configuration, and ends when the purge is durable and in force on every "
         "worker:\n"
         "no request that starts then gets what was stored before. Of a URL all variants go.\n"
         "  larder purge http://www.example.com/style.css\n"
         "  larder purge --tag product-42 --tag front-page --soft\n"
         "  larder purge --prefix http://www.example.com/img/ --config larder.toml\n"
         "With --soft it is validated at its next request, and may be served stale where that is permitted.\n"
         "Exits with 0 or 2.\n"},
    [COMMAND_PURGES] = {"purges", "[FLAG]...", "list the journal of purges",
                        "Asks the larder that runs with this configuration for the purges that are in force.\n"},
    [COMMAND_REPORT] =
        {"report", "[FLAG]...", "say what is not answered from the cache, why, and what it costs",
         "Asks the larder that runs with this configuration: bytes from the origins and their time, by reason and "
         "route,\n"
         "the costliest first, with what to change.\n"
         "  larder report --since 1h --config larder.toml\n"},
    [COMMAND_LOG] =
        {"log", "[FLAG]...", "follow requests as they end",
         "Asks the larder that runs with this configuration for a line a request, until Ctrl-C. When larder goes it "
         "waits for it to come back.\n"
         "Lines that come faster than they are read are lost, and counted; requests are never held up.\n"
         "  larder log --url '/img/*' --status 5xx\n"
         "  larder log --reason set-cookie --json\n"},
    [COMMAND_TOP] =
        {"top", "[FLAG]...", "watch what larder is doing",
         "Shows the larder that runs with this configuration, each second: hit ratio, requests, bandwidth, "
         "how long the\n"
         "origins take, reasons, sites and origins. Keys: q quits, p or space pauses, s sorts otherwise.\n"},
    [COMMAND_MODE] =
        {"mode", "[SITE normal|offline|record] [FLAG]...", "say how sites are run, or run one otherwise",
         "Asks the larder that runs with this configuration. SITE is the first of its hosts, or default; any other "
         "host of it,\n"
         "and its path behind either: www.example.com/app. The mode is in force for every request that starts when "
         "this ends,\n"
         "until larder ends or the site's mode in the configuration changes.\n"
         "  normal   as configured\n"
         "  offline  what is stored is served, whatever its age, recordings included; anything else is 504; the origin "
         "is not asked\n"
         "  record   what may not be stored for reuse is recorded, to be replayed offline: cookies and private pages "
         "included\n"
         "  larder mode staging.example.com record\n"},
    [COMMAND_WARM] =
        {"warm", "[URL]... [FLAG]...", "ask a larder that runs for URLs, so that they are stored",
         "Each URL is asked for once, at a bounded rate, through the listener, like any client would; hosts are those "
         "of "
         "the URLs,\n"
         "and https is asked for as a proxy that ends TLS in front of larder would.\n"
         "Says at the end what was stored, what was there, and why the rest is not stored.\n"
         "  larder warm --sitemap http://www.example.com/sitemap.xml -H 'Accept-Encoding: gzip' -H 'Accept-Encoding: "
         "br'\n"
         "  tail -n 100000 access.log | larder warm --access-log - --rate 5/s --concurrency 1\n"
         "Exits with 0, with 1 if something could not be had, or with 2.\n"},
    [COMMAND_DEMO] = {"demo", "[FLAG VALUE]...", "start a small slow origin to try larder with",
                      "DURATION is a number with ms, s, m, h or d.\n"},
    [COMMAND_CHECK] =
        {"check", "FILE | --replay NEW [FLAG]...", "say whether a configuration file is right, without starting",
         "Prints one line: what the file holds, or where the first mistake is; and runs the [[test]]s in the file:\n"
         "one line for each that finds something else than it expects. Exits with 0 or 2.\n"
         "With --replay it asks the larder that runs for the requests it remembers, and says what would change with "
         "another file:\n"
         "hit ratio, requests to and bytes from the origins, and the answers that differ, with examples.\n"
         "  larder check --replay new.toml -c larder.toml\n"},
    [COMMAND_VERSION] = {"version", "", "print the version", ""},
    [COMMAND_HELP] = {"help", "[COMMAND]", "explain a command", ""},
};

static bool is_command(const char *word, enum command *out_command)
{
    for (enum command command = 0; command < COMMAND_COUNT; command++) {
        if (strcmp(word, commands[command].name) == 0) {
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
        if (suggest_is_near(span_of(word), span_of(commands[command].name))) {
            buf_format(error, "did you mean %s? (larder help)", commands[command].name);
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
    buf_format(error, "%s: unknown flag %s", commands[command].name, log_quoted(name).text);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (flags[i].command == command && suggest_is_near(name, span_of(flags[i].name))) {
            buf_format(error, ", did you mean %s?", flags[i].name);
            break;
        }
    }
    buf_format(error, " (larder help %s)", commands[command].name);
    return false;
}

static const struct flag *find_flag(enum command command, struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (flags[i].command == command && span_equal(name, span_of(flags[i].name))) {
            return &flags[i];
        }
    }
    return NULL;
}

static bool append(const char **list, size_t *count, size_t max, const struct flag *flag, const char *value,
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
        buf_format(error, "%s: expected at most %d names", commands[options->command].name, OPTIONS_NAMES_MAX);
        return false;
    }
    options->names[options->name_count++] = (struct purge_option){.member = member, .text = text};
    return true;
}

/* The last of a repeated flag counts; each --listen, -H and --response-header adds one. */
static bool store_value(struct options *options, const struct flag *flag, const char *value, struct buf *error)
{
    if (flag->name == listen_name) {
        return append(options->listen, &options->listen_count, OPTIONS_LISTEN_MAX, flag, value, error);
    }
    if (flag->name == field_name) {
        return append(options->fields, &options->field_count, OPTIONS_FIELDS_MAX, flag, value, error);
    }
    if (flag->name == response_field_name) {
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
    const struct flag *flag = find_flag(options->command, name);

    if (flag == NULL) {
        return fail_unknown_flag(options->command, name, error);
    }
    if (flag->value[0] == '\0') {
        if (equals != NULL) {
            buf_format(error, "%s: expected nothing behind it (larder help %s)", flag->name,
                       commands[options->command].name);
            return false;
        }
        *((bool *)(void *)((char *)options + flag->offset)) = true;
        return true;
    }
    if (equals == NULL && *index + 1 >= argc) {
        buf_format(error, "%s: expected %s behind it (larder help %s)", flag->name, flag->value,
                   commands[options->command].name);
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
    buf_format(error, "%s: unexpected %s (larder help %s)", commands[options->command].name,
               log_quoted(span_of(word)).text, commands[options->command].name);
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

void options_command_words(enum command command, struct command_words *out_words)
{
    *out_words = (struct command_words){
        .name = commands[command].name,
        .arguments = commands[command].arguments,
        .summary = commands[command].summary,
        .details = command == COMMAND_STORE ? store_options_details() : commands[command].details,
    };
}

bool options_flag_words(enum command command, size_t index, struct flag_words *out_words)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (flags[i].command == command && index-- == 0) {
            *out_words = (struct flag_words){flags[i].name, flags[i].value, flags[i].text};
            return true;
        }
    }
    return false;
}

static void write_command_help(enum command about, struct buf *out)
{
    bool has_flags = false;

    buf_format(out, "larder %s%s%s: %s\n\n", commands[about].name, commands[about].arguments[0] != '\0' ? " " : "",
               commands[about].arguments, commands[about].summary);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (flags[i].command == about) {
            char head[40];
            (void)snprintf(head, sizeof head, "%s %s", flags[i].name, flags[i].value);
            buf_format(out, "  %-24s  %s\n", head, flags[i].text);
            has_flags = true;
        }
    }
    if (has_flags) {
        buf_add_byte(out, '\n');
    }
    buf_add_text(out, commands[about].details);
    if (about == COMMAND_STORE) {
        store_options_write_help(out);
    }
}

void options_write_help(enum command about, struct buf *out)
{
    if (about != COMMAND_HELP) {
        write_command_help(about, out);
        return;
    }
    buf_add_text(out, "larder: a caching reverse proxy\n\n");
    for (enum command command = 0; command < COMMAND_COUNT; command++) {
        buf_format(out, "  larder %-8s  %s\n", commands[command].name, commands[command].summary);
    }
    buf_add_text(out, "\nTo start: larder serve --origin http://127.0.0.1:3000\n"
                      "What a command takes: larder help COMMAND\n"
                      "Exit status: 0 after an orderly end, 1 where a command says so, 2 when the command line or the "
                      "configuration is\n"
                      "wrong, or nothing could be done.\n");
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
