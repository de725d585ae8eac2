/* test_config_load.c: values, defaults, flags, and the example file against the table of keys. */
#include <criterion/criterion.h>

#include "proxy/config/config_schema.h"
#include "tests/unit/config_support.h"

#define SITE "[[site]]\norigin = \"http://a\"\n"

TestSuite(config_load, .init = config_test_setup, .fini = config_test_teardown);

/* --- values ----------------------------------------------------------------------------------------------------- */

Test(config_load, sizes)
{
    static const struct {
        const char *name, *text;
        bool valid;
        uint64_t want;
    } cases[] = {
        {"plain bytes", "4096", true, 4096},
        {"nothing", "0", true, 0},
        {"bytes with their unit", "12B", true, 12},
        {"KiB", "64KiB", true, 65536},
        {"MiB", "3MiB", true, 3 << 20},
        {"GiB", "1GiB", true, 1 << 30},
        {"TiB", "2TiB", true, UINT64_C(2) << 40},
        {"KB", "64KB", true, 64000},
        {"kB", "64kB", true, 64000},
        {"MB, with a space", "10 MB", true, 10000000},
        {"GB", "1GB", true, 1000000000},
        {"TB", "1TB", true, UINT64_C(1000000000000)},
        {"the largest", "18446744073709551615", true, UINT64_MAX},
        {"one more", "18446744073709551616", false, 0},
        {"too many TiB", "16777216TiB", false, 0},
        {"just not too many", "16777215TiB", true, UINT64_C(16777215) << 40},
        {"empty", "", false, 0},
        {"a unit alone", "MiB", false, 0},
        {"half a unit", "1M", false, 0},
        {"another case", "1mib", false, 0},
        {"a sign", "-1", false, 0},
        {"a fraction", "1.5GiB", false, 0},
        {"two spaces", "1  GiB", false, 0},
        {"a space behind", "1GiB ", false, 0},
        {"a space in front", " 1GiB", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t bytes = 77;
        bool valid = config_parse_size(span_of(cases[i].text), &bytes);
        cr_expect_eq(valid, cases[i].valid, "%s", cases[i].name);
        cr_expect_eq(bytes, cases[i].valid ? cases[i].want : 77, "%s", cases[i].name);
    }
}

Test(config_load, durations)
{
    static const struct {
        const char *name, *text;
        bool valid;
        uint64_t want;
    } cases[] = {
        {"milliseconds", "250ms", true, 250},
        {"seconds", "10s", true, 10000},
        {"minutes", "5m", true, 300000},
        {"hours", "2h", true, 7200000},
        {"days", "7d", true, 604800000},
        {"nothing needs no unit", "0", true, 0},
        {"with a space", "10 s", true, 10000},
        {"a number without unit", "10", false, 0},
        {"an unknown unit", "1w", false, 0},
        {"a unit alone", "s", false, 0},
        {"upper case", "10S", false, 0},
        {"two at once", "1h30m", false, 0},
        {"a sign", "-1s", false, 0},
        {"empty", "", false, 0},
        {"beyond counting", "213503982335d", false, 0},
        {"just countable", "213503982334d", true, UINT64_C(213503982334) * 86400000},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t ms = 77;
        bool valid = config_parse_duration(span_of(cases[i].text), &ms);
        cr_expect_eq(valid, cases[i].valid, "%s", cases[i].name);
        cr_expect_eq(ms, cases[i].valid ? cases[i].want : 77, "%s", cases[i].name);
    }
}

Test(config_load, addresses)
{
    static const struct {
        const char *name, *text, *host; /* NULL: refused */
        enum address_kind kind;
        uint16_t port;
    } cases[] = {
        {"IPv4", "127.0.0.1:8080", "127.0.0.1", ADDRESS_IP, 8080},
        {"every address", ":8080", "::", ADDRESS_IP, 8080},
        {"every IPv4 address", "0.0.0.0:80", "0.0.0.0", ADDRESS_IP, 80},
        {"IPv6", "[::1]:8080", "::1", ADDRESS_IP, 8080},
        {"a port that the system picks", "127.0.0.1:0", "127.0.0.1", ADDRESS_IP, 0},
        {"the last port", ":65535", "::", ADDRESS_IP, 65535},
        {"a unix socket", "unix:/run/larder.sock", "/run/larder.sock", ADDRESS_UNIX, 0},
        {"one port more", ":65536", NULL, ADDRESS_IP, 0},
        {"a name", "localhost:80", NULL, ADDRESS_IP, 0},
        {"IPv6 without brackets", "::1:8080", NULL, ADDRESS_IP, 0},
        {"IPv4 in brackets", "[127.0.0.1]:80", NULL, ADDRESS_IP, 0},
        {"no port", "127.0.0.1", NULL, ADDRESS_IP, 0},
        {"an empty port", "127.0.0.1:", NULL, ADDRESS_IP, 0},
        {"a port alone", "8080", NULL, ADDRESS_IP, 0},
        {"a unix socket without path", "unix:", NULL, ADDRESS_IP, 0},
        {"empty", "", NULL, ADDRESS_IP, 0},
    };
    struct arena arena;
    arena_init(&arena, 65536);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct address address = {.host = NULL};
        bool valid = config_parse_address(span_of(cases[i].text), &arena, &address);
        cr_expect_eq(valid, cases[i].host != NULL, "%s", cases[i].name);
        if (valid && cases[i].host != NULL) {
            cr_expect_str_eq(address.host, cases[i].host, "%s", cases[i].name);
            cr_expect_eq(address.kind, cases[i].kind, "%s", cases[i].name);
            cr_expect_eq(address.port, cases[i].port, "%s", cases[i].name);
        }
    }
    arena_finish(&arena);
}

Test(config_load, a_unix_path_must_fit_the_system)
{
    struct arena arena;
    struct address address;
    char text[5 + 108 + 1] = "unix:";

    arena_init(&arena, 65536);
    memset(text + 5, 'a', 108);
    cr_expect(config_parse_address((struct span){text, 5 + 107}, &arena, &address), "107 bytes fit");
    cr_expect_not(config_parse_address((struct span){text, 5 + 108}, &arena, &address), "108 do not");
    arena_finish(&arena);
}

/* --- files ------------------------------------------------------------------------------------------------------ */

Test(config_load, every_kind_of_value_arrives)
{
    struct config *config =
        load_config("[server]\nlisten = [\":1\", \"unix:/s\"]\nworkers = 3\naccess_log = \"-\"\n"
                    "access_log_format = \"combined\"\nlog_level = \"debug\"\nforwarded = \"forwarded\"\n"
                    "trust_forwarded = true\nname = \"edge-1\"\nshutdown_timeout = 7\n"
                    "[server.timeouts]\nclient_head = \"250ms\"\n"
                    "[server.limits]\nfields = 99\nrequest_body = \"10 MB\"\n"
                    "[cache]\nprofile = \"rfc\"\nsize = 33554432\nmax_stale = 0\n" SITE);

    cr_assert_not_null(config, "%s", error_text());
    cr_expect_eq(config->server.listen_count, 2);
    cr_expect_str_eq(config->server.listen[1].host, "/s");
    cr_expect_eq(config->server.workers, 3);
    cr_expect_str_eq(config->server.access_log, "-");
    cr_expect_eq(config->server.access_format, ACCESS_COMBINED);
    cr_expect_eq(config->server.log_level, LOG_DEBUG);
    cr_expect_eq(config->server.forwarded, FORWARDED_RFC);
    cr_assert_eq(config->server.trust_forwarded_count, 2);
    cr_expect(networks_have(config->server.trust_forwarded, 2, "192.0.2.1"));
    cr_expect(networks_have(config->server.trust_forwarded, 2, "2001:db8::1"));
    cr_expect(networks_have(config->server.trust_forwarded, 2, "unix"));
    cr_expect_str_eq(config->server.via, "edge-1");
    cr_expect_eq(config->server.shutdown_timeout_ms, 7000, "a whole number is seconds");
    cr_expect_eq(config->server.client_head_timeout_ms, 250);
    cr_expect_eq(config->server.max_fields, 99);
    cr_expect_eq(config->server.max_request_body_bytes, 10000000);
    cr_expect_eq(config->cache.profile, PROFILE_RFC);
    cr_expect_eq(config->cache.size_bytes, 32 << 20, "a whole number is bytes");
    cr_expect_eq(config->cache.max_stale_ms, 0);
    config_destroy(config);
}

Test(config_load, sites_and_rules_arrive)
{
    struct config *config = load_config(
        "[[site]]\nhosts = [\"WWW.Example.COM\", \"*.example.org\", \"[::1]\"]\npath = \"/shop/%7Ea/\"\n"
        "origin = [\"http://10.0.0.1:3000\", \"http://[::1]/\", \"http://name\"]\nhost_header = \"in.side:81\"\n"
        "[[site.rule]]\nname = \"first\"\npath = \"/shop/~a/?/*\"\nmethods = [\"GET\"]\nstatuses = 404\n"
        "content_type = \"Text/*\"\nttl = \"1m\"\ndefault_ttl = 2\nbypass = false\n"
        "[[site.rule]]\nname = \"second\"\nstrip_query = [\"ref\"]\nstrip_tracking = true\n"
        "normalize_accept_encoding = false\nstrip_request_fields = []\n");

    cr_assert_not_null(config, "%s", error_text());
    cr_assert_eq(config->site_count, 1);
    const struct site *site = &config->sites[0];
    cr_expect_str_eq(site->name, "www.example.com", "hosts are in lower case");
    cr_expect(span_equal(site->hosts[1], SPAN("*.example.org")));
    cr_expect(span_equal(site->hosts[2], SPAN("::1")), "brackets are gone");
    cr_expect(span_equal(site->path_prefix, SPAN("/shop/~a")), "the path is normal: %.*s", SPAN_ARG(site->path_prefix));
    cr_assert_eq(site->origin_count, 3);
    cr_expect_eq(site->origins[0].port, 3000);
    cr_expect_str_eq(site->origins[1].host, "::1");
    cr_expect_eq(site->origins[1].port, 80);
    cr_expect_str_eq(site->origins[2].text, "http://name");
    cr_expect_str_eq(site->host_header, "in.side:81");
    cr_assert_eq(site->rule_count, 2);
    const struct rule *first = &site->rules[0];
    cr_expect(span_equal(first->content_type_glob, SPAN("text/*")), "media types are in lower case");
    cr_expect_eq(first->statuses[0], 404, "a single value is a list of one");
    cr_expect_eq(first->ttl_s, 60);
    cr_expect_eq(first->default_ttl_s, 2);
    cr_expect(first->given[SETTING_TTL] && first->given[SETTING_DEFAULT_TTL]);
    cr_expect(first->given[SETTING_BYPASS] && !first->bypass, "false is given, too");
    cr_expect_not(first->given[SETTING_STALE_IF_ERROR]);
    cr_expect_not(first->gives_query);
    const struct rule *second = &site->rules[1];
    cr_expect(second->gives_query && second->gives_vary && second->gives_request_fields);
    cr_expect_gt(second->strip_query_count, 10, "the usual tracking parameters were added");
    cr_expect(span_equal(second->strip_query[0], SPAN("ref")));
    config_destroy(config);
}

Test(config_load, without_file_there_are_defaults)
{
    struct config_flags flags = {.origin = "http://127.0.0.1:3000"};
    struct config *config = config_load(&flags, &test_error);

    cr_assert_not_null(config, "%s", error_text());
    cr_expect_null(config->file);
    cr_expect_str_eq(config->server.listen[0].host, "127.0.0.1");
    cr_expect_eq(config->server.listen[0].port, 8080);
    cr_expect_eq(config->server.workers, 0, "one a core");
    cr_expect_null(config->server.access_log);
    cr_expect_eq(config->server.origin_idle_timeout_ms, 4000);
    cr_expect_str_eq(config->cache.dir, "larder-cache");
    cr_expect_eq(config->cache.size_bytes, 1 << 30);
    cr_expect_eq(config->cache.max_object_bytes, 512 << 20);
    cr_expect_eq(config->cache.profile, PROFILE_SAFE);
    cr_assert_eq(config->site_count, 1);
    cr_expect_str_eq(config->sites[0].name, "default");
    cr_expect_eq(config->sites[0].origins[0].port, 3000);
    config_destroy(config);
}

Test(config_load, no_objects_above_4_gib_unless_asked)
{
    struct config_flags flags = {.origin = "http://a", .cache_size = "1TiB"};
    struct config *config = config_load(&flags, &test_error);

    cr_assert_not_null(config, "%s", error_text());
    cr_expect_eq(config->cache.max_object_bytes, UINT64_C(4) << 30);
    config_destroy(config);
}

/* --- flags ------------------------------------------------------------------------------------------------------ */

Test(config_load, flags_override_the_file)
{
    static const char *const listen[] = {"127.0.0.1:0", "[::1]:0"};
    struct config_flags flags = {.listen = listen,
                                 .listen_count = 2,
                                 .cache_dir = "/c",
                                 .cache_size = "64MiB",
                                 .workers = "5",
                                 .profile = "rfc",
                                 .access_log = "off",
                                 .log_level = "error"};
    struct config *config = load_config_with("[server]\nlisten = \":1\"\nworkers = 1\naccess_log = \"-\"\n"
                                             "[cache]\nsize = \"1TiB\"\ndir = \"d\"\nprofile = \"safe\"\n" SITE,
                                             flags);

    cr_assert_not_null(config, "%s", error_text());
    cr_expect_eq(config->server.listen_count, 2);
    cr_expect_str_eq(config->server.listen[1].host, "::1");
    cr_expect_eq(config->server.workers, 5);
    cr_expect_null(config->server.access_log);
    cr_expect_eq(config->server.log_level, LOG_ERROR);
    cr_expect_str_eq(config->cache.dir, "/c");
    cr_expect_eq(config->cache.size_bytes, 64 << 20);
    cr_expect_eq(config->cache.profile, PROFILE_RFC);
    config_destroy(config);
}

Test(config_load, bad_flags_are_named)
{
    static const char *const listen[] = {":1", "x"};
    static const struct {
        struct config_flags flags;
        const char *want;
    } cases[] = {
        {{.workers = "0"}, "--workers: expected a whole number from 1 to 256, found \"0\""},
        {{.cache_size = "1KiB"}, "--cache-size: expected a size from 16MiB to 64TiB such as \"64MiB\", found \"1KiB\""},
        {{.profile = "wild"}, "--profile: expected \"safe\" or \"rfc\", found \"wild\""},
        {{.log_level = ""}, "--log-level: expected \"error\", \"warn\", \"info\" or \"debug\", found \"\""},
        {{.cache_dir = ""}, "--cache-dir: expected a path, found \"\""},
        {{.origin = "ftp://a"}, "--origin: expected an origin such as \"http://127.0.0.1:3000\", found \"ftp://a\""},
        {{.listen = listen, .listen_count = 2},
         "--listen[2]: expected an address such as \"127.0.0.1:8080\", \":8080\", \"[::1]:8080\" or \"unix:/path\", "
         "found \"x\""},
        {{.listen = listen + 1, .listen_count = 1},
         "--listen: expected an address such as \"127.0.0.1:8080\", \":8080\", \"[::1]:8080\" or \"unix:/path\", found "
         "\"x\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *config = load_config_with(SITE, cases[i].flags);
        cr_expect_null(config, "%s", cases[i].want);
        cr_expect_str_eq(error_text(), cases[i].want, "%s", error_text());
        config_destroy(config);
    }
}

Test(config_load, the_origin_flag_makes_or_changes_the_default_site)
{
    struct config_flags flags = {.origin = "http://flag"};
    struct config *config = load_config_with("[[site]]\nhosts = \"a.b\"\norigin = \"http://file\"\n", flags);

    cr_assert_not_null(config, "%s", error_text());
    cr_assert_eq(config->site_count, 2, "made behind the others");
    cr_expect_str_eq(config->sites[0].origins[0].host, "file");
    cr_expect_str_eq(config->sites[1].origins[0].host, "flag");
    cr_expect_eq(config->sites[1].host_count, 0);
    config_destroy(config);

    config = load_config_with("[[site]]\norigin = [\"http://file\", \"http://file2\"]\n[[site.rule]]\nname = \"r\"\n",
                              flags);
    cr_assert_not_null(config, "%s", error_text());
    cr_assert_eq(config->site_count, 1);
    cr_expect_eq(config->sites[0].origin_count, 1, "its origins are replaced");
    cr_expect_str_eq(config->sites[0].origins[0].host, "flag");
    cr_expect_eq(config->sites[0].rule_count, 1, "its rules are kept");
    config_destroy(config);

    config = load_config_with("[[site]]\n[[site.rule]]\nname = \"r\"\n", flags);
    cr_assert_not_null(config, "a default site may leave its origin to the flag: %s", error_text());
    config_destroy(config);
}

Test(config_load, origins_as_tables)
{
    struct config *config =
        load_config("[[site]]\nbalance = \"hash\"\nretries = 0\neject_after = 2\neject_time = \"1m\"\n"
                    "[[site.origin]]\nurl = \"http://a:81\"\nweight = 3\n"
                    "[[site.origin]]\nurl = \"http://b\"\nbackup = true\n"
                    "[site.health_check]\npath = \"/up?deep=1\"\nhost = \"in.side\"\nstatuses = [200, 204]\n"
                    "[[site]]\nhosts = \"other\"\norigin = [\"http://c\", {url = \"http://d\", weight = 2}]\n");

    cr_assert_not_null(config, "%s", error_text());
    const struct site *site = &config->sites[0];
    cr_expect_eq(site->balance, BALANCE_HASH);
    cr_expect_eq(site->retries, 0u);
    cr_expect_eq(site->eject_after, 2u);
    cr_expect_eq(site->eject_time_ms, 60000u);
    cr_assert_eq(site->origin_count, 2u);
    cr_expect_str_eq(site->origins[0].text, "http://a:81");
    cr_expect_eq(site->origins[0].port, 81);
    cr_expect_eq(site->origins[0].weight, 3u);
    cr_expect_not(site->origins[0].backup);
    cr_expect_eq(site->origins[1].weight, 1u);
    cr_expect(site->origins[1].backup);
    cr_expect_str_eq(site->check.path, "/up?deep=1");
    cr_expect_str_eq(site->check.host, "in.side");
    cr_expect_eq(site->check.status_count, 2u);
    cr_expect_eq(site->check.interval_ms, 5000u, "a default");
    site = &config->sites[1];
    cr_expect_null(site->check.path, "no checks without their table");
    cr_expect_eq(site->balance, BALANCE_ROUND_ROBIN);
    cr_expect_eq(site->retries, 2u);
    cr_assert_eq(site->origin_count, 2u);
    cr_expect_eq(site->origins[0].weight, 1u);
    cr_expect_eq(site->origins[1].weight, 2u, "a list may hold URLs and tables");
    config_destroy(config);
}

/* --- the example ------------------------------------------------------------------------------------------------ */

/* Moves to where config.example.toml is: the test knows its own place in the source tree. */
static char *read_example(void)
{
    char path[4096];
    char *text = calloc(1, 65536);

    (void)snprintf(path, sizeof path, "%s/config.example.toml", LARDER_SOURCE_DIR);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    cr_assert_gt(fread(text, 1, 65535, file), 0);
    (void)fclose(file);
    return text;
}

/* "#name = " is a setting that is left at its default; "# " begins prose. Calls `visit` for each setting, set or not.
 */
static void each_setting(const char *text,
                         void (*visit)(struct span section, struct span name, struct span value, void *arg), void *arg)
{
    struct span rest = span_of(text);
    struct span section = SPAN("");
    struct span line;

    while (span_split(&rest, '\n', &line)) {
        struct span value = span_starts_with(line, SPAN("#")) ? span_skip(line, 1) : line;
        struct span name;
        if (value.len == 0 || value.data[0] == ' ' || value.data[0] == '#') {
            continue;
        }
        if (value.data[0] == '[') {
            section = value;
            while (section.data[0] == '[') {
                section = span_take(span_skip(section, 1), section.len - 2);
            }
            continue;
        }
        cr_assert(span_split(&value, '=', &name));
        visit(section, span_trim(name), span_trim(value), arg);
    }
}

struct search {
    const char *section, *name;
    struct span value; /* of the first such line */
};

static void note_value(struct span section, struct span name, struct span value, void *arg)
{
    struct search *search = arg;

    if (search->value.data == NULL && span_equal(section, span_of(search->section)) &&
        span_equal(name, span_of(search->name))) {
        search->value = value;
    }
}

/* "\"10s\"" is 10s. */
static struct span without_quotes(struct span value)
{
    return value.len >= 2 && value.data[0] == '"' ? span_take(span_skip(value, 1), value.len - 2) : value;
}

Test(config_load, the_example_names_every_key_with_its_default)
{
    char *text = read_example();

    for (size_t i = 0; i < SECTION_COUNT; i++) {
        const struct config_section *section = &config_sections[i];
        for (size_t k = 0; k < section->key_count; k++) {
            struct search search = {.section = section->path, .name = section->keys[k].name};
            each_setting(text, note_value, &search);
            cr_expect_not_null(search.value.data, "%s.%s is in the example", section->path, search.name);
            if (section->keys[k].standard != NULL) {
                cr_expect(span_equal(without_quotes(search.value), span_of(section->keys[k].standard)),
                          "%s.%s is %.*s, %s in the code", section->path, search.name, SPAN_ARG(search.value),
                          section->keys[k].standard);
            }
        }
    }
    free(text);
}

static void count_unknown(struct span section, struct span name, struct span value, void *arg)
{
    size_t *unknown = arg;
    bool known = false;

    (void)value;
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        known = known || (span_equal(section, span_of(config_sections[i].path)) &&
                          config_find_key(&config_sections[i], name) != NULL);
    }
    cr_expect(known, "%.*s.%.*s is a key", SPAN_ARG(section), SPAN_ARG(name));
    *unknown += known ? 0 : 1;
}

Test(config_load, the_example_names_nothing_else)
{
    char *text = read_example();
    size_t unknown = 0;

    each_setting(text, count_unknown, &unknown);
    cr_expect_eq(unknown, 0);
    free(text);
}

Test(config_load, the_example_loads_as_it_is_and_with_every_setting_set)
{
    char *text = read_example();
    struct config *config = load_config(text);

    cr_expect_not_null(config, "%s", error_text());
    config_destroy(config);
    for (char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n' ? 1 : 0;
        if (line[0] == '#' && line[1] != ' ' && line[1] != '\n') {
            line[0] = ' ';
        }
    }
    config = load_config(text);
    cr_assert_not_null(config, "%s", error_text());
    cr_expect_eq(config->cache.max_object_bytes, 512 << 20, "what the default comes to is what the example shows");
    cr_expect_eq(config->sites[0].rule_count, 3);
    config_destroy(config);
    free(text);
}
