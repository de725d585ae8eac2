/* fill.c: the producer's side of the cache: a fetch becomes a stored response, or not. See cache.h.
 *
 * Happy path: head → body id, key and head open the stream; full segments go to the disk thread's queue as they come;
 * the verified end makes the response settled (every look-up finds it now) and queues its publication.
 *
 * Failures:
 * - The queue is full: what has begun waits in the backlog (its memory is bounded by the flight's window); what has not
 *   is not stored. What all fills hold back and the queue holds together are as much as may wait for the disk: beyond,
 *   a fill with more than a segment goes on without being stored.
 * - Broken off, too large, invalidated, no memory: what was written is dropped; clients that follow go on from memory.
 */
#include <string.h>

#include "cache/cache_internal.h"
#include "http/xxh3.h"

static void leave_table(struct fill *fill, uint64_t alone_until_ms);
static void note_alone(struct entry *entry, uint64_t alone_until_ms);
static void stop_storing(struct fill *fill, enum reason reason);
static void end_fill(struct fill *fill, struct settled *to_publish);

struct fill *fill_create(struct cache *cache, struct entry *entry, bool joinable, const struct range_spec *range)
{
    struct fill *fill = malloc(sizeof(*fill));
    struct flight *flight = flight_create(entry == NULL ? (struct span){"", 0} : entry->text, cache->pass_window_bytes,
                                          &cache->stream_memory);

    if (fill == NULL || flight == NULL) {
        free(fill);
        flight_unref(flight);
        return NULL;
    }
    *fill = (struct fill){
        .cache = cache, .flight = flight, .joinable = joinable, .created = purge_set_newest(cache->purges)};
    if (joinable) {
        flight_share(flight);
    }
    if (range != NULL) {
        fill->ranged = true;
        fill->range = *range;
    }
    cache_fill_sent(fill); /* in case it never is */
    REQUIRE(pthread_mutex_init(&fill->submit_mutex, NULL) == 0);
    if (entry != NULL) {
        fill->shard = entry->shard;
        fill->entry = entry;
        fill->hash = entry->hash;
        fill->asked = entry->hash;
        fill->next = entry->fills;
        entry->fills = fill;
    }
    return fill;
}

void cache_fill_sent(struct fill *fill)
{
    uint64_t sent = atomic_fetch_add_explicit(&fill->cache->sent, 1, memory_order_relaxed) + 1;

    atomic_store_explicit(&fill->birth, purge_set_newest(fill->cache->purges), memory_order_relaxed);
    atomic_store_explicit(&fill->sent, sent, memory_order_relaxed);
}

/* What the fill keeps in memory for the disk counts in the queue's limit, too. The submit mutex is held. */
static void hold(struct fill *fill, ptrdiff_t bytes)
{
    if (bytes != 0) {
        fill->held_bytes += (size_t)bytes;
        queue_hold(&fill->cache->queue, bytes);
    }
}

static void fill_destroy(struct fill *fill)
{
    hold(fill, -(ptrdiff_t)fill->held_bytes); /* what a disk that refused did not take */
    REQUIRE(fill->entry == NULL);
    REQUIRE(fill->to_publish == NULL);
    XXH3_freeState(fill->digest);
    pthread_mutex_destroy(&fill->submit_mutex);
    flight_unref(fill->flight);
    free(fill);
}

/* Takes the fill off its entry. The shard's mutex is held. */
static void unlink_fill(struct fill *fill)
{
    struct fill **link = &fill->entry->fills;

    while (*link != fill) {
        link = &(*link)->next;
    }
    *link = fill->next;
    fill->entry = NULL;
}

/* Both shards are held at once: an invalidation of either key finds the fill. */
bool cache_fill_rekey(struct fill *fill, const struct key *key)
{
    struct shard *from = fill->shard;
    struct shard *to = cache_shard(fill->cache, key->hash);
    struct shard *first = from < to ? from : to;
    struct shard *second = from < to ? to : from;

    if (!flight_rekey(fill->flight, key->text)) {
        return false;
    }
    pthread_mutex_lock(&first->mutex);
    if (second != first) {
        pthread_mutex_lock(&second->mutex);
    }
    struct entry *before = fill->entry;
    struct entry *entry = entry_find(to, key->hash, key->text, true);
    if (before != NULL && entry != NULL) {
        unlink_fill(fill);
        fill->shard = to;
        fill->entry = entry;
        fill->hash = key->hash;
        fill->next = entry->fills;
        entry->fills = fill;
        entry_release(before);
    }
    bool moved = fill->entry != NULL && fill->entry == entry;
    if (!moved && entry != NULL) {
        entry_release(entry);
    }
    if (second != first) {
        pthread_mutex_unlock(&second->mutex);
    }
    pthread_mutex_unlock(&first->mutex);
    return moved;
}

bool cache_fill_record(struct fill *fill, const struct key *key, uint64_t monotonic_ms)
{
    pthread_mutex_lock(&fill->shard->mutex);
    if (fill->entry != NULL && fill->joinable && !fill->ranged) {
        note_alone(fill->entry, monotonic_ms + fill->cache->hit_for_miss_ms);
    }
    fill->joinable = false;
    pthread_mutex_unlock(&fill->shard->mutex);
    return cache_fill_rekey(fill, key);
}

/* Makes what is needed to store; false: no memory. */
static bool prepare_storing(struct fill *fill, struct flight_head *head)
{
    fill->digest = XXH3_createState();
    if (fill->digest == NULL) {
        return false;
    }
    (void)XXH3_128bits_reset(fill->digest); /* fails only for NULL */
    fill->submits = true;
    head->shared = fill->joinable;
    head->record.body_id = store_new_body_id(fill->cache->store);
    return true;
}

/* What is said of what is kept. While the disk refuses it is tried all the same: so it is noticed that it does not any
 * more. */
static enum reason said_of_kept(const struct fill *fill, enum reason reason)
{
    return store_disk_refuses(fill->cache->store) ? REASON_STORE_FAILED : reason;
}

static enum err begin_storing(struct fill *fill, const struct flight_head *head)
{
    enum err error = flight_set_head(fill->flight, head, fill->cache->store, fill->cache->fill_window_bytes);

    if (error == ERR_OK) {
        pthread_mutex_lock(&fill->submit_mutex);
        hold(fill, (ptrdiff_t)flight_body_offset(fill->flight));
        pthread_mutex_unlock(&fill->submit_mutex);
    }
    return error;
}

enum err cache_fill_head(struct fill *fill, const struct flight_head *head, bool store, uint64_t max_object_bytes,
                         uint64_t monotonic_ms)
{
    struct flight_head own = *head;
    enum reason reason = REASON_NONE;
    bool note = fill->joinable;

    own.shared = false;
    fill->max_object_bytes = max_object_bytes;
    fill->records = head->policy.mode == MODE_RECORD;
    if (store) {
        reason = admission_at_head(fill, head);
        if (reason == REASON_NONE && prepare_storing(fill, &own)) {
            enum reason said = said_of_kept(fill, flight_store_reason(fill->flight));
            flight_set_store_reason(fill->flight, fill_is_raced(fill, head->fields) ? REASON_RACED : said);
            return begin_storing(fill, &own);
        }
        flight_set_store_reason(fill->flight, reason == REASON_NONE ? REASON_NO_MEMORY : reason);
    }
    if (reason == REASON_MIN_USES) {
        own.rule = head->policy.rule[SETTING_MIN_USES];
    }
    if (reason == REASON_MIN_USES || reason == REASON_FIRST_REQUEST) {
        /* It will be stored soon. Only those who wait now must not do it one after the other. */
        note = note && flight_follower_count(fill->flight, 2) > 1;
    }
    /* A part that is not kept says nothing of the whole. */
    leave_table(fill, note && !fill->ranged ? monotonic_ms + fill->cache->hit_for_miss_ms : 0);
    return flight_set_head(fill->flight, &own, NULL, 0);
}

/* Hands pieces, then the publication, to the disk. The submit mutex is held. */
static void submit(struct fill *fill)
{
    struct queue *queue = &fill->cache->queue;
    struct job job = {.kind = JOB_PIECES, .body_id = flight_head(fill->flight)->record.body_id};

    if (fill->in_backlog) {
        return;
    }
    for (;;) {
        if (queue_full(queue)) {
            fill->in_backlog = true;
            queue_add_backlog(queue, fill);
            return;
        }
        if (!flight_next_write(fill->flight, &job.offset, &job.segment, &job.data)) {
            break;
        }
        job.bytes = job.data.len;
        hold(fill, -(ptrdiff_t)job.bytes);
        job.flight = flight_ref(fill->flight);
        if (!queue_push(queue, &job)) { /* no memory: the pieces are lost, so the body is */
            flight_unref(job.flight);
            segment_unref(job.segment);
            flight_set_store_reason(fill->flight, REASON_NO_MEMORY);
            flight_stop_storing(fill->flight);
        }
    }
    if (fill->to_publish != NULL) {
        struct job publish = {.kind = JOB_PUBLISH, .settled = fill->to_publish, .body_id = job.body_id};
        fill->to_publish = NULL;
        if (!queue_push(queue, &publish)) { /* what was written is swept at the next start */
            flight_set_store_reason(fill->flight, REASON_NO_MEMORY);
            settled_forget(publish.settled);
        }
    }
}

uint64_t fill_body_bytes(const struct fill *fill)
{
    return flight_length(fill->flight) - flight_body_offset(fill->flight);
}

enum err cache_fill_append(struct fill *fill, struct span bytes)
{
    if (fill->digest != NULL) {
        (void)XXH3_128bits_update(fill->digest, bytes.data, bytes.len); /* fails only for NULL */
    }
    if (fill->digest != NULL && flight_length(fill->flight) > SEGMENT_BYTES && queue_overfull(&fill->cache->queue)) {
        stop_storing(fill, REASON_DISK_BEHIND);
    }
    enum err error = flight_append(fill->flight, bytes);
    if (error != ERR_OK || fill->digest == NULL) {
        return error;
    }
    enum reason reason = admission_of_more(fill);
    if (reason != REASON_NONE) {
        stop_storing(fill, reason);
        return ERR_OK;
    }
    pthread_mutex_lock(&fill->submit_mutex);
    if (flight_is_storing(fill->flight)) {
        hold(fill, (ptrdiff_t)bytes.len);
    }
    submit(fill);
    pthread_mutex_unlock(&fill->submit_mutex);
    return ERR_OK;
}

void cache_fill_stop_storing(struct fill *fill, enum reason reason)
{
    if (fill->digest != NULL) {
        stop_storing(fill, reason);
    }
}

/* Does the fill bring what is stored already? Its digest is known. */
static bool is_same_body(const struct fill *fill, const struct record *stored)
{
    uint8_t digest[DIGEST_BYTES];

    return flight_digest(fill->flight, digest) && memcmp(digest, stored->digest, DIGEST_BYTES) == 0 &&
           flight_length(fill->flight) - flight_body_offset(fill->flight) == stored->body_len;
}

/* The renewed response is what look-ups find before the flight is complete: nobody sees the two apart. True: nothing
 * new is stored, either because of that or because the origin, asked later, has sent something else by now. */
static bool renew(struct fill *fill, const struct renewal *renewal)
{
    if (renewal == NULL || !is_same_body(fill, &renewal->cached->stored.record)) {
        return false;
    }
    enum reason reason = fill_freshen(fill, renewal->cached, renewal->record, renewal->head);
    bool renewed = reason == REASON_UPDATED;
    bool surpassed = reason == REASON_RACED && fill_is_surpassed(fill);
    if (renewed || surpassed) {
        flight_set_store_reason(fill->flight, renewed ? said_of_kept(fill, REASON_UNCHANGED) : REASON_RACED);
    }
    return renewed || surpassed;
}

void cache_fill_complete_or_renew(struct fill *fill, struct span trailers, const struct renewal *renewal)
{
    struct settled *settled = NULL;

    if (fill->digest == NULL) { /* not stored, and known to nobody since its head, or since that was found out */
        flight_complete(fill->flight, trailers);
        end_fill(fill, NULL);
        return;
    }
    bool storing = flight_is_storing(fill->flight);
    enum reason against = storing ? admission_at_end(fill) : REASON_NONE;
    if (against != REASON_NONE) {
        stop_storing(fill, against);
        storing = false;
    }
    if (storing && !flight_head(fill->flight)->partial) { /* that of a slice would be nobody's */
        XXH128_canonical_t digest;
        XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(fill->digest));
        flight_set_digest(fill->flight, digest.digest);
    }
    bool renewed = storing && renew(fill, renewal);
    enum reason reason = flight_store_reason(fill->flight);
    flight_complete(fill->flight, trailers);
    if (storing && !renewed) {
        reason = fill_settle(fill, &settled);
    }
    if (settled != NULL) {
        leave_table(fill, 0);
    } else {
        stop_storing(fill, reason);
    }
    end_fill(fill, settled);
}

void cache_fill_complete(struct fill *fill, struct span trailers)
{
    cache_fill_complete_or_renew(fill, trailers, NULL);
}

void cache_fill_fail(struct fill *fill, enum err error)
{
    if (fill->digest != NULL) {
        stop_storing(fill, error == ERR_NO_MEMORY ? REASON_NO_MEMORY : REASON_TRUNCATED);
    }
    leave_table(fill, 0);
    flight_fail(fill->flight, error);
    end_fill(fill, NULL);
}

void cache_fill_refuse(struct fill *fill)
{
    leave_table(fill, 0);
    flight_set_refused(fill->flight);
    end_fill(fill, NULL);
}

void cache_fill_cancel(struct fill *fill)
{
    if (flight_phase(fill->flight) == FLIGHT_PENDING) {
        cache_fill_refuse(fill);
    } else {
        cache_fill_fail(fill, ERR_CANCELED);
    }
}

enum reason cache_fill_freshen(struct fill *fill, const struct cached *cached, const struct record *record,
                               struct span head)
{
    enum reason reason = fill_freshen(fill, cached, record, head);
    enum reason said = reason == REASON_UPDATED ? said_of_kept(fill, reason) : reason;

    flight_set_store_reason(fill->flight, said);
    return said;
}

void cache_fill_validated(struct fill *fill, const struct cached *cached, const struct record *record, struct span head)
{
    (void)cache_fill_freshen(fill, cached, record, head); /* the flight has the reason */
    leave_table(fill, 0);
    flight_set_validated(fill->flight);
    end_fill(fill, NULL);
}

/* ---- ends ---- */

/* Nobody new can join. With `alone_until_ms` the key's next requests do not wait for each other until then. */
static void leave_table(struct fill *fill, uint64_t alone_until_ms)
{
    if (fill->shard == NULL) {
        return;
    }
    pthread_mutex_lock(&fill->shard->mutex);
    struct entry *entry = fill->entry;
    if (entry != NULL) {
        unlink_fill(fill);
        if (alone_until_ms > 0) {
            note_alone(entry, alone_until_ms);
        }
        entry_release(entry);
    }
    pthread_mutex_unlock(&fill->shard->mutex);
}

/* Keeps the note in a list of at most SHARD_NOTES, oldest first. The shard's mutex is held. */
static void note_alone(struct entry *entry, uint64_t alone_until_ms)
{
    struct shard *shard = entry->shard;

    entry->alone_until_ms = alone_until_ms;
    if (entry->noted) {
        return;
    }
    entry->noted = true;
    entry->note_next = NULL;
    if (shard->notes_last != NULL) {
        shard->notes_last->note_next = entry;
    } else {
        shard->notes_first = entry;
    }
    shard->notes_last = entry;
    shard->note_count++;
    if (shard->note_count > SHARD_NOTES) {
        struct entry *oldest = shard->notes_first;
        shard->notes_first = oldest->note_next;
        shard->note_count--;
        oldest->noted = false;
        oldest->alone_until_ms = 0;
        entry_release(oldest);
    }
}

/* The body will not be an object; what was written of it goes. */
static void stop_storing(struct fill *fill, enum reason reason)
{
    flight_set_store_reason(fill->flight, reason);
    leave_table(fill, 0);
    pthread_mutex_lock(&fill->submit_mutex); /* no piece comes behind the DROP: nothing would ever delete it */
    flight_stop_storing(fill->flight);
    if (fill->digest != NULL && flight_written(fill->flight) > 0) {
        struct job job = {.kind = JOB_DROP, .body_id = flight_head(fill->flight)->record.body_id};
        (void)queue_push(&fill->cache->queue, &job); /* no memory: it is swept at the next start */
    }
    hold(fill, -(ptrdiff_t)fill->held_bytes);
    pthread_mutex_unlock(&fill->submit_mutex);
    XXH3_freeState(fill->digest);
    fill->digest = NULL;
}

static void end_fill(struct fill *fill, struct settled *to_publish)
{
    if (!fill->submits) {
        fill_destroy(fill);
        return;
    }
    pthread_mutex_lock(&fill->submit_mutex);
    fill->ended = true;
    fill->to_publish = to_publish;
    if (to_publish != NULL) {
        submit(fill);
    }
    bool waits = fill->in_backlog;
    pthread_mutex_unlock(&fill->submit_mutex);
    if (!waits) {
        fill_destroy(fill);
    }
}

void fill_resume(struct fill *fill)
{
    pthread_mutex_lock(&fill->submit_mutex);
    fill->in_backlog = false;
    if (fill->to_publish != NULL || flight_is_storing(fill->flight)) {
        submit(fill);
    }
    bool destroy = fill->ended && !fill->in_backlog;
    pthread_mutex_unlock(&fill->submit_mutex);
    if (destroy) {
        fill_destroy(fill);
    }
}
