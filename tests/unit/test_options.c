/* test_options.c: command lines, good and bad, and the words that are near to each other. */
#include <criterion/criterion.h>
#include <string.h>

#include "proxy/commands/options.h"
#include "proxy/config/suggest.h"

enum { ARGUMENTS_MAX = 40 };

static struct buf error;

static void setup(void)
{
    buf_init(&error, 8192);
}

static void teardown(void)
{
    buf_finish(&error);
}

TestSuite(options, .init = setup, .fini = teardown);

/* Splits at spaces: "serve --origin http://a". What options borrow stays until the next call. */
static bool parse(const char *line, struct options *out_options)
{
    static char words[2048];
    const char *argv[ARGUMENTS_MAX] = {"larder"};
    int argc = 1;

    (void)snprintf(words, sizeof words, "%s", line);
    for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " ")) {
        cr_assert_lt(argc, ARGUMENTS_MAX);
        argv[argc++] = word;
    }
    buf_clear(&error);
    return options_parse(argc, argv, out_options, &error);
}

Test(options, commands)
{
    static const struct {
        const char *name, *line;
        enum command want, about;
    } cases[] = {
        {"serve", "serve", COMMAND_SERVE, COMMAND_HELP},
        {"why", "why http://a/", COMMAND_WHY, COMMAND_HELP},
        {"vary", "vary", COMMAND_VARY, COMMAND_HELP},
        {"vary of one URL", "vary http://a/ --limit 3 --json", COMMAND_VARY, COMMAND_HELP},
        {"demo", "demo", COMMAND_DEMO, COMMAND_HELP},
        {"version", "version", COMMAND_VERSION, COMMAND_HELP},
        {"--version", "--version", COMMAND_VERSION, COMMAND_HELP},
        {"help", "help", COMMAND_HELP, COMMAND_HELP},
        {"--help", "--help", COMMAND_HELP, COMMAND_HELP},
        {"-h", "-h", COMMAND_HELP, COMMAND_HELP},
        {"help about a command", "help serve", COMMAND_HELP, COMMAND_SERVE},
        {"help behind a command", "demo --help", COMMAND_HELP, COMMAND_DEMO},
        {"help behind flags", "serve --workers 3 -h", COMMAND_HELP, COMMAND_SERVE},
        {"help about check, which lacks its file", "check -h", COMMAND_HELP, COMMAND_CHECK},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct options options;
        cr_assert(parse(cases[i].line, &options), "%s", cases[i].name);
        cr_expect_eq(options.command, cases[i].want, "%s", cases[i].name);
        cr_expect_eq(options.help_about, cases[i].about, "%s", cases[i].name);
    }
}

Test(options, every_flag_of_serve)
{
    struct options options;

    cr_assert(
        parse("serve --config f --listen a --listen=b --origin o --cache-dir d --cache-size=s --workers w --profile p "
              "--admin x --access-log - --log-level l",
              &options));
    struct config_flags flags = options_config_flags(&options);
    cr_expect_str_eq(flags.file, "f");
    cr_assert_eq(flags.listen_count, 2, "--listen may be repeated");
    cr_expect_str_eq(flags.listen[0], "a");
    cr_expect_str_eq(flags.listen[1], "b");
    cr_expect_str_eq(flags.origin, "o");
    cr_expect_str_eq(flags.cache_dir, "d");
    cr_expect_str_eq(flags.cache_size, "s");
    cr_expect_str_eq(flags.workers, "w");
    cr_expect_str_eq(flags.profile, "p");
    cr_expect_str_eq(flags.access_log, "-", "a dash alone is a value");
    cr_expect_str_eq(flags.log_level, "l");
    cr_expect_str_eq(flags.admin, "x");
}

Test(options, every_flag_of_why)
{
    struct options options;

    cr_assert(parse("why -H A:1 http://a/ --method=HEAD -H=B:2 --json --config f --cache-dir d --origin o --profile p",
                    &options));
    cr_expect_str_eq(options.url, "http://a/");
    cr_expect_str_eq(options.method, "HEAD");
    cr_assert_eq(options.field_count, 2, "-H may be repeated");
    cr_expect_str_eq(options.fields[0], "A:1");
    cr_expect_str_eq(options.fields[1], "B:2");
    cr_expect(options.json);
    struct config_flags flags = options_config_flags(&options);
    cr_expect_str_eq(flags.file, "f");
    cr_expect_str_eq(flags.cache_dir, "d");
    cr_expect_str_eq(flags.origin, "o");
    cr_expect_str_eq(flags.profile, "p");
    cr_assert(parse("why http://a/", &options));
    cr_expect_not(options.json);
    cr_expect_null(options.method);
    cr_expect_eq(options.field_count, 0);
}

Test(options, flags_that_are_absent_are_null)
{
    struct options options;

    cr_assert(parse("serve", &options));
    struct config_flags flags = options_config_flags(&options);
    cr_expect_null(flags.file);
    cr_expect_null(flags.origin);
    cr_expect_null(flags.workers);
    cr_expect_eq(flags.listen_count, 0);
}

Test(options, demo_and_check)
{
    struct options options;

    cr_assert(parse("demo --listen 127.0.0.1:1 --delay=0 --hints http://h", &options));
    cr_expect_str_eq(options.listen[0], "127.0.0.1:1");
    cr_expect_str_eq(options.delay, "0");
    cr_expect_str_eq(options.hints, "http://h");
    cr_assert(parse("check a.toml", &options));
    cr_expect_eq(options.command, COMMAND_CHECK);
    cr_expect_str_eq(options.config.file, "a.toml");
}

Test(options, the_last_of_a_repeated_flag_counts)
{
    struct options options;

    cr_assert(parse("serve --origin a --origin b --origin=", &options));
    cr_expect_str_eq(options.config.origin, "", "be it empty");
}

Test(options, mistakes)
{
    static const struct {
        const char *name, *line, *want;
    } cases[] = {
        {"nothing", "",
         "expected a command: serve, why, vary, store, purge, purges, report, log, top, mode, warm, demo, check, "
         "version or help "
         "(larder help)"},
        {"a slip in the command", "srve", "unknown command \"srve\", did you mean serve? (larder help)"},
        {"no command of ours", "install",
         "unknown command \"install\", expected serve, why, vary, store, purge, purges, report, log, top, mode, warm, "
         "demo, check, "
         "version or help "
         "(larder help)"},
        {"a flag for a command", "--origin",
         "unknown command \"--origin\", expected serve, why, vary, store, purge, purges, report, log, top, mode, warm, "
         "demo, "
         "check, "
         "version or help "
         "(larder help)"},
        {"a slip in a flag", "serve --lisen a",
         "serve: unknown flag \"--lisen\", did you mean --listen? (larder help serve)"},
        {"a slip with a value", "serve --prfile=rfc",
         "serve: unknown flag \"--prfile\", did you mean --profile? (larder help serve)"},
        {"no flag of ours", "serve --tls", "serve: unknown flag \"--tls\" (larder help serve)"},
        {"a short flag", "serve -l", "serve: unknown flag \"-l\" (larder help serve)"},
        {"a flag of another command", "demo --workers 1", "demo: unknown flag \"--workers\" (larder help demo)"},
        {"a flag for check", "check --origin a", "check: unknown flag \"--origin\" (larder help check)"},
        {"a flag without value", "serve --workers", "--workers: expected N behind it (larder help serve)"},
        {"a word too many", "serve http://a", "serve: unexpected \"http://a\" (larder help serve)"},
        {"two files", "check a b", "check: unexpected \"b\" (larder help check)"},
        {"no URL", "why --json", "why: expected a URL, or a reason such as vary-miss (larder help why)"},
        {"two URLs", "why http://a http://b", "why: unexpected \"http://b\" (larder help why)"},
        {"a value for what has none", "why http://a --json=1", "--json: expected nothing behind it (larder help why)"},
        {"a field without value", "why http://a -H", "-H: expected 'NAME: VALUE' behind it (larder help why)"},
        {"a flag of serve for why", "why http://a --listen a", "why: unknown flag \"--listen\" (larder help why)"},
        {"no file", "check", "check: expected a file (larder help check)"},
        {"a word behind version", "version 2", "version: unexpected \"2\" (larder help version)"},
        {"help about nothing", "help serv", "unknown command \"serv\", did you mean serve? (larder help)"},
        {"too many addresses",
         "serve --listen a --listen a --listen a --listen a --listen a --listen a --listen a --listen a --listen a "
         "--listen a --listen a --listen a --listen a --listen a --listen a --listen a --listen a",
         "--listen: expected at most 16 of them"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct options options = {.command = COMMAND_COUNT};
        cr_expect_not(parse(cases[i].line, &options), "%s", cases[i].name);
        cr_expect(span_equal(buf_span(&error), span_of(cases[i].want)), "%s: %.*s", cases[i].name,
                  SPAN_ARG(buf_span(&error)));
        cr_expect_eq(options.command, COMMAND_COUNT, "%s: options are untouched", cases[i].name);
    }
}

Test(options, help_names_every_flag_and_command)
{
    static const char *const flags[] = {"--config",  "--listen",  "--origin", "--cache-dir",  "--cache-size",
                                        "--workers", "--profile", "--admin",  "--access-log", "--log-level"};
    static const char *const commands[] = {"serve", "why", "demo", "check", "version", "help"};
    struct buf help;

    buf_init(&help, 65536);
    options_write_help(COMMAND_SERVE, &help);
    buf_add_byte(&help, '\0');
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        cr_expect_not_null(strstr(help.data, flags[i]), "%s", flags[i]);
    }
    buf_clear(&help);
    options_write_help(COMMAND_HELP, &help);
    buf_add_byte(&help, '\0');
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        cr_expect_not_null(strstr(help.data, commands[i]), "%s", commands[i]);
    }
    buf_finish(&help);
}

Test(options, mode)
{
    struct options options;

    cr_assert(parse("mode", &options));
    cr_expect(options.command == COMMAND_MODE && options.site == NULL && options.mode == NULL);
    cr_assert(parse("mode --json a.example offline --config f", &options));
    cr_expect_str_eq(options.site, "a.example");
    cr_expect_str_eq(options.mode, "offline");
    cr_expect(options.json);
    cr_expect_str_eq(options.config.file, "f");
}

Test(options, warm)
{
    struct options options;

    cr_assert(
        parse("warm http://a/ --urls - --sitemap http://a/s.xml --access-log=l -H A:1 --rate 5/s --quiet", &options));
    cr_expect_eq(options.name_count, 4);
    cr_expect_str_eq(options.names[0].member, "urls");
    cr_expect_str_eq(options.names[1].member, "list");
    cr_expect_str_eq(options.names[1].text, "-");
    cr_expect_str_eq(options.names[2].member, "sitemap");
    cr_expect_str_eq(options.names[3].member, "log");
    cr_expect_str_eq(options.rate, "5/s");
    cr_expect(options.quiet && options.field_count == 1 && options.concurrency == NULL);
}

Test(options, distance_between_words)
{
    static const struct {
        const char *a, *b;
        size_t want;
    } cases[] = {
        {"", "", 0},
        {"a", "", 1},
        {"", "abc", 3},
        {"listen", "listen", 0},
        {"lisen", "listen", 1},
        {"listten", "listen", 1},
        {"lixten", "listen", 1},
        {"wrokers", "workers", 1},
        {"dri", "dir", 1},
        {"size", "dir", 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(suggest_distance(span_of(cases[i].a), span_of(cases[i].b)), cases[i].want, "%s, %s", cases[i].a,
                     cases[i].b);
        cr_expect_eq(suggest_distance(span_of(cases[i].b), span_of(cases[i].a)), cases[i].want, "%s, %s", cases[i].b,
                     cases[i].a);
    }
    cr_expect_not(suggest_is_near(SPAN("0123456789012345678901234567890123456789x"), SPAN("listen")),
                  "very long words are never near");
    cr_expect(suggest_is_near(SPAN("ttx"), SPAN("ttl")), "one slip in a short word");
    cr_expect_not(suggest_is_near(SPAN("txx"), SPAN("ttl")), "not two");
}
