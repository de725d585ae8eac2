/* loop_support.h: a worker without a cache, a thread or listeners, for tests of what runs in its loop; and a server
 * that those tests connect to, in the same loop. */
#ifndef TESTS_LOOP_SUPPORT_H
#define TESTS_LOOP_SUPPORT_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "http/check.h"
#include "proxy/server/worker.h"

enum { LOOP_TIMEOUT_MS = 10000, PEERS_MAX = 32, AN_HOUR_MS = 3600 * 1000 };

/* One accepted connection of the server. */
struct peer {
    uv_tcp_t tcp;
    bool open;
    bool ended; /* the other side has closed, in any way */
    bool reset; /* … with a reset */
    char bytes[256];
    size_t len;
};

struct loop_fixture {
    struct config config;
    struct worker worker;
    uv_timer_t tick; /* so that the loop never sleeps for long */
    int ticks;
    uv_tcp_t server;
    bool server_open;
    uint16_t port;
    struct peer peers[PEERS_MAX];
    size_t peer_count;
};

static inline void on_fixture_tick(uv_timer_t *timer)
{
    struct loop_fixture *fixture = CONTAINER_OF(timer, struct loop_fixture, tick);

    cr_assert_lt(fixture->ticks++, LOOP_TIMEOUT_MS, "the loop did not come to what was waited for");
}

static inline void on_peer_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out_buf)
{
    struct peer *peer = handle->data;

    (void)suggested;
    *out_buf = uv_buf_init(peer->bytes + peer->len, (unsigned)(sizeof peer->bytes - peer->len));
}

static inline void on_peer_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct peer *peer = stream->data;

    (void)buf;
    if (count > 0) {
        peer->len += (size_t)count;
    } else if (count < 0) {
        peer->ended = true;
        peer->reset = count == UV_ECONNRESET;
    }
}

static inline void on_peer_connection(uv_stream_t *stream, int status)
{
    struct loop_fixture *fixture = stream->data;
    struct peer *peer = &fixture->peers[fixture->peer_count++];

    cr_assert_eq(status, 0);
    cr_assert_eq(uv_tcp_init(&fixture->worker.loop, &peer->tcp), 0);
    peer->tcp.data = peer;
    cr_assert_eq(uv_accept(stream, (uv_stream_t *)&peer->tcp), 0);
    peer->open = true;
    cr_assert_eq(uv_read_start((uv_stream_t *)&peer->tcp, on_peer_alloc, on_peer_read), 0);
}

static inline void fixture_init(struct loop_fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    fixture->config.server.origin_connect_timeout_ms = AN_HOUR_MS; /* what a test is about it sets itself */
    fixture->config.server.origin_queue_timeout_ms = AN_HOUR_MS;
    fixture->config.server.origin_idle_timeout_ms = AN_HOUR_MS;
    fixture->config.server.resolve_ttl_ms = AN_HOUR_MS;
    fixture->config.server.max_origin_connections = 4;
    fixture->config.server.max_idle_origin_connections = 4;
    fixture->config.server.max_origin_queue = 4;
    fixture->worker.config = &fixture->config;
    fixture->worker.read_buffer = malloc(WORKER_READ_BUFFER_BYTES);
    cr_assert_eq(uv_loop_init(&fixture->worker.loop), 0);
    cr_assert_eq(uv_timer_init(&fixture->worker.loop, &fixture->tick), 0);
    cr_assert_eq(mailbox_init(&fixture->worker.mailbox, &fixture->worker.loop), 0);
    mailbox_enter(&fixture->worker.mailbox);
}

/* A server on a port of its own that accepts, and collects what it is sent. */
static inline void fixture_listen(struct loop_fixture *fixture)
{
    struct sockaddr_in name;
    int len = sizeof name;

    cr_assert_eq(uv_ip4_addr("127.0.0.1", 0, &name), 0);
    cr_assert_eq(uv_tcp_init(&fixture->worker.loop, &fixture->server), 0);
    fixture->server.data = fixture;
    cr_assert_eq(uv_tcp_bind(&fixture->server, (struct sockaddr *)&name, 0), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&fixture->server, 16, on_peer_connection), 0);
    cr_assert_eq(uv_tcp_getsockname(&fixture->server, (struct sockaddr *)&name, &len), 0);
    fixture->port = (uint16_t)((name.sin_port >> 8) | (name.sin_port << 8));
    fixture->server_open = true;
}

static inline void fixture_say(struct peer *peer, const char *text)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)text, (unsigned)strlen(text));

    cr_assert_eq(uv_try_write((uv_stream_t *)&peer->tcp, &buf, 1), (int)buf.len);
}

static inline void fixture_close_peer(struct peer *peer)
{
    if (peer->open) {
        peer->open = false;
        uv_close((uv_handle_t *)&peer->tcp, NULL);
    }
}

/* Runs the loop until *flag, at most about LOOP_TIMEOUT_MS. */
static inline void fixture_run_until(struct loop_fixture *fixture, const bool *flag)
{
    fixture->ticks = 0;
    cr_assert_eq(uv_timer_start(&fixture->tick, on_fixture_tick, 1, 1), 0);
    while (!*flag) {
        (void)uv_run(&fixture->worker.loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&fixture->tick);
}

/* Runs the loop until the server has accepted so many: who connects knows of the connection before it does. */
static inline void fixture_run_until_peers(struct loop_fixture *fixture, size_t count)
{
    fixture->ticks = 0;
    cr_assert_eq(uv_timer_start(&fixture->tick, on_fixture_tick, 1, 1), 0);
    while (fixture->peer_count < count) {
        (void)uv_run(&fixture->worker.loop, UV_RUN_ONCE);
    }
    uv_timer_stop(&fixture->tick);
}

static inline void on_fixture_pause(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

/* Runs the loop for a while: for what must not happen. */
static inline void fixture_run_for(struct loop_fixture *fixture, uint64_t time_ms)
{
    uv_timer_t timer;
    bool over = false;

    cr_assert_eq(uv_timer_init(&fixture->worker.loop, &timer), 0);
    timer.data = &over;
    uv_update_time(&fixture->worker.loop);
    cr_assert_eq(uv_timer_start(&timer, on_fixture_pause, time_ms, 0), 0);
    fixture_run_until(fixture, &over);
    uv_close((uv_handle_t *)&timer, NULL);
    (void)uv_run(&fixture->worker.loop, UV_RUN_NOWAIT);
}

/* Everything of the test's own is closed; the loop must end clean. */
static inline void fixture_finish(struct loop_fixture *fixture)
{
    for (size_t i = 0; i < fixture->peer_count; i++) {
        fixture_close_peer(&fixture->peers[i]);
    }
    if (fixture->server_open) {
        uv_close((uv_handle_t *)&fixture->server, NULL);
    }
    uv_close((uv_handle_t *)&fixture->tick, NULL);
    mailbox_close(&fixture->worker.mailbox);
    (void)uv_run(&fixture->worker.loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&fixture->worker.loop), 0, "a handle was left open");
    mailbox_finish(&fixture->worker.mailbox);
    free(fixture->worker.read_buffer);
}

#endif
