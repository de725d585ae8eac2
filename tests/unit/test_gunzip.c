/* test_gunzip.c: what gzip made smaller, as it was; cut, damaged and exploding inputs. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "proxy/commands/gunzip.h"

enum { LIMIT_BYTES = 1 << 20, BOMB_BYTES = 16 << 20, PACKED_MAX_BYTES = 2 * BOMB_BYTES };

static struct buf packed, out;

static void setup(void)
{
    buf_init(&packed, PACKED_MAX_BYTES);
    buf_init(&out, LIMIT_BYTES);
}

static void teardown(void)
{
    buf_finish(&packed);
    buf_finish(&out);
}

TestSuite(gunzip, .init = setup, .fini = teardown);

/* Adds one member of gzip to `packed`. */
static void pack(struct span text)
{
    z_stream stream = {.next_in = (Bytef *)text.data, .avail_in = (uInt)text.len};

    cr_assert_eq(deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, MAX_WBITS + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
    uInt room = (uInt)deflateBound(&stream, text.len);
    char *to = buf_reserve(&packed, room);
    cr_assert_not_null(to);
    stream.next_out = (Bytef *)to;
    stream.avail_out = room;
    cr_assert_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    packed.len += room - stream.avail_out;
    deflateEnd(&stream);
}

static void expect(const char *want)
{
    cr_expect_eq(gunzip(buf_span(&packed), &out), ERR_OK);
    cr_expect(span_equal(buf_span(&out), span_of(want)), "%.*s", SPAN_ARG(buf_span(&out)));
}

Test(gunzip, one_member)
{
    pack(SPAN("<urlset/>"));
    cr_expect(gunzip_knows(buf_span(&packed)));
    expect("<urlset/>");
}

Test(gunzip, several_members_are_one_text)
{
    pack(SPAN("<url"));
    pack(SPAN(""));
    pack(SPAN("set/>"));
    expect("<urlset/>");
}

Test(gunzip, what_follows_the_last_member_is_left_out)
{
    pack(SPAN("<urlset/>"));
    buf_add(&packed, SPAN("\0\0\0\0 padding"));
    expect("<urlset/>");
}

Test(gunzip, what_is_not_compressed_is_told_apart)
{
    static const char *const texts[] = {"", "\x1f", "\x1f\x8b", "<urlset/>", "\x1f\x8b\x07"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cr_expect_not(gunzip_knows(span_of(texts[i])), "%zu", i);
    }
}

Test(gunzip, cut_anywhere_it_is_damaged)
{
    pack(SPAN("<urlset><url><loc>http://www.example.com/</loc></url></urlset>"));
    for (size_t len = 0; len < packed.len; len++) {
        buf_clear(&out);
        cr_expect_eq(gunzip(span_take(buf_span(&packed), len), &out), ERR_DAMAGED, "%zu of %zu", len, packed.len);
    }
}

Test(gunzip, its_checks_hold)
{
    pack(SPAN("<urlset/>"));
    packed.data[packed.len - 5] ^= 1; /* the checksum's last byte; RFC 1952 §2.3.1 */
    cr_expect_eq(gunzip(buf_span(&packed), &out), ERR_DAMAGED);
    packed.data[packed.len - 5] ^= 1;
    packed.data[packed.len - 1] ^= 1; /* the length's */
    buf_clear(&out);
    cr_expect_eq(gunzip(buf_span(&packed), &out), ERR_DAMAGED);
}

Test(gunzip, nothing_becomes_larger_than_the_limit)
{
    struct span zeros = {calloc(1, BOMB_BYTES), BOMB_BYTES};

    cr_assert_not_null(zeros.data);
    pack(zeros);
    cr_expect_lt(packed.len, LIMIT_BYTES / 32);
    cr_expect_eq(gunzip(buf_span(&packed), &out), ERR_BODY_TOO_LARGE);
    cr_expect_leq(out.capacity, LIMIT_BYTES);
    free((void *)(uintptr_t)zeros.data);
}

Test(gunzip, as_large_as_the_limit_it_may_be)
{
    struct span zeros = {calloc(1, LIMIT_BYTES), LIMIT_BYTES};

    cr_assert_not_null(zeros.data);
    pack(zeros);
    cr_expect_eq(gunzip(buf_span(&packed), &out), ERR_OK);
    cr_expect_eq(out.len, LIMIT_BYTES);
    free((void *)(uintptr_t)zeros.data);
}
