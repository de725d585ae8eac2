/* test_check_tests.c: the tests of a configuration: what they may say, that they are run by the functions that serve,
 * and how a difference is told. */
#include <criterion/criterion.h>

#include "proxy/why/check_tests.h"
#include "tests/unit/config_support.h"

#define SITE     "[[site]]\norigin = \"http://a\"\n"
#define TEST     SITE "[[test]]\nname = \"t\"\nrequest = \"http://h/a\"\n"
#define RESPONSE TEST "response = { headers = [\"Cache-Control: max-age=60\", \"Vary: A\"] }\n"

TestSuite(check_tests, .init = config_test_setup, .fini = config_test_teardown);

struct test_case {
    const char *name, *text, *want; /* want: the error; NULL: none */
};

static void expect_cases(const struct test_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct config *config = load_config(cases[i].text);
        bool good = config != NULL && check_tests(config, &test_error);
        cr_expect_eq(good, cases[i].want == NULL, "%s: %s", cases[i].name, error_text());
        if (!good && cases[i].want != NULL) {
            cr_expect_str_eq(error_text(), cases[i].want, "%s: %s", cases[i].name, error_text());
        }
        config_destroy(config);
    }
}

Test(check_tests, what_cannot_be_read)
{
    static const struct test_case cases[] = {
        {"a test without name", SITE "[[test]]\nrequest = \"http://h/\"\n",
         "larder.toml:3:1: test[1].name: missing, expected a name for what this test is about"},
        {"a test without request", SITE "[[test]]\nname = \"t\"\n",
         "larder.toml:3:1: test[1].request: missing, expected a request such as \"GET http://www.example.com/\""},
        {"a request that is none", SITE "[[test]]\nname = \"t\"\nrequest = \"GET /a\"\n",
         "larder.toml:5:11: test[1].request: expected a request such as \"GET http://www.example.com/\", found \"GET "
         "/a\""},
        {"a field without colon", TEST "headers = \"Cookie\"\n",
         "larder.toml:6:11: test[1].headers: expected fields such as \"Accept-Encoding: gzip\", found \"Cookie\""},
        {"a slip in a reason", TEST "expect = { reason = \"uri-mis\" }\n",
         "larder.toml:6:21: test[1].expect.reason: unknown reason, did you mean \"uri-miss\"?"},
        {"an answer that is none", TEST "expect = { answer = \"miss\" }\n",
         "larder.toml:6:21: test[1].expect.answer: expected \"hit\", \"hit-revalidate\", \"revalidate\", \"fetch\", "
         "\"pass\" or \"reply\", found \"miss\""},
        {"an expectation that is none", TEST "expect = true\n",
         "larder.toml:6:10: test[1].expect: expected a table, found true"},
        {"a slip in a later one", TEST "[[test.later]]\nafterr = 1\n",
         "larder.toml:7:1: test[1].later[1].afterr: unknown key, did you mean \"after\"?"},
        {"what only the first answer has", TEST "[[test.later]]\nexpect = { stored = true }\n",
         "larder.toml:7:12: test[1].later[1].expect.stored: unknown key here, did you mean test.expect.stored?"},
    };
    expect_cases(cases, ARRAY_LEN(cases));
}

Test(check_tests, what_holds)
{
    static const struct test_case cases[] = {
        {"nothing is expected", TEST, NULL},
        {"a response is stored and hit",
         RESPONSE
         "expect = { answer = \"fetch\", stored = true, lifetime = 60, key = \"GET http://h/a\", site = \"default\" }\n"
         "later = [{ after = 59, expect = { answer = \"hit\", reason = \"fresh\", status = 200 } },\n"
         "{ after = 60, expect = { answer = \"revalidate\", reason = \"stale\" } },\n"
         "{ after = 1, headers = \"A: b\", expect = { answer = \"fetch\", reason = \"vary-miss\" } },\n"
         "{ after = 1, request = \"HEAD http://H:80/a\", expect = { answer = \"hit\" } },\n"
         "{ after = 1, request = \"POST http://h/a\", expect = { answer = \"pass\", reason = \"method\" } },\n"
         "{ after = 1, request = \"http://h/b\", expect = { answer = \"fetch\", reason = \"uri-miss\" } }]\n",
         NULL},
        {"Last-Modified before the Date of the response (RFC 9111 4.2.2)",
         TEST
         "response = { headers = [\"Date: Sun, 06 Nov 1994 08:49:37 GMT\", \"Last-Modified: Sun, 06 Nov 1994 08:32:57 "
         "GMT\"] }\nexpect = { lifetime = 100 }\nlater = [{ after = 99, expect = { reason = \"fresh-heuristic\" } }]\n",
         NULL},
        {"a length beyond what is stored",
         TEST "response = { length = \"600MiB\", headers = \"Cache-Control: max-age=9\" "
              "}\nexpect = { stored = false, reason = \"too-large\" }\n",
         NULL},
        {"a request that is refused",
         SITE "[[test]]\nname = \"t\"\nrequest = \"http://h/%zz\"\nexpect = { answer = \"reply\", status = 400 }\n",
         NULL},
        {"a part of a response (RFC 9111 3.3)",
         SITE "[[test]]\nname = \"t\"\nrequest = \"http://h/a\"\nheaders = \"Range: bytes=0-4\"\n"
              "response = { status = 206, headers = [\"Cache-Control: max-age=60\", 'ETag: \"v\"', "
              "\"Content-Range: bytes 0-4/10\"] }\nexpect = { stored = true, status = 206, lifetime = 60 }\n"
              "later = [{ after = 1, expect = { answer = \"hit\", status = 206 } },\n"
              "{ after = 1, headers = \"Range: bytes=3-9\", expect = { answer = \"fetch\", reason = \"partial\" } }]\n",
         NULL},
        {"what the client holds already (RFC 9110 13.1.2)",
         SITE "[[test]]\nname = \"t\"\nrequest = \"http://h/a\"\nheaders = 'If-None-Match: \"v\"'\n"
              "response = { headers = [\"Cache-Control: max-age=60\", 'ETag: \"v\"'] }\n"
              "expect = { stored = true, status = 304 }\nlater = [{ after = 1, expect = { status = 304 } },\n"
              "{ after = 1, headers = 'If-None-Match: \"w\"', expect = { status = 200 } }]\n",
         NULL},
        {"ranges of a response with a length (RFC 9110 14.2)",
         SITE "[[test]]\nname = \"t\"\nrequest = \"http://h/a\"\nheaders = \"Range: bytes=0-4\"\n"
              "response = { headers = [\"Cache-Control: max-age=60\"], length = 10 }\n"
              "expect = { stored = true, status = 206 }\nlater = [{ after = 1, expect = { status = 206 } },\n"
              "{ after = 1, headers = \"Range: bytes=10-\", expect = { status = 416 } }]\n",
         NULL},
        {"a HEAD asks with GET (RFC 9110 9.3.2)",
         SITE
         "[[test]]\nname = \"t\"\nrequest = \"HEAD http://h/a\"\n"
         "response = { headers = [\"Cache-Control: max-age=60\"], length = 10 }\n"
         "expect = { answer = \"fetch\", stored = true }\nlater = [{ after = 1, request = \"http://h/a\", expect = { "
         "answer = \"hit\" } }]\n",
         NULL},
        {"a rule without a name",
         SITE "[[site.rule]]\nttl = 9\n[[test]]\nname = \"t\"\nrequest = \"http://h/a\"\nresponse = { status = 200 }\n"
              "expect = { stored = true, rule = \"rule-1\" }\n",
         NULL},
        {"a method that is passed",
         SITE "[[test]]\nname = \"t\"\nrequest = \"DELETE http://h/\"\nresponse = { status = "
              "204 }\nexpect = { answer = \"pass\", reason = \"method\", stored = false, status = 204 }\n",
         NULL},
    };
    expect_cases(cases, ARRAY_LEN(cases));
}

Test(check_tests, every_difference_is_told)
{
    static const struct test_case cases[] = {
        {"a cookie",
         TEST "response = { headers = [\"Set-Cookie: a=b\", \"Cache-Control: max-age=60\"] }\n"
              "expect = { stored = true, rule = \"r\" }\n",
         "larder.toml:7: test \"t\": stored: expected true, is false (set-cookie: it sets a cookie, and no rule allows "
         "storing that)\n"
         "larder.toml:7: test \"t\": rule: expected \"r\", is none (set-cookie: it sets a cookie, and no rule allows "
         "storing that)"},
        {"two tests, and a later request",
         RESPONSE
         "expect = { lifetime = 61 }\nlater = [{ after = 60, expect = { answer "
         "= \"hit\" } }]\n[[test]]\nname = \"u\"\nrequest = \"http://h/\"\nexpect = { key = \"GET http://h/x\", site = "
         "\"h\" }\n",
         "larder.toml:7: test \"t\": lifetime: expected 61 s, is 60 s\n"
         "larder.toml:8: test \"t\", 60 s later: answer: expected \"hit\", is \"revalidate\" (stale: the stored "
         "response "
         "is stale)\n"
         "larder.toml:12: test \"u\": site: expected \"h\", is \"default\" (uri-miss: nothing is stored for this URI)\n"
         "larder.toml:12: test \"u\": key: expected \"GET http://h/x\", is \"GET http://h/\""},
        {"stale use that never happens (RFC 9111 4.2.4)",
         TEST "response = { headers = [\"Cache-Control: max-age=9, must-revalidate, stale-while-revalidate=5\"] }\n"
              "expect = { stale_if_error = 8, stale_while_revalidate = 5 }\n",
         "larder.toml:7: test \"t\": stale_while_revalidate: expected 5 s, is 0 s: never stale after must-revalidate\n"
         "larder.toml:7: test \"t\": stale_if_error: expected 8 s, is 0 s: never stale after must-revalidate"},
        {"each at its own line",
         TEST "[test.response]\nstatus = 500\n[test.expect]\nreason = \"not-stored-status\"\n\nstored = true\n"
              "stale_if_error = 1\n",
         "larder.toml:11: test \"t\": stored: expected true, is false (not-stored-status: this status is not stored "
         "without explicit freshness)\n"
         "larder.toml:12: test \"t\": stale_if_error: expected one, and nothing is stored (not-stored-status: this "
         "status is not stored without explicit freshness)"},
        {"fields on their way",
         TEST "headers = [\"A: 1\", \"B: 2\"]\nexpect = { forwarded = [\"A: 2\", \"C: 1\"], "
              "removed = \"B\" }\n",
         "larder.toml:7: test \"t\": forwarded: expected A to be \"2\", is \"1\"\n"
         "larder.toml:7: test \"t\": forwarded: expected \"C: 1\", the field is not sent\n"
         "larder.toml:7: test \"t\": removed: expected B not to be sent, it is"},
        {"a lifetime of what is not stored", TEST "response = { status = 500 }\nexpect = { lifetime = 1 }\n",
         "larder.toml:7: test \"t\": lifetime: expected one, and nothing is stored (not-stored-status: this status is "
         "not "
         "stored without explicit freshness)"},
        {"no response to judge by",
         TEST
         "expect = { stored = true, status = 200, lifetime = 1 }\nlater = [{ after = 1, expect = { status = 200 } }]\n",
         "larder.toml:6: test \"t\": stored: expected true, and what the origin answers is not said: give a "
         "[test.response]\n"
         "larder.toml:6: test \"t\": status: expected 200, is the origin's, and what it answers is not said: give a "
         "[test.response]\n"
         "larder.toml:6: test \"t\": lifetime: expected one, and what the origin answers is not said: give a "
         "[test.response]\n"
         "larder.toml:7: test \"t\", 1 s later: status: expected 200, is the origin's, and what it answers later is "
         "not "
         "known"},
        {"a range of what has no length",
         RESPONSE
         "later = [{ after = 1, headers = \"Range: bytes=0-4\", expect = { reason = \"fresh\", status = 206 } }]\n",
         "larder.toml:7: test \"t\", 1 s later: status: expected 206, is 200 (fresh: the stored response is fresh); of "
         "a "
         "response without length there are no ranges"},
        {"a response that is none", TEST "response = { headers = [\"Content-Length: x\"] }\n",
         "larder.toml:3: test \"t\": response: no client would get such a response: Content-Length is malformed or "
         "contradicts itself"},
        {"a host that is none", SITE "[[test]]\nname = \"t\"\nrequest = \"http:///\"\n",
         "larder.toml:3: test \"t\": request: expected a URL such as \"http://www.example.com/\", found \"http:///\""},
    };
    expect_cases(cases, ARRAY_LEN(cases));
}

/* More differences than the error has room for are counted, and each test is run. */
Test(check_tests, differences_without_end)
{
    struct buf text;

    buf_init(&text, 1 << 20);
    buf_add_text(&text, SITE);
    for (int i = 0; i < 500; i++) {
        buf_add_text(&text, "[[test]]\nname = \"t\"\nrequest = \"http://h/\"\nexpect = { answer = \"hit\" }\n");
    }
    buf_add_byte(&text, '\0');
    struct config *config = load_config(text.data);
    cr_assert_not_null(config, "%s", error_text());
    cr_expect_not(check_tests(config, &test_error));
    cr_expect_not(test_error.failed);
    cr_expect_not_null(strstr(error_text(), " more differences"), "%s", error_text());
    config_destroy(config);
    buf_finish(&text);
}
