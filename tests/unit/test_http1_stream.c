/* test_http1_stream.c: a response that is taken back, because it broke off before anything of it was sent. */
#include "proxy/client/http1_stream.h"

#include <sys/socket.h>
#include <unistd.h>

#include "loop_support.h"

static struct loop_fixture fixture;
static struct conn conn;
static struct stream *stream;
static struct stream_spares spares;
static struct buf spare;
static int ends[2]; /* of the connection: that of `conn`, and the client's */
static bool closed;
static bool written;

static void on_closed(struct conn *ended)
{
    (void)ended;
    closed = true;
}

static void on_written(struct conn *conn_written, enum err error)
{
    (void)conn_written;
    cr_expect_eq(error, ERR_OK);
    written = true;
}

static void setup(void)
{
    static const struct conn_events events = {.on_written = on_written};
    struct http_request request = {.minor = 1};

    fixture_init(&fixture);
    fixture.config.server.max_head_bytes = 4096;
    fixture.config.server.client_write_timeout_ms = 60000;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    conn_adopt(&conn, &fixture.worker, ends[0], UV_NAMED_PIPE, &events, NULL);
    buf_init(&spare, 4096);
    stream = http1_stream_take(&spares, &conn, &fixture.config, &spare);
    cr_assert_not_null(stream);
    http1_stream_begin(stream, &request);
}

static void finish(void)
{
    http1_stream_let_go(stream, &spares);
    http1_stream_spares_finish(&spares);
    buf_finish(&spare);
    close(ends[1]);
    conn_close(&conn, on_closed);
    fixture_finish(&fixture);
    cr_expect(closed);
}

static void start(unsigned status, enum stream_body body)
{
    cr_assert(stream_start(stream, &(struct stream_head){.status = status, .body = body, .length = 2}));
}

/* Sends the body and the end; what the client has got then. */
static const char *end_with(const char *body)
{
    static char text[4096];
    struct span run = span_of(body);
    size_t accepted;

    cr_assert_eq(stream_write(stream, &run, 1, &accepted), STREAM_READY);
    cr_assert_eq(stream_end(stream, NULL), STREAM_READY);
    ssize_t count = recv(ends[1], text, sizeof text - 1, 0);
    cr_assert_gt(count, 0);
    text[count] = '\0';
    cr_expect_eq(stream_count(stream).sent_bytes, (size_t)count);
    return text;
}

/* Fills the socket; how many bytes the client must take for that which is written next to go. */
static size_t fill_socket(void)
{
    static const char filler[1024];
    size_t filled = 0;
    ssize_t count;

    while ((count = send(ends[0], filler, sizeof filler, 0)) > 0) {
        filled += (size_t)count;
    }
    return filled;
}

static void take_filling(size_t filled)
{
    char piece[1024];

    while (filled > 0) {
        ssize_t count = recv(ends[1], piece, filled < sizeof piece ? filled : sizeof piece, 0);
        cr_assert_gt(count, 0);
        filled -= (size_t)count;
    }
}

TestSuite(http1_stream, .init = setup, .fini = finish);

Test(http1_stream, another_response_is_started_where_nothing_of_the_first_was_sent)
{
    start(200, STREAM_BODY_UNKNOWN);
    cr_assert(stream_take_back(stream));
    cr_expect_not(stream_count(stream).started);
    cr_expect_not(stream_take_back(stream), "there is none");
    start(502, STREAM_BODY_LENGTH);
    cr_expect_str_eq(end_with("no"), "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno");
    cr_expect(http1_stream_may_continue(stream));
}

Test(http1_stream, an_informational_response_before_it_stays)
{
    size_t filled = fill_socket();

    stream_informational(stream, 103, NULL); /* is in flight, */
    cr_assert_not_null(conn.writing);
    stream_informational(stream, 103, NULL); /* … and this one waits for it */
    start(200, STREAM_BODY_LENGTH);
    cr_assert(stream_take_back(stream));
    start(504, STREAM_BODY_LENGTH);
    take_filling(filled);
    fixture_run_until(&fixture, &written);
    cr_expect_str_eq(end_with("no"), "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"
                                     "HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 2\r\n\r\nno");
}

Test(http1_stream, what_was_sent_cannot_be_taken_back)
{
    start(200, STREAM_BODY_LENGTH);
    cr_assert_eq(stream_flush(stream), STREAM_READY);
    cr_expect_not(stream_take_back(stream));
    cr_expect_str_eq(end_with("ok"), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}
