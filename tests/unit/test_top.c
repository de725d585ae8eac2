/* test_top.c: metrics as samples (top_sample.h), and two samples as the lines of a screen (top_view.h). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/buf.h"
#include "proxy/commands/top_view.h"

#define HEAD                                                                                                           \
    "# HELP larder_build_info Always 1.\n# TYPE larder_build_info gauge\n"                                             \
    "larder_build_info{version=\"1.2.3\"} 1\nlarder_start_time_seconds 1700000000.500\n"

static const char early[] = HEAD "larder_requests_total{site=\"a.test\",outcome=\"hit\",reason=\"fresh\"} 10\n"
                                 "larder_requests_total{site=\"a.test\",outcome=\"uri-miss\",reason=\"uri-miss\"} 5\n"
                                 "larder_requests_total{site=\"\",outcome=\"none\",reason=\"no-site\"} 1\n"
                                 "larder_client_sent_bytes_total{site=\"a.test\",outcome=\"hit\"} 1000\n"
                                 "larder_origin_received_bytes_total{site=\"a.test\"} 500\n"
                                 "larder_origin_first_byte_seconds_bucket{site=\"a.test\",le=\"+Inf\"} 5\n"
                                 "larder_origin_first_byte_seconds_sum{site=\"a.test\"} 1.5\n"
                                 "larder_origin_first_byte_seconds_count{site=\"a.test\"} 5\n"
                                 "larder_origin_in_service{site=\"a.test\",path=\"/\",origin=\"http://o:1\"} 1\n"
                                 "larder_origin_in_service{site=\"a.test\",path=\"/\",origin=\"http://o:2\"} 0\n"
                                 "larder_requests_in_flight 3\nlarder_client_connections 7\n"
                                 "larder_store_used_bytes 1048576\nlarder_store_limit_bytes 4194304\n";
static const char late[] = HEAD "larder_requests_total{site=\"a.test\",outcome=\"hit\",reason=\"fresh\"} 28\n"
                                "larder_requests_total{site=\"a.test\",outcome=\"uri-miss\",reason=\"uri-miss\"} 7\n"
                                "larder_requests_total{site=\"a.test\",outcome=\"bypass\",reason=\"cookie\"} 90\n"
                                "larder_requests_total{site=\"\",outcome=\"none\",reason=\"no-site\"} 1\n"
                                "larder_client_sent_bytes_total{site=\"a.test\",outcome=\"hit\"} 41960\n"
                                "larder_origin_received_bytes_total{site=\"a.test\"} 4596\n"
                                "larder_origin_first_byte_seconds_sum{site=\"a.test\"} 1.9\n"
                                "larder_origin_first_byte_seconds_count{site=\"a.test\"} 9\n";

static struct top_sample before, after;
static struct top_view view;

static void read_both(void)
{
    cr_assert(top_sample_read(span_of(early), 100, &before));
    cr_assert(top_sample_read(span_of(late), 102, &after));
}

static void make(size_t lines, enum top_sort sort)
{
    const struct top_options options = {.sort = sort, .lines = lines, .now_s = 1700000060};

    top_view_make(&before, &after, &options, &view);
}

/* The number of the line that has this text, or the count of all. */
static size_t find(const char *text)
{
    size_t i = 0;

    while (i < view.count && strstr(view.lines[i].text, text) == NULL) {
        i++;
    }
    return i;
}

Test(top, a_sample_of_the_metrics)
{
    read_both();
    cr_expect_str_eq(before.version, "1.2.3");
    cr_expect_eq(before.requests, 16);
    cr_expect_eq(before.hits, 10);
    cr_expect_eq(before.in_flight, 3);
    cr_expect_eq(before.sites.count, 2);
    const struct top_row *site = top_rows_find(&before.sites, "a.test");
    cr_assert_not_null(site);
    cr_expect_eq(site->requests, 15);
    cr_expect_eq(site->received_bytes, 500);
    cr_expect_not_null(top_rows_find(&before.reasons, "hit fresh"));
    cr_expect_not_null(top_rows_find(&before.reasons, "uri-miss"));
    cr_expect(top_rows_find(&before.origins, "http://o:1")->in_service);
    cr_expect_not(top_rows_find(&before.origins, "http://o:2")->in_service);
}

Test(top, labels_with_escapes)
{
    struct top_sample sample;

    cr_assert(top_sample_read(
        SPAN(HEAD "larder_requests_total{site=\"a\\\"b\\\\,site=x\",outcome=\"hit\",reason=\"fresh\"} 1\n"), 1,
        &sample));
    cr_expect_not_null(top_rows_find(&sample.sites, "a\"b\\,site=x"));
    cr_expect_not_null(top_rows_find(&sample.reasons, "hit fresh"));
}

Test(top, what_is_no_metrics)
{
    static const char *const texts[] = {"", "{\"error\":\"x\"}", "larder_requests_total", HEAD "a b\n",
                                        HEAD "a{b=\"\n"};
    struct top_sample sample;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cr_expect_not(top_sample_read(span_of(texts[i]), 1, &sample), "%s", texts[i]);
    }
}

Test(top, more_rows_than_are_kept)
{
    struct buf text;
    struct top_sample *sample = calloc(1, sizeof(*sample));

    buf_init(&text, 1 << 20);
    buf_add_text(&text, HEAD);
    for (int i = 0; i < TOP_ROWS_MAX + 10; i++) {
        buf_format(&text, "larder_requests_total{site=\"s%d\",outcome=\"hit\",reason=\"fresh\"} 1\n", i);
    }
    cr_assert(top_sample_read(buf_span(&text), 1, sample));
    cr_expect_eq(sample->sites.count, TOP_ROWS_MAX);
    cr_expect_eq(sample->requests, TOP_ROWS_MAX + 10);
    buf_finish(&text);
    free(sample);
}

Test(top, rates_between_two_samples)
{
    read_both();
    make(40, TOP_BY_RATE);
    cr_expect(view.lines[0].heading && strstr(view.lines[0].text, "larder 1.2.3, up 59 s") != NULL, "%s",
              view.lines[0].text);
    cr_expect_neq(find("hit ratio     16.4 %   since the start 22.2 %"), view.count, "%s", view.lines[1].text);
    cr_expect_neq(find("55.0/s"), view.count, "%s", view.lines[2].text);
    cr_expect_neq(find("20 KiB/s to clients, 2.0 KiB/s from origins, saved 90.0 %"), view.count, "%s",
                  view.lines[3].text);
    cr_expect_neq(find("100.0 ms to the head, 2.0/s"), view.count, "%s", view.lines[4].text);
    cr_expect_neq(find("45.0   81.8 %           90  bypass cookie"), view.count);
}

Test(top, sorted_otherwise)
{
    read_both();
    make(40, TOP_BY_RATE);
    cr_expect(find("bypass cookie") < find("hit fresh") && find("hit fresh") < find("uri-miss"));
    after.reasons.rows[1].requests = 1000; /* uri-miss */
    before.reasons.rows[1].requests = 1000;
    make(40, TOP_BY_TOTAL);
    cr_expect(find("uri-miss") < find("bypass cookie"));
    make(40, TOP_BY_NAME);
    cr_expect(find("bypass cookie") < find("hit fresh") && find("hit fresh") < find("none no-site"));
}

Test(top, as_many_lines_as_there_is_room)
{
    read_both();
    for (size_t lines = 1; lines <= 40; lines++) {
        make(lines, TOP_BY_RATE);
        cr_expect(view.count <= lines, "%zu lines in %zu", view.count, lines);
    }
    make(100000, TOP_BY_RATE);
    cr_expect(view.count <= TOP_LINES_MAX);
}

Test(top, the_same_sample_twice)
{
    const struct top_options options = {.lines = 30, .now_s = 1700000060, .paused = true, .notice = ", GONE"};

    read_both();
    top_view_make(&before, &before, &options, &view);
    cr_expect(strstr(view.lines[0].text, "PAUSED, GONE") != NULL);
    cr_expect_neq(find("0.0/s"), view.count);
}
