/* test_access_log.c: what a line says, in both formats, and that it stays one line. */
#include "proxy/observe/access_log.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

static const struct access_entry minimal = {
    .time_ms = 1772359200123,
    .client = "127.0.0.1",
    .minor = 1,
    .ttl_s = INT64_MIN,
    .age_s = -1,
    .origin_us = -1,
    .first_byte_us = -1,
    .total_us = -1,
    .end = END_REFUSED,
    .error = ERR_BAD_HEAD,
    .reason = REASON_BAD_REQUEST,
    .status = 400,
};

static struct access_entry full(void)
{
    return (struct access_entry){
        .time_ms = 1772359200007,
        .client = "2001:db8::1",
        .client_port = 50112,
        .method = SPAN("GET"),
        .scheme = SPAN("http"),
        .host = SPAN("example.com"),
        .target = SPAN("/a?b=c"),
        .minor = 1,
        .user_agent = SPAN("curl/8.0"),
        .referer = SPAN("http://example.com/"),
        .status = 200,
        .request_bytes = 0,
        .response_bytes = 250,
        .body_bytes = 5,
        .outcome = OUTCOME_STALE,
        .reason = REASON_STALE,
        .store_reason = REASON_STORED,
        .rule = "images",
        .site = "example.com",
        .collapsed = true,
        .origin_status = 304,
        .origin = "http://127.0.0.1:3000",
        .ttl_s = -5,
        .age_s = 65,
        .origin_us = 1500,
        .first_byte_us = 1700,
        .total_us = 1800,
        .end = END_DONE,
        .error = ERR_OK,
    };
}

static void expect_line(enum access_format format, const struct access_entry *entry, const char *want)
{
    struct buf out;

    buf_init(&out, 65536);
    access_log_format(format, entry, &out);
    cr_expect(span_equal(buf_span(&out), span_of(want)), "got  %.*swant %s", SPAN_ARG(buf_span(&out)), want);
    buf_finish(&out);
}

Test(access_log, json_says_all_that_is_known)
{
    struct access_entry entry = full();

    expect_line(ACCESS_JSON, &entry,
                "{\"time\":\"2026-03-01T10:00:00.007Z\",\"client\":\"2001:db8::1\",\"client_port\":50112,"
                "\"method\":\"GET\",\"scheme\":\"http\",\"host\":\"example.com\",\"target\":\"/a?b=c\","
                "\"version\":\"1.1\",\"status\":200,\"outcome\":\"stale\",\"reason\":\"stale\","
                "\"store_reason\":\"stored\",\"rule\":\"images\",\"site\":\"example.com\",\"collapsed\":true,"
                "\"origin\":\"http://127.0.0.1:3000\",\"origin_status\":304,\"ttl_s\":-5,\"age_s\":65,"
                "\"request_bytes\":0,\"response_bytes\":250,\"body_bytes\":5,\"origin_us\":1500,"
                "\"first_byte_us\":1700,\"total_us\":1800,\"user_agent\":\"curl/8.0\","
                "\"referer\":\"http://example.com/\",\"end\":\"done\"}\n");
}

Test(access_log, json_omits_what_is_not_known)
{
    expect_line(ACCESS_JSON, &minimal,
                "{\"time\":\"2026-03-01T10:00:00.123Z\",\"client\":\"127.0.0.1\",\"version\":\"1.1\",\"status\":400,"
                "\"outcome\":\"none\",\"reason\":\"bad-request\",\"request_bytes\":0,\"response_bytes\":0,"
                "\"body_bytes\":0,\"end\":\"refused\",\"error\":\"BAD_HEAD\"}\n");
}

Test(access_log, combined_is_what_log_readers_know)
{
    struct access_entry entry = full();

    expect_line(ACCESS_COMBINED, &entry,
                "2001:db8::1 - - [01/Mar/2026:10:00:00 +0000] \"GET /a?b=c HTTP/1.1\" 200 5 "
                "\"http://example.com/\" \"curl/8.0\"\n");
    expect_line(ACCESS_COMBINED, &minimal, "127.0.0.1 - - [01/Mar/2026:10:00:00 +0000] \"-\" 400 - \"-\" \"-\"\n");
}

Test(access_log, whom_a_trusted_proxy_names)
{
    static const struct {
        const char *named, *combined;
    } cases[] = {
        {"192.0.2.7", "192.0.2.7"},
        {"_hidden", "_hidden"},
        {"a b", "2001:db8::1"},
        {"a\"\tb", "a\\\"\\x09b"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct access_entry entry = full();
        char line[256];
        entry.forwarded_for = span_of(cases[i].named);
        (void)snprintf(line, sizeof line,
                       "%s - - [01/Mar/2026:10:00:00 +0000] \"GET /a?b=c HTTP/1.1\" 200 5 "
                       "\"http://example.com/\" \"curl/8.0\"\n",
                       cases[i].combined);
        expect_line(ACCESS_COMBINED, &entry, line);
    }
    struct access_entry entry = minimal;
    entry.forwarded_for = SPAN("192.0.2.7");
    expect_line(
        ACCESS_JSON, &entry,
        "{\"time\":\"2026-03-01T10:00:00.123Z\",\"client\":\"127.0.0.1\",\"forwarded_for\":\"192.0.2.7\","
        "\"version\":\"1.1\",\"status\":400,\"outcome\":\"none\",\"reason\":\"bad-request\","
        "\"request_bytes\":0,\"response_bytes\":0,\"body_bytes\":0,\"end\":\"refused\",\"error\":\"BAD_HEAD\"}\n");
}

Test(access_log, outside_text_cannot_forge_a_line)
{
    struct access_entry entry = minimal;
    struct buf out;

    entry.method = SPAN("GET");
    entry.target = SPAN("/\"\\\n\x01\xff{}");
    entry.user_agent = SPAN("a\r\nb\"");
    expect_line(ACCESS_COMBINED, &entry,
                "127.0.0.1 - - [01/Mar/2026:10:00:00 +0000] \"GET /\\\"\\\\\\x0a\\x01\\xff{} HTTP/1.1\" 400 - \"-\" "
                "\"a\\x0d\\x0ab\\\"\"\n");
    buf_init(&out, 65536);
    access_log_format(ACCESS_JSON, &entry, &out);
    cr_expect_eq(span_find(buf_span(&out), '\n'), out.len - 1);
    buf_finish(&out);
}

Test(access_log, long_texts_are_cut)
{
    static char target[ACCESS_TEXT_MAX_BYTES + 10];
    struct access_entry entry = full();
    struct buf out;

    memset(target, 'a', sizeof target);
    entry.target = (struct span){target, sizeof target};
    buf_init(&out, 65536);
    access_log_format(ACCESS_JSON, &entry, &out);
    cr_expect_gt(out.len, (size_t)ACCESS_TEXT_MAX_BYTES);
    cr_expect_lt(out.len, (size_t)ACCESS_TEXT_MAX_BYTES + 700);
    buf_finish(&out);
}

Test(access_log, lines_reach_the_file_after_a_second_or_at_the_close)
{
    char path[] = "/tmp/larder-access-XXXXXX";
    int fd = mkstemp(path);
    struct config config = {.server = {.access_log = path, .access_format = ACCESS_COMBINED}};
    struct access_log log = {.fd = -1};
    struct access_entry entry = full();
    struct stat status;
    uv_loop_t loop;

    cr_assert_geq(fd, 0);
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(access_log_open(&log, &loop, &config), ERR_OK);
    access_log_write(&log, &entry);
    cr_assert_eq(fstat(fd, &status), 0);
    cr_expect_eq(status.st_size, 0, "lines are collected");
    (void)uv_run(&loop, UV_RUN_ONCE); /* the timer */
    cr_assert_eq(fstat(fd, &status), 0);
    off_t one = status.st_size;
    cr_expect_gt(one, 0);
    access_log_write(&log, &entry);
    access_log_close(&log);
    cr_assert_eq(fstat(fd, &status), 0);
    cr_expect_eq(status.st_size, 2 * one);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
    access_log_close(&log); /* twice is once */
    close(fd);
    unlink(path);
}

Test(access_log, a_pipe_gets_whole_lines_in_atomic_pieces)
{
    enum { LINES = 100 };
    int ends[2];
    char path[32];
    struct access_log log = {.fd = -1};
    struct access_entry entry = full();
    static char got[65536];
    uv_loop_t loop;
    size_t len = 0;

    cr_assert_eq(pipe(ends), 0);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[1]);
    struct config config = {.server = {.access_log = path}};
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(access_log_open(&log, &loop, &config), ERR_OK);
    for (int i = 0; i < LINES; i++) {
        access_log_write(&log, &entry);
    }
    access_log_close(&log);
    close(ends[1]);
    for (ssize_t count = 1; count > 0; len += (size_t)count) {
        count = read(ends[0], got + len, sizeof got - len);
        cr_assert_geq(count, 0);
    }
    size_t lines = 0;
    for (size_t i = 0; i < len; i++) {
        lines += got[i] == '\n';
    }
    cr_expect_eq(lines, (size_t)LINES);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

Test(access_log, a_file_that_cannot_be_opened_is_told)
{
    struct config config = {.server = {.access_log = "/nonexistent/access.log"}};
    struct buf error;

    buf_init(&error, 1024);
    cr_expect_neq(access_log_check(&config, &error), ERR_OK);
    cr_expect(span_starts_with(buf_span(&error), SPAN("server.access_log: cannot write \"/nonexistent/access.log\"")));
    buf_finish(&error);
}
