/* test_multipart.c: multipart/byteranges (RFC 9110 §14.6). */
#include <criterion/criterion.h>

#include "http/multipart.h"
#include "tests/unit/support.h"

static const char *body_of(const struct multipart *multipart, const char *data, struct arena *arena)
{
    struct span body = SPAN("");
    struct span text = SPAN("");

    for (size_t i = 0; i < multipart->ranges->count; i++) {
        struct byte_range range = multipart->ranges->items[i];

        cr_assert(multipart_part_head(multipart, i, arena, &text));
        cr_assert(arena_join(arena,
                             (struct span[]){body, text, {data + range.first, (size_t)(range.last - range.first + 1)}},
                             3, &body));
    }
    cr_assert(multipart_end(multipart, arena, &text));
    cr_assert(arena_join(arena, (struct span[]){body, text}, 2, &body));
    return test_text(body, arena);
}

Test(multipart, parts_rfc9110_14_6)
{
    static const struct {
        const char *name, *type;
        struct ranges ranges;
        const char *want;
    } cases[] = {
        {"two parts, each with the type of the whole, §15.3.7.2",
         "text/plain",
         {.items = {{7, 9}, {0, 1}}, .count = 2},
         "--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 7-9/10\r\n\r\n789"
         "\r\n--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n--B--\r\n"},
        {"without a type",
         "",
         {.items = {{0, 0}, {9, 9}}, .count = 2},
         "--B\r\nContent-Range: bytes 0-0/10\r\n\r\n0\r\n--B\r\nContent-Range: bytes 9-9/10\r\n\r\n9\r\n--B--\r\n"},
        {"a single part, §15.3.7.2",
         "",
         {.items = {{2, 3}}, .count = 1},
         "--B\r\nContent-Range: bytes 2-3/10\r\n\r\n23\r\n--B--\r\n"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct multipart multipart = {.boundary = SPAN("B"),
                                      .content_type = span_of(cases[i].type),
                                      .ranges = &cases[i].ranges,
                                      .complete_length = 10};
        const char *got = body_of(&multipart, "0123456789", &arena);
        uint64_t bytes = 0;

        cr_expect_str_eq(got, cases[i].want, "%s", cases[i].name);
        cr_expect(multipart_length(&multipart, &bytes));
        cr_expect_eq(bytes, span_of(got).len, "%s", cases[i].name);
    }
    arena_finish(&arena);
}

Test(multipart, type_of_the_response_rfc9110_14_6)
{
    struct arena arena = test_arena();
    struct multipart multipart = {.boundary = SPAN("3d6b6a416f9b5")};
    struct span type = SPAN("");

    cr_expect(multipart_type(&multipart, &arena, &type));
    cr_expect_str_eq(test_text(type, &arena), "multipart/byteranges; boundary=3d6b6a416f9b5");
    arena_finish(&arena);
}

Test(multipart, lengths_beyond_64_bits)
{
    struct ranges ranges = {.items = {{0, UINT64_MAX - 101}, {UINT64_MAX - 1, UINT64_MAX - 1}}, .count = 2};
    struct multipart multipart = {.boundary = SPAN("B"), .ranges = &ranges, .complete_length = UINT64_MAX};
    uint64_t bytes = 1;

    cr_expect_not(multipart_length(&multipart, &bytes));
    cr_expect_eq(bytes, 1);
    ranges.items[0].last = UINT64_MAX - 1001;
    cr_expect(multipart_length(&multipart, &bytes));
}

Test(multipart, a_full_arena)
{
    struct arena full = {0};
    struct ranges ranges = {.items = {{0, 1}}, .count = 1};
    struct multipart multipart = {.boundary = SPAN("B"), .ranges = &ranges, .complete_length = 2};
    struct span text;

    cr_expect_not(multipart_type(&multipart, &full, &text));
    cr_expect_not(multipart_part_head(&multipart, 0, &full, &text));
    cr_expect_not(multipart_end(&multipart, &full, &text));
}
