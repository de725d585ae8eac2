/* test_buf.c: growable bytes. */
#include <criterion/criterion.h>
#include <string.h>

#include "http/buf.h"
#include "tests/unit/support.h"

static void expect_content(struct buf *buf, const char *want)
{
    cr_expect(span_equal(buf_span(buf), span_of(want)), "got %.*s, want %s", SPAN_ARG(buf_span(buf)), want);
    buf_clear(buf);
}

Test(buf, appends_numbers_and_text)
{
    struct buf buf;

    buf_init(&buf, 10000);
    buf_add_u64(&buf, 0);
    buf_add_byte(&buf, ' ');
    buf_add_u64(&buf, UINT64_MAX);
    expect_content(&buf, "0 18446744073709551615");
    buf_add_i64(&buf, INT64_MIN);
    buf_add_text(&buf, " ");
    buf_add_i64(&buf, INT64_MAX);
    expect_content(&buf, "-9223372036854775808 9223372036854775807");
    buf_add_hex(&buf, 0);
    buf_add(&buf, SPAN(" "));
    buf_add_hex(&buf, 0xabc0);
    buf_add_hex(&buf, UINT64_MAX);
    expect_content(&buf, "0 abc0ffffffffffffffff");
    buf_format(&buf, "%s=%d", "a", 5);
    expect_content(&buf, "a=5");
    buf_finish(&buf);
}

Test(buf, the_limit_is_exact_and_failure_stays)
{
    struct buf buf;

    buf_init(&buf, 5);
    buf_add(&buf, SPAN("abc"));
    buf_add(&buf, SPAN("de"));
    cr_expect_not(buf.failed, "n");
    buf_add(&buf, SPAN("f"));
    cr_expect(buf.failed, "n + 1");
    buf_clear(&buf);
    buf_add(&buf, SPAN("abcd"));
    buf_add(&buf, SPAN("ef"));
    buf_add(&buf, SPAN("g"));
    cr_expect(buf.failed, "a later piece that would fit does not hide the gap");
    cr_expect_eq(buf.len, 4);
    buf_clear(&buf);
    buf_format(&buf, "%s", "abcde");
    cr_expect_not(buf.failed, "n, formatted");
    expect_content(&buf, "abcde");
    buf_format(&buf, "%s", "abcdef");
    cr_expect(buf.failed, "n + 1, formatted");
    buf_finish(&buf);
}

Test(buf, a_buffer_without_room_fails_at_once)
{
    struct buf buf;

    buf_init(&buf, 0);
    buf_add(&buf, SPAN(""));
    cr_expect_not(buf.failed);
    buf_add_byte(&buf, 'a');
    cr_expect(buf.failed);
    cr_expect_null(buf_reserve(&buf, 1));
    buf_finish(&buf);
    buf_finish(NULL);
}

Test(buf, formatted_text_that_does_not_fit_grows_the_buffer)
{
    struct buf buf;

    buf_init(&buf, 1500);
    for (int i = 0; i < 100; i++) {
        size_t before = buf.len;
        buf_format(&buf, "%d: %s,", i, "ten bytes.");
        cr_assert(!buf.failed);
        cr_assert_eq(buf.data[before], i < 10 ? '0' + i : '0' + i / 10);
    }
    cr_expect_eq(buf.len, 10 * 14 + 90 * 15U);
    cr_expect(memcmp(buf.data + buf.len - 15, "99: ten bytes.,", 15) == 0);
    buf_format(&buf, "%*d", 2000, 1); /* beyond the limit */
    cr_expect(buf.failed);
    buf_finish(&buf);
}

Test(buf, reserve_keeps_content_and_consume_drops_the_front)
{
    struct buf buf;
    char *room;

    buf_init(&buf, 100000);
    buf_add(&buf, SPAN("abc"));
    room = buf_reserve(&buf, 50000);
    cr_assert_not_null(room);
    memset(room, 'x', 50000);
    buf.len += 50000;
    cr_expect(span_starts_with(buf_span(&buf), SPAN("abcx")));
    buf_consume(&buf, 2);
    cr_expect(span_starts_with(buf_span(&buf), SPAN("cx")));
    cr_expect_null(buf_reserve(&buf, 50000));
    cr_expect_not(buf.failed, "only appends fail");
    buf_consume(&buf, buf.len);
    expect_content(&buf, "");
    buf_finish(&buf);
    buf_add(&buf, SPAN("again"));
    expect_content(&buf, "again");
    buf_finish(&buf);
}

Test(buf, memory_of_the_callers_is_never_left)
{
    char memory[8];
    struct buf buf;

    buf_init_in(&buf, memory, sizeof memory);
    buf_add_text(&buf, "1234567");
    cr_expect_not(buf.failed);
    cr_expect_eq(buf.data, memory);
    buf_add_byte(&buf, '8');
    cr_expect(buf.failed, "the last byte is for a zero");
    buf_finish(&buf);
    cr_expect_eq(buf.len, 7, "nothing was freed");
}

Test(buf, json_strings)
{
    static const struct {
        struct span text;
        const char *want;
    } cases[] = {
        {SPAN_INIT(""), "\"\""},
        {SPAN_INIT("a\"b\\c"), "\"a\\\"b\\\\c\""},
        {SPAN_INIT("\n\r\t\0\x1f\x7f"), "\"\\n\\r\\t\\u0000\\u001f\\u007f\""},
        {SPAN_INIT("\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80"), "\"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80\""},
        {SPAN_INIT("\xff\xe4"), "\"\\u00ff\\u00e4\""},
        {SPAN_INIT("\xc0\xaf"), "\"\\u00c0\\u00af\""},                         /* overlong */
        {SPAN_INIT("\xe0\x80\x80"), "\"\\u00e0\\u0080\\u0080\""},              /* overlong */
        {SPAN_INIT("\xed\xa0\x80"), "\"\\u00ed\\u00a0\\u0080\""},              /* a surrogate */
        {SPAN_INIT("\xf4\x90\x80\x80"), "\"\\u00f4\\u0090\\u0080\\u0080\""},   /* above U+10FFFF */
        {SPAN_INIT("\xe2\x82"), "\"\\u00e2\\u0082\""},                         /* cut off */
        {SPAN_INIT("\xc2\x80\xc2\x9b\xc2\xa0"), "\"\\u0080\\u009b\xc2\xa0\""}, /* controls: terminals obey them */
    };
    struct buf buf;

    buf_init(&buf, 1000);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_add_json_string(&buf, cases[i].text);
        expect_content(&buf, cases[i].want);
    }
    buf_finish(&buf);
}

Test(buf, memory_is_lent)
{
    struct buf first, second;

    buf_init(&first, 1000);
    buf_init(&second, 1000);
    buf_lend(&first, &second); /* none to lend */
    cr_expect_null(second.data);
    buf_add(&first, SPAN("abc"));
    const char *memory = first.data;
    buf_lend(&first, &second);
    cr_expect(first.data == NULL && first.len == 0 && first.capacity == 0);
    cr_expect(second.data == memory && second.len == 0);
    buf_give_back(&second, &first);
    cr_expect(first.data == memory && first.len == 0);
    cr_expect(second.data == NULL && second.capacity == 0);
    buf_add(&second, SPAN("too much"));
    buf_give_back(&second, &first); /* it has some */
    cr_expect(first.data == memory && second.data == NULL);
    buf_lend(&first, &second);
    expect_content(&second, "");
    buf_add(&first, SPAN("def"));
    buf_lend(&first, &second); /* it has some */
    expect_content(&first, "def");
    buf_add(&second, SPAN("ghi"));
    expect_content(&second, "ghi");
    buf_finish(&first);
    buf_finish(&second);
}
