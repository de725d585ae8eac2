/* mailbox.h: messages to a loop from any thread.
 *
 * A message is a struct embedded in whatever it is about; posting it twice before it ran is posting it once. Its `run`
 * is called on the loop's thread, if it was posted there never before the post has returned. mailbox_cancel on that
 * thread guarantees that it will not run. However many messages there are, sockets get their turn between a few of them
 * and the next; and none runs before all of one polling is told. */
#ifndef PROXY_MAILBOX_H
#define PROXY_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

/* Zero it, but for `run`, before it is posted first. */
struct message {
    void (*run)(struct message *message); /* may free the message, post it again, or post others */
    struct message *next;                 /* of the list it is in */
    struct message *previous;
    atomic_bool posted;            /* in a list: whoever makes it true appends it */
    struct message_list *own_list; /* … the loop's own that it is in; the loop's thread only */
};

struct message_list {
    struct message *first;
    struct message *last;
    size_t count;
};

struct mailbox {
    uv_async_t async;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t awake;         /* started while messages are left, so that polling does not wait */
    struct message_list own; /* what the loop's thread posted, and what it took over from `others`; that thread only */
    struct message_list later;  /* … after the next poll */
    pthread_mutex_t mutex;      /* guards the two below */
    struct message_list others; /* what other threads posted */
    bool closed;
    atomic_bool others_wait; /* `others` may hold something: looked at without the mutex */
};

int mailbox_init(struct mailbox *mailbox, uv_loop_t *loop); /* libuv code */
void mailbox_enter(struct mailbox *mailbox); /* this thread runs the loop from now on: its own posts need no wake-up */
void mailbox_post(struct mailbox *mailbox, struct message *message); /* any thread; those of one thread in order */
void mailbox_post_later(struct mailbox *mailbox,
                        struct message *message); /* the loop's thread; runs after what sockets have by then was told */
void mailbox_cancel(struct mailbox *mailbox, struct message *message); /* the loop's thread */
void mailbox_close(struct mailbox *mailbox);  /* the loop's thread; posts after this are lost; run the loop until its
                                                 handle is closed; a second call changes nothing */
void mailbox_finish(struct mailbox *mailbox); /* after the loop ended, when no thread posts any more */

#endif
