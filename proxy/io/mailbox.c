/* mailbox.c: two lists, and uv_async_send, the one libuv function that other threads may call.
 *
 * Happy path: a post of another thread appends to `others` under the mutex and, when that was empty, wakes the loop.
 *             What the loop's own thread posts goes to `own` without any of that: it is run before the loop waits next
 *             (before and after it polls). The loop takes over what others posted, then the messages one by one, a few
 *             before each poll and after it, none while sockets are told what was polled. `later` becomes `own` between
 *             the two.
 * Failures:   none. Wake-ups may come together or without need; the lists say what there is to do. */
#include "proxy/io/mailbox.h"

#include "http/check.h"

enum { RUN_MESSAGES = 16 }; /* at once: some write a quarter of a megabyte */

static _Thread_local struct mailbox *own; /* of the loop that this thread runs */

static void on_wake(uv_async_t *async);
static void on_prepare(uv_prepare_t *prepare);
static void on_check(uv_check_t *check);
static void on_idle(uv_idle_t *idle);
static void run_messages(struct mailbox *mailbox);
static void append(struct message_list *list, struct message *message);
static void append_own(struct message_list *list, struct message *message);
static void take_out(struct message_list *list, struct message *message);

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
    /* None of these five can fail on a loop and handles of this kind. */
    REQUIRE(uv_prepare_init(loop, &mailbox->prepare) == 0);
    REQUIRE(uv_check_init(loop, &mailbox->check) == 0);
    REQUIRE(uv_idle_init(loop, &mailbox->awake) == 0);
    REQUIRE(uv_prepare_start(&mailbox->prepare, on_prepare) == 0);
    REQUIRE(uv_check_start(&mailbox->check, on_check) == 0);
    return 0;
}

void mailbox_enter(struct mailbox *mailbox)
{
    own = mailbox;
}

/* Whoever posts what is in a list already is heard nevertheless: `run` begins with an exchange, which sees all that
 * went before this one. */
static bool begins_to_wait(struct message *message)
{
    return !atomic_exchange_explicit(&message->posted, true, memory_order_acq_rel);
}

static void post_from_outside(struct mailbox *mailbox, struct message *message)
{
    pthread_mutex_lock(&mailbox->mutex);
    if (!mailbox->closed && begins_to_wait(message)) {
        bool was_empty = mailbox->others.first == NULL;

        append(&mailbox->others, message);
        atomic_store_explicit(&mailbox->others_wait, true, memory_order_release);
        if (was_empty) {
            /* Under the mutex, because the handle must not be closed between the look at `closed` and this; it only
             * sets a flag and perhaps writes to an eventfd. */
            (void)uv_async_send(&mailbox->async); /* cannot fail on an open handle */
        }
    }
    pthread_mutex_unlock(&mailbox->mutex);
}

void mailbox_post(struct mailbox *mailbox, struct message *message)
{
    REQUIRE(message->run != NULL);
    if (own != mailbox) {
        post_from_outside(mailbox, message);
    } else if (!mailbox->closed && begins_to_wait(message)) { /* only this thread closes it */
        append_own(&mailbox->own, message);
    }
}

void mailbox_post_later(struct mailbox *mailbox, struct message *message)
{
    REQUIRE(message->run != NULL);
    if (!mailbox->closed && begins_to_wait(message)) {
        append_own(&mailbox->later, message);
    }
}

/* It is in no list any more. */
static void forget(struct message *message)
{
    message->own_list = NULL;
    (void)atomic_exchange_explicit(&message->posted, false, memory_order_acq_rel);
}

void mailbox_cancel(struct mailbox *mailbox, struct message *message)
{
    if (!atomic_load_explicit(&message->posted, memory_order_acquire)) {
        return;
    }
    if (message->own_list != NULL) {
        take_out(message->own_list, message);
        forget(message);
        return;
    }
    pthread_mutex_lock(&mailbox->mutex);
    take_out(&mailbox->others, message);
    forget(message);
    pthread_mutex_unlock(&mailbox->mutex);
}

static void empty(struct message_list *list)
{
    while (list->first != NULL) {
        struct message *message = list->first;

        take_out(list, message);
        forget(message);
    }
}

void mailbox_close(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->mutex);
    bool was_closed = mailbox->closed;
    mailbox->closed = true;
    empty(&mailbox->others);
    pthread_mutex_unlock(&mailbox->mutex);
    empty(&mailbox->own);
    empty(&mailbox->later);
    if (!was_closed) {
        uv_close((uv_handle_t *)&mailbox->async, NULL);
        uv_close((uv_handle_t *)&mailbox->prepare, NULL);
        uv_close((uv_handle_t *)&mailbox->check, NULL);
        uv_close((uv_handle_t *)&mailbox->awake, NULL);
    }
}

void mailbox_finish(struct mailbox *mailbox)
{
    REQUIRE(mailbox->closed);
    pthread_mutex_destroy(&mailbox->mutex);
}

/* In the midst of what was polled: sockets that are still to be told of come first. That polling has ended is enough,
 * on_check follows. */
static void on_wake(uv_async_t *async) /* uv_async_cb */
{
    (void)async;
}

static void on_check(uv_check_t *check) /* uv_check_cb: after polling */
{
    run_messages(check->data);
}

static void on_idle(uv_idle_t *idle) /* uv_idle_cb: that there is one is enough */
{
    (void)idle;
}

static void on_prepare(uv_prepare_t *prepare) /* uv_prepare_cb: before polling, which may wait */
{
    struct mailbox *mailbox = prepare->data;

    run_messages(mailbox);
    if (mailbox->closed) {
        return;
    }
    while (mailbox->later.first != NULL) {
        struct message *message = mailbox->later.first;

        take_out(&mailbox->later, message);
        append_own(&mailbox->own, message);
    }
    if (mailbox->own.first == NULL) {
        (void)uv_idle_stop(&mailbox->awake); /* always succeeds */
    } else {
        REQUIRE(uv_idle_start(&mailbox->awake, on_idle) == 0); /* fails only without a function */
    }
}

/* What other threads posted becomes the loop's own. */
static void take_over(struct mailbox *mailbox)
{
    if (!atomic_load_explicit(&mailbox->others_wait, memory_order_acquire)) {
        return; /* what comes now wakes the loop */
    }
    pthread_mutex_lock(&mailbox->mutex);
    atomic_store_explicit(&mailbox->others_wait, false, memory_order_relaxed);
    while (mailbox->others.first != NULL) {
        struct message *message = mailbox->others.first;

        take_out(&mailbox->others, message);
        append_own(&mailbox->own, message);
    }
    pthread_mutex_unlock(&mailbox->mutex);
}

/* Runs what is there now, as far as it may run at once. */
static void run_messages(struct mailbox *mailbox)
{
    take_over(mailbox);
    size_t count = mailbox->own.count < RUN_MESSAGES ? mailbox->own.count : RUN_MESSAGES;
    for (; count > 0; count--) {
        struct message *message = mailbox->own.first;

        if (message == NULL) {
            return; /* others were canceled, or the mailbox was closed, by one that ran */
        }
        take_out(&mailbox->own, message);
        forget(message);
        message->run(message);
    }
}

static void append(struct message_list *list, struct message *message)
{
    message->next = NULL;
    message->previous = list->last;
    if (list->last != NULL) {
        list->last->next = message;
    } else {
        list->first = message;
    }
    list->last = message;
    list->count++;
}

static void append_own(struct message_list *list, struct message *message)
{
    message->own_list = list;
    append(list, message);
}

static void take_out(struct message_list *list, struct message *message)
{
    if (message->previous != NULL) {
        message->previous->next = message->next;
    } else {
        list->first = message->next;
    }
    if (message->next != NULL) {
        message->next->previous = message->previous;
    } else {
        list->last = message->previous;
    }
    message->next = NULL;
    message->previous = NULL;
    list->count--;
}
