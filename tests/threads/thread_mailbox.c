/* thread_mailbox.c: many threads post to one loop; nothing is lost, nothing runs twice for one post seen, nothing runs
 * after cancel or close. A plain program: TSan does not run under Criterion. */
#include <stdatomic.h>
#include <stdio.h>

#include "http/check.h"
#include "proxy/io/mailbox.h"

enum { THREADS = 4, MESSAGES = 8, POSTS = 20000 };

struct counter {
    struct message message;
    atomic_uint wanted; /* raised before each post */
    unsigned seen;      /* of `wanted`, when it ran last; the loop's */
    unsigned runs;      /* the loop's */
};

static struct mailbox mailbox;
static struct counter counters[THREADS][MESSAGES];
static atomic_uint threads_done;
static struct message all_done;
static struct message again;
static struct message never;
static unsigned again_runs;

static void on_counter(struct message *message)
{
    struct counter *counter = CONTAINER_OF(message, struct counter, message);

    counter->seen = atomic_load(&counter->wanted);
    counter->runs++;
}

static void on_again(struct message *message)
{
    again_runs++;
    if (again_runs < 100) {
        mailbox_post(&mailbox, message); /* runs in a later turn, not at once for ever */
    }
}

static void on_never(struct message *message)
{
    (void)message;
    UNREACHABLE();
}

static void on_all_done(struct message *message)
{
    mailbox_post(&mailbox, &never);
    mailbox_post(&mailbox, &again);
    mailbox_cancel(&mailbox, &never);
    mailbox_cancel(&mailbox, &never); /* twice is once */
    if (again_runs < 100) {
        mailbox_post(&mailbox, message);
        return;
    }
    mailbox_post(&mailbox, &never);
    mailbox_close(&mailbox);
    mailbox_close(&mailbox);
    mailbox_post(&mailbox, &never); /* lost */
}

static void *post_many(void *arg)
{
    struct counter *mine = arg;

    for (unsigned i = 0; i < POSTS; i++) {
        struct counter *counter = &mine[i % MESSAGES];

        atomic_fetch_add(&counter->wanted, 1);
        mailbox_post(&mailbox, &counter->message);
    }
    if (atomic_fetch_add(&threads_done, 1) + 1 == THREADS) {
        mailbox_post(&mailbox, &all_done);
    }
    return NULL;
}

int main(void)
{
    uv_loop_t loop;
    pthread_t threads[THREADS];

    all_done.run = on_all_done;
    again.run = on_again;
    never.run = on_never;
    REQUIRE(uv_loop_init(&loop) == 0);
    REQUIRE(mailbox_init(&mailbox, &loop) == 0);
    mailbox_enter(&mailbox);
    for (size_t i = 0; i < THREADS; i++) {
        for (size_t j = 0; j < MESSAGES; j++) {
            counters[i][j].message.run = on_counter;
        }
        REQUIRE(pthread_create(&threads[i], NULL, post_many, counters[i]) == 0);
    }
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        for (size_t j = 0; j < MESSAGES; j++) {
            REQUIRE(counters[i][j].seen == POSTS / MESSAGES); /* the last post of each was seen */
            REQUIRE(counters[i][j].runs > 0);
            REQUIRE(counters[i][j].runs <= POSTS / MESSAGES);
        }
    }
    REQUIRE(again_runs >= 100);
    REQUIRE(uv_loop_close(&loop) == 0);
    mailbox_finish(&mailbox);
    puts("ok");
    return 0;
}
