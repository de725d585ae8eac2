/* purge_wait.c: see purge_wait.h. Two hold a wait: the disk thread until it has told, and the caller until it has been
 * told or has forgotten; the last one frees it. */
#include "proxy/exchange/purge_wait.h"

#include <stdlib.h>

struct purge_wait {
    struct message told;
    pthread_mutex_t mutex;   /* guards the next two */
    struct mailbox *mailbox; /* NULL: forgotten */
    bool written;            /* the disk thread is through with it */
    uint64_t sequence;
    enum err error;
    purge_wait_fn done;
    void *arg;
};

static void destroy(struct purge_wait *wait)
{
    pthread_mutex_destroy(&wait->mutex);
    free(wait);
}

static void on_told(struct message *message) /* message.run */
{
    struct purge_wait *wait = CONTAINER_OF(message, struct purge_wait, told);
    purge_wait_fn done = wait->done;
    void *arg = wait->arg;
    uint64_t sequence = wait->sequence;
    enum err error = wait->error;

    pthread_mutex_lock(&wait->mutex); /* the disk thread may still be on its way out of it */
    pthread_mutex_unlock(&wait->mutex);
    destroy(wait);
    done(arg, sequence, error);
}

static void on_written(void *arg, uint64_t sequence, enum err error) /* cache_purged_fn */
{
    struct purge_wait *wait = arg;

    pthread_mutex_lock(&wait->mutex);
    wait->sequence = sequence;
    wait->error = error;
    wait->written = true;
    bool forgotten = wait->mailbox == NULL;
    if (!forgotten) {
        mailbox_post(wait->mailbox, &wait->told); /* the loop goes on for as long as somebody waits */
    }
    pthread_mutex_unlock(&wait->mutex);
    if (forgotten) {
        destroy(wait);
    }
}

enum err purge_wait_begin(struct cache *cache, struct mailbox *mailbox, const struct purge *purges, size_t count,
                          purge_wait_fn done, void *arg, struct purge_wait **out_wait)
{
    struct purge_wait *wait = calloc(1, sizeof(*wait));

    if (wait == NULL) {
        return ERR_NO_MEMORY;
    }
    wait->told.run = on_told;
    wait->mailbox = mailbox;
    wait->done = done;
    wait->arg = arg;
    REQUIRE(pthread_mutex_init(&wait->mutex, NULL) == 0);
    enum err error = cache_purge(cache, purges, count, on_written, wait);
    if (error != ERR_OK) {
        destroy(wait);
        return error;
    }
    *out_wait = wait;
    return ERR_OK;
}

void purge_wait_forget(struct purge_wait *wait)
{
    if (wait == NULL) {
        return;
    }
    pthread_mutex_lock(&wait->mutex);
    struct mailbox *mailbox = wait->mailbox;
    bool written = wait->written;
    wait->mailbox = NULL;
    pthread_mutex_unlock(&wait->mutex);
    if (written) {
        mailbox_cancel(mailbox, &wait->told);
        destroy(wait);
    }
}
