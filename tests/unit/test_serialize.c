/* test_serialize.c: the wire form of what we send. */
#include <criterion/criterion.h>

#include "http/serialize.h"
#include "tests/unit/support.h"

Test(serialize, a_whole_message)
{
    struct arena arena = test_arena();
    struct headers headers = test_headers(&arena, "A: b\r\nEmpty:\r\n");
    struct buf out;

    buf_init(&out, 1000);
    write_request_line(&out, SPAN("GET"), SPAN("/a?b"));
    size_t before = out.len;
    write_fields(&out, &headers);
    cr_expect_eq(out.len - before, fields_bytes(&headers));
    write_field(&out, SPAN("C"), SPAN("d"));
    write_date_field(&out, SPAN("Date"), 784111777);
    write_end(&out);
    cr_expect_not(out.failed);
    cr_expect_str_eq(test_text(buf_span(&out), &arena),
                     "GET /a?b HTTP/1.1\r\nA: b\r\nEmpty: \r\nC: d\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
    buf_finish(&out);
    arena_finish(&arena);
}

Test(serialize, status_lines)
{
    static const struct {
        unsigned status;
        const char *want;
    } cases[] = {{200, "HTTP/1.1 200 OK\r\n"}, {103, "HTTP/1.1 103 Early Hints\r\n"}, {599, "HTTP/1.1 599 \r\n"}};
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out;

        buf_init(&out, 100);
        write_status_line(&out, cases[i].status);
        cr_expect_str_eq(test_text(buf_span(&out), &arena), cases[i].want);
        buf_finish(&out);
    }
    arena_finish(&arena);
}

Test(serialize, chunks)
{
    struct arena arena = test_arena();
    struct headers trailers = test_headers(&arena, "A: b\r\n");
    struct buf out;

    buf_init(&out, 1000);
    write_chunk_start(&out, 31);
    write_chunk_end(&out);
    write_last_chunk(&out, NULL);
    write_last_chunk(&out, &trailers);
    cr_expect_str_eq(test_text(buf_span(&out), &arena), "1f\r\n\r\n0\r\n\r\n0\r\nA: b\r\n\r\n");
    buf_finish(&out);
    arena_finish(&arena);
}

Test(serialize, a_full_buffer_is_seen_at_the_end)
{
    struct buf out;

    buf_init(&out, 8);
    write_field(&out, SPAN("A"), SPAN("12345"));
    cr_expect(out.failed, "n + 1");
    write_end(&out);
    cr_expect_eq(out.len, 0, "nothing stands behind a gap");
    buf_clear(&out);
    write_field(&out, SPAN("A"), SPAN("123"));
    cr_expect_not(out.failed, "n");
    buf_finish(&out);
}
