/* mailbox.c: a list under a mutex, and uv_async_send, the one libuv function that other threads may call.
 *
 * Happy path: a post appends to the list and, when the list was empty, wakes the loop. The loop takes the messages one
 *             by one and runs each without the mutex. What the loop's own thread posts is run before the loop waits
 *             next (before and after it polls), and needs no wake-up: three system calls less.
 * Failures:   none. Wake-ups may come together or without need; the list says what there is to do. */
#include "proxy/io/mailbox.h"

#include "http/check.h"

static _Thread_local struct mailbox *own; /* of the loop that this thread runs */

static void on_wake(uv_async_t *async);
static void on_prepare(uv_prepare_t *prepare);
static void on_check(uv_check_t *check);
static void run_messages(struct mailbox *mailbox);
static void append(struct mailbox *mailbox, struct message *message);
static void take_out(struct mailbox *mailbox, struct message *message);
static size_t count_messages(struct mailbox *mailbox);

int mailbox_init(struct mailbox *mailbox, uv_loop_t *loop)
{
    *mailbox = (struct mailbox){0};
    int error = pthread_mutex_init(&mailbox->mutex, NULL);
    if (error != 0) {
        return uv_translate_sys_error(error);
    }
    error = uv_async_init(loop, &mailbox->async, on_wake);
    if (error < 0) {
        pthread_mutex_destroy(&mailbox->mutex);
        return error;
    }
    mailbox->async.data = mailbox;
    mailbox->prepare.data = mailbox;
    mailbox->check.data = mailbox;
    /* None of these four can fail on a loop and handles of this kind. */
    REQUIRE(uv_prepare_init(loop, &mailbox->prepare) == 0);
    REQUIRE(uv_check_init(loop, &mailbox->check) == 0);
    REQUIRE(uv_prepare_start(&mailbox->prepare, on_prepare) == 0);
    REQUIRE(uv_check_start(&mailbox->check, on_check) == 0);
    return 0;
}

void mailbox_enter(struct mailbox *mailbox)
{
    own = mailbox;
}

void mailbox_post(struct mailbox *mailbox, struct message *message)
{
    REQUIRE(message->run != NULL);
    pthread_mutex_lock(&mailbox->mutex);
    if (!mailbox->closed && !message->posted) {
        bool was_empty = mailbox->first == NULL;

        append(mailbox, message);
        if (was_empty && own != mailbox) {
            /* Under the mutex, because the handle must not be closed between the look at `closed` and this; it only
             * sets a flag and perhaps writes to an eventfd. */
            (void)uv_async_send(&mailbox->async); /* cannot fail on an open handle */
        }
    }
    pthread_mutex_unlock(&mailbox->mutex);
}

void mailbox_cancel(struct mailbox *mailbox, struct message *message)
{
    pthread_mutex_lock(&mailbox->mutex);
    if (message->posted) {
        take_out(mailbox, message);
    }
    pthread_mutex_unlock(&mailbox->mutex);
}

void mailbox_close(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->mutex);
    bool was_closed = mailbox->closed;
    mailbox->closed = true;
    while (mailbox->first != NULL) {
        take_out(mailbox, mailbox->first);
    }
    pthread_mutex_unlock(&mailbox->mutex);
    if (!was_closed) {
        uv_close((uv_handle_t *)&mailbox->async, NULL);
        uv_close((uv_handle_t *)&mailbox->prepare, NULL);
        uv_close((uv_handle_t *)&mailbox->check, NULL);
    }
}

void mailbox_finish(struct mailbox *mailbox)
{
    REQUIRE(mailbox->closed);
    pthread_mutex_destroy(&mailbox->mutex);
}

static void on_wake(uv_async_t *async) /* uv_async_cb */
{
    run_messages(async->data);
}

static void on_check(uv_check_t *check) /* uv_check_cb: after polling */
{
    run_messages(check->data);
}

static void on_prepare(uv_prepare_t *prepare) /* uv_prepare_cb: before polling, which may wait */
{
    struct mailbox *mailbox = prepare->data;

    run_messages(mailbox);
    pthread_mutex_lock(&mailbox->mutex);
    if (mailbox->first != NULL) {
        (void)uv_async_send(&mailbox->async); /* so that polling does not wait */
    }
    pthread_mutex_unlock(&mailbox->mutex);
}

/* Runs what is there now. A message that posts itself again waits for the next turn of the loop, so that sockets are
 * served in between. */
static void run_messages(struct mailbox *mailbox)
{
    for (size_t count = count_messages(mailbox); count > 0; count--) {
        pthread_mutex_lock(&mailbox->mutex);
        struct message *message = mailbox->first;
        if (message != NULL) {
            take_out(mailbox, message);
        }
        pthread_mutex_unlock(&mailbox->mutex);
        if (message == NULL) {
            return; /* others were canceled, or the mailbox was closed, by one that ran */
        }
        message->run(message);
    }
}

static void append(struct mailbox *mailbox, struct message *message)
{
    message->posted = true;
    message->next = NULL;
    message->previous = mailbox->last;
    if (mailbox->last != NULL) {
        mailbox->last->next = message;
    } else {
        mailbox->first = message;
    }
    mailbox->last = message;
}

static void take_out(struct mailbox *mailbox, struct message *message)
{
    if (message->previous != NULL) {
        message->previous->next = message->next;
    } else {
        mailbox->first = message->next;
    }
    if (message->next != NULL) {
        message->next->previous = message->previous;
    } else {
        mailbox->last = message->previous;
    }
    message->next = NULL;
    message->previous = NULL;
    message->posted = false;
}

static size_t count_messages(struct mailbox *mailbox)
{
    size_t count = 0;

    pthread_mutex_lock(&mailbox->mutex);
    for (const struct message *message = mailbox->first; message != NULL; message = message->next) {
        count++;
    }
    pthread_mutex_unlock(&mailbox->mutex);
    return count;
}
