/* framing.c: which rule delimits a body, and the decoder that applies it.
 *
 * The chunk decoder is strict where it guards the boundaries (digits, line ends, sizes) and indifferent to what
 * extensions say: two readers that see different boundaries are what request smuggling is made of (RFC 9112 §11.2). */
#include "http/framing.h"

#include <stdlib.h>
#include <string.h>

#include "http/forwarded.h"
#include "http/token.h"
#include "http/unkeyed.h"

enum {
    SIZE_MAX_DIGITS = 16, /* hex digits of a chunk size, leading zeros included */
    TRAILERS_FIRST_BYTES = 256,
};

static enum err read_length(const struct headers *headers, struct framing *out_framing);
static bool coding_is_chunked(const struct headers *headers);
static bool coding_names_chunked(const struct headers *headers);
static enum err feed_byte(struct body_decoder *decoder, unsigned char byte);
static enum err feed_size(struct body_decoder *decoder, unsigned char byte);
static enum err feed_extension(struct body_decoder *decoder, unsigned char byte);
static enum err feed_trailers(struct body_decoder *decoder, unsigned char byte);
static enum err add_trailer_byte(struct body_decoder *decoder, unsigned char byte);
static void start_chunk_line(struct body_decoder *decoder);
static void start_chunk_data(struct body_decoder *decoder);
static bool parse_field_line(struct span line, struct header *out_field);
static bool may_be_trailer(struct span name);

/* RFC 9112 §6.3 */
enum err framing_of_request(const struct http_request *request, struct framing *out_framing)
{
    const struct headers *headers = &request->headers;
    bool has_length = headers_has(headers, SPAN("Content-Length"));
    struct framing framing = {.kind = FRAMING_NONE};

    if (headers_has(headers, SPAN("Transfer-Encoding"))) {
        /* RFC 9112 §6.1: with a length besides, somebody is being fooled; in 1.0 there are no transfer codings */
        if (has_length) {
            return ERR_LENGTH_AND_CODING;
        }
        if (request->minor == 0 || !coding_is_chunked(headers)) {
            return ERR_BAD_CODING;
        }
        framing.kind = FRAMING_CHUNKED;
    } else if (has_length) {
        return read_length(headers, out_framing);
    }
    *out_framing = framing;
    return ERR_OK;
}

bool framing_has_body(const struct framing *framing)
{
    return framing->kind != FRAMING_NONE && !(framing->kind == FRAMING_LENGTH && framing->length == 0);
}

/* RFC 9112 §6.3 */
enum err framing_of_response(enum method method, const struct http_response *response, struct framing *out_framing)
{
    const struct headers *headers = &response->headers;
    bool has_length = headers_has(headers, SPAN("Content-Length"));
    struct framing framing = {.kind = FRAMING_CLOSE};

    if (!response_may_have_body(method, response->status)) {
        framing.kind = FRAMING_NONE;
    } else if (headers_has(headers, SPAN("Transfer-Encoding"))) {
        if (has_length) {
            return ERR_LENGTH_AND_CODING;
        }
        if (response->minor == 0) {
            return ERR_BAD_CODING; /* RFC 9112 §6.1 */
        }
        if (coding_is_chunked(headers)) {
            framing.kind = FRAMING_CHUNKED;
        } else if (coding_names_chunked(headers)) {
            return ERR_BAD_CODING; /* chunks around or inside what we cannot decode and never asked for */
        } else {
            framing.unknown_coding = true;
        }
    } else if (has_length) {
        return read_length(headers, out_framing);
    }
    *out_framing = framing;
    return ERR_OK;
}

/* RFC 9110 §8.6. Stricter than it: equal repetitions and leading zeros are refused too, since not every reader takes
 * them alike. */
static enum err read_length(const struct headers *headers, struct framing *out_framing)
{
    struct span value = headers_value(headers, SPAN("Content-Length"));
    uint64_t length;

    if ((headers_may_repeat(headers, SPAN("Content-Length")) &&
         headers_count_of(headers, SPAN("Content-Length")) != 1) ||
        !span_to_u64(value, &length) || length > INT64_MAX || (value.len > 1 && value.data[0] == '0')) {
        return ERR_BAD_LENGTH;
    }
    *out_framing = (struct framing){.kind = FRAMING_LENGTH, .length = length};
    return ERR_OK;
}

static bool coding_is_chunked(const struct headers *headers)
{
    const struct header *line = headers_find(headers, SPAN("Transfer-Encoding"));

    return span_equal_nocase(line->value, SPAN("chunked")) && headers_find_next(headers, line) == NULL;
}

/* Among others, or with a parameter, which chunked does not have. */
static bool coding_names_chunked(const struct headers *headers)
{
    const struct span name = SPAN_INIT("Transfer-Encoding");
    struct span member, coding;

    for (const struct header *line = headers_find(headers, name); line != NULL;
         line = headers_find_next(headers, line)) {
        struct span rest = line->value;
        while (list_next(&rest, &member)) {
            if (span_split(&member, ';', &coding) && span_equal_nocase(span_trim(coding), SPAN("chunked"))) {
                return true;
            }
        }
    }
    return false;
}

void body_decoder_init(struct body_decoder *decoder, const struct framing *framing)
{
    *decoder = (struct body_decoder){.kind = framing->kind, .state = BODY_DATA};
    switch (framing->kind) {
    case FRAMING_NONE:
        decoder->state = BODY_DONE;
        break;
    case FRAMING_LENGTH:
        decoder->left = framing->length;
        if (decoder->left == 0) {
            decoder->state = BODY_DONE;
        }
        break;
    case FRAMING_CHUNKED:
        start_chunk_line(decoder);
        break;
    case FRAMING_CLOSE:
        decoder->left = UINT64_MAX;
        break;
    }
}

void body_decoder_finish(struct body_decoder *decoder)
{
    if (decoder == NULL) {
        return;
    }
    free(decoder->trailers);
    decoder->trailers = NULL;
    decoder->trailers_len = 0;
}

enum err body_decoder_feed(struct body_decoder *decoder, struct span *data, struct span *out_piece)
{
    *out_piece = span_take(*data, 0);
    while (data->len > 0 && decoder->state != BODY_DONE) {
        enum err error;

        if (decoder->state == BODY_DATA || decoder->state == BODY_CHUNK_DATA) {
            struct span piece = span_take(*data, decoder->left < SIZE_MAX ? (size_t)decoder->left : SIZE_MAX);

            *data = span_skip(*data, piece.len);
            decoder->body_bytes += piece.len;
            if (decoder->kind != FRAMING_CLOSE) {
                decoder->left -= piece.len;
            }
            if (decoder->left == 0) {
                decoder->state = decoder->state == BODY_DATA ? BODY_DONE : BODY_CHUNK_CR;
            }
            *out_piece = piece;
            return ERR_OK;
        }
        error = feed_byte(decoder, (unsigned char)data->data[0]);
        if (error != ERR_OK) {
            return error; /* the byte stays: asked again, the answer is the same */
        }
        *data = span_skip(*data, 1);
    }
    return ERR_OK;
}

bool body_decoder_done(const struct body_decoder *decoder)
{
    return decoder->state == BODY_DONE;
}

enum err body_decoder_eof(struct body_decoder *decoder)
{
    if (decoder->kind == FRAMING_CLOSE) {
        decoder->state = BODY_DONE; /* RFC 9112 §6.3, rule 8 */
    }
    return decoder->state == BODY_DONE ? ERR_OK : ERR_TRUNCATED;
}

enum err body_decoder_trailers(const struct body_decoder *decoder, struct headers *out_headers)
{
    struct span rest = {decoder->trailers, decoder->trailers_len};
    size_t count_before = out_headers->count;
    struct span line;
    enum err error = ERR_OK;

    while (error == ERR_OK && span_split(&rest, '\n', &line)) {
        struct header field;

        if (!parse_field_line(span_take(line, line.len - 1), &field)) { /* feed_trailers saw the CR */
            error = ERR_BAD_FIELD;
        } else if (may_be_trailer(field.name) && (!arena_copy(out_headers->arena, field.name, &field.name) ||
                                                  !arena_copy(out_headers->arena, field.value, &field.value) ||
                                                  !headers_add(out_headers, field.name, field.value))) {
            error = arena_error(out_headers->arena);
        }
    }
    if (error != ERR_OK) {
        out_headers->count = count_before;
    }
    return error;
}

/* RFC 9112 §7.1: everything in the chunked coding but the data itself. */
static enum err feed_byte(struct body_decoder *decoder, unsigned char byte)
{
    switch (decoder->state) {
    case BODY_CHUNK_SIZE:
        return feed_size(decoder, byte);
    case BODY_CHUNK_SPACE:
    case BODY_CHUNK_EXT:
        return feed_extension(decoder, byte);
    case BODY_CHUNK_SIZE_LF:
        if (byte != '\n') {
            return ERR_BAD_CHUNK;
        }
        start_chunk_data(decoder);
        return ERR_OK;
    case BODY_CHUNK_CR:
        if (byte != '\r') {
            return ERR_BAD_CHUNK;
        }
        decoder->state = BODY_CHUNK_LF;
        return ERR_OK;
    case BODY_CHUNK_LF:
        if (byte != '\n') {
            return ERR_BAD_CHUNK;
        }
        start_chunk_line(decoder);
        return ERR_OK;
    case BODY_TRAILERS:
        return feed_trailers(decoder, byte);
    case BODY_TRAILERS_LF:
        if (byte != '\n') {
            return ERR_BAD_CHUNK;
        }
        decoder->state = BODY_DONE;
        return ERR_OK;
    case BODY_DATA:
    case BODY_CHUNK_DATA:
    case BODY_DONE:
        break;
    }
    UNREACHABLE();
}

static unsigned hex_digit(unsigned char byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - (unsigned)'0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - (unsigned)'a' + 10 : 16;
}

/* What may stand between the digits and the end of the line: the bytes are counted, CR included, LF to come. */
static enum err end_size(struct body_decoder *decoder, unsigned char byte)
{
    if (byte == '\r') {
        decoder->state = BODY_CHUNK_SIZE_LF;
    } else if (byte == ';') {
        decoder->state = BODY_CHUNK_EXT;
    } else if (byte == ' ' || byte == '\t') {
        decoder->state = BODY_CHUNK_SPACE;
    } else {
        return ERR_BAD_CHUNK;
    }
    decoder->line_bytes++;
    return ERR_OK;
}

static enum err feed_size(struct body_decoder *decoder, unsigned char byte)
{
    unsigned digit = hex_digit(byte);

    if (digit == 16) {
        return decoder->digits == 0 ? ERR_BAD_CHUNK : end_size(decoder, byte);
    }
    /* RFC 9112 §7.1: a size that overflows would put the boundary somewhere else */
    if (decoder->digits == SIZE_MAX_DIGITS || decoder->left > INT64_MAX / 16) {
        return ERR_BAD_CHUNK;
    }
    decoder->left = decoder->left * 16 + digit;
    decoder->digits++;
    decoder->line_bytes++;
    return ERR_OK;
}

/* RFC 9112 §7.1.1: extensions are not understood, so ignored; a `;` starts them, perhaps behind white space. */
static enum err feed_extension(struct body_decoder *decoder, unsigned char byte)
{
    bool at_limit = decoder->line_bytes + 2 > CHUNK_LINE_MAX_BYTES; /* this byte and, at least, the LF */

    if (at_limit) {
        return ERR_BAD_CHUNK;
    }
    if (decoder->state == BODY_CHUNK_SPACE) {
        return byte == '\r' ? ERR_BAD_CHUNK : end_size(decoder, byte);
    }
    if (byte == '\r') {
        decoder->state = BODY_CHUNK_SIZE_LF;
    } else if (!is_field_value((struct span){(const char *)&byte, 1})) {
        return ERR_BAD_CHUNK;
    }
    decoder->line_bytes++;
    return ERR_OK;
}

/* RFC 9112 §7.1.2. Lines are kept whole, CR LF included; the empty one that ends them is not. */
static enum err feed_trailers(struct body_decoder *decoder, unsigned char byte)
{
    char before = decoder->trailers_len == 0 ? '\n' : decoder->trailers[decoder->trailers_len - 1];

    if (before == '\n' && byte == '\r') {
        decoder->state = BODY_TRAILERS_LF;
        return ERR_OK;
    }
    if ((before == '\r') != (byte == '\n')) {
        return ERR_BAD_CHUNK; /* a bare CR or a bare LF */
    }
    if (byte != '\r' && byte != '\n' && !is_field_value((struct span){(const char *)&byte, 1})) {
        return ERR_BAD_CHUNK;
    }
    return add_trailer_byte(decoder, byte);
}

/* The memory grows in powers of two, so that its size follows from the length and need not be kept. */
static enum err add_trailer_byte(struct body_decoder *decoder, unsigned char byte)
{
    size_t len = decoder->trailers_len;

    if (len == TRAILERS_MAX_BYTES) {
        return ERR_HEAD_TOO_LARGE;
    }
    if (len == 0 || (len >= TRAILERS_FIRST_BYTES && (len & (len - 1)) == 0)) {
        char *grown = realloc(decoder->trailers, len == 0 ? TRAILERS_FIRST_BYTES : len * 2);

        if (grown == NULL) {
            return ERR_NO_MEMORY;
        }
        decoder->trailers = grown;
    }
    decoder->trailers[decoder->trailers_len++] = (char)byte;
    decoder->line_bytes++;
    return ERR_OK;
}

static void start_chunk_line(struct body_decoder *decoder)
{
    decoder->state = BODY_CHUNK_SIZE;
    decoder->left = 0;
    decoder->digits = 0;
    decoder->line_bytes = 0;
}

static void start_chunk_data(struct body_decoder *decoder)
{
    decoder->state = decoder->left > 0 ? BODY_CHUNK_DATA : BODY_TRAILERS;
    decoder->line_bytes = 0;
}

/* RFC 9112 §5: no white space in front of the name or the colon, no folding */
static bool parse_field_line(struct span line, struct header *out_field)
{
    size_t colon = span_find(line, ':');

    if (colon == SIZE_MAX || !is_token(span_take(line, colon))) {
        return false;
    }
    *out_field = (struct header){.name = span_take(line, colon), .value = span_trim(span_skip(line, colon + 1))};
    return true;
}

/* RFC 9110 §6.5.1: what must be known before the content is useless behind it, and dangerous to whoever merges it into
 * the head: framing, routing, authentication, request modifiers, response controls, content format. So is what is
 * removed from a request's head; a response has no use for it. */
static bool may_be_trailer(struct span name)
{
    static const struct span forbidden[] = {
        /* framing and connections */
        SPAN_INIT("Transfer-Encoding"),
        SPAN_INIT("Content-Length"),
        SPAN_INIT("Connection"),
        SPAN_INIT("Keep-Alive"),
        SPAN_INIT("Proxy-Connection"),
        SPAN_INIT("Upgrade"),
        SPAN_INIT("TE"),
        SPAN_INIT("Trailer"),
        /* routing */
        SPAN_INIT("Host"),
        SPAN_INIT("Via"),
        SPAN_INIT("Max-Forwards"),
        SPAN_INIT("CDN-Loop"),
        /* authentication and state */
        SPAN_INIT("Authorization"),
        SPAN_INIT("Proxy-Authorization"),
        SPAN_INIT("Proxy-Authenticate"),
        SPAN_INIT("WWW-Authenticate"),
        SPAN_INIT("Cookie"),
        SPAN_INIT("Set-Cookie"),
        /* request modifiers */
        SPAN_INIT("Cache-Control"),
        SPAN_INIT("Pragma"),
        SPAN_INIT("Expect"),
        SPAN_INIT("Range"),
        SPAN_INIT("If-Match"),
        SPAN_INIT("If-None-Match"),
        SPAN_INIT("If-Modified-Since"),
        SPAN_INIT("If-Unmodified-Since"),
        SPAN_INIT("If-Range"),
        /* response controls */
        SPAN_INIT("Age"),
        SPAN_INIT("Date"),
        SPAN_INIT("Expires"),
        SPAN_INIT("Location"),
        SPAN_INIT("Retry-After"),
        SPAN_INIT("Vary"),
        SPAN_INIT("Warning"),
        SPAN_INIT("Surrogate-Control"),
        SPAN_INIT("CDN-Cache-Control"),
        /* content format */
        SPAN_INIT("Content-Encoding"),
        SPAN_INIT("Content-Type"),
        SPAN_INIT("Content-Range"),
        SPAN_INIT("Content-Location"),
    };

    for (size_t i = 0; i < ARRAY_LEN(forbidden); i++) {
        if (span_equal_nocase(forbidden[i], name)) {
            return false;
        }
    }
    /* Of which method the request was is not known here: GET is the one with most of them. */
    return !forwarded_is_one(name) && !unkeyed_is_one(name, METHOD_GET);
}
