/* fuzz_chunked.c: a chunked body cut into random pieces must decode as it does in one. The first eight bytes seed the
 * cuts. */
#include <stdlib.h>
#include <string.h>

#include "http/buf.h"
#include "http/framing.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* What came of one run. */
struct outcome {
    struct buf body;
    enum err error;
    bool done;
    size_t left;
    struct body_decoder decoder;
};

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

/* With a seed of 0 everything in one piece. Each piece is a heap copy of its own, so that a read behind it is found. */
static struct outcome run(struct span data, uint64_t seed)
{
    struct framing framing = {.kind = FRAMING_CHUNKED};
    struct outcome out = {.error = ERR_OK};

    buf_init(&out.body, data.len);
    body_decoder_init(&out.decoder, &framing);
    while (data.len > 0 && out.error == ERR_OK && !body_decoder_done(&out.decoder)) {
        size_t len = seed == 0 ? data.len : (size_t)(next_random(&seed) % 7 + 1);
        size_t cut = len < data.len ? len : data.len;
        char *copy = malloc(cut);
        struct span piece = {copy, cut};

        REQUIRE(copy != NULL);
        memcpy(copy, data.data, cut);
        while (piece.len > 0 && out.error == ERR_OK && !body_decoder_done(&out.decoder)) {
            struct span payload;

            out.error = body_decoder_feed(&out.decoder, &piece, &payload);
            if (out.error == ERR_OK) {
                buf_add(&out.body, payload);
            }
        }
        data = span_skip(data, cut - piece.len);
        free(copy);
    }
    out.done = body_decoder_done(&out.decoder);
    out.left = data.len;
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint64_t seed;
    struct span data;
    struct outcome whole, cut;

    if (size < sizeof seed) {
        return 0;
    }
    memcpy(&seed, bytes, sizeof seed);
    data = (struct span){(const char *)bytes + sizeof seed, size - sizeof seed};
    whole = run(data, 0);
    cut = run(data, seed | 1);
    REQUIRE(whole.error == cut.error);
    REQUIRE(whole.done == cut.done);
    REQUIRE(whole.left == cut.left);
    REQUIRE(!whole.body.failed && !cut.body.failed);
    REQUIRE(span_equal(buf_span(&whole.body), buf_span(&cut.body)));
    REQUIRE(whole.decoder.trailers_len == cut.decoder.trailers_len);
    REQUIRE(whole.decoder.trailers_len == 0 ||
            memcmp(whole.decoder.trailers, cut.decoder.trailers, whole.decoder.trailers_len) == 0);
    body_decoder_finish(&whole.decoder);
    body_decoder_finish(&cut.decoder);
    buf_finish(&whole.body);
    buf_finish(&cut.body);
    return 0;
}
