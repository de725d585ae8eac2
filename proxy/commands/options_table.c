/* options_table.c: every command and every flag, with their words, and the help that is made of them. */
#include "proxy/commands/options_table.h"

#include <string.h>

static const struct option_flag flags[] = {
    {"--config", COMMAND_SERVE, offsetof(struct options, config.file), "FILE",
     "read settings from a TOML file; flags override it"},
    {"--listen", COMMAND_SERVE, 0, "ADDR", "where to listen, may be repeated (127.0.0.1:8080)"},
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
    {"-H", COMMAND_WHY, 0, "'NAME: VALUE'", "a field of the request, may be repeated"},
    {"--method", COMMAND_WHY, offsetof(struct options, method), "METHOD", "what would be asked with (GET)"},
    {"--status", COMMAND_WHY, offsetof(struct options, response_status), "CODE",
     "suppose that the origin answers so: would it be stored? (200)"},
    {"--response-header", COMMAND_WHY, 0, "'NAME: VALUE'", "a field of that answer, may be repeated"},
    {"--json", COMMAND_WHY, offsetof(struct options, json), "", "one JSON object instead of text"},
    {"--config", COMMAND_WHY, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_WHY, offsetof(struct options, config.cache_dir), "DIR", "as given to serve (larder-cache)"},
    {"--origin", COMMAND_WHY, offsetof(struct options, config.origin), "URL", "as given to serve"},
    {"--profile", COMMAND_WHY, offsetof(struct options, config.profile), "safe|rfc", "as given to serve (safe)"},
    {"--limit", COMMAND_VARY, offsetof(struct options, limit), "N", "URLs to show (10)"},
    {"--json", COMMAND_VARY, offsetof(struct options, json), "", "one JSON object instead of text"},
    {"--config", COMMAND_VARY, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_VARY, offsetof(struct options, config.cache_dir), "DIR",
     "as given to serve (larder-cache)"},
    {"--origin", COMMAND_VARY, offsetof(struct options, config.origin), "URL", "as given to serve"},
    {"--profile", COMMAND_VARY, offsetof(struct options, config.profile), "safe|rfc", "as given to serve (safe)"},
    {"--prefix", COMMAND_PURGE, 0, "URL", "every URL that begins so (* is no wildcard); each of these may be repeated"},
    {"--glob", COMMAND_PURGE, 0, "URL", "every URL that matches, with * and ?"},
    {"--tag", COMMAND_PURGE, 0, "TAG", "every response with this tag"},
    {"--site", COMMAND_PURGE, 0, "SITE", "every URL of a site of the configuration, or of a host"},
    {"--all", COMMAND_PURGE, offsetof(struct options, everything), "", "everything"},
    {"--soft", COMMAND_PURGE, offsetof(struct options, soft), "", "it gets stale, not dead"},
    {"--wait", COMMAND_PURGE, offsetof(struct options, wait), "",
     "until it is durable and in force: as it does without"},
    {"--json", COMMAND_PURGE, offsetof(struct options, json), "", "the sequences as one JSON object instead of text"},
    {"--config", COMMAND_PURGE, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_PURGE, offsetof(struct options, config.cache_dir), "DIR",
     "as given to serve (larder-cache)"},
    {"--limit", COMMAND_PURGES, offsetof(struct options, limit), "N", "the newest so many (100)"},
    {"--json", COMMAND_PURGES, offsetof(struct options, json), "", "one JSON object instead of text"},
    {"--config", COMMAND_PURGES, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_PURGES, offsetof(struct options, config.cache_dir), "DIR",
     "as given to serve (larder-cache)"},
    {"--since", COMMAND_REPORT, offsetof(struct options, since), "DURATION",
     "how far back, such as 15m, 1h or 1d; longer: since the start (1d)"},
    {"--limit", COMMAND_REPORT, offsetof(struct options, limit), "N", "the costliest so many (20)"},
    {"--json", COMMAND_REPORT, offsetof(struct options, json), "", "one JSON object instead of text"},
    {"--config", COMMAND_REPORT, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_REPORT, offsetof(struct options, config.cache_dir), "DIR",
     "as given to serve (larder-cache)"},
    {"--url", COMMAND_LOG, offsetof(struct options, url), "GLOB", "such as 'http://*/img/*', or '/img/*' of any host"},
    {"--status", COMMAND_LOG, offsetof(struct options, response_status), "STATUS", "such as 404, or 5xx"},
    {"--outcome", COMMAND_LOG, offsetof(struct options, outcome), "WORD", "of Cache-Status, such as hit or uri-miss"},
    {"--reason", COMMAND_LOG, offsetof(struct options, reason), "WORD",
     "why it was answered so, or not stored, such as set-cookie"},
    {"--client", COMMAND_LOG, offsetof(struct options, client), "ADDR", "such as 127.0.0.1, or 10.0.0.0/8"},
    {"--json", COMMAND_LOG, offsetof(struct options, json), "", "lines as in the access log, instead of text"},
    {"--config", COMMAND_LOG, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_LOG, offsetof(struct options, config.cache_dir), "DIR", "as given to serve (larder-cache)"},
    {"--replay", COMMAND_CHECK, offsetof(struct options, replay), "NEW",
     "try the file NEW on requests that the larder that runs remembers"},
    {"--json", COMMAND_CHECK, offsetof(struct options, json), "", "with --replay: one JSON object instead of text"},
    {"-c", COMMAND_CHECK, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--config", COMMAND_CHECK, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_CHECK, offsetof(struct options, config.cache_dir), "DIR",
     "as given to serve (larder-cache)"},
    {"--config", COMMAND_TOP, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_TOP, offsetof(struct options, config.cache_dir), "DIR", "as given to serve (larder-cache)"},
    {"--json", COMMAND_MODE, offsetof(struct options, json), "", "one JSON object instead of text"},
    {"--config", COMMAND_MODE, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_MODE, offsetof(struct options, config.cache_dir), "DIR",
     "as given to serve (larder-cache)"},
    {"--urls", COMMAND_WARM, 0, "FILE|-", "a URL a line; - is standard input; each of these may be repeated"},
    {"--sitemap", COMMAND_WARM, 0, "URL", "asked for through larder, as are the sitemaps that it names"},
    {"--access-log", COMMAND_WARM, 0, "FILE|-", "larder's, or in the combined format"},
    {"--host", COMMAND_WARM, offsetof(struct options, site), "HOST", "of a combined log, which does not name any"},
    {"-H", COMMAND_WARM, 0, "'NAME: VALUE'", "a field of each request; several values of one name: a request for each"},
    {"--rate", COMMAND_WARM, offsetof(struct options, rate), "RATE", "at most so many, such as 300/m, or off (20/s)"},
    {"--concurrency", COMMAND_WARM, offsetof(struct options, concurrency), "N", "at most so many at a time (4)"},
    {"--quiet", COMMAND_WARM, offsetof(struct options, quiet), "", "no bar, and failures are only counted"},
    {"--listen", COMMAND_WARM, 0, "ADDR", "where larder listens (where the one that runs says)"},
    {"--config", COMMAND_WARM, offsetof(struct options, config.file), "FILE", "as given to serve"},
    {"--cache-dir", COMMAND_WARM, offsetof(struct options, config.cache_dir), "DIR",
     "as given to serve (larder-cache)"},
    {"--listen", COMMAND_DEMO, 0, "ADDR", "where to listen (127.0.0.1:8081)"},
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
         "one line for each that finds something else than it expects. Exits with 0 or 2. What a right one would lack "
         "on\n"
         "this machine (its user, an access log that it can write) is said, too.\n"
         "With --replay it asks the larder that runs for the requests it remembers, and says what would change with "
         "another file:\n"
         "hit ratio, requests to and bytes from the origins, and the answers that differ, with examples.\n"
         "  larder check --replay new.toml -c larder.toml\n"},
    [COMMAND_VERSION] = {"version", "", "print the version", ""},
    [COMMAND_HELP] = {"help", "[COMMAND]", "explain a command", ""},
};

const char *option_command_name(enum command command)
{
    return commands[command].name;
}

const struct option_flag *option_flag_find(enum command command, struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (flags[i].command == command && span_equal(name, span_of(flags[i].name))) {
            return &flags[i];
        }
    }
    return NULL;
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
