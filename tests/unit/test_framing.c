/* test_framing.c: the body decoder. (Which framing a head means is tested with the heads, in test_parser.c.) */
#include <criterion/criterion.h>
#include <string.h>

#include "http/buf.h"
#include "http/framing.h"
#include "tests/unit/support.h"

/* Feeds `data` cut at `first` and `second`; payload goes to `out`, what is behind the end of the body to `*out_left`.
 */
static enum err feed(struct body_decoder *decoder, struct span data, size_t first, size_t second, struct buf *out,
                     size_t *out_left)
{
    struct span cuts[] = {span_take(data, first), span_skip(span_take(data, second), first), span_skip(data, second)};

    *out_left = 0;
    for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
        while (cuts[i].len > 0 && !body_decoder_done(decoder)) {
            struct span piece;
            enum err error = body_decoder_feed(decoder, &cuts[i], &piece);

            if (error != ERR_OK) {
                return error;
            }
            buf_add(out, piece);
        }
        *out_left += cuts[i].len;
    }
    return ERR_OK;
}

static const struct {
    const char *name;
    struct framing framing;
    struct span data;
    enum err want;
    bool done;
    const char *body;
    size_t left;
} bodies[] = {
    {"no body", {.kind = FRAMING_NONE}, SPAN_INIT("next"), ERR_OK, true, "", 4},
    {"a length", {.kind = FRAMING_LENGTH, .length = 5}, SPAN_INIT("hellonext"), ERR_OK, true, "hello", 4},
    {"a length of 0", {.kind = FRAMING_LENGTH}, SPAN_INIT("next"), ERR_OK, true, "", 4},
    {"too few bytes", {.kind = FRAMING_LENGTH, .length = 5}, SPAN_INIT("hell"), ERR_OK, false, "hell", 0},
    {"until close", {.kind = FRAMING_CLOSE}, SPAN_INIT("hello"), ERR_OK, false, "hello", 0},
    {"chunks",
     {.kind = FRAMING_CHUNKED},
     SPAN_INIT("5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\nnext"),
     ERR_OK,
     true,
     "hello0123456789",
     4},
    {"hex in both cases",
     {.kind = FRAMING_CHUNKED},
     SPAN_INIT("a\r\n0123456789\r\n00B\r\n0123456789a\r\n000\r\n\r\n"),
     ERR_OK,
     true,
     "01234567890123456789a",
     0},
    {"extensions",
     {.kind = FRAMING_CHUNKED},
     SPAN_INIT("1;a=b;c=\"d\xe4\"\r\nx\r\n1 \t;e\r\ny\r\n0;f\r\n\r\n"),
     ERR_OK,
     true,
     "xy",
     0},
    {"trailers", {.kind = FRAMING_CHUNKED}, SPAN_INIT("1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\nnext"), ERR_OK, true, "x", 4},
    {"CRLF as data", {.kind = FRAMING_CHUNKED}, SPAN_INIT("4\r\n\r\n\r\n\r\n0\r\n\r\n"), ERR_OK, true, "\r\n\r\n", 0},
    {"not at the end yet", {.kind = FRAMING_CHUNKED}, SPAN_INIT("1\r\nx\r\n0\r\n"), ERR_OK, false, "x", 0},
    {"no digits", {.kind = FRAMING_CHUNKED}, SPAN_INIT("\r\n"), ERR_BAD_CHUNK, false, "", 0},
    {"no digits but an extension", {.kind = FRAMING_CHUNKED}, SPAN_INIT(";a\r\n"), ERR_BAD_CHUNK, false, "", 0},
    {"a sign", {.kind = FRAMING_CHUNKED}, SPAN_INIT("+1\r\n"), ERR_BAD_CHUNK, false, "", 0},
    {"0x", {.kind = FRAMING_CHUNKED}, SPAN_INIT("0x1\r\n"), ERR_BAD_CHUNK, false, "", 0},
    {"a space in front", {.kind = FRAMING_CHUNKED}, SPAN_INIT(" 1\r\n"), ERR_BAD_CHUNK, false, "", 0},
    {"a space behind", {.kind = FRAMING_CHUNKED}, SPAN_INIT("1 \r\n"), ERR_BAD_CHUNK, false, "", 0},
    {"two numbers", {.kind = FRAMING_CHUNKED}, SPAN_INIT("1 1\r\n"), ERR_BAD_CHUNK, false, "", 0},
    {"bare LF behind the size", {.kind = FRAMING_CHUNKED}, SPAN_INIT("1\nx\r\n"), ERR_BAD_CHUNK, false, "", 0},
    {"bare CR behind the size", {.kind = FRAMING_CHUNKED}, SPAN_INIT("1\rx\r\n"), ERR_BAD_CHUNK, false, "", 0},
    {"bare LF in an extension", {.kind = FRAMING_CHUNKED}, SPAN_INIT("1;a\nx\r\n"), ERR_BAD_CHUNK, false, "", 0},
    {"bare CR in an extension", {.kind = FRAMING_CHUNKED}, SPAN_INIT("1;a\rb\r\n"), ERR_BAD_CHUNK, false, "", 0},
    {"NUL in an extension", {.kind = FRAMING_CHUNKED}, SPAN_INIT("1;\0\r\n"), ERR_BAD_CHUNK, false, "", 0},
    {"bare LF behind the data", {.kind = FRAMING_CHUNKED}, SPAN_INIT("1\r\nx\n0\r\n"), ERR_BAD_CHUNK, false, "x", 0},
    {"bare CR behind the data", {.kind = FRAMING_CHUNKED}, SPAN_INIT("1\r\nx\r0\r\n"), ERR_BAD_CHUNK, false, "x", 0},
    {"data longer than its size", {.kind = FRAMING_CHUNKED}, SPAN_INIT("1\r\nxy\r\n"), ERR_BAD_CHUNK, false, "x", 0},
    {"bare LF at the end", {.kind = FRAMING_CHUNKED}, SPAN_INIT("0\r\n\n"), ERR_BAD_CHUNK, false, "", 0},
    {"bare CR at the end", {.kind = FRAMING_CHUNKED}, SPAN_INIT("0\r\n\rx"), ERR_BAD_CHUNK, false, "", 0},
    {"bare LF in trailers", {.kind = FRAMING_CHUNKED}, SPAN_INIT("0\r\nA: b\n"), ERR_BAD_CHUNK, false, "", 0},
    {"bare CR in trailers", {.kind = FRAMING_CHUNKED}, SPAN_INIT("0\r\nA: b\rc"), ERR_BAD_CHUNK, false, "", 0},
    {"NUL in trailers", {.kind = FRAMING_CHUNKED}, SPAN_INIT("0\r\nA\0"), ERR_BAD_CHUNK, false, "", 0},
    {"the largest size", {.kind = FRAMING_CHUNKED}, SPAN_INIT("7fffffffffffffff\r\nabc"), ERR_OK, false, "abc", 0},
    {"one more", {.kind = FRAMING_CHUNKED}, SPAN_INIT("8000000000000000\r\n"), ERR_BAD_CHUNK, false, "", 0},
    {"an overflow to 1", {.kind = FRAMING_CHUNKED}, SPAN_INIT("10000000000000001\r\n"), ERR_BAD_CHUNK, false, "", 0},
    {"16 digits", {.kind = FRAMING_CHUNKED}, SPAN_INIT("0000000000000001\r\nx"), ERR_OK, false, "x", 0},
    {"17 digits", {.kind = FRAMING_CHUNKED}, SPAN_INIT("00000000000000001\r\nx"), ERR_BAD_CHUNK, false, "", 0},
};

Test(framing, bodies_at_every_split_point)
{
    struct buf out;

    buf_init(&out, 1000);
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        for (size_t first = 0; first <= bodies[i].data.len; first++) {
            for (size_t second = first; second <= bodies[i].data.len; second++) {
                struct body_decoder decoder;
                size_t left;
                enum err error;

                buf_clear(&out);
                body_decoder_init(&decoder, &bodies[i].framing);
                error = feed(&decoder, bodies[i].data, first, second, &out, &left);
                cr_assert_eq(error, bodies[i].want, "%s %zu %zu", bodies[i].name, first, second);
                cr_assert(span_equal(buf_span(&out), span_of(bodies[i].body)), "%s %zu %zu", bodies[i].name, first,
                          second);
                cr_assert_eq(decoder.body_bytes, out.len, "%s", bodies[i].name);
                if (error == ERR_OK) {
                    cr_assert_eq(body_decoder_done(&decoder), bodies[i].done, "%s %zu %zu", bodies[i].name, first,
                                 second);
                    cr_assert_eq(left, bodies[i].left, "%s %zu %zu", bodies[i].name, first, second);
                }
                body_decoder_finish(&decoder);
            }
        }
    }
    buf_finish(&out);
}

Test(framing, a_length_of_zero_is_no_body)
{
    cr_expect(!framing_has_body(&(struct framing){FRAMING_NONE, 0, false}));
    cr_expect(!framing_has_body(&(struct framing){FRAMING_LENGTH, 0, false}));
    cr_expect(framing_has_body(&(struct framing){FRAMING_LENGTH, 1, false}));
    cr_expect(framing_has_body(&(struct framing){FRAMING_CHUNKED, 0, false}));
    cr_expect(framing_has_body(&(struct framing){FRAMING_CLOSE, 0, false}));
}

Test(framing, the_end_of_the_connection_completes_only_what_lasts_until_it)
{
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct body_decoder decoder;
        struct buf out;
        size_t left;

        if (bodies[i].want != ERR_OK) {
            continue;
        }
        buf_init(&out, 1000);
        body_decoder_init(&decoder, &bodies[i].framing);
        cr_assert_eq(feed(&decoder, bodies[i].data, 0, 0, &out, &left), ERR_OK);
        cr_expect_eq(body_decoder_eof(&decoder),
                     bodies[i].done || bodies[i].framing.kind == FRAMING_CLOSE ? ERR_OK : ERR_TRUNCATED, "%s",
                     bodies[i].name);
        body_decoder_finish(&decoder);
        buf_finish(&out);
    }
}

/* "0" `fill` bytes of extension, CR LF: 4 + fill bytes with the `;`. */
static enum err feed_long_line(size_t fill)
{
    static char line[2 * CHUNK_LINE_MAX_BYTES];
    struct framing framing = {.kind = FRAMING_CHUNKED};
    struct body_decoder decoder;
    struct span data = {line, fill + 4};
    struct span piece;
    enum err error;

    memset(line, 'x', sizeof line);
    memcpy(line, "1;", 2);
    memcpy(line + 2 + fill, "\r\n", 2);
    body_decoder_init(&decoder, &framing);
    error = body_decoder_feed(&decoder, &data, &piece);
    body_decoder_finish(&decoder);
    return error;
}

Test(framing, chunk_lines_are_bounded)
{
    cr_expect_eq(feed_long_line(CHUNK_LINE_MAX_BYTES - 4), ERR_OK, "n");
    cr_expect_eq(feed_long_line(CHUNK_LINE_MAX_BYTES - 3), ERR_BAD_CHUNK, "n + 1");
}

static enum err feed_trailers(size_t bytes)
{
    static char text[TRAILERS_MAX_BYTES + 100];
    struct framing framing = {.kind = FRAMING_CHUNKED};
    struct body_decoder decoder;
    struct span data;
    struct span piece;
    enum err error;

    memset(text, 'x', sizeof text);
    memcpy(text, "0\r\nA:", 5);
    memcpy(text + 3 + bytes - 2, "\r\n\r\n", 4);
    data = (struct span){text, 3 + bytes + 2};
    body_decoder_init(&decoder, &framing);
    error = body_decoder_feed(&decoder, &data, &piece);
    if (error == ERR_OK) {
        cr_expect(body_decoder_done(&decoder));
        cr_expect_eq(decoder.trailers_len, bytes);
    }
    body_decoder_finish(&decoder);
    return error;
}

Test(framing, trailers_are_bounded)
{
    cr_expect_eq(feed_trailers(TRAILERS_MAX_BYTES), ERR_OK, "n");
    cr_expect_eq(feed_trailers(TRAILERS_MAX_BYTES + 1), ERR_HEAD_TOO_LARGE, "n + 1");
    for (size_t bytes = 250; bytes < 1100; bytes++) {
        cr_assert_eq(feed_trailers(bytes), ERR_OK, "%zu", bytes);
    }
}

Test(framing, trailer_fields_rfc9110_6_5_1)
{
    static const struct {
        const char *section, *want; /* NULL: ERR_BAD_FIELD */
    } cases[] = {
        {"", ""},
        {"Digest: a\r\n", "Digest: a\r\n"},
        {"A:  b \r\nA: c\r\n", "A: b\r\nA: c\r\n"},
        {"Empty:\r\n", "Empty: \r\n"},
        {"A: b\r\nContent-Length: 5\r\nhost: x\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a\r\nC: d\r\n",
         "A: b\r\nC: d\r\n"},
        /* nothing that is removed from a head comes back behind the body */
        {"X-Real-IP: a\r\nx-forwarded-prefix: /a\r\nX-Forwarded: b\r\nX-Forwarded-Port: 1\r\nX-Forwarded-: a\r\nC: "
         "d\r\n",
         "C: d\r\n"},
        {"X_Forwarded_For: a\r\nx_real_ip: a\r\nContent_Length: 5\r\nIf_Match: a\r\nC: d\r\n", "C: d\r\n"},
        {"X-Original-URL: /a\r\nX_Rewrite_Url: /a\r\nX-HTTP-Method-Override: GET\r\nProxy: a\r\nC: d\r\n", "C: d\r\n"},
        {"X-Sum: 5\r\nX-Forward: a\r\nMy_Sum: 5\r\n", "X-Sum: 5\r\nX-Forward: a\r\nMy_Sum: 5\r\n"},
        {"no colon\r\n", NULL},
        {": b\r\n", NULL},
        {"A : b\r\n", NULL},
        {"A: b\r\n c\r\n", NULL},
        {"A(: b\r\n", NULL},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct framing framing = {.kind = FRAMING_CHUNKED};
        struct span parts[] = {SPAN("0\r\n"), span_of(cases[i].section), SPAN("\r\n")};
        struct headers headers;
        struct body_decoder decoder;
        struct span data, piece;
        enum err error;

        cr_assert(arena_join(&arena, parts, 3, &data));
        headers_init(&headers, &arena);
        body_decoder_init(&decoder, &framing);
        cr_assert_eq(body_decoder_feed(&decoder, &data, &piece), ERR_OK);
        cr_assert(body_decoder_done(&decoder));
        error = body_decoder_trailers(&decoder, &headers);
        body_decoder_finish(&decoder); /* the fields are copies */
        cr_expect_eq(error, cases[i].want == NULL ? ERR_BAD_FIELD : ERR_OK, "%s", cases[i].section);
        cr_expect_str_eq(test_headers_text(&headers, &arena), cases[i].want == NULL ? "" : cases[i].want);
    }
    arena_finish(&arena);
}

Test(framing, a_section_without_trailers_allocates_nothing)
{
    struct framing framing = {.kind = FRAMING_CHUNKED};
    struct body_decoder decoder;
    struct span data = SPAN("0\r\n\r\n");
    struct span piece;

    body_decoder_init(&decoder, &framing);
    cr_expect_eq(body_decoder_feed(&decoder, &data, &piece), ERR_OK);
    cr_expect_null(decoder.trailers);
    body_decoder_finish(&decoder);
    body_decoder_finish(NULL);
}

Test(framing, an_error_stays_an_error)
{
    struct framing framing = {.kind = FRAMING_CHUNKED};
    struct body_decoder decoder;
    struct span data = SPAN("1\r\nx0\r\n\r\n");
    struct span piece;

    body_decoder_init(&decoder, &framing);
    cr_expect_eq(body_decoder_feed(&decoder, &data, &piece), ERR_OK);
    cr_expect_eq(body_decoder_feed(&decoder, &data, &piece), ERR_BAD_CHUNK);
    cr_expect_eq(piece.len, 0u);
    cr_expect_eq(body_decoder_feed(&decoder, &data, &piece), ERR_BAD_CHUNK);
    body_decoder_finish(&decoder);
}
