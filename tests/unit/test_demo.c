/* test_demo.c: what the demo origin answers. */
#include <criterion/criterion.h>
#include <string.h>

#include "proxy/commands/demo_site.h"
#include "tests/unit/support.h"

enum { NOW_S = 1800000001 };

static struct arena arena;
static struct buf out;

static void setup(void)
{
    arena = test_arena();
    buf_init(&out, 65536);
}

static void teardown(void)
{
    buf_finish(&out);
    arena_finish(&arena);
}

TestSuite(demo, .init = setup, .fini = teardown);

static struct http_request request_for(const char *method, const char *target, const char *fields)
{
    struct http_request request = {
        .method = method_of(span_of(method)), .method_name = span_of(method), .target = span_of(target), .minor = 1};

    request.headers = test_headers(&arena, fields);
    return request;
}

static const char *answer_at(int64_t now_s, const char *method, const char *target, const char *fields)
{
    struct http_request request = request_for(method, target, fields);

    buf_clear(&out);
    demo_site_answer(&request, now_s, DEMO_KEEP_ALIVE, &arena, &out);
    buf_add_byte(&out, '\0');
    cr_assert_not(out.failed);
    return out.data;
}

static bool has(const char *answer, const char *part)
{
    return strstr(answer, part) != NULL;
}

Test(demo, resources)
{
    static const struct {
        const char *target, *status, *cache_control; /* NULL: none */
        bool etag, last_modified;
    } cases[] = {
        {"/", "200 OK", "max-age=60", true, false},
        {"/?utm_source=x", "200 OK", "max-age=60", true, false},
        {"/style.css", "200 OK", "max-age=300", true, true},
        {"/logo.svg", "200 OK", "max-age=31536000, immutable", true, false},
        {"/api/items", "200 OK", "max-age=5, stale-while-revalidate=30", true, false},
        {"/feed.xml", "200 OK", "max-age=30", false, true},
        {"/clock", "200 OK", "max-age=2", true, false},
        {"/only-last-modified", "200 OK", NULL, false, true},
        {"/no-validator", "200 OK", NULL, false, false},
        {"/cached-demo", "200 OK", "max-age=10", true, false},
        {"/private", "200 OK", "private, max-age=60", true, false},
        {"/error", "500 Internal Server Error", NULL, false, false},
        {"/nowhere", "404 Not Found", NULL, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *answer = answer_at(NOW_S, "GET", cases[i].target, "");
        char want[256];
        (void)snprintf(want, sizeof want, "HTTP/1.1 %s\r\n", cases[i].status);
        cr_expect_eq(strncmp(answer, want, strlen(want)), 0, "%s: %s", cases[i].target, answer);
        (void)snprintf(want, sizeof want, "\r\nCache-Control: %s\r\n", cases[i].cache_control);
        cr_expect_eq(has(answer, cases[i].cache_control != NULL ? want : "\r\nCache-Control: "),
                     cases[i].cache_control != NULL, "%s", cases[i].target);
        cr_expect_eq(has(answer, "\r\nETag: "), cases[i].etag, "%s", cases[i].target);
        cr_expect_eq(has(answer, "\r\nLast-Modified: "), cases[i].last_modified, "%s", cases[i].target);
    }
}

Test(demo, conditions)
{
    static const struct {
        const char *name, *target, *fields;
        bool not_modified;
    } cases[] = {
        {"the right tag", "/cached-demo", "If-None-Match: \"demo-v1\"\r\n", true},
        {"the right tag in a list", "/cached-demo", "If-None-Match: \"x\", W/\"demo-v1\"\r\n", true},
        {"another tag", "/cached-demo", "If-None-Match: \"demo-v2\"\r\n", false},
        {"any tag", "/cached-demo", "If-None-Match: *\r\n", true},
        {"the right date", "/only-last-modified", "If-Modified-Since: Sat, 01 Jun 2024 12:00:00 GMT\r\n", true},
        {"a later date", "/only-last-modified", "If-Modified-Since: Sun, 02 Jun 2024 12:00:00 GMT\r\n", true},
        {"an earlier date", "/only-last-modified", "If-Modified-Since: Sat, 01 Jun 2024 11:59:59 GMT\r\n", false},
        {"another tag beats the right date", "/style.css",
         "If-None-Match: \"x\"\r\nIf-Modified-Since: Sat, 01 Jun 2024 12:00:00 GMT\r\n", false},
        {"a date where there is none", "/cached-demo", "If-Modified-Since: Fri, 15 Jan 2027 08:00:01 GMT\r\n", false},
        {"a tag where there is none", "/no-validator", "If-None-Match: *\r\n", false},
        {"an error is an error", "/error", "If-None-Match: *\r\n", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *answer = answer_at(NOW_S, "GET", cases[i].target, cases[i].fields);
        cr_expect_eq(has(answer, "HTTP/1.1 304 "), cases[i].not_modified, "%s: %s", cases[i].name, answer);
        if (cases[i].not_modified) {
            cr_expect_not(has(answer, "Content-Length"), "%s: %s", cases[i].name, answer);
            cr_expect_str_eq(strstr(answer, "\r\n\r\n"), "\r\n\r\n", "%s: no body", cases[i].name);
        }
    }
}

Test(demo, the_clock_ticks)
{
    const char *first = strdup(answer_at(NOW_S, "GET", "/clock", ""));

    cr_expect(has(first, "ETag: \"clock-360000000\""), "%s", first);
    cr_expect(has(answer_at(NOW_S + 3, "GET", "/clock", "If-None-Match: \"clock-360000000\"\r\n"), " 304 "),
              "within five seconds");
    cr_expect(has(answer_at(NOW_S + 4, "GET", "/clock", "If-None-Match: \"clock-360000000\"\r\n"),
                  "ETag: \"clock-360000001\""),
              "after five seconds");
    free((void *)first);
}

Test(demo, head_and_other_methods)
{
    const char *answer = answer_at(NOW_S, "HEAD", "/cached-demo", "");

    cr_expect(has(answer, "HTTP/1.1 200 OK\r\n") && has(answer, "Content-Length: 24\r\n"), "%s", answer);
    cr_expect_str_eq(strstr(answer, "\r\n\r\n"), "\r\n\r\n", "no body");
    answer = answer_at(NOW_S, "POST", "/cached-demo", "");
    cr_expect(has(answer, "HTTP/1.1 405 ") && has(answer, "Allow: GET, HEAD\r\n"), "%s", answer);
}

Test(demo, what_follows_is_said)
{
    struct http_request request = request_for("GET", "/", "");

    demo_site_answer(&request, NOW_S, DEMO_CLOSE, &arena, &out);
    buf_add_byte(&out, '\0');
    cr_expect(has(out.data, "\r\nConnection: close\r\n"));
    cr_expect_not(has(answer_at(NOW_S, "GET", "/", ""), "\r\nConnection: "), "1.1 stays open");
    request.minor = 0;
    buf_clear(&out);
    demo_site_answer(&request, NOW_S, DEMO_KEEP_ALIVE, &arena, &out);
    buf_add_byte(&out, '\0');
    cr_expect(has(out.data, "\r\nConnection: keep-alive\r\n"), "1.0 has to be told");
}
