/* test_log.c: the lines of the process log, and the quoting of outside text. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <regex.h>
#include <string.h>
#include <unistd.h>

#include "proxy/io/log.h"

static int pipe_ends[2];
static int saved_stderr;
static char text[16384];

static void setup(void)
{
    cr_assert_eq(pipe(pipe_ends), 0);
    cr_assert_eq(fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK), 0);
    saved_stderr = dup(STDERR_FILENO);
    cr_assert_eq(dup2(pipe_ends[1], STDERR_FILENO), STDERR_FILENO);
}

static void teardown(void)
{
    (void)dup2(saved_stderr, STDERR_FILENO);
    (void)close(saved_stderr);
    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
    log_set_level(LOG_INFO);
}

TestSuite(log, .init = setup, .fini = teardown);

/* What was written since the last call, "" for nothing. */
static const char *written(void)
{
    ssize_t len = read(pipe_ends[0], text, sizeof text - 1);

    text[len > 0 ? len : 0] = '\0';
    return text;
}

static bool matches(const char *line, const char *pattern)
{
    regex_t regex;

    cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    bool found = regexec(&regex, line, 0, NULL, 0) == 0;
    regfree(&regex);
    return found;
}

Test(log, a_line_has_time_level_and_message)
{
    log_warn("origin unreachable origin=%s", "127.0.0.1:3000");
    cr_expect(matches(written(),
                      "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z warn  origin unreachable "
                      "origin=127\\.0\\.0\\.1:3000\n$"),
              "%s", text);
    log_error("a");
    cr_expect(matches(written(), "Z error a\n$"), "%s", text);
}

Test(log, levels)
{
    static const struct {
        enum log_level shown;
        const char *want;
    } cases[] = {{LOG_ERROR, "E"}, {LOG_WARN, "EW"}, {LOG_INFO, "EWI"}, {LOG_DEBUG, "EWID"}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char seen[8] = "";
        size_t count = 0;
        log_set_level(cases[i].shown);
        log_error("E");
        log_warn("W");
        log_info("I");
        log_debug("D");
        for (const char *at = written(); *at != '\0'; at++) {
            if (at[1] == '\n' && count + 1 < sizeof seen) {
                seen[count++] = *at;
            }
        }
        cr_expect_str_eq(seen, cases[i].want);
    }
}

Test(log, nothing_forges_a_second_line)
{
    log_info("a\nb\tc%c", 0x7f);
    cr_expect(matches(written(), " a\\?b\\?c\\?\n$"), "%s", text);
}

Test(log, long_lines_are_cut)
{
    static char long_text[5000];

    memset(long_text, 'x', sizeof long_text - 1);
    log_info("%s", long_text);
    cr_expect_eq(strlen(written()), 2048, "a line is 2 KiB at most");
    cr_expect_eq(text[2047], '\n', "and ends as every line");
}

Test(log, quoted)
{
    static const struct {
        const char *name;
        struct span text;
        const char *want;
    } cases[] = {
        {"plain text", SPAN_INIT("GET /a b"), "\"GET /a b\""},
        {"nothing", SPAN_INIT(""), "\"\""},
        {"quotes and backslashes", SPAN_INIT("a\"b\\c"), "\"a\\\"b\\\\c\""},
        {"controls", SPAN_INIT("a\r\n\t\0"), "\"a\\x0d\\x0a\\x09\\x00\""},
        {"bytes beyond ASCII", SPAN_INIT("\xc3\xa4\x7f"), "\"\\xc3\\xa4\\x7f\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_str_eq(log_quoted(cases[i].text).text, cases[i].want, "%s", cases[i].name);
    }
}

Test(log, quoted_text_is_cut_at_its_room)
{
    char raw[600];

    for (size_t fill = 0; fill < 2; fill++) {
        memset(raw, fill == 0 ? 'x' : '\n', sizeof raw);
        for (size_t len = 0; len <= sizeof raw; len++) {
            struct log_text quoted = log_quoted((struct span){raw, len});
            size_t quoted_len = strnlen(quoted.text, sizeof quoted.text);
            cr_assert_lt(quoted_len, sizeof quoted.text, "%zu", len);
            cr_assert_eq(quoted.text[quoted_len - 1], '"', "%zu", len);
            cr_assert(quoted_len >= len + 2 || strcmp(quoted.text + quoted_len - 4, "...\"") == 0, "%zu", len);
        }
    }
}
