/* test_facts.c: recent requests in bounded memory. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "proxy/facts.h"

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

/* Each time the ring goes round too soon half of the paths are given up; a slow round changes nothing. */
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
    for (unsigned i = 0; i < RING_BYTES / 24 * 4; i++) {
        add(shard, i, 5000 + (uint64_t)i * FACTS_SPAN_MS);
    }
    cr_expect_eq(wanted(shard), half);
    facts_retire(shard);
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
