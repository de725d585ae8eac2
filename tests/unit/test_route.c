/* test_route.c: which site serves a request, which settings its rules give, and what they do to the request. */
#include <criterion/criterion.h>

#include "proxy/config/route.h"
#include "tests/unit/config_support.h"
#include "tests/unit/support.h"

static struct arena arena;

static void setup(void)
{
    config_test_setup();
    arena = test_arena();
}

static void teardown(void)
{
    arena_finish(&arena);
    config_test_teardown();
}

TestSuite(route, .init = setup, .fini = teardown);

static struct config *load(const char *text)
{
    struct config *config = load_config(text);

    cr_assert_not_null(config, "%s", error_text());
    return config;
}

/* --- sites ------------------------------------------------------------------------------------------------------ */

Test(route, sites)
{
    static const struct {
        const char *name, *url, *want; /* the origin's host; NULL: no site */
    } cases[] = {
        {"an exact host", "http://www.example.com/", "exact"},
        {"an exact host among several", "http://other.example/", "exact"},
        {"the port makes no difference", "http://www.example.com:8080/", "exact"},
        {"a path below the exact host's", "http://www.example.com/shop/a", "exact-shop"},
        {"exactly the path", "http://www.example.com/shop", "exact-shop"},
        {"a path is whole segments", "http://www.example.com/shopping", "exact"},
        {"the longest path", "http://www.example.com/shop/old/a", "exact-shop-old"},
        {"a wildcard", "http://a.example.com/", "wild"},
        {"a wildcard over two labels", "http://a.b.example.com/", "wild"},
        {"the longer wildcard", "http://a.img.example.com/", "wild-img"},
        {"a wildcard needs a label", "http://example.com/", "default"},
        {"and the dot", "http://notexample.com/", "default"},
        {"an exact host beats a wildcard with a longer path", "http://www.example.com/deep/a", "exact"},
        {"a wildcard beats no hosts with a longer path", "http://a.example.com/api/a", "wild"},
        {"where the host's path does not fit, the next best", "http://only.example.org/a", "default"},
        {"and where it does, the host", "http://only.example.org/x/a", "only"},
        {"no hosts", "http://else/", "default"},
        {"no hosts, longest path", "http://else/api", "default-api"},
        {"an IPv6 address", "http://[::1]:80/", "six"},
    };
    struct config *config =
        load("[[site]]\norigin = \"http://default\"\n"
             "[[site]]\norigin = \"http://default-api\"\npath = \"/api\"\n"
             "[[site]]\norigin = \"http://wild\"\nhosts = \"*.example.com\"\n"
             "[[site]]\norigin = \"http://wild-deep\"\nhosts = \"*.example.com\"\npath = \"/deep\"\n"
             "[[site]]\norigin = \"http://wild-img\"\nhosts = \"*.img.example.com\"\n"
             "[[site]]\norigin = \"http://exact\"\nhosts = [\"www.example.com\", \"other.example\"]\n"
             "[[site]]\norigin = \"http://exact-shop\"\nhosts = \"www.example.com\"\npath = \"/shop/\"\n"
             "[[site]]\norigin = \"http://exact-shop-old\"\nhosts = \"www.example.com\"\npath = \"/shop/old\"\n"
             "[[site]]\norigin = \"http://only\"\nhosts = \"only.example.org\"\npath = \"/x\"\n"
             "[[site]]\norigin = \"http://six\"\nhosts = \"[::1]\"\n");

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_request request = test_request(&arena, cases[i].url, "");
        const struct site *site = route_find(config, &request.uri);
        cr_assert_not_null(site, "%s", cases[i].name);
        cr_expect_str_eq(site->origins[0].host, cases[i].want, "%s: %s", cases[i].name, site->origins[0].host);
    }
    config_destroy(config);
}

Test(route, each_of_many_sites_is_found)
{
    enum { SITES = 300 };
    struct buf text;

    buf_init(&text, 1 << 20);
    for (int i = SITES; i > 0; i--) { /* not in the order in which they are looked for */
        buf_format(&text,
                   "[[site]]\norigin = \"http://exact-%d\"\nhosts = [\"h%d.example.org\", \"H%d.Example.NET\"]\n"
                   "[[site]]\norigin = \"http://deep-%d\"\nhosts = \"h%d.example.org\"\npath = \"/deep\"\n"
                   "[[site]]\norigin = \"http://wild-%d\"\nhosts = \"*.h%d.example.org\"\n",
                   i, i, i, i, i, i, i);
    }
    buf_add_byte(&text, '\0');
    struct config *config = load(text.data);

    for (int i = 1; i <= SITES; i++) {
        static const struct {
            const char *url, *want;
        } cases[] = {
            {"http://h%d.example.org/", "exact-%d"},      {"http://h%d.example.net/", "exact-%d"},
            {"http://h%d.example.org/deep/a", "deep-%d"}, {"http://a.h%d.example.org/deep/a", "wild-%d"},
            {"http://a.b.h%d.example.org/", "wild-%d"},
        };
        for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
            char url[64], want[64];
            (void)snprintf(url, sizeof url, cases[k].url, i);
            (void)snprintf(want, sizeof want, cases[k].want, i);
            struct http_request request = test_request(&arena, url, "");
            const struct site *site = route_find(config, &request.uri);
            cr_assert_not_null(site, "%s", url);
            cr_assert_str_eq(site->origins[0].host, want, "%s: %s", url, site->origins[0].host);
        }
    }
    struct http_request other = test_request(&arena, "http://h301.example.org/", "");
    cr_expect_null(route_find(config, &other.uri));
    config_destroy(config);
    buf_finish(&text);
}

Test(route, no_site)
{
    struct config *config = load("[[site]]\norigin = \"http://a\"\nhosts = \"a.b\"\npath = \"/x\"\n");
    struct http_request other_host = test_request(&arena, "http://b.a/x", "");
    struct http_request other_path = test_request(&arena, "http://a.b/y", "");

    cr_expect_null(route_find(config, &other_host.uri));
    cr_expect_null(route_find(config, &other_path.uri));
    config_destroy(config);
}

Test(route, the_asterisk_belongs_to_sites_of_every_path)
{
    struct config *config =
        load("[[site]]\norigin = \"http://api\"\npath = \"/api\"\n[[site]]\norigin = \"http://all\"\n");
    struct uri uri = {.scheme = SPAN("http"), .authority = SPAN("a"), .path = SPAN("*")};
    const struct site *site = route_find(config, &uri);

    cr_assert_not_null(site);
    cr_expect_str_eq(site->origins[0].host, "all");
    config_destroy(config);
}

/* --- rules ------------------------------------------------------------------------------------------------------ */

static const char rules[] = "[cache]\nprofile = \"rfc\"\nmax_stale = \"90s\"\nmax_heuristic = \"80s\"\n"
                            "[[site]]\norigin = \"http://a\"\n"
                            "[[site.rule]]\nname = \"missing\"\nstatuses = [404, 410]\nttl = 1\nstale_if_error = 11\n"
                            "[[site.rule]]\nname = \"images\"\ncontent_type = \"image/*\"\nttl = 2\n"
                            "[[site.rule]]\nname = \"posts\"\nmethods = [\"POST\", \"PUT\"]\nbypass = true\n"
                            "[[site.rule]]\nname = \"api\"\npath = \"/api/v?/*\"\nttl = 3\nrequest_directives = true\n"
                            "[[site.rule]]\nname = \"all\"\nttl = 4\ndefault_ttl = 44\nbypass = false\n";

struct rule_case {
    const char *name, *method, *url;
    unsigned status; /* 0: no response yet */
    const char *fields;
    const char *rule; /* that gives the ttl */
    int64_t ttl_s;
};

static struct policy policy_for(const struct config *config, const struct rule_case *one)
{
    struct http_request request = test_request(&arena, one->url, "");
    struct http_response response = test_response(&arena, one->status, one->fields);

    request.method_name = span_of(one->method);
    request.method = method_of(request.method_name);
    return route_policy(config, &config->sites[0], &request, one->status, one->status == 0 ? NULL : &response.headers);
}

Test(route, the_first_rule_that_gives_a_setting_counts)
{
    static const struct rule_case cases[] = {
        {"no condition", "GET", "http://a/", 0, "", "all", 4},
        {"a path", "GET", "http://a/api/v1/x", 0, "", "api", 3},
        {"a path that the glob does not cover", "GET", "http://a/api/v10/x", 0, "", "all", 4},
        {"a query is not part of the path", "GET", "http://a/?/api/v1/x", 0, "", "all", 4},
        {"a rule on the response waits for it", "GET", "http://a/api/v1/x", 0, "", "api", 3},
        {"a status", "GET", "http://a/api/v1/x", 410, "", "missing", 1},
        {"another status", "GET", "http://a/api/v1/x", 200, "", "api", 3},
        {"a media type", "GET", "http://a/", 200, "Content-Type: image/png\r\n", "images", 2},
        {"a media type in another case, with parameters", "GET", "http://a/", 200, "Content-Type: IMAGE/Png ; a=b\r\n",
         "images", 2},
        {"another media type", "GET", "http://a/", 200, "Content-Type: text/html\r\n", "all", 4},
        {"no media type", "GET", "http://a/", 200, "", "all", 4},
        {"an empty media type", "GET", "http://a/", 200, "Content-Type: ; a=b\r\n", "all", 4},
        {"status and media type: the first rule", "GET", "http://a/", 404, "Content-Type: image/png\r\n", "missing", 1},
        {"a rule on the method that gives no ttl", "POST", "http://a/", 0, "", "all", 4},
    };
    struct config *config = load(rules);

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct policy policy = policy_for(config, &cases[i]);
        cr_assert_not_null(policy.rule[SETTING_TTL], "%s", cases[i].name);
        cr_expect_str_eq(policy.rule[SETTING_TTL], cases[i].rule, "%s", cases[i].name);
        cr_expect_eq(policy.ttl_s, cases[i].ttl_s, "%s", cases[i].name);
        cr_expect_eq(policy.default_ttl_s, 44, "%s: other settings come from other rules", cases[i].name);
        cr_expect_eq(policy.profile, PROFILE_RFC, "%s", cases[i].name);
        cr_expect_eq(policy.max_stale_s, 90, "%s", cases[i].name);
        cr_expect_eq(policy.max_heuristic_s, 80, "%s", cases[i].name);
    }
    config_destroy(config);
}

Test(route, settings_are_taken_one_by_one)
{
    static const struct rule_case post = {"", "POST", "http://a/", 0, "", "", 0};
    static const struct rule_case missing = {"", "GET", "http://a/api/v1/x", 404, "", "", 0};
    struct config *config = load(rules);
    struct policy policy = policy_for(config, &post);

    cr_expect(policy.bypass, "the first rule that gives it");
    cr_expect_str_eq(policy.rule[SETTING_BYPASS], "posts");
    cr_expect_null(policy.rule[SETTING_STALE_IF_ERROR], "a setting that no rule gives");
    cr_expect_null(policy.rule[SETTING_REQUEST_DIRECTIVES]);
    policy = policy_for(config, &missing);
    cr_expect_not(policy.bypass, "given as false");
    cr_expect_str_eq(policy.rule[SETTING_BYPASS], "all");
    cr_expect_eq(policy.stale_if_error_s, 11);
    cr_expect(policy.request_directives);
    cr_expect_str_eq(policy.rule[SETTING_REQUEST_DIRECTIVES], "api");
    config_destroy(config);
}

/* --- what rules do to the request ------------------------------------------------------------------------------- */

static const char *rewritten(const struct config *config, const char *url, const char *fields,
                             struct http_request *out_request)
{
    struct span text;

    *out_request = test_request(&arena, url, fields);
    cr_assert(route_rewrite_request(&config->sites[0], out_request, &arena));
    cr_assert(uri_path_and_query(&out_request->uri, &arena, &text));
    return test_text(text, &arena);
}

Test(route, query_parameters)
{
    static const struct {
        const char *name, *url, *want;
    } cases[] = {
        {"a parameter by name", "http://a/?ref=1&x=2", "/?x=2"},
        {"parameters by glob", "http://a/?sess_a=1&x=2&sess_b=3", "/?x=2"},
        {"what is left is sorted", "http://a/?b=2&a=1", "/?a=1&b=2"},
        {"nothing is left", "http://a/?ref=1", "/"},
        {"tracking parameters", "http://a/?utm_source=a&utm_medium=b&gclid=c&fbclid=d&msclkid=e&mc_cid=f&_ga=g&x=1",
         "/?x=1"},
        {"names that only begin alike", "http://a/?gclidx=1&refer=2", "/?gclidx=1&refer=2"},
        {"no query", "http://a/p", "/p"},
        {"another rule came first: it decides about all three", "http://a/raw/?ref=1&b=2&a=1&utm_source=x",
         "/raw/?ref=1&b=2&a=1&utm_source=x"},
    };
    struct config *config =
        load("[[site]]\norigin = \"http://a\"\n"
             "[[site.rule]]\nname = \"raw\"\npath = \"/raw/*\"\nsort_query = false\n"
             "[[site.rule]]\nname = \"all\"\nstrip_query = [\"ref\", \"sess_*\"]\nstrip_tracking = true\n"
             "sort_query = true\n");

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_request request;
        const char *got = rewritten(config, cases[i].url, "", &request);
        cr_expect_str_eq(got, cases[i].want, "%s: %s", cases[i].name, got);
    }
    config_destroy(config);
}

Test(route, accept_encoding)
{
    static const struct {
        const char *name, *fields, *want;
    } cases[] = {
        {"a browser", "Accept-Encoding: gzip, deflate, br\r\n", "br"},
        {"an older one", "Accept-Encoding: gzip, deflate\r\n", "gzip"},
        {"upper case", "Accept-Encoding: GZIP\r\n", "gzip"},
        {"the old name", "Accept-Encoding: x-gzip\r\n", "gzip"},
        {"nothing said", "", ""},
        {"an empty field", "Accept-Encoding: \r\n", ""},
        {"only others", "Accept-Encoding: deflate, zstd\r\n", ""},
        {"identity", "Accept-Encoding: identity\r\n", ""},
        {"br refused", "Accept-Encoding: br;q=0, gzip\r\n", "gzip"},
        {"both refused", "Accept-Encoding: br;q=0, gzip;q=0\r\n", ""},
        {"gzip preferred", "Accept-Encoding: br;q=0.5, gzip;q=0.8\r\n", "gzip"},
        {"anything", "Accept-Encoding: *\r\n", "br"},
        {"anything but br", "Accept-Encoding: *, br;q=0\r\n", "gzip"},
        {"nothing at all", "Accept-Encoding: *;q=0\r\n", ""},
        {"two lines", "Accept-Encoding: gzip\r\nAccept-Encoding: br\r\n", "br"},
        {"a malformed quality is none", "Accept-Encoding: br;q=high, gzip\r\n", "gzip"},
    };
    struct config *config =
        load("[[site]]\norigin = \"http://a\"\n[[site.rule]]\nname = \"r\"\nnormalize_accept_encoding = true\n");

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_request request;
        (void)rewritten(config, "http://a/", cases[i].fields, &request);
        struct span got = headers_value(&request.headers, SPAN("Accept-Encoding"));
        cr_expect(span_equal(got, span_of(cases[i].want)), "%s: \"%.*s\"", cases[i].name, SPAN_ARG(got));
        cr_expect_eq(headers_count_of(&request.headers, SPAN("Accept-Encoding")), 1, "%s: one line", cases[i].name);
    }
    config_destroy(config);
}

Test(route, request_fields)
{
    static const struct {
        const char *name, *url, *want;
    } cases[] = {
        {"fields by name, all lines, ignoring case", "http://a/", "X-Keep: 1\r\n"},
        {"an empty list in an earlier rule keeps them", "http://a/keep/",
         "Cookie: a\r\nX-Keep: 1\r\ncookie: b\r\nX-Trace: 2\r\n"},
        {"rules that do not match do nothing", "http://a/keep", "X-Keep: 1\r\n"},
    };
    struct config *config = load("[[site]]\norigin = \"http://a\"\n"
                                 "[[site.rule]]\nname = \"keep\"\npath = \"/keep/*\"\nstrip_request_fields = []\n"
                                 "[[site.rule]]\nname = \"all\"\nstrip_request_fields = [\"Cookie\", \"x-trace\"]\n");

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_request request;
        (void)rewritten(config, cases[i].url, "Cookie: a\r\nX-Keep: 1\r\ncookie: b\r\nX-Trace: 2\r\n", &request);
        const char *got = test_headers_text(&request.headers, &arena);
        cr_expect_not_null(strstr(got, cases[i].want), "%s: %s", cases[i].name, got);
        if (strchr(cases[i].want, 'C') == NULL) {
            cr_expect_null(strstr(got, "ookie"), "%s: %s", cases[i].name, got);
        }
    }
    config_destroy(config);
}

Test(route, without_rules_nothing_changes)
{
    struct config *config = load("[[site]]\norigin = \"http://a\"\n");
    struct http_request request;

    cr_expect_str_eq(
        rewritten(config, "http://a/?b=1&a=2&utm_source=x", "Accept-Encoding: zstd\r\nCookie: a\r\n", &request),
        "/?b=1&a=2&utm_source=x");
    cr_expect(span_equal(headers_value(&request.headers, SPAN("Accept-Encoding")), SPAN("zstd")));
    cr_expect(headers_has(&request.headers, SPAN("Cookie")));
    config_destroy(config);
}

Test(route, an_arena_at_its_limit)
{
    struct config *config = load("[[site]]\norigin = \"http://a\"\n[[site.rule]]\nname = \"r\"\nsort_query = true\n");
    struct http_request request = test_request(&arena, "http://a/?b=1&a=2", "");
    struct arena small;

    arena_init(&small, 8);
    cr_expect_not(route_rewrite_request(&config->sites[0], &request, &small));
    arena_finish(&small);
    config_destroy(config);
}
