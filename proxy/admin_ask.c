/* admin_ask.c: see admin_ask.h.
 *
 * Happy path: connect, write the request, read until the answer is whole.
 * Failures:   - nobody answers: said with where it was looked, and how to point elsewhere.
 *             - it breaks off, or is silent for TIMEOUT_S. */
#include "proxy/admin_ask.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "http/framing.h"
#include "http/parser.h"
#include "http/serialize.h"
#include "proxy/listener.h"

enum {
    TIMEOUT_S = 60,
    ARENA_BYTES = 256 * 1024,
    HEAD_MAX_BYTES = 64 * 1024,
    ANSWER_MAX_BYTES = 256 * 1024 * 1024,
    PIECE_BYTES = 16 * 1024,
};

/* Where it is looked for. False: nowhere. */
static bool address_of(const struct config *config, struct address *out_address)
{
    if (config->admin.socket != NULL) {
        *out_address = (struct address){.kind = ADDRESS_UNIX, .host = config->admin.socket};
        return true;
    }
    if (config->admin.listen_count > 0) {
        *out_address = config->admin.listen[0];
        return true;
    }
    return false;
}

/* A descriptor, or a negative errno value. */
static int connect_to(const struct address *address)
{
    struct sockaddr_storage name;
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    socklen_t len;

    if (!listener_sockaddr(address, &name, &len)) {
        return -ENAMETOOLONG;
    }
    int fd = socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) < 0 ||
        connect(fd, (struct sockaddr *)&name, len) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

static bool send_request(int fd, const struct config *config, const char *target, struct span body)
{
    bool posts = body.len > 0;
    struct buf out;

    buf_init(&out, ANSWER_MAX_BYTES);
    write_request_line(&out, posts ? SPAN("POST") : SPAN("GET"), span_of(target));
    write_field(&out, SPAN("Host"), SPAN("localhost"));
    write_field(&out, SPAN("Connection"), SPAN("close"));
    if (config->admin.token.len > 0) {
        buf_format(&out, "Authorization: Bearer %.*s\r\n", SPAN_ARG(config->admin.token));
    }
    if (posts) {
        buf_format(&out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.len);
    }
    write_end(&out);
    buf_add(&out, body);
    bool sent = !out.failed;
    for (size_t at = 0; sent && at < out.len;) {
        ssize_t count = write(fd, out.data + at, out.len - at);
        sent = count > 0 || (count < 0 && errno == EINTR);
        at += count > 0 ? (size_t)count : 0;
    }
    buf_finish(&out);
    return sent;
}

/* Reads to the end: the connection closes behind the answer. */
static bool receive(int fd, struct buf *in)
{
    ssize_t count;

    do {
        char *place = buf_reserve(in, PIECE_BYTES);
        if (place == NULL) {
            return false;
        }
        count = read(fd, place, PIECE_BYTES);
        in->len += count > 0 ? (size_t)count : 0;
    } while (count > 0 || (count < 0 && errno == EINTR));
    return count == 0;
}

/* Takes the answer apart. */
static bool read_answer(const struct buf *in, struct admin_answer *answer)
{
    const struct head_limits limits = {.head_bytes = HEAD_MAX_BYTES, .target_bytes = HEAD_MAX_BYTES, .field_count = 64};
    struct head_scan scan = {0};
    struct http_response response;
    struct body_decoder decoder;
    struct arena arena;
    size_t head_len = 0;

    arena_init(&arena, ARENA_BYTES);
    bool good =
        head_find(&scan, buf_span(in), &limits, &head_len) == ERR_OK &&
        parse_response_head(span_take(buf_span(in), head_len), &limits, METHOD_GET, &arena, &response) == ERR_OK;
    if (good) {
        struct span rest = span_skip(buf_span(in), head_len);
        body_decoder_init(&decoder, &response.framing);
        while (good && rest.len > 0 && !body_decoder_done(&decoder)) {
            struct span piece;
            good = body_decoder_feed(&decoder, &rest, &piece) == ERR_OK;
            if (good) {
                buf_add(&answer->body, piece);
            }
        }
        good = good && body_decoder_done(&decoder) && !answer->body.failed;
        answer->status = response.status;
        body_decoder_finish(&decoder);
    }
    arena_finish(&arena);
    return good;
}

static bool fail(const struct address *address, const char *why, struct buf *error)
{
    buf_add_text(error, "no larder answers at ");
    address_format(address, error);
    buf_format(error, " (%s): is it running, with this configuration? See --config and --cache-dir", why);
    return false;
}

bool admin_ask(const struct config *config, const char *target, struct span body, struct admin_answer *out_answer,
               struct buf *out_error)
{
    struct address address;
    struct buf in;

    if (!address_of(config, &address)) {
        buf_add_text(out_error, "admin.socket is \"off\" and admin.listen is not set: there is no way to ask larder");
        return false;
    }
    int fd = connect_to(&address);
    if (fd < 0) {
        return fail(&address, uv_strerror(uv_translate_sys_error(-fd)), out_error);
    }
    buf_init(&in, ANSWER_MAX_BYTES);
    buf_init(&out_answer->body, ANSWER_MAX_BYTES);
    bool good = send_request(fd, config, target, body) && receive(fd, &in) && read_answer(&in, out_answer);
    close(fd);
    buf_finish(&in);
    if (!good) {
        buf_finish(&out_answer->body);
        return fail(&address, "the answer is not whole", out_error);
    }
    return true;
}
