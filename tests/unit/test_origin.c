/* test_origin.c: connections lent, reused, waited for, and given up. */
#include "proxy/origin/origin.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop_support.h"
#include "proxy/origin/origin_internal.h"

enum { ASKS_MAX = 32 };

/* A request with what came of it. */
struct ask {
    struct origin_request request;
    struct origin_conn *conn;
    enum err error;
    bool done;
};

/* In place of the C library's: what is in /etc/hosts, and what a name server says and when, is the machine's. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out_list)
{
    static struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    static struct sockaddr_in v4 = {.sin_family = AF_INET};
    static struct addrinfo second = {
        .ai_family = AF_INET, .ai_addrlen = sizeof v4, .ai_addr = (struct sockaddr *)(void *)&v4};
    static struct addrinfo first = {
        .ai_family = AF_INET6, .ai_addrlen = sizeof v6, .ai_addr = (struct sockaddr *)(void *)&v6, .ai_next = &second};

    (void)service;
    (void)hints;
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *out_list = strcmp(name, "both.test") == 0 ? &first : &second;
    return strcmp(name, "none.test") == 0 ? EAI_NONAME : 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    (void)list;
}

static struct loop_fixture fixture;
static struct origin_url url;
static struct origin *origin;
static struct ask asks[ASKS_MAX];

static void on_done(struct origin_request *request, struct origin_conn *conn, enum err error)
{
    struct ask *ask = CONTAINER_OF(request, struct ask, request);

    cr_assert_not(ask->done, "done runs once");
    ask->conn = conn;
    ask->error = error;
    ask->done = true;
}

static void begin(const char *host)
{
    memset(asks, 0, sizeof asks);
    url = (struct origin_url){.text = "http://test", .host = host, .port = fixture.port};
    origin = origin_create(&fixture.worker, &url, false);
    cr_assert_not_null(origin);
}

static void setup(void)
{
    fixture_init(&fixture);
    fixture_listen(&fixture);
}

static void finish(void)
{
    origin_stop(origin);
    fixture_finish(&fixture);
    origin_destroy(origin);
}

static struct ask *ask(size_t index)
{
    asks[index].request.done = on_done;
    origin_acquire(origin, &asks[index].request);
    cr_assert_not(asks[index].done, "done never runs before acquire has returned");
    return &asks[index];
}

static struct ask *ask_and_get(size_t index)
{
    struct ask *asked = ask(index);

    fixture_run_until(&fixture, &asked->done);
    return asked;
}

/* Waits, while the loop does not run, until something has come to a connection. */
static void wait_until_it_has_news(const struct origin_conn *conn)
{
    struct pollfd entry = {.events = POLLIN};

    cr_assert_eq(uv_fileno(&conn->conn.socket.handle, &entry.fd), 0);
    cr_assert_eq(poll(&entry, 1, LOOP_TIMEOUT_MS), 1);
}

Test(origin, connects_and_reuses_the_youngest, .init = setup)
{
    begin("127.0.0.1");
    struct ask *first = ask_and_get(0);
    struct ask *second = ask_and_get(1);
    struct origin_conn *younger = second->conn;

    cr_expect_eq(first->error, ERR_OK);
    cr_expect_not(first->conn->reused);
    origin_release(first->conn);
    origin_release(second->conn);
    struct ask *third = ask_and_get(2);
    cr_expect_eq(third->conn, younger);
    cr_expect(third->conn->reused);
    fixture_run_until_peers(&fixture, 2);
    cr_expect_eq(fixture.peer_count, 2u);
    asks[3].request.fresh = true;
    struct ask *fresh = ask_and_get(3);
    cr_expect_not(fresh->conn->reused, "fresh means a new one, though one is idle");
    origin_discard(third->conn);
    origin_discard(fresh->conn);
    finish();
}

Test(origin, an_idle_one_is_lent_before_the_loop_waits, .init = setup)
{
    begin("127.0.0.1");
    fixture.config.server.max_origin_connections = 1;
    struct ask *first = ask_and_get(0);
    struct origin_conn *conn = first->conn;
    origin_release(conn);
    struct ask *second = ask(1);
    struct ask *waits = ask(2);
    cr_expect_eq(waits->request.state, ORIGIN_REQUEST_WAITING, "there is one slot");
    (void)uv_run(&fixture.worker.loop, UV_RUN_NOWAIT);
    cr_assert_eq(second->conn, conn);
    cr_expect(conn->reused);
    cr_expect_not(waits->done);
    origin_release(conn);
    fixture_run_until(&fixture, &waits->done);
    cr_expect_eq(waits->conn, conn);
    origin_release(waits->conn);
    finish();
}

static void ask_again(struct conn *conn, struct span bytes) /* conn_events.on_read */
{
    (void)conn;
    (void)bytes;
    (void)ask(2);
}

/* RFC 9112 §9.3: whatever comes on a kept connection before a request is no answer to it. */
Test(origin, what_the_loop_was_told_of_idle_ones_counts, .init = setup)
{
    static const struct conn_events events = {.on_read = ask_again};

    begin("127.0.0.1");
    struct ask *first = ask_and_get(0);
    struct ask *second = ask_and_get(1);
    first->conn->conn.events = &events;
    conn_read_start(&first->conn->conn);
    fixture_run_until_peers(&fixture, 2);
    origin_release(second->conn);
    (void)uv_run(&fixture.worker.loop, UV_RUN_NOWAIT); /* both are being polled for */
    fixture_say(&fixture.peers[0], "x");
    fixture_say(&fixture.peers[1], "HTTP/1.1 408 Request Timeout\r\n\r\n");
    wait_until_it_has_news(first->conn);
    wait_until_it_has_news(second->conn);
    fixture_run_until(&fixture, &asks[2].done); /* asked in the turn that has the other's bytes, too */
    cr_expect_not(asks[2].conn->reused);
    origin_discard(first->conn);
    origin_discard(asks[2].conn);
    finish();
}

Test(origin, a_name_is_resolved_and_the_address_that_answers_found, .init = setup)
{
    begin("both.test"); /* ::1 first, where nobody listens */
    struct ask *asked = ask_and_get(0);

    cr_assert_eq(asked->error, ERR_OK);
    origin_release(asked->conn);
    finish();
}

/* A port of 127.0.0.1 that is taken, so that nobody else gets it, and at which nobody listens. */
static int refusing_port(uint16_t *out_port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(bind(fd, (struct sockaddr *)&name, len), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&name, &len), 0);
    *out_port = ntohs(name.sin_port);
    return fd;
}

Test(origin, failures_have_their_names, .init = setup)
{
    begin("none.test");
    cr_expect_eq(ask_and_get(0)->error, ERR_RESOLVE);
    origin_stop(origin);
    (void)uv_run(&fixture.worker.loop, UV_RUN_NOWAIT);
    origin_destroy(origin);

    int fd = refusing_port(&fixture.port);
    begin("127.0.0.1");
    cr_expect_eq(ask_and_get(1)->error, ERR_CONNECT);
    close(fd);
    finish();
}

Test(origin, beyond_the_limit_requests_wait_in_line, .init = setup)
{
    fixture.config.server.max_origin_connections = 1;
    begin("127.0.0.1");
    struct ask *first = ask_and_get(0);
    struct ask *waits = ask(1);
    struct ask *last = ask(2);

    fixture_run_for(&fixture, 20);
    cr_expect_not(waits->done);
    origin_release(first->conn);
    fixture_run_until(&fixture, &waits->done);
    cr_expect_eq(waits->error, ERR_OK);
    cr_expect(waits->conn->reused, "it gets the connection that was released");
    cr_expect_not(last->done);
    origin_discard(waits->conn);
    fixture_run_until(&fixture, &last->done);
    cr_expect_eq(last->error, ERR_OK);
    cr_expect_not(last->conn->reused);
    origin_release(last->conn);
    finish();
}

Test(origin, the_line_is_bounded_in_length, .init = setup)
{
    fixture.config.server.max_origin_connections = 1;
    begin("127.0.0.1");
    struct ask *first = ask_and_get(0);

    for (size_t i = 1; i <= 4; i++) {
        ask(i);
    }
    cr_expect_eq(ask_and_get(5)->error, ERR_SATURATED, "the fifth finds the line full");
    for (size_t i = 1; i <= 4; i++) {
        cr_expect_not(asks[i].done);
        origin_cancel(&asks[i].request);
    }
    origin_discard(first->conn);
    finish();
}

Test(origin, the_line_is_bounded_in_time, .init = setup)
{
    fixture.config.server.max_origin_connections = 1;
    fixture.config.server.origin_queue_timeout_ms = 30;
    begin("127.0.0.1");
    struct ask *first = ask_and_get(0);

    for (size_t i = 1; i <= 4; i++) {
        ask(i);
    }
    fixture_run_until(&fixture, &asks[4].done);
    for (size_t i = 1; i <= 4; i++) {
        cr_expect(asks[i].done);
        cr_expect_eq(asks[i].error, ERR_SATURATED, "waited for too long");
    }
    origin_discard(first->conn);
    finish();
}

Test(origin, a_fresh_one_in_line_closes_what_was_released, .init = setup)
{
    fixture.config.server.max_origin_connections = 1;
    begin("127.0.0.1");
    struct ask *first = ask_and_get(0);

    asks[1].request.fresh = true;
    struct ask *fresh = ask(1);
    origin_release(first->conn);
    fixture_run_until(&fixture, &fresh->done);
    cr_expect_eq(fresh->error, ERR_OK);
    cr_expect_not(fresh->conn->reused);
    fixture_run_until_peers(&fixture, 2);
    fixture_run_until(&fixture, &fixture.peers[0].ended);
    origin_release(fresh->conn);
    finish();
}

Test(origin, an_idle_connection_that_ends_or_speaks_is_closed, .init = setup)
{
    begin("127.0.0.1");
    struct ask *first = ask_and_get(0);
    struct ask *second = ask_and_get(1);

    fixture_run_until_peers(&fixture, 2);
    origin_release(first->conn);
    origin_release(second->conn);
    fixture_say(&fixture.peers[0], "HTTP/1.1 408 Request Timeout\r\n\r\n");
    fixture_close_peer(&fixture.peers[1]);
    wait_until_it_has_news(second->conn);
    fixture_run_until(&fixture, &fixture.peers[0].ended);
    struct ask *third = ask_and_get(2);
    cr_expect_not(third->conn->reused);
    origin_release(third->conn);
    finish();
}

Test(origin, idle_ones_are_bounded_in_number_and_time, .init = setup)
{
    fixture.config.server.max_idle_origin_connections = 1;
    fixture.config.server.origin_idle_timeout_ms = 30;
    begin("127.0.0.1");
    struct ask *first = ask_and_get(0);
    struct ask *second = ask_and_get(1);

    origin_release(first->conn);
    origin_release(second->conn);
    fixture_run_until(&fixture, &fixture.peers[0].ended); /* the older: at once */
    fixture_run_until(&fixture, &fixture.peers[1].ended); /* the younger: when its time is up */
    finish();
}

Test(origin, canceled_in_every_state_done_does_not_run, .init = setup)
{
    fixture.config.server.max_origin_connections = 2;
    begin("one.test");
    struct ask *resolving = ask(0);
    origin_cancel(&resolving->request);
    struct ask *first = ask_and_get(1);
    struct ask *connecting = ask(2);
    struct ask *waiting = ask(3);
    origin_cancel(&waiting->request);
    origin_cancel(&connecting->request);
    origin_cancel(&connecting->request);
    origin_release(first->conn);
    struct ask *ready = ask(4);
    origin_cancel(&ready->request);
    fixture_run_for(&fixture, 20);
    cr_expect_not(resolving->done);
    cr_expect_not(waiting->done);
    cr_expect_not(connecting->done);
    cr_expect_not(ready->done);
    struct ask *last = ask_and_get(5);
    cr_expect(last->conn->reused, "a canceled loan goes back");
    origin_discard(last->conn);
    finish();
}

Test(origin, a_connection_that_ended_is_not_kept, .init = setup)
{
    static const struct conn_events none = {0};

    begin("127.0.0.1");
    struct ask *first = ask_and_get(0);
    first->conn->conn.events = &none;
    first->conn->conn.ended = true; /* as its reader would have seen */
    origin_release(first->conn);
    struct ask *second = ask_and_get(1);
    cr_expect_not(second->conn->reused);
    origin_close_idle(origin);
    origin_release(second->conn); /* kept no more: the worker stops */
    fixture_run_until(&fixture, &fixture.peers[1].ended);
    finish();
}

/* A port of 127.0.0.1 that answers nobody: the queue of who listens there is full. The descriptors are to be closed. */
static uint16_t swallowing_port(int fds[2])
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof name;

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fds[0], (struct sockaddr *)&name, len), 0);
    cr_assert_eq(listen(fds[0], 0), 0); /* so that one fills it */
    cr_assert_eq(getsockname(fds[0], (struct sockaddr *)&name, &len), 0);
    cr_assert_eq(connect(fds[1], (struct sockaddr *)&name, len), 0);
    struct pollfd entry = {.fd = fds[0], .events = POLLIN};
    cr_assert_eq(poll(&entry, 1, LOOP_TIMEOUT_MS), 1);
    return ntohs(name.sin_port);
}

Test(origin, an_address_that_swallows_packets_costs_the_timeout, .init = setup)
{
    int fds[2];

    fixture.config.server.origin_connect_timeout_ms = 50;
    fixture.port = swallowing_port(fds);
    begin("127.0.0.1");
    cr_expect_eq(ask_and_get(0)->error, ERR_CONNECT_TIMEOUT);
    close(fds[0]);
    close(fds[1]);
    finish();
}

Test(origin, a_name_whose_addresses_swallow_packets_is_soon_looked_up_again, .init = setup)
{
    int fds[2];

    fixture.config.server.origin_connect_timeout_ms = 50;
    fixture.port = swallowing_port(fds);
    begin("both.test");
    cr_expect_eq(ask_and_get(0)->error, ERR_CONNECT_TIMEOUT);
    cr_expect_leq(origin->resolver.due_ms, uv_now(&fixture.worker.loop) + 1000);
    close(fds[0]);
    close(fds[1]);
    finish();
}

static void cancel_ready(uv_check_t *check) /* uv_check_cb: before those that were started earlier */
{
    if (asks[0].request.state == ORIGIN_REQUEST_READY) {
        origin_cancel(&asks[0].request);
        *(bool *)check->data = true;
    }
}

Test(origin, one_that_was_kept_unused_may_be_dead_too, .init = setup)
{
    bool canceled = false;
    uv_check_t check;

    begin("127.0.0.1");
    cr_assert_eq(uv_check_init(&fixture.worker.loop, &check), 0);
    check.data = &canceled;
    cr_assert_eq(uv_check_start(&check, cancel_ready), 0);
    struct ask *first = ask(0);
    fixture_run_until(&fixture, &canceled);
    cr_assert_not(first->done);
    uv_close((uv_handle_t *)&check, NULL);
    struct ask *second = ask_and_get(1);
    fixture_run_until_peers(&fixture, 1);
    cr_expect_eq(fixture.peer_count, 1u);
    cr_expect(second->conn->reused);
    origin_discard(second->conn);
    finish();
}
