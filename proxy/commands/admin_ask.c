/* admin_ask.c: see admin_ask.h.
 *
 * Happy path: connect, write the request, read until the answer is whole.
 * Failures:   - nobody answers: said with where it was looked, and how to point elsewhere.
 *             - it breaks off, or is silent: a process that hangs or is stopped still has its connections taken by the
 *               kernel. Questions are answered at once; an order waits for the disk, a stream says something itself. */
#include "proxy/commands/admin_ask.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "http/framing.h"
#include "http/parser.h"
#include "http/serialize.h"
#include "proxy/server/listener.h"

enum {
    QUESTION_TIMEOUT_S = 10,
    ORDER_TIMEOUT_S = 60,
    STREAM_TIMEOUT_S = 60,
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
static int connect_to(const struct address *address, int timeout_s)
{
    struct sockaddr_storage name;
    struct timeval timeout = {.tv_sec = timeout_s};
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

static bool fail_silent(const struct address *address, int timeout_s, struct buf *error)
{
    buf_add_text(error, "larder listens at ");
    address_format(address, error);
    buf_format(error, ", and has not answered for %d s: it hangs, or was stopped", timeout_s);
    return false;
}

static bool find_larder(const struct config *config, int timeout_s, struct address *out_address, int *out_fd,
                        struct buf *error)
{
    if (!address_of(config, out_address)) {
        buf_add_text(error, "admin.socket is \"off\" and admin.listen is not set: there is no way to ask larder");
        return false;
    }
    *out_fd = connect_to(out_address, timeout_s);
    if (*out_fd == -EACCES) {
        buf_add_text(error, "not permitted to open ");
        address_format(out_address, error);
        buf_add_text(error, ": only root may, and the user that larder runs as");
        return false;
    }
    if (*out_fd == -EAGAIN) { /* so many wait already that the kernel takes no more */
        return fail_silent(out_address, timeout_s, error);
    }
    return *out_fd >= 0 || fail(out_address, uv_strerror(uv_translate_sys_error(-*out_fd)), error);
}

void admin_ask_parameter(struct buf *target, const char *name, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";

    if (text == NULL) {
        return;
    }
    buf_format(target, "%c%s=", span_find(buf_span(target), '?') == SIZE_MAX ? '?' : '&', name);
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        bool plain = (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
        if (plain) {
            buf_add_byte(target, (char)byte);
        } else {
            const char escape[] = {'%', hex[byte >> 4], hex[byte & 15]};
            buf_add(target, (struct span){escape, sizeof escape});
        }
    }
}

bool admin_ask(const struct config *config, const char *target, struct span body, struct admin_answer *out_answer,
               struct buf *out_error)
{
    int timeout_s = body.len > 0 ? ORDER_TIMEOUT_S : QUESTION_TIMEOUT_S;
    struct address address;
    struct buf in;
    int fd;

    if (!find_larder(config, timeout_s, &address, &fd, out_error)) {
        return false;
    }
    buf_init(&in, ANSWER_MAX_BYTES);
    buf_init(&out_answer->body, ANSWER_MAX_BYTES);
    errno = 0;
    bool good = send_request(fd, config, target, body) && receive(fd, &in);
    bool silent = !good && (errno == EAGAIN || errno == EWOULDBLOCK);
    good = good && read_answer(&in, out_answer);
    close(fd);
    buf_finish(&in);
    if (!good) {
        buf_finish(&out_answer->body);
        return silent ? fail_silent(&address, timeout_s, out_error)
                      : fail(&address, "the answer is not whole", out_error);
    }
    return true;
}

/* ---- an answer without an end ---- */

/* What is read of it so far. */
struct intake {
    int fd;
    const volatile sig_atomic_t *interrupted;
    struct buf in;
    struct arena arena;
    struct http_response response;
    struct body_decoder decoder;
};

/* Reads more. 1: there was; 0: the end, or silence; -1: a signal that wants the end. A read that may not last for ever
 * is also broken off where the process was stopped and goes on (Ctrl-Z, fg): that wants nothing. */
static int read_more(struct intake *intake)
{
    char *place = buf_reserve(&intake->in, PIECE_BYTES);
    ssize_t count = 0;

    do {
        count = place != NULL ? read(intake->fd, place, PIECE_BYTES) : 0;
    } while (count < 0 && errno == EINTR && *intake->interrupted == 0);
    intake->in.len += count > 0 ? (size_t)count : 0;
    return count > 0 ? 1 : count < 0 && errno == EINTR ? -1 : 0;
}

/* Reads until the head is whole, and leaves it in `in`, of whose first `*out_head_len` bytes it is. */
static int read_head(struct intake *intake, size_t *out_head_len)
{
    const struct head_limits limits = {.head_bytes = HEAD_MAX_BYTES, .target_bytes = HEAD_MAX_BYTES, .field_count = 64};
    struct head_scan scan = {0};
    enum err error;
    int got = 1;

    while ((error = head_find(&scan, buf_span(&intake->in), &limits, out_head_len)) == ERR_AGAIN && got > 0) {
        got = read_more(intake);
    }
    if (got <= 0) {
        return got;
    }
    return error == ERR_OK && parse_response_head(span_take(buf_span(&intake->in), *out_head_len), &limits, METHOD_GET,
                                                  &intake->arena, &intake->response) == ERR_OK;
}

/* Hands on what came of the body. False: `take` has enough, or it is over. */
static bool hand_on(struct intake *intake, struct admin_take *take, enum admin_stream_end *out_end)
{
    struct span rest = buf_span(&intake->in);

    while (rest.len > 0) {
        struct span piece;
        if (body_decoder_done(&intake->decoder) || body_decoder_feed(&intake->decoder, &rest, &piece) != ERR_OK) {
            *out_end = ADMIN_STREAM_BROKE_OFF;
            return false;
        }
        if (piece.len > 0 && !take->take(take, piece)) {
            *out_end = ADMIN_STREAM_STOPPED;
            return false;
        }
    }
    buf_clear(&intake->in);
    return true;
}

static enum admin_stream_end take_stream(struct intake *intake, struct admin_take *take,
                                         struct admin_answer *out_refusal)
{
    enum admin_stream_end end = ADMIN_STREAM_BROKE_OFF;
    size_t head_len = 0;
    int got = read_head(intake, &head_len);

    if (got <= 0) {
        return got < 0 ? ADMIN_STREAM_STOPPED : ADMIN_STREAM_BROKE_OFF;
    }
    if (intake->response.status != 200) {
        bool good = receive(intake->fd, &intake->in) && read_answer(&intake->in, out_refusal);
        return good ? ADMIN_STREAM_REFUSED : ADMIN_STREAM_BROKE_OFF;
    }
    buf_consume(&intake->in, head_len);
    body_decoder_init(&intake->decoder, &intake->response.framing);
    while (got > 0 && hand_on(intake, take, &end)) {
        got = read_more(intake);
        end = got < 0 ? ADMIN_STREAM_STOPPED : ADMIN_STREAM_BROKE_OFF;
    }
    body_decoder_finish(&intake->decoder);
    return end;
}

enum admin_stream_end admin_ask_stream(const struct config *config, const char *target, struct admin_take *take,
                                       struct admin_answer *out_refusal, struct buf *out_error)
{
    struct intake intake = {.fd = -1, .interrupted = take->interrupted};
    struct address address;
    enum admin_stream_end end;

    buf_init(&out_refusal->body, ANSWER_MAX_BYTES);
    if (!find_larder(config, STREAM_TIMEOUT_S, &address, &intake.fd, out_error)) {
        return ADMIN_STREAM_NOBODY;
    }
    buf_init(&intake.in, ANSWER_MAX_BYTES);
    arena_init(&intake.arena, ARENA_BYTES);
    end = send_request(intake.fd, config, target, SPAN("")) ? take_stream(&intake, take, out_refusal)
                                                            : ADMIN_STREAM_BROKE_OFF;
    close(intake.fd);
    arena_finish(&intake.arena);
    buf_finish(&intake.in);
    return end;
}
