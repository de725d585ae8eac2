/* lookup.c: getaddrinfo in a detached thread.
 *
 * Two own a look-up: the thread, until it has posted its answer or found it abandoned, and the loop, until `done` has
 * run or it abandoned it. The mutex makes these one choice: who comes second frees it. */
#include "proxy/io/lookup.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/io/mailbox.h"
#include "proxy/io/thread.h"

struct lookup {
    struct mailbox *mailbox;
    struct message message;
    void (*done)(void *arg, int error, const struct addrinfo *list);
    void *arg;
    pthread_mutex_t mutex; /* guards what follows */
    bool abandoned;
    bool answered;
    int error;
    struct addrinfo *list;
    char name[];
};

static void destroy(struct lookup *lookup)
{
    if (lookup->list != NULL) {
        freeaddrinfo(lookup->list);
    }
    pthread_mutex_destroy(&lookup->mutex);
    free(lookup);
}

static void *run(void *arg) /* start routine of pthread_create */
{
    /* Without AI_ADDRCONFIG: it hides the addresses of localhost on machines with nothing but a loopback interface. */
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct lookup *lookup = arg;
    struct addrinfo *list = NULL;
    int error = getaddrinfo(lookup->name, NULL, &hints, &list);

    pthread_mutex_lock(&lookup->mutex);
    lookup->error = error;
    lookup->list = error == 0 ? list : NULL;
    lookup->answered = true;
    bool abandoned = lookup->abandoned;
    if (!abandoned) {
        mailbox_post(lookup->mailbox, &lookup->message); /* within: the mailbox is there until it is abandoned */
    }
    pthread_mutex_unlock(&lookup->mutex);
    if (abandoned) {
        destroy(lookup);
    }
    return NULL;
}

static void on_answer(struct message *message) /* message.run */
{
    struct lookup *lookup = CONTAINER_OF(message, struct lookup, message);

    pthread_mutex_lock(&lookup->mutex); /* the thread has let go of it then */
    pthread_mutex_unlock(&lookup->mutex);
    lookup->done(lookup->arg, lookup->error, lookup->list);
    destroy(lookup);
}

struct lookup *lookup_start(const char *name, struct mailbox *mailbox,
                            void (*done)(void *arg, int error, const struct addrinfo *list), void *arg)
{
    size_t len = strlen(name) + 1;
    struct lookup *lookup = calloc(1, sizeof(*lookup) + len);
    pthread_t thread;

    if (lookup == NULL) {
        return NULL;
    }
    lookup->mailbox = mailbox;
    lookup->message.run = on_answer;
    lookup->done = done;
    lookup->arg = arg;
    memcpy(lookup->name, name, len);
    REQUIRE(pthread_mutex_init(&lookup->mutex, NULL) == 0);
    if (!thread_start(&thread, run, lookup)) {
        destroy(lookup);
        return NULL;
    }
    pthread_detach(thread);
    return lookup;
}

void lookup_abandon(struct lookup *lookup)
{
    if (lookup == NULL) {
        return;
    }
    pthread_mutex_lock(&lookup->mutex);
    lookup->abandoned = true;
    bool answered = lookup->answered;
    pthread_mutex_unlock(&lookup->mutex);
    if (answered) {
        mailbox_cancel(lookup->mailbox, &lookup->message);
        destroy(lookup);
    }
}
