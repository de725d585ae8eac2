/* http1_spares.c: the memory of streams: taken with a request's head, and let go when nothing more was received. */
#include <stdlib.h>

#include "proxy/client/http1_stream.h"

enum {
    OUT_LIMIT_BYTES = 1024 * 1024, /* beside a head: what larder adds, chunk framing, the copied rest of a write */
    SPARES_MAX = 64,
};

struct stream *http1_stream_take(struct stream_spares *spares, struct conn *conn, const struct config *config,
                                 struct buf *out_spare)
{
    struct stream *stream = spares->first;

    if (stream != NULL) {
        spares->first = stream->next;
        spares->count--;
    } else {
        stream = malloc(sizeof(*stream));
    }
    if (stream != NULL) {
        *stream = (struct stream){.conn = conn, .config = config, .spare = out_spare};
        buf_init(&stream->out, 2 * config->server.max_head_bytes + OUT_LIMIT_BYTES);
    }
    return stream;
}

void http1_stream_let_go(struct stream *stream, struct stream_spares *spares)
{
    buf_give_back(&stream->out, stream->spare);
    body_decoder_finish(&stream->decoder);
    if (spares->count == SPARES_MAX) {
        free(stream);
        return;
    }
    stream->next = spares->first;
    spares->first = stream;
    spares->count++;
}

void http1_stream_spares_finish(struct stream_spares *spares)
{
    while (spares->first != NULL) {
        struct stream *stream = spares->first;
        spares->first = stream->next;
        free(stream);
    }
    spares->count = 0;
}
