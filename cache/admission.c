/* admission.c: is what a fill brings stored? Not what its fields permit (policy_store.c), but whether it has the length
 * that it may have, whether the disk takes it, and whether it is worth its room: asked for often enough (min_uses), and
 * a large one for the second time where something else would have to leave (admit_large).
 *
 * Asked at the head, as the body grows, and at its end: most lengths are known only then. */
#include "cache/cache_internal.h"

/* Is the response worth its room at this request? REASON_NONE, or why not (yet): then the request is noted. The
 * clients that follow are requests, too; those that are sent away because of it come again and count then. */
static enum reason worth_its_room(struct fill *fill, bool large, unsigned min_uses, enum admit_large admit)
{
    struct cache *cache = fill->cache;
    enum reason reason = REASON_MIN_USES;

    if (fill->records) {
        return REASON_NONE;
    }
    fill->judged_large = large;
    if (min_uses <= 1 && large && admit == ADMIT_LARGE_SECOND && store_is_full(cache->store)) {
        min_uses = 2;
        reason = REASON_FIRST_REQUEST;
    }
    if (min_uses <= 1 || fill->found_before) {
        return REASON_NONE;
    }
    unsigned now = flight_follower_count(fill->flight, min_uses);
    unsigned before = store_uses(cache->store, fill->hash);
    if (now >= min_uses || before >= min_uses - (now > 0 ? now : 1)) {
        return REASON_NONE;
    }
    store_note_use(cache->store, fill->hash);
    return reason;
}

enum reason admission_at_head(struct fill *fill, const struct flight_head *head)
{
    uint64_t whole_len = head->partial ? head->complete_length : head->length_known ? head->body_len : 0;

    if (whole_len > fill->max_object_bytes) {
        return REASON_TOO_LARGE;
    }
    if (store_failed(fill->cache->store)) {
        return REASON_STORE_FAILED;
    }
    if (store_is_away(fill->cache->store)) {
        return REASON_STORE_AWAY;
    }
    if (cache_stream_bytes(fill->cache) >= fill->cache->stream_memory.limit_bytes) {
        return REASON_STREAM_MEMORY; /* what is stored goes through memory as fast as the origin sends it */
    }
    return worth_its_room(fill, whole_len > LARGE_BODY_BYTES, head->policy.min_uses, head->policy.admit_large);
}

/* How long the body of a slice has to be, by its Content-Range. */
static uint64_t slice_bytes(const struct fill *fill)
{
    const struct flight_head *head = flight_head(fill->flight);

    return head->partial ? head->range.last - head->range.first + 1 : UINT64_MAX;
}

enum reason admission_of_more(struct fill *fill)
{
    uint64_t body_bytes = fill_body_bytes(fill);

    if (body_bytes > fill->max_object_bytes) {
        return REASON_TOO_LARGE;
    }
    if (body_bytes > LARGE_BODY_BYTES && !fill->judged_large) {
        enum reason reason = worth_its_room(fill, true, 0, flight_head(fill->flight)->policy.admit_large);
        if (reason != REASON_NONE) {
            return reason;
        }
    }
    return body_bytes > slice_bytes(fill) ? REASON_RANGE_MISMATCH : REASON_NONE;
}

enum reason admission_at_end(const struct fill *fill)
{
    if (flight_written(fill->flight) == 0 && queue_full(&fill->cache->queue)) {
        return REASON_DISK_BEHIND;
    }
    bool cut_short = flight_head(fill->flight)->partial && fill_body_bytes(fill) != slice_bytes(fill);
    return cut_short ? REASON_RANGE_MISMATCH : REASON_NONE;
}
