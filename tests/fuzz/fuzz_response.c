/* fuzz_response.c: any bytes as a response: its head found and parsed, its body decoded. The first byte chooses the
 * request's method. */
#include "http/check.h"
#include "http/framing.h"
#include "http/parser.h"
#include "http/serialize.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const struct head_limits limits = {.head_bytes = 4096, .target_bytes = 1024, .field_count = 50};

static void decode(const struct framing *framing, struct span data, struct arena *arena)
{
    struct body_decoder decoder;
    struct headers trailers;
    uint64_t total = 0;

    body_decoder_init(&decoder, framing);
    headers_init(&trailers, arena);
    while (data.len > 0 && !body_decoder_done(&decoder)) {
        struct span piece;

        if (body_decoder_feed(&decoder, &data, &piece) != ERR_OK) {
            break;
        }
        total += piece.len;
    }
    REQUIRE(total == decoder.body_bytes);
    if (body_decoder_eof(&decoder) == ERR_OK) {
        REQUIRE(body_decoder_done(&decoder));
        REQUIRE(framing->kind != FRAMING_LENGTH || total == framing->length);
        (void)body_decoder_trailers(&decoder, &trailers); /* any outcome is fine */
    }
    body_decoder_finish(&decoder);
}

/* With lines of former inputs known, and with those of this one, a head says what it says without. */
static void compare(struct span head, enum method method, struct arena *arena)
{
    static struct line_memo memo;
    struct http_response plain, known;
    enum err error = parse_response_head(head, &limits, method, arena, &plain);

    for (unsigned round = 0; round < 2; round++) {
        REQUIRE(parse_response_head_with(head, &limits, method, &memo, arena, &known) == error);
        REQUIRE(error != ERR_OK || known.headers.count == plain.headers.count);
        for (size_t i = 0; error == ERR_OK && i < plain.headers.count; i++) {
            REQUIRE(span_equal(known.headers.items[i].name, plain.headers.items[i].name));
            REQUIRE(span_equal(known.headers.items[i].value, plain.headers.items[i].value));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct head_scan scan = {0};
    struct http_response response;
    struct arena arena;
    struct span data;
    enum method method;
    size_t len = 0;

    if (size == 0) {
        return 0;
    }
    method = (enum method)(bytes[0] % (METHOD_OTHER + 1));
    data = (struct span){(const char *)bytes + 1, size - 1};
    if (head_find(&scan, data, &limits, &len) != ERR_OK) {
        return 0;
    }
    arena_init(&arena, 1024 * 1024);
    if (parse_response_head(span_take(data, len), &limits, method, &arena, &response) == ERR_OK) {
        REQUIRE(response.status >= 100);
        REQUIRE(response.status <= 599);
        REQUIRE(response.minor <= 1);
        for (size_t i = 0; i < response.headers.count; i++) {
            REQUIRE(response.headers.items[i].name.len > 0);
        }
        decode(&response.framing, span_skip(data, len), &arena);
    }
    compare(span_take(data, len), method, &arena);
    arena_finish(&arena);
    return 0;
}
