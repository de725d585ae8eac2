/* test_tunnel.c: bytes both ways, ends passed on, everything given back.
 *
 * Both of the tunnel's connections lead to the test's own server: its peers 0 and 1 are the client and the origin. */
#include "proxy/client/tunnel.h"

#include <sys/socket.h>

#include "loop_support.h"

static struct loop_fixture fixture;
static struct origin_url url;
static struct origin *origin;
static struct tunnel *tunnel;
static struct origin_request requests[2];
static struct origin_conn *conns[2]; /* the client's connection is a loan too: what it is does not matter here */
static bool got[2];
static bool over;
static uint64_t to_client;
static uint64_t to_origin;

static void on_done(struct origin_request *request, struct origin_conn *conn, enum err error)
{
    size_t index = request == &requests[0] ? 0 : 1;

    cr_assert_eq(error, ERR_OK);
    conns[index] = conn;
    got[index] = true;
}

static void on_ended(void *arg, uint64_t to_client_bytes, uint64_t to_origin_bytes)
{
    cr_assert_eq(arg, (void *)&over);
    cr_assert_not(over);
    over = true;
    to_client = to_client_bytes;
    to_origin = to_origin_bytes;
    origin_discard(conns[0]);
}

static void setup(void)
{
    fixture_init(&fixture);
    fixture_listen(&fixture);
    url = (struct origin_url){.text = "http://test", .host = "127.0.0.1", .port = fixture.port};
    origin = origin_create(&fixture.worker, &url, false);
    for (size_t i = 0; i < 2; i++) {
        requests[i].done = on_done;
        origin_acquire(origin, &requests[i]);
        fixture_run_until(&fixture, &got[i]);
        fixture_run_until_peers(&fixture, i + 1);
    }
}

static void start(const char *early_client, const char *early_origin, uint64_t idle_ms)
{
    tunnel =
        tunnel_start(&conns[0]->conn, conns[1], span_of(early_client), span_of(early_origin), idle_ms, on_ended, &over);
    cr_assert_not_null(tunnel);
    cr_assert_not(over);
}

static void finish(void)
{
    origin_stop(origin);
    fixture_finish(&fixture);
    origin_destroy(origin);
}

static void wait_for(const struct peer *peer, const char *text)
{
    for (int i = 0; i < LOOP_TIMEOUT_MS && peer->len < strlen(text); i++) {
        fixture_run_for(&fixture, 1);
    }
    cr_expect_eq(peer->len, strlen(text));
    cr_expect_eq(memcmp(peer->bytes, text, strlen(text)), 0);
}

static void on_peer_shutdown(uv_shutdown_t *request, int status)
{
    (void)request;
    (void)status;
}

Test(tunnel, bytes_and_ends_pass_both_ways, .init = setup)
{
    struct peer *client = &fixture.peers[0];
    struct peer *server = &fixture.peers[1];
    uv_shutdown_t shutdowns[2];

    start("early c ", "early o ", AN_HOUR_MS);
    fixture_say(client, "from the client");
    fixture_say(server, "from the origin");
    wait_for(server, "early c from the client");
    wait_for(client, "early o from the origin");
    cr_assert_eq(uv_shutdown(&shutdowns[0], (uv_stream_t *)&client->tcp, on_peer_shutdown), 0);
    fixture_run_until(&fixture, &server->ended);
    cr_expect_not(over, "the other way is still open");
    fixture_say(server, ", more");
    wait_for(client, "early o from the origin, more");
    cr_assert_eq(uv_shutdown(&shutdowns[1], (uv_stream_t *)&server->tcp, on_peer_shutdown), 0);
    fixture_run_until(&fixture, &over);
    cr_expect_eq(to_client, strlen("early o from the origin, more"));
    cr_expect_eq(to_origin, strlen("early c from the client"));
    fixture_run_until(&fixture, &client->ended);
    cr_expect_not(client->reset);
    finish();
}

Test(tunnel, nothing_moves_for_the_idle_time, .init = setup)
{
    start("", "", 30);
    fixture_run_until(&fixture, &over);
    fixture_run_until(&fixture, &fixture.peers[1].ended);
    finish();
}

Test(tunnel, a_reset_ends_it, .init = setup)
{
    start("", "", AN_HOUR_MS);
    cr_assert_eq(uv_tcp_close_reset(&fixture.peers[1].tcp, NULL), 0);
    fixture.peers[1].open = false;
    fixture_run_until(&fixture, &over);
    finish();
}

Test(tunnel, aborted_it_says_nothing, .init = setup)
{
    start("x", "", AN_HOUR_MS);
    tunnel_abort(tunnel);
    origin_discard(conns[0]);
    fixture_run_until(&fixture, &fixture.peers[0].ended);
    fixture_run_until(&fixture, &fixture.peers[1].ended);
    cr_expect_not(over);
    finish();
}

static size_t bulk_seen;
static void on_bulk_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    (void)stream;
    (void)buf;
    bulk_seen += count > 0 ? (size_t)count : 0;
}

static void on_bulk_written(uv_write_t *request, int status)
{
    (void)request;
    cr_expect_eq(status, 0);
}

Test(tunnel, a_slow_reader_holds_the_writer_back_and_gets_every_byte, .init = setup)
{
    enum { BULK = 16 * 1024 * 1024 };
    struct peer *client = &fixture.peers[0];
    struct peer *server = &fixture.peers[1];
    char *bulk = calloc(1, BULK);
    uv_buf_t buf = uv_buf_init(bulk, BULK);
    uv_write_t request;

    start("", "", AN_HOUR_MS);
    uv_read_stop((uv_stream_t *)&client->tcp);
    cr_assert_eq(uv_write(&request, (uv_stream_t *)&server->tcp, &buf, 1, on_bulk_written), 0);
    fixture_run_for(&fixture, 50);
    cr_expect_not(over);
    cr_expect_gt(uv_stream_get_write_queue_size((uv_stream_t *)&server->tcp), 0u, "the origin is held back");
    cr_expect_leq(uv_stream_get_write_queue_size(&conns[0]->conn.socket.stream), WORKER_READ_BUFFER_BYTES,
                  "one buffer is queued at most");
    cr_assert_eq(uv_read_start((uv_stream_t *)&client->tcp, on_peer_alloc, on_bulk_read), 0);
    for (int i = 0; i < LOOP_TIMEOUT_MS && bulk_seen < BULK; i++) {
        fixture_run_for(&fixture, 1);
    }
    cr_expect_eq(bulk_seen, (size_t)BULK);
    fixture_close_peer(server);
    fixture_close_peer(client);
    fixture_run_until(&fixture, &over);
    cr_expect_eq(to_client, (uint64_t)BULK);
    finish();
    free(bulk);
}

static const struct conn_events no_events;

Test(tunnel, what_is_on_its_way_when_it_starts_goes_first, .init = setup)
{
    enum { BULK = 16 * 1024 * 1024 };
    struct peer *client = &fixture.peers[0];
    struct peer *server = &fixture.peers[1];
    struct span bulk = {calloc(1, BULK), BULK};

    uv_read_stop((uv_stream_t *)&server->tcp);
    conns[0]->conn.events = conns[1]->conn.events = &no_events;
    cr_assert_eq(conn_write(&conns[1]->conn, &bulk, 1), ERR_OK);
    conn_read_start(&conns[0]->conn); /* as it was while its request was awaited */
    start("", "", AN_HOUR_MS);
    fixture_say(client, "behind it");
    fixture_run_for(&fixture, 50);
    cr_expect_not(over);
    cr_assert_eq(uv_read_start((uv_stream_t *)&server->tcp, on_peer_alloc, on_bulk_read), 0);
    for (int i = 0; i < LOOP_TIMEOUT_MS && bulk_seen < BULK + strlen("behind it"); i++) {
        fixture_run_for(&fixture, 1);
    }
    cr_expect_eq(bulk_seen, BULK + strlen("behind it"));
    fixture_close_peer(server);
    fixture_close_peer(client);
    fixture_run_until(&fixture, &over);
    finish();
    free((char *)(uintptr_t)bulk.data);
}
