/* flight_followers.c: who reads what a flight brings, who is too slow for the others, what may leave memory. */
#include "cache/flight_internal.h"

enum { SCARCE_WINDOW_BYTES = 64 * 1024 }; /* a slot, and the one that is being filled */

static void link_follower(struct flight *flight, struct party *party)
{
    REQUIRE(!party->linked);
    party->previous = NULL;
    party->next = flight->followers;
    if (party->next != NULL) {
        party->next->previous = party;
    }
    flight->followers = party;
    party->linked = true;
    party->consumed = 0;
    party->looked = 0;
}

void flight_follow(struct flight *flight, struct party *party)
{
    flight_enter(flight);
    link_follower(flight, party);
    flight_leave(flight);
}

bool flight_join(struct flight *flight, struct party *party)
{
    flight_enter(flight);
    bool whole = flight->phase == FLIGHT_PENDING || flight->storing;
    if (whole) {
        link_follower(flight, party);
    }
    flight_leave(flight);
    return whole;
}

void flight_unfollow(struct flight *flight, struct party *party)
{
    flight_enter(flight);
    if (party->linked) {
        if (party->previous != NULL) {
            party->previous->next = party->next;
        } else {
            flight->followers = party->next;
        }
        if (party->next != NULL) {
            party->next->previous = party->previous;
        }
        party->linked = false;
        party->next = NULL;
        party->previous = NULL;
        flight_release_bytes(flight);
        party_wake(flight->producer); /* it may not be wanted any more */
    }
    flight_leave(flight);
}

unsigned flight_follower_count(struct flight *flight, unsigned max)
{
    unsigned count = 0;

    flight_enter(flight);
    for (const struct party *party = flight->followers; party != NULL && count < max; party = party->next) {
        count++;
    }
    flight_leave(flight);
    return count;
}

enum flight_read flight_read(struct flight *flight, uint64_t offset, struct segment **out_segment, struct span *out_run)
{
    enum flight_read result = FLIGHT_READ_WAIT;

    flight_enter(flight);
    if (offset < flight->bytes.base) {
        bool stored = offset < flight->committed || flight->kept;
        result = stored ? FLIGHT_READ_IN_STORE : offset < flight->shed ? FLIGHT_READ_SHED : FLIGHT_READ_FAILED;
    } else if (offset < flight->bytes.length) {
        *out_run = segments_read(&flight->bytes, offset, out_segment);
        result = FLIGHT_READ_DATA;
    } else if (flight->phase == FLIGHT_COMPLETE) {
        result = FLIGHT_READ_END;
    } else if (flight->phase == FLIGHT_FAILED) {
        result = FLIGHT_READ_FAILED;
    }
    flight_leave(flight);
    return result;
}

void flight_consumed(struct flight *flight, struct party *party, uint64_t offset)
{
    flight_enter(flight);
    party->consumed = offset;
    if (!flight->storing) {
        flight_release_bytes(flight);
    }
    flight_leave(flight);
}

/* ---- who is too slow ---- */

/* How far it has got. Who waits for a range has consumed what has not come yet: it is no further than that. */
static uint64_t reached(const struct flight *flight, const struct party *party)
{
    return party->consumed < flight->bytes.length ? party->consumed : flight->bytes.length;
}

/* Half a window behind the fastest follower; or where the last one is that is waited for, if that is further behind. */
static uint64_t shed_offset(const struct flight *flight, enum shed shed)
{
    uint64_t fastest = 0;

    for (const struct party *party = flight->followers; party != NULL; party = party->next) {
        uint64_t at = reached(flight, party);
        fastest = at > fastest ? at : fastest;
    }
    uint64_t offset = fastest > flight->window_bytes / 2 ? fastest - flight->window_bytes / 2 : 0;
    for (const struct party *party = flight->followers; shed == SHED_IDLE && party != NULL; party = party->next) {
        bool gets_on = party->consumed - party->looked >= SEGMENT_BYTES;
        uint64_t at = reached(flight, party);
        offset = gets_on && at < offset ? at : offset;
    }
    return offset;
}

unsigned flight_shed_slow(struct flight *flight, enum shed shed)
{
    unsigned count = 0;

    flight_enter(flight);
    uint64_t offset = flight->storing ? 0 : shed_offset(flight, shed);
    if (offset <= flight->committed) {
        offset = 0; /* the store has what is before it */
    }
    for (struct party *party = flight->followers; party != NULL; party = party->next) {
        count += party->consumed < offset && party->consumed >= flight->shed;
        party->looked = party->consumed;
    }
    if (offset > flight->shed) {
        flight->shed = offset;
        flight_release_bytes(flight);
        flight_wake_followers(flight);
    }
    flight_leave(flight);
    return count;
}

/* ---- what may go ---- */

size_t flight_window(const struct flight *flight)
{
    const struct stream_memory *memory = flight->bytes.memory;
    bool scarce = memory != NULL && atomic_load_explicit(&memory->bytes, memory_order_relaxed) >= memory->limit_bytes;

    return scarce && flight->window_bytes > SCARCE_WINDOW_BYTES ? SCARCE_WINDOW_BYTES : flight->window_bytes;
}

/* What may leave memory: when stored, or found by look-ups, what is committed; else what every follower has consumed
 * (and what was committed before). */
static uint64_t releasable_offset(const struct flight *flight)
{
    uint64_t consumed = flight->bytes.length;

    if (flight->storing || flight->kept || flight->followers == NULL) {
        return flight->committed;
    }
    for (const struct party *party = flight->followers; party != NULL; party = party->next) {
        consumed = party->consumed < consumed ? party->consumed : consumed;
    }
    consumed = consumed > flight->shed ? consumed : flight->shed;
    return consumed > flight->committed ? consumed : flight->committed;
}

void flight_release_bytes(struct flight *flight)
{
    segments_release(&flight->bytes, releasable_offset(flight), flight->phase == FLIGHT_STREAMING);
    if (flight->starved && flight->bytes.length - flight->bytes.base < flight_window(flight)) {
        flight->starved = false;
        party_wake(flight->producer);
    }
}
