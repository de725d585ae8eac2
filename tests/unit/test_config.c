/* test_config.c: what a configuration may say, and the one line for each mistake. */
#include <criterion/criterion.h>

#include "tests/unit/config_support.h"

#define SITE "[[site]]\norigin = \"http://a\"\n"
#define RULE SITE "[[site.rule]]\nname = \"r\"\n"

TestSuite(config, .init = config_test_setup, .fini = config_test_teardown);

struct error_case {
    const char *name, *text, *want;
};

static void expect_errors(const struct error_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct config *config = load_config(cases[i].text);
        cr_expect_null(config, "%s", cases[i].name);
        cr_expect_str_eq(error_text(), cases[i].want, "%s: %s", cases[i].name, error_text());
        config_destroy(config);
    }
}

Test(config, a_name_that_every_head_has_room_for)
{
    for (int digits = 254; digits <= 255; digits++) {
        char text[512];
        (void)snprintf(text, sizeof text, "[server]\nname = \"a%0*d\"\n[[site]]\norigin = \"http://127.0.0.1:3000\"\n",
                       digits, 0);
        struct config *config = load_config(text);
        cr_expect_eq(config != NULL, digits == 254, "%d: %s", digits, config == NULL ? error_text() : "");
        config_destroy(config);
    }
}

Test(config, mistakes_in_the_toml_itself)
{
    static const struct error_case cases[] = {
        {"a list without its end", "[server]\nlisten = [\n",
         "larder.toml:2:12: expected TOML: Error while parsing array: encountered end-of-file"},
        {"a header that starts with no key", "[=a]\n",
         "larder.toml:1:2: expected TOML: Error while parsing key: expected bare key starting character or string "
         "delimiter, saw '='"},
        {"a letter beyond ASCII outside of text", "a = 1 \xc3\xa4\n",
         "larder.toml:1:7: expected TOML: Error while parsing key-value pair: expected a comment or whitespace, saw "
         "'?\?'"},
        {"a key twice", "[server]\nworkers = 1\nworkers = 2\n",
         "larder.toml:3:11: expected TOML: Error while parsing key-value pair: cannot redefine existing integer "
         "'workers'"},
    };
    expect_errors(cases, ARRAY_LEN(cases));
}

Test(config, unknown_keys)
{
    static const struct error_case cases[] = {
        {"a slip is corrected", "[server]\nwrokers = 2\n",
         "larder.toml:2:1: server.wrokers: unknown key, did you mean \"workers\"?"},
        {"a slip in the name of a table", "[sever]\nworkers = 2\n",
         "larder.toml:1:2: sever: unknown key, did you mean \"server\"?"},
        {"a slip in the name of an inner table", "[server.limit]\n",
         "larder.toml:1:9: server.limit: unknown key, did you mean \"limits\"?"},
        {"a slip in a rule", RULE "tttl = 1\n",
         "larder.toml:5:1: site[1].rule[1].tttl: unknown key, did you mean \"ttl\"?"},
        {"a key of another table", "[server]\nclient_head = \"1s\"\n",
         "larder.toml:2:1: server.client_head: unknown key here, did you mean server.timeouts.client_head?"},
        {"a key without its table", "workers = 1\n",
         "larder.toml:1:1: workers: unknown key here, did you mean server.workers?"},
        {"a table in the wrong place", "[[rule]]\nttl = 1\n",
         "larder.toml:1:3: rule: unknown key here, did you mean site.rule?"},
        {"a table in the wrong place, and misspelt", "[limit]\nhead = 1\n",
         "larder.toml:1:2: limit: unknown key here, did you mean server.limits?"},
        {"something else at the top", "colour = 1\n",
         "larder.toml:1:1: colour: unknown key, expected one of server, cache, admin, site, test"},
        {"something else in a table", SITE "colour = 1\n",
         "larder.toml:3:1: site[1].colour: unknown key, expected one of hosts, path, origin, mode, host_header, "
         "purge_from, "
         "balance, "
         "retries, retry_budget, eject_after, eject_time, adaptive_limit, health_check, rule"},
        {"a key that needs quotes", "[server]\n\"a\\nb\" = 1\n",
         "larder.toml:2:1: server.\"a\\x0ab\": unknown key, expected one of listen, workers, user, group, "
         "access_log, access_log_format, facts, log_level, "
         "forwarded, trust_forwarded, trust_forwarded_fields, name, upgrades, shutdown_timeout, watchdog, timeouts, "
         "limits"},
    };
    expect_errors(cases, ARRAY_LEN(cases));
}

Test(config, tables_that_are_none)
{
    static const struct error_case cases[] = {
        {"a number for a table", "server = 3\n", "larder.toml:1:10: server: expected a table, found 3"},
        {"text for an inner table", "[server]\nlimits = \"low\"\n",
         "larder.toml:2:10: server.limits: expected a table, found a string"},
        {"[site] for [[site]]", "[site]\norigin = \"http://a\"\n",
         "larder.toml:1:1: site: expected [[site]] tables, found a table"},
        {"a list of numbers for sites", "site = [1]\n", "larder.toml:1:9: site[1]: expected [[site]] tables, found 1"},
        {"[site.rule] for [[site.rule]]", SITE "[site.rule]\nname = \"a\"\n",
         "larder.toml:3:1: site[1].rule: expected [[site.rule]] tables, found a table"},
    };
    expect_errors(cases, ARRAY_LEN(cases));
}

Test(config, numbers_and_words)
{
    static const struct error_case cases[] = {
        {"text for a number", "[server]\nworkers = \"4\"\n",
         "larder.toml:2:11: server.workers: expected a whole number from 1 to 256, found a string"},
        {"too small a number", "[server]\nworkers = 0\n",
         "larder.toml:2:11: server.workers: expected a whole number from 1 to 256, found 0"},
        {"too large a number", "[server]\n  workers = 257\n",
         "larder.toml:2:13: server.workers: expected a whole number from 1 to 256, found 257"},
        {"a negative number", "[server.limits]\nfields = -1\n",
         "larder.toml:2:10: server.limits.fields: expected a whole number from 8 to 10000, found -1"},
        {"a fraction", "[server]\nworkers = 1.5\n",
         "larder.toml:2:11: server.workers: expected a whole number from 1 to 256, found a number with a fraction"},
        {"a word that is not in the list", "[server]\nlog_level = \"loud\"\n",
         "larder.toml:2:13: server.log_level: expected \"error\", \"warn\", \"info\" or \"debug\", found \"loud\""},
        {"a number for a word", "[cache]\nprofile = 1\n",
         "larder.toml:2:11: cache.profile: expected \"safe\" or \"rfc\", found 1"},
        {"text for a truth value", "[server]\ntrust_forwarded = \"yes\"\n",
         "larder.toml:2:19: server.trust_forwarded: expected true, false, an address such as \"127.0.0.1\" or \"::1\", "
         "a network "
         "such as \"10.0.0.0/8\", or \"unix\", found \"yes\""},
        {"a name for a network", "[server]\ntrust_forwarded = [\"unix\", \"front.test\"]\n",
         "larder.toml:2:28: server.trust_forwarded[2]: expected true, false, an address such as \"127.0.0.1\" or "
         "\"::1\", "
         "a network such as \"10.0.0.0/8\", or \"unix\", found \"front.test\""},
        {"a field that larder writes",
         "[server]\ntrust_forwarded = true\ntrust_forwarded_fields = [\"X-Forwarded-Port\", \"x-forwarded-FOR\"]\n",
         "larder.toml:3:47: server.trust_forwarded_fields[2]: expected names of further X-Forwarded- fields, without _ "
         "and of "
         "at most 64 bytes, such as \"X-Forwarded-Prefix\", found \"x-forwarded-FOR\""},
        {"a field that applications take for another",
         "[server]\ntrust_forwarded = true\ntrust_forwarded_fields = \"X-Forwarded-My_Port\"\n",
         "larder.toml:3:26: server.trust_forwarded_fields: expected names of further X-Forwarded- fields, without _ "
         "and of "
         "at most 64 bytes, such as \"X-Forwarded-Prefix\", found \"X-Forwarded-My_Port\""},
        {"a field that no rule passes on",
         SITE "[[site.rule]]\npass_request_fields = [\"X-Host\", \"x-forwarded-PORT\"]\n",
         "larder.toml:4:34: site[1].rule[1].pass_request_fields[2]: expected names of request fields, such as "
         "\"X-Original-URL\", but none that says for whom a proxy asks (X-Forwarded-*, X-Real-IP, Forwarded: "
         "server.trust_forwarded), nor that with _ for -, found \"x-forwarded-PORT\""},
        {"a field that applications take for one of these",
         SITE "[[site.rule]]\npass_request_fields = [\"Accept_Language\", \"X_Forwarded_For\"]\n",
         "larder.toml:4:43: site[1].rule[1].pass_request_fields[2]: expected names of request fields, such as "
         "\"X-Original-URL\", but none that says for whom a proxy asks (X-Forwarded-*, X-Real-IP, Forwarded: "
         "server.trust_forwarded), nor that with _ for -, found \"X_Forwarded_For\""},
        {"a field that applications take for the framing's",
         SITE "[[site.rule]]\npass_request_fields = \"Transfer_Encoding\"\n",
         "larder.toml:4:23: site[1].rule[1].pass_request_fields: expected names of request fields, such as "
         "\"X-Original-URL\", but none that says for whom a proxy asks (X-Forwarded-*, X-Real-IP, Forwarded: "
         "server.trust_forwarded), nor that with _ for -, found \"Transfer_Encoding\""},
        {"a date for a truth value", "[server]\ntrust_forwarded = 2024-01-01\n",
         "larder.toml:2:19: server.trust_forwarded: expected true, false, an address such as \"127.0.0.1\" or \"::1\", "
         "a network "
         "such as \"10.0.0.0/8\", or \"unix\", found a date or time"},
        {"a name that Via could not carry", "[server]\nname = \"my larder\"\n",
         "larder.toml:2:8: server.name: expected a name of letters, digits and - that starts with a letter, at most "
         "255 of "
         "them, found \"my larder\""},
        {"no directory", "[cache]\ndir = \"\"\n", "larder.toml:2:7: cache.dir: expected a path, found \"\""},
        {"a truth value for a path", "[cache]\ndir = true\n",
         "larder.toml:2:7: cache.dir: expected a path, found true"},
        {"a list for the access log", "[server]\naccess_log = []\n",
         "larder.toml:2:14: server.access_log: expected a path, \"-\" for standard output, or \"off\", found a list"},
    };
    expect_errors(cases, ARRAY_LEN(cases));
}

Test(config, sizes_and_durations)
{
    static const struct error_case cases[] = {
        {"an unknown unit", "[cache]\nsize = \"10 parsecs\"\n",
         "larder.toml:2:8: cache.size: expected a size from 16MiB to 64TiB such as \"64MiB\", found \"10 parsecs\""},
        {"too small a size", "[cache]\nsize = \"1MiB\"\n",
         "larder.toml:2:8: cache.size: expected a size from 16MiB to 64TiB such as \"64MiB\", found \"1MiB\""},
        {"too small a size in bytes", "[cache]\nsize = 16777215\n",
         "larder.toml:2:8: cache.size: expected a size from 16MiB to 64TiB such as \"64MiB\", found 16777215"},
        {"a negative size", "[server.limits]\nrequest_body = -1\n",
         "larder.toml:2:16: server.limits.request_body: expected a size from 0 to 1024TiB such as \"64MiB\", found -1"},
        {"a duration without unit", "[server.timeouts]\nclient_head = \"10\"\n",
         "larder.toml:2:15: server.timeouts.client_head: expected a duration from 10ms to 1d such as \"10s\", found "
         "\"10\""},
        {"too short a duration", "[server.timeouts]\nclient_head = \"9ms\"\n",
         "larder.toml:2:15: server.timeouts.client_head: expected a duration from 10ms to 1d such as \"10s\", found "
         "\"9ms\""},
        {"too many seconds", "[server.timeouts]\nclient_head = 86401\n",
         "larder.toml:2:15: server.timeouts.client_head: expected a duration from 10ms to 1d such as \"10s\", found "
         "86401"},
        {"seconds beyond counting", "[server.timeouts]\nclient_head = 9223372036854775807\n",
         "larder.toml:2:15: server.timeouts.client_head: expected a duration from 10ms to 1d such as \"10s\", found "
         "9223372036854775807"},
        {"a lifetime with a fraction of a second", RULE "ttl = \"1500ms\"\n",
         "larder.toml:5:7: site[1].rule[1].ttl: expected a duration in whole seconds up to 3650d such as \"10s\", "
         "found \"1500ms\""},
        {"a lifetime beyond ten years", RULE "ttl = \"3651d\"\n",
         "larder.toml:5:7: site[1].rule[1].ttl: expected a duration in whole seconds up to 3650d such as \"10s\", "
         "found \"3651d\""},
    };
    expect_errors(cases, ARRAY_LEN(cases));
}

Test(config, addresses_and_origins)
{
    static const struct error_case cases[] = {
        {"a name to listen on", "[server]\nlisten = \"localhost:80\"\n",
         "larder.toml:2:10: server.listen: expected an address such as \"127.0.0.1:8080\", \":8080\", \"[::1]:8080\" "
         "or \"unix:/path\", "
         "found \"localhost:80\""},
        {"the second of a list", "[server]\nlisten = [\":1\", \":99999\"]\n",
         "larder.toml:2:17: server.listen[2]: expected an address such as \"127.0.0.1:8080\", \":8080\", "
         "\"[::1]:8080\" or \"unix:/path\", "
         "found \":99999\""},
        {"the same address twice", "[server]\nlisten = [\":1\", \"[::]:1\"]\n",
         "larder.toml:2:17: server.listen[2]: expected each address once, found \"[::]:1\""},
        {"nowhere to listen", "[server]\nlisten = []\n",
         "larder.toml:2:10: server.listen: expected an address or a list of them, found a list"},
        {"an origin without scheme", "[[site]]\norigin = \"a:3000\"\n",
         "larder.toml:2:10: site[1].origin: expected an origin such as \"http://127.0.0.1:3000\", found \"a:3000\""},
        {"an origin with TLS", "[[site]]\norigin = \"https://a\"\n",
         "larder.toml:2:10: site[1].origin: expected an origin such as \"http://127.0.0.1:3000\" (https is not spoken "
         "to origins), "
         "found \"https://a\""},
        {"an origin with a path", "[[site]]\norigin = [\"http://a\", \"http://a/b\"]\n",
         "larder.toml:2:23: site[1].origin[2]: expected an origin such as \"http://127.0.0.1:3000\", without a path, "
         "found \"http://a/b\""},
        {"no origins in the list", "[[site]]\norigin = []\n",
         "larder.toml:2:10: site[1].origin: expected an origin or a list of them, found a list"},
        {"an origin twice", "[[site]]\norigin = [\"http://a\", \"http://a:80\"]\n",
         "larder.toml:2:23: site[1].origin[2]: expected each origin once, it is origin[1] already"},
        {"an origin's table without its URL", "[[site]]\n[[site.origin]]\nweight = 2\n",
         "larder.toml:2:1: site[1].origin[1].url: missing, expected an origin such as \"http://127.0.0.1:3000\""},
        {"an origin's weight", "[[site]]\n[[site.origin]]\nurl = \"http://a\"\nweight = 0\n",
         "larder.toml:4:10: site[1].origin[1].weight: expected a whole number from 1 to 1000, found 0"},
        {"an unknown key of an origin", "[[site]]\n[[site.origin]]\nurl = \"http://a\"\nwieght = 1\n",
         "larder.toml:4:1: site[1].origin[1].wieght: unknown key, did you mean \"weight\"?"},
        {"nothing but backups", "[[site]]\n[[site.origin]]\nurl = \"http://a\"\nbackup = true\n",
         "larder.toml:2:1: site[1].origin: expected an origin that is not a backup"},
        {"a balance", SITE "balance = \"random\"\n",
         "larder.toml:3:11: site[1].balance: expected \"round-robin\", \"least-connections\" or \"hash\", found "
         "\"random\""},
        {"a check without path", SITE "[site.health_check]\ninterval = \"1s\"\n",
         "larder.toml:3:1: site[1].health_check.path: missing, expected a path such as \"/health\""},
        {"a check that is no table", SITE "health_check = \"/health\"\n",
         "larder.toml:3:16: site[1].health_check: expected a table, found a string"},
        {"a site without origin", SITE "[[site]]\nhosts = \"a.b\"\n",
         "larder.toml:3:1: site[2].origin: missing, expected an origin such as \"http://127.0.0.1:3000\""},
        {"no site at all", "[cache]\n",
         "larder.toml: site: missing, expected --origin http://HOST:PORT, or a [[site]] with an origin in the file "
         "given with --config"},
    };
    expect_errors(cases, ARRAY_LEN(cases));
}

Test(config, sites_and_rules)
{
    static const struct error_case cases[] = {
        {"a host with a port", SITE "hosts = [\"a.b\", \"a.b:80\"]\n",
         "larder.toml:3:17: site[1].hosts[2]: expected host names without port, such as \"www.example.com\" or "
         "\"*.example.com\", "
         "found \"a.b:80\""},
        {"a star inside a host", SITE "hosts = \"a.*.b\"\n",
         "larder.toml:3:9: site[1].hosts: expected host names without port, such as \"www.example.com\" or "
         "\"*.example.com\", "
         "found \"a.*.b\""},
        {"a path that does not start with a slash", SITE "path = \"shop\"\n",
         "larder.toml:3:8: site[1].path: expected a path without * and ?, such as \"/shop\", found \"shop\""},
        {"a site path with a star", SITE "path = \"/shop/*\"\n",
         "larder.toml:3:8: site[1].path: expected a path without * and ?, such as \"/shop\", found \"/shop/*\""},
        {"a host header with a space", SITE "host_header = \"a b\"\n",
         "larder.toml:3:15: site[1].host_header: expected a host with or without port, such as \"www.example.com\", "
         "found \"a b\""},
        {"a host in two sites", SITE "hosts = [\"a.b\"]\n" SITE "hosts = [\"x.y\", \"A.B\"]\n",
         "larder.toml:6:9: site[2].hosts: expected another host or path, \"a.b\" with path \"/\" is site[1] already"},
        {"two sites for everything", SITE SITE,
         "larder.toml:3:1: site[2].hosts: expected another host or path, every host with path \"/\" is site[1] "
         "already"},
        {"a name that a rule without one has", RULE "[[site.rule]]\nname = \"rule-3\"\n[[site.rule]]\nttl = 1\n",
         "larder.toml:7:1: site[1].rule[3].name: missing, expected a name, as another rule is called \"rule-3\""},
        {"a rule name with a space", SITE "[[site.rule]]\nname = \"a b\"\n",
         "larder.toml:4:8: site[1].rule[1].name: expected a name of up to 64 letters, digits, '-', '_' and '.', found "
         "\"a b\""},
        {"the same name twice", RULE "[[site.rule]]\nname = \"r\"\n",
         "larder.toml:6:8: site[1].rule[2].name: expected a name that no other rule of the site has, found \"r\""},
        {"a method in lower case", RULE "methods = \"get\"\n",
         "larder.toml:5:11: site[1].rule[1].methods: expected methods such as \"GET\", found \"get\""},
        {"a status that is none", RULE "statuses = [200, 600]\n",
         "larder.toml:5:18: site[1].rule[1].statuses[2]: expected status codes from 200 to 599, found 600"},
        {"a status in text", RULE "statuses = \"404\"\n",
         "larder.toml:5:12: site[1].rule[1].statuses: expected status codes from 200 to 599, found a string"},
        {"a path glob that no path can match", RULE "path = \"img/*\"\n",
         "larder.toml:5:8: site[1].rule[1].path: expected a path that may have * and ?, such as \"/img/*\", found "
         "\"img/*\""},
        {"a media type with parameters", RULE "content_type = \"text/html; charset=x\"\n",
         "larder.toml:5:16: site[1].rule[1].content_type: expected a media type that may have * and ?, such as "
         "\"image/*\", "
         "found \"text/html; charset=x\""},
        {"a field that is larder's own", RULE "strip_request_fields = [\"cookie\", \"host\"]\n",
         "larder.toml:5:35: site[1].rule[1].strip_request_fields[2]: expected names of request fields, such as "
         "\"Cookie\", except Host, "
         "Content-Length and those that concern the connection, found \"host\""},
        {"a lifetime past the cache", RULE "bypass = true\nttl = 1\n",
         "larder.toml:6:7: site[1].rule[1].ttl: expected not together with bypass = true, which goes past the cache"},
        {"a query filter when the response is known", RULE "statuses = 404\nsort_query = true\n",
         "larder.toml:6:14: site[1].rule[1].sort_query: expected not together with statuses or content_type, which are "
         "known too late to "
         "change the request"},
        {"a rule outside its site",
         "[[site]]\norigin = \"http://a\"\npath = \"/shop\"\n[[site.rule]]\npath = \"/img/*\"\n",
         "larder.toml:5:8: site[1].rule[1].path: expected a path below the site's, which is \"/shop\", found "
         "\"/img/*\""},
        {"stale for longer than anything may be", RULE "stale_if_error = \"7d\"\n",
         "larder.toml:5:18: site[1].rule[1].stale_if_error: expected at most cache.max_stale, which is 86400 s, found "
         "\"7d\""},
        {"revalidated behind for longer than that", "[cache]\nmax_stale = 10\n" RULE "stale_while_revalidate = 11\n",
         "larder.toml:7:26: site[1].rule[1].stale_while_revalidate: expected at most cache.max_stale, which is 10 s, "
         "found 11"},
        {"a setting behind a rule for everything that gives it",
         RULE "path = \"/*\"\ndefault_ttl = 1\n[[site.rule]]\npath = \"/img/*\"\ndefault_ttl = 2\n",
         "larder.toml:9:15: site[1].rule[2].default_ttl: never counts: rule \"r\" stands in front, matches everything "
         "and gives it; put this rule in front of that one"},
        {"a lifetime for errors behind one for everything", RULE "ttl = 1\n[[site.rule]]\nstatuses = 404\nttl = 2\n",
         "larder.toml:8:7: site[1].rule[2].ttl: never counts: rule \"r\" stands in front, matches everything and gives "
         "it; put this rule in front of that one"},
        {"one of the three settings of a query", RULE "sort_query = true\n[[site.rule]]\nstrip_tracking = true\n",
         "larder.toml:7:18: site[1].rule[2].strip_tracking: never counts: rule \"r\" stands in front, matches "
         "everything and gives it; put this rule in front of that one"},
    };
    expect_errors(cases, ARRAY_LEN(cases));
}

Test(config, settings_that_contradict_each_other)
{
    static const struct error_case cases[] = {
        {"a target longer than a head", SITE "[server.limits]\ntarget = \"64KiB\"\nhead = \"32KiB\"\n",
         "larder.toml:4:10: server.limits.target: expected at most server.limits.head, found \"64KiB\""},
        {"a target that the memory cannot hold",
         SITE "[server.limits]\ntarget = \"20KiB\"\nrequest_memory = \"32KiB\"\n",
         "larder.toml:4:10: server.limits.target: expected at most half of server.limits.request_memory, found "
         "\"20KiB\""},
        {"a head that its memory cannot hold", SITE "[server.limits]\nhead = \"64KiB\"\nrequest_memory = \"127KiB\"\n",
         "larder.toml:4:8: server.limits.head: expected at most half of server.limits.request_memory, found \"64KiB\""},
        {"more idle connections than connections",
         SITE "[server.limits]\nidle_origin_connections = 9\norigin_connections = 8\n",
         "larder.toml:4:27: server.limits.idle_origin_connections: expected at most server.limits.origin_connections, "
         "found 9"},
        {"no field to trust", SITE "[server]\nforwarded = \"none\"\ntrust_forwarded = true\n",
         "larder.toml:5:19: server.trust_forwarded: expected false: forwarded = \"none\" leaves no field that could be "
         "trusted"},
        {"fields of nobody", SITE "[server]\ntrust_forwarded_fields = [\"X-Forwarded-Port\"]\n",
         "larder.toml:4:26: server.trust_forwarded_fields: expected none without trust_forwarded and forwarded = "
         "\"x-forwarded\": nobody is believed"},
        {"more fields than responses are told apart by",
         SITE "[server]\ntrust_forwarded = true\ntrust_forwarded_fields = [\"X-Forwarded-A\", \"X-Forwarded-B\", "
              "\"X-Forwarded-C\", \"X-Forwarded-D\", \"X-Forwarded-E\", \"X-Forwarded-F\", \"X-Forwarded-G\", "
              "\"X-Forwarded-H\", \"X-Forwarded-I\"]\n",
         "larder.toml:5:26: server.trust_forwarded_fields: expected at most 8 names, found 9"},
        {"an object larger than half of the cache", SITE "[cache]\nmax_object_size = \"9MiB\"\nsize = \"16MiB\"\n",
         "larder.toml:4:19: cache.max_object_size: expected at most 8MiB, half of the cache's size, found \"9MiB\""},
    };
    expect_errors(cases, ARRAY_LEN(cases));
}

Test(config, defaults_give_way_to_what_is_set)
{
    struct config *config =
        load_config(SITE "[server.limits]\nhead = \"4KiB\"\norigin_connections = 16\n[cache]\nsize = \"16MiB\"\n");

    cr_assert_not_null(config, "%s", error_text());
    cr_expect_eq(config->server.max_target_bytes, 4096, "the target is no longer than the head");
    cr_expect_eq(config->server.max_idle_origin_connections, 16, "no more idle connections than connections");
    cr_expect_eq(config->cache.max_object_bytes, 8 << 20, "an object takes half of the cache at most");
    config_destroy(config);
    config = load_config(SITE "[server.limits]\ntarget = \"1MiB\"\n");
    cr_assert_not_null(config, "%s", error_text());
    cr_expect_eq(config->server.max_head_bytes, 1 << 20, "the head holds the target");
    cr_expect_eq(config->server.max_request_memory_bytes, 2 << 20, "the memory holds the head twice");
    config_destroy(config);
}

Test(config, files_that_cannot_be_read)
{
    static const struct {
        const char *name, *file, *want;
    } cases[] = {
        {"a file that is missing", "missing.toml",
         "missing.toml: expected a configuration file: No such file or directory"},
        {"a directory", "/tmp", "/tmp: expected a configuration file: Is a directory"},
        {"a file without end", "/dev/zero", "/dev/zero: expected a configuration file of at most 1MiB"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config_flags flags = {.file = cases[i].file};
        buf_clear(&test_error);
        cr_expect_null(config_load(&flags, &test_error), "%s", cases[i].name);
        cr_expect_str_eq(error_text(), cases[i].want, "%s: %s", cases[i].name, error_text());
    }
}

/* --- memory for what is asked for often -------------------------------------------------------------------------- */

Test(config, hot_memory_follows_the_store_where_it_is_not_set)
{
    static const uint64_t mib = UINT64_C(1) << 20;
    static const struct {
        const char *text;
        uint64_t memory_bytes;
        uint64_t expected_bytes;
    } cases[] = {
        {SITE, 8192 * mib, 64 * mib},
        {SITE "[cache]\nsize = \"16MiB\"\n", 8192 * mib, 64 * mib},
        {SITE "[cache]\nsize = \"10GiB\"\n", 8192 * mib, 160 * mib},
        {SITE "[cache]\nsize = \"1TiB\"\n", 65536 * mib, 1024 * mib},
        {SITE "[cache]\nsize = \"1TiB\"\n", 8192 * mib, 512 * mib},
        {SITE, 512 * mib, 32 * mib},
        {SITE "[cache]\nsize = \"1TiB\"\nhot_memory = \"0\"\n", 8192 * mib, 0},
        {SITE "[cache]\nhot_memory = \"100MiB\"\n", 512 * mib, 100 * mib},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *config = load_config(cases[i].text);
        cr_assert_not_null(config, "%s", error_text());
        cr_expect_eq(config_hot_bytes(config, cases[i].memory_bytes), cases[i].expected_bytes, "case %zu", i);
        config_destroy(config);
    }
}
