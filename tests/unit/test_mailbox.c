/* test_mailbox.c: messages that a loop posts to itself, and the turns that sockets get between them. (What other
 * threads post: threads/thread_mailbox.c.) */
#include "proxy/io/mailbox.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop_support.h"
#include "proxy/io/conn.h"

enum { MANY = 1000 };

/* Something that posts itself again each time it runs, as often as it is to. */
struct repeater {
    struct message message;
    unsigned runs;
    unsigned wanted;
    size_t read_bytes; /* by the socket, when it ran last */
};

static struct loop_fixture fixture;
static struct conn conn;
static int other;
static size_t read_bytes;
static struct repeater repeaters[MANY];

static void on_read(struct conn *from, struct span bytes)
{
    (void)from;
    read_bytes += bytes.len;
}

static void on_end(struct conn *from, enum err error)
{
    (void)from;
    (void)error;
}

static void on_closed(struct conn *closed)
{
    (void)closed;
}

static const struct conn_events events = {.on_read = on_read, .on_end = on_end};

static void on_message(struct message *message)
{
    struct repeater *repeater = CONTAINER_OF(message, struct repeater, message);

    repeater->runs++;
    repeater->read_bytes = read_bytes;
}

static void on_message_outside(struct message *message)
{
    (void)message;
}

static void on_repeater(struct message *message)
{
    struct repeater *repeater = CONTAINER_OF(message, struct repeater, message);

    on_message(message);
    if (repeater->runs < repeater->wanted) {
        mailbox_post_later(&fixture.worker.mailbox, message);
    }
}

static void setup(void)
{
    int ends[2];

    fixture_init(&fixture);
    mailbox_enter(&fixture.worker.mailbox);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    other = ends[1];
    conn_adopt(&conn, &fixture.worker, ends[0], UV_NAMED_PIPE, &events, NULL);
    conn_read_start(&conn);
}

static void finish(void)
{
    close(other);
    conn_close(&conn, on_closed);
    fixture_finish(&fixture);
}

static void turn(void)
{
    (void)uv_run(&fixture.worker.loop, UV_RUN_NOWAIT);
}

static struct repeater *repeater(void (*run)(struct message *message), unsigned wanted)
{
    repeaters[0] = (struct repeater){.message.run = run, .wanted = wanted};
    return &repeaters[0];
}

TestSuite(mailbox, .init = setup, .fini = finish);

Test(mailbox, what_is_posted_for_later_runs_when_sockets_were_served)
{
    struct repeater *later = repeater(on_repeater, 1);

    mailbox_post_later(&fixture.worker.mailbox, &later->message);
    mailbox_post_later(&fixture.worker.mailbox, &later->message); /* twice is once */
    cr_assert_eq(write(other, "x", 1), 1);
    turn();
    cr_expect_eq(later->runs, 1);
    cr_expect_eq(later->read_bytes, 1);
    turn();
    cr_expect_eq(later->runs, 1);
}

static struct conn second;
static struct message *posted_on_read;

static void on_read_post(struct conn *from, struct span bytes)
{
    (void)from;
    (void)bytes;
    mailbox_post(&fixture.worker.mailbox, posted_on_read);
}

static void *post_from_outside(void *arg) /* start routine of pthread_create */
{
    mailbox_post(&fixture.worker.mailbox, arg);
    return NULL;
}

/* epoll tells of sockets and of the wake-up in the order in which they became ready. */
Test(mailbox, a_wake_up_between_two_sockets_runs_nothing_before_the_second)
{
    static const struct conn_events posting = {.on_read = on_read_post, .on_end = on_end};
    struct message outside = {.run = on_message_outside};
    struct repeater *message = repeater(on_repeater, 1);
    pthread_t thread;
    int ends[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    conn_adopt(&second, &fixture.worker, ends[0], UV_NAMED_PIPE, &posting, NULL);
    conn_read_start(&second);
    posted_on_read = &message->message;
    turn(); /* both are watched */
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert_eq(pthread_create(&thread, NULL, post_from_outside, &outside), 0);
    pthread_join(thread, NULL);
    cr_assert_eq(write(other, "x", 1), 1);
    turn();
    cr_expect_eq(message->runs, 1);
    cr_expect_eq(message->read_bytes, 1);
    close(ends[1]);
    conn_close(&second, on_closed);
}

Test(mailbox, it_runs_once_a_turn)
{
    struct repeater *later = repeater(on_repeater, 3);

    mailbox_post_later(&fixture.worker.mailbox, &later->message);
    for (unsigned i = 1; i <= 3; i++) {
        turn();
        cr_expect_eq(later->runs, i);
    }
}

Test(mailbox, the_loop_does_not_sleep_while_something_is_left)
{
    struct repeater *later = repeater(on_repeater, 100);

    mailbox_post_later(&fixture.worker.mailbox, &later->message);
    for (unsigned i = 0; i < 100; i++) {
        (void)uv_run(&fixture.worker.loop, UV_RUN_ONCE); /* no timer runs that would end a wait */
    }
    cr_expect_eq(later->runs, 100);
}

Test(mailbox, sockets_get_their_turn_between_many_messages)
{
    for (size_t i = 0; i < MANY; i++) {
        repeaters[i] = (struct repeater){.message.run = on_message};
        mailbox_post(&fixture.worker.mailbox, &repeaters[i].message);
    }
    cr_assert_eq(write(other, "x", 1), 1);
    for (size_t i = 0; i < MANY && repeaters[MANY - 1].runs == 0; i++) {
        turn();
    }
    cr_expect_eq(repeaters[0].read_bytes, 0);
    cr_expect_eq(repeaters[MANY / 10].read_bytes, 1);
    for (size_t i = 0; i < MANY; i++) {
        cr_expect_eq(repeaters[i].runs, 1);
    }
}

Test(mailbox, what_is_canceled_or_comes_behind_the_close_does_not_run)
{
    struct repeater *later = repeater(on_repeater, 1);

    mailbox_post_later(&fixture.worker.mailbox, &later->message);
    mailbox_cancel(&fixture.worker.mailbox, &later->message);
    turn();
    mailbox_post_later(&fixture.worker.mailbox, &later->message);
    mailbox_close(&fixture.worker.mailbox);
    mailbox_post_later(&fixture.worker.mailbox, &later->message);
    turn();
    cr_expect_eq(later->runs, 0);
}
