/* writer.c: the queue to the disk thread, and the disk thread's work: batches, commits, and telling who waits. See
 * cache.h.
 *
 * Happy path: jobs are collected until there are enough bytes or they have waited long enough, applied in one
 * transaction, and what they made true is taken off the table: the store says it now.
 *
 * Failures: of a refused batch the fills go on without being stored, the publications are forgotten, and the removals
 * and the purges (purge_queue.c) are tried again. */
#include <errno.h>

#include "cache/cache_internal.h"

enum {
    STOPPED_TRIES = 10,
    DROPS_MAX = 1024, /* that wait for a disk that refuses everything */
};

static void collect(struct cache *cache, struct batch *batch);
static void prepare(struct cache *cache, const struct job *job, struct store_op *op);
static bool finish_job(struct cache *cache, struct job *job, const struct store_op *op, enum err error);

/* ---- the queue ---- */

bool job_is_urgent(const struct job *job)
{
    return job->kind == JOB_PURGE && job->rows->done != NULL;
}

void job_list_append(struct job_list *list, struct job *job)
{
    job->next = NULL;
    *(list->last != NULL ? &list->last->next : &list->first) = job;
    list->last = job;
}

struct job *job_list_take(struct job_list *list)
{
    struct job *job = list->first;

    list->first = job->next;
    if (list->first == NULL) {
        list->last = NULL;
    }
    return job;
}

static void push(struct queue *queue, struct job *job)
{
    pthread_mutex_lock(&queue->mutex);
    job_list_append(job->kind == JOB_PURGE ? &queue->purges : &queue->jobs, job);
    queue->bytes += job->bytes;
    queue->urgent += job_is_urgent(job) ? 1 : 0;
    bool wakes = queue->bytes >= queue->wake_bytes || queue->urgent > 0;
    if (wakes) {
        queue->wake_bytes = SIZE_MAX; /* once: waking costs more than most jobs */
    }
    pthread_mutex_unlock(&queue->mutex);
    if (wakes) { /* outside: or the disk thread would run into the mutex, sleep, and have to be woken once more */
        pthread_cond_signal(&queue->changed);
    }
}

bool queue_push(struct queue *queue, const struct job *job)
{
    struct job *copy = malloc(sizeof(*copy));

    if (copy == NULL) {
        return false;
    }
    *copy = *job;
    push(queue, copy);
    return true;
}

bool queue_full(struct queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    bool full = queue->bytes >= queue->limit_bytes;
    pthread_mutex_unlock(&queue->mutex);
    return full;
}

bool queue_overfull(struct queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    bool full = queue->bytes + queue->held_bytes >= queue->limit_bytes;
    pthread_mutex_unlock(&queue->mutex);
    return full;
}

void queue_hold(struct queue *queue, ptrdiff_t bytes)
{
    pthread_mutex_lock(&queue->mutex);
    queue->held_bytes += (size_t)bytes; /* wraps as it should */
    pthread_mutex_unlock(&queue->mutex);
}

bool queue_push_removal(struct queue *queue, struct entry *entry)
{
    struct job job = {.kind = JOB_REMOVE, .entry = entry};

    if (entry->removal_waits) {
        return true;
    }
    pthread_mutex_lock(&queue->mutex);
    bool room = queue->removals < REMOVALS_MAX;
    queue->removals += room ? 1 : 0;
    pthread_mutex_unlock(&queue->mutex);
    if (!room || !queue_push(queue, &job)) {
        return false;
    }
    entry->removals++;
    entry->removal_waits = true;
    return true;
}

size_t cache_queued_bytes(struct cache *cache)
{
    pthread_mutex_lock(&cache->queue.mutex);
    size_t bytes = cache->queue.bytes + cache->queue.held_bytes;
    pthread_mutex_unlock(&cache->queue.mutex);
    return bytes;
}

void queue_add_backlog(struct queue *queue, struct fill *fill)
{
    pthread_mutex_lock(&queue->mutex);
    fill->backlog_next = NULL;
    if (queue->backlog_last != NULL) {
        queue->backlog_last->backlog_next = fill;
    } else {
        queue->backlog = fill;
    }
    queue->backlog_last = fill;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
}

/* Everything in the backlog gets another try; what does not fit comes back. */
static void resume_backlog(struct queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    struct fill *fill = queue->backlog;
    queue->backlog = NULL;
    queue->backlog_last = NULL;
    pthread_mutex_unlock(&queue->mutex);
    while (fill != NULL) {
        struct fill *next = fill->backlog_next;
        fill_resume(fill);
        fill = next;
    }
}

/* ---- the disk thread ---- */

/* The mutex is held. */
static bool has_jobs(const struct queue *queue)
{
    return queue->jobs.first != NULL || queue->purges.first != NULL;
}

bool cache_wait(struct cache *cache, enum cache_wait what, const struct timespec *until)
{
    struct queue *queue = &cache->queue;
    bool idle_work = what == WAIT_FOR_WORK && (store_wants_apply(cache->store) || reclaim_has_work(cache));
    size_t enough = what == WAIT_FOR_WORK ? 0 : queue->limit_bytes / BATCH_SHARE;
    int result = 0;

    pthread_mutex_lock(&queue->mutex);
    for (;;) {
        bool any = has_jobs(queue) && (queue->bytes >= enough || queue->urgent > 0);
        if (any || idle_work || queue->backlog != NULL || queue->stopped || result == ETIMEDOUT) {
            break;
        }
        queue->wake_bytes = enough;
        result = pthread_cond_timedwait(&queue->changed, &queue->mutex, until);
    }
    queue->wake_bytes = SIZE_MAX;
    bool more = has_jobs(queue) || queue->backlog != NULL || !queue->stopped;
    pthread_mutex_unlock(&queue->mutex);
    if (what == WAIT_FOR_WORK && result == ETIMEDOUT) {
        stream_memory_trim(&cache->stream_memory); /* nothing was stored all the while */
    }
    return more;
}

bool cache_write(struct cache *cache)
{
    struct batch *batch = cache->batch;
    enum err error = ERR_OK;

    batch->count = 0;
    batch->bytes = 0;
    collect(cache, batch);
    for (size_t i = 0; i < batch->count; i++) {
        prepare(cache, batch->jobs[i], &batch->ops[i]);
    }
    struct store_op *reclaim_ops = batch->ops + batch->count;
    size_t reclaim_count = reclaim_prepare(cache, reclaim_ops);
    if (batch->count + reclaim_count > 0 || store_wants_apply(cache->store)) {
        error = store_apply(cache->store, batch->ops, batch->count + reclaim_count);
    }
    reclaim_finish(cache, reclaim_ops, reclaim_count, error);
    for (size_t i = 0; i < batch->count; i++) {
        if (finish_job(cache, batch->jobs[i], &batch->ops[i], error)) {
            free(batch->jobs[i]);
        }
    }
    queue_put_back_purges(&cache->queue, &batch->refused, store_batch_bytes(cache->store));
    resume_backlog(&cache->queue);
    return error == ERR_OK;
}

void cache_stop_writes(struct cache *cache)
{
    bool must_write;

    pthread_mutex_lock(&cache->queue.mutex);
    cache->queue.stopped = true;
    must_write = cache->queue.purges.first != NULL;
    for (const struct job *job = cache->queue.jobs.first; job != NULL; job = job->next) {
        must_write = must_write || job->kind == JOB_REMOVE;
    }
    pthread_cond_signal(&cache->queue.changed);
    pthread_mutex_unlock(&cache->queue.mutex);
    if (!must_write) {
        store_cancel_check(cache->store); /* nobody waits for that only to store a little more */
    }
}

void cache_start_writes(struct cache *cache)
{
    pthread_mutex_lock(&cache->queue.mutex);
    cache->queue.stopped = false;
    pthread_mutex_unlock(&cache->queue.mutex);
    store_allow_check(cache->store);
}

void cache_set_successor(struct cache *cache, struct cache_successor *successor)
{
    atomic_store_explicit(&cache->successor, successor, memory_order_release);
}

/* A freshening needs the object's id, which the publication of the same response in this very batch would only give. */
static bool must_wait_for_id(const struct job *job, const struct batch *batch)
{
    const struct flight *flight = job->kind == JOB_FRESHEN ? job->settled->flight : NULL;

    if (flight == NULL || flight_object_id(flight) != 0) {
        return false;
    }
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->jobs[i]->kind == JOB_PUBLISH && batch->jobs[i]->settled->flight == flight) {
            return true;
        }
    }
    return false;
}

static void collect(struct cache *cache, struct batch *batch)
{
    struct queue *queue = &cache->queue;
    uint64_t limit_bytes = store_batch_bytes(cache->store);

    pthread_mutex_lock(&queue->mutex);
    while (queue->purges.first != NULL && batch->count < BATCH_JOBS && batch->bytes < limit_bytes) {
        struct job *job = job_list_take(&queue->purges);
        queue->urgent -= job_is_urgent(job) ? 1 : 0;
        batch->bytes += job->told ? 0 : job->bytes; /* what is kept leaves room for what it holds up */
        batch->jobs[batch->count++] = job;
    }
    while (queue->jobs.first != NULL && batch->count < BATCH_JOBS && batch->bytes < limit_bytes &&
           !must_wait_for_id(queue->jobs.first, batch)) {
        struct job *job = job_list_take(&queue->jobs);
        batch->bytes += job->bytes;
        batch->jobs[batch->count++] = job;
    }
    pthread_mutex_unlock(&queue->mutex);
}

static bool settled_is_dead(struct settled *settled)
{
    pthread_mutex_lock(&settled->shard->mutex);
    bool dead = settled->dead;
    pthread_mutex_unlock(&settled->shard->mutex);
    return dead;
}

static void prepare(struct cache *cache, const struct job *job, struct store_op *op)
{
    struct settled *settled = job->settled;

    *op = (struct store_op){.body_id = job->body_id};
    switch (job->kind) {
    case JOB_PIECES:
        if (!flight_is_storing(job->flight)) {
            /* Pieces whose first ones were lost with a failed batch: nothing would ever delete them. */
            op->kind = STORE_OP_DROP_BODY;
            break;
        }
        op->kind = STORE_OP_PIECES;
        op->first_piece = (uint32_t)(job->offset / STORE_PIECE_BYTES);
        op->bytes = job->data;
        op->prefix_len = flight_body_offset(job->flight);
        break;
    case JOB_PUBLISH:
        if (settled_is_dead(settled)) {
            op->kind = STORE_OP_DROP_BODY;
            break;
        }
        op->kind = STORE_OP_PUBLISH;
        op->key.text = flight_key(settled->flight);
        op->key.hash = key_hash_of(op->key.text, cache_secret(cache));
        op->selection = settled->selection;
        op->record = &settled->record;
        break;
    case JOB_FRESHEN:
        op->kind = STORE_OP_FRESHEN;
        op->object_id = settled->record.object_id;
        if (op->object_id == 0 && settled->flight != NULL) {
            op->object_id = flight_object_id(settled->flight);
        }
        op->record = &settled->record;
        break;
    case JOB_DROP:
        op->kind = STORE_OP_DROP_BODY;
        break;
    case JOB_REMOVE:
        pthread_mutex_lock(&job->entry->shard->mutex);
        job->entry->removal_waits = false;
        pthread_mutex_unlock(&job->entry->shard->mutex);
        op->kind = STORE_OP_REMOVE_KEY;
        op->key = (struct key){.text = job->entry->text, .hash = job->entry->hash};
        break;
    case JOB_PURGE:
        op->kind = STORE_OP_PURGE;
        op->purges = job->rows->items;
        op->purge_count = job->rows->count;
        break;
    }
}

static void removed(struct queue *queue, struct entry *entry)
{
    struct shard *shard = entry->shard;

    pthread_mutex_lock(&queue->mutex);
    queue->removals--;
    pthread_mutex_unlock(&queue->mutex);

    pthread_mutex_lock(&shard->mutex);
    entry->removals--;
    shard->generation++;
    entry_release(entry);
    pthread_mutex_unlock(&shard->mutex);
}

static void count_written(struct queue *queue, size_t bytes)
{
    pthread_mutex_lock(&queue->mutex);
    queue->bytes -= bytes;
    pthread_mutex_unlock(&queue->mutex);
}

/* What is to be removed is the business of the process that has taken the store over: it is told of keys and purges; of
 * bodies that were given up it knows by itself. */
static bool hand_on(struct cache *cache, const struct job *job)
{
    struct cache_successor *successor = atomic_load_explicit(&cache->successor, memory_order_acquire);

    if (successor == NULL) {
        return false;
    }
    if (job->kind == JOB_REMOVE) {
        successor->removed(successor, job->entry->text);
    }
    for (size_t i = 0; job->kind == JOB_PURGE && i < job->rows->count; i++) {
        successor->purged(successor, job->rows->items[i].sequence, job->rows->items[i].row);
    }
    return true;
}

/* What takes something away must not be lost, but for a stop it is tried a few times only: a full disk may stay full.
 */
static bool give_up(struct cache *cache, struct job *job)
{
    struct queue *queue = &cache->queue;

    pthread_mutex_lock(&queue->mutex);
    bool stopped = queue->stopped;
    pthread_mutex_unlock(&queue->mutex);
    job->refusals += stopped ? 1 : 0;
    return store_failed(cache->store) || job->refusals >= STOPPED_TRIES;
}

static enum reason refusal_of(const struct cache *cache)
{
    return store_is_away(cache->store) ? REASON_STORE_AWAY : REASON_STORE_FAILED;
}

/* False: the job was queued again. */
static bool finish_job(struct cache *cache, struct job *job, const struct store_op *op, enum err error)
{
    struct job again = {.kind = JOB_DROP, .body_id = job->body_id};

    switch (job->kind) {
    case JOB_PIECES:
        count_written(&cache->queue, job->bytes);
        if (error == ERR_OK && op->kind == STORE_OP_PIECES) {
            flight_committed(job->flight, job->offset + job->data.len);
        } else if (error != ERR_OK) {
            flight_set_store_reason(job->flight, refusal_of(cache));
            flight_stop_storing(job->flight);
        }
        segment_unref(job->segment);
        flight_unref(job->flight);
        break;
    case JOB_PUBLISH:
        if (error != ERR_OK) {
            flight_set_store_reason(job->settled->flight, refusal_of(cache));
            (void)queue_push(&cache->queue, &again); /* no memory: it is swept at the next start */
        }
        if (error == ERR_OK && op->kind == STORE_OP_PUBLISH && op->done) {
            flight_set_object_id(job->settled->flight, op->object_id);
        }
        settled_forget(job->settled);
        break;
    case JOB_FRESHEN:
        count_written(&cache->queue, job->bytes);
        settled_forget(job->settled);
        break;
    case JOB_DROP:
        if (error != ERR_OK && !hand_on(cache, job) && !give_up(cache, job) &&
            (job->again || cache->batch->drops < DROPS_MAX)) {
            cache->batch->drops += job->again ? 0 : 1;
            job->again = true;
            push(&cache->queue, job);
            return false;
        }
        cache->batch->drops -= job->again ? 1 : 0;
        break; /* given up: it is swept at the next start */
    case JOB_REMOVE:
        if (error != ERR_OK && hand_on(cache, job)) {
            error = ERR_OK;
        }
        if (error != ERR_OK && !give_up(cache, job)) {
            push(&cache->queue, job);
            return false;
        }
        if (error != ERR_OK) {
            store_give_up(cache->store); /* what is there may be served no more, and nobody will know */
        }
        removed(&cache->queue, job->entry);
        break;
    case JOB_PURGE:
        count_written(&cache->queue, job->bytes);
        if (!purge_written(&cache->queue, job, error,
                           error != ERR_OK && (hand_on(cache, job) || give_up(cache, job)))) {
            job_list_append(&cache->batch->refused, job);
            return false;
        }
        break;
    }
    return true;
}
