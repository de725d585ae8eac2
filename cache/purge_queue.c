/* purge_queue.c: purges on their way to the journal.
 *
 * Happy path: the rows of one call are one job; the disk thread writes it and tells who waits.
 *
 * Failures: a job that the disk refuses goes back to the front of the line, so that the line stays in the order of the
 * sequences. After a few tries who waits is told, and the job is kept until the disk takes writes again: the journal's
 * newest row must not be older than what is born meanwhile (store_newest_purge). Of the kept ones the oldest go when
 * they are too many; the last row of all stays. */
#include <stdlib.h>

#include "cache/cache_internal.h"

enum {
    PURGE_TRIES = 5,
    KEPT_SHARE = 4, /* of a batch, its bytes and its jobs */
};

/* ---- room ---- */

/* Purges are not refused because bodies fill the queue. */
bool queue_admit_purge(struct queue *queue, size_t bytes)
{
    pthread_mutex_lock(&queue->mutex);
    bool room = queue->purge_bytes + bytes <= PURGES_MAX_BYTES;
    queue->purge_bytes += room ? bytes : 0;
    pthread_mutex_unlock(&queue->mutex);
    return room;
}

void queue_end_purge(struct queue *queue, size_t bytes)
{
    pthread_mutex_lock(&queue->mutex);
    queue->purge_bytes -= bytes;
    pthread_mutex_unlock(&queue->mutex);
}

/* ---- what the disk has said ---- */

static void tell(struct queue *queue, struct job *job, enum err error)
{
    struct purge_rows *rows = job->rows;

    if (!job->told) {
        job->told = true;
        queue_end_purge(queue, rows->memory_bytes);
        if (rows->done != NULL) {
            rows->done(rows->arg, rows->items[rows->count - 1].sequence, error);
            rows->done = NULL; /* nobody waits for it any more */
        }
    }
}

bool purge_written(struct queue *queue, struct job *job, enum err error, bool last_try)
{
    if (error != ERR_OK && !last_try) {
        job->tries++;
        if (job->tries >= PURGE_TRIES) {
            tell(queue, job, error);
        }
        return false;
    }
    tell(queue, job, error);
    purge_rows_destroy(job->rows);
    return true;
}

/* ---- back into the line ---- */

static bool is_kept(const struct job *job)
{
    return job != NULL && job->told;
}

/* The block stays as it is: there is one such job at most. */
static void keep_last_row(struct queue *queue, struct job *job)
{
    struct purge_rows *rows = job->rows;

    rows->items[0] = rows->items[rows->count - 1];
    rows->count = 1;
    queue->bytes -= job->bytes;
    job->bytes = rows->items[0].row.len;
    queue->bytes += job->bytes;
}

/* Older ones were refused more often: what is kept stands in front. The mutex is held. */
static void limit_kept(struct queue *queue, uint64_t limit_bytes)
{
    uint64_t bytes = 0;
    size_t count = 0;

    for (const struct job *job = queue->purges.first; is_kept(job); job = job->next) {
        bytes += job->bytes;
        count++;
    }
    while (count > 1 && (bytes > limit_bytes || count > BATCH_JOBS / KEPT_SHARE)) {
        struct job *job = job_list_take(&queue->purges);
        queue->bytes -= job->bytes;
        bytes -= job->bytes;
        count--;
        purge_rows_destroy(job->rows);
        free(job);
    }
    if (count == 1 && bytes > limit_bytes) {
        keep_last_row(queue, queue->purges.first);
    }
}

void queue_put_back_purges(struct queue *queue, struct job_list *refused, uint64_t batch_bytes)
{
    if (refused->first == NULL) {
        return;
    }
    pthread_mutex_lock(&queue->mutex);
    for (const struct job *job = refused->first; job != NULL; job = job->next) {
        queue->bytes += job->bytes;
        queue->urgent += job_is_urgent(job) ? 1 : 0;
    }
    refused->last->next = queue->purges.first;
    if (queue->purges.first == NULL) {
        queue->purges.last = refused->last;
    }
    queue->purges.first = refused->first;
    limit_kept(queue, batch_bytes / KEPT_SHARE);
    pthread_mutex_unlock(&queue->mutex);
    *refused = (struct job_list){0};
}
