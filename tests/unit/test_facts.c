/* test_facts.c: recent requests in bounded memory. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "proxy/observe/facts.h"

enum { RING_BYTES = 4096 };

static struct facts *facts;
static struct buf out;
static uint32_t one_in;

static void setup(void)
{
    facts = facts_create(7);
    buf_init(&out, 1 << 20);
}

static void teardown(void)
{
    facts_destroy(facts);
    buf_finish(&out);
}

TestSuite(facts, .init = setup, .fini = teardown);

static void add(struct facts_shard *shard, unsigned number, uint64_t now_ms)
{
    char text[64];
    int len = snprintf(text, sizeof text, "line %u of some length\n", number);

    facts_add(shard, (struct span){text, (size_t)len}, now_ms);
}

/* How many lines there are; all are whole, and numbered from `first` on. */
static size_t count_lines(unsigned first)
{
    struct span rest = buf_span(&out);
    struct span line;
    size_t count = 0;

    while (span_split(&rest, '\n', &line)) {
        char want[64];
        (void)snprintf(want, sizeof want, "line %zu of some length", first + count);
        cr_assert(span_equal(line, span_of(want)), "%.*s, want %s", SPAN_ARG(line), want);
        count++;
    }
    return count;
}

Test(facts, the_newest_stay_whole)
{
    struct facts_shard *shard = facts_shard_create(facts, RING_BYTES);
    enum { LINES = 1000 };

    for (unsigned i = 0; i < LINES; i++) {
        add(shard, i, 1);
    }
    cr_assert(facts_read(facts, &out, &one_in));
    struct span first = span_skip(buf_span(&out), sizeof("line ") - 1);
    uint64_t number;
    cr_assert(span_to_u64(span_take(first, span_find(first, ' ')), &number));
    cr_expect_eq(count_lines((unsigned)number), LINES - number);
    cr_expect(out.len <= RING_BYTES && out.len > RING_BYTES - 64);
    facts_retire(shard);
}

Test(facts, none_are_kept_where_there_is_no_room)
{
    struct facts_shard *shard = facts_shard_create(facts, 0);
    uint32_t sample;

    cr_expect_not(facts_wants(shard, SPAN("/a"), &sample));
    cr_expect_not(facts_wants(NULL, SPAN("/a"), &sample));
    cr_assert(facts_read(facts, &out, &one_in));
    cr_expect_eq(out.len, 0);
    facts_retire(shard);
}

static size_t wanted(const struct facts_shard *shard)
{
    size_t count = 0;

    for (unsigned i = 0; i < 4096; i++) {
        char path[32];
        uint32_t sample;
        int len = snprintf(path, sizeof path, "/item/%u", i);
        count += facts_wants(shard, (struct span){path, (size_t)len}, &sample);
    }
    return count;
}

/* Each time the ring goes round too soon half of the paths are given up. A round that is slow enough changes nothing,
 * after one of twice that time a half is taken back; what is read is a sample as small as the ring's smallest. */
Test(facts, fewer_paths_where_they_would_not_last)
{
    struct facts_shard *shard = facts_shard_create(facts, RING_BYTES);

    cr_expect_eq(wanted(shard), 4096);
    for (unsigned i = 0; i < RING_BYTES / 24 * 2; i++) {
        add(shard, i, 1000 + i);
    }
    size_t half = wanted(shard);
    cr_expect(half > 800 && half < 2400, "%zu", half);
    cr_assert(facts_read(facts, &out, &one_in));
    cr_expect(one_in == 2 || one_in == 4);
    uint64_t now_ms = 1000000;
    uint64_t slow_ms = FACTS_SPAN_MS * 3 / 2 / (RING_BYTES / 24);
    for (unsigned i = 0; i < RING_BYTES / 24 * 4; i++) {
        now_ms += slow_ms;
        add(shard, i, now_ms);
    }
    cr_expect_eq(wanted(shard), half);
    while (wanted(shard) == half) {
        now_ms += FACTS_SPAN_MS;
        add(shard, 0, now_ms);
    }
    buf_clear(&out);
    uint32_t before = one_in;
    cr_assert(facts_read(facts, &out, &one_in));
    cr_expect_eq(one_in, before, "what was kept of fewer is there still");
    for (unsigned i = 0; i < RING_BYTES / 24 * 4; i++) {
        now_ms += FACTS_SPAN_MS;
        add(shard, i, now_ms);
    }
    cr_expect_eq(wanted(shard), 4096);
    buf_clear(&out);
    cr_assert(facts_read(facts, &out, &one_in));
    cr_expect_eq(one_in, 1);
    facts_retire(shard);
}

/* How many paths are kept after so many lines of 256 bytes, one each `every_ms`, far from a whole round. */
static size_t wanted_after(unsigned lines, uint64_t every_ms)
{
    struct facts_shard *shard = facts_shard_create(facts, (size_t)64 << 20);
    char text[256];

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\n';
    for (unsigned i = 0; i < lines; i++) {
        facts_add(shard, (struct span){text, sizeof text}, 1 + i * every_ms);
    }
    size_t count = wanted(shard);
    facts_retire(shard);
    return count;
}

Test(facts, a_flood_is_noticed_long_before_the_ring_is_full)
{
    enum { PART_LINES = (64 << 20) / 16 / 256 };

    cr_expect_eq(wanted_after(PART_LINES - 1, 0), 4096);
    size_t half = wanted_after(PART_LINES, 0);
    cr_expect(half > 1800 && half < 2300, "%zu", half);
    size_t eighth = wanted_after(3 * PART_LINES, 0);
    cr_expect(eighth > 400 && eighth < 650, "%zu", eighth);
    cr_expect_eq(wanted_after(2 * PART_LINES, 1), 4096, "it would last for longer than a second");
}

Test(facts, those_of_an_ended_worker_stay)
{
    struct facts_shard *ended = facts_shard_create(facts, RING_BYTES);
    struct facts_shard *another = facts_shard_create(facts, RING_BYTES);
    struct facts_shard *shard = facts_shard_create(facts, RING_BYTES);

    add(ended, 0, 1);
    add(another, 1, 1);
    add(shard, 2, 1);
    facts_retire(ended);
    facts_retire(another);
    cr_assert(facts_read(facts, &out, &one_in));
    cr_expect_eq(count_lines(0), 3);
    facts_retire(shard);
    buf_clear(&out);
    cr_assert(facts_read(facts, &out, &one_in));
    cr_expect_eq(count_lines(0), 3);
}

Test(facts, hashes_tell_values_apart)
{
    struct facts_shard *shard = facts_shard_create(facts, RING_BYTES);

    cr_expect_eq(facts_hash(shard, SPAN("a")), facts_hash(shard, SPAN("a")));
    cr_expect_neq(facts_hash(shard, SPAN("a")), facts_hash(shard, SPAN("b")));
    facts_retire(shard);
}

static void add_fact(struct facts_shard *shard, unsigned time_ms, const char *method, const char *target,
                     const char *store_reason)
{
    char memory[1024];
    struct buf line;
    struct buf url;

    buf_init_in(&line, memory, sizeof memory);
    buf_init(&url, sizeof memory);
    facts_write_url(facts_of(shard), SPAN("http"), SPAN("h"), span_of(target), &url);
    buf_format(&line, "{\"time_ms\":%u,\"sample\":1,\"method\":\"%s\",\"url\":", time_ms, method);
    buf_add_json_string(&line, buf_span(&url));
    buf_format(&line, ",\"fields\":[],\"store_reason\":\"%s\"}\n", store_reason);
    facts_add(shard, buf_span(&line), 1);
    buf_finish(&url);
}

/* What is found for the URL: the time of the fact, 0 for none. */
static unsigned last_time(const char *method, const char *target)
{
    struct buf url;
    unsigned time_ms = 0;

    buf_init(&url, 1024);
    buf_clear(&out);
    facts_write_url(facts, SPAN("http"), SPAN("h"), span_of(target), &url);
    if (facts_last(facts, span_of(method), buf_span(&url), &out)) {
        buf_add_byte(&out, '\0');
        cr_assert_eq(sscanf(out.data, "{\"time_ms\":%u,", &time_ms), 1);
    }
    buf_finish(&url);
    return time_ms;
}

Test(facts, the_last_answer_of_a_url)
{
    struct facts_shard *shard = facts_shard_create(facts, RING_BYTES);
    struct facts_shard *another = facts_shard_create(facts, RING_BYTES);

    cr_expect_eq(last_time("GET", "/a"), 0);
    add_fact(shard, 5, "GET", "/a?q=1", "set-cookie");
    add_fact(another, 7, "GET", "/a?q=1", "private");
    add_fact(shard, 6, "GET", "/a?q=1", "no-store");
    add_fact(shard, 8, "GET", "/a?q=1", "none");
    add_fact(shard, 9, "GET", "/a?q=2", "no-store");
    cr_expect_eq(last_time("GET", "/a?q=1"), 7);
    cr_expect_eq(last_time("GET", "/a?q=2"), 9);
    cr_expect_eq(last_time("GET", "/a?q=3"), 0);
    cr_expect_eq(last_time("HEAD", "/a?q=1"), 0);
    facts_retire(shard);
    cr_expect_eq(last_time("GET", "/a?q=2"), 9);
    facts_retire(another);
}

Test(facts, urls_without_the_values_of_queries)
{
    buf_clear(&out);
    facts_write_url(facts, SPAN("http"), SPAN("h:8080"), SPAN("/a?secret=xyzzy&b&c="), &out);
    cr_expect(span_starts_with(buf_span(&out), SPAN("http://h:8080/a?secret=")));
    cr_expect(span_ends_with(buf_span(&out), SPAN("&b&c")));
    cr_expect_eq(span_find(buf_span(&out), 'z'), SIZE_MAX);
    buf_clear(&out);
    facts_write_url(facts, SPAN("http"), SPAN("h"), SPAN("http://i/a"), &out);
    cr_expect(span_equal(buf_span(&out), SPAN("http://i/a")));
}
