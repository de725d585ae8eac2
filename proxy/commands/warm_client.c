/* warm_client.c: see warm_client.h. */
#include "proxy/commands/warm_client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/framing.h"
#include "http/parser.h"
#include "http/serialize.h"
#include "proxy/server/listener.h"

enum {
    TIMEOUT_S = 120, /* of a read or write: longer than larder waits for an origin */
    HEAD_MAX_BYTES = 256 * 1024,
    PIECE_BYTES = 64 * 1024,
    ARENA_BYTES = 1024 * 1024,
};

static enum err open_connection(struct warm_client *client)
{
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    struct sockaddr_storage name;
    socklen_t len;

    if (!listener_sockaddr(client->address, &name, &len)) {
        return ERR_CONNECT;
    }
    int fd = socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return ERR_LIMIT;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) < 0 ||
        connect(fd, (struct sockaddr *)&name, len) < 0) {
        close(fd);
        return ERR_CONNECT;
    }
    client->fd = fd;
    client->open = true;
    return ERR_OK;
}

void warm_client_close(struct warm_client *client)
{
    if (client->open) {
        close(client->fd);
        client->open = false;
    }
}

static enum err send_request(const struct warm_client *client, const struct warm_request *request)
{
    struct buf out;

    buf_init(&out, HEAD_MAX_BYTES);
    write_request_line(&out, SPAN("GET"), request->target);
    write_field(&out, SPAN("Host"), request->host);
    if (request->secure) { /* larder looks at the one that it writes itself (`forwarded`) */
        write_field(&out, SPAN("X-Forwarded-Proto"), SPAN("https"));
        write_field(&out, SPAN("Forwarded"), SPAN("proto=https"));
    }
    buf_add(&out, request->fields);
    write_end(&out);
    enum err error = out.failed ? ERR_HEAD_TOO_LARGE : ERR_OK;
    for (size_t at = 0; error == ERR_OK && at < out.len;) {
        ssize_t count = write(client->fd, out.data + at, out.len - at);
        if (count < 0 && errno != EINTR) {
            error = ERR_RESET;
        }
        at += count > 0 ? (size_t)count : 0;
    }
    buf_finish(&out);
    return error;
}

/* Reads more behind what is in `in`. ERR_RESET: the end. */
static enum err read_more(const struct warm_client *client, struct buf *in)
{
    char *place = buf_reserve(in, PIECE_BYTES);
    ssize_t count;

    if (place == NULL) {
        return ERR_HEAD_TOO_LARGE;
    }
    do {
        count = read(client->fd, place, PIECE_BYTES);
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK ? ERR_TIMEOUT : ERR_RESET;
    }
    in->len += (size_t)count;
    return count > 0 ? ERR_OK : ERR_RESET;
}

/* The final head; `in` keeps what came behind it. */
static enum err read_head(const struct warm_client *client, struct buf *in, struct arena *arena,
                          struct http_response *response)
{
    const struct head_limits limits = {
        .head_bytes = HEAD_MAX_BYTES, .target_bytes = HEAD_MAX_BYTES, .field_count = 1024};
    enum err error;

    do {
        struct head_scan scan = {0};
        size_t head_len = 0;
        while ((error = head_find(&scan, buf_span(in), &limits, &head_len)) == ERR_AGAIN) {
            error = read_more(client, in);
            if (error != ERR_OK) {
                return error;
            }
        }
        if (error == ERR_OK) {
            error = parse_response_head(span_take(buf_span(in), head_len), &limits, METHOD_GET, arena, response);
            buf_consume(in, head_len);
        }
    } while (error == ERR_OK && response->status < 200);
    return error;
}

static enum err read_body(const struct warm_client *client, struct buf *in, const struct framing *framing,
                          struct buf *body)
{
    struct body_decoder decoder;
    enum err error = ERR_OK;

    body_decoder_init(&decoder, framing);
    while (error == ERR_OK && !body_decoder_done(&decoder)) {
        struct span rest = buf_span(in);
        while (error == ERR_OK && rest.len > 0 && !body_decoder_done(&decoder)) {
            struct span piece;
            error = body_decoder_feed(&decoder, &rest, &piece);
            if (error == ERR_OK && body != NULL) {
                buf_add(body, piece);
            }
        }
        buf_clear(in);
        if (error == ERR_OK && !body_decoder_done(&decoder)) {
            error = read_more(client, in);
            error = error == ERR_RESET ? body_decoder_eof(&decoder) : error;
        }
    }
    body_decoder_finish(&decoder);
    return error == ERR_OK && body != NULL && body->failed ? ERR_BODY_TOO_LARGE : error;
}

/* "; detail=word" or "; detail=\"word rule\"": the word. */
static void read_detail(struct span value, char detail[WARM_WORD_BYTES])
{
    value = span_skip(value, value.len > 0 && value.data[0] == '"');
    size_t len = 0;

    while (len < value.len && len < WARM_WORD_BYTES - 1 && strchr(" ;,\"", value.data[len]) == NULL) {
        detail[len] = value.data[len];
        len++;
    }
    detail[len] = '\0';
}

void warm_read_cache_status(const struct headers *headers, struct warm_answer *answer)
{
    struct span member = {NULL, 0};
    struct span part;

    for (size_t i = 0; i < headers->count; i++) { /* larder writes a line of its own, the last one */
        if (span_equal_nocase(headers->items[i].name, SPAN("Cache-Status"))) {
            member = headers->items[i].value;
        }
    }
    answer->hit = false;
    answer->stored = false;
    answer->detail[0] = '\0';
    while (span_split(&member, ';', &part)) {
        part = span_trim(part);
        answer->hit = answer->hit || span_equal(part, SPAN("hit"));
        answer->stored = answer->stored || span_equal(part, SPAN("stored"));
        if (span_starts_with(part, SPAN("detail="))) {
            read_detail(span_skip(part, sizeof("detail=") - 1), answer->detail);
        }
    }
}

static enum err ask(struct warm_client *client, const struct warm_request *request, struct warm_answer *answer)
{
    struct http_response response;
    struct arena arena;
    struct buf in;

    arena_init(&arena, ARENA_BYTES);
    buf_init(&in, HEAD_MAX_BYTES + PIECE_BYTES);
    enum err error = send_request(client, request);
    if (error == ERR_OK) {
        error = read_head(client, &in, &arena, &response);
    }
    if (error == ERR_OK) {
        answer->status = response.status;
        warm_read_cache_status(&response.headers, answer);
        error = read_body(client, &in, &response.framing, request->body);
        if (response.framing.kind == FRAMING_CLOSE || response.minor == 0 ||
            headers_list_has(&response.headers, SPAN("Connection"), SPAN("close"))) {
            warm_client_close(client);
        }
    }
    buf_finish(&in);
    arena_finish(&arena);
    return error;
}

enum err warm_client_get(struct warm_client *client, const struct warm_request *request, struct warm_answer *out_answer)
{
    bool kept = client->open;
    enum err error = kept ? ERR_OK : open_connection(client);

    if (error == ERR_OK) {
        error = ask(client, request, out_answer);
    }
    if (error == ERR_RESET && kept) { /* larder closes what has been idle */
        warm_client_close(client);
        if (request->body != NULL) {
            buf_clear(request->body);
        }
        error = open_connection(client);
        if (error == ERR_OK) {
            error = ask(client, request, out_answer);
        }
    }
    if (error != ERR_OK) {
        warm_client_close(client);
    }
    return error;
}
