/* test_warm_urls.c: where `larder warm` gets its URLs from, and what it reads in the answers. */
#include <criterion/criterion.h>

#include "proxy/commands/warm_client.h"
#include "proxy/commands/warm_urls.h"
#include "tests/unit/support.h"

static struct warm_urls urls, nested;

static void setup(void)
{
    warm_urls_init(&urls);
    warm_urls_init(&nested);
}

static void teardown(void)
{
    warm_urls_finish(&urls);
    warm_urls_finish(&nested);
}

TestSuite(warm_urls, .init = setup, .fini = teardown);

/* All of them, host and target each, with a space between, and "+" before those of https. */
static void expect(const struct warm_urls *set, const char *want)
{
    struct buf got;

    buf_init(&got, 1 << 20);
    for (size_t i = 0; i < set->count; i++) {
        buf_format(&got, "%s%s%.*s%.*s", i > 0 ? " " : "", set->items[i].secure ? "+" : "",
                   SPAN_ARG(set->items[i].host), SPAN_ARG(set->items[i].target));
    }
    cr_expect(span_equal(buf_span(&got), span_of(want)), "%.*s, expected %s", SPAN_ARG(buf_span(&got)), want);
    buf_finish(&got);
}

static FILE *file_of(const char *text)
{
    FILE *file = tmpfile();

    cr_assert(file != NULL && fputs(text, file) >= 0);
    rewind(file);
    return file;
}

Test(warm_urls, each_once)
{
    cr_assert_eq(warm_urls_add(&urls, SPAN("http://a/b?c#d")), ERR_OK);
    cr_assert_eq(warm_urls_add(&urls, SPAN("http://A:80/b?c")), ERR_OK);
    cr_assert_eq(warm_urls_add(&urls, SPAN("https://a/b?c")), ERR_OK);
    cr_assert_eq(warm_urls_add(&urls, SPAN("http://a:81")), ERR_OK);
    cr_assert_eq(warm_urls_add(&urls, SPAN("HTTPS://a:443/b?c")), ERR_OK);
    expect(&urls, "a/b?c +a/b?c a:81/");
    cr_expect_neq(warm_urls_add(&urls, SPAN("/b")), ERR_OK);
    cr_expect_neq(warm_urls_add(&urls, SPAN("")), ERR_OK);
    cr_expect_neq(warm_urls_add(&urls, SPAN("ftp://a/")), ERR_OK);
}

Test(warm_urls, many)
{
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5000; i++) {
            char text[64];
            (void)snprintf(text, sizeof text, "http://a/%d", i);
            cr_assert_eq(warm_urls_add(&urls, span_of(text)), ERR_OK);
        }
    }
    cr_expect_eq(urls.count, 5000);
    cr_expect(span_equal(urls.items[4999].target, SPAN("/4999")));
}

Test(warm_urls, lists)
{
    FILE *file = file_of("# mine\n\nhttp://a/1\r\n  http://a/2  \nnonsense\nhttp://a/3");

    cr_expect_eq(warm_urls_read_list(&urls, file), ERR_OK);
    expect(&urls, "a/1 a/2 a/3");
    cr_expect_eq(urls.skipped, 1);
    (void)fclose(file);
}

Test(warm_urls, logs)
{
    FILE *file = file_of("{\"method\":\"GET\",\"host\":\"a.test\",\"target\":\"/1?x=\\\"\"}\n"
                         "{\"method\":\"GET\",\"scheme\":\"https\",\"host\":\"a.test\",\"target\":\"/2\"}\n"
                         "{\"method\":\"POST\",\"host\":\"a.test\",\"target\":\"/3\"}\n"
                         "{\"method\":\"HEAD\",\"host\":\"a.test\",\"target\":\"http://b.test/4\"}\n"
                         "{\"target\":\"/5\"}\n{broken\n"
                         "::1 - - [01/Jan/2026:00:00:00 +0000] \"GET /6 HTTP/1.1\" 200 5 \"-\" \"agent\"\n"
                         "::1 - - [01/Jan/2026:00:00:00 +0000] \"POST /7 HTTP/1.1\" 200 5 \"-\" \"agent\"\n"
                         "::1 - - [01/Jan/2026:00:00:00 +0000] \"-\" 400 5 \"-\" \"-\"\nnothing\n");

    cr_expect_eq(warm_urls_read_log(&urls, file, SPAN("c.test")), ERR_OK);
    expect(&urls, "a.test/1?x=\" +a.test/2 b.test/4 c.test/6");
    cr_expect_eq(urls.skipped, 4, "%llu", (unsigned long long)urls.skipped);
    (void)fclose(file);
}

Test(warm_urls, combined_logs_need_a_host)
{
    FILE *file = file_of("::1 - - [01/Jan/2026:00:00:00 +0000] \"GET /6 HTTP/1.1\" 200 5 \"-\" \"agent\"\n");

    cr_expect_eq(warm_urls_read_log(&urls, file, SPAN("")), ERR_OK);
    cr_expect(urls.count == 0 && urls.skipped == 1);
    (void)fclose(file);
}

Test(warm_urls, sitemaps)
{
    static const char sitemap[] =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\" "
        "xmlns:image=\"x\"><url><loc>\n http://a/1?x=1&amp;y=2 </loc><lastmod>2026-01-01</lastmod><image:image>"
        "<image:loc>http://a/no.png</image:loc></image:image></url><url><loc><![CDATA[https://a/2]]></loc></url>"
        "<url><loc>nonsense</loc></url></urlset>";
    static const char index[] = "<sitemapindex xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\"><sitemap>"
                                "<loc>http://a/s1.xml</loc></sitemap><sitemap><loc>http://a/s2.xml</loc></sitemap>"
                                "</sitemapindex>";

    cr_expect_eq(warm_urls_read_sitemap(&urls, span_of(sitemap), &nested), ERR_OK);
    expect(&urls, "a/1?x=1&y=2 +a/2");
    cr_expect(urls.skipped == 1 && nested.count == 0);
    cr_expect_eq(warm_urls_read_sitemap(&urls, span_of(index), &nested), ERR_OK);
    expect(&nested, "a/s1.xml a/s2.xml");
    cr_expect_eq(urls.count, 2);
}

Test(warm_urls, what_is_no_sitemap)
{
    static const char *const texts[] = {
        "", "hello", "<html/>", "<urlset><url>", "<urlset></urlset><x>", "\x1f\x8b\x08"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cr_expect_eq(warm_urls_read_sitemap(&urls, span_of(texts[i]), &nested), ERR_BAD_RESPONSE, "%s", texts[i]);
    }
}

Test(warm_urls, cache_status)
{
    static const struct {
        const char *value, *detail;
        bool hit, stored;
    } cases[] = {
        {"larder; hit; ttl=300; detail=fresh", "fresh", true, false},
        {"larder; fwd=uri-miss; fwd-status=200; stored; ttl=300; detail=stored", "stored", false, true},
        {"larder; fwd=bypass; fwd-status=200; detail=\"bypass-rule checkout; hit\"", "bypass-rule", false, false},
        {"larder", "", false, false},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct warm_answer answer = {.hit = true};
        struct headers headers;
        headers_init(&headers, &arena);
        cr_assert(headers_add(&headers, SPAN("Cache-Status"), SPAN("origin; hit; detail=x")) &&
                  headers_add(&headers, SPAN("Cache-Status"), span_of(cases[i].value)));
        warm_read_cache_status(&headers, &answer);
        cr_expect_str_eq(answer.detail, cases[i].detail, "%s", cases[i].value);
        cr_expect(answer.hit == cases[i].hit && answer.stored == cases[i].stored, "%s", cases[i].value);
    }
    arena_finish(&arena);
}
