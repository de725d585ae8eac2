/* mailbox.h: messages to a loop from any thread.
 *
 * A message is a struct embedded in whatever it is about; posting it twice before it ran is posting it once. Its `run`
 * is called on the loop's thread, never before the post has returned. mailbox_cancel on that thread guarantees that it
 * will not run. */
#ifndef PROXY_MAILBOX_H
#define PROXY_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

/* Zero it, but for `run`, before it is posted first. */
struct message {
    void (*run)(struct message *message); /* may free the message, post it again, or post others */
    struct message *next;
    struct message *previous;
    bool posted; /* guarded by the mailbox's mutex */
};

struct mailbox {
    uv_async_t async;
    uv_prepare_t prepare;
    uv_check_t check;
    pthread_mutex_t mutex; /* guards what follows, and `posted` and the links of every message in the list */
    struct message *first;
    struct message *last;
    bool closed;
};

int mailbox_init(struct mailbox *mailbox, uv_loop_t *loop); /* libuv code */
void mailbox_enter(struct mailbox *mailbox); /* this thread runs the loop from now on: its own posts need no wake-up */
void mailbox_post(struct mailbox *mailbox, struct message *message);   /* any thread; in order, none before another */
void mailbox_cancel(struct mailbox *mailbox, struct message *message); /* the loop's thread */
void mailbox_close(struct mailbox *mailbox);  /* the loop's thread; posts after this are lost; run the loop until its
                                                 handle is closed; a second call changes nothing */
void mailbox_finish(struct mailbox *mailbox); /* after the loop ended, when no thread posts any more */

#endif
