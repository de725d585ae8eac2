/* settle.c: what a fill has brought is what look-ups find, from now on and until the disk has it. See cache.h.
 *
 * A settled response hangs on the entry of its key; whoever looks up finds it there before the store. The disk thread's
 * commit makes it the store's, and settled_forget ends it. What was invalidated or purged meanwhile is not settled. */
#include <string.h>

#include "cache/cache_internal.h"
#include "http/xxh3.h"

enum { JUDGE_MEMORY_BYTES = 1024 * 1024 };

/* One block for what a settled response keeps; NULL: no memory. */
static struct settled *settled_create(const struct record *record, struct span head, struct span selection,
                                      struct span body_start)
{
    size_t memory_bytes = head.len + selection.len + body_start.len + record->slices.len;
    struct settled *settled = malloc(sizeof(*settled) + memory_bytes);

    if (settled == NULL) {
        return NULL;
    }
    *settled = (struct settled){.record = *record, .memory_bytes = memory_bytes};
    settled->record.head_override = (struct span){NULL, 0};
    char *memory = settled->memory;
    struct span *copies[] = {&settled->head, &settled->selection, &settled->body_start, &settled->record.slices};
    struct span sources[] = {head, selection, body_start, record->slices};
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        if (sources[i].len > 0) {
            memcpy(memory, sources[i].data, sources[i].len);
        }
        *copies[i] = (struct span){memory, sources[i].len};
        memory += sources[i].len;
    }
    return settled;
}

/* What a newer response to the same requests takes the place of must not be published behind it: an older fill may
 * still wait in the backlog. A slice takes the place only of what it cannot be combined with, and never that of a whole
 * response: false, and nothing has changed. The shard's mutex is held. */
static bool supersede(struct entry *entry, const struct settled *newer)
{
    bool slice = settled_is_slice(newer);
    struct settled *next;

    for (const struct settled *settled = entry->settled; slice && settled != NULL; settled = settled->next) {
        if (!record_is_partial(&settled->record) && span_equal(settled->selection, newer->selection)) {
            return false;
        }
    }
    for (struct settled *settled = entry->settled; settled != NULL; settled = next) {
        next = settled->next;
        if (span_equal(settled->selection, newer->selection) &&
            !(slice && record_may_combine(&settled->record, &newer->record))) {
            settled->dead = true;
            settled_unlink(settled);
        }
    }
    return true;
}

/* Was it purged hard since `birth`? The shard's mutex is held. */
static bool is_dead(const struct fill *fill, struct span head, uint64_t birth)
{
    struct key key = {.text = fill->entry->text, .hash = fill->entry->hash};
    struct arena arena;

    if (birth >= purge_set_newest(fill->cache->purges)) {
        return false;
    }
    arena_init(&arena, JUDGE_MEMORY_BYTES);
    bool dead = cache_judge(fill->shard->purges, &key, head, birth, &arena).effect == PURGED_HARD ||
                cache_purges_asked(fill, birth, &arena);
    arena_finish(&arena);
    return dead;
}

/* The shard's mutex is held. */
static bool is_raced(const struct fill *fill, struct span head)
{
    return fill->entry == NULL || fill->invalidated ||
           is_dead(fill, head, atomic_load_explicit(&fill->birth, memory_order_relaxed));
}

bool fill_is_raced(struct fill *fill, struct span head)
{
    pthread_mutex_lock(&fill->shard->mutex);
    bool raced = is_raced(fill, head);
    pthread_mutex_unlock(&fill->shard->mutex);
    return raced;
}

/* The shard's mutex is held. */
static bool is_surpassed(const struct fill *fill)
{
    return fill->entry != NULL && atomic_load_explicit(&fill->sent, memory_order_relaxed) < fill->entry->answered;
}

bool fill_is_surpassed(struct fill *fill)
{
    pthread_mutex_lock(&fill->shard->mutex);
    bool surpassed = is_surpassed(fill);
    pthread_mutex_unlock(&fill->shard->mutex);
    return surpassed;
}

/* Where the entry has the answer of this variant, or has room for it: in the place of whoever was asked for first. */
static struct answer *answer_of(struct entry *entry, uint64_t variant)
{
    struct answer *first = &entry->answers[0];

    for (size_t i = 0; i < ANSWERS_MAX; i++) {
        struct answer *answer = &entry->answers[i];
        if (answer->sent != 0 && answer->variant == variant) {
            return answer;
        }
        if (answer->sent < first->sent) {
            first = answer;
        }
    }
    first->sent = 0;
    return first;
}

/* RFC 9111 §4: of two responses to the same requests the most recent one is to be used. That is the one that was asked
 * for last, however long the other took; but for one whose Date is later, which the origin made last. Notes the
 * response if it is. The shard's mutex is held. */
static bool is_most_recent(struct entry *entry, const struct settled *settled, uint64_t sent)
{
    const struct answer now = {.variant = XXH3_64bits(settled->selection.data, settled->selection.len),
                               .sent = sent,
                               .date_s = settled->record.inputs.date_s};
    struct answer *before = answer_of(entry, now.variant);

    if (before->sent > now.sent && before->date_s >= now.date_s) {
        return false;
    }
    *before = (struct answer){
        .variant = now.variant, .sent = before->sent > sent ? before->sent : sent, .date_s = now.date_s};
    return true;
}

/* May it take its place, or does it confirm what is there still? Then what it replaces is gone. What confirms is the
 * most recent answer, too: what was asked for before it does not replace what it confirmed (RFC 9111 §4.3.4). The
 * shard's mutex is held. */
static bool take_place(struct fill *fill, const struct settled *settled)
{
    uint64_t sent = atomic_load_explicit(&fill->sent, memory_order_relaxed);
    struct entry *entry = fill->entry;

    if (settled->flight != fill->flight) {
        return !is_surpassed(fill) && is_most_recent(entry, settled, sent);
    }
    if ((!settled_is_slice(settled) && !is_most_recent(entry, settled, sent)) || !supersede(entry, settled)) {
        return false;
    }
    entry->answered = entry->answered > sent ? entry->answered : sent;
    return true;
}

/* Links `settled` where the fill was, unless the key was invalidated or it was purged meanwhile. */
static bool settled_link(struct fill *fill, struct settled *settled)
{
    settled->record.purge_sequence = atomic_load_explicit(&fill->birth, memory_order_relaxed);
    settled->record.inputs.purged_ms = 0;
    pthread_mutex_lock(&fill->shard->mutex);
    struct entry *entry = fill->entry;
    bool valid = !is_raced(fill, settled->head) && take_place(fill, settled);
    if (valid) {
        settled->shard = fill->shard;
        settled->entry = entry;
        settled->next = entry->settled;
        entry->settled = settled;
        entry->alone_until_ms = 0;
        entry->shard->generation++;
        cache_changed(fill->cache, entry->hash);
        cache_forget_invalidated(fill->cache, entry->hash);
    }
    pthread_mutex_unlock(&fill->shard->mutex);
    return valid;
}

enum reason fill_settle(struct fill *fill, struct settled **out_settled)
{
    const struct flight_head *head = flight_head(fill->flight);
    struct record record = head->record;
    struct slices slices = {.count = 1};
    char encoded[SLICE_BYTES];

    if (head->partial) {
        slices.items[0] = (struct slice){.first = head->range.first,
                                         .end = head->range.last + 1,
                                         .body_id = record.body_id,
                                         .offset = flight_body_offset(fill->flight)};
        slices_write(&slices, encoded);
        record.slices = (struct span){encoded, sizeof(encoded)};
        record.body_len = head->complete_length;
    } else {
        record.body_len = fill_body_bytes(fill);
        (void)flight_digest(fill->flight, record.digest); /* it was set before the end */
    }
    struct settled *settled = settled_create(&record, head->fields, head->selection, (struct span){NULL, 0});
    *out_settled = NULL;
    if (settled == NULL) {
        return REASON_NO_MEMORY;
    }
    settled->flight = flight_ref(fill->flight);
    bool kept = flight_keep(fill->flight);
    if (!kept || !settled_link(fill, settled)) {
        settled_destroy(settled);
        return kept ? REASON_RACED : flight_store_reason(fill->flight);
    }
    *out_settled = settled;
    return flight_store_reason(fill->flight);
}

/* Keeps the body of what was validated readable: in the flight, pinned in the store, or copied whole. False: no memory.
 */
static bool settled_keep_body(struct settled *settled, struct cache *cache, const struct cached *cached)
{
    if (cached->flight != NULL) {
        settled->flight = flight_ref(cached->flight);
    } else if (cached->stored.pinned) {
        settled->pinned = store_pin_stored(cache->store, &settled->record) ? cache->store : NULL;
        return settled->pinned != NULL;
    }
    return true;
}

/* Queues the freshening of a linked response; without room or memory it is as if the 304 had not come. */
static enum reason submit_freshening(struct fill *fill, struct settled *settled)
{
    struct queue *queue = &fill->cache->queue;
    struct job job = {.kind = JOB_FRESHEN, .settled = settled, .bytes = settled->memory_bytes};
    bool full = queue_full(queue);

    if (!full && queue_push(queue, &job)) {
        return REASON_UPDATED;
    }
    settled_forget(settled);
    return full ? REASON_DISK_BEHIND : REASON_NO_MEMORY;
}

enum reason fill_freshen(struct fill *fill, const struct cached *cached, const struct record *record, struct span head)
{
    const struct stored *stored = &cached->stored;

    pthread_mutex_lock(&fill->shard->mutex);
    bool dead = fill->entry != NULL && is_dead(fill, stored->head, stored->record.purge_sequence);
    pthread_mutex_unlock(&fill->shard->mutex);
    if (dead) {
        return REASON_RACED; /* purged while it was being confirmed: the origin's answer does not bring it back */
    }
    bool whole = cached->flight == NULL && !stored->pinned; /* the body is all in body_start */

    if (cached->partial != NULL && cached->partial->flight_count > 0) {
        return REASON_RACED; /* its record is not what the store's will be in a moment; the next 304 freshens that */
    }
    struct settled *settled =
        settled_create(record, head, stored->selection, whole ? stored->body_start : (struct span){NULL, 0});

    if (settled == NULL) {
        return REASON_NO_MEMORY;
    }
    settled->record.head_override = settled->head;
    bool kept = settled_keep_body(settled, fill->cache, cached);
    if (!kept || !settled_link(fill, settled)) {
        settled_destroy(settled);
        return kept ? REASON_RACED : REASON_NO_MEMORY;
    }
    return submit_freshening(fill, settled);
}
