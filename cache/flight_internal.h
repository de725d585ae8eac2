/* flight_internal.h: what the flight's files share: struct flight, its lock, who is woken. See flight.h. */
#ifndef CACHE_FLIGHT_INTERNAL_H
#define CACHE_FLIGHT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache/flight.h"

struct flight {
    atomic_uint references;
    struct span key;
    uint64_t begun_ms;       /* does not change once others see the flight */
    atomic_int store_reason; /* enum reason */
    atomic_uint_least64_t object_id;
    struct store *store;     /* set with the head of a stored flight; the body stays pinned there until destruction */
    struct flight_head head; /* written once, before `phase` leaves FLIGHT_PENDING */
    char *head_memory;       /* its texts */
    uint64_t body_offset;    /* written with the head */

    bool shared;           /* others may see it; before that it is its one thread's, and nothing is locked */
    pthread_mutex_t mutex; /* guards everything below, once it is shared */
    enum flight_phase phase;
    enum err error;
    bool storing;
    bool kept;    /* look-ups may find it: see flight_keep */
    bool starved; /* the producer was told that there is no room */
    size_t window_bytes;
    struct party *producer;
    struct party *followers;
    struct segments bytes;
    uint64_t written;
    uint64_t committed;
    uint64_t shed; /* followers that need what is before it were too slow */
    uint8_t digest[DIGEST_BYTES];
    bool has_digest;
    char *trailers;
    size_t trailers_len;
};

static inline void flight_enter(struct flight *flight)
{
    if (flight->shared) {
        pthread_mutex_lock(&flight->mutex);
    }
}

static inline void flight_leave(struct flight *flight)
{
    if (flight->shared) {
        pthread_mutex_unlock(&flight->mutex);
    }
}

/* ---- between the two ---- */

static inline void party_wake(struct party *party) /* accepts NULL */
{
    if (party != NULL) {
        party->wake(party);
    }
}

static inline void flight_wake_followers(struct flight *flight)
{
    for (struct party *party = flight->followers; party != NULL; party = party->next) {
        party_wake(party);
    }
}

/* flight_followers.c: how much it may hold now. Where all streams together have what they may, one has a slot, so that
 * each still gets on. */
size_t flight_window(const struct flight *flight);

/* flight_followers.c: lets go of what nobody needs here any more, and tells a producer that waits for room. */
void flight_release_bytes(struct flight *flight);

#endif
