/* gunzip.c: see gunzip.h. The only file that knows zlib. */
#include "proxy/commands/gunzip.h"

#define ZLIB_CONST
#include <zlib.h>

enum {
    PIECE_BYTES = 64 * 1024,
    GZIP_ONLY = 16, /* added to the window's bits: zlib's own framing is not expected */
};

bool gunzip_knows(struct span bytes)
{
    return span_starts_with(bytes, SPAN("\x1f\x8b\x08")); /* the only method that there is: deflate */
}

static enum err err_from_zlib(int result)
{
    return result == Z_STREAM_END ? ERR_OK : result == Z_MEM_ERROR ? ERR_NO_MEMORY : ERR_DAMAGED;
}

/* Z_STREAM_END behind the last member, Z_OK where `out` is full, else what is wrong. */
static int inflate_all(z_stream *stream, struct buf *out)
{
    char piece[PIECE_BYTES];
    int result = Z_OK;

    while (result == Z_OK && !out->failed) {
        stream->next_out = (Bytef *)piece;
        stream->avail_out = sizeof piece;
        result = inflate(stream, Z_NO_FLUSH); /* Z_BUF_ERROR: the input has ended, and the member has not */
        buf_add(out, (struct span){piece, sizeof piece - stream->avail_out});
        if (result == Z_STREAM_END && gunzip_knows((struct span){(const char *)stream->next_in, stream->avail_in})) {
            result = inflateReset(stream);
        }
    }
    return result;
}

enum err gunzip(struct span bytes, struct buf *out)
{
    z_stream stream = {.next_in = (const Bytef *)bytes.data, .avail_in = (uInt)bytes.len};

    if (bytes.len > UINT32_MAX) {
        return ERR_BODY_TOO_LARGE;
    }
    if (inflateInit2(&stream, MAX_WBITS + GZIP_ONLY) != Z_OK) {
        return ERR_NO_MEMORY;
    }
    int result = inflate_all(&stream, out);
    (void)inflateEnd(&stream); /* cannot fail for a stream that was begun */
    if (out->failed) {
        return out->starved ? ERR_NO_MEMORY : ERR_BODY_TOO_LARGE;
    }
    return err_from_zlib(result);
}
