/* test_conn.c: a connection that has much to read leaves others their turn. */
#include "proxy/io/conn.h"

#include <sys/socket.h>
#include <unistd.h>

#include "loop_support.h"

enum { MUCH_BYTES = CONN_READ_MAX_BYTES + 2 * WORKER_READ_BUFFER_BYTES };

/* One end of a socket pair as a conn; the other is the test's. */
struct reader {
    struct conn conn;
    int other;
    size_t bytes;
    bool stops; /* after each piece */
    bool ended;
    bool closed;
};

static struct loop_fixture fixture;
static struct reader readers[2];

static void on_read(struct conn *conn, struct span bytes)
{
    struct reader *reader = conn->owner;

    reader->bytes += bytes.len;
    if (reader->stops) {
        conn_read_stop(conn);
    }
}

static void on_end(struct conn *conn, enum err error)
{
    struct reader *reader = conn->owner;

    cr_assert_eq(error, ERR_OK);
    reader->ended = true;
}

static void on_closed(struct conn *conn)
{
    struct reader *reader = conn->owner;

    reader->closed = true;
}

static const struct conn_events events = {.on_read = on_read, .on_end = on_end};

static void setup(void)
{
    const int room = 4 * MUCH_BYTES;

    fixture_init(&fixture);
    for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
        int ends[2];

        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
        cr_assert_eq(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
        readers[i] = (struct reader){.other = ends[1]};
        conn_adopt(&readers[i].conn, &fixture.worker, ends[0], UV_NAMED_PIPE, &events, &readers[i]);
    }
}

static void finish(void)
{
    for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
        close(readers[i].other);
        conn_close(&readers[i].conn, on_closed);
    }
    fixture_finish(&fixture);
    cr_expect(readers[0].closed && readers[1].closed);
}

static void say(const struct reader *reader, size_t bytes)
{
    static const char text[MUCH_BYTES];

    for (size_t sent = 0; sent < bytes;) {
        ssize_t taken = write(reader->other, text, bytes - sent);
        cr_assert_gt(taken, 0);
        sent += (size_t)taken;
    }
}

static void turn(void)
{
    (void)uv_run(&fixture.worker.loop, UV_RUN_NOWAIT);
}

TestSuite(conn, .init = setup, .fini = finish);

Test(conn, a_turn_reads_so_much_of_one_connection)
{
    say(&readers[0], MUCH_BYTES);
    say(&readers[1], 1);
    conn_read_start(&readers[0].conn);
    conn_read_start(&readers[1].conn);
    turn();
    cr_expect_eq(readers[0].bytes, CONN_READ_MAX_BYTES);
    cr_expect_eq(readers[1].bytes, 1);
    turn();
    cr_expect_eq(readers[0].bytes, MUCH_BYTES); /* nobody had to begin reading again */
}

Test(conn, the_end_comes_behind_what_waited_for_its_turn)
{
    say(&readers[0], MUCH_BYTES);
    cr_assert_eq(shutdown(readers[0].other, SHUT_RDWR), 0);
    conn_read_start(&readers[0].conn);
    turn();
    cr_expect_eq(readers[0].bytes, CONN_READ_MAX_BYTES);
    cr_expect_not(readers[0].ended);
    fixture_run_until(&fixture, &readers[0].ended);
    cr_expect_eq(readers[0].bytes, MUCH_BYTES);
}

Test(conn, reading_that_is_stopped_and_begun_has_a_whole_turn)
{
    say(&readers[0], MUCH_BYTES);
    readers[0].stops = true;
    conn_read_start(&readers[0].conn);
    turn();
    cr_assert_eq(readers[0].bytes, WORKER_READ_BUFFER_BYTES);
    readers[0].stops = false;
    conn_read_start(&readers[0].conn);
    turn();
    cr_expect_eq(readers[0].bytes, WORKER_READ_BUFFER_BYTES + CONN_READ_MAX_BYTES);
}
