/* test_trace.c: the field traceparent (W3C Trace Context). */
#include <criterion/criterion.h>

#include "http/trace.h"

#define ID     "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static struct arena arena;
static struct headers headers;

static void setup(void)
{
    arena_init(&arena, 65536);
    headers_init(&headers, &arena);
}

static void teardown(void)
{
    arena_finish(&arena);
}

TestSuite(trace, .init = setup, .fini = teardown);

Test(trace, what_is_one_and_what_is_not)
{
    static const struct {
        const char *name, *value;
        bool good;
        unsigned flags;
    } cases[] = {
        {"sampled", "00-" ID "-" PARENT "-01", true, 1},
        {"not sampled", "00-" ID "-" PARENT "-00", true, 0},
        {"unknown flags do not matter", "00-" ID "-" PARENT "-fe", true, 0},
        {"a later version", "01-" ID "-" PARENT "-01", true, 1},
        {"a later version with more", "cc-" ID "-" PARENT "-01-what-else", true, 1},
        {"more without a dash", "cc-" ID "-" PARENT "-01what", false, 0},
        {"more in this version", "00-" ID "-" PARENT "-01-what", false, 0},
        {"the version that is none", "ff-" ID "-" PARENT "-01", false, 0},
        {"no trace", "00-00000000000000000000000000000000-" PARENT "-01", false, 0},
        {"no parent", "00-" ID "-0000000000000000-01", false, 0},
        {"capitals", "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", false, 0},
        {"too short", "00-" ID "-" PARENT "-1", false, 0},
        {"another separator", "00." ID "." PARENT ".01", false, 0},
        {"empty", "", false, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trace trace = {.flags = 9};
        cr_assert(headers_set(&headers, SPAN("Traceparent"), span_of(cases[i].value)));
        bool good = trace_read(&headers, &trace);
        cr_expect_eq(good, cases[i].good, "%s", cases[i].name);
        if (good) {
            cr_expect(span_equal(trace.id, SPAN(ID)) && span_equal(trace.parent, SPAN(PARENT)), "%s", cases[i].name);
            cr_expect_eq(trace.flags, cases[i].flags, "%s", cases[i].name);
        }
    }
}

Test(trace, absent_and_several)
{
    struct trace trace;

    cr_expect_not(trace_read(&headers, &trace));
    cr_assert(headers_add(&headers, SPAN("traceparent"), SPAN("00-" ID "-" PARENT "-01")));
    cr_expect(trace_read(&headers, &trace));
    cr_assert(headers_add(&headers, SPAN("traceparent"), SPAN("00-" ID "-" PARENT "-01")));
    cr_expect_not(trace_read(&headers, &trace));
}

Test(trace, the_receiver_gets_another_parent)
{
    struct trace trace;

    cr_assert(headers_add(&headers, SPAN("traceparent"), SPAN("01-" ID "-" PARENT "-ff-more")));
    cr_assert(trace_read(&headers, &trace));
    cr_assert(trace_write(&headers, &trace, SPAN("1234567890abcdef"), &arena));
    cr_expect(span_equal(headers_value(&headers, SPAN("traceparent")), SPAN("00-" ID "-1234567890abcdef-01")));
    cr_expect_eq(headers_count_of(&headers, SPAN("traceparent")), 1);
}
