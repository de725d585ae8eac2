/* parser.c: parses heads.
 *
 * The second of two passes, behind head_scan.c: parse_*_head takes the start line apart itself, then has llhttp,
 * compiled strict, read the fields: a head has to please both, but for what llhttp read before, byte for byte
 * (field_memo.h, line_memo.h). llhttp sees heads only; where bodies end is framing.c's business.
 *
 * llhttp refuses methods it does not know, so it is told a known one in place of each. */
#include "http/parser.h"

#include <llhttp.h>

#include "http/byte_class.h"
#include "http/framing.h"
#include "http/token.h"

/* What llhttp's callbacks fill. */
struct reader {
    struct headers *headers;
    size_t field_limit;
    struct span name; /* of the field whose value is next */
    bool complete;    /* the empty line was read */
    enum err error;   /* what a callback failed with */
};

static enum err split_request_line(struct span line, const struct head_limits *limits, struct http_request *request);
static enum err split_status_line(struct span line, struct http_response *response);
static enum err read_version(struct span text, unsigned *out_minor);
static enum err read_fields(llhttp_type_t type, struct span first, struct span rest, struct reader *reader);
static enum err read_new_lines(struct span head, struct line_memo *memo, struct reader *reader);
static enum err check_host(const struct http_request *request);
static enum err err_from_llhttp(llhttp_errno_t code, const llhttp_t *parser, const struct reader *reader);
static int on_header_field(llhttp_t *parser, const char *at, size_t length);
static int on_header_value(llhttp_t *parser, const char *at, size_t length);
static int on_headers_complete(llhttp_t *parser);

static const llhttp_settings_t settings = {
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
};

enum err parse_request_head(struct span head, const struct head_limits *limits, struct arena *arena,
                            struct http_request *out_request)
{
    struct span text, method;
    struct reader reader = {.headers = &out_request->headers, .field_limit = limits->field_count};
    enum err error;

    *out_request = (struct http_request){.method = METHOD_OTHER};
    headers_init(&out_request->headers, arena);
    while (span_starts_with(head, SPAN("\r\n"))) { /* RFC 9112 §2.2 */
        head = span_skip(head, 2);
    }
    if (!arena_copy(arena, head, &text)) {
        return arena_error(arena);
    }
    error = split_request_line(span_take(text, span_find(text, '\r')), limits, out_request);
    if (error != ERR_OK) {
        return error;
    }
    out_request->method = method_of(out_request->method_name);
    out_request->field_block = span_skip(text, out_request->method_name.len + 1 + out_request->target.len);
    /* llhttp takes the authority-form from CONNECT only (RFC 9112 §3.2.3) */
    method = out_request->method == METHOD_CONNECT ? SPAN("CONNECT") : SPAN("POST");
    error = read_fields(HTTP_REQUEST, method, span_skip(text, out_request->method_name.len), &reader);
    if (error == ERR_OK) {
        error = check_host(out_request);
    }
    if (error == ERR_OK) {
        error = framing_of_request(out_request, &out_request->framing);
    }
    return error;
}

bool parse_repeated_head(struct span data, const struct head_limits *limits, const struct field_memo *memo,
                         uint16_t slot, struct arena *arena, struct http_request *out_request, size_t *out_len)
{
    size_t method_len = span_find(data, ' ');
    struct span rest = span_skip(data, method_len == SIZE_MAX ? data.len : method_len + 1);
    size_t target_len = span_find(rest, ' ');
    size_t block_len = target_len == SIZE_MAX ? 0 : field_memo_match(memo, slot, span_skip(rest, target_len));
    size_t len = method_len + 1 + target_len + block_len;
    struct span text;

    if (block_len == 0 || len > limits->head_bytes || !arena_copy(arena, span_take(data, len), &text)) {
        return false;
    }
    *out_request = (struct http_request){.field_block = span_skip(text, len - block_len)};
    struct span line = span_take(text, len - block_len + span_find(out_request->field_block, '\r'));
    if (split_request_line(line, limits, out_request) != ERR_OK) {
        return false;
    }
    out_request->method = method_of(out_request->method_name);
    *out_len = len;
    /* The Host that was right in such a block is right again. */
    return out_request->method != METHOD_CONNECT && /* llhttp reads its head in another way */
           field_memo_headers(memo, slot, out_request->field_block, arena, &out_request->headers) &&
           out_request->headers.count <= limits->field_count &&
           framing_of_request(out_request, &out_request->framing) == ERR_OK;
}

enum err parse_response_head(struct span head, const struct head_limits *limits, enum method method,
                             struct arena *arena, struct http_response *out_response)
{
    return parse_response_head_with(head, limits, method, NULL, arena, out_response);
}

enum err parse_response_head_with(struct span head, const struct head_limits *limits, enum method method,
                                  struct line_memo *memo, struct arena *arena, struct http_response *out_response)
{
    struct span text;
    struct reader reader = {.headers = &out_response->headers, .field_limit = limits->field_count};
    enum err error;

    *out_response = (struct http_response){0};
    headers_init(&out_response->headers, arena);
    if (!arena_copy(arena, head, &text)) {
        return arena_error(arena);
    }
    error = split_status_line(span_take(text, span_find(text, '\r')), out_response);
    if (error == ERR_OK) {
        error = memo == NULL ? read_fields(HTTP_RESPONSE, (struct span){NULL, 0}, text, &reader)
                             : read_new_lines(text, memo, &reader);
    }
    if (error == ERR_OK) {
        error = framing_of_response(method, out_response, &out_response->framing);
    }
    return error;
}

/* RFC 9112 §3: method SP request-target SP HTTP-version, and nothing more lenient. */
static enum err split_request_line(struct span line, const struct head_limits *limits, struct http_request *request)
{
    size_t space = span_find(line, ' ');
    struct span rest = span_skip(line, space == SIZE_MAX ? line.len : space + 1);

    request->method_name = span_take(line, space);
    space = span_find(rest, ' ');
    request->target = span_take(rest, space);
    if (!is_token(request->method_name)) {
        return ERR_BAD_METHOD;
    }
    if (request->target.len > limits->target_bytes) {
        return ERR_TARGET_TOO_LONG;
    }
    if (request->target.len == 0 || space == SIZE_MAX) {
        return ERR_BAD_START_LINE; /* two spaces, or an HTTP/0.9 line */
    }
    if (!bytes_are(request->target, BYTE_TARGET)) {
        return ERR_BAD_TARGET;
    }
    rest = span_skip(rest, space + 1);
    if (span_equal(request->method_name, SPAN("PRI")) && span_equal(rest, SPAN("HTTP/2.0"))) {
        return ERR_HTTP2; /* RFC 9113 §3.4: its preface */
    }
    return read_version(rest, &request->minor);
}

/* RFC 9112 §4. The space behind the status is required there; servers that send no phrase leave it out. */
static enum err split_status_line(struct span line, struct http_response *response)
{
    size_t space = span_find(line, ' ');
    enum err error = read_version(span_take(line, space), &response->minor);
    struct span status = span_skip(line, space == SIZE_MAX ? line.len : space + 1);
    uint64_t number;

    if (error != ERR_OK) {
        return error;
    }
    status = span_take(status, span_find(status, ' '));
    if (status.len != 3 || !span_to_u64(status, &number) || number < 100 || number > 599) {
        return ERR_BAD_STATUS;
    }
    response->status = (unsigned)number;
    return ERR_OK;
}

/* RFC 9112 §2.3. RFC 9110 §6.2: a later minor version is read as the highest that we know; `text` is of our own copy of
 * the head, and says so then, for llhttp knows no later one either. */
static enum err read_version(struct span text, unsigned *out_minor)
{
    if (text.len == 8 && span_starts_with(text, SPAN("HTTP/1.")) && text.data[7] >= '2' && text.data[7] <= '9') {
        *((char *)(uintptr_t)text.data + 7) = '1';
    }
    if (span_equal(text, SPAN("HTTP/1.1"))) {
        *out_minor = 1;
        return ERR_OK;
    }
    if (span_equal(text, SPAN("HTTP/1.0"))) {
        *out_minor = 0;
        return ERR_OK;
    }
    if (text.len == 8 && span_starts_with(text, SPAN("HTTP/")) && text.data[6] == '.') {
        return ERR_BAD_VERSION; /* as good as a version, but of another protocol */
    }
    return ERR_BAD_START_LINE;
}

/* Inline: it sees every field that is parsed. */
HEADERS_FOLDED static inline bool add_field(struct reader *reader, struct span name, struct span value)
{
    if (reader->headers->count == reader->field_limit) {
        reader->error = ERR_TOO_MANY_FIELDS;
        return false;
    }
    if (!headers_add(reader->headers, name, value)) {
        reader->error = arena_error(reader->headers->arena);
        return false;
    }
    return true;
}

/* Has llhttp read a whole head, given in two pieces. It stops at the empty line: framing and upgrades never begin in
 * it. */
static enum err read_fields(llhttp_type_t type, struct span first, struct span rest, struct reader *reader)
{
    llhttp_t parser;
    llhttp_errno_t code = HPE_OK;

    llhttp_init(&parser, type, &settings);
    parser.data = reader;
    if (first.len > 0) {
        code = llhttp_execute(&parser, first.data, first.len);
    }
    if (code == HPE_OK) {
        code = llhttp_execute(&parser, rest.data, rest.len);
    }
    if (code == HPE_PAUSED && reader->complete) {
        return ERR_OK;
    }
    return err_from_llhttp(code, &parser, reader);
}

/* As read_fields, line by line: llhttp does not see the lines of which is known what it made of them. It tells of some
 * lines (empty ones) only when it sees what follows: then that goes to it, too, known or not. */
static enum err read_new_lines(struct span head, struct line_memo *memo, struct reader *reader)
{
    const struct headers *headers = reader->headers;
    size_t line_len = span_find(head, '\n') + 1;
    struct span rest = span_skip(head, line_len);
    struct span fields = span_take(rest, rest.len < 2 ? 0 : rest.len - 2);
    llhttp_t parser;

    llhttp_init(&parser, HTTP_RESPONSE, &settings);
    parser.data = reader;
    llhttp_errno_t code = llhttp_execute(&parser, head.data, line_len);
    for (size_t lines = 0; code == HPE_OK && rest.len > 0; lines++) {
        struct header known;
        line_len = headers->count == lines ? line_memo_find(memo, lines, rest, &known) : 0;
        if (line_len == 0) {
            line_len = span_find(rest, '\n') + 1;
            code = llhttp_execute(&parser, rest.data, line_len);
        } else if (!add_field(reader, known.name, known.value)) {
            return reader->error;
        }
        rest = span_skip(rest, line_len);
    }
    if (code == HPE_PAUSED && reader->complete) {
        line_memo_keep(memo, fields, headers);
        return ERR_OK;
    }
    return err_from_llhttp(code, &parser, reader);
}

/* RFC 9112 §3.2: one Host in 1.1, and a valid one wherever there is one. */
static enum err check_host(const struct http_request *request)
{
    const struct header *host = headers_find(&request->headers, SPAN("Host"));

    if (host == NULL) {
        return request->minor == 0 ? ERR_OK : ERR_BAD_HOST;
    }
    if (headers_find_next(&request->headers, host) != NULL || !uri_host_valid(host->value)) {
        return ERR_BAD_HOST;
    }
    return ERR_OK;
}

static enum err err_from_llhttp(llhttp_errno_t code, const llhttp_t *parser, const struct reader *reader)
{
    static const struct {
        llhttp_errno_t code;
        enum err error;
    } table[] = {
        {HPE_INVALID_HEADER_TOKEN, ERR_BAD_FIELD},
        {HPE_UNEXPECTED_SPACE, ERR_BAD_FIELD},
        {HPE_INVALID_URL, ERR_BAD_TARGET},
        {HPE_INVALID_CONTENT_LENGTH, ERR_BAD_LENGTH},
        {HPE_INVALID_TRANSFER_ENCODING, ERR_BAD_CODING},
        {HPE_INVALID_METHOD, ERR_BAD_METHOD},
        {HPE_INVALID_VERSION, ERR_BAD_VERSION},
        {HPE_INVALID_STATUS, ERR_BAD_STATUS},
        {HPE_INVALID_CONSTANT, ERR_BAD_START_LINE},
        {HPE_STRICT, ERR_BAD_LINE_END},
        {HPE_CR_EXPECTED, ERR_BAD_LINE_END},
        {HPE_LF_EXPECTED, ERR_BAD_LINE_END},
    };

    if (reader->error != ERR_OK) {
        return reader->error; /* it was ours */
    }
    if (code == HPE_UNEXPECTED_CONTENT_LENGTH) { /* one code for a second length and for a length beside a coding */
        bool has_coding =
            (parser->flags & F_TRANSFER_ENCODING) != 0 || span_equal_nocase(reader->name, SPAN("Transfer-Encoding"));

        return has_coding ? ERR_LENGTH_AND_CODING : ERR_BAD_LENGTH;
    }
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (table[i].code == code) {
            return table[i].error;
        }
    }
    return ERR_BAD_HEAD;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t length) /* llhttp_data_cb */
{
    struct reader *reader = parser->data;

    reader->name = (struct span){at, length};
    return 0;
}

/* Called once per field, for an empty value too: the head lies in one piece, and without obs-fold a value is one span.
 */
static int on_header_value(llhttp_t *parser, const char *at, size_t length) /* llhttp_data_cb */
{
    struct reader *reader = parser->data;

    /* RFC 9112 §5.1: white space around the value is not part of it */
    return add_field(reader, reader->name, span_trim((struct span){at, length})) ? 0 : -1;
}

static int on_headers_complete(llhttp_t *parser) /* llhttp_cb */
{
    struct reader *reader = parser->data;

    reader->complete = true;
    return HPE_PAUSED;
}
