/* demo.c: the demo origin: one loop, its listener, and a connection that reads a request, waits, answers, and reads the
 * next.
 *
 * A connection does one thing at a time, and its state says which:
 *   READING    bytes arrive until a whole head is there
 *   WAITING    the timer runs; the request stays in the buffer, nothing more is read
 *   ANSWERING  the response is being written
 *   CLOSING    both handles are being closed; the memory goes in the last callback */
#include "proxy/commands/demo.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "http/parser.h"
#include "proxy/commands/demo_site.h"
#include "proxy/io/log.h"

enum {
    IN_MAX_BYTES = 32768,
    OUT_MAX_BYTES = 16384,
    ARENA_MAX_BYTES = 131072,
    BACKLOG = 128,
    READ_TIMEOUT_MS = 60000, /* for a whole head, idle time included */
};

static const struct head_limits limits = {.head_bytes = IN_MAX_BYTES, .target_bytes = 8192, .field_count = 128};

struct demo {
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_signal_t signals[2];
    uint64_t delay_ms;
};

enum demo_state { DEMO_READING, DEMO_WAITING, DEMO_ANSWERING, DEMO_CLOSING };

struct demo_conn {
    struct demo *demo;
    enum demo_state state;
    uv_tcp_t tcp;
    uv_timer_t timer; /* READING: the client's time; WAITING: the delay */
    uv_write_t write;
    unsigned open_handles;
    struct head_scan scan;
    size_t head_len;       /* WAITING: bytes of the request in `in` */
    enum demo_after after; /* the answer that is being prepared or written */
    struct buf in;
    struct buf out;
    struct arena arena; /* of one request */
};

static void conn_read(struct demo_conn *conn);
static void conn_take_head(struct demo_conn *conn);
static void conn_answer(struct demo_conn *conn);
static void conn_write(struct demo_conn *conn);
static void conn_close(struct demo_conn *conn);

static void on_handle_closed(uv_handle_t *handle) /* uv_close_cb */
{
    struct demo_conn *conn = handle->data;

    conn->open_handles--;
    if (conn->open_handles == 0) {
        buf_finish(&conn->in);
        buf_finish(&conn->out);
        arena_finish(&conn->arena);
        free(conn);
    }
}

static void conn_close(struct demo_conn *conn)
{
    if (conn->state == DEMO_CLOSING) {
        return;
    }
    conn->state = DEMO_CLOSING;
    uv_close((uv_handle_t *)&conn->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&conn->timer, on_handle_closed);
}

static void on_read_timeout(uv_timer_t *timer) /* uv_timer_cb */
{
    conn_close(timer->data);
}

static void on_delay_over(uv_timer_t *timer) /* uv_timer_cb */
{
    conn_answer(timer->data);
}

static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *out_buffer) /* uv_alloc_cb */
{
    struct demo_conn *conn = handle->data;
    size_t room = IN_MAX_BYTES - conn->in.len;
    char *data = buf_reserve(&conn->in, room);

    (void)suggested;
    *out_buffer = uv_buf_init(data, data == NULL ? 0 : (unsigned)room);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer) /* uv_read_cb */
{
    struct demo_conn *conn = stream->data;

    (void)buffer;
    if (count < 0) {
        conn_close(conn);
        return;
    }
    conn->in.len += (size_t)count;
    conn_take_head(conn);
}

/* READING: the next request may be in the buffer already. */
static void conn_read(struct demo_conn *conn)
{
    conn->state = DEMO_READING;
    conn->scan = (struct head_scan){0};
    if (uv_timer_start(&conn->timer, on_read_timeout, READ_TIMEOUT_MS, 0) != 0 ||
        uv_read_start((uv_stream_t *)&conn->tcp, on_buffer, on_read) != 0) {
        conn_close(conn);
        return;
    }
    conn_take_head(conn);
}

static void conn_refuse(struct demo_conn *conn, enum err error)
{
    unsigned status = err_status(error);

    conn->after = DEMO_CLOSE;
    demo_site_refuse(status == 0 ? 400 : status, &conn->out);
    conn_write(conn);
}

/* When a whole head is there: no more reading, and the wait that makes this origin slow. */
static void conn_take_head(struct demo_conn *conn)
{
    enum err error = head_find(&conn->scan, buf_span(&conn->in), &limits, &conn->head_len);

    if (error == ERR_AGAIN) {
        return;
    }
    (void)uv_read_stop((uv_stream_t *)&conn->tcp); /* always succeeds */
    if (error != ERR_OK) {
        conn_refuse(conn, error);
        return;
    }
    conn->state = DEMO_WAITING;
    if (uv_timer_start(&conn->timer, on_delay_over, conn->demo->delay_ms, 0) != 0) {
        conn_close(conn);
    }
}

/* A body, which nothing here wants, is not read: the connection ends instead. */
static enum demo_after after_request(const struct http_request *request)
{
    const struct headers *headers = &request->headers;

    if (request->framing.kind != FRAMING_NONE || headers_list_has(headers, SPAN("Connection"), SPAN("close"))) {
        return DEMO_CLOSE;
    }
    bool asked = headers_list_has(headers, SPAN("Connection"), SPAN("keep-alive"));
    return request->minor >= 1 || asked ? DEMO_KEEP_ALIVE : DEMO_CLOSE;
}

static void conn_answer(struct demo_conn *conn)
{
    struct http_request request;
    struct span head = span_take(buf_span(&conn->in), conn->head_len);
    enum err error;

    arena_reset(&conn->arena);
    error = parse_request_head(head, &limits, &conn->arena, &request);
    if (error != ERR_OK) {
        conn_refuse(conn, error);
        return;
    }
    buf_consume(&conn->in, conn->head_len);
    conn->after = after_request(&request);
    demo_site_answer(&request, (int64_t)time(NULL), conn->after, &conn->arena, &conn->out);
    conn_write(conn);
}

static void on_written(uv_write_t *write, int status) /* uv_write_cb */
{
    struct demo_conn *conn = write->data;

    if (conn->state == DEMO_CLOSING) {
        return;
    }
    if (status != 0 || conn->after == DEMO_CLOSE) {
        conn_close(conn);
        return;
    }
    buf_clear(&conn->out);
    conn_read(conn);
}

static void conn_write(struct demo_conn *conn)
{
    uv_buf_t buffer = uv_buf_init(conn->out.data, (unsigned)conn->out.len);

    conn->state = DEMO_ANSWERING;
    if (conn->out.failed || uv_timer_start(&conn->timer, on_read_timeout, READ_TIMEOUT_MS, 0) != 0 ||
        uv_write(&conn->write, (uv_stream_t *)&conn->tcp, &buffer, 1, on_written) != 0) {
        conn_close(conn);
    }
}

static void on_connection(uv_stream_t *listener, int status) /* uv_connection_cb */
{
    struct demo *demo = listener->data;
    struct demo_conn *conn = status == 0 ? calloc(1, sizeof *conn) : NULL;

    if (conn == NULL) {
        return; /* the client waits in the backlog, or is gone */
    }
    *conn = (struct demo_conn){.demo = demo, .open_handles = 2};
    conn->tcp.data = conn->timer.data = conn->write.data = conn;
    buf_init(&conn->in, IN_MAX_BYTES);
    buf_init(&conn->out, OUT_MAX_BYTES);
    arena_init(&conn->arena, ARENA_MAX_BYTES);
    (void)uv_tcp_init(&demo->loop, &conn->tcp); /* neither can fail: no socket is made yet */
    (void)uv_timer_init(&demo->loop, &conn->timer);
    if (uv_accept(listener, (uv_stream_t *)&conn->tcp) != 0) {
        conn_close(conn);
        return;
    }
    conn_read(conn);
}

/* --- start and end --- */

static void on_signal(uv_signal_t *handle, int number) /* uv_signal_cb */
{
    (void)number;
    uv_stop(handle->loop);
}

static bool listen_on(struct demo *demo, const struct address *address, int *out_error)
{
    struct sockaddr_storage storage;
    bool is_ipv6 = strchr(address->host, ':') != NULL;

    *out_error = is_ipv6 ? uv_ip6_addr(address->host, address->port, (struct sockaddr_in6 *)(void *)&storage)
                         : uv_ip4_addr(address->host, address->port, (struct sockaddr_in *)(void *)&storage);
    if (*out_error == 0) {
        *out_error = uv_tcp_bind(&demo->listener, (const struct sockaddr *)&storage, 0);
    }
    if (*out_error == 0) {
        *out_error = uv_listen((uv_stream_t *)&demo->listener, BACKLOG, on_connection);
    }
    return *out_error == 0;
}

/* Port 0 lets the system pick: say what it picked. */
static unsigned port_of(const uv_tcp_t *listener)
{
    struct sockaddr_storage storage = {0};
    int len = (int)sizeof storage;

    (void)uv_tcp_getsockname(listener, (struct sockaddr *)&storage, &len); /* on failure the port reads 0 */
    return ntohs(storage.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&storage)->sin6_port
                                               : ((struct sockaddr_in *)(void *)&storage)->sin_port);
}

static void print_start(const struct demo *demo, const struct demo_options *options)
{
    bool is_ipv6 = strchr(options->listen.host, ':') != NULL;
    const char *hints = options->hints_url;

    printf("demo origin listening on http://%s%s%s:%u, every answer takes %llu ms\n", is_ipv6 ? "[" : "",
           options->listen.host, is_ipv6 ? "]" : "", port_of(&demo->listener), (unsigned long long)options->delay_ms);
    if (hints != NULL) {
        printf("\n"
               "  curl -i %s/              # the first time slow: Cache-Status says fwd=uri-miss, and stored\n"
               "  curl -i %s/              # again: at once, Cache-Status says hit\n"
               "  curl -i %s/clock         # wait 3 s between two of these: stale, so asked again; a new version every "
               "5 s\n"
               "  curl -i -H 'If-None-Match: \"demo-v1\"' %s/cached-demo    # 304: you have that version already\n"
               "\n",
               hints, hints, hints, hints);
    }
    (void)fflush(stdout);
}

static void on_walk(uv_handle_t *handle, void *arg) /* uv_walk_cb */
{
    const struct demo *demo = arg;
    const uv_handle_t *listener = (const uv_handle_t *)&demo->listener;
    bool is_own = handle == listener || handle == (const uv_handle_t *)&demo->signals[0] ||
                  handle == (const uv_handle_t *)&demo->signals[1];

    if (uv_is_closing(handle)) {
        return;
    }
    if (is_own) {
        uv_close(handle, NULL);
    } else {
        conn_close(handle->data);
    }
}

static bool start(struct demo *demo, const struct demo_options *options)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    int error = 0;

    demo->listener.data = demo;
    for (size_t i = 0; i < ARRAY_LEN(numbers) && error == 0; i++) {
        (void)uv_signal_init(&demo->loop, &demo->signals[i]); /* fails only where the loop could not be made */
        error = uv_signal_start(&demo->signals[i], on_signal, numbers[i]);
    }
    if (error != 0 || !listen_on(demo, &options->listen, &error)) {
        fprintf(stderr, "larder: --listen: cannot listen on %s port %u: %s\n", options->listen.host,
                options->listen.port, uv_strerror(error));
        return false;
    }
    return true;
}

int demo_run(const struct demo_options *options)
{
    struct demo demo = {.delay_ms = options->delay_ms};
    int status = 2;

    if (uv_loop_init(&demo.loop) != 0) {
        fprintf(stderr, "larder: demo: no event loop\n");
        return status;
    }
    (void)uv_tcp_init(&demo.loop, &demo.listener); /* makes no socket yet */
    if (start(&demo, options)) {
        print_start(&demo, options);
        (void)uv_run(&demo.loop, UV_RUN_DEFAULT); /* until uv_stop */
        status = 0;
    }
    uv_walk(&demo.loop, on_walk, &demo);
    (void)uv_run(&demo.loop, UV_RUN_DEFAULT); /* the close callbacks */
    int closed = uv_loop_close(&demo.loop);
    REQUIRE(closed == 0);
    return status;
}
